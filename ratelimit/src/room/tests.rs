//! Groups against plain buckets, step by step: whatever is done, in whatever order, each group holds what a bucket of its
//! own would hold, nobody is forgotten, and what the room says of itself is true.

use std::num::NonZeroU32;
use std::time::Duration;

use bufferevent_sync::{Arc, Mutex};
use proptest::prelude::*;

use super::*;
use crate::half::Half;
use crate::{Bell, Direction, Grant, Group, Member, TokenBucket, TokenBucketConfig, Want};

const WRITE: Direction = Direction::Write;

impl<W: Waiter> Room<W> {
    /// M1 to M4, after `serve`.
    fn check(&self) {
        assert!(self.taking_part.is_empty(), "only while serving");
        let mut blocked = 0;
        for (index, node) in self.groups.iter().enumerate() {
            let Some(node) = node else { continue };
            let waited_for = node.shared.clock.is_waited_for();
            assert_eq!(waited_for, !node.queue.is_empty(), "M1");
            assert_eq!(waited_for, node.waited_for_since.is_some());
            let level = node.shared.clock.level(&node.plan, self.now);
            let enough = level >= node.needs() as i64;
            match node.standing {
                Standing::Idle => assert!(node.queue.is_empty(), "M2"),
                Standing::Blocked(at) => {
                    assert!(self.blocked.contains(&(at, index)), "M2");
                    assert!(!enough && at > self.now, "M3: {level} of {}", node.needs());
                    blocked += 1;
                }
                Standing::Ready(Some(place)) => {
                    let parent = self.node(node.parent.expect("M2: not the root"));
                    assert!(
                        matches!(parent.queue.get(place), Some(Entry::Group(child)) if *child == index),
                        "M2"
                    );
                }
                Standing::Ready(None) => panic!("M3: the root is ready"),
            }
            let short = |above: usize| {
                let above = self.node(above);
                above.shared.clock.level(&above.plan, self.now) < above.needs() as i64
            };
            assert!(node.queue.is_empty() || self.upwards(index).any(short), "M3: nothing holds them up");
            if node.dissolved {
                assert!(node.queue.is_empty() && node.members + node.children > 0, "M6");
            } else {
                assert!(self.upwards(index).all(|above| !self.node(above).dissolved), "M6");
            }
            let members = (0..self.groups.len())
                .filter(|child| self.groups[*child].as_ref().is_some_and(|child| child.parent == Some(index)))
                .filter(|child| matches!(self.node(*child).standing, Standing::Ready(_)));
            assert_eq!(node.queue.len(), node.waiting + members.count(), "M2");
        }
        assert_eq!(self.blocked.len(), blocked, "M2");
    }
}

/// Who waits, and where it tells that it is woken.
struct Listed {
    member: usize,
    base: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Waiter for Listed {
    type Base = usize;

    fn base(&self) -> usize {
        self.base
    }

    fn wake(self) {
        self.woken.lock().push(self.member);
    }

    fn alarm(_: &usize, _: &Bell<Self>, _: Nanos) {}
}

#[derive(Clone, Debug)]
enum Step {
    Take {
        member: usize,
        once: u64,
        in_all: u64,
    },
    /// What is granted, in hundredths, of which so much was used.
    Settle {
        member: usize,
        used: u64,
    },
    Charge {
        member: usize,
        bytes: u64,
    },
    Withdraw {
        member: usize,
    },
    Move {
        member: usize,
        base: usize,
    },
    /// Leaves, and joins again.
    Rejoin {
        member: usize,
        weight: u32,
    },
    Ring {
        base: usize,
    },
    Pass {
        nanos: u64,
    },
    Decrement {
        group: usize,
        bytes: i64,
    },
    Configure {
        group: usize,
        rate: u64,
        ticks: u64,
        millis: u64,
    },
    MinShare {
        group: usize,
        bytes: Option<u64>,
    },
    ResetTotals {
        group: usize,
    },
    /// A group without others below it ends, and another takes its place. Its members fall to its parent.
    Replace {
        group: usize,
    },
}

const MEMBERS: usize = 6;
const BASES: usize = 3;
/// By their parents: a root, two below it, one below the first of these.
const GROUPS: [Option<usize>; 4] = [None, Some(0), Some(0), Some(1)];

fn step() -> impl Strategy<Value = Step> {
    let (member, base, group) = (0..MEMBERS, 0..BASES, 0..GROUPS.len());
    prop_oneof![
        6 => (member.clone(), 1..300u64, 0..1_000u64)
            .prop_map(|(member, once, in_all)| Step::Take { member, once, in_all }),
        4 => (member.clone(), 0..=120u64).prop_map(|(member, used)| Step::Settle { member, used }),
        1 => (member.clone(), 0..200u64).prop_map(|(member, bytes)| Step::Charge { member, bytes }),
        1 => member.clone().prop_map(|member| Step::Withdraw { member }),
        1 => (member.clone(), base.clone()).prop_map(|(member, base)| Step::Move { member, base }),
        1 => (member, 1..5u32).prop_map(|(member, weight)| Step::Rejoin { member, weight }),
        2 => base.prop_map(|base| Step::Ring { base }),
        4 => (0..8_000_000u64).prop_map(|nanos| Step::Pass { nanos }),
        1 => (group.clone(), -300..300i64).prop_map(|(group, bytes)| Step::Decrement { group, bytes }),
        1 => (group.clone(), 1..200u64, 1..4u64, 1..5u64)
            .prop_map(|(group, rate, ticks, millis)| Step::Configure { group, rate, ticks, millis }),
        1 => (2..GROUPS.len()).prop_map(|group| Step::Replace { group }),
        1 => group.clone().prop_map(|group| Step::ResetTotals { group }),
        1 => (group, prop::option::of(0..300u64)).prop_map(|(group, bytes)| Step::MinShare { group, bytes }),
    ]
}

fn config(rate: u64, ticks: u64, millis: u64) -> TokenBucketConfig {
    let tick = Some(Duration::from_millis(millis));
    TokenBucketConfig::new(rate, rate * ticks, rate, rate * ticks, tick).expect("valid")
}

/// Members and their groups, and beside each group a bucket that knows nothing of it.
struct Bench {
    now: Nanos,
    half: Half<Listed>,
    groups: Vec<Group<Listed>>,
    buckets: Vec<TokenBucket>,
    members: Vec<Option<Member<Listed>>>,
    /// In which group each is by now.
    of: [usize; MEMBERS],
    /// Bytes that went, by group, of those that are or were there.
    moved: Vec<u64>,
    bases: [usize; MEMBERS],
    /// What each has been granted and neither used nor given back.
    outstanding: [u64; MEMBERS],
    granted_at: [Nanos; MEMBERS],
    /// When what it has came to it.
    got_at: [Nanos; MEMBERS],
    waiting: [bool; MEMBERS],
    /// Of those that wait, who was told to come.
    called: [bool; MEMBERS],
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Bench {
    fn new() -> Self {
        let (now, start) = (Nanos(7), config(100, 2, 2));
        let mut groups: Vec<Group<Listed>> = Vec::new();
        for parent in GROUPS {
            let group = parent.map_or_else(
                || Group::new(&start, now),
                |parent| groups[parent].child(&start, NonZeroU32::MIN, now).expect("not deep"),
            );
            groups.push(group);
        }
        let members = (0..MEMBERS).map(|member| Some(groups[member % GROUPS.len()].join(NonZeroU32::MIN)));
        Self {
            now,
            half: groups[0].half_of(WRITE),
            members: members.collect(),
            of: std::array::from_fn(|member| member % GROUPS.len()),
            moved: vec![0; GROUPS.len()],
            buckets: GROUPS.map(|_| TokenBucket::new(&start, WRITE, now)).into(),
            groups,
            bases: std::array::from_fn(|member| member % BASES),
            outstanding: [0; MEMBERS],
            granted_at: [now; MEMBERS],
            got_at: [now; MEMBERS],
            waiting: [false; MEMBERS],
            called: [false; MEMBERS],
            woken: Arc::default(),
        }
    }

    fn upwards(&self, member: usize) -> impl Iterator<Item = usize> + use<> {
        std::iter::successors(Some(self.of[member]), |group| GROUPS[*group])
    }

    fn listed(&self, member: usize) -> impl Fn() -> Listed + use<> {
        let (base, woken) = (self.bases[member], Arc::clone(&self.woken));
        move || Listed { member, base, woken: Arc::clone(&woken) }
    }

    fn member(&mut self, member: usize) -> &mut Member<Listed> {
        self.members[member].as_mut().expect("it has joined")
    }

    fn act(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Take { member, once, in_all } => {
                if self.outstanding[member] > 0 && self.granted_at[member] < now && !self.waiting[member] {
                    // Its tick may be over: then it gives back and takes anew, which from here looks like nothing.
                    self.member(member).withdraw(WRITE, now);
                    self.check();
                }
                let listed = self.listed(member);
                self.called[member] = false;
                let grant = self.member(member).take(WRITE, Want { once, in_all }, now, listed);
                self.waiting[member] = match grant {
                    Grant::Granted(bytes) => {
                        self.granted_at[member] = now;
                        assert!((1..=once).contains(&bytes));
                        false
                    }
                    Grant::Wait => true,
                    Grant::Left => panic!("the root is not dissolved"),
                };
            }
            Step::Settle { member, used } => {
                let granted = self.member(member).held(WRITE);
                let used = granted * used / 100;
                self.member(member).settle(WRITE, granted, used, now);
                self.outstanding[member] -= used.min(granted);
                self.count(member, used);
                self.charge(member, used.saturating_sub(granted));
            }
            Step::Charge { member, bytes } => {
                self.member(member).charge(WRITE, bytes, now);
                self.count(member, bytes);
                self.charge(member, bytes);
            }
            Step::Withdraw { member } => {
                self.member(member).withdraw(WRITE, now);
                (self.waiting[member], self.called[member]) = (false, false);
            }
            Step::Move { member, base } => {
                self.bases[member] = base;
                let listed = self.listed(member);
                self.member(member).moved(|_| listed());
            }
            Step::Rejoin { member, weight } => {
                self.member(member).release(now);
                (self.waiting[member], self.called[member]) = (false, false);
                self.check();
                let weight = NonZeroU32::new(weight).expect("not zero");
                self.of[member] = member % GROUPS.len();
                self.members[member] = Some(self.groups[self.of[member]].join(weight));
            }
            Step::Ring { base } => {
                Bell { half: self.half.clone() }.ring(&base, now);
            }
            Step::Pass { nanos } => {
                self.now = now.plus(nanos);
                self.half.enter(Some(self.now), |_| ());
            }
            Step::Decrement { group, bytes } => {
                self.groups[group].decrement(WRITE, bytes, now);
                self.buckets[group].decrement(bytes, now);
            }
            Step::Configure { group, rate, ticks, millis } => {
                let config = config(rate, ticks, millis);
                self.groups[group].set_config(&config, now);
                self.buckets[group].replace(&config, WRITE, now);
                assert_eq!(self.groups[group].config(), config);
            }
            Step::MinShare { group, bytes } => self.groups[group].set_min_share(bytes, now),
            Step::ResetTotals { group } => {
                self.groups[group].reset_totals();
                self.moved[group] = 0;
            }
            Step::Replace { group } => self.replace(group),
        }
    }

    fn replace(&mut self, group: usize) {
        let (now, start) = (self.now, config(100, 2, 2));
        let fall = Vec::from_iter((0..MEMBERS).filter(|member| self.of[*member] == group));
        let queued = Vec::from_iter(
            fall.iter().copied().filter(|member| self.waiting[*member] && !self.called[*member]),
        );
        let above = GROUPS[group].expect("not the root");
        self.groups[group] = self.groups[above].child(&start, NonZeroU32::MIN, now).expect("not deep");
        self.buckets[group] = TokenBucket::new(&start, WRITE, now);
        self.moved[group] = 0;
        let mut woken = std::mem::take(&mut *self.woken.lock());
        woken.sort_unstable();
        assert_eq!(woken, queued, "who waited is to wait above");
        for member in fall {
            self.of[member] = above;
            self.called[member] = self.waiting[member];
        }
    }

    fn count(&mut self, member: usize, bytes: u64) {
        self.upwards(member).for_each(|group| self.moved[group] += bytes);
    }

    fn charge(&mut self, member: usize, bytes: u64) {
        for group in self.upwards(member) {
            self.buckets[group].charge(bytes, self.now);
        }
    }

    /// What a member has been granted and not used: it has it, or it is there for it to collect.
    fn holds(&self, member: usize) -> u64 {
        let of = self.members[member].as_ref().expect("it has joined");
        let served = |place: Place| self.half.enter(None, |room| room.served.bytes_of(place.number));
        of.held(WRITE) + of.place(WRITE).map_or(0, served)
    }

    fn check(&mut self) {
        self.half.enter(None, |room| room.check());
        // First what came back, then what was granted of it: as much as the buckets have, and no more. What came back too late
        // may have been forfeited.
        let mut late = [0; GROUPS.len()];
        let holds: [u64; MEMBERS] = std::array::from_fn(|member| self.holds(member));
        for (member, holds) in holds.into_iter().enumerate() {
            let back = self.outstanding[member].saturating_sub(holds);
            let is_late = self.got_at[member].after(GRANT_GOOD_FOR) <= self.now;
            for group in self.upwards(member) {
                self.buckets[group].credit(back, self.now);
                late[group] += if is_late { back } else { 0 };
            }
        }
        for (member, holds) in holds.into_iter().enumerate() {
            let granted = holds.saturating_sub(self.outstanding[member]);
            for group in self.upwards(member) {
                assert!(granted <= self.buckets[group].available(self.now), "{member} was granted {granted}");
                self.buckets[group].charge(granted, self.now);
            }
            if granted > 0 {
                self.got_at[member] = self.now;
            }
            self.outstanding[member] = holds;
        }
        for ((group, bucket), late) in self.groups.iter().zip(&mut self.buckets).zip(late) {
            let forfeited = bucket.level(self.now) - group.level(WRITE, self.now);
            bucket.charge(u64::try_from(forfeited).unwrap_or(0).min(late), self.now);
            assert_eq!(group.level(WRITE, self.now), bucket.level(self.now), "what a group holds");
        }
        // Who waits has been served and woken, or is in the queue of its group.
        for member in std::mem::take(&mut *self.woken.lock()) {
            let comes_too_late = self.called[member];
            assert!(self.waiting[member], "{member} was woken for nothing");
            assert!(holds[member] > 0 || comes_too_late, "{member} was woken for nothing");
            self.called[member] = true;
        }
        for (group, of) in self.groups.iter().enumerate() {
            let (mut members, mut waiting) = ([0; 2], [0; 2]);
            for member in (0..MEMBERS).filter(|member| self.upwards(*member).any(|above| above == group)) {
                let below = usize::from(self.of[member] != group);
                members[below] += 1;
                waiting[below] += usize::from(self.waiting[member] && !self.called[member]);
                assert!(below == 1 || of.has(self.members[member].as_ref().expect("it has joined")));
            }
            let snapshot = of.snapshot(WRITE, self.now);
            assert_eq!([snapshot.waiting, snapshot.waiting_below], waiting, "somebody is lost");
            assert_eq!([snapshot.members, snapshot.members_below], members);
            assert_eq!(snapshot.total, self.moved[group], "what went is counted once");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn groups_hold_what_plain_buckets_would(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        for step in steps {
            bench.act(step);
            bench.check();
        }
    }
}

/// X-40, goal 12: what a tick costs depends on those who are served, not on those who wait.
#[test]
fn work_is_that_of_those_who_are_served() {
    let work = [10, 1_000, 20_000].map(|waiting| {
        let group: Group<Listed> = Group::new(&config(1_000, 1, 10), Nanos(0));
        group.set_min_share(Some(100), Nanos(0));
        let woken = Arc::default();
        let wants = Want { once: 100, in_all: u64::MAX };
        let mut members = Vec::from_iter((0..waiting).map(|member| (member, group.join(NonZeroU32::MIN))));
        group.decrement(WRITE, 1_000, Nanos(0));
        for (member, of) in &mut members {
            let listed = || Listed { member: *member, base: 0, woken: Arc::clone(&woken) };
            assert_eq!(of.take(WRITE, wants, Nanos(1), listed), Grant::Wait);
        }
        let half = group.half_of(WRITE);
        let passed = || half.enter(None, |room| room.node(ROOT).queue.passed);
        let before = passed();
        Bell { half: half.clone() }.ring(&0, Nanos(10_000_000));
        assert_eq!(woken.lock().len(), 10);
        passed() - before
    });
    // Each leaves the queue for its turn, enters it again for more, and leaves when all is handed out.
    assert_eq!(work, [30; 3]);
}
