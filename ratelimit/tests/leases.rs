//! What members take beyond what they want, and use without asking.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::num::NonZeroU32;

use bufferevent_ratelimit::{
    Bell, Direction, Grant, Group, LEASE_MAX, LEASE_MIN, LocalClock, Member, Nanos, TokenBucketConfig,
    Waiter, Want,
};
use common::{MS, START, config};
use proptest::prelude::*;

const WRITE: Direction = Direction::Write;
const RATE: u64 = 1 << 20;
/// Milliseconds.
const TICK: u64 = 10;

/// Nobody is woken here: who waits takes again when it likes.
struct Nobody;

impl Waiter for Nobody {
    type Base = ();

    fn base(&self) {}

    fn wake(self) {}

    fn alarm((): &(), _: &Bell<Self>, _: Nanos) {}
}

fn join(group: &Group<Nobody>) -> Member<Nobody> {
    group.join(NonZeroU32::MIN)
}

/// What a connection does: uses its lease if that has enough, else takes so much at once, and moves `used` of it. It does not
/// wait.
fn moves(member: &mut Member<Nobody>, once: u64, used: u64, now: Nanos) -> u64 {
    if member.leased(WRITE, now) >= once {
        member.spend(WRITE, used);
        return used;
    }
    let Grant::Granted(bytes) = member.take(WRITE, Want::once(once), now, || Nobody) else {
        // What is granted to who waits is good for longer than a tick.
        member.withdraw(WRITE, now);
        return 0;
    };
    let used = used.min(bytes);
    member.settle(WRITE, bytes, used, now);
    used
}

#[test]
fn what_is_leased_lasts_until_the_tick_ends() {
    let group = Group::new(&config(RATE, RATE, TICK), START);
    let mut member = join(&group);
    assert_eq!(moves(&mut member, 64, 64, START), 64);
    let lease = LEASE_MAX - 64;
    assert_eq!(member.leased(WRITE, START), lease);
    assert_eq!((group.level(WRITE, START), group.total(WRITE)), ((RATE - LEASE_MAX) as i64, 0));
    let last = Nanos(TICK * MS - 1);
    assert_eq!(moves(&mut member, 1_000, 1_000, last), 1_000);
    assert_eq!(member.most(WRITE, last), RATE - 1_064, "what is there, and what it has");
    assert_eq!((member.leased(WRITE, last), member.leased(WRITE, Nanos(TICK * MS))), (lease - 1_000, 0));
    // It takes anew, and is counted.
    assert_eq!(moves(&mut member, 64, 64, Nanos(TICK * MS)), 64);
    assert_eq!(
        (group.level(WRITE, Nanos(TICK * MS)), group.total(WRITE)),
        ((RATE - LEASE_MAX) as i64, 1_064)
    );
    member.release(Nanos(TICK * MS));
    assert_eq!((group.level(WRITE, Nanos(TICK * MS)), group.total(WRITE)), ((RATE - 64) as i64, 1_128));
}

/// Of what was wanted at once and not used, a lease is kept, and the rest goes back.
#[test]
fn lease_is_its_part_of_the_burst() {
    let lease = |burst, members| {
        let group = Group::new(&config(burst, burst, TICK), START);
        let mut all = Vec::from_iter((0..members).map(|_| join(&group)));
        moves(&mut all[0], 1 << 16, 64, START);
        assert_eq!(group.level(WRITE, START), (burst - 64 - all[0].leased(WRITE, START)) as i64);
        all[0].leased(WRITE, START)
    };
    assert_eq!(lease(1 << 30, 1), LEASE_MAX - 64);
    assert_eq!(lease(1 << 20, 10), (1 << 20) / 80);
    assert_eq!([lease(LEASE_MIN * 80, 10), lease(LEASE_MIN * 80 - 1, 10)], [LEASE_MIN, 0]);
}

#[test]
fn nothing_is_leased_unless_there_is_plenty() {
    let group = Group::new(&config(RATE, 4 * RATE, TICK), START);
    let mut member = join(&group);
    let leases = |member: &mut Member<Nobody>, now| {
        moves(member, 64, 64, now);
        member.leased(WRITE, now) > 0
    };
    assert!(!leases(&mut member, START), "the next tick does not fill the burst");
    let full = Nanos(10 * TICK * MS);
    assert!(leases(&mut member, full));
    group.decrement(WRITE, RATE as i64, full);
    assert!(!leases(&mut join(&group), full), "there is less than three ticks' worth");
    // Nor while somebody waits, nor where bytes come at no known time.
    let tick = Nanos(11 * TICK * MS);
    group.decrement(WRITE, 10 * RATE as i64, tick);
    let mut waiting = join(&group);
    assert_eq!(waiting.take(WRITE, Want::once(1), tick, || Nobody), Grant::Wait);
    group.decrement(WRITE, -40 * RATE as i64, tick);
    drop(waiting);
    assert!(leases(&mut join(&group), tick));
    let config = config(RATE, RATE, TICK);
    let source = std::sync::Arc::new(LocalClock::new(&config, START));
    let sourced = Group::with_source(&config, source, START);
    assert!(!leases(&mut join(&sourced), full));
}

/// Of what is left at the end of a tick, a group above whose tick goes on loses nothing.
#[test]
fn lease_goes_back_where_the_tick_is_longer() {
    let root = Group::new(&config(RATE, RATE, 100 * TICK), START);
    let group = root.child(&config(RATE, RATE, 1), NonZeroU32::MIN, START).expect("not deep");
    let mut member = join(&group);
    let moved = (0..100 * TICK).map(|at| moves(&mut member, 64, 64, Nanos(at * MS))).sum::<u64>();
    let last = Nanos(100 * TICK * MS - 1);
    member.release(last);
    assert_eq!((root.level(WRITE, last), root.total(WRITE)), ((RATE - moved) as i64, moved));
}

/// A change holds for what is leased too.
#[test]
fn change_of_the_limit_ends_leases() {
    let root = Group::new(&config(RATE, RATE, TICK), START);
    let group = root.child(&config(RATE, RATE, TICK), NonZeroU32::MIN, START).expect("not deep");
    let mut member = join(&group);
    let changes: [&dyn Fn(); 2] = [&|| root.set_config(&config(1_000, 1_000, TICK), START), &|| {
        group.set_config(&config(500, 500, TICK), START)
    }];
    moves(&mut member, 64, 64, START);
    assert!(member.leased(WRITE, START) > 0);
    for (change, least) in changes.into_iter().zip([1_000, 500]) {
        change();
        assert_eq!(member.leased(WRITE, START), 0);
        assert_eq!(member.most(WRITE, START), least);
    }
    assert_eq!(moves(&mut member, 10_000, 10_000, START), 500);
    assert_eq!((root.total(WRITE), group.total(WRITE)), (564, 564));
}

/// G-04: what a member used of a lease is counted in the parent of a group that is dissolved.
#[test]
fn end_of_the_group_ends_leases() {
    let root = Group::new(&config(RATE, RATE, TICK), START);
    let group = root.child(&config(RATE, RATE, TICK), NonZeroU32::MIN, START).expect("not deep");
    let mut member = join(&group);
    moves(&mut member, 64, 64, START);
    drop(group);
    assert_eq!(member.leased(WRITE, START), 0);
    assert_eq!(moves(&mut member, 100, 100, START), 100);
    member.release(START);
    assert_eq!(root.total(WRITE), 164);
}

/// A bucket that is charged when bytes move, and filled at each boundary.
struct Bucket {
    level: i128,
    rate: u64,
    burst: u64,
    tick: u64,
    next: u64,
}

impl Bucket {
    fn new(rate: u64, burst: u64, tick: u64) -> Self {
        Self { level: rate.into(), rate, burst, tick, next: tick * MS }
    }

    fn config(&self) -> TokenBucketConfig {
        config(self.rate, self.burst, self.tick)
    }

    fn turn_to(&mut self, now: Nanos) {
        while self.next <= now.0 {
            self.level = i128::from(self.burst).min(self.level + i128::from(self.rate));
            self.next += self.tick * MS;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// So much at once, of which so many hundredths move.
    Move(u64, u64),
    /// All there is.
    Drain,
    Release,
    Rejoin,
    Withdraw,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..40_000_u64, 0..=100_u64).prop_map(|(once, used)| Op::Move(once, used)),
        1 => Just(Op::Drain),
        1 => Just(Op::Release),
        1 => Just(Op::Rejoin),
        2 => Just(Op::Withdraw),
    ]
}

proptest! {
    /// F52, R1, R2: whoever leases, uses, waits and gives back, no bucket that is charged when bytes move is ever
    /// overdrawn, nor does it hold less than the clock says; and each byte is counted once.
    #[test]
    fn no_bucket_is_overdrawn_by_leases(
        bursts in (1..=4_u64, 1..=4_u64),
        steps in prop::collection::vec((0..4_usize, prop_oneof![4 => Just(0), 4 => 0..MS, 1 => 0..40 * MS], op()), 1..200),
    ) {
        let mut buckets = [Bucket::new(RATE, bursts.0 * RATE, TICK), Bucket::new(RATE / 2, bursts.1 * RATE / 2, 7)];
        let root = Group::new(&buckets[0].config(), START);
        let child = root.child(&buckets[1].config(), NonZeroU32::MIN, START).expect("not deep");
        let groups = [root, child];
        let of = |member: usize| &groups[member % 2];
        let mut members = [0, 1, 2, 3].map(|member| join(of(member)));
        let (mut now, mut moved) = (START, 0);
        for (member, pause, op) in steps {
            now = Nanos(now.0 + pause);
            buckets.iter_mut().for_each(|bucket| bucket.turn_to(now));
            let used = match op {
                Op::Move(once, used) => moves(&mut members[member], once, once * used / 100, now),
                Op::Drain => moves(&mut members[member], u64::MAX >> 4, u64::MAX >> 4, now),
                Op::Release => { members[member].release(now); 0 }
                Op::Rejoin => { members[member] = join(of(member)); 0 }
                Op::Withdraw => { members[member].withdraw(WRITE, now); 0 }
            };
            moved += used;
            for bucket in &mut buckets[..=member % 2] {
                bucket.level -= i128::from(used);
            }
            for (bucket, group) in buckets.iter().zip(&groups) {
                prop_assert!(bucket.level >= 0, "overdrawn by {}", -bucket.level);
                prop_assert!(i128::from(group.level(WRITE, now)) <= bucket.level);
            }
        }
        members.iter_mut().for_each(|member| { member.release(now); });
        prop_assert_eq!(groups[0].total(WRITE), moved);
    }
}
