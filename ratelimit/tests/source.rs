//! Trees whose root is given its bytes by a source: where a limit that several hosts share plugs in.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bufferevent_ratelimit::{
    Bell, Direction, Grant, Group, LocalClock, Member, Nanos, TokenBucketConfig, TokenSource, Waiter, Want,
};
use bufferevent_sync::atomic::{AtomicU64, Ordering::Relaxed};

const WRITE: Direction = Direction::Write;
const TICK: Duration = Duration::from_millis(100);

/// Gives what somebody else puts in, now and then.
#[derive(Default)]
struct Share {
    given: AtomicU64,
}

impl TokenSource for Share {
    fn given(&self, _: Direction, _: Nanos) -> u64 {
        self.given.load(Relaxed)
    }

    fn next(&self, _: Direction, _: Nanos) -> Nanos {
        Nanos::NEVER
    }
}

/// Counts how often it was woken; its alarms are looked at by nobody.
struct Sleeper(Arc<AtomicU64>);

impl Waiter for Sleeper {
    type Base = ();

    fn base(&self) {}

    fn wake(self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn alarm((): &(), _: &Bell<Self>, _: Nanos) {}
}

fn config(rate: u64, burst: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, burst, rate, burst, Some(TICK)).expect("valid")
}

fn take(member: &mut Member<Sleeper>, bytes: u64, now: Nanos, woken: &Arc<AtomicU64>) -> Option<u64> {
    match member.take(WRITE, Want::once(bytes), now, || Sleeper(Arc::clone(woken))) {
        Grant::Granted(granted) => {
            member.settle(WRITE, granted, granted, now);
            Some(granted)
        }
        Grant::Wait => None,
        Grant::Left => unreachable!("the group is there"),
    }
}

#[test]
fn root_hands_out_what_its_source_has_given_and_no_more() {
    let (share, woken) = (Arc::new(Share::default()), Arc::default());
    share.given.fetch_add(777, Relaxed); // before the group: not its own
    let site: Group<Sleeper> = Group::with_source(&config(1_000, 4_000), share.clone(), Nanos(0));
    let tenant = site.child(&config(500, 500), NonZeroU32::MIN, Nanos(0)).expect("not deep");
    let mut member = tenant.join(NonZeroU32::MIN);
    assert_eq!(take(&mut member, 300, Nanos(1), &woken), None);
    assert_eq!((site.level(WRITE, Nanos(1)), tenant.level(WRITE, Nanos(1))), (0, 500));

    // A turn's worth: nobody is served for less.
    share.given.fetch_add(3_000, Relaxed);
    assert_eq!(woken.load(Relaxed), 0);
    tenant.supplied(WRITE, Nanos(2));
    assert_eq!(woken.load(Relaxed), 1);
    assert_eq!(take(&mut member, 300, Nanos(3), &woken), Some(300));
    assert_eq!((site.level(WRITE, Nanos(3)), tenant.level(WRITE, Nanos(3))), (2_700, 200));

    // What the burst does not hold is forfeited, whenever that is.
    share.given.fetch_add(1_000_000, Relaxed);
    assert_eq!(site.level(WRITE, Nanos(4)), 4_000);
    site.set_config(&config(1_000, 1_000), Nanos(5));
    assert_eq!(site.level(WRITE, Nanos(5)), 1_000);
    assert_eq!(take(&mut member, 9_999, Nanos(6), &woken), Some(200));
    assert_eq!(site.level(WRITE, Nanos(6)), 800);
}

#[test]
fn local_clock_as_a_source_is_the_clock_of_any_group() {
    let (config, woken) = (config(700, 2_000), Arc::default());
    let clock = Arc::new(LocalClock::new(&config, Nanos(0)));
    let plugged: Group<Sleeper> = Group::with_source(&config, clock, Nanos(0));
    let plain: Group<Sleeper> = Group::new(&config, Nanos(0));
    plain.decrement(WRITE, 700, Nanos(0)); // the tick's worth that it begins with
    let mut members = [&plugged, &plain].map(|group| group.join(NonZeroU32::MIN));
    for step in 0..200_u64 {
        let now = Nanos(step * 37_000_000);
        let [one, other] = members.each_mut().map(|member| take(member, 100 + step * 17 % 400, now, &woken));
        assert_eq!(one, other, "step {step}");
        assert_eq!(plugged.level(WRITE, now), plain.level(WRITE, now), "step {step}");
        for member in &mut members {
            member.withdraw(WRITE, now);
        }
    }
}

#[test]
fn source_that_goes_back_or_says_the_past_feeds_nobody_and_ends() {
    struct Liar(AtomicU64);
    impl TokenSource for Liar {
        fn given(&self, _: Direction, _: Nanos) -> u64 {
            self.0.load(Relaxed)
        }
        fn next(&self, _: Direction, _: Nanos) -> Nanos {
            Nanos(0)
        }
    }
    let (liar, woken) = (Arc::new(Liar(AtomicU64::new(5_000))), Arc::default());
    let group: Group<Sleeper> = Group::with_source(&config(1_000, 4_000), liar.clone(), Nanos(0));
    let mut member = group.join(NonZeroU32::MIN);
    liar.0.fetch_sub(4_000, Relaxed);
    assert_eq!(take(&mut member, 300, Nanos(1), &woken), None);
    group.supplied(WRITE, Nanos(2));
    assert_eq!((woken.load(Relaxed), group.level(WRITE, Nanos(2))), (0, 0));
    liar.0.fetch_add(5_000, Relaxed);
    group.supplied(WRITE, Nanos(3));
    assert_eq!(take(&mut member, 300, Nanos(4), &woken), Some(300));
}
