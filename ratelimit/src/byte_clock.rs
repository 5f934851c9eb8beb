//! Taking bytes from a limit that many threads share: protocol 8.
//!
//! The clock counts what was spent; the plan says what has accrued. What is there is the difference, and no more than the
//! burst: what accrued above it counts as spent when somebody takes, which nobody needs to wake up for. A grant is a
//! CAS of that one word, so two takers never get the same byte, and a refund that comes between them is seen.
//!
//! Those who got nothing wait, in a queue that a lock guards, and come before all others:
//!
//! ```text
//!   who wants to wait, under the lock        who gives back
//!   W1  enters the queue                     G1  give: RMW, tells whether WAITING was set
//!   W2  wait: RMW, sets WAITING,             G2  it was: takes the lock, serves the queue
//!       answers the level
//!   W3  serves the queue if there is some
//! ```
//!
//! W2 and G1 are RMWs on one word: if G1 comes first, W2 answers a level with the refund in it; else G1 sees WAITING.
//! While WAITING is set `take` refuses, so nobody passes the queue, and the fast path learns it from the word it would
//! write anyway. What the word tells is in the word alone: no ordering with other data rests on it, for the queue is
//! under its lock.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Relaxed};
use bufferevent_sync::{CachePadded, Word64, mutant};

use crate::{BYTES_MAX, Limit, Nanos, Plan};

/// What came of [`ByteClock::take`].
///
/// ```
/// use bufferevent_ratelimit::{ByteClock, Direction, Nanos, Plan, Taken, TokenBucketConfig};
///
/// let config = TokenBucketConfig::new(100, 100, 100, 100, None)?;
/// let plan = Plan::new(config.limit(Direction::Read), Nanos(0));
/// let clock = ByteClock::new();
/// match clock.take(&plan, 64, Nanos(0)) {
///     Taken::Granted(bytes) => assert_eq!(bytes, 64), // use them, and give back the rest
///     Taken::Empty | Taken::Waiting => unreachable!("enter the queue, and wait"),
/// }
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes: what was wanted, or what there was.
    Granted(u64),
    /// There is nothing, or there is debt.
    Empty,
    /// Others wait, and come first.
    Waiting,
}

/// How many bytes of a shared limit are spent.
///
/// | bits 63..1                                | bit 0   |
/// |-------------------------------------------|---------|
/// | bytes spent or forfeited, modulo 2^63     | WAITING |
///
/// * B1 level = min(burst, accrued - spent), a signed difference modulo 2^63.
/// * B2 What is granted is at most the level: whatever threads do, grants less refunds and debts in any interval are at
///   most burst + rate x ticks.
/// * B3 spent grows by grants, debts and forfeits, and shrinks by refunds and credits, exactly.
/// * B4 The level is never below -[`BYTES_MAX`], and a plan pays 4 x [`BYTES_MAX`] at most, beginning with a level of at
///   most one: so the difference stays within 2^62.
///
/// Every operation is of any thread, and takes the plan as that thread knows it and its own `now`; if one of them is older
/// than another's, less is granted.
///
/// ```
/// use bufferevent_ratelimit::{ByteClock, Direction, Nanos, Plan, Taken, TokenBucketConfig};
///
/// let config = TokenBucketConfig::new(100, 400, 100, 400, None)?;
/// let plan = Plan::new(config.limit(Direction::Write), Nanos(0));
/// let clock = ByteClock::new();
/// assert_eq!(clock.take(&plan, 1_000, Nanos(1)), Taken::Granted(100));
/// assert_eq!(clock.take(&plan, 1_000, Nanos(2)), Taken::Empty);
/// let _nobody_waits = clock.give(30);
/// assert_eq!(clock.take(&plan, 1_000, Nanos(3)), Taken::Granted(30));
/// assert_eq!(clock.level(&plan, Nanos(10_000_000_000)), 400);
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
#[derive(Default)]
pub struct ByteClock {
    word: CachePadded<Word64>,
}

const WAITING: u64 = 1;

impl ByteClock {
    /// Nothing is spent. Belongs to a new [`Plan`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up to `want` bytes, unless somebody waits.
    #[inline]
    pub fn take(&self, plan: &Plan, want: u64, now: Nanos) -> Taken {
        let view = View::new(plan, now);
        let may = |word| word & WAITING == 0 || mutant::is("clock_take_passes_the_queue");
        let step = |word| may(word).then(|| view.taken(word, want)).flatten();
        // ORDER: AcqRel as all; only the RMW matters. loom: byte_clock::no_byte_is_granted_twice
        match self.word.try_update("clock_take", AcqRel, step) {
            Ok(word) => Taken::Granted(view.grant(word, want)),
            Err(word) if word & WAITING != 0 => Taken::Waiting,
            Err(_) => Taken::Empty,
        }
    }

    /// Takes up to `want` bytes for those who wait: under the lock of their queue. Gives how many.
    pub fn take_served(&self, plan: &Plan, want: u64, now: Nanos) -> u64 {
        let view = View::new(plan, now);
        // ORDER: AcqRel as all; only the RMW matters. loom: byte_clock::no_byte_is_granted_twice
        let word = self.word.try_update("clock_serve", AcqRel, |word| view.taken(word, want));
        word.map_or(0, |word| view.grant(word, want))
    }

    /// Gives back bytes that were taken. `true`: somebody waits, serve the queue.
    #[must_use]
    pub fn give(&self, bytes: u64) -> bool {
        // ORDER: AcqRel as all; only the RMW matters (W2, G1). loom: byte_clock::nobody_waits_beside_a_refund
        let old = self.word.sub("clock_give", bytes.min(BYTES_MAX) << 1, AcqRel);
        old & WAITING != 0
    }

    /// Adds bytes that were never taken, up to the burst. `true`: somebody waits, serve the queue.
    #[must_use]
    pub fn credit(&self, plan: &Plan, bytes: u64, now: Nanos) -> bool {
        let view = View::new(plan, now);
        let level = |word| view.level(word).saturating_add_unsigned(bytes);
        // ORDER: AcqRel as all; only the RMW matters. loom: byte_clock::nobody_waits_beside_credit
        let old = self.word.update("clock_credit", AcqRel, |word| view.with_level(word, level(word)));
        old & WAITING != 0
    }

    /// Charges bytes that go in any case: the level may become negative, down to -[`BYTES_MAX`].
    pub fn debt(&self, plan: &Plan, bytes: u64, now: Nanos) {
        let view = View::new(plan, now);
        let level = |word| {
            let level = view.level(word);
            level.saturating_sub_unsigned(bytes).max(level.min(-(BYTES_MAX as i64)))
        };
        // ORDER: AcqRel as all; only the RMW matters. loom: byte_clock::debt_is_never_lost
        self.word.update("clock_debt", AcqRel, |word| view.with_level(word, level(word)));
    }

    /// Makes `take` refuse, since somebody waits; under the lock of the queue. Gives the level at that very moment:
    /// if it is positive, who waits is served at once; if not, who gives some back sees that somebody waits.
    #[must_use]
    pub fn wait(&self, plan: &Plan, now: Nanos) -> i64 {
        let before = mutant::is("clock_wait_looks_first").then(|| self.word.load(Relaxed));
        // ORDER: AcqRel as all; only the RMW matters (W2, G1). loom: byte_clock::nobody_waits_beside_a_refund
        let old = self.word.set("clock_wait", WAITING, AcqRel);
        View::new(plan, now).level(before.unwrap_or(old))
    }

    /// Lets `take` go on: the queue is empty; under its lock.
    pub fn wait_no_more(&self) {
        // ORDER: AcqRel as all; only the RMW matters. loom: byte_clock::end_of_waiting_keeps_every_byte
        self.word.clear("clock_wait_no_more", WAITING, AcqRel);
    }

    /// Changes the limit: forfeits what is above the old burst, and gives the plan that holds from now on. The level stays,
    /// or is clipped to the new burst; what the running tick has earned so far is paid at the first boundary. By one
    /// thread at a time. Who still takes by the old plan has done so before.
    #[must_use]
    pub fn replan(&self, plan: &Plan, limit: Limit, now: Nanos) -> Plan {
        let view = View::new(plan, now);
        // ORDER: AcqRel as all; only the RMW matters. loom: byte_clock::change_feeds_nobody
        self.word.update("clock_forfeit", AcqRel, |word| view.with_level(word, view.level(word)));
        plan.changed(limit, now)
    }

    /// What is there: bytes, negative for a debt. A moment's view.
    #[must_use]
    pub fn level(&self, plan: &Plan, now: Nanos) -> i64 {
        // ORDER: Relaxed: stale at once, and nothing follows from it.
        View::new(plan, now).level(self.word.load(Relaxed))
    }

    /// When there will be some: `now` if there is, or the tick boundary that pays the last of the debt, or
    /// [`Nanos::NEVER`]. A moment's view.
    #[must_use]
    pub fn next(&self, plan: &Plan, now: Nanos) -> Nanos {
        let level = self.level(plan, now);
        if level > 0 { now } else { plan.accrues(level.unsigned_abs() + 1, now) }
    }

    /// Whether somebody waits. A moment's view.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        // ORDER: Relaxed, as in `level`.
        self.word.load(Relaxed) & WAITING != 0
    }
}

impl fmt::Debug for ByteClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word.load(Relaxed);
        write!(f, "{} spent{}", word >> 1, if word & WAITING != 0 { ", waited for" } else { "" })
    }
}

/// What a word means by a plan at a moment.
struct View {
    /// Where the word stands if the level is 0.
    accrued: u64,
    burst: i64,
}

impl View {
    #[inline]
    fn new(plan: &Plan, now: Nanos) -> Self {
        Self { accrued: plan.accrued(now) << 1, burst: plan.burst() as i64 }
    }

    /// B1.
    #[inline]
    fn level(&self, word: u64) -> i64 {
        let difference = self.accrued.wrapping_sub(word & !WAITING) as i64 >> 1;
        difference.min(self.burst)
    }

    /// The word for another level, clipped to the burst.
    #[inline]
    fn with_level(&self, word: u64, level: i64) -> u64 {
        let level = level.min(self.burst);
        self.accrued.wrapping_sub((level as u64) << 1) | word & WAITING
    }

    /// Of what is there, and at most what is wanted.
    #[inline]
    fn grant(&self, word: u64, want: u64) -> u64 {
        want.min(self.level(word).max(0) as u64)
    }

    /// The word after a grant; none if there is nothing.
    #[inline]
    fn taken(&self, word: u64, want: u64) -> Option<u64> {
        let level = self.level(word);
        (level > 0).then(|| self.with_level(word, level - self.grant(word, want) as i64))
    }
}
