//! Protocol 13: the two ends of a pair, which put, take, wait, end and leave at any time.

#![cfg(loom)]

use bufferevent_runtime::__loom::{Conduit, End, Ended, Put, Taken};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, EventFd, assert_mutants_die, model};

/// Each end sleeps at a descriptor of its own. The queue has room for one.
type Pair = Conduit<Vec<u32>, Arc<EventFd>>;

struct Side {
    pair: Arc<Pair>,
    end: End,
    bell: Arc<EventFd>,
}

fn pair() -> (Side, Side) {
    let pair = Arc::new(Pair::new(Vec::new));
    let side = |end| {
        let bell = Arc::new(EventFd::new());
        pair.attach(end, &bell);
        Side { pair: Arc::clone(&pair), end, bell }
    };
    (side(End::First), side(End::Second))
}

impl Side {
    /// Puts `value` when there is room. False: the other takes nothing any more.
    fn put(&self, value: u32) -> bool {
        loop {
            let put = self.pair.put(self.end, Arc::clone, |queue| {
                let room = queue.is_empty();
                if room {
                    queue.push(value);
                }
                (room, room, !room)
            });
            match put {
                Put::Refused => return false,
                Put::Done(done, call) => {
                    call.iter().for_each(|bell| bell.write());
                    if done {
                        return true;
                    }
                    self.bell.wait();
                }
            }
        }
    }

    /// Takes the next value when there is one; `None`: the other has ended its side.
    fn take(&self) -> Option<u32> {
        loop {
            let Taken { taken, ended, call } = self.pair.take(self.end, Arc::clone, |queue| {
                let value = queue.pop();
                (value, value.is_some(), queue.is_empty())
            });
            call.iter().for_each(|bell| bell.write());
            match (taken, ended) {
                (Some(value), _) => return Some(value),
                (None, Ended::No) => self.bell.wait(),
                (None, _) => return None,
            }
        }
    }

    fn end(&self) {
        self.pair.end(self.end, Ended::ForGood).iter().for_each(|bell| bell.write());
    }

    fn leave(self) {
        self.pair.leave(self.end).iter().for_each(|bell| bell.write());
    }
}

/// More than there is room for, then the end: all arrives in order, and nobody sleeps for ever.
#[test]
fn what_is_put_is_taken_in_order_and_then_the_end() {
    model(Bounds::LARGE, || {
        let (one, other) = pair();
        let putter = thread::spawn(move || {
            assert!(one.put(1) && one.put(2));
            one.end();
        });
        assert_eq!([other.take(), other.take(), other.take()], [Some(1), Some(2), None]);
        putter.join().expect("no panic");
    });
}

/// Whoever waits for room learns that the other is gone, and what was put before that is nobody's concern.
#[test]
fn who_waits_for_room_learns_of_a_leave() {
    model(Bounds::LARGE, || {
        let (one, other) = pair();
        let putter = thread::spawn(move || {
            let put = [one.put(1), one.put(2)];
            assert!(!put[1], "nobody has taken the first");
            one
        });
        other.leave();
        let one = putter.join().expect("no panic");
        assert!(one.pair.is_refused(one.end));
    });
}

/// What one has put before it left is taken; nothing is told after that.
#[test]
fn last_words_are_taken() {
    model(Bounds::LARGE, || {
        let (one, other) = pair();
        let putter = thread::spawn(move || {
            assert!(one.put(1));
            one.leave();
        });
        assert_eq!(other.take(), Some(1));
        putter.join().expect("no panic");
        assert!(matches!(other.pair.put(other.end, Arc::clone, |_| ((), true, false)), Put::Refused));
    });
}

/// Both leave while each puts: what is in the queues is dropped once, and no line is left.
#[test]
fn both_leave_at_once() {
    model(Bounds::LARGE, || {
        let (one, other) = pair();
        let (pair, bells) = (Arc::clone(&one.pair), [Arc::clone(&one.bell), Arc::clone(&other.bell)]);
        let first = thread::spawn(move || {
            let _refused_or_not = one.put(1);
            one.leave();
        });
        let _refused_or_not = other.put(2);
        other.leave();
        first.join().expect("no panic");
        assert!(pair.mate(End::First).is_none() && pair.mate(End::Second).is_none());
        drop(pair);
        assert!(bells.iter().all(|bell| Arc::strong_count(bell) == 1), "a line was left behind");
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("conduit_waits_without_saying", "what_is_put_is_taken_in_order_and_then_the_end"),
        ("conduit_waits_without_saying", "last_words_are_taken"),
        ("conduit_takes_in_silence", "what_is_put_is_taken_in_order_and_then_the_end"),
        ("conduit_ends_in_silence", "what_is_put_is_taken_in_order_and_then_the_end"),
        ("conduit_leaves_in_silence", "who_waits_for_room_learns_of_a_leave"),
        ("conduit_keeps_a_line", "both_leave_at_once"),
    ]);
}
