//! Producers that wait for room learn that nobody is left who could make any. `README.md` has the conditions; what
//! is a guess here only says when to ask the system, whose answer decides.

use super::SharedQueue;
use crate::layout::failure::TransportFailure;
use crate::segment::Token;
use crate::segment::death::Death;
use crate::segment::roster::READER;
use crate::sync::atomic::Ordering;
use crate::sync::wait;
use crate::sys::holders;

/// So many looks in a row, half a second apart, must find nobody before the system is asked.
const LOOKS: u32 = 10;

impl SharedQueue {
    /// Notes in this process's row that it gets from the queue, and that somebody does.
    #[cold]
    pub(super) fn note_reader(&self, me: Token) {
        if let Some(row) = self.segment.roster().row(me.row()) {
            if row.roles.fetch_or(READER, Ordering::Relaxed) & READER == 0 {
                let who = u64::from(me.bits()) | u64::from(self.segment.known_pid()) << 32;
                self.head().settings.reader.store(who, Ordering::SeqCst);
            }
        }
    }

    /// For a producer that has slept before a full queue, and will again. Costs little more than once in half a second.
    #[cold]
    pub(super) fn look_for_readers(&self) -> Result<(), TransportFailure> {
        let now = wait::look_number();
        let before = self.looks.load(Ordering::Relaxed);
        let (count, last) = ((before >> 32) as u32, before as u32);
        let since = now.wrapping_sub(last);
        if since == 0 || self.end.is_some() {
            return Ok(());
        }
        // Sleepers skip a slice now and then; after a longer time somebody had got in between.
        let count = if self.seems_unread() { if since <= 2 { count + 1 } else { 1 } } else { 0 };
        let mut next = count;
        if count >= LOOKS {
            if !holders::another_process_has(self.segment.file_id()) {
                let reader = self.head().settings.reader.load(Ordering::SeqCst);
                let death = Token::from_bits(reader as u32)
                    .map(|who| self.segment.roster().death_of(who, (reader >> 32) as u32));
                return Err(TransportFailure::Disconnected(death.map(Box::new)));
            }
            next = 0;
        }
        // Another thread may have looked as well: one of the two looks counts.
        let after = u64::from(next) << 32 | u64::from(now);
        let _ = self.looks.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }

    /// Who got from the queue and was killed, as far as is known: the last process to begin.
    #[cold]
    pub(crate) fn killed_reader(&self) -> Option<Box<Death>> {
        let reader = self.head().settings.reader.load(Ordering::SeqCst);
        let who = Token::from_bits(reader as u32)?;
        let roster = self.segment.roster();
        if roster.is_alive(who) {
            return None;
        }
        let death = roster.death_of(who, (reader >> 32) as u32);
        (!death.left_normally()).then(|| Box::new(death))
    }

    /// Whether somebody got from the queue, it was not this process, and the roster names no other that lives.
    fn seems_unread(&self) -> bool {
        if self.head().settings.reader.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let roster = self.segment.roster();
        let me = self.segment.known_row();
        let own = me.and_then(|me| roster.row(me.row()));
        let reads = own.is_some_and(|row| row.roles.load(Ordering::Relaxed) & READER != 0);
        !reads && !roster.names_another(me)
    }
}
