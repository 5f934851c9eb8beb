//! Who waits in a tree of groups, in one direction, and who is served when. No lock, no clock, no thread: it stands under
//! the leaf lock of [`half`](crate::half), and says in [`Owed`] whom to wake and which alarms to set after it.
//!
//! # What a group is here
//! A byte clock, and a fair queue of those who wait at it: members, and child groups that can serve somebody. A group is
//!
//! * *idle* if its queue is empty,
//! * *ready* if the queue is not and the level is at least a [quantum](crate::share), or what the next one wants if that is
//!   less: it stands in its parent's queue,
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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bufferevent_sync::{Arc, mutant};

use crate::alarms::Alarms;
use crate::fair_queue::{Arrival, FairQueue, Next, Place, Tag};
use crate::path::{Link, Path, Shared};
use crate::served::{Served, Uncollected};
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

/// What a member comes with.
#[derive(Clone, Copy)]
pub(crate) struct Asks {
    pub(crate) want: u64,
    pub(crate) weight: u32,
    /// Of its last turn.
    pub(crate) finish: Tag,
    /// Bytes since then for which it did not wait.
    pub(crate) taken: u64,
}

/// What is to be done once the lock is released: nothing of this may run under it.
#[must_use]
pub(crate) struct Owed<W: Waiter> {
    pub(crate) wakes: Vec<W>,
    pub(crate) alarms: Vec<(W::Base, Nanos)>,
    /// Perhaps the last handles of these: to be dropped.
    pub(crate) gone: Vec<W::Base>,
}

/// What a group looks like at a moment.
pub(crate) struct View {
    pub(crate) level: i64,
    pub(crate) quantum: u64,
    pub(crate) members: Counted,
    pub(crate) waiting: Counted,
    pub(crate) throttled: u64,
    pub(crate) total: u64,
}

/// How many there are.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) here: usize,
    pub(crate) below: usize,
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
    /// As of the shared version, if somebody has asked for it.
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
        let node = self.node(index);
        if let Some(path) = node.path.as_ref().filter(|path| path.is_current()) {
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

    /// A member enters its group's queue; `None` if that is dissolved: it [follows](Self::follow), and comes again. It is
    /// woken once it is said to [`stay`](Self::stay).
    pub(crate) fn enlist(&mut self, key: Key, asks: Asks) -> Option<Place> {
        let is_over = |node: &Node<W>| node.dissolved && !mutant::is("group_lets_in_after_its_end");
        self.find(key).filter(|node| !is_over(node))?;
        let (number, lead) = (self.number(), self.lead(key.index));
        let node = self.node_mut(key.index);
        node.waiting += 1;
        let Asks { want: wants, weight, finish, taken } = asks;
        // Nobody else wanted it: who had much alone must not make up for it when a thousand come.
        let taken = taken.min(node.quantum());
        let arrival = Arrival { number, weight, finish, taken, lead, wants };
        let place = node.queue.enter(arrival, Entry::Member { want: wants, who: None });
        self.stand(key.index);
        Some(place)
    }

    /// A member that is still in the queue waits as `who`. Gives who it was before. One that was served is woken again.
    pub(crate) fn stay(&mut self, key: Key, place: Place, who: W) -> Option<W> {
        if !self.is_queued(key, place) {
            self.owed.wakes.push(who);
            return None;
        }
        self.alarms.enter(who.base());
        let before = match self.node_mut(key.index).queue.get_mut(place) {
            Some(Entry::Member { who: slot, .. }) => slot.replace(who),
            _ => unreachable!("it is in the queue"),
        };
        if let Some(before) = &before {
            self.stays_no_more(before);
        }
        before
    }

    /// What a member got, once; not if it comes too late for it.
    pub(crate) fn collect(&mut self, place: Place) -> Option<Served> {
        self.lapse();
        self.served.collect(place.number)
    }

    /// Takes back what nobody has collected in time. Those who have waited ever since get it; at a group where nobody did
    /// it is forfeited, for the clock may have been clipped since, and others have taken, as if it had been used.
    fn lapse(&mut self) {
        while let Some(Served { bytes, at, path, .. }) = self.served.lapsed(self.now) {
            for key in path.keys() {
                let Some(node) = self.find(key) else { continue };
                if node.waited_for_since.is_some_and(|since| since <= at) {
                    // They are served below.
                    let _here = node.shared.clock.give(bytes);
                    self.stand(key.index);
                }
            }
        }
    }

    /// Whether a member is still in its group's queue. If it is not, and there is nothing for it to collect, it came too
    /// late, or the group is dissolved.
    pub(crate) fn is_queued(&self, key: Key, place: Place) -> bool {
        self.find(key).is_some_and(|node| node.queue.get(place).is_some())
    }

    /// A member that is still in the queue wants another amount.
    pub(crate) fn set_want(&mut self, key: Key, place: Place, bytes: u64) {
        if let Some(Entry::Member { want, .. }) =
            self.find_mut(key).and_then(|node| node.queue.get_mut(place))
        {
            *want = bytes;
            self.stand(key.index);
        }
    }

    /// A member that is still in the queue waits no more. Gives who waited.
    pub(crate) fn withdraw(&mut self, key: Key, place: Place) -> Option<W> {
        let node = self.find_mut(key)?;
        let Entry::Member { who, .. } = node.queue.leave(place)? else { return None };
        node.waiting -= 1;
        self.stand(key.index);
        if let Some(who) = &who {
            self.stays_no_more(who);
        }
        who
    }

    /// Serves all who can be (M3). Whoever has changed something does this last.
    pub(crate) fn serve(&mut self) {
        self.lapse();
        while let Some(&(_, index)) = self.blocked.first().filter(|(at, _)| *at <= self.now) {
            self.stand(index);
        }
        while matches!(self.root(), Some(Standing::Ready(_))) {
            self.hand_out(ROOT, u64::MAX);
            self.stand(ROOT);
        }
        for (index, place) in std::mem::take(&mut self.taking_part).into_values() {
            if let Some(Entry::Member { who, .. }) = self.node_mut(index).queue.leave(place) {
                self.wake(index, who);
            }
            self.stand(index);
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

    pub(crate) fn level(&self, key: Key) -> Option<i64> {
        self.find(key).map(|node| node.level(self.now))
    }

    pub(crate) fn view(&self, key: Key) -> Option<View> {
        let node = self.find(key)?;
        let (mut members, mut waiting, mut total) = (Counted::default(), Counted::default(), 0_u64);
        for (index, below) in self.groups.iter().enumerate() {
            let Some(below) = below.as_ref().filter(|_| self.upwards(index).any(|above| above == key.index))
            else {
                continue;
            };
            let is_here = self.home(index) == key.index;
            members.add(below.members, is_here);
            waiting.add(below.waiting, is_here);
            total = total.wrapping_add(below.total());
        }
        let waited = node.waited_for_since.map_or(0, |since| self.now.since(since));
        Some(View {
            level: node.level(self.now),
            quantum: node.quantum(),
            members,
            waiting,
            throttled: node.throttled + waited,
            total: total.wrapping_sub(node.counted),
        })
    }

    pub(crate) fn reset_total(&mut self, key: Key) {
        let Some(View { total, .. }) = self.view(key) else { return };
        let counted = &mut self.node_mut(key.index).counted;
        *counted = counted.wrapping_add(total);
    }

    /// Gives those in a group's queue their turns of up to `budget` bytes. Gives what was used.
    fn hand_out(&mut self, index: usize, budget: u64) -> u64 {
        let now = self.now;
        let node = self.node_mut(index);
        let in_hand = node.shared.clock.take_served(&node.plan, budget, now);
        let quantum = node.quantum();
        let mut left = in_hand;
        while left > 0 {
            let node = self.node_mut(index);
            if in_hand < quantum.min(budget) && left < node.needs() {
                // Of less than a quantum only those are served that want no more.
                break;
            }
            let queue = &mut node.queue;
            let weights = queue.weights();
            let Some((next, what)) = queue.next().map(Next::split) else { break };
            let turn = share::turn(left, quantum, next.lag, next.weight, weights);
            left -= match what {
                Entry::Member { want, who } => self.serve_member(index, &next, want, turn, who),
                Entry::Group(child) => self.serve_group(&next, turn, child),
            };
        }
        // Whoever sees that somebody waits: we serve them.
        let _served_here = self.node(index).shared.clock.give(left);
        in_hand - left
    }

    fn serve_member(&mut self, index: usize, next: &Next<()>, want: u64, turn: u64, who: Option<W>) -> u64 {
        let (bytes, rest) = (want.min(turn), want.saturating_sub(turn));
        let finish = next.finish(bytes);
        if rest > 0 {
            let arrival = next.again(finish, rest);
            let place = self.node_mut(index).queue.enter(arrival, Entry::Member { want: rest, who });
            self.taking_part.insert(next.number, (index, place));
        } else {
            self.taking_part.remove(&next.number);
            self.wake(index, who);
        }
        let path = self.path_of(index);
        let (at, until) = (self.now, path.next_boundary(self.now.after(GRANT_GOOD_FOR)));
        self.served.add(next.number, Served { bytes, at, finish, until, path });
        bytes
    }

    fn wake(&mut self, index: usize, who: Option<W>) {
        self.node_mut(index).waiting -= 1;
        if let Some(who) = who {
            self.stays_no_more(&who);
            self.owed.wakes.push(who);
        }
    }

    fn serve_group(&mut self, next: &Next<()>, turn: u64, child: usize) -> u64 {
        self.node_mut(child).standing = Standing::Idle;
        let used = self.hand_out(child, turn);
        self.node_mut(child).finish = next.finish(used);
        self.take_stand(child, u64::MAX);
        used
    }

    /// Puts a group where it belongs now (M2), then its parent, if that one's queue has changed by it.
    fn stand(&mut self, index: usize) {
        let mut next = Some(index);
        while let Some(index) = next {
            let lead = self.node(index).parent.map_or(0, |parent| self.lead(parent));
            next = self.take_stand(index, lead).then(|| self.node(index).parent).flatten();
        }
    }

    /// Puts a group where it belongs now. True: its parent's queue has changed.
    fn take_stand(&mut self, index: usize, lead: u64) -> bool {
        let early = mutant::is("group_looks_before_it_waits").then(|| self.look(index));
        self.follow_queue(index);
        let (old, new) = (self.node(index).standing, early.unwrap_or_else(|| self.look(index)));
        let stays = matches!((old, new), (Standing::Ready(_), Standing::Ready(_))) || old == new;
        if stays {
            return false;
        }
        let Node { parent, weight, finish, .. } = *self.node(index);
        match old {
            Standing::Blocked(at) => {
                self.blocked.remove(&(at, index));
            }
            Standing::Ready(Some(place)) => {
                let parent = parent.expect("M2: only the root has no place");
                self.node_mut(parent).queue.leave(place);
            }
            Standing::Idle | Standing::Ready(None) => {}
        }
        let number = self.number();
        self.node_mut(index).standing = match (new, parent) {
            (Standing::Ready(_), Some(parent)) => {
                let arrival = Arrival { number, weight, finish, taken: 0, lead, wants: u64::MAX };
                Standing::Ready(Some(self.node_mut(parent).queue.enter(arrival, Entry::Group(index))))
            }
            _ => new,
        };
        if let Standing::Blocked(at) = new {
            self.blocked.insert((at, index));
        }
        matches!(old, Standing::Ready(_)) || matches!(new, Standing::Ready(_))
    }

    /// Where a group belongs now.
    fn look(&mut self, index: usize) -> Standing {
        let now = self.now;
        if self.node(index).queue.is_empty() {
            return Standing::Idle;
        }
        if self.node(index).plan.is_worn(now) {
            self.replan(index, self.node(index).plan.limit());
        }
        let node = self.node(index);
        let missing = node.needs() as i64 - node.level(now);
        if missing <= 0 {
            Standing::Ready(None)
        } else {
            Standing::Blocked(node.plan.accrues(missing.unsigned_abs(), now))
        }
    }

    /// M1.
    fn follow_queue(&mut self, index: usize) {
        let now = self.now;
        let node = self.node_mut(index);
        match (node.queue.is_empty(), node.waited_for_since) {
            (false, None) => {
                // The level is looked at after this, by who has the lock (W2).
                let _level = node.shared.clock.wait(&node.plan, now);
                node.waited_for_since = Some(now);
            }
            (true, Some(since)) => {
                node.shared.clock.wait_no_more();
                node.waited_for_since = None;
                node.throttled += now.since(since);
            }
            _ => {}
        }
    }

    /// Changes what a group goes by, and has all below it look it up anew.
    fn replan(&mut self, index: usize, limit: Limit) {
        let now = self.now;
        let node = self.node_mut(index);
        node.plan = node.shared.clock.replan(&node.plan, limit, now);
        for (at, node) in self.groups.iter().enumerate() {
            if let Some(node) = node.as_ref().filter(|_| self.upwards(at).any(|above| above == index)) {
                node.shared.outdate();
            }
        }
    }

    /// Where the root stands; `None` once all is dissolved.
    fn root(&self) -> Option<Standing> {
        self.groups[ROOT].as_ref().map(|root| root.standing)
    }

    fn stays_no_more(&mut self, who: &W) {
        self.owed.gone.extend(self.alarms.leave(&who.base()));
    }

    /// How far ahead of those who wait at a group somebody may be who comes: what each gets in a second, if all want some.
    fn lead(&self, index: usize) -> u64 {
        let per_second = self.upwards(index).map(|above| self.node(above).plan.per_second()).min();
        let node = self.node(index);
        node.quantum().max(per_second.unwrap_or(0) / (node.members + node.children).max(1) as u64)
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
        match self.queue.peek() {
            Some(Entry::Member { want, .. }) => self.quantum().min(*want),
            _ => self.quantum(),
        }
    }

    /// Bytes of its own members, and of dissolved groups below.
    fn total(&self) -> u64 {
        self.total.wrapping_add(self.shared.moved.get())
    }
}

impl Counted {
    fn add(&mut self, number: usize, is_here: bool) {
        *if is_here { &mut self.here } else { &mut self.below } += number;
    }
}

impl<W: Waiter> Default for Owed<W> {
    fn default() -> Self {
        Self { wakes: Vec::new(), alarms: Vec::new(), gone: Vec::new() }
    }
}

const ROOT: usize = 0;

/// How long a base may take to run who was served, up to the end of the tick: what it was granted goes back after that.
pub const GRANT_GOOD_FOR: Duration = Duration::from_millis(20);

#[cfg(all(test, not(loom)))]
mod tests;
