//! A world without threads: bases, members, and a clock that jumps from event to event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::ops::Range;

use bufferevent_ratelimit::{Bell, Direction, Grant, Group, Member, Nanos, TokenBucketConfig, Waiter, Want};
use bufferevent_sync::{Arc, Mutex};

const WRITE: Direction = Direction::Write;

/// What groups have asked for, to be done by the world after the call.
#[derive(Default)]
struct Outbox {
    wakes: Vec<(usize, usize)>,
    alarms: Vec<(usize, Bell<Sim>, Nanos)>,
}

/// A member that waits.
pub(crate) struct Sim {
    member: usize,
    base: SimBase,
}

#[derive(Clone)]
pub(crate) struct SimBase {
    id: usize,
    outbox: Arc<Mutex<Outbox>>,
}

impl PartialEq for SimBase {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for SimBase {}

impl Waiter for Sim {
    type Base = SimBase;

    fn base(&self) -> SimBase {
        self.base.clone()
    }

    fn wake(self) {
        self.base.outbox.lock().wakes.push((self.member, self.base.id));
    }

    fn alarm(base: &SimBase, bell: &Bell<Self>, at: Nanos) {
        base.outbox.lock().alarms.push((base.id, bell.clone(), at));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Always wants more.
    Greedy,
    /// Wants a little now and then.
    Light { bytes: u64, every: u64 },
    /// Wants nothing for now.
    Resting,
}

struct Actor {
    member: Option<Member<Sim>>,
    group: usize,
    kind: Kind,
    base: usize,
    moved: u64,
    turns: usize,
    /// What a light one has to move yet.
    backlog: u64,
    waiting_since: Option<u64>,
    longest_wait: u64,
}

/// A bucket as it ought to be, which knows when bytes really went (F52).
struct Oracle {
    level: i128,
    rate: i128,
    burst: i128,
    next: u64,
    tick: u64,
    exact: bool,
    /// What may be above it.
    slack: i128,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Alarm(usize),
    Run(usize),
    Wanting(usize),
}

pub(crate) struct World {
    now: u64,
    outbox: Arc<Mutex<Outbox>>,
    groups: Vec<(Group<Sim>, Option<usize>, Oracle)>,
    actors: Vec<Actor>,
    events: BTreeSet<(u64, u64, Happening)>,
    numbers: u64,
    bell: Option<Bell<Sim>>,
    armed: HashMap<usize, u64>,
    stuck_until: Vec<u64>,
    alarms: usize,
    by_lease: u64,
    /// By moment: alarms that rang, members that were woken, members that were given something.
    wakes: BTreeMap<u64, [usize; 3]>,
}

impl World {
    pub(crate) fn new(bases: usize, start: Nanos) -> Self {
        Self {
            now: start.0,
            outbox: Arc::default(),
            groups: Vec::new(),
            actors: Vec::new(),
            events: BTreeSet::new(),
            numbers: 0,
            bell: None,
            armed: HashMap::new(),
            stuck_until: vec![0; bases],
            alarms: 0,
            by_lease: 0,
            wakes: BTreeMap::new(),
        }
    }

    pub(crate) fn root(&mut self, config: &TokenBucketConfig) -> usize {
        let group = Group::new(config, Nanos(self.now));
        self.add(group, None, config)
    }

    pub(crate) fn child(&mut self, parent: usize, config: &TokenBucketConfig, weight: NonZeroU32) -> usize {
        let group = self.groups[parent].0.child(config, weight, Nanos(self.now)).expect("not deep");
        self.add(group, Some(parent), config)
    }

    /// Drops the handle of a group that has none below it, and has another of the same weight take its place. Members fall to
    /// its parent.
    pub(crate) fn replace(&mut self, group: usize, config: &TokenBucketConfig) {
        let above = self.groups[group].1.expect("not the root");
        let child = self.groups[above].0.child(config, NonZeroU32::MIN, Nanos(self.now)).expect("not deep");
        self.groups[group] = (child, Some(above), Oracle::new(config, self.now));
        self.actors.iter_mut().filter(|actor| actor.group == group).for_each(|actor| actor.group = above);
        self.post();
    }

    fn add(&mut self, group: Group<Sim>, parent: Option<usize>, config: &TokenBucketConfig) -> usize {
        self.groups.push((group, parent, Oracle::new(config, self.now)));
        self.groups.len() - 1
    }

    /// So many greedy members, of weight one, on the bases that `base` says.
    pub(crate) fn populate(&mut self, group: usize, members: usize, base: impl Fn(usize) -> usize) {
        for member in 0..members {
            self.join(group, NonZeroU32::MIN, base(member), Kind::Greedy);
        }
    }

    pub(crate) fn join(&mut self, group: usize, weight: NonZeroU32, base: usize, kind: Kind) -> usize {
        let member = Some(self.groups[group].0.join(weight));
        let id = self.actors.len();
        let (moved, turns, backlog, longest_wait) = (0, 0, 0, 0);
        self.actors.push(Actor {
            member,
            group,
            kind,
            base,
            moved,
            turns,
            backlog,
            waiting_since: None,
            longest_wait,
        });
        match kind {
            Kind::Light { every, .. } => self.at(self.now + every, Happening::Wanting(id)),
            _ => self.at(self.now, Happening::Run(id)),
        }
        id
    }

    pub(crate) fn leave(&mut self, member: usize) {
        drop(self.actors[member].member.take());
        self.post();
    }

    pub(crate) fn move_to(&mut self, member: usize, base: usize) {
        self.actors[member].base = base;
        let sim = || Sim { member, base: SimBase { id: base, outbox: Arc::clone(&self.outbox) } };
        if let Some(of) = self.actors[member].member.as_mut() {
            of.moved(|_| sim());
        }
        self.post();
    }

    pub(crate) fn withdraw(&mut self, member: usize) {
        let actor = &mut self.actors[member];
        actor.kind = Kind::Resting;
        if let Some(of) = &mut actor.member {
            of.withdraw(WRITE, Nanos(self.now));
            of.release(Nanos(self.now));
            assert_eq!((of.is_waiting(WRITE), of.held(WRITE)), (false, 0));
        }
        self.post();
    }

    pub(crate) fn resume(&mut self, member: usize) {
        self.actors[member].kind = Kind::Greedy;
        self.at(self.now, Happening::Run(member));
    }

    pub(crate) fn set_config(&mut self, group: usize, config: &TokenBucketConfig) {
        let (group, _, oracle) = &mut self.groups[group];
        group.set_config(config, Nanos(self.now));
        // Its own model is that of the clock; here the sum is checked.
        oracle.exact = false;
        self.post();
    }

    pub(crate) fn set_min_share(&mut self, group: usize, bytes: Option<u64>) {
        self.groups[group].0.set_min_share(bytes, Nanos(self.now));
        self.post();
    }

    pub(crate) fn decrement(&mut self, group: usize, bytes: i64) {
        let (of, _, oracle) = &mut self.groups[group];
        of.decrement(WRITE, bytes, Nanos(self.now));
        oracle.exact = false;
        self.post();
    }

    /// Nothing runs on the base until then.
    pub(crate) fn stick(&mut self, base: usize, until: u64) {
        self.stuck_until[base] = until;
        // Of what was granted to those that did not run, that of the last 20 ms is good still, up to the end of its tick.
        for (_, _, oracle) in &mut self.groups {
            oracle.slack = oracle.rate * (i128::from(20 * 1_000_000 / oracle.tick) + 2);
        }
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(&event) = self.events.first().filter(|(at, ..)| *at <= end) {
            self.events.remove(&event);
            let (at, _, happening) = event;
            self.now = self.now.max(at);
            let base = match happening {
                Happening::Alarm(base) => base,
                Happening::Run(member) | Happening::Wanting(member) => self.actors[member].base,
            };
            if self.stuck_until[base] > self.now {
                self.at(self.stuck_until[base], happening);
                continue;
            }
            match happening {
                Happening::Alarm(base) => self.ring(base, at),
                Happening::Run(member) => self.run(member),
                Happening::Wanting(member) => {
                    if let Kind::Light { bytes, every } = self.actors[member].kind {
                        self.actors[member].backlog += bytes;
                        self.at(self.now + every, happening);
                        self.run(member);
                    }
                }
            }
            self.post();
        }
        self.now = end;
    }

    /// Has everybody take part again, and goes on for a while: nobody was forgotten.
    pub(crate) fn settle_down(&mut self) {
        for member in 0..self.actors.len() {
            self.resume(member);
        }
        for group in 0..self.groups.len() {
            let tick = Some(std::time::Duration::from_millis(10));
            self.set_config(
                group,
                &TokenBucketConfig::new(100_000, 100_000, 100_000, 100_000, tick).expect("sound"),
            );
        }
        self.run_until(self.now + 1_000_000_000);
        let moved = Vec::from_iter(self.actors.iter().map(|actor| actor.moved));
        // A group among fifty members has a fiftieth, and each of its own a thirtieth of that.
        self.run_until(self.now + 5_000_000_000);
        for (member, (actor, before)) in self.actors.iter().zip(moved).enumerate() {
            assert!(actor.member.is_none() || actor.moved > before, "{member} is forgotten");
        }
    }

    /// R2, R8, M5: what the groups counted went, and nobody holds anything once all have withdrawn.
    pub(crate) fn check_conserved(&mut self) {
        for member in 0..self.actors.len() {
            self.withdraw(member);
        }
        assert_eq!(self.groups[0].0.total(WRITE), self.moved());
        for (group, ..) in &self.groups {
            let snapshot = group.snapshot(WRITE, Nanos(self.now));
            assert_eq!(snapshot.waiting, 0);
        }
    }

    /// R7: at each moment no more wakes than members served and bases with waiters.
    pub(crate) fn check_wakes(&self) {
        for (at, [rang, woken, served]) in &self.wakes {
            assert!(*rang <= self.stuck_until.len(), "{rang} alarms at {at}");
            assert!(woken <= served, "{woken} woken, {served} served at {at}");
        }
    }

    pub(crate) fn moved(&self) -> u64 {
        self.actors.iter().map(|actor| actor.moved).sum()
    }

    /// Bytes that went by leases, without having been asked for.
    pub(crate) fn by_lease(&self) -> u64 {
        self.by_lease
    }

    pub(crate) fn members(&self) -> usize {
        self.actors.len()
    }

    pub(crate) fn shares(&self, members: Range<usize>) -> Vec<f64> {
        self.actors[members].iter().map(|actor| actor.moved as f64).collect()
    }

    pub(crate) fn turns(&self, member: usize) -> usize {
        self.actors[member].turns
    }

    pub(crate) fn longest_wait(&self, member: usize) -> u64 {
        self.actors[member].longest_wait
    }

    /// Alarms that have rung.
    pub(crate) fn alarms(&self) -> usize {
        self.alarms
    }

    pub(crate) fn level(&self, group: usize, direction: Direction) -> i64 {
        self.groups[group].0.level(direction, Nanos(self.now))
    }

    /// What it is once all members have run and wait.
    pub(crate) fn quantum(&mut self, group: usize) -> u64 {
        self.run_until(self.now);
        let snapshot = self.groups[group].0.snapshot(WRITE, Nanos(self.now));
        assert_eq!(snapshot.waiting, snapshot.members);
        snapshot.quantum
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.numbers += 1;
        self.events.insert((at.max(self.now), self.numbers, happening));
    }

    /// Does what groups have asked for.
    fn post(&mut self) {
        let Outbox { wakes, alarms } = std::mem::take(&mut *self.outbox.lock());
        for (member, base) in wakes {
            self.wakes.entry(self.now).or_default()[1] += 1;
            if self.actors[member].base == base {
                self.at(self.now, Happening::Run(member));
            }
        }
        for (base, bell, at) in alarms {
            self.bell = Some(bell);
            self.arm(base, at.0);
        }
    }

    /// Of several alarms the earliest counts.
    fn arm(&mut self, base: usize, at: u64) {
        if self.armed.get(&base).is_none_or(|armed| at < *armed) {
            self.armed.insert(base, at);
            self.at(at, Happening::Alarm(base));
        }
    }

    fn ring(&mut self, base: usize, at: u64) {
        // Another was earlier, or this one was put off.
        if self.armed.get(&base).is_none_or(|armed| *armed > at) {
            return;
        }
        self.armed.remove(&base);
        self.alarms += 1;
        self.wakes.entry(self.now).or_default()[0] += 1;
        let bell = self.bell.clone().expect("one that armed it");
        let id = SimBase { id: base, outbox: Arc::clone(&self.outbox) };
        let next = bell.ring(&id, Nanos(self.now));
        if let Some(next) = next {
            assert!(next.0 > self.now, "the next alarm is later");
            self.arm(base, next.0);
        }
    }

    /// A member runs: operation after operation, as long as it wants and may.
    fn run(&mut self, member: usize) {
        let mut first = true;
        loop {
            let actor = &mut self.actors[member];
            let want = match actor.kind {
                Kind::Greedy => Want { once: 16_384, in_all: u64::MAX },
                Kind::Light { .. } if actor.backlog > 0 => Want::once(actor.backlog),
                _ => return,
            };
            let Some(of) = actor.member.as_mut() else { return };
            if of.leased(WRITE, Nanos(self.now)) >= want.once {
                of.spend(WRITE, want.once);
                (self.by_lease, actor.moved) = (self.by_lease + want.once, actor.moved + want.once);
                actor.backlog = actor.backlog.saturating_sub(want.once);
                let group = actor.group;
                self.charge(group, want.once);
                continue;
            }
            let was_waiting = of.is_waiting(WRITE);
            let sim = || Sim { member, base: SimBase { id: actor.base, outbox: Arc::clone(&self.outbox) } };
            match of.take(WRITE, want, Nanos(self.now), sim) {
                Grant::Granted(bytes) => {
                    assert!(bytes > 0 && bytes <= want.once);
                    of.settle(WRITE, bytes, bytes, Nanos(self.now));
                    actor.moved += bytes;
                    actor.backlog = actor.backlog.saturating_sub(bytes);
                    actor.turns += usize::from(std::mem::take(&mut first));
                    if let Some(since) = actor.waiting_since.take() {
                        actor.longest_wait = actor.longest_wait.max(self.now - since);
                    }
                    if was_waiting {
                        self.wakes.entry(self.now).or_default()[2] += 1;
                    }
                    let group = actor.group;
                    self.charge(group, bytes);
                }
                Grant::Wait => {
                    actor.waiting_since.get_or_insert(self.now);
                    return;
                }
                Grant::Left => return,
            }
        }
    }

    /// F52, for every group on the path.
    fn charge(&mut self, group: usize, bytes: u64) {
        let mut next = Some(group);
        while let Some(group) = next {
            let (_, parent, oracle) = &mut self.groups[group];
            oracle.charge(self.now, bytes);
            next = *parent;
        }
    }
}

impl Oracle {
    fn new(config: &TokenBucketConfig, now: u64) -> Self {
        let limit = config.limit(WRITE);
        let tick = limit.tick().as_nanos() as u64;
        let (rate, burst) = (limit.rate().into(), limit.burst().into());
        Self { level: rate, rate, burst, next: now + tick, tick, exact: true, slack: 0 }
    }

    fn charge(&mut self, now: u64, bytes: u64) {
        while self.next <= now {
            self.level = self.burst.min(self.level + self.rate);
            self.next += self.tick;
        }
        self.level -= i128::from(bytes);
        assert!(!self.exact || self.level >= -self.slack, "F52: {} too much", -self.level);
    }
}

/// 1 if all are equal, 1/n if one has all.
pub(crate) fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    sum * sum / (shares.len() as f64 * squares)
}
