//! Protocol 8, leases: what members take beyond what they want, against those who wait, the end of the tick, changes, and the
//! end of a group.

#![cfg(loom)]

use std::num::NonZeroU32;

use bufferevent_ratelimit::{
    Bell, Direction, Grant, Group, LEASE_MIN, Member, Nanos, Terms, TokenBucketConfig, Waiter, Want,
};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Tally, assert_mutants_die, model};

const WRITE: Direction = Direction::Write;
const START: Nanos = Nanos(0);
/// The first boundary.
const TICK: Nanos = Nanos(1_000_000_000);
/// Of this each of two members may lease the least that is leased.
const BURST: u64 = 16 * LEASE_MIN;

/// Counts how often it was woken.
struct Woken(Arc<Tally>);

impl Waiter for Woken {
    type Base = ();

    fn base(&self) {}

    fn wake(self) {
        self.0.add(1);
    }

    fn alarm((): &(), _: &Bell<Self>, _: Nanos) {}
}

fn group() -> Group<Woken> {
    Group::new(&config(BURST), START)
}

fn config(rate: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, rate, rate, rate, None).expect("valid")
}

fn join(group: &Group<Woken>) -> Member<Woken> {
    group.join(NonZeroU32::MIN)
}

fn take(member: &mut Member<Woken>, want: u64, now: Nanos) -> u64 {
    match member.take(WRITE, Want::once(want), now, || Woken(Arc::default())) {
        Grant::Granted(bytes) => bytes,
        Grant::Wait | Grant::Left => 0,
    }
}

/// A member in the hands of a connection: it uses what was lent to it as long as the terms hold, and tells that later.
struct Holder {
    member: Member<Woken>,
    terms: Terms,
    left: u64,
    used: u64,
}

impl Holder {
    fn new(group: &Group<Woken>) -> Self {
        Self { member: join(group), terms: Terms::default(), left: 0, used: 0 }
    }

    /// Moves so many bytes. Gives what moved.
    fn moves(&mut self, want: u64, now: Nanos) -> u64 {
        if self.left >= want && self.terms.hold(now) {
            (self.left, self.used) = (self.left - want, self.used + want);
            return want;
        }
        self.tell();
        let bytes = take(&mut self.member, want, now);
        self.member.settle(WRITE, bytes, bytes, now);
        self.left = self.member.lend(WRITE, now, &mut self.terms);
        bytes
    }

    fn tell(&mut self) {
        self.member.spend(WRITE, std::mem::take(&mut self.used));
        self.left = 0;
    }

    fn release(&mut self, now: Nanos) {
        self.tell();
        self.member.release(now);
    }
}

/// R1, R2: what is leased is nobody else's, and is counted and back once it is over.
#[test]
fn no_byte_is_leased_twice() {
    model(Bounds::LARGE, || {
        let group = group();
        let holders = [Holder::new(&group), Holder::new(&group)].map(|mut holder| {
            thread::spawn(move || {
                let moved = holder.moves(10, START) + holder.moves(20, START);
                holder.release(START);
                moved
            })
        });
        let moved: u64 = holders.into_iter().map(|holder| holder.join().expect("no panic")).sum();
        assert_eq!((moved, group.total(WRITE)), (60, 60));
        assert_eq!(group.level(WRITE, START), (BURST - 60) as i64);
    });
}

/// R1, F52: what is left of a lease does not go back after its tick, for others may have taken a burst by then.
#[test]
fn no_more_than_the_burst_goes_after_the_boundary() {
    model(Bounds::EXHAUSTIVE, || {
        let group = group();
        let (mut holder, mut other) = (Holder::new(&group), Holder::new(&group));
        assert_eq!(holder.moves(10, START), 10);
        let holding = thread::spawn(move || {
            holder.release(TICK);
        });
        let early = other.moves(BURST, TICK);
        holding.join().expect("no panic");
        other.member.withdraw(WRITE, TICK);
        let late = other.moves(BURST, TICK);
        assert_eq!((early + late, group.total(WRITE)), (BURST, BURST + 10));
    });
}

/// Who begins to wait gets what somebody gives back of a lease, and nothing is leased while somebody waits.
#[test]
fn nobody_waits_beside_a_lease_that_ends() {
    model(Bounds::EXHAUSTIVE, || {
        let group = group();
        let (mut holder, mut waiting) = (Holder::new(&group), join(&group));
        assert_eq!(holder.moves(10, START), 10);
        // All that is left is leased.
        group.decrement(WRITE, (BURST - LEASE_MIN) as i64, START);
        let ending = thread::spawn(move || {
            holder.release(START);
            holder
        });
        let woken = Arc::new(Tally::default());
        let grant = waiting.take(WRITE, Want::once(30), START, || Woken(Arc::clone(&woken)));
        let _holder = ending.join().expect("no panic");
        if grant == Grant::Wait {
            assert_eq!(woken.get(), 1, "it waits for ever");
            assert_eq!(take(&mut waiting, 30, START), 30);
        }
        assert_eq!(group.level(WRITE, START), (LEASE_MIN - 10 - 30) as i64);
    });
}

/// A credit by hand makes plenty while somebody waits: whoever comes meanwhile passes nobody.
#[test]
fn nothing_is_leased_while_somebody_waits() {
    model(Bounds::EXHAUSTIVE, || {
        let group = group();
        let (mut waiting, mut late) = (join(&group), Holder::new(&group));
        group.decrement(WRITE, BURST as i64, START);
        assert_eq!(take(&mut waiting, BURST, START), 0);
        let giving = {
            let group = group.clone();
            thread::spawn(move || group.decrement(WRITE, -(BURST as i64), START))
        };
        let passed = late.moves(10, START);
        giving.join().expect("no panic");
        late.member.withdraw(WRITE, START);
        assert_eq!((passed, late.left), (0, 0));
        // But for what the other had, had it stayed.
        assert!(take(&mut waiting, BURST, START) >= BURST - 10);
    });
}

/// A change ends what is leased by the old limit, at the latest when it has returned.
#[test]
fn change_ends_leases() {
    model(Bounds::EXHAUSTIVE, || {
        let group = group();
        let mut holder = Holder::new(&group);
        assert_eq!(holder.moves(10, START), 10);
        let changing = {
            let group = group.clone();
            thread::spawn(move || group.set_config(&config(100), START))
        };
        assert_eq!(holder.moves(20, START), 20);
        changing.join().expect("no panic");
        assert!(!holder.terms.hold(START) || holder.left == 0);
        holder.release(START);
        assert_eq!(group.total(WRITE), 30);
        assert!((80..=100).contains(&group.level(WRITE, START)));
    });
}

/// G-04, R2: what was used of a lease is counted, though the group has ended.
#[test]
fn lease_of_a_dissolved_group_is_counted_in_its_parent() {
    model(Bounds::EXHAUSTIVE, || {
        let root = group();
        let child = root.child(&config(BURST), NonZeroU32::MIN, START).expect("not deep");
        let mut holder = Holder::new(&child);
        assert_eq!(holder.moves(10, START), 10);
        let ending = thread::spawn(move || drop(child));
        assert_eq!(holder.moves(20, START), 20);
        ending.join().expect("no panic");
        holder.release(START);
        assert_eq!(root.total(WRITE), 30);
        // What was left is forfeited, or was given back.
        assert!(root.level(WRITE, START) <= (BURST - 30) as i64);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("clock_take:torn", "no_byte_is_leased_twice"),
        ("clock_give:torn", "no_byte_is_leased_twice"),
        ("lease_is_not_counted", "no_byte_is_leased_twice"),
        ("lease_goes_back_late", "no_more_than_the_burst_goes_after_the_boundary"),
        ("group_gives_back_in_silence", "nobody_waits_beside_a_lease_that_ends"),
        ("clock_take_passes_the_queue", "nothing_is_leased_while_somebody_waits"),
        ("lease_outlives_its_path", "change_ends_leases"),
        ("group_outdates_nobody", "change_ends_leases"),
        ("lease_is_not_counted", "lease_of_a_dissolved_group_is_counted_in_its_parent"),
    ]);
}
