//! A limit that many bufferevents share, wherever they live.

use std::{fmt, num::NonZeroU32, sync::Arc};

use bufferevent_ratelimit::{
    Bell, Direction, Grant, Group, GroupSnapshot, Member, Nanos, TokenBucketConfig, TokenSource, TooDeep,
    Waiter, Want,
};
use bufferevent_runtime::{BaseHandle, Clock, Key, Time};

use super::alarm::Alarms;
use crate::bufferevent::Home;

/// A limit that many bufferevents share: what moves through all of them together is never more than it lets. A clone is
/// the same group, and any thread may use it.
///
/// Its members may live on any bases of any runtimes, and move between them. Those that want more than there is are
/// served at the boundaries of the group's ticks, in fair shares by weight; who wants nothing has no share. A group
/// [below](RateLimitGroup::child) another is limited by both. A member that has a limit
/// [of its own](crate::Bufferevent::set_rate_limit) moves what the least of them lets.
///
/// A member that was granted its share while its base rests, or is in a callback that lasts, moves that when it runs again: a
/// turn each, beside what the group lets by then. What it comes too late for is for those who have waited ever since; where
/// nobody has, it is lost.
///
/// In any time there moves at most the burst and what that time's ticks pay. Only where a base did not run in time, what its
/// members were granted in the last 20 ms ([`GRANT_GOOD_FOR`](bufferevent_ratelimit::GRANT_GOOD_FOR)) moves beside that when it does.
///
/// While nobody waits there is no timer, and no lock is taken for what moves. While there is plenty a member takes up to
/// [64 KiB](bufferevent_ratelimit::LEASE_MAX) at once, and uses that until the tick ends without asking again: a *lease*. All leases are an eighth
/// of the burst or so; with a burst that allows less than [4 KiB](bufferevent_ratelimit::LEASE_MIN) for each member there are none. Nothing is leased
/// while somebody waits; what a member has leased and does not use is lost when its tick ends, once.
///
/// **Keep a handle for as long as the limit is to hold.** Members do not keep their group: when its last handle is dropped it
/// is dissolved. Its members then go on in its parent, each with its own weight, and who waits goes on waiting there; what they
/// have moved stays counted above. Those of a group that is below no other go on without a limit. A group keeps those above
/// it, so one in the middle limits as long as there is a handle of one below it.
///
/// ```
/// use std::time::Duration;
/// use bufferevent::{Bufferevent, Direction, RateLimitGroup, TokenBucketConfig};
///
/// let tick = Some(Duration::from_millis(10));
/// let site = RateLimitGroup::new(&TokenBucketConfig::symmetric("80Mbit/s".parse()?, tick)?);
/// let tenant = site.child(&TokenBucketConfig::symmetric("1MB/s".parse()?, tick)?)?;
/// let builder = Bufferevent::detached().rate_limit_group(&tenant);
///
/// assert_eq!(tenant.snapshot(Direction::Read).members, 1);
/// let snapshot = site.snapshot(Direction::Read);
/// assert_eq!((snapshot.members, snapshot.members_below), (0, 1));
/// # drop(builder);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// # Libevent
/// `struct bufferevent_rate_limit_group`. Differs: needs no base, holds exactly whatever threads do, nests, weighs, and may
/// be dropped while it has members, which go on without it.
#[doc(alias = "bufferevent_rate_limit_group")]
#[derive(Clone, PartialEq, Eq)]
pub struct RateLimitGroup {
    group: Group<Throttled>,
    pub(super) tree: Arc<Tree>,
}

/// What all groups of a tree have in common.
pub(super) struct Tree {
    clock: Clock,
    pub(super) alarms: Alarms,
}

impl Tree {
    fn fits(&self, base: &BaseHandle) -> bool {
        base.clock().agrees_with(&self.clock)
    }
}

/// The same tree.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Tree {}

impl RateLimitGroup {
    /// Makes a group that is below no other. It holds one tick's worth; its ticks count from now.
    ///
    /// # Libevent
    /// `bufferevent_rate_limit_group_new`, `bufferevent_rate_limit_group_free`.
    #[doc(alias = "bufferevent_rate_limit_group_new")]
    #[doc(alias = "bufferevent_rate_limit_group_free")]
    #[must_use]
    pub fn new(config: &TokenBucketConfig) -> Self {
        Self::with_clock(config, Clock::monotonic())
    }

    /// As [`new`](RateLimitGroup::new), for bases that go by another clock than the system's.
    #[must_use]
    pub fn with_clock(config: &TokenBucketConfig, clock: Clock) -> Self {
        let group = Group::new(config, aligned(clock.now()));
        Self { group, tree: Arc::new(Tree { clock, alarms: Alarms::default() }) }
    }

    /// Makes a group that is below no other, and is given its bytes by `source` instead of by its ticks, such as a share of
    /// what several hosts may move together: see [`TokenSource`]. It holds nothing yet.
    #[must_use]
    pub fn with_source(config: &TokenBucketConfig, source: Arc<dyn TokenSource>, clock: Clock) -> Self {
        let group = Group::with_source(config, source, nanos(clock.now()));
        Self { group, tree: Arc::new(Tree { clock, alarms: Alarms::default() }) }
    }

    /// The source of the tree has given more in a direction, at a moment that it had not announced: serves who waits.
    pub fn supplied(&self, direction: Direction) {
        self.group.supplied(direction, self.now());
    }

    /// Makes a group below this one, of weight 1. Once the last handle of it is dropped, its members are this one's: see
    /// [`RateLimitGroup`].
    ///
    /// # Errors
    /// [`TooDeep`].
    pub fn child(&self, config: &TokenBucketConfig) -> Result<Self, TooDeep> {
        self.child_weighted(config, NonZeroU32::MIN)
    }

    /// Makes a group below this one that gets `weight` times what one of weight 1 gets, while both wait at this one.
    ///
    /// # Errors
    /// [`TooDeep`].
    pub fn child_weighted(&self, config: &TokenBucketConfig, weight: NonZeroU32) -> Result<Self, TooDeep> {
        let group = self.group.child(config, weight, aligned(self.tree.clock.now()))?;
        Ok(Self { group, tree: Arc::clone(&self.tree) })
    }

    /// The configuration that was set last, for both directions.
    ///
    /// ```
    /// use bufferevent::{RateLimitGroup, TokenBucketConfig};
    ///
    /// let config = TokenBucketConfig::symmetric("1MB/s".parse()?, None)?;
    /// assert_eq!(RateLimitGroup::new(&config).config(), config);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn config(&self) -> TokenBucketConfig {
        self.group.config()
    }

    /// Replaces the configuration: the level stays, or is clipped to the new burst. Takes effect before this returns; what
    /// is leased is forfeited.
    ///
    /// # Libevent
    /// `bufferevent_rate_limit_group_set_cfg`.
    #[doc(alias = "bufferevent_rate_limit_group_set_cfg")]
    pub fn set_config(&self, config: &TokenBucketConfig) {
        self.group.set_config(config, self.now());
    }

    /// Sets what there must be before a member that waits is served, bytes, so that nobody runs for a few.
    ///
    /// * `None`, the default: from 64 to 16,384, what each of those who wait gets in half a second.
    /// * 0: the same up to 16,384, without a least. More than a tick's worth, or than what the burst holds beside one, counts
    ///   as that.
    ///
    /// What one of them leaves of its turn is for the next in the same tick, however little, where the burst could not hold it
    /// beside the next tick's worth; but a hundredth of that.
    /// # Libevent
    /// `bufferevent_rate_limit_group_set_min_share`. Differs: the default follows the rate; each direction is clipped by its
    /// own limit.
    #[doc(alias = "bufferevent_rate_limit_group_set_min_share")]
    pub fn set_min_share(&self, bytes: Option<u64>) {
        self.group.set_min_share(bytes, self.now());
    }

    /// Bytes that may move in a direction now, negative for a debt. Groups above are not considered, and what members have
    /// leased is not there.
    ///
    /// # Libevent
    /// `bufferevent_rate_limit_group_get_read_limit`, `bufferevent_rate_limit_group_get_write_limit`.
    #[doc(alias = "bufferevent_rate_limit_group_get_read_limit")]
    #[doc(alias = "bufferevent_rate_limit_group_get_write_limit")]
    #[must_use]
    pub fn level(&self, direction: Direction) -> i64 {
        self.group.level(direction, self.now())
    }

    /// Takes `bytes` out, as if they had moved, or puts them in if negative, up to the burst. Not counted in the totals.
    ///
    /// # Libevent
    /// `bufferevent_rate_limit_group_decrement_read`, `bufferevent_rate_limit_group_decrement_write`. Differs: what is put in
    /// does not pass the burst.
    #[doc(alias = "bufferevent_rate_limit_group_decrement_read")]
    #[doc(alias = "bufferevent_rate_limit_group_decrement_write")]
    pub fn decrement(&self, direction: Direction, bytes: i64) {
        self.group.decrement(direction, bytes, self.now());
    }

    /// Bytes that its members and those of groups below have moved in a direction, also those that have left, since it was
    /// made or [reset](RateLimitGroup::reset_totals). What a member has used of a lease is counted when that ends: when it moves
    /// something after its tick, closes or leaves.
    ///
    /// # Libevent
    /// `bufferevent_rate_limit_group_get_totals`.
    #[doc(alias = "bufferevent_rate_limit_group_get_totals")]
    #[must_use]
    pub fn total(&self, direction: Direction) -> u64 {
        self.group.total(direction)
    }

    /// Counts both totals from 0 again, and no other group's. No byte is missed or counted twice.
    ///
    /// # Libevent
    /// `bufferevent_rate_limit_group_reset_totals`.
    #[doc(alias = "bufferevent_rate_limit_group_reset_totals")]
    pub fn reset_totals(&self) {
        self.group.reset_totals();
    }

    /// What the group does in one direction. Takes time in proportion to the groups of the tree.
    #[must_use]
    pub fn snapshot(&self, direction: Direction) -> GroupSnapshot {
        self.group.snapshot(direction, self.now())
    }

    /// The group that this one is below.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let group = self.group.parent()?.clone();
        Some(Self { group, tree: Arc::clone(&self.tree) })
    }

    /// Whether its times mean the same on a base.
    pub(super) fn fits(&self, base: &BaseHandle) -> bool {
        self.tree.fits(base)
    }

    pub(super) fn has(&self, membership: &Membership, weight: NonZeroU32) -> bool {
        self.group.has(&membership.member) && membership.member.weight() == weight
    }

    pub(super) fn join(&self, weight: NonZeroU32) -> Membership {
        Membership { member: self.group.join(weight), tree: Arc::clone(&self.tree) }
    }

    fn now(&self) -> Nanos {
        nanos(self.tree.clock.now())
    }
}

/// What it lets, and what it is doing.
impl fmt::Debug for RateLimitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshots = Direction::ALL.map(|direction| self.snapshot(direction));
        f.debug_struct("RateLimitGroup")
            .field("config", &self.config())
            .field("level", &snapshots.map(|snapshot| snapshot.level))
            .field("members", &snapshots[0].members)
            .field("members_below", &snapshots[0].members_below)
            .field("waiting", &snapshots.map(|snapshot| snapshot.waiting))
            .field("waiting_below", &snapshots.map(|snapshot| snapshot.waiting_below))
            .finish()
    }
}

/// What a member of a group knows.
pub(super) struct Membership {
    pub(super) member: Member<Throttled>,
    tree: Arc<Tree>,
}

impl Membership {
    pub(super) fn take(&mut self, direction: Direction, want: Want, now: Time, home: &Home) -> Grant {
        let Self { member, tree } = self;
        member.take(direction, want, nanos(now), || Throttled::at(home, tree))
    }

    /// The group it is in by now, if all are not dissolved.
    pub(super) fn group(&self) -> Option<RateLimitGroup> {
        let group = self.member.group()?;
        Some(RateLimitGroup { group, tree: Arc::clone(&self.tree) })
    }

    /// Whether its times mean the same on a base.
    pub(super) fn fits(&self, base: &BaseHandle) -> bool {
        self.tree.fits(base)
    }

    /// What all groups let move now, on their clock.
    pub(super) fn most(&self, direction: Direction) -> u64 {
        self.member.most(direction, nanos(self.tree.clock.now()))
    }

    pub(super) fn moved(&mut self, home: &Home) {
        let Self { member, tree } = self;
        member.moved(|_| Throttled::at(home, tree));
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.member.fmt(f)
    }
}

/// A bufferevent that waits for its group.
pub(super) struct Throttled {
    site: Site,
    key: Key,
}

impl Throttled {
    fn at(home: &Home, tree: &Arc<Tree>) -> Self {
        Self { site: Site { base: home.base.clone(), tree: Arc::clone(tree) }, key: home.key }
    }
}

/// A base on which members of a tree wait.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) base: BaseHandle,
    pub(super) tree: Arc<Tree>,
}

/// The same base.
impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        self.base.id() == other.base.id()
    }
}

impl Eq for Site {}

impl Waiter for Throttled {
    type Base = Site;

    fn base(&self) -> Site {
        self.site.clone()
    }

    fn wake(self) {
        self.site.base.wake(self.key);
    }

    fn alarm(site: &Site, bell: &Bell<Self>, at: Nanos) {
        Alarms::set(site, bell, at);
    }
}

/// Ticks that begin with those of the bases' timers are rung in at once.
fn aligned(now: Time) -> Nanos {
    nanos(Time::from_tick(now.tick_ceil()))
}

pub(super) fn nanos(time: Time) -> Nanos {
    Nanos(time.as_nanos())
}

pub(super) fn time(nanos: Nanos) -> Time {
    Time::from_nanos(nanos.0)
}
