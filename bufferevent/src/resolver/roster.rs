//! Who works in a pool, and what waits there. Pure: it says whom to wake or make.

use std::collections::VecDeque;

/// The jobs that wait, and the threads there are.
#[derive(Debug)]
pub(super) struct Roster<J> {
    jobs: VecDeque<J>,
    /// Threads that were made and have not left.
    threads: usize,
    /// Those of them that wait for work.
    idle: usize,
    closed: bool,
    limits: Limits,
}

/// How many of each there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) threads: usize,
    pub(super) jobs: usize,
}

/// What the caller owes for a job that it has pushed.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Pushed<J> {
    /// Wake one of those who wait.
    Wake,
    /// Make a thread; if that fails, say so by [`Roster::no_thread`].
    Spawn,
    /// Nothing: all are busy, and one will take it.
    Waits,
    /// There is no room, or the pool is closed.
    Refused(J),
}

impl<J> Roster<J> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { jobs: VecDeque::new(), threads: 0, idle: 0, closed: false, limits }
    }

    /// Appends a job. If there is no room, those that `is_stale` go to `swept` first, for the caller to drop.
    pub(super) fn push(&mut self, job: J, is_stale: impl Fn(&J) -> bool, swept: &mut Vec<J>) -> Pushed<J> {
        if self.jobs.len() >= self.limits.jobs {
            let (stale, wanted): (Vec<_>, VecDeque<_>) = {
                let (stale, wanted): (Vec<_>, Vec<_>) = self.jobs.drain(..).partition(is_stale);
                (stale, wanted.into())
            };
            self.jobs = wanted;
            swept.extend(stale);
        }
        if self.closed || self.jobs.len() >= self.limits.jobs {
            return Pushed::Refused(job);
        }
        self.jobs.push_back(job);
        if self.idle >= self.jobs.len() {
            Pushed::Wake
        } else if self.threads < self.limits.threads {
            self.threads += 1;
            Pushed::Spawn
        } else {
            Pushed::Waits
        }
    }

    /// The thread that [`Pushed::Spawn`] asked for could not be made: gives the jobs back if there is no other.
    pub(super) fn no_thread(&mut self) -> VecDeque<J> {
        self.threads -= 1;
        if self.threads == 0 { std::mem::take(&mut self.jobs) } else { VecDeque::new() }
    }

    /// The next job, for a thread.
    pub(super) fn take(&mut self) -> Option<J> {
        self.jobs.pop_front()
    }

    /// A thread that has found no job begins to wait. False: it is to leave.
    pub(super) fn rest(&mut self) -> bool {
        if self.closed {
            self.threads -= 1;
            return false;
        }
        self.idle += 1;
        true
    }

    /// A thread has waited, for long enough if `late`. False: it is to leave.
    pub(super) fn rested(&mut self, late: bool) -> bool {
        self.idle -= 1;
        if late && self.jobs.is_empty() {
            self.threads -= 1;
            return false;
        }
        true
    }

    /// Takes no more jobs, and gives back those that wait.
    pub(super) fn close(&mut self) -> VecDeque<J> {
        self.closed = true;
        std::mem::take(&mut self.jobs)
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(threads: usize, jobs: usize) -> Roster<u32> {
        Roster::new(Limits { threads, jobs })
    }

    fn push(roster: &mut Roster<u32>, job: u32) -> Pushed<u32> {
        roster.push(job, |_| false, &mut Vec::new())
    }

    #[test]
    fn a_thread_is_made_for_a_job_that_no_idle_one_will_take() {
        let mut roster = roster(2, 8);
        assert_eq!(push(&mut roster, 1), Pushed::Spawn);
        assert_eq!(push(&mut roster, 2), Pushed::Spawn);
        assert_eq!(push(&mut roster, 3), Pushed::Waits);
        assert_eq!(
            [roster.take(), roster.take(), roster.take(), roster.take()],
            [Some(1), Some(2), Some(3), None]
        );
        assert!(roster.rest() && roster.rest());
        assert_eq!((push(&mut roster, 4), push(&mut roster, 5)), (Pushed::Wake, Pushed::Wake));
        assert_eq!(push(&mut roster, 6), Pushed::Waits, "each idle one takes one job");
    }

    #[test]
    fn a_thread_that_waited_for_nothing_leaves_unless_a_job_came_at_the_last_moment() {
        let mut roster = roster(1, 8);
        assert_eq!(push(&mut roster, 1), Pushed::Spawn);
        assert_eq!(roster.take(), Some(1));
        assert!(roster.rest());
        assert_eq!(push(&mut roster, 2), Pushed::Wake);
        assert!(roster.rested(true) && roster.take() == Some(2));
        assert!(roster.rest() && !roster.rested(true));
        assert_eq!((roster.threads(), push(&mut roster, 3)), (0, Pushed::Spawn));
    }

    #[test]
    fn jobs_that_nobody_wants_make_room_and_a_full_queue_refuses() {
        let mut roster = roster(1, 3);
        for job in 1..=3 {
            assert_ne!(push(&mut roster, job), Pushed::Refused(job));
        }
        let mut swept = Vec::new();
        assert_eq!(roster.push(4, |job| job % 2 == 1, &mut swept), Pushed::Waits);
        assert_eq!(swept, [1, 3]);
        assert_eq!((push(&mut roster, 5), push(&mut roster, 6)), (Pushed::Waits, Pushed::Refused(6)));
        assert_eq!([roster.take(), roster.take(), roster.take()], [Some(2), Some(4), Some(5)]);
    }

    #[test]
    fn without_any_thread_the_jobs_come_back() {
        let mut roster = roster(2, 8);
        assert_eq!((push(&mut roster, 1), push(&mut roster, 2)), (Pushed::Spawn, Pushed::Spawn));
        assert!(roster.no_thread().is_empty(), "the other thread takes both");
        assert_eq!(roster.no_thread(), [1, 2]);
    }

    #[test]
    fn a_closed_pool_gives_its_jobs_back_and_lets_its_threads_go() {
        let mut roster = roster(1, 8);
        assert_eq!((push(&mut roster, 1), push(&mut roster, 2)), (Pushed::Spawn, Pushed::Waits));
        assert_eq!(roster.take(), Some(1));
        assert_eq!(roster.close(), [2]);
        assert_eq!(push(&mut roster, 3), Pushed::Refused(3));
        assert!(!roster.rest());
        assert_eq!(roster.threads(), 0);
    }
}
