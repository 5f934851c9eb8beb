//! What members of a group that has plenty take beyond what they want, and use without asking: with bursts that allow it, else
//! `groups` holds at every moment. The clock is turned by hand.

use bufferevent::{Direction, FlushMode, Interest, RateLimitGroup};
use bufferevent_ratelimit::LEASE_MAX;

use crate::{
    groups::{Crowd, each_crowd},
    limits::limit,
};

const RATE: u64 = 1 << 22;

/// What there is, and what is counted.
fn account(crowd: &Crowd, group: &RateLimitGroup) -> (i64, u64) {
    (group.level(crowd.direction), group.total(crowd.direction))
}

/// A group with plenty, whose one member has moved 1,000 bytes.
fn leasing(crowd: &mut Crowd) -> RateLimitGroup {
    let group = crowd.group(RATE, RATE);
    crowd.join(1_000, &group);
    assert_eq!(crowd.moved(), [1_000]);
    assert_eq!(account(crowd, &group), ((RATE - LEASE_MAX) as i64, 0));
    group
}

#[test]
fn what_is_leased_is_used_until_the_tick_ends_and_counted_then() {
    each_crowd(|mut crowd| {
        let group = leasing(&mut crowd);
        crowd.more(0, 2_000);
        assert_eq!(crowd.moved(), [3_000]);
        assert_eq!(account(&crowd, &group), ((RATE - LEASE_MAX) as i64, 0), "nobody was asked");
        crowd.pass(1);
        assert_eq!(account(&crowd, &group).0, RATE as i64, "the tick filled it");
        crowd.more(0, 500);
        assert_eq!(crowd.moved(), [3_500]);
        assert_eq!(account(&crowd, &group), ((RATE - LEASE_MAX) as i64, 3_000));
    });
}

#[test]
fn who_leaves_gives_back_what_it_has_leased() {
    each_crowd(|mut crowd| {
        let group = leasing(&mut crowd);
        crowd.with(0, |b| b.leave_rate_limit_group());
        assert_eq!(account(&crowd, &group), ((RATE - 1_000) as i64, 1_000));
    });
}

#[test]
fn who_ends_gives_back_what_it_has_leased() {
    each_crowd(|mut crowd| {
        let group = leasing(&mut crowd);
        crowd.with(0, |b| b.abort());
        crowd.moved();
        assert_eq!(account(&crowd, &group), ((RATE - 1_000) as i64, 1_000));
        assert_eq!(group.snapshot(crowd.direction).members, 0);
    });
}

/// R1, D11: what a flush moves is owed, though it comes between two runs, with a lease of a tick that is over.
#[test]
fn flush_after_the_tick_uses_no_lease_of_the_tick_before() {
    each_crowd(|mut crowd| {
        if crowd.direction == Direction::Read {
            return;
        }
        let group = leasing(&mut crowd);
        crowd.pass(1);
        let flushed = crowd.with(0, |b| {
            let _room = b.write(&[7; 500]).expect("far from the cap");
            b.flush(Interest::WRITE, FlushMode::Flush)
        });
        assert!(flushed.is_ok());
        assert_eq!(crowd.moved(), [1_500]);
        assert_eq!(
            account(&crowd, &group),
            ((RATE - 500) as i64, 500),
            "of the lease nothing is counted yet"
        );
    });
}

/// A limit of its own, and another limit of the group, bind though more is leased.
#[test]
fn limits_that_are_set_meanwhile_bind_at_once() {
    each_crowd(|mut crowd| {
        let group = leasing(&mut crowd);
        crowd.with(0, |b| b.set_rate_limit(Some(&limit(100, 100))));
        crowd.more(0, 1_000);
        assert_eq!(crowd.moved(), [1_100]);
        crowd.with(0, |b| b.set_rate_limit(None));
        assert_eq!(crowd.moved(), [2_000]);
        group.set_config(&limit(700, 700));
        crowd.more(0, 1_000);
        assert_eq!(crowd.moved(), [2_700]);
        assert_eq!(account(&crowd, &group), (0, 2_700));
    });
}
