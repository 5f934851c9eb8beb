//! Monotonic time: nanoseconds since an arbitrary origin, the ticks derived from it, and a clock that tests turn by
//! hand.

use std::cell::Cell;
use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bufferevent_sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// A moment: nanoseconds since an arbitrary origin that all clocks of one kind share.
///
/// Lasts 584 years; arithmetic saturates at both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// The end of time: a deadline that never comes.
    pub const MAX: Time = Time(u64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// The moment `tick` begins, [`Time::MAX`] if that is past the end of time.
    pub const fn from_tick(tick: Tick) -> Time {
        Time(tick.0.saturating_mul(NANOS_PER_TICK))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This moment plus `duration`, `None` past the end of time.
    pub fn checked_add(self, duration: Duration) -> Option<Time> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Time)
    }

    /// This moment plus `duration`, [`Time::MAX`] past the end of time.
    pub fn saturating_add(self, duration: Duration) -> Time {
        self.checked_add(duration).unwrap_or(Time::MAX)
    }

    /// This moment minus `duration`, [`Time::ZERO`] before the origin.
    pub fn saturating_sub(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(nanos))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The tick that has begun: rounds down. What the wheel is advanced to.
    pub const fn tick(self) -> Tick {
        Tick(self.0 / NANOS_PER_TICK)
    }

    /// The first tick that begins at this moment or later: rounds up. What a deadline is entered as, so that
    /// `now.tick() >= deadline.tick_ceil()` implies `now >= deadline`: nothing fires early.
    pub const fn tick_ceil(self) -> Tick {
        Tick(self.0.div_ceil(NANOS_PER_TICK))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// [`Time::saturating_add`].
    fn add(self, duration: Duration) -> Time {
        self.saturating_add(duration)
    }
}

impl Sub for Time {
    type Output = Duration;

    /// [`Time::since`].
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

/// A count of whole milliseconds since the origin of [`Time`], the resolution of the timer wheel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// How long one tick lasts.
    pub const PERIOD: Duration = Duration::from_nanos(NANOS_PER_TICK);
}

/// Tells the time; cheap to clone, the same on every thread.
#[derive(Clone, Debug, Default)]
pub struct Clock(Kind);

impl Clock {
    /// The system's monotonic clock. Two of these agree.
    pub fn monotonic() -> Clock {
        Clock(Kind::Monotonic)
    }

    /// A clock that stands still at [`Time::ZERO`] until it is advanced by hand, for tests.
    pub fn manual() -> (Clock, ManualClock) {
        let hand = ManualClock(Arc::new(AtomicU64::new(0)));
        (hand.clock(), hand)
    }

    /// Whether a moment of this clock is the same on `other`.
    pub fn agrees_with(&self, other: &Clock) -> bool {
        match (&self.0, &other.0) {
            (Kind::Monotonic, Kind::Monotonic) => true,
            (Kind::Manual(one), Kind::Manual(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The current moment. Never goes back.
    #[inline]
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::Monotonic => monotonic_now(),
            // ORDER: Acquire, pairs with the Release of the update in `ManualClock::advance`: what the test did before
            // it turned the clock is visible to whoever sees the new time.
            Kind::Manual(nanos) => Time(nanos.load(Ordering::Acquire)),
        }
    }
}

/// Turns the clock that [`Clock::manual`] gave with it.
#[derive(Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Moves the time forward by `duration` and returns the new time, at most [`Time::MAX`].
    ///
    /// Wakes nobody: a base that sleeps looks at the clock when it wakes.
    pub fn advance(&self, duration: Duration) -> Time {
        let moved = |nanos| Time(nanos).saturating_add(duration).0;
        // ORDER: AcqRel, pairs with the Acquire in `Clock::now`.
        let update = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |nanos| Some(moved(nanos)));
        match update {
            Ok(before) | Err(before) => Time(moved(before)),
        }
    }

    /// Another clock that this hand turns.
    pub fn clock(&self) -> Clock {
        Clock(Kind::Manual(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.clock().now()).finish()
    }
}

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    Monotonic,
    Manual(Arc<AtomicU64>),
}

/// The standard library's clock, since the first look at it: `clock_gettime` by way of the C library, which also works
/// where the vdso cannot be read, as under valgrind. Each thread keeps the origin: the thread sanitizer cannot follow
/// std's `OnceLock`.
#[inline]
fn monotonic_now() -> Time {
    std::thread_local! {
        static KNOWN: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let origin = match KNOWN.get() {
        Some(origin) => origin,
        None => {
            let origin = first_look();
            KNOWN.set(Some(origin));
            origin
        }
    };
    let since = Instant::now().saturating_duration_since(origin);
    Time(since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(since.subsec_nanos())))
}

/// The origin that all threads share.
#[cold]
fn first_look() -> Instant {
    static ORIGIN: Mutex<Option<Instant>> = Mutex::new(None);
    *ORIGIN.lock().get_or_insert_with(Instant::now)
}

const NANOS_PER_TICK: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_ticks_round_up_and_elapsed_ticks_round_down() {
        for (nanos, elapsed, deadline) in [
            (0, 0, 0),
            (1, 0, 1),
            (999_999, 0, 1),
            (1_000_000, 1, 1),
            (1_000_001, 1, 2),
            (u64::MAX, 18_446_744_073_709, 18_446_744_073_710),
        ] {
            let time = Time::from_nanos(nanos);
            assert_eq!((time.tick(), time.tick_ceil()), (Tick(elapsed), Tick(deadline)));
            assert!(Time::from_tick(time.tick()) <= time && time <= Time::from_tick(time.tick_ceil()));
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let late = Time::from_nanos(u64::MAX - 1);
        assert_eq!(late.checked_add(Duration::from_nanos(1)), Some(Time::MAX));
        assert_eq!(late.checked_add(Duration::from_nanos(2)), None);
        assert_eq!(late + Duration::MAX, Time::MAX);
        assert_eq!(late.saturating_sub(Duration::MAX), Time::ZERO);
        assert_eq!(Time::ZERO - late, Duration::ZERO);
        assert_eq!(Time::from_tick(Tick(u64::MAX)), Time::MAX);
    }

    #[test]
    fn manual_clock_stands_still_until_advanced() {
        let (clock, hand) = Clock::manual();
        let same = clock.clone();
        assert_eq!(clock.now(), Time::ZERO);
        assert_eq!(hand.advance(Duration::from_millis(3)), Time::from_nanos(3_000_000));
        assert_eq!((clock.now(), same.now()), (Time::from_nanos(3_000_000), hand.clock().now()));
        assert_eq!(hand.advance(Duration::MAX), Time::MAX);
    }

    #[test]
    fn monotonic_clock_counts_what_has_passed() {
        let clock = Clock::monotonic();
        let (before, started) = (clock.now(), Instant::now());
        std::thread::sleep(Duration::from_millis(2));
        let (slept, since) = (started.elapsed(), Clock::monotonic().now() - before);
        assert!(since >= slept && since >= Duration::from_millis(2));
    }
}
