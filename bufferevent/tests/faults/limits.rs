//! F47, F48, F50, F53, F54: what a rate limit must not do to a connection, own, in a group and in a nested one. F49 and F51
//! are in the contract suite (`limits`, `groups`), F52 in `limits_shared`.

use std::time::Duration;

use bufferevent::{
    Bufferevent, Builder, Direction, RateLimitGroup, TokenBucketConfig,
    ratelimit::{ConfigError, RATE_LIMIT_MAX},
    testing::{Census, Wire},
};

use crate::{
    harness::{Call, Conn, Cx, SETS, Set, pattern},
    sim::Sim,
};

const TICK: Duration = Duration::from_millis(100);

fn limit(rate: u64, burst: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, burst, rate, burst, Some(TICK)).unwrap()
}

/// Of any number.
fn of(rate: u64) -> Result<TokenBucketConfig, ConfigError> {
    TokenBucketConfig::new(rate, rate, rate, rate, Some(TICK))
}

/// Ways to be under a limit.
#[derive(Clone, Copy, Debug)]
enum Under {
    Own,
    Group,
    Nested,
}

/// One under a limit of `config`, which takes what it reads.
fn start(sim: &mut Sim, set: Set, under: Under, config: &TokenBucketConfig, wire: &Wire) -> Limited {
    let clock = sim.base.handle().clock().clone();
    let wide = limit(1 << 40, 1 << 40);
    let group = match under {
        Under::Own => None,
        Under::Group => Some(RateLimitGroup::with_clock(config, clock)),
        Under::Nested => Some(RateLimitGroup::with_clock(config, clock).child(&wide).unwrap()),
    };
    let builder = Bufferevent::scripted(wire).report_close();
    let builder = match &group {
        None => builder.rate_limit(config),
        Some(group) => builder.rate_limit_group(group),
    };
    let conn = sim.start_with(set, builder, take);
    Limited { conn, group }
}

struct Limited {
    conn: Conn,
    group: Option<RateLimitGroup>,
}

fn take(cx: &mut Cx<'_, '_>, call: &Call) {
    if *call == Call::Read {
        cx.take();
    }
}

fn each(body: impl Fn(Sim, Set, Under)) {
    let _census = Census::begin();
    for set in SETS {
        for under in [Under::Own, Under::Group, Under::Nested] {
            body(Sim::new(), set, under);
        }
    }
}

#[test]
fn an_end_does_not_overtake_what_was_sent_before_it() {
    // F47
    each(|mut sim, set, under| {
        let wire = Wire::new();
        let limited = start(&mut sim, set, under, &limit(100, 100), &wire);
        wire.deliver(&pattern(1_000));
        wire.end();
        sim.settle();
        for tick in 1..=10 {
            let log = &limited.conn.log;
            assert_eq!((log.data_len(), log.count(Call::Eof)), (tick * 100, 0), "{set:?}, {under:?}");
            sim.advance(TICK);
        }
        let log = &limited.conn.log;
        assert_eq!((log.data(), log.calls().pop()), (pattern(1_000), Some(Call::Eof)));
    });
}

#[test]
fn a_close_drains_at_the_limited_pace_and_ends_after_the_last_byte() {
    // F47, D15: the idle limit of a drain stands still while the limit holds it up
    each(|mut sim, set, under| {
        let wire = Wire::new();
        let minute = TokenBucketConfig::new(100, 100, 100, 100, Some(Duration::from_secs(60))).unwrap();
        let Limited { conn, group } = start(&mut sim, set, under, &minute, &wire);
        sim.with(&conn, |b| {
            b.write(&pattern(500)).unwrap();
            b.close();
        })
        .unwrap();
        sim.settle();
        for tick in 1..=4 {
            assert_eq!(
                (wire.written().len(), wire.is_shut_down()),
                (tick * 100, false),
                "{set:?}, {under:?}"
            );
            sim.advance(Duration::from_secs(60));
        }
        assert!(wire.written() == pattern(500) && wire.is_shut_down());
        wire.end();
        sim.settle();
        let closed = conn.log.closed().unwrap();
        assert!(closed.clean && closed.unsent == 0 && sim.is_gone(&conn));
        assert!(group.is_none_or(|group| group.total(Direction::Write) == 500));
    });
}

#[test]
fn what_is_dropped_in_a_close_is_counted_and_taken_from_nobody() {
    // D12, D15: it cannot wait, or the end of the connection would be lost; and peers that send and are refused must not
    // use up what the others of their group may read
    each(|mut sim, set, under| {
        let wire = Wire::new();
        let Limited { conn, group } = start(&mut sim, set, under, &limit(100, 100), &wire);
        wire.deliver(&pattern(1_000));
        sim.settle();
        sim.with(&conn, |b| b.close()).unwrap();
        wire.end();
        sim.settle();
        assert!(sim.is_gone(&conn) && conn.log.data_len() == 100);
        if let Some(group) = group {
            let group = group.parent().unwrap_or(group);
            assert_eq!((group.total(Direction::Read), group.level(Direction::Read)), (1_000, 0));
        }
    });
}

#[test]
fn a_base_that_is_dropped_sends_what_is_left_and_counts_it() {
    // D11, D15
    each(|mut sim, set, under| {
        let wire = Wire::new();
        let Limited { conn, group } = start(&mut sim, set, under, &limit(100, 100), &wire);
        sim.with(&conn, |b| _ = b.write(&pattern(1_000)).unwrap()).unwrap();
        sim.settle();
        assert_eq!(wire.written().len(), 100);
        drop(sim);
        assert_eq!(wire.written(), pattern(1_000));
        assert!(group.is_none_or(|group| group.total(Direction::Write) == 1_000));
    });
}

#[test]
fn nobody_starves_in_a_group_that_is_larger_than_its_tokens() {
    // F48: 50 members, 10 bytes a tick, in turns of 10: 5 rounds, in which nobody is left out
    let _census = Census::begin();
    for set in SETS {
        let mut sim = Sim::new();
        let group = RateLimitGroup::with_clock(&limit(10, 10), sim.base.handle().clock().clone());
        let mut wires = Vec::new();
        for _ in 0..50 {
            let wire = Wire::new();
            let builder: Builder = Bufferevent::scripted(&wire).rate_limit_group(&group);
            let conn = sim.start_with(set, builder, take);
            sim.with(&conn, |b| _ = b.write(&pattern(1_000)).unwrap()).unwrap();
            wires.push(wire);
        }
        sim.settle();
        for round in 1..=5 {
            for _ in 0..50 {
                sim.advance(TICK);
            }
            let served: Vec<_> = wires.iter().map(|wire| wire.written().len()).collect();
            assert_eq!(served.iter().sum::<usize>(), 10 + 500 * round);
            assert!(served.iter().all(|n| n.abs_diff(10 * round) <= 10), "{set:?}: {served:?}");
        }
    }
}

#[test]
fn the_least_and_the_greatest_limit_are_defined_and_none_is_an_error() {
    // F50, R-02
    assert!(matches!(of(0), Err(ConfigError::RateZero { .. })), "{:?}", of(0));
    assert!(of(RATE_LIMIT_MAX + 1).is_err());
    each(|mut sim, set, under| {
        for (rate, at_once) in [(1, 1), (RATE_LIMIT_MAX, 50_000)] {
            let wire = Wire::new();
            let limited = start(&mut sim, set, under, &of(rate).unwrap(), &wire);
            let data = pattern(50_000);
            sim.with(&limited.conn, |b| _ = b.write(&data).unwrap()).unwrap();
            wire.deliver(&data);
            sim.settle();
            let moved = (wire.written().len(), limited.conn.log.data_len());
            assert_eq!(moved, (at_once, at_once), "{set:?}, {under:?}");
            sim.advance(TICK);
            assert_eq!(wire.written().len(), 50_000.min(at_once + 1));
        }
    });
}

#[test]
fn a_limit_that_changes_all_the_time_neither_starves_nor_feeds() {
    // F53: the pace is kept to a tick's worth, whatever the rhythm of the changes
    each(|mut sim, set, under| {
        let wire = Wire::new();
        let Limited { conn, group } = start(&mut sim, set, under, &limit(1_000, 1_000), &wire);
        sim.with(&conn, |b| _ = b.write(&pattern(100_000)).unwrap()).unwrap();
        for change in 1..=500_u64 {
            sim.advance(Duration::from_millis(10));
            // The same rate, by ticks of 100 ms and of 50 ms.
            let tick = Duration::from_millis(50 << (change % 2));
            let rate = 10 * tick.as_millis() as u64;
            let config = TokenBucketConfig::new(rate, 1_000, rate, 1_000, Some(tick)).unwrap();
            match &group {
                Some(group) => group.parent().as_ref().unwrap_or(group).set_config(&config),
                None => sim.with(&conn, |b| b.set_rate_limit(Some(&config))).unwrap(),
            }
            sim.settle();
            let (moved, due) = (wire.written().len() as u64, change * 100);
            assert!(moved <= due + 1_000, "{set:?}, {under:?}: {moved} of {due}");
        }
        sim.advance(TICK);
        let moved = wire.written().len();
        assert!(moved >= 50_000 - 1_000, "{set:?}, {under:?}: {moved}");
    });
}

#[test]
fn a_tick_that_is_longer_than_all_else_is_exact() {
    // F54: a burst of one tick, and a tick of a minute
    each(|mut sim, set, under| {
        let wire = Wire::new();
        let tick = Duration::from_secs(60);
        let config = TokenBucketConfig::new(10, 10, 10, 10, Some(tick)).unwrap();
        let limited = start(&mut sim, set, under, &config, &wire);
        sim.with(&limited.conn, |b| _ = b.write(&pattern(100)).unwrap()).unwrap();
        sim.settle();
        for ticks in 1..=5 {
            assert_eq!(wire.written().len(), ticks * 10, "{set:?}, {under:?}");
            sim.advance(tick - Duration::from_millis(1));
            assert_eq!(wire.written().len(), ticks * 10, "{set:?}, {under:?}");
            sim.advance(Duration::from_millis(1));
        }
    });
}
