use std::fmt;
use std::num::NonZeroU32;

use bufferevent_sync::{Arc, mutant};

use crate::fair_queue::{Place, Tag};
use crate::group::Ancestry;
use crate::half::Half;
use crate::lease::{Ended, Lease};
use crate::path::Path;
use crate::room::{Asks, Key};
use crate::served::Served;
use crate::terms::is_current;
use crate::{Direction, Group, Nanos, Terms, Waiter};

/// How many bytes a member wants, each at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// What the next operation can move: more is not taken while there is enough for all.
    pub once: u64,
    /// What it could move if there were no limit: where tokens are scarce, its share may be so much.
    pub in_all: u64,
}

impl Want {
    /// One operation's worth, and no more.
    #[must_use]
    pub const fn once(bytes: u64) -> Self {
        Self { once: bytes, in_all: bytes }
    }
}

/// What came of [`Member::take`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes may go now: at least one if at least one was wanted. To be [settled](Member::settle).
    Granted(u64),
    /// None: the waiter is [woken](Waiter::wake) when its turn has come, to take again.
    Wait,
    /// The group was dissolved, and there is none above it: nothing limits it any more.
    Left,
}

/// A place in a [`Group`], or in those above once that is dissolved, which belongs to one connection. Dropped,
/// it leaves the group.
///
/// In each direction it takes, moves bytes, and settles, under no lock as long as nobody waits on the path from its group
/// to the root. While there is plenty it takes more than it wants, up to [`LEASE_MAX`](crate::LEASE_MAX), and uses that until
/// the tick ends without asking anybody: its lease. See [`Group`] for an example.
pub struct Member<W: Waiter> {
    sides: [Side<W>; 2],
    ancestry: std::sync::Arc<Ancestry<W>>,
}

/// One direction.
///
/// * N1 `place` is one in the room's queue, or of what it has in `served`, or of what has lapsed there; `held` is 0 then.
/// * N2 `held` bytes were taken from every clock of the path, and not settled yet; so were those of the lease. If the path was
///   longer then, those clocks are no more.
/// * N3 `key` is of the group that the path begins with.
/// * N4 There is a lease only while `held` is 0 and there is no place.
struct Side<W: Waiter> {
    lease: Lease,
    half: Half<W>,
    key: Key,
    weight: NonZeroU32,
    /// `None`: all groups were dissolved.
    path: Option<Arc<Path>>,
    place: Option<Place>,
    finish: Tag,
    /// Bytes since its last turn that it did not wait for.
    taken: u64,
    held: u64,
    /// What comes of a turn is kept until the tick ends, so that no window sees two ticks' worth.
    held_until: Nanos,
}

impl<W: Waiter> Member<W> {
    pub(crate) fn new(
        sides: [(&Half<W>, Key); 2],
        ancestry: std::sync::Arc<Ancestry<W>>,
        weight: NonZeroU32,
    ) -> Self {
        Self { sides: sides.map(|(half, key)| Side::new(half.clone(), key, weight)), ancestry }
    }

    /// Takes what may go now, or begins to wait as `who`.
    ///
    /// As long as nobody waits on the path, that is what is wanted [once](Want::once) or what there is; what is
    /// [leased](Self::leased) already is used first. A share that was waited for may be more: the rest is kept for the takes
    /// that follow in the same tick. Who waits already stays where it is, with its new want; `who` is not called then.
    /// # Locks
    /// None, unless it must wait or has waited, or the configuration has changed: then the group's leaf lock, for a moment.
    pub fn take(&mut self, direction: Direction, want: Want, now: Nanos, who: impl FnOnce() -> W) -> Grant {
        self.sides[direction.index()].take(want, now, who)
    }

    /// What it may use without asking: bytes. Whoever does says so to [`spend`](Self::spend), before anything else is done in
    /// that direction, and calls neither [`take`](Self::take) nor [`settle`](Self::settle).
    #[inline]
    #[must_use]
    pub fn leased(&self, direction: Direction, now: Nanos) -> u64 {
        self.sides[direction.index()].leased(now)
    }

    /// As [`leased`](Self::leased), and how long that is good for.
    #[must_use]
    pub fn lend(&self, direction: Direction, now: Nanos, terms: &mut Terms) -> u64 {
        let side = &self.sides[direction.index()];
        terms.set(side.path.as_ref(), side.lease.until());
        side.leased(now)
    }

    /// So many of the bytes that are [leased](Self::leased) have moved.
    #[inline]
    pub fn spend(&mut self, direction: Direction, used: u64) {
        let missing = self.sides[direction.index()].lease.spend(used);
        debug_assert_eq!(missing, 0, "that is not leased");
    }

    /// Wants no more, and gives back what it holds or has leased, both ways. To be called before it is dropped: else that is
    /// lost to the group for the rest of the tick.
    pub fn release(&mut self, now: Nanos) {
        for side in &mut self.sides {
            side.look();
            side.withdraw(Some(now));
            side.end_lease(now);
        }
    }

    /// Counts that `used` bytes were moved of those [granted](Grant::Granted). If that is less, no more is wanted now: all
    /// that is held is given back, but for a lease. If it is more, the group is in debt.
    pub fn settle(&mut self, direction: Direction, granted: u64, used: u64, now: Nanos) {
        self.sides[direction.index()].settle(granted, used, now);
    }

    /// Counts bytes that went without having been granted, as in a flush: the group is in debt by them.
    pub fn charge(&mut self, direction: Direction, bytes: u64, now: Nanos) {
        self.sides[direction.index()].settle(0, bytes, now);
    }

    /// Counts bytes in the totals alone: they went beside the limits, and nobody owes them.
    pub fn count(&mut self, direction: Direction, bytes: u64) {
        if let Some(path) = &self.sides[direction.index()].path {
            path.count(bytes);
        }
    }

    /// Wants no more for now: waits no longer, and gives back what it holds, but for a lease, and for what it is too late for. To be called whenever a
    /// direction that took with a want beyond [once](Want::once) rests.
    pub fn withdraw(&mut self, direction: Direction, now: Nanos) {
        self.sides[direction.index()].withdraw(Some(now));
    }

    /// Lives on another base now: where it waits, it waits as `who` makes it there.
    pub fn moved(&mut self, who: impl Fn(Direction) -> W) {
        for direction in Direction::ALL {
            self.sides[direction.index()].moved(|| who(direction));
        }
    }

    /// The group it is in by now: the one it [joined](Group::join), or the first above that is not dissolved. `None` if
    /// all are. A member keeps no group; what this gives does.
    #[must_use]
    pub fn group(&self) -> Option<Group<W>> {
        self.ancestry.first()
    }

    /// Its share among those who wait.
    #[must_use]
    pub fn weight(&self) -> NonZeroU32 {
        self.sides[0].weight
    }

    /// What its group and those above let move now, for who asks: nothing is taken. While somebody waits there, that is what
    /// it has leased.
    #[must_use]
    pub fn most(&self, direction: Direction, now: Nanos) -> u64 {
        let side = &self.sides[direction.index()];
        let path = match &side.path {
            // No time is brought there: who only asks may go by another clock.
            Some(path) if !path.is_current() => side.half.enter(None, |room| room.path(side.key)),
            path => path.clone(),
        };
        path.map_or(u64::MAX, |path| path.most(now).saturating_add(side.leased(now)))
    }

    #[cfg(test)]
    pub(crate) fn place(&self, direction: Direction) -> Option<Place> {
        self.sides[direction.index()].place
    }

    /// Whether it waits for its turn, or has been woken and not taken since.
    #[must_use]
    pub fn is_waiting(&self, direction: Direction) -> bool {
        self.sides[direction.index()].place.is_some()
    }

    /// Whether there is nothing to [withdraw](Self::withdraw), either way.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.sides.iter().all(|side| side.place.is_none() && side.held == 0)
    }

    /// Bytes that were granted and are not settled; without what is [leased](Self::leased).
    #[must_use]
    pub fn held(&self, direction: Direction) -> u64 {
        self.sides[direction.index()].held
    }
}

impl<W: Waiter> Side<W> {
    fn new(half: Half<W>, key: Key, weight: NonZeroU32) -> Self {
        let path = half.enter(None, |room| {
            room.join(key);
            room.follow(key)
        });
        let (finish, held_until) = (Tag::default(), Nanos::NEVER);
        let lease = Lease::default();
        Self { lease, half, key, weight, path, place: None, finish, taken: 0, held: 0, held_until }
    }

    #[inline]
    fn leased(&self, now: Nanos) -> u64 {
        if self.path.as_ref().is_some_and(is_current) { self.lease.left(now) } else { 0 }
    }

    #[inline]
    fn take(&mut self, want: Want, now: Nanos, who: impl FnOnce() -> W) -> Grant {
        self.look();
        if self.path.is_none() {
            return Grant::Left;
        }
        if want.once == 0 {
            return Grant::Granted(0);
        }
        if self.place.is_none() && self.held == 0 {
            let leased = self.take_more(want.once, now);
            if leased > 0 {
                return Grant::Granted(leased.min(want.once));
            }
        }
        if self.held > 0 && now < self.held_until {
            return Grant::Granted(self.held.min(want.once));
        }
        self.take_turn(want, now, who)
    }

    /// Takes what the lease has too little of. Gives what is leased then; if nothing is, what was taken is held.
    fn take_more(&mut self, once: u64, now: Nanos) -> u64 {
        let left = self.lease.left(now);
        if left >= once {
            return left;
        }
        if left == 0 {
            self.end_lease(now);
        }
        let Self { lease, path: Some(path), half, .. } = self else { return 0 };
        let most = path.lease(now);
        let (granted, owes) = path.take(once.max(most) - left, now);
        if owes {
            half.enter(Some(now), |room| room.relieved(path));
        }
        if left > 0 || most > 0 {
            lease.extend(granted, most, path.next_boundary(now));
        } else {
            self.hold(granted, Nanos::NEVER);
        }
        self.lease.left(now)
    }

    /// The slow path.
    #[cold]
    fn take_turn(&mut self, want: Want, now: Nanos, who: impl FnOnce() -> W) -> Grant {
        self.give_back(now);
        let in_all = want.in_all.max(want.once);
        let served = match self.place {
            Some(place) => self.collect(place, in_all, now, who),
            None => self.wait(in_all, now, who()),
        };
        let Some(served) = served else {
            return if self.path.is_some() { Grant::Wait } else { Grant::Left };
        };
        self.place = None;
        self.take_over(&served);
        Grant::Granted(self.held.min(want.once))
    }

    /// It was woken, or runs for another reason. If it comes too late for what it got, it waits again.
    fn collect(&mut self, place: Place, want: u64, now: Nanos, who: impl FnOnce() -> W) -> Option<Served> {
        let (served, waits) = self.half.enter(Some(now), |room| {
            let served = room.collect(place);
            room.set_want(self.key, place, want);
            (served, room.is_queued(self.key, place))
        });
        if served.is_some() || waits { served } else { self.wait(want, now, who()) }
    }

    fn wait(&mut self, want: u64, now: Nanos, who: W) -> Option<Served> {
        let (mut who, taken) = (Some(who), std::mem::take(&mut self.taken));
        while self.path.is_some() {
            let Self { half, key, weight, finish, .. } = self;
            let asks = Asks { want, weight: weight.get(), finish: *finish, taken };
            let entered = half.enter(Some(now), |room| {
                let place = room.enlist(*key, asks)?;
                room.serve();
                let served = room.collect(place);
                if let Some(who) = who.take_if(|_| served.is_none()) {
                    let _nobody = room.stay(*key, place, who);
                }
                Some((place, served))
            });
            if let Some((place, served)) = entered {
                self.place = Some(place);
                return served;
            }
            // It was dissolved since we looked.
            self.look_up();
        }
        None
    }

    fn settle(&mut self, granted: u64, used: u64, now: Nanos) {
        let Some(path) = &self.path else { return };
        let (within, beyond) = (used.min(granted), used.saturating_sub(granted));
        if self.held == 0 {
            let missing = self.lease.spend(within);
            path.count(missing + beyond);
            let surplus = self.lease.surplus();
            self.give(surplus);
        } else {
            path.count(used);
            if self.held_until == Nanos::NEVER {
                self.taken = self.taken.saturating_add(used);
            }
            self.held = self.held.saturating_sub(within);
            if used < granted {
                self.give_back(now);
            }
        }
        if beyond > 0 {
            self.look();
            self.path.iter().for_each(|path| path.debt(beyond, now));
        }
    }

    /// Sees to it that the path is what it is now.
    #[inline]
    fn look(&mut self) {
        if !self.path.as_ref().is_some_and(|path| path.is_current()) {
            self.look_up();
        }
    }

    /// It has what its turn gave it.
    fn take_over(&mut self, served: &Served) {
        let Served { bytes, finish, until, path, .. } = served;
        // The time of one queue says nothing in another.
        self.finish = if path.group() == self.key { *finish } else { Tag::default() };
        // What was never waited for is held until NEVER.
        self.hold(*bytes, (*until).min(Nanos(u64::MAX - 1)));
    }

    #[inline]
    fn hold(&mut self, bytes: u64, until: Nanos) {
        debug_assert_eq!(self.held, 0, "N2");
        (self.held, self.held_until) = (bytes, until);
    }

    /// What is held; of what comes of a turn nothing if it is too late, as of a lease.
    fn give_back(&mut self, now: Nanos) {
        let bytes = std::mem::take(&mut self.held);
        if self.held_until != Nanos::NEVER {
            self.finish = self.finish.minus(bytes, self.weight.get());
        }
        if now < self.held_until {
            self.give(bytes);
        }
    }

    fn give(&self, bytes: u64) {
        let owes = self.path.as_ref().is_some_and(|path| bytes > 0 && path.give(bytes));
        self.serve_others(owes);
    }

    /// Whether those who wait must be served.
    fn serve_others(&self, owes: bool) {
        if let Some(path) = self.path.as_ref().filter(|_| owes && !mutant::is("group_gives_back_in_silence"))
        {
            self.half.enter(None, |room| room.relieved(path));
        }
    }

    fn end_lease(&mut self, now: Nanos) {
        let Ended { used, back, at } = self.lease.end();
        if let Some(path) = self.path.as_ref().filter(|_| !mutant::is("lease_is_not_counted")) {
            path.count(used);
        }
        self.taken = self.taken.saturating_add(used);
        let owes = self.path.as_ref().is_some_and(|path| back > 0 && path.give_in_tick(back, at, now));
        self.serve_others(owes);
    }

    /// At a time that is not known nothing goes back.
    #[inline]
    fn withdraw(&mut self, now: Option<Nanos>) {
        if self.place.is_some() || self.held > 0 {
            self.withdraw_all(now);
        }
    }

    #[cold]
    fn withdraw_all(&mut self, now: Option<Nanos>) {
        if let Some(place) = self.place.take() {
            let (served, _who) = self.half.enter(now, |room| match room.collect(place) {
                None => (None, room.withdraw(self.key, place)),
                served => (served, None),
            });
            served.iter().for_each(|served| self.take_over(served));
        }
        self.give_back(now.unwrap_or(Nanos::NEVER));
    }

    fn moved(&mut self, who: impl FnOnce() -> W) {
        if let Some(place) = self.place {
            let who = who();
            let _before = self.half.enter(None, |room| room.stay(self.key, place, who));
        }
    }

    /// The path has changed, or begins above what is dissolved, or is no more: then what was taken goes back. What is
    /// leased is forfeited, for the boundaries of another plan are not those it was leased for.
    #[cold]
    fn look_up(&mut self) {
        if self.path.is_none() {
            return;
        }
        self.end_lease(Nanos::NEVER);
        let path = self.half.enter(None, |room| room.follow(self.key));
        match &path {
            // As in `take_over`.
            Some(path) if path.group() != self.key => {
                (self.key, self.finish) = (path.group(), Tag::default())
            }
            Some(_) => {}
            None => self.withdraw(None),
        }
        self.path = path;
    }
}

impl<W: Waiter> Drop for Side<W> {
    fn drop(&mut self) {
        self.withdraw(None);
        self.end_lease(Nanos::NEVER);
        self.half.enter(None, |room| room.leave(self.key));
    }
}

impl<W: Waiter> fmt::Debug for Member<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, write] =
            Direction::ALL.map(|direction| (self.is_waiting(direction), self.held(direction)));
        f.debug_struct("Member").field("read", &read).field("write", &write).finish()
    }
}
