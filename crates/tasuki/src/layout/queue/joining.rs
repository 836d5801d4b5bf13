//! Tasks that are reported done: how a join waits for all of them, and what becomes of those that the killed had.
//!
//! ```text
//! done     how many messages were reported done, ever; unfinished are put ticket - done. The word that commits
//! table    a row for each row of the roster: u32 token | u32 pid | Tally taken | Tally done
//! lost     Tally: how many of `done` nobody did, their process was killed; `told`: how many a join has said
//! thrown   Tally: how many an immediate shutdown threw away; `thrown_done`: how many of those are in `done`
//! ```
//! Everything here changes under the get lock, so that what was taken and what was done are exact together. `taken` and
//! `thrown` are tallies of the head, the others of `done`. `README.md`, "Joining", has the steps and what is feared.

use super::entries::TaskRow;
use super::held::GetHeld;
use super::joining_failure::{JoinFailure, LostTasks, TaskDoneFailure};
use super::side::sleep_until;
use super::tally::Tally;
use super::{Head, SharedQueue};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::segment::Token;
use crate::segment::death::{Death, DeathWords};
use crate::segment::roster::ROWS;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::wait::look_number;
use crate::sync::{EventCount, GaveUp, Wait, kill_point};
use crate::sys::memory::PAGE;

const PAGES: usize = ROWS * size_of::<TaskRow>() / PAGE;

/// What all processes share, beside the table.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Words {
    done: AtomicU64,
    /// Notified before `done` reaches the put ticket, and before a loss is noted.
    pub(super) alldone: EventCount,
    /// In which look at the dead the last one looked: one look for all that join.
    looked: AtomicU32,
    told: AtomicU64,
    /// A bit for each page of the table that has memory.
    pages: [AtomicU64; PAGES.div_ceil(64)],
    lost: Tally,
    thrown: Tally,
    thrown_done: Tally,
    /// The last one killed with tasks in flight.
    died: DeathWords,
}

impl Head {
    /// How many messages were put and not reported done.
    pub(super) fn unfinished(&self) -> u64 {
        // Done first: it never is beyond the put ticket, so what is read later is not less.
        let done = self.joining.done.load(Ordering::SeqCst);
        self.put.ticket.load(Ordering::SeqCst).wrapping_sub(done)
    }
}

impl SharedQueue {
    /// Whether messages are tasks that are reported done.
    #[inline]
    pub fn is_joinable(&self) -> bool {
        self.joinable
    }

    /// How many messages were put and not yet reported done.
    pub fn unfinished(&self) -> u64 {
        self.head().unfinished()
    }

    /// Whether a [`join`](SharedQueue::join) would neither wait nor tell of a loss.
    pub fn is_settled(&self) -> bool {
        self.unfinished() == 0 && !self.has_untold_loss()
    }

    /// Reports that `count` messages that were taken from this joinable queue, by any process, are worked off. `wait`
    /// is for the queue's own lock, which no running process holds for long.
    ///
    /// A task belongs to the process that took it: should that be killed before it reports the task done, the task is
    /// lost, and [`join`](SharedQueue::join) says so. Reporting a task done in another process than the one that took
    /// it is allowed; the loss of such tasks may go unnoticed.
    pub fn task_done(&self, count: u64, wait: &mut Wait<'_>) -> Result<(), TaskDoneFailure> {
        self.expect_joinable()?;
        let me = self.segment.my_row()?;
        let held = self.lock_get(wait)?;
        let row = self.own_row(&held, me)?;
        let done = self.done();
        if self.head().put.ticket.load(Ordering::Acquire).wrapping_sub(done) < count {
            return Err(TaskDoneFailure::TooMany);
        }
        if count > 0 {
            // Beyond what this process has in flight it did what others took.
            let head = self.head().get.ticket.load(Ordering::Relaxed);
            row.done.prepare(done, count.min(self.outstanding(row, head, done)));
            kill_point!(TaskTallied);
            self.commit_done(&held, done.wrapping_add(count));
        }
        Ok(())
    }

    /// Waits until every message that was ever put has been reported done; says once for each loss that tasks are lost.
    pub fn join(&self, wait: &mut Wait<'_>) -> Result<(), JoinFailure> {
        self.expect_joinable()?;
        let ready = || self.unfinished() == 0 || self.has_untold_loss();
        loop {
            if self.has_untold_loss() {
                let held = self.lock_get(wait)?;
                if let Some(lost) = self.tell_loss(&held) {
                    return Err(JoinFailure::Lost(Box::new(lost)));
                }
            }
            if self.unfinished() == 0 {
                return Ok(());
            }
            self.look_for_dead(wait)?;
            if ready() {
                continue;
            }
            if wait.is_brief() {
                return Err(GaveUp::TimedOut.into());
            }
            let enter = |wait: &mut Wait<'_>| self.visit_get(wait);
            let (alldone, notifier) = (&self.head().joining.alldone, &self.head().get.lock);
            sleep_until::<_, GaveUp>(alldone, notifier, ready, enter, wait)?;
        }
    }

    /// Gets this process's row of the table ready, before it takes anything. Quick but for the first time.
    #[inline]
    pub(super) fn join_table(
        &self,
        me: Token,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        match self.table_row(me.row()) {
            // SYNC: Acquire, with the Release in `own_row`, perhaps of another thread.
            Some(row) if row.token.load(Ordering::Acquire) == me.bits() => Ok(()),
            _ => {
                let held = self.lock_get(wait)?;
                self.own_row(&held, me)?;
                Ok(())
            }
        }
    }

    /// Counts what is about to be taken; it counts once the head has moved on from `head`.
    #[inline]
    pub(super) fn prepare_taken(&self, _held: &GetHeld<'_>, me: Token, head: u64, count: u64) {
        if let Some(row) = self.table_row(me.row()) {
            row.taken.prepare(head, count);
        }
        kill_point!(GetTallied);
    }

    /// Counts what an immediate shutdown is about to throw away; `count_thrown` comes after the head has moved on from
    /// `head`.
    pub(super) fn prepare_thrown(&self, _held: &GetHeld<'_>, head: u64, count: u64) {
        self.head().joining.thrown.prepare(head, count);
    }

    /// Counts what was thrown away as done, as often as it is called once.
    pub(super) fn count_thrown(&self, held: &GetHeld<'_>) {
        let words = &self.head().joining;
        let head = self.head().get.ticket.load(Ordering::SeqCst);
        let done = self.done();
        let uncounted = words.thrown.value(head).wrapping_sub(words.thrown_done.value(done));
        if uncounted > 0 {
            words.thrown_done.prepare(done, uncounted);
            self.commit_done(held, done.wrapping_add(uncounted));
        }
    }

    /// After one died inside: what it prepared does not count.
    #[cold]
    pub(super) fn repair_joining(&self, held: &GetHeld<'_>) {
        let words = &self.head().joining;
        let head = self.head().get.ticket.load(Ordering::SeqCst);
        let done = self.done();
        for (_, row) in self.table_rows() {
            row.taken.void_prepared(head);
            row.done.void_prepared(done);
        }
        words.thrown.void_prepared(head);
        words.thrown_done.void_prepared(done);
        words.lost.void_prepared(done);
        self.count_thrown(held);
        words.alldone.notify_all();
    }

    fn done(&self) -> u64 {
        self.head().joining.done.load(Ordering::Acquire)
    }

    fn commit_done(&self, _held: &GetHeld<'_>, done: u64) {
        let words = &self.head().joining;
        // Notify before the commit, as everywhere.
        if done == self.head().put.ticket.load(Ordering::Acquire) {
            words.alldone.notify(u32::MAX);
        }
        kill_point!(TaskNotified);
        // SYNC: Release, for readers of the tallies; sleepers see the lock held or this, see `Side::commit`.
        words.done.store(done, Ordering::Release);
        kill_point!(TaskCommitted);
    }

    /// This process's row; if another one had it before, that one is gone, and what it left is counted first.
    fn own_row(&self, held: &GetHeld<'_>, me: Token) -> Result<&TaskRow, Error> {
        let index = me.row();
        let page = index * size_of::<TaskRow>() / PAGE;
        let word = &self.head().joining.pages[page / 64];
        if word.load(Ordering::Acquire) & 1 << (page % 64) == 0 {
            self.segment.commit(self.geometry.tasks + page * PAGE, PAGE)?;
            word.fetch_or(1 << (page % 64), Ordering::AcqRel);
        }
        let row = self.table_row(index).expect("a row of a page that has memory");
        let before = row.token.load(Ordering::Acquire);
        if before != me.bits() {
            if let Some(before) = Token::from_bits(before) {
                self.settle(held, row, before);
            }
            // Nobody's first: a process that dies in between leaves a row that says nothing.
            row.token.store(0, Ordering::Release);
            row.taken.clear();
            row.done.clear();
            kill_point!(TaskRowCleared);
            row.pid.store(self.segment.known_pid(), Ordering::Relaxed);
            // SYNC: Release, with the Acquire in `join_table`.
            row.token.store(me.bits(), Ordering::Release);
        }
        Ok(row)
    }

    /// Once in half a second: counts the tasks of processes that were killed as lost.
    fn look_for_dead(&self, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        let words = &self.head().joining;
        let look = look_number();
        if words.looked.swap(look, Ordering::SeqCst) == look {
            return Ok(());
        }
        let me = self.segment.known_row();
        for (_, row) in self.table_rows() {
            let Some(owner) = Token::from_bits(row.token.load(Ordering::Acquire)) else { continue };
            let head = self.head().get.ticket.load(Ordering::SeqCst);
            let has_tasks = self.outstanding(row, head, self.done()) > 0;
            if !has_tasks || me == Some(owner) || self.segment.roster().is_alive(owner) {
                continue;
            }
            let held = self.lock_get(wait)?;
            if Token::from_bits(row.token.load(Ordering::Acquire)) == Some(owner) {
                self.settle(&held, row, owner);
            }
        }
        Ok(())
    }

    fn outstanding(&self, row: &TaskRow, head: u64, done: u64) -> u64 {
        row.taken.value(head).saturating_sub(row.done.value(done))
    }

    /// Counts what a dead process had in flight as lost and done, if it was killed: one that ended by itself may have
    /// left its tasks to somebody else.
    fn settle(&self, held: &GetHeld<'_>, row: &TaskRow, owner: Token) {
        if self.segment.roster().has_left(owner) == Some(true) {
            return;
        }
        let head = self.head().get.ticket.load(Ordering::SeqCst);
        let done = self.done();
        // Others may have done what this one took. So only what cannot be anybody else's is lost.
        let others: u64 = self
            .table_rows()
            .filter(|(_, other)| !std::ptr::eq(*other, row))
            .map(|(_, other)| self.outstanding(other, head, done))
            .fold(0, u64::saturating_add);
        let nobodys = head.saturating_sub(done).saturating_sub(others);
        let lost = self.outstanding(row, head, done).min(nobodys);
        if lost == 0 {
            return;
        }
        let words = &self.head().joining;
        let death = self.segment.roster().death_of(owner, row.pid.load(Ordering::Relaxed));
        words.died.note(&death);
        words.lost.prepare(done, lost);
        row.done.prepare(done, lost);
        kill_point!(TaskLossNoted);
        words.alldone.notify(u32::MAX);
        self.commit_done(held, done.wrapping_add(lost));
    }

    fn has_untold_loss(&self) -> bool {
        let words = &self.head().joining;
        words.lost.value(words.done.load(Ordering::SeqCst)) != words.told.load(Ordering::SeqCst)
    }

    fn tell_loss(&self, _held: &GetHeld<'_>) -> Option<LostTasks> {
        let words = &self.head().joining;
        let lost = words.lost.value(self.done());
        let count = lost.wrapping_sub(words.told.load(Ordering::SeqCst));
        if count == 0 {
            return None;
        }
        let death = words.died.read().unwrap_or_else(|| Death::of_pid(0));
        words.told.store(lost, Ordering::SeqCst);
        Some(LostTasks { death, count })
    }

    fn expect_joinable(&self) -> Result<(), Error> {
        if self.joinable {
            return Ok(());
        }
        Err(Error::Invalid("this queue does not count tasks: make it joinable".into()))
    }

    /// The rows of the table that have memory.
    fn table_rows(&self) -> impl Iterator<Item = (usize, &TaskRow)> {
        let high = self.segment.roster().high();
        (0..high).filter_map(|index| Some((index, self.table_row(index)?)))
    }

    #[inline]
    fn table_row(&self, index: usize) -> Option<&TaskRow> {
        let page = index * size_of::<TaskRow>() / PAGE;
        let word = self.head().joining.pages.get(page / 64)?;
        if word.load(Ordering::Acquire) & 1 << (page % 64) == 0 {
            return None;
        }
        self.segment.get(self.geometry.tasks + index * size_of::<TaskRow>())
    }
}
