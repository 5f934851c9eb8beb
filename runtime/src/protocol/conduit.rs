//! What joins the two ends of a pair: a queue for each way, and who waits at which end of it. Either end may be used, moved,
//! ended or dropped by its own thread at any time.
//!
//! ```text
//!   end 0                       way 0                       end 1
//!   put: adds to the queue      ─────────>                  take: takes out of it
//!     it is full: waits                                       it is empty: waits
//!     who waits at the other end is called                    who waits at the other end is called
//! ```
//!
//! A queue, what was said at its ends and who waits there are looked at and changed as one, under the leaf of that way: who
//! finds nothing to take is noted to wait before somebody can put. Whoever is to be called is called with nothing held.

use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Leaf, mutant};

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The first.
    First,
    /// The second.
    Second,
}

/// Two queues of `Q`, whose ends are called by an `L`.
#[derive(Debug)]
pub struct Conduit<Q, L> {
    /// What the first end puts and the second takes; the other way round.
    ways: [Leaf<Way<Q, L>>; 2],
    /// Which end takes nothing any more, for who does not want to wait for a leaf.
    refuses: [AtomicBool; 2],
}

/// * C1 Who waits was told that there is nothing, or no room, and has not been called since.
/// * C2 Neither `put` nor `take` happens by an end that is gone.
/// * C3 Nothing is put behind an end that is final: the taker has seen it, or will.
#[derive(Debug)]
struct Way<Q, L> {
    queue: Q,
    putter: Waiter<L>,
    taker: Waiter<L>,
    ended: Ended,
}

/// Whether the taker is to learn of an end, once it has taken all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is not.
    No,
    /// It is, and what is put after that goes on.
    Once,
    /// It is, and nothing is put after that.
    ForGood,
    /// It is to learn that more was to come, and will not.
    CutShort,
}

#[derive(Debug)]
struct Waiter<L> {
    line: Option<L>,
    waits: bool,
    gone: bool,
}

/// What came of [`Conduit::put`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Put<R, L> {
    /// What the closure answered, and who is to be called.
    Done(R, Option<L>),
    /// The other end takes nothing any more, or this one has ended its side for good.
    Refused,
}

/// What came of [`Conduit::take`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Taken<R, L> {
    /// What the closure answered.
    pub taken: R,
    /// Whether nothing is left and the other end has ended its side.
    pub ended: Ended,
    /// Who is to be called.
    pub call: Option<L>,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Ended {
    /// Whether nothing is put after it.
    fn is_final(self) -> bool {
        matches!(self, Self::ForGood | Self::CutShort)
    }
}

impl<Q: Default, L: Clone> Conduit<Q, L> {
    /// Empty, with `queue()` for each way.
    pub fn new(queue: impl Fn() -> Q) -> Self {
        let way = || {
            Leaf::new(Way { queue: queue(), putter: Waiter::new(), taker: Waiter::new(), ended: Ended::No })
        };
        Self { ways: [way(), way()], refuses: [AtomicBool::new(false), AtomicBool::new(false)] }
    }

    /// The way on which `end` puts.
    fn out(&self, end: End) -> &Leaf<Way<Q, L>> {
        &self.ways[end as usize]
    }

    /// The way on which `end` takes.
    fn into(&self, end: End) -> &Leaf<Way<Q, L>> {
        &self.ways[end.other() as usize]
    }

    /// Whoever calls `end` uses `line` from now on.
    pub fn attach(&self, end: End, line: &L) {
        let putter = self.out(end).lock().putter.line.replace(line.clone());
        let taker = self.into(end).lock().taker.line.replace(line.clone());
        // A line may be the last of what it leads to.
        drop((putter, taker));
    }

    /// `end` cannot be called, until it is attached again.
    pub fn detach(&self, end: End) {
        let putter = self.out(end).lock().putter.line.take();
        let taker = self.into(end).lock().taker.line.take();
        drop((putter, taker));
    }

    /// How the other end is called.
    pub fn mate(&self, end: End) -> Option<L> {
        self.into(end).lock().putter.line.clone()
    }

    /// Puts what `put` adds to the queue. It answers whether it has added anything, and whether there is more for which there is no
    /// room: then `end` is called when there is. Who is to be called is answered as what `name` makes of the line, under the leaf.
    pub fn put<R, C>(
        &self,
        end: End,
        name: impl FnOnce(&L) -> C,
        put: impl FnOnce(&mut Q) -> (R, bool, bool),
    ) -> Put<R, C> {
        let mut way = self.out(end).lock();
        debug_assert!(!way.putter.gone, "C2: nothing is put by who is gone");
        // C3: what was accepted before may come late.
        if way.taker.gone || way.ended.is_final() {
            return Put::Refused;
        }
        let (answer, added, waits) = put(&mut way.queue);
        way.putter.waits = waits;
        let call = if added { way.taker.call(name) } else { None };
        Put::Done(answer, call)
    }

    /// Takes what `take` takes out of the queue. It answers whether it has taken anything, and whether nothing is left: then `end`
    /// is called when there is something. `name` as in [`put`](Conduit::put).
    pub fn take<R, C>(
        &self,
        end: End,
        name: impl FnOnce(&L) -> C,
        take: impl FnOnce(&mut Q) -> (R, bool, bool),
    ) -> Taken<R, C> {
        let mut way = self.into(end).lock();
        debug_assert!(!way.taker.gone, "C2: nothing is taken by who is gone");
        let (answer, took, empty) = take(&mut way.queue);
        let ended = if empty { way.ended } else { Ended::No };
        if ended == Ended::Once {
            way.ended = Ended::No;
        }
        way.taker.waits = empty && !mutant::is("conduit_waits_without_saying");
        let call = if took && !mutant::is("conduit_takes_in_silence") { way.putter.call(name) } else { None };
        Taken { taken: answer, ended, call }
    }

    /// Ends the side of `end` in one way or another: the other takes what was put, and then learns of it. Of two ends that are
    /// final the first counts. Answers who is to be called.
    #[must_use = "who waits must be called"]
    pub fn end(&self, end: End, how: Ended) -> Option<L> {
        let mut way = self.out(end).lock();
        if !way.ended.is_final() {
            way.ended = how;
        }
        if mutant::is("conduit_ends_in_silence") { None } else { way.taker.call(L::clone) }
    }

    /// `end` is gone: it puts and takes nothing more. What it has put may be taken still; what the other has put is dropped.
    /// Answers who is to be called: who waits for room that there will never be.
    #[must_use = "who waits must be called"]
    pub fn leave(&self, end: End) -> Option<L> {
        let own = {
            let mut way = self.out(end).lock();
            way.putter.gone = true;
            if mutant::is("conduit_keeps_a_line") { None } else { way.putter.line.take() }
        };
        let call = self.refuse(end);
        // A line may be the last of what it leads to.
        drop(own);
        call
    }

    /// `end` takes nothing any more: what the other has put is dropped. Answers who is to be called, as
    /// [`leave`](Conduit::leave) does.
    #[must_use = "who waits must be called"]
    pub fn refuse(&self, end: End) -> Option<L> {
        // ORDER: Relaxed: who misses it puts into a queue that nobody takes from, as who was a moment earlier.
        self.refuses[end as usize].store(true, Ordering::Relaxed);
        let (queue, line, call) = {
            let mut way = self.into(end).lock();
            way.taker.gone = true;
            let call = if mutant::is("conduit_leaves_in_silence") { None } else { way.putter.call(L::clone) };
            (std::mem::take(&mut way.queue), way.taker.line.take(), call)
        };
        // What they hold may be the user's.
        drop((queue, line));
        call
    }

    /// Whether the other end is gone: what it has put is all there will be.
    pub fn is_left(&self, end: End) -> bool {
        self.into(end).lock().putter.gone
    }

    /// Whether the other end takes nothing any more.
    pub fn is_refused(&self, end: End) -> bool {
        // ORDER: Relaxed: see `refuse`.
        self.refuses[end.other() as usize].load(Ordering::Relaxed)
    }
}

impl<L: Clone> Waiter<L> {
    fn new() -> Self {
        Self { line: None, waits: false, gone: false }
    }

    /// Who is to be called, if it waits.
    fn call<C>(&mut self, name: impl FnOnce(&L) -> C) -> Option<C> {
        if std::mem::take(&mut self.waits) && !self.gone { self.line.as_ref().map(name) } else { None }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Pair = Conduit<Vec<u8>, &'static str>;

    fn pair() -> Pair {
        let pair = Conduit::new(Vec::new);
        pair.attach(End::First, &"first");
        pair.attach(End::Second, &"second");
        pair
    }

    fn put(pair: &Pair, byte: u8) -> Put<(), &'static str> {
        pair.put(End::First, Clone::clone, |queue| {
            let room = queue.is_empty();
            if room {
                queue.push(byte);
            }
            ((), room, !room)
        })
    }

    fn take(pair: &Pair) -> Taken<Option<u8>, &'static str> {
        pair.take(End::Second, Clone::clone, |queue| {
            let byte = queue.pop();
            (byte, byte.is_some(), queue.is_empty())
        })
    }

    #[test]
    fn who_waits_is_called_once() {
        let pair = pair();
        assert_eq!(take(&pair), Taken { taken: None, ended: Ended::No, call: None });
        assert_eq!(put(&pair, 1), Put::Done((), Some("second")));
        assert_eq!(put(&pair, 2), Put::Done((), None));
        assert_eq!(take(&pair), Taken { taken: Some(1), ended: Ended::No, call: Some("first") });
        assert_eq!(take(&pair), Taken { taken: None, ended: Ended::No, call: None });
    }

    #[test]
    fn the_end_comes_after_what_was_put_before() {
        let pair = pair();
        let _ = put(&pair, 1);
        assert_eq!(pair.end(End::First, Ended::ForGood), None);
        assert_eq!(take(&pair), Taken { taken: Some(1), ended: Ended::ForGood, call: None });
        assert_eq!(take(&pair).ended, Ended::ForGood);
        assert_eq!(put(&pair, 2), Put::Refused);
    }

    #[test]
    fn of_two_final_ends_the_first_counts() {
        for (first, second) in [(Ended::CutShort, Ended::ForGood), (Ended::ForGood, Ended::CutShort)] {
            let pair = pair();
            let _ = (put(&pair, 1), pair.end(End::First, Ended::Once));
            let _ = (pair.end(End::First, first), pair.end(End::First, second));
            assert_eq!(take(&pair).ended, first);
            assert_eq!((take(&pair).ended, put(&pair, 2)), (first, Put::Refused));
        }
    }

    #[test]
    fn an_end_that_is_not_for_good_is_told_once() {
        let pair = pair();
        assert_eq!(take(&pair).ended, Ended::No);
        assert_eq!(pair.end(End::First, Ended::Once), Some("second"));
        assert_eq!(take(&pair).ended, Ended::Once);
        assert_eq!(put(&pair, 1), Put::Done((), Some("second")));
        assert_eq!(take(&pair), Taken { taken: Some(1), ended: Ended::No, call: None });
    }

    #[test]
    fn who_leaves_is_missed_by_puts_and_its_last_words_stay() {
        let pair = pair();
        let _ = put(&pair, 1);
        assert_eq!(pair.leave(End::First), None);
        assert!(pair.is_left(End::Second) && !pair.is_left(End::First));
        assert!(pair.is_refused(End::Second) && !pair.is_refused(End::First));
        assert_eq!(pair.put(End::Second, Clone::clone, |_| ((), true, false)), Put::Refused);
        assert_eq!(take(&pair), Taken { taken: Some(1), ended: Ended::No, call: None });
        assert_eq!(pair.mate(End::Second), None);
    }

    #[test]
    fn who_waits_for_room_is_called_by_who_leaves() {
        let pair = pair();
        let (_, _) = (put(&pair, 1), put(&pair, 2));
        assert_eq!(pair.leave(End::Second), Some("first"));
        assert_eq!(put(&pair, 3), Put::Refused);
    }
}
