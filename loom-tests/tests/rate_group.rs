//! Protocol 8 in use: members of groups that wait, against refunds, changes, alarms and the end of a group.

#![cfg(loom)]
#![allow(clippy::disallowed_types, reason = "what a model observes with, which loom must not see")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bufferevent_ratelimit::{Bell, Direction, Grant, Group, Member, Nanos, TokenBucketConfig, Waiter, Want};
use bufferevent_sync::{Mutex, thread};
use loom_tests::{Bounds, Tally, assert_mutants_die, model};

const WRITE: Direction = Direction::Write;
const START: Nanos = Nanos(0);
/// The first boundary.
const TICK: Nanos = Nanos(1_000_000_000);

/// What happened to those of a model that wait on one base.
#[derive(Default)]
struct Base {
    woken: Tally,
    armed: Tally,
    /// The earliest.
    alarm: Mutex<Option<(Nanos, Bell<Waiting>)>>,
}

struct Waiting(Here);

#[derive(Clone)]
struct Here(Arc<Base>);

impl PartialEq for Here {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Here {}

impl Waiter for Waiting {
    type Base = Here;

    fn base(&self) -> Here {
        self.0.clone()
    }

    fn wake(self) {
        self.0.0.woken.add(1);
    }

    fn alarm(base: &Here, bell: &Bell<Self>, at: Nanos) {
        base.0.armed.add(1);
        let mut alarm = base.0.alarm.lock();
        if alarm.as_ref().is_none_or(|(earlier, _)| at < *earlier) {
            *alarm = Some((at, bell.clone()));
        }
    }
}

impl Here {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn take(&self, member: &mut Member<Waiting>, want: u64, now: Nanos) -> Grant {
        member.take(WRITE, Want::once(want), now, || Waiting(self.clone()))
    }

    /// Its alarm goes off. Gives when that was, and when the next one is.
    fn ring(&self) -> (Nanos, Option<Nanos>) {
        let (at, bell) = self.0.alarm.lock().take().expect("it is armed");
        (at, bell.ring(self, at))
    }
}

fn config(rate: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, rate, rate, rate, None).expect("valid")
}

fn join(group: &Group<Waiting>) -> Member<Waiting> {
    group.join(NonZeroU32::MIN)
}

/// A member that has taken all there was.
fn glutton(group: &Group<Waiting>, bytes: u64) -> Member<Waiting> {
    let mut member = join(group);
    assert_eq!(Here::new().take(&mut member, bytes, START), Grant::Granted(bytes));
    member
}

/// Who was told to wait has been woken since, and gets what it wants; or it got that at once.
fn assert_served(grant: Grant, here: &Here, member: &mut Member<Waiting>, want: u64) {
    if grant == Grant::Wait {
        assert_eq!(here.0.woken.get(), 1, "it waits for ever");
        assert_eq!(here.take(member, want, START), Grant::Granted(want));
    } else {
        assert_eq!((grant, here.0.woken.get()), (Grant::Granted(want), 0));
    }
}

/// What one does not use falls to who waits, here or in a group beside it.
fn refund(nested: bool) {
    model(Bounds::EXHAUSTIVE, move || {
        let root = Group::new(&config(100), START);
        let groups = [(); 2].map(|()| {
            if nested {
                root.child(&config(1_000), NonZeroU32::MIN, START).expect("not deep")
            } else {
                root.clone()
            }
        });
        let mut giver = glutton(&groups[0], 100);
        let (here, mut member) = (Here::new(), join(&groups[1]));
        let giving = thread::spawn(move || {
            giver.settle(WRITE, 100, 0, START);
            giver
        });
        let grant = here.take(&mut member, 10, START);
        let _giver = giving.join().expect("no panic");
        assert_served(grant, &here, &mut member, 10);
        assert_eq!(root.level(WRITE, START), 90);
    });
}

#[test]
fn nobody_waits_beside_a_refund() {
    refund(false);
}

#[test]
fn nobody_waits_beside_a_refund_above() {
    refund(true);
}

/// R4: the whole path is charged with the same.
#[test]
fn what_a_parent_refuses_goes_back_below() {
    model(Bounds::EXHAUSTIVE, || {
        let root = Group::new(&config(10), START);
        let child = root.child(&config(100), NonZeroU32::MIN, START).expect("not deep");
        let (mut one, mut other) = (join(&child), join(&child));
        let taking = thread::spawn(move || (Here::new().take(&mut one, 8, START), one));
        let first = Here::new().take(&mut other, 8, START);
        let (second, _one) = taking.join().expect("no panic");
        let bytes = |grant| if let Grant::Granted(bytes) = grant { bytes as i64 } else { 0 };
        let taken = bytes(first) + bytes(second);
        assert_eq!((child.level(WRITE, START), root.level(WRITE, START)), (100 - taken, 10 - taken));
        assert_eq!(taken, 10);
    });
}

/// A change that brings tokens serves who waits, and all go by it.
#[test]
fn change_reaches_all() {
    model(Bounds::EXHAUSTIVE, || {
        let group = Group::new(&config(100), START);
        let mut early = glutton(&group, 100);
        let (here, mut member) = (Here::new(), join(&group));
        let changing = {
            let group = group.clone();
            thread::spawn(move || group.set_config(&config(50), TICK))
        };
        let grant = here.take(&mut member, 10, START);
        changing.join().expect("no panic");
        assert_served(grant, &here, &mut member, 10);
        early.settle(WRITE, 100, 100, TICK);
        // It is a burst of 50 now.
        assert_eq!(here.take(&mut early, 1_000, Nanos(10 * TICK.0)), Grant::Granted(50));
    });
}

/// A change of the tick moves the alarm of who waits.
#[test]
fn change_of_the_tick_moves_the_alarm() {
    model(Bounds::EXHAUSTIVE, || {
        let group = Group::new(&config(100), START);
        let _glutton = glutton(&group, 100);
        let (here, mut member) = (Here::new(), join(&group));
        let changing = {
            let group = group.clone();
            let tick = Some(Duration::from_millis(1));
            let config = TokenBucketConfig::new(100, 100, 100, 100, tick).expect("valid");
            thread::spawn(move || group.set_config(&config, START))
        };
        assert_eq!(here.take(&mut member, 10, START), Grant::Wait);
        changing.join().expect("no panic");
        assert_eq!(here.ring(), (Nanos(1_000_000), None));
        assert_served(Grant::Wait, &here, &mut member, 10);
    });
}

/// Who waits in a root that ends is let go.
#[test]
fn dissolved_root_lets_all_go() {
    model(Bounds::EXHAUSTIVE, || {
        let root = Group::new(&config(10), START);
        let _glutton = glutton(&root, 10);
        let (here, mut member) = (Here::new(), join(&root));
        let ending = thread::spawn(move || drop(root));
        let grant = here.take(&mut member, 10, START);
        ending.join().expect("no panic");
        if grant == Grant::Wait {
            assert_eq!(here.0.woken.get(), 1, "it waits for ever");
        }
        assert_eq!(here.take(&mut member, 10, START), Grant::Left);
    });
}

/// G-04: who waits in another group that ends, or comes to it then, goes on in its parent.
#[test]
fn who_waits_falls_to_the_parent() {
    model(Bounds::EXHAUSTIVE, || {
        let root = Group::new(&config(100), START);
        let child = root.child(&config(10), NonZeroU32::MIN, START).expect("not deep");
        let mut glutton = glutton(&child, 10);
        let (here, mut member) = (Here::new(), join(&child));
        let ending = thread::spawn(move || drop(child));
        let grant = here.take(&mut member, 10, START);
        ending.join().expect("no panic");
        assert_served(grant, &here, &mut member, 10);
        assert_eq!((root.level(WRITE, START), root.snapshot(WRITE, START).members), (80, 2));
        [&mut member, &mut glutton].into_iter().for_each(|member| member.release(START));
        assert_eq!(root.level(WRITE, START), 100, "what was not used is back");
    });
}

/// G-04, R2: who has taken and not settled when its group ends is counted, and leaves what it does not use.
#[test]
fn who_is_moving_bytes_falls_to_the_parent() {
    model(Bounds::EXHAUSTIVE, || {
        let root = Group::new(&config(100), START);
        let child = root.child(&config(50), NonZeroU32::MIN, START).expect("not deep");
        let mut member = glutton(&child, 30);
        let ending = thread::spawn(move || drop(child));
        member.settle(WRITE, 30, 20, START);
        let again = Here::new().take(&mut member, 80, START);
        ending.join().expect("no panic");
        // Of the child, or of the root.
        assert!(matches!(again, Grant::Granted(30 | 80)), "{again:?}");
        let Grant::Granted(bytes) = again else { return };
        member.settle(WRITE, bytes, bytes, START);
        assert_eq!((root.total(WRITE), root.level(WRITE, START)), (20 + bytes, 80 - bytes as i64));
        member.settle(WRITE, 0, 5, START);
        drop(member);
        assert_eq!((root.total(WRITE), root.level(WRITE, START)), (25 + bytes, 75 - bytes as i64));
    });
}

/// D12: whichever base rings first serves all; a member that comes meanwhile is not forgotten.
#[test]
fn alarms_of_two_bases_serve_all_once() {
    model(Bounds::LARGE, || {
        let group = Group::new(&config(100), START);
        let _glutton = glutton(&group, 100);
        let bases = [Here::new(), Here::new()];
        let mut members = bases.clone().map(|here| {
            let mut member = join(&group);
            assert_eq!(here.take(&mut member, 30, START), Grant::Wait);
            assert_eq!(here.0.armed.get(), 1, "nobody would ring");
            member
        });
        let ringing = bases.clone().map(|here| thread::spawn(move || here.ring()));
        let (here, mut late) = (Here::new(), join(&group));
        let grant = here.take(&mut late, 30, START);
        for ring in ringing {
            assert_eq!(ring.join().expect("no panic"), (TICK, None), "nobody waits any more");
        }
        assert_served(grant, &here, &mut late, 30);
        for (here, member) in bases.iter().zip(&mut members) {
            assert_served(Grant::Wait, here, member, 30);
        }
        assert_eq!(group.level(WRITE, TICK), 10);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("group_gives_back_in_silence", "nobody_waits_beside_a_refund"),
        ("group_gives_back_in_silence", "nobody_waits_beside_a_refund_above"),
        ("group_looks_before_it_waits", "nobody_waits_beside_a_refund"),
        ("group_looks_before_it_waits", "nobody_waits_beside_a_refund_above"),
        ("group_keeps_what_is_refused", "what_a_parent_refuses_goes_back_below"),
        ("group_changes_in_silence", "change_of_the_tick_moves_the_alarm"),
        ("group_outdates_nobody", "change_reaches_all"),
        ("group_dissolves_in_silence", "dissolved_root_lets_all_go"),
        ("group_dissolves_in_silence", "who_waits_falls_to_the_parent"),
        ("group_lets_in_after_its_end", "who_waits_falls_to_the_parent"),
        ("group_forgets_who_falls", "who_waits_falls_to_the_parent"),
        ("group_forgets_who_falls", "who_is_moving_bytes_falls_to_the_parent"),
        ("group_sets_no_alarm", "alarms_of_two_bases_serve_all_once"),
        ("clock_wait:torn", "nobody_waits_beside_a_refund"),
        ("clock_give:torn", "nobody_waits_beside_a_refund"),
    ]);
}
