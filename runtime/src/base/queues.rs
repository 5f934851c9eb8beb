//! What is ready to run in the root strand, by priority. Knows what is queued, and neither clock nor callback.
//!
//! Lower numbers are more urgent. A *pass* follows a poll and runs one level, the most urgent that has work; only then,
//! and after another poll, a less urgent one has its turn. What becomes ready at a more urgent level is next.
//!
//! Within a level there are *rounds*: the ready sources that were there when the round began, then the strands bound to the
//! base, then the deferred sources. So a source that posts itself for ever delays the others of its level by one run. While
//! there are ready sources alone, all are of one round, which ends for them when something else is queued.

use std::collections::VecDeque;

use crate::slots::Key;

/// Deferred callbacks that run in one pass; later ones wait for the next, so that input and output go on between.
///
/// libevent's figure is 33: it tests for "more than 32" after counting.
pub const DEFERRED_PER_PASS: usize = 33;

/// The queues of one base; `T` is the token of a strand.
#[derive(Debug)]
pub(super) struct Queues<T> {
    /// At least one.
    levels: Vec<Level<T>>,
    /// Nothing has been queued since a look found nothing.
    idle: bool,
    /// The level that runs, or ran last.
    level: usize,
    /// Whether the pass has begun to run `level`.
    in_pass: bool,
    round: Round,
    /// Deferred ones that may still run in this pass.
    deferred_left: usize,
}

#[derive(Debug)]
struct Level<T> {
    ready: VecDeque<Key>,
    bound: VecDeque<T>,
    deferred: VecDeque<Key>,
}

/// What may still run before the next round: of each kind, as many as were there when it began; of the ready ones any number
/// while there is nothing else.
#[derive(Debug, Default)]
struct Round {
    ready: usize,
    bound: usize,
    deferred: usize,
}

/// What runs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Ready(Key),
    Bound(T),
    Deferred(Key),
}

impl<T> Queues<T> {
    /// Queues of `levels` priorities, at least one.
    pub(super) fn new(levels: usize) -> Self {
        let level = || Level { ready: VecDeque::new(), bound: VecDeque::new(), deferred: VecDeque::new() };
        Self {
            levels: std::iter::repeat_with(level).take(levels.max(1)).collect(),
            idle: true,
            level: 0,
            in_pass: false,
            round: Round::default(),
            deferred_left: DEFERRED_PER_PASS,
        }
    }

    #[inline]
    pub(super) fn push_ready(&mut self, priority: u8, key: Key) {
        self.at(priority).ready.push_back(key);
    }

    /// Puts back what was next.
    pub(super) fn put_back(&mut self, priority: u8, key: Key) {
        self.at(priority).ready.push_front(key);
    }

    pub(super) fn push_bound(&mut self, priority: u8, token: T) {
        self.at(priority).bound.push_back(token);
        self.close_ready();
    }

    pub(super) fn push_deferred(&mut self, priority: u8, key: Key) {
        self.at(priority).deferred.push_back(key);
        self.close_ready();
    }

    /// The ready sources that are there now are the last of this round.
    fn close_ready(&mut self) {
        self.round.ready = self.round.ready.min(self.levels[self.level].ready.len());
    }

    /// The level to queue something at. One that is more urgent than what runs ends its round.
    #[inline]
    fn at(&mut self, priority: u8) -> &mut Level<T> {
        self.idle = false;
        let level = usize::from(priority).min(self.levels.len() - 1);
        if level < self.level {
            self.round = Round::default();
        }
        &mut self.levels[level]
    }

    /// Starts a pass, after a poll: any level may be the one, and the budget is whole again.
    pub(super) fn begin_pass(&mut self) {
        self.in_pass = false;
        self.deferred_left = DEFERRED_PER_PASS;
        self.close_ready();
    }

    /// The next to run. `None` when the level of this pass has nothing more, though others may.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Next<T>> {
        if self.idle {
            return None;
        }
        if self.round.ready > 0 {
            if let Some(key) = self.levels[self.level].ready.pop_front() {
                self.round.ready -= 1;
                return Some(Next::Ready(key));
            }
        }
        self.pop_of_several()
    }

    #[inline(never)]
    fn pop_of_several(&mut self) -> Option<Next<T>> {
        loop {
            let level = &mut self.levels[self.level];
            if self.round.ready > 0 {
                self.round.ready -= 1;
                match level.ready.pop_front() {
                    Some(key) => return Some(Next::Ready(key)),
                    None => self.round.ready = 0,
                }
            } else if self.round.bound > 0 {
                self.round.bound -= 1;
                if let Some(token) = level.bound.pop_front() {
                    return Some(Next::Bound(token));
                }
            } else if self.round.deferred > 0 {
                self.round.deferred -= 1;
                if let Some(key) = level.deferred.pop_front() {
                    self.deferred_left = self.deferred_left.saturating_sub(1);
                    return Some(Next::Deferred(key));
                }
            } else {
                self.begin_round()?;
            }
        }
    }

    /// Begins a round of the most urgent level, unless that is not for this pass.
    fn begin_round(&mut self) -> Option<()> {
        let Some(level) = self.most_urgent() else {
            // What is deferred may wait for the next pass.
            self.idle = self.deferred() == 0;
            return None;
        };
        if self.in_pass && level > self.level {
            return None;
        }
        (self.level, self.in_pass) = (level, true);
        let queues = &self.levels[level];
        let (bound, deferred) = (queues.bound.len(), queues.deferred.len().min(self.deferred_left));
        let ready = if bound + deferred == 0 { usize::MAX } else { queues.ready.len() };
        self.round = Round { ready, bound, deferred };
        Some(())
    }

    /// The most urgent level that has anything to run in this pass.
    fn most_urgent(&self) -> Option<usize> {
        let due = |level: &Level<T>| {
            !level.ready.is_empty()
                || !level.bound.is_empty()
                || self.deferred_left > 0 && !level.deferred.is_empty()
        };
        self.levels.iter().position(due)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.idle || self.levels.iter().all(|level| level.len() == 0)
    }

    /// What is queued at the level of this pass, the deferred ones included.
    pub(super) fn len_in_pass(&self) -> usize {
        let level = if self.in_pass { Some(self.level) } else { self.most_urgent() };
        level.map_or(0, |level| self.levels[level].len())
    }

    /// What is ready, at all levels, but for what is deferred.
    pub(super) fn ready(&self) -> usize {
        self.levels.iter().map(|level| level.ready.len() + level.bound.len()).sum()
    }

    /// What is deferred, at all levels.
    pub(super) fn deferred(&self) -> usize {
        self.levels.iter().map(|level| level.deferred.len()).sum()
    }

    /// Takes out the strands bound to the base.
    pub(super) fn drain_bound(&mut self) -> impl Iterator<Item = T> + '_ {
        self.levels.iter_mut().flat_map(|level| level.bound.drain(..))
    }
}

impl<T> Level<T> {
    fn len(&self) -> usize {
        self.ready.len() + self.bound.len() + self.deferred.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Keys;

    fn key(index: u32) -> Key {
        let keys = Keys::default();
        (0..=index).map(|_| keys.reserve()).last().unwrap_or_else(|| keys.reserve())
    }

    fn pass(queues: &mut Queues<u32>) -> Vec<Next<u32>> {
        queues.begin_pass();
        std::iter::from_fn(|| queues.pop()).collect()
    }

    #[test]
    fn thirty_three_run_in_one_pass_and_the_rest_in_the_next() {
        // C-21
        let mut queues = Queues::new(1);
        for index in 0..40 {
            queues.push_deferred(0, key(index));
        }
        assert_eq!(pass(&mut queues).len(), 33);
        assert_eq!(queues.pop(), None);
        assert_eq!((pass(&mut queues).len(), queues.is_empty()), (7, true));
    }

    #[test]
    fn a_round_takes_of_each_kind_what_was_there_when_it_began() {
        let mut queues = Queues::new(1);
        queues.push_ready(0, key(0));
        queues.push_bound(0, 7);
        queues.push_deferred(0, key(1));
        queues.begin_pass();
        assert_eq!(queues.pop(), Some(Next::Ready(key(0))));
        queues.push_ready(0, key(2));
        let rest: Vec<_> = std::iter::from_fn(|| queues.pop()).collect();
        assert_eq!(rest, [Next::Bound(7), Next::Deferred(key(1)), Next::Ready(key(2))]);
    }

    #[test]
    fn what_comes_beside_a_source_that_posts_itself_for_ever_has_its_turn() {
        let mut queues = Queues::new(1);
        queues.push_ready(0, key(0));
        queues.begin_pass();
        let ready = |queues: &mut Queues<u32>| {
            assert_eq!(queues.pop(), Some(Next::Ready(key(0))));
            queues.push_ready(0, key(0));
        };
        (0..3).for_each(|_| ready(&mut queues));
        queues.push_bound(0, 7);
        // What is left of one round, and the next.
        (0..2).for_each(|_| ready(&mut queues));
        assert_eq!(queues.pop(), Some(Next::Bound(7)));
        (0..3).for_each(|_| ready(&mut queues));
        queues.push_deferred(0, key(1));
        (0..2).for_each(|_| ready(&mut queues));
        assert_eq!(queues.pop(), Some(Next::Deferred(key(1))));
        ready(&mut queues);
    }

    #[test]
    fn what_is_over_the_budget_has_its_turn_in_the_next_pass_beside_a_source_that_posts_itself() {
        let mut queues = Queues::<u32>::new(1);
        queues.push_ready(0, key(0));
        for index in 1..=34 {
            queues.push_deferred(0, key(index));
        }
        queues.begin_pass();
        for turn in 0..100 {
            let next = queues.pop();
            assert_eq!(next == Some(Next::Deferred(key(turn))), (1..=33).contains(&turn), "{turn}: {next:?}");
            if next == Some(Next::Ready(key(0))) {
                queues.push_ready(0, key(0));
            }
        }
        queues.begin_pass();
        assert_eq!([queues.pop(), queues.pop()], [Some(Next::Ready(key(0))), Some(Next::Deferred(key(34)))]);
    }

    #[test]
    fn a_pass_runs_one_level_and_the_next_may_run_another() {
        // E-03
        let mut queues = Queues::new(3);
        queues.push_ready(2, key(2));
        queues.push_ready(0, key(0));
        queues.push_bound(0, 0);
        queues.push_deferred(1, key(1));
        assert_eq!(pass(&mut queues), [Next::Ready(key(0)), Next::Bound(0)]);
        assert_eq!(pass(&mut queues), [Next::Deferred(key(1))]);
        queues.push_ready(9, key(3));
        assert_eq!(queues.len_in_pass(), 0, "of this pass");
        assert_eq!(pass(&mut queues), [Next::Ready(key(2)), Next::Ready(key(3))]);
        assert!(queues.is_empty());
    }

    #[test]
    fn what_becomes_ready_at_a_more_urgent_level_is_next_and_ends_the_pass_of_the_other() {
        let mut queues = Queues::<u32>::new(3);
        queues.push_ready(1, key(1));
        queues.push_ready(1, key(2));
        queues.begin_pass();
        assert_eq!(queues.pop(), Some(Next::Ready(key(1))));
        queues.push_ready(0, key(0));
        assert_eq!(queues.pop(), Some(Next::Ready(key(0))));
        assert_eq!(queues.pop(), None, "the selector is asked first");
        assert_eq!(pass(&mut queues), [Next::Ready(key(2))]);
    }

    #[test]
    fn a_level_whose_deferred_ones_are_over_budget_keeps_nobody_waiting() {
        let mut queues = Queues::<u32>::new(2);
        for index in 0..40 {
            queues.push_deferred(0, key(index));
        }
        queues.push_ready(1, key(50));
        assert_eq!(pass(&mut queues).len(), 33);
        assert_eq!((queues.pop(), queues.deferred(), queues.ready()), (None, 7, 1));
        assert_eq!(pass(&mut queues).len(), 7);
        assert_eq!(pass(&mut queues), [Next::Ready(key(50))]);
    }

    #[test]
    fn what_is_put_back_is_next() {
        let mut queues = Queues::<u32>::new(2);
        queues.push_ready(1, key(1));
        queues.put_back(1, key(0));
        assert_eq!(pass(&mut queues), [Next::Ready(key(0)), Next::Ready(key(1))]);
    }
}
