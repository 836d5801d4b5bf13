//! Whether there is anybody at the other side: producers that wait for room learn that nobody is left who could make
//! any, and a consumer that will never put itself can ask whether anybody else ever will, which is what the end of a
//! pipe tells its reader. `README.md` has the conditions; what is a guess here only says when to ask the system, whose
//! answer decides.
//!
//! A process that closed its writing end says so in its row of the roster. While another process lives that did not,
//! there may be more. When the roster names none, the system is asked who else has the queue open: a child that is
//! starting, or one that was forked and has not used the queue yet, has no row and may put. That takes milliseconds, so
//! it is asked by those only who have waited long, and more and more seldom; and since somebody may ask, producers take
//! a row.

use super::SharedQueue;
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::segment::Token;
use crate::segment::death::Death;
use crate::segment::roster::{NO_WRITER, READER};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::wait;
use crate::sys::holders;

/// So many checks in a row, half a second apart, must find no reader before the system is asked.
const CHECKS: u32 = 10;

/// The system is asked for writers every so many half seconds at least, by one that waits without end.
const SELDOM: u32 = 16;

/// Since when a process has been waiting for messages in vain, in half seconds; see [`wait::look_number`].
#[derive(Debug, Default)]
pub(super) struct Drought {
    /// When it began; 0 while messages come.
    since: AtomicU32,
    /// When to look again.
    next: AtomicU32,
}

/// Of producers, about those that get.
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
        let before = self.reader_checks.load(Ordering::Relaxed);
        let (count, last) = ((before >> 32) as u32, before as u32);
        let since = now.wrapping_sub(last);
        if since == 0 || self.end.is_some() {
            return Ok(());
        }
        // Sleepers skip a slice now and then; after a longer time somebody had got in between.
        let count = if self.seems_unread() { if since <= 2 { count + 1 } else { 1 } } else { 0 };
        let mut next = count;
        if count >= CHECKS {
            if !holders::another_process_has(self.segment.file_id()) {
                let reader = self.head().settings.reader.load(Ordering::SeqCst);
                let death = Token::from_bits(reader as u32)
                    .map(|who| self.segment.roster().death_of(who, (reader >> 32) as u32));
                return Err(TransportFailure::Disconnected(death.map(Box::new)));
            }
            next = 0;
        }
        // Another thread may have looked as well: one of the two checks counts.
        let after = u64::from(next) << 32 | u64::from(now);
        let _ = self.reader_checks.compare_exchange(
            before,
            after,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
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

/// Of consumers, about those that put.
impl SharedQueue {
    /// Notes that this process will not put. It counts for all its handles of this queue; putting all the same is
    /// allowed as long as nobody asks [`may_have_writer`](SharedQueue::may_have_writer).
    pub fn close_writer(&self) -> Result<(), Error> {
        let me = self.segment.my_row()?;
        if let Some(row) = self.segment.roster().row(me.row()) {
            row.roles.fetch_or(NO_WRITER, Ordering::SeqCst);
        }
        self.head().put.watch();
        Ok(())
    }

    /// Of a producer that somebody may ask for: it takes a row, so that nobody has to look for it elsewhere.
    #[cold]
    pub(super) fn note_writer(&self) {
        // Without a row it is found by the slow way.
        let _ = self.segment.my_row();
    }

    /// Whether there may be a process that puts: one that lives, has this queue, and did not call
    /// [`close_writer`](SharedQueue::close_writer). Descriptors on their way in a socket are not seen. It costs little
    /// as long as the roster names one, else milliseconds.
    #[cold]
    pub fn may_have_writer(&self) -> bool {
        match self.segment.roster().pids_if_all(NO_WRITER) {
            Some(closed) => holders::another_process_has_but(self.segment.file_id(), |pid| {
                closed.contains(&pid)
            }),
            None => true,
        }
    }

    /// For a consumer that called [`close_writer`](SharedQueue::close_writer) and waits, whenever it wakes: whether
    /// nobody is left who puts. It costs next to nothing: only a consumer that has waited for some half seconds in
    /// vain, in one call or in several, really looks, as [`may_have_writer`](SharedQueue::may_have_writer) does.
    /// [`ends_drought`](SharedQueue::ends_drought) says that a message came.
    #[cold]
    pub fn is_abandoned(&self) -> bool {
        let now = wait::look_number();
        // Threads that wait at the same time may each look; no harm is done.
        let since = match self.drought.since.load(Ordering::Relaxed) {
            0 => {
                self.drought.next.store(now.wrapping_add(1), Ordering::Relaxed);
                self.drought.since.store(now, Ordering::Relaxed);
                return false;
            }
            since => since,
        };
        if (now.wrapping_sub(self.drought.next.load(Ordering::Relaxed)) as i32) < 0 {
            return false;
        }
        let Some(closed) = self.segment.roster().pids_if_all(NO_WRITER) else {
            self.drought.next.store(now.wrapping_add(1), Ordering::Relaxed);
            return false;
        };
        // A consumer that has waited twice as long as at the last time asks again.
        let pause = now.wrapping_sub(since).clamp(1, SELDOM);
        self.drought.next.store(now.wrapping_add(pause), Ordering::Relaxed);
        let file = self.segment.file_id();
        !holders::another_process_has_but(file, |pid| closed.contains(&pid))
    }

    /// See [`is_abandoned`](SharedQueue::is_abandoned).
    pub fn ends_drought(&self) {
        self.drought.since.store(0, Ordering::Relaxed);
    }
}
