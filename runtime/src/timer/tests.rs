//! The wheel against a sequential model: a map from (deadline, order of arming) to the value.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::clock::Tick;

/// The same contract without a wheel.
#[derive(Default)]
struct Model {
    now: u64,
    armed: u64,
    /// Keyed by deadline and order of arming.
    timers: BTreeMap<(u64, u64), Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    value: u64,
    collected: bool,
}

impl Model {
    fn insert(&mut self, deadline: u64, value: u64) {
        self.armed += 1;
        self.timers.insert((deadline.max(self.now), self.armed), Entry { value, collected: false });
    }

    fn cancel(&mut self, value: u64) -> bool {
        let found = self.timers.iter().find(|(_, entry)| entry.value == value).map(|(&at, _)| at);
        found.is_some_and(|at| self.timers.remove(&at).is_some())
    }

    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.timers.range_mut(..=(self.now, u64::MAX)).for_each(|(_, entry)| entry.collected = true);
    }

    fn pop(&mut self) -> Option<u64> {
        let (&at, _) = self.timers.iter().find(|(_, entry)| entry.collected)?;
        self.timers.remove(&at).map(|entry| entry.value)
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(i64),
    Rearm(usize, i64),
    Cancel(usize),
    Advance(u64),
    /// To the wheel's own next deadline, plus this.
    Sleep(u64),
    Pop(usize),
}

/// Distances on every level: around a power of two, so around the start of a slot, and past the horizon.
fn distance() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -3..70i64,
        4 => (0..40u32, -2..3i64).prop_map(|(bits, off)| (1i64 << bits) + off),
        1 => 0..1i64 << 38,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => distance().prop_map(Op::Insert),
        2 => (any::<usize>(), distance()).prop_map(|(i, by)| Op::Rearm(i, by)),
        2 => any::<usize>().prop_map(Op::Cancel),
        2 => distance().prop_map(|by| Op::Advance(by.unsigned_abs())),
        3 => (0..3u64).prop_map(Op::Sleep),
        3 => (1..4usize).prop_map(Op::Pop),
    ]
}

/// Both side by side; every arming gets a value of its own, which also counts the keys.
struct Pair {
    wheel: Wheel<u64>,
    model: Model,
    /// All keys ever handed out, the stale ones too.
    keys: Vec<TimerKey>,
}

impl Pair {
    fn new(now: u64) -> Pair {
        Pair { wheel: Wheel::new(Tick(now)), model: Model { now, ..Model::default() }, keys: Vec::new() }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(by) => {
                let (at, value) = (self.at(by), self.keys.len() as u64);
                self.keys.push(self.wheel.insert(Tick(at), value));
                self.model.insert(at, value);
            }
            Op::Rearm(which, by) if !self.keys.is_empty() => {
                let (which, at) = (which % self.keys.len(), self.at(by));
                let armed = self.model.cancel(which as u64);
                if armed {
                    self.model.insert(at, which as u64);
                }
                assert_eq!(self.wheel.rearm(self.keys[which], Tick(at)), armed);
            }
            Op::Cancel(which) if !self.keys.is_empty() => {
                let which = which % self.keys.len();
                let armed = self.model.cancel(which as u64);
                assert_eq!(self.wheel.cancel(self.keys[which]), armed.then_some(which as u64));
            }
            Op::Advance(by) => self.advance(self.model.now.saturating_add(by)),
            Op::Sleep(more) => {
                if let Some(Tick(at)) = self.wheel.next_deadline() {
                    self.advance(at + more);
                }
            }
            Op::Pop(count) => (0..count).for_each(|_| self.pop()),
            Op::Rearm(..) | Op::Cancel(_) => {}
        }
        self.check();
    }

    fn at(&self, by: i64) -> u64 {
        self.model.now.saturating_add_signed(by)
    }

    fn advance(&mut self, now: u64) {
        self.wheel.advance(Tick(now));
        self.model.advance(now);
    }

    fn pop(&mut self) {
        let popped = self.wheel.pop_expired();
        assert_eq!(popped.map(|(_, value)| value), self.model.pop());
        if let Some((key, value)) = popped {
            assert_eq!(key, self.keys[value as usize]);
            assert_eq!(self.wheel.deadline(key), None, "a popped key is stale");
        }
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.timers.len());
        assert_eq!(self.wheel.now(), Tick(self.model.now));
        let earliest = self.model.timers.keys().next().map(|&(at, _)| at.max(self.model.now));
        let next = self.wheel.next_deadline().map(|Tick(at)| at);
        assert_eq!(next.is_some(), earliest.is_some());
        assert!(next <= earliest, "sleeping until {next:?} misses {earliest:?}");
        assert!(next.is_none_or(|at| at >= self.model.now));
        assert!(
            next == earliest || next > Some(self.model.now),
            "an idle wake-up at the current tick would spin"
        );
        for (&(at, _), entry) in &self.model.timers {
            assert_eq!(self.wheel.deadline(self.keys[entry.value as usize]), Some(Tick(at)));
        }
    }
}

proptest! {
    #[test]
    fn wheel_behaves_like_a_sorted_map(start in prop_oneof![Just(0), Just((1 << 36) - 5), Just(u64::MAX >> 1), any::<u32>().prop_map(u64::from)],
                                       ops in prop::collection::vec(op(), 1..120)) {
        let mut pair = Pair::new(start);
        ops.into_iter().for_each(|op| pair.apply(op));
        // Everything comes out in the end.
        pair.advance(u64::MAX);
        while !pair.model.timers.is_empty() {
            pair.pop();
        }
        pair.check();
    }

    #[test]
    fn sleeping_wakes_idly_at_most_once_for_each_level(start in any::<u32>(), by in 1..1u64 << 40, others in prop::collection::vec(0..1u64 << 30, 0..20)) {
        let mut wheel = Wheel::new(Tick(start.into()));
        let deadline = u64::from(start) + by;
        wheel.insert(Tick(deadline), 0);
        for other in others {
            wheel.insert(Tick(deadline.saturating_add(other)), 1);
        }
        let mut wakes = 0;
        while let Some(at) = wheel.next_deadline().filter(|&at| at < Tick(deadline)) {
            wheel.advance(at);
            prop_assert!(wheel.pop_expired().is_none());
            wakes += 1;
        }
        // Five levels to fall through, one boundary of the horizon for each 2^36 ticks.
        prop_assert!(wakes <= 5 + (by >> 36) + 1, "{wakes} idle wakes");
        wheel.advance(Tick(deadline));
        prop_assert_eq!(wheel.pop_expired().map(|(_, value)| value), Some(0));
    }
}

#[test]
fn a_lone_timer_wakes_exactly_once() {
    for deadline in [1, 63, 64, 4096, 60_000, 3_600_000, 1 << 35, 1 << 37].map(Tick) {
        let mut wheel = Wheel::new(Tick(0));
        wheel.insert(deadline, ());
        assert_eq!(wheel.next_deadline(), Some(deadline));
        wheel.advance(Tick(deadline.0 - 1));
        assert!(wheel.pop_expired().is_none());
        wheel.advance(deadline);
        assert!(wheel.pop_expired().is_some());
    }
}

#[test]
fn equal_deadlines_fire_in_the_order_they_were_armed_from_any_level() {
    let mut wheel = Wheel::new(Tick(0));
    let first = wheel.insert(Tick(5000), 0);
    wheel.insert(Tick(5000), 1);
    wheel.advance(Tick(4990)); // the two have fallen to level 0
    wheel.insert(Tick(5000), 2);
    assert!(wheel.rearm(first, Tick(5000)));
    wheel.advance(Tick(5000));
    assert_eq!(drain(&mut wheel), [1, 2, 0]);
}

#[test]
fn a_timer_armed_for_now_while_expiring_waits_for_the_next_advance() {
    let mut wheel = Wheel::new(Tick(7));
    wheel.insert(Tick(8), 0);
    wheel.advance(Tick(8));
    for round in 1..4 {
        let (_, value) = wheel.pop_expired().expect("one timer a round");
        assert_eq!(value, round - 1);
        wheel.insert(Tick(0), round);
        assert!(wheel.pop_expired().is_none());
        assert_eq!(wheel.next_deadline(), Some(Tick(8)));
        wheel.advance(Tick(8));
    }
}

#[test]
fn an_expired_timer_can_be_cancelled_or_moved_until_it_is_popped() {
    let mut wheel = Wheel::new(Tick(0));
    let keys = [1, 1, 2].map(|at| wheel.insert(Tick(at), at));
    wheel.advance(Tick(5));
    assert!(wheel.pop_expired().is_some());
    assert_eq!(wheel.cancel(keys[1]), Some(1));
    assert!(wheel.rearm(keys[2], Tick(9)));
    assert!(wheel.pop_expired().is_none());
    assert_eq!((wheel.len(), wheel.next_deadline()), (1, Some(Tick(9))));
}

#[test]
fn a_stale_key_touches_nothing_though_its_memory_is_in_use_again() {
    let mut wheel = Wheel::new(Tick(0));
    let old = wheel.insert(Tick(1), 'a');
    assert_eq!(wheel.cancel(old), Some('a'));
    let new = wheel.insert(Tick(1), 'b');
    assert_ne!(old, new);
    assert_eq!((wheel.cancel(old), wheel.rearm(old, Tick(3)), wheel.deadline(old)), (None, false, None));
    assert_eq!(wheel.deadline(new), Some(Tick(1)));
}

#[test]
fn the_clock_going_back_changes_nothing() {
    let mut wheel = Wheel::new(Tick(100));
    wheel.insert(Tick(105), ());
    wheel.advance(Tick(3));
    assert_eq!((wheel.now(), wheel.next_deadline()), (Tick(100), Some(Tick(105))));
}

fn drain<T>(wheel: &mut Wheel<T>) -> Vec<T> {
    std::iter::from_fn(|| wheel.pop_expired()).map(|(_, value)| value).collect()
}
