//! Who waits in a tree of groups, in one direction, and who is served when. No lock, no clock, no thread: it stands under
//! the leaf lock of [`half`](crate::half), and says in [`Owed`] whom to wake and which alarms to set after it.
//!
//! # What a group is here
//! A byte clock, and a fair queue of those who wait at it: members, and child groups that can serve somebody. A group is
//!
//! * *idle* if its queue is empty,
//! * *ready* if the queue is not and the level is at least a [quantum](crate::share), or what the next one wants, or what would be
//!   lost at the next tick, if that is less: it stands in its parent's queue,
//! * *blocked* otherwise: it stands in `blocked`, by the tick boundary at which there will be a quantum.
//!
//! # What is done
//! Whoever wants tokens that the fast path refused enters its group's queue, and everybody who holds the lock serves before
//! letting it go. Serving takes all that the root has in hand, gives the next of its queue its turn of that, and takes
//! back what was not used; a child group takes its turn from its own clock too, and does the same below. So a grant is
//! charged to the whole path or not at all, by two writes per group that is visited, not per member.
//!
//! All that there is is handed out, so with a burst of one tick nothing is lost; what does not make
//! another quantum is divided among those that get one, so nobody runs for a sliver. The queues even that out. Who wants more than its turn
//! takes part on, and is woken when all is handed out: so what one leaves falls to all others, and not to the last.
//!
//! * M1 A clock is WAITING exactly while its group's queue is not empty. So nobody passes those who wait, and whoever
//!   gives back learns that there are some, and serves.
//! * M2 A group stands where its `standing` says, and nowhere else. A debt may have come since: who is ready then turns out
//!   to have nothing when it is its turn, and who is blocked is looked at in vain.
//! * M3 After `serve` the root is not ready, and nobody who is blocked could have gone on by then.
//! * M4 `alarms` counts the members that wait, by base; each base with some rings at the next time at which something may
//!   go on. Whoever rings serves all.
//! * M5 What was granted is with a member, or in `served` until that member collects it; the room itself keeps nothing. It
//!   is good for [`GRANT_GOOD_FOR`], up to the next tick boundary after that; what nobody has collected by then goes back before
//!   anybody else is served, or is forfeited. So a base that did not run for long moves, when it does, what its members were granted in the
//!   last of that time, and no more.
//!
//! M6 is in [`dissolved`].

mod dissolved;
mod serving;
mod standing;
mod view;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use bufferevent_sync::{Arc, mutant};

pub use self::serving::GRANT_GOOD_FOR;
pub(crate) use self::view::{Counted, View};
pub(crate) use self::waiting::Asks;
use crate::alarms::Alarms;
use crate::fair_queue::{FairQueue, Place, Tag};
use crate::path::{Link, Path, Shared};
use crate::served::Uncollected;
use crate::{Limit, Nanos, Plan, Waiter, share};

/// All groups of a tree, in one direction.
pub(crate) struct Room<W: Waiter> {
    groups: Vec<Option<Node<W>>>,
    free: Vec<usize>,
    blocked: BTreeSet<(Nanos, usize)>,
    served: Uncollected,
    /// Those among them that want more and still stand in the queue of a group: while serving only.
    taking_part: BTreeMap<u64, (usize, Place)>,
    alarms: Alarms<W::Base>,
    /// The latest that anybody has come with.
    now: Nanos,
    numbers: u64,
    owed: Owed<W>,
}

/// Names a group for as long as it is there: its number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: usize,
    number: u64,
}

/// What is to be done once the lock is released: nothing of this may run under it.
#[must_use]
pub(crate) struct Owed<W: Waiter> {
    pub(crate) wakes: Vec<W>,
    pub(crate) alarms: Vec<(W::Base, Nanos)>,
    /// Perhaps the last handles of these: to be dropped.
    pub(crate) gone: Vec<W::Base>,
}

struct Node<W: Waiter> {
    number: u64,
    parent: Option<usize>,
    weight: u32,
    shared: Arc<Shared>,
    /// As it was set; of what is above [`BYTES_MAX`](crate::BYTES_MAX) the plan does not know.
    limit: Limit,
    plan: Plan,
    min_share: Option<u64>,
    /// Current, if somebody has asked for it.
    path: Option<Arc<Path>>,
    queue: FairQueue<Entry<W>>,
    standing: Standing,
    /// Of its last turn in its parent's queue.
    finish: Tag,
    /// It has no handle any more: see [`dissolved`].
    dissolved: bool,
    /// Those that have come since another fell to it are of this one.
    members: usize,
    /// Those that rest here dissolved, too.
    children: usize,
    /// Members in the queue.
    waiting: usize,
    waited_for_since: Option<Nanos>,
    /// Nanoseconds in which somebody waited, up to then.
    throttled: u64,
    /// Bytes of dissolved groups below.
    total: u64,
    /// What had been counted at the last reset, here and below.
    counted: u64,
}

enum Entry<W> {
    Member { want: u64, who: Option<W> },
    Group(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Idle,
    Blocked(Nanos),
    /// In its parent's queue, unless it is the root.
    Ready(Option<Place>),
}

impl<W: Waiter> Room<W> {
    /// A tree with a root.
    pub(crate) fn new(limit: Limit, plan: Plan) -> (Self, Key) {
        let mut room = Self {
            groups: Vec::new(),
            free: Vec::new(),
            blocked: BTreeSet::new(),
            served: Uncollected::default(),
            taking_part: BTreeMap::new(),
            alarms: Alarms::default(),
            now: Nanos::default(),
            numbers: 0,
            owed: Owed::default(),
        };
        let root = room.add(None, 1, limit, plan);
        (room, root)
    }

    /// Time has come to `now`, unless it was later already.
    pub(crate) fn advance(&mut self, now: Nanos) {
        // So that every boundary but the one that never comes is followed by a moment.
        self.now = self.now.max(now.min(Nanos(u64::MAX - 1)));
    }

    /// A group below `parent`, which is there. Its first tick begins at `since`.
    pub(crate) fn child(&mut self, parent: Key, weight: u32, limit: Limit, since: Nanos) -> Key {
        debug_assert!(self.find(parent).is_some(), "a child keeps its parent");
        self.node_mut(parent.index).children += 1;
        self.add(Some(parent.index), weight, limit, Plan::new(limit, since))
    }

    fn add(&mut self, parent: Option<usize>, weight: u32, limit: Limit, plan: Plan) -> Key {
        let number = self.number();
        let node = Node {
            number,
            parent,
            weight,
            shared: Arc::new(Shared::default()),
            limit,
            plan,
            min_share: None,
            path: None,
            queue: FairQueue::default(),
            standing: Standing::Idle,
            finish: Tag::default(),
            dissolved: false,
            members: 0,
            children: 0,
            waiting: 0,
            waited_for_since: None,
            throttled: 0,
            total: 0,
            counted: 0,
        };
        let index = self.free.pop().unwrap_or(self.groups.len());
        if index == self.groups.len() {
            self.groups.push(None);
        }
        self.groups[index] = Some(node);
        Key { index, number }
    }

    fn path_of(&mut self, index: usize) -> Arc<Path> {
        if let Some(path) = &self.node(index).path {
            return Arc::clone(path);
        }
        let link = |index| {
            let node = self.node(index);
            let key = Key { index, number: node.number };
            Link { key, shared: Arc::clone(&node.shared), plan: node.plan.clone() }
        };
        let path = Arc::new(Path::new(self.upwards(index).map(link).collect()));
        self.node_mut(index).path = Some(Arc::clone(&path));
        path
    }

    pub(crate) fn join(&mut self, key: Key) {
        if let Some(node) = self.find_mut(key) {
            node.members += 1;
            self.upwards(key.index).for_each(|above| self.node(above).shared.joined(1));
        }
    }

    pub(crate) fn leave(&mut self, key: Key) {
        if let Some(node) = self.find_mut(key) {
            node.members -= 1;
            self.upwards(key.index).for_each(|above| self.node(above).shared.left(1));
            self.bury(key.index);
        }
    }

    pub(crate) fn limit(&self, key: Key) -> Option<Limit> {
        self.find(key).map(|node| node.limit)
    }

    pub(crate) fn set_limit(&mut self, key: Key, limit: Limit) {
        if let Some(node) = self.find_mut(key) {
            node.limit = limit;
            self.replan(key.index, limit);
            if !mutant::is("group_changes_in_silence") {
                self.stand(key.index);
            }
        }
    }

    pub(crate) fn set_min_share(&mut self, key: Key, min_share: Option<u64>) {
        if let Some(node) = self.find_mut(key) {
            node.min_share = min_share;
            self.stand(key.index);
        }
    }

    /// Takes bytes out of a group by hand, or puts some in.
    pub(crate) fn decrement(&mut self, key: Key, bytes: i64) {
        let now = self.now;
        let Some(node) = self.find(key) else { return };
        let (clock, plan) = (&node.shared.clock, &node.plan);
        if bytes >= 0 {
            clock.debt(plan, bytes.unsigned_abs(), now);
        } else {
            // Whoever waits is served below.
            let _here = clock.credit(plan, bytes.unsigned_abs(), now);
        }
        self.stand(key.index);
    }

    /// There may be more than there was, at the groups of this path.
    pub(crate) fn relieved(&mut self, path: &Path) {
        for key in path.keys() {
            if self.find(key).is_some() {
                self.stand(key.index);
            }
        }
    }

    /// The source of the root may have given more than it had said it would by now.
    pub(crate) fn supplied(&mut self) {
        if self.root().is_some() {
            self.stand(ROOT);
        }
    }

    /// The base's alarm has gone off.
    pub(crate) fn rang(&mut self, base: &W::Base) {
        self.alarms.rang(base);
    }

    /// For when the base's alarm is, after [`owed`](Self::owed).
    pub(crate) fn armed(&self, base: &W::Base) -> Option<Nanos> {
        self.alarms.armed(base)
    }

    /// What is to be done after all this.
    pub(crate) fn owed(&mut self) -> Owed<W> {
        // While the root is blocked, nobody below it can be served.
        let next = match self.root() {
            Some(Standing::Blocked(at)) => Some(at),
            _ => self.blocked.first().map(|(at, _)| *at),
        };
        let mut owed = std::mem::take(&mut self.owed);
        if let Some(next) = next.filter(|_| !mutant::is("group_sets_no_alarm")) {
            owed.alarms.extend(self.alarms.set(next));
        }
        owed
    }

    /// Changes what a group goes by, and has all below it look it up anew.
    fn replan(&mut self, index: usize, limit: Limit) {
        let now = self.now;
        let node = self.node_mut(index);
        node.plan = node.shared.clock.replan(&node.plan, limit, now);
        for at in 0..self.groups.len() {
            if self.groups[at].is_some() && self.upwards(at).any(|above| above == index) {
                self.outdate(at);
            }
        }
    }

    /// Has the members of a group look up their path.
    fn outdate(&mut self, index: usize) {
        if let Some(path) = self.node_mut(index).path.take() {
            path.outdate();
        }
    }

    /// Where the root stands; `None` once all is dissolved.
    fn root(&self) -> Option<Standing> {
        self.groups[ROOT].as_ref().map(|root| root.standing)
    }

    fn stays_no_more(&mut self, who: &W) {
        self.owed.gone.extend(self.alarms.leave(&who.base()));
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn find(&self, key: Key) -> Option<&Node<W>> {
        self.groups[key.index].as_ref().filter(|node| node.number == key.number)
    }

    fn find_mut(&mut self, key: Key) -> Option<&mut Node<W>> {
        self.groups[key.index].as_mut().filter(|node| node.number == key.number)
    }

    /// A group that is there: what has a parent, a place or a time in `blocked` is.
    fn node(&self, index: usize) -> &Node<W> {
        self.groups[index].as_ref().expect("M2: it is there")
    }

    fn node_mut(&mut self, index: usize) -> &mut Node<W> {
        self.groups[index].as_mut().expect("M2: it is there")
    }

    /// A group, its parent, and so on.
    fn upwards(&self, index: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(index), |index| self.node(*index).parent)
    }
}

impl<W: Waiter> Node<W> {
    fn level(&self, now: Nanos) -> i64 {
        self.shared.clock.level(&self.plan, now)
    }

    fn quantum(&self) -> u64 {
        share::quantum(&self.plan, self.min_share, self.queue.len())
    }

    /// What there must be before the next one is served.
    fn needs(&self) -> u64 {
        let enough = self.quantum().min(share::spills(&self.plan));
        match self.queue.peek() {
            Some(Entry::Member { want, .. }) => enough.min(*want),
            _ => enough,
        }
    }

    /// Bytes of its own members, and of dissolved groups below.
    fn total(&self) -> u64 {
        self.total.wrapping_add(self.shared.moved.get())
    }
}

impl<W: Waiter> Default for Owed<W> {
    fn default() -> Self {
        Self { wakes: Vec::new(), alarms: Vec::new(), gone: Vec::new() }
    }
}

const ROOT: usize = 0;

#[cfg(all(test, not(loom)))]
mod tests;
