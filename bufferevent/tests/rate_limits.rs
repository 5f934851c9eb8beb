//! Limits of one bufferevent and of groups, on a clock that stands still.

use std::{
    io::{Read, Write},
    num::NonZeroU32,
    os::unix::net::UnixStream,
    time::Duration,
};

use bufferevent::{
    BaseExt, Bufferevent, Direction, Error, Id, Interest, NoHandler, RateLimitGroup, Suspend,
    TokenBucketConfig, testing::Census, testing::ManualBase,
};

const TICK: Duration = Duration::from_millis(100);

fn config(rate: u64, burst: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, burst, rate, burst, Some(TICK)).expect("valid")
}

fn peer(base: &mut ManualBase, configure: impl FnOnce(&mut Bufferevent)) -> (Id, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    theirs.set_nonblocking(true).expect("non-blocking");
    let id = Bufferevent::socket(ours)
        .handler(NoHandler)
        .enable(Interest::BOTH)
        .configure(configure)
        .start(base)
        .expect("started");
    (id, theirs)
}

fn received(stream: &mut UnixStream) -> usize {
    let mut all = Vec::new();
    let _would_block = stream.read_to_end(&mut all);
    all.len()
}

#[test]
fn own_limit_lets_one_tick_move_and_then_one_more_each_tick() {
    // D13
    let _census = Census::begin();
    let mut base = ManualBase::new().expect("a base");
    let (id, mut theirs) = peer(&mut base, |bufferevent| {
        bufferevent.set_rate_limit(Some(&config(100, 400)));
        bufferevent.write(&[7; 1_000]).expect("room");
    });
    base.settle().expect("settled");
    assert_eq!(received(&mut theirs), 100);
    let view = base.bufferevent(id).expect("there");
    assert_eq!(view.rate_limit_level(Direction::Write), Some(0));
    assert_eq!(view.suspended(Direction::Write), Suspend::BANDWIDTH);
    for _ in 0..3 {
        base.advance(TICK).expect("settled");
        assert_eq!(received(&mut theirs), 100);
    }
    base.bufferevent(id).expect("there").set_rate_limit(None);
    base.settle().expect("settled");
    assert_eq!(received(&mut theirs), 600);
}

#[test]
fn reading_is_limited_too_and_the_level_fills_to_the_burst() {
    let _census = Census::begin();
    let mut base = ManualBase::new().expect("a base");
    let (id, mut theirs) = peer(&mut base, |bufferevent| bufferevent.set_rate_limit(Some(&config(100, 400))));
    base.advance(TICK * 10).expect("settled");
    theirs.write_all(&[7; 1_000]).expect("taken");
    base.settle().expect("settled");
    let input = |base: &mut ManualBase| base.bufferevent(id).expect("there").input().len();
    assert_eq!(input(&mut base), 400);
    base.advance(TICK).expect("settled");
    assert_eq!(input(&mut base), 500);
    base.bufferevent(id).expect("there").decrement_rate_limit(Direction::Read, 250).expect("limited");
    base.advance(TICK * 2).expect("settled");
    assert_eq!(input(&mut base), 500);
    base.advance(TICK).expect("settled");
    assert_eq!(input(&mut base), 550);
}

#[test]
fn members_share_what_the_group_lets() {
    let _census = Census::begin();
    let mut base = ManualBase::new().expect("a base");
    let group = RateLimitGroup::with_clock(&config(3_000, 3_000), base.handle().clock().clone());
    let heavy = NonZeroU32::new(2).expect("not zero");
    let mut peers = Vec::new();
    for weight in [NonZeroU32::MIN, NonZeroU32::MIN, heavy] {
        peers.push(peer(&mut base, |bufferevent| {
            bufferevent.join_rate_limit_group_weighted(&group, weight).expect("not started");
            bufferevent.write(&[7; 1_000_000]).expect("room");
        }));
    }
    let mut moved = [0; 3];
    for _ in 0..40 {
        base.advance(TICK).expect("settled");
        for (moved, (_, theirs)) in moved.iter_mut().zip(&mut peers) {
            *moved += received(theirs);
        }
    }
    assert_eq!(moved.iter().sum::<usize>(), 41 * 3_000);
    assert_eq!(group.total(Direction::Write), 41 * 3_000);
    println!("{moved:?} {:?}", group.snapshot(Direction::Write));
    drop(group);
    base.settle().expect("settled");
    for (moved, (_, theirs)) in moved.iter_mut().zip(&mut peers) {
        *moved += received(theirs);
    }
    println!("{moved:?}");
}

#[test]
fn a_group_of_another_clock_is_refused() {
    let _census = Census::begin();
    let mut base = ManualBase::new().expect("a base");
    let group = RateLimitGroup::new(&config(100, 100));
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let refused = Bufferevent::socket(ours).handler(NoHandler).rate_limit_group(&group).start(&mut base);
    assert!(matches!(refused, Err(Error::WrongClock)));
    let (id, _theirs) = peer(&mut base, |_| {});
    let refused = base.bufferevent(id).expect("there").join_rate_limit_group(&group);
    assert!(matches!(refused, Err(Error::WrongClock)));
}
