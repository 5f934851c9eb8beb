use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{error, fmt, iter};

use crate::half::Half;
use crate::room::{Counted, Key, View};
use crate::source::Supply;
use crate::{Direction, Member, Nanos, Plan, TokenBucketConfig, TokenSource, Waiter};

/// How deep groups may be nested: a root, and so many minus one below it.
pub const GROUP_DEPTH_MAX: usize = 16;

/// A limit that members share, on whatever threads and bases they are: what they are granted together is never more than
/// it holds. A clone is the same group.
///
/// * Members that want more than there is wait in its queue, and are served at the boundaries of its ticks, in fair shares
///   by weight. Nobody else counts: idle members have no share.
/// * A group below another is limited by both: what its members are granted is charged to the whole path up to the root, or
///   not at all. Where groups wait at the same parent, they get fair shares of it by their weights.
/// * It belongs to no base. Whichever of the bases on which somebody waits comes first serves all. While nobody waits
///   there is no alarm, and taking is a write to one word of each group on the path.
/// * When its last handle is dropped it is dissolved: its members, those that wait included, go on in its parent with their
///   weights, and what they have moved stays counted there; those of a root go on without a limit. A group keeps those above
///   it.
///
/// Every operation is of any thread.
///
/// ```
/// use std::num::NonZeroU32;
/// use bufferevent_ratelimit::{Bell, Direction, Grant, Group, Nanos, TokenBucketConfig, Waiter, Want};
///
/// // Here nobody runs by itself: who is woken is looked for below.
/// struct Nobody;
/// impl Waiter for Nobody {
///     type Base = ();
///     fn base(&self) {}
///     fn wake(self) {}
///     fn alarm((): &(), _bell: &Bell<Self>, at: Nanos) {
///         assert_eq!(at, Nanos(1_000_000_000));
///     }
/// }
///
/// let config = TokenBucketConfig::new(1_000, 1_000, 1_000, 1_000, None)?; // per second
/// let site = Group::new(&config, Nanos(0));
/// let mut member = site.join(NonZeroU32::MIN);
///
/// let Grant::Granted(bytes) = member.take(Direction::Write, Want::once(4_096), Nanos(1), || Nobody) else {
///     unreachable!("nobody waits");
/// };
/// member.settle(Direction::Write, bytes, 1_000, Nanos(2));
/// let grant = member.take(Direction::Write, Want::once(4_096), Nanos(3), || Nobody);
/// assert_eq!(grant, Grant::Wait);
///
/// let level = |now| site.snapshot(Direction::Write, now).level;
/// assert_eq!((level(Nanos(4)), level(Nanos(999_999_999))), (0, 0));
/// assert_eq!(site.snapshot(Direction::Write, Nanos(5)).waiting, 1);
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
/// # Libevent
/// `bufferevent_rate_limit_group`. Differs: it needs no base, nests, weighs, divides among those who want something, and
/// may be dropped while it has members.
pub struct Group<W: Waiter> {
    inner: Arc<Inner<W>>,
}

struct Inner<W: Waiter> {
    halves: [(Half<W>, Key); 2],
    parent: Option<Group<W>>,
    ancestry: Arc<Ancestry<W>>,
}

/// A group and those above it, for who does not keep them.
pub(crate) struct Ancestry<W: Waiter> {
    group: Weak<Inner<W>>,
    above: Option<Arc<Self>>,
}

/// What a group does in one direction, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// Bytes that are there; negative for a debt. What members have leased is not.
    pub level: i64,
    /// Bytes that there must be before somebody who waits is served.
    pub quantum: u64,
    /// Its own members, those that fell to it from a [dissolved](Group) one included.
    pub members: usize,
    /// Members of groups below.
    pub members_below: usize,
    /// How many of its own members wait.
    pub waiting: usize,
    /// How many of those of groups below wait, be it there or for what this one has.
    pub waiting_below: usize,
    /// For how long somebody has waited here, of this group or of one below it, since it was made.
    pub throttled: Duration,
    /// Bytes that were moved by its members and those of groups below, also by those that have left, since it was made or
    /// [reset](Group::reset_totals). What a member has used of a lease is counted when that ends.
    pub total: u64,
}

/// A group would be [deeper](GROUP_DEPTH_MAX) than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDeep;

impl<W: Waiter> Group<W> {
    /// Makes a group that is below no other. It holds one tick's worth.
    ///
    /// * `since`: when its first tick begins; this may be to come.
    #[must_use]
    pub fn new(config: &TokenBucketConfig, since: Nanos) -> Self {
        Self::root(config, |direction| Plan::new(config.limit(direction), since))
    }

    /// Makes a group that is below no other, and is given what `source` says: it holds nothing yet. Of the configuration
    /// the burst counts, and of the rate only how much one waits for at a time.
    #[must_use]
    pub fn with_source(config: &TokenBucketConfig, source: Arc<dyn TokenSource>, now: Nanos) -> Self {
        let supply = |direction| Supply::new(Arc::clone(&source), direction, config.limit(direction), now);
        Self::root(config, |direction| Plan::of(supply(direction)))
    }

    fn root(config: &TokenBucketConfig, plan: impl Fn(Direction) -> Plan) -> Self {
        let half = |direction| Half::new(config.limit(direction), plan(direction));
        Self::with_halves(Direction::ALL.map(half), None)
    }

    fn with_halves(halves: [(Half<W>, Key); 2], parent: Option<Self>) -> Self {
        let above = parent.as_ref().map(|parent| Arc::clone(&parent.inner.ancestry));
        let inner = Arc::new_cyclic(|group| {
            let ancestry = Arc::new(Ancestry { group: Weak::clone(group), above });
            Inner { halves, parent, ancestry }
        });
        Self { inner }
    }

    /// The source of the tree has given more in a direction, at a moment that it had not announced: serves who waits for
    /// it. This may be any group of the tree.
    pub fn supplied(&self, direction: Direction, now: Nanos) {
        let (half, _) = self.half(direction);
        half.enter(Some(now), |room| room.supplied());
    }

    /// Makes a group below this one. It holds one tick's worth.
    ///
    /// * `weight`: its share among those who wait at this one.
    /// * `since`: when its first tick begins; this may be to come.
    /// # Errors
    /// [`TooDeep`].
    pub fn child(
        &self,
        config: &TokenBucketConfig,
        weight: NonZeroU32,
        since: Nanos,
    ) -> Result<Self, TooDeep> {
        if self.inner.ancestry.upwards().count() == GROUP_DEPTH_MAX {
            return Err(TooDeep);
        }
        let halves = Direction::ALL.map(|direction| {
            let (half, parent) = &self.inner.halves[direction.index()];
            let limit = config.limit(direction);
            (half.clone(), half.enter(None, |room| room.child(*parent, weight.get(), limit, since)))
        });
        Ok(Self::with_halves(halves, Some(self.clone())))
    }

    /// Makes a member.
    ///
    /// * `weight`: its share among those who wait here. One is usual.
    #[must_use]
    pub fn join(&self, weight: NonZeroU32) -> Member<W> {
        let [read, write] = &self.inner.halves;
        let ancestry = Arc::clone(&self.inner.ancestry);
        Member::new([(&read.0, read.1), (&write.0, write.1)], ancestry, weight)
    }

    /// Whether `member` is one of this very group: see [`Member::group`].
    #[must_use]
    pub fn has(&self, member: &Member<W>) -> bool {
        member.group().is_some_and(|group| group == *self)
    }

    /// The configuration that was set last. Where [credit](TokenBucketConfig::unclipped) may go does not matter to a group, and
    /// is not told.
    #[must_use]
    pub fn config(&self) -> TokenBucketConfig {
        TokenBucketConfig::of(Direction::ALL.map(|direction| {
            let (half, key) = self.half(direction);
            half.enter(None, |room| room.limit(*key)).expect("a group with a handle is not dissolved")
        }))
    }

    /// Replaces the configuration: the level stays, or is clipped to the new burst. Takes effect before this returns. What is
    /// leased is forfeited.
    pub fn set_config(&self, config: &TokenBucketConfig, now: Nanos) {
        for direction in Direction::ALL {
            let (half, key) = self.half(direction);
            half.enter(Some(now), |room| room.set_limit(*key, config.limit(direction)));
        }
    }

    /// Sets what there must be before somebody who waits is served, bytes, for both directions.
    ///
    /// * `None`, the default: from 64 to 16,384, as the rate and the number of those who wait suggest.
    /// * 0: no least share. More than what the burst holds beside a tick's worth counts as that, but a tick's worth counts.
    ///
    /// What one of them leaves of its turn is for the next in the same tick, however little, where the burst could not hold it
    /// beside the next tick's worth; but a hundredth of that.
    /// # Libevent
    /// `bufferevent_rate_limit_group_set_min_share`. Differs: the default follows the rate; each direction is clipped by
    /// its own limit.
    pub fn set_min_share(&self, bytes: Option<u64>, now: Nanos) {
        for (half, key) in &self.inner.halves {
            half.enter(Some(now), |room| room.set_min_share(*key, bytes));
        }
    }

    /// Takes bytes out by hand: the level may become negative. A negative number puts some in, up to the burst. Not counted
    /// in the totals.
    pub fn decrement(&self, direction: Direction, bytes: i64, now: Nanos) {
        let (half, key) = self.half(direction);
        half.enter(Some(now), |room| room.decrement(*key, bytes));
    }

    /// Bytes that are there; negative for a debt. Groups above are not considered. Low by what members have leased: an
    /// eighth of the burst or so at most, up to the end of the tick.
    #[must_use]
    pub fn level(&self, direction: Direction, now: Nanos) -> i64 {
        let (half, key) = self.half(direction);
        half.enter(Some(now), |room| room.level(*key)).expect("a group with a handle is not dissolved")
    }

    /// Bytes that were moved in a direction: see [`GroupSnapshot::total`].
    #[must_use]
    pub fn total(&self, direction: Direction) -> u64 {
        self.view(direction, None).total
    }

    /// Counts both totals from 0 again, and no other group's. No byte is missed or counted twice.
    pub fn reset_totals(&self) {
        for (half, key) in &self.inner.halves {
            half.enter(None, |room| room.reset_total(*key));
        }
    }

    /// What it does in one direction. Takes time in proportion to the groups of the tree.
    #[must_use]
    pub fn snapshot(&self, direction: Direction, now: Nanos) -> GroupSnapshot {
        let View { level, quantum, members, waiting, throttled, total } = self.view(direction, Some(now));
        let Counted { here: members, below: members_below } = members;
        let Counted { here: waiting, below: waiting_below } = waiting;
        let throttled = Duration::from_nanos(throttled);
        GroupSnapshot { level, quantum, members, members_below, waiting, waiting_below, throttled, total }
    }

    /// The group that this one is below.
    #[must_use]
    pub fn parent(&self) -> Option<&Self> {
        self.inner.parent.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn half_of(&self, direction: Direction) -> Half<W> {
        self.half(direction).0.clone()
    }

    fn half(&self, direction: Direction) -> &(Half<W>, Key) {
        &self.inner.halves[direction.index()]
    }

    fn view(&self, direction: Direction, now: Option<Nanos>) -> View {
        let (half, key) = self.half(direction);
        half.enter(now, |room| room.view(*key)).expect("a group with a handle is not dissolved")
    }
}

impl<W: Waiter> Ancestry<W> {
    fn upwards(&self) -> impl Iterator<Item = &Self> {
        iter::successors(Some(self), |of| of.above.as_deref())
    }

    /// The first that is not dissolved.
    pub(crate) fn first(&self) -> Option<Group<W>> {
        self.upwards().find_map(|of| of.group.upgrade()).map(|inner| Group { inner })
    }
}

impl<W: Waiter> Drop for Inner<W> {
    fn drop(&mut self) {
        for (half, key) in &self.halves {
            half.enter(None, |room| room.dissolve(*key));
        }
    }
}

impl<W: Waiter> Clone for Group<W> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

/// The same group.
impl<W: Waiter> PartialEq for Group<W> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<W: Waiter> Eq for Group<W> {}

impl<W: Waiter> fmt::Debug for Group<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, write] = Direction::ALL.map(|direction| self.view(direction, None));
        f.debug_struct("Group")
            .field("config", &self.config())
            .field("members", &read.members.here)
            .field("waiting", &[read.waiting.here, write.waiting.here])
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "groups nest {GROUP_DEPTH_MAX} deep at most")
    }
}

impl error::Error for TooDeep {}
