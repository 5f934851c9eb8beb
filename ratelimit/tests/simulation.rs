//! Groups under a virtual clock: bases that run one thing after the other, members that live on them. Nothing here is a
//! matter of chance or of the machine; a run is the same every time.

mod common;
mod world;

use std::num::NonZeroU32;
use std::time::Duration;

use bufferevent_ratelimit::{Direction, Nanos, TokenBucketConfig};
use world::{Kind, World, jain};

const MS: u64 = 1_000_000;

/// The same both ways.
fn config(rate: u64, burst: u64, tick_ms: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, burst, rate, burst, Some(Duration::from_millis(tick_ms))).expect("sound")
}

fn weight(weight: u32) -> NonZeroU32 {
    NonZeroU32::new(weight).expect("not zero")
}

/// Goal 11 under a virtual clock: each size, tick and burst, on one base and on several with unequal numbers of members,
/// whatever the phase: all of the promise, fair shares, no window above it (F52), no needless wake (R7).
#[test]
fn greedy_members_share_all_of_the_promise() {
    for (members, bases, tick_ms, per_second) in [
        (1, 1, 1, 1_000_000),
        (1, 1, 100, 10_000_000),
        (2, 2, 10, 1_000_000),
        (30, 1, 100, 30_000),
        (30, 2, 1, 1_000_000),
        (30, 2, 10, 10_000_000),
        (30, 8, 100, 100_000_000),
        (200, 8, 10, 10_000_000),
    ] {
        for (burst_ticks, phase) in [(1, 999_999), (4, 333_333)] {
            let rate = per_second * tick_ms / 1_000;
            let mut world = World::new(bases, Nanos(17 + phase));
            let root = world.root(&config(rate, rate * burst_ticks, tick_ms));
            // Base 0 has one member, as long as there are others for the rest.
            world.populate(root, members, |member| {
                if member == 0 { 0 } else { bases - 1 - member % bases.div_ceil(2) }
            });
            let quantum = world.quantum(root);
            // Who had what there was at the start is ahead for a while.
            let start = 17 + phase + (1 + 4_096 * members as u64 / per_second) * 1_000 * MS;
            world.run_until(start);
            let before = (world.moved(), world.shares(0..members));
            // A turn more or less is a sixteenth.
            let ticks = (16 * quantum * members as u64 / rate).max(30);
            world.run_until(start + ticks * tick_ms * MS);
            let name =
                format!("{members} members, {bases} bases, {tick_ms} ms, {per_second} B/s, {burst_ticks}");
            let achieved = (world.moved() - before.0) as f64 / (rate * ticks) as f64;
            assert!((0.99..=1.01).contains(&achieved), "{name}: {achieved}");
            let shares = world.shares(0..members);
            let shares = Vec::from_iter(shares.iter().zip(&before.1).map(|(after, before)| after - before));
            assert!(jain(&shares) >= 0.99, "R6, {name}: {}", jain(&shares));
            let mean = shares.iter().sum::<f64>() / members as f64;
            for share in shares {
                assert!((0.9..=1.1).contains(&(share / mean)), "{name}: {share} of {mean}");
            }
            world.check_wakes();
        }
    }
}

/// R6: what a member had while nobody else wanted any is not held against it for long once many do.
#[test]
fn who_had_much_alone_is_served_when_a_thousand_come() {
    let mut world = World::new(2, Nanos(0));
    let root = world.root(&config(100_000, 400_000, 100));
    world.populate(root, 1, |_| 0);
    world.run_until(50 * MS);
    assert_eq!(world.shares(0..1), [100_000.0], "a hundred seconds' worth of what it gets below");
    world.populate(root, 999, |member| member % 2);
    world.run_until(10_000 * MS);
    let (had, others) = (world.shares(0..1)[0] - 100_000.0, world.shares(1..1_000));
    let least = others.iter().copied().fold(f64::INFINITY, f64::min);
    // Behind the others by what they reach at most.
    assert!(had >= least - 8_192.0 - 500.0 && had > 0.0, "{had} beside {least} and more");
}

/// R5, F48: with many more members than tokens, everybody has its turn before anybody has two.
#[test]
fn ten_thousand_members_take_turns() {
    let mut world = World::new(8, Nanos(5));
    let root = world.root(&config(100_000, 100_000, 10));
    world.populate(root, 10_000, |member| member * member % 8);
    let quantum = world.quantum(root);
    let ticks = 10_000 * quantum / 100_000 + 2;
    for rounds in 1..=3 {
        world.run_until(5 + rounds * ticks * 10 * MS);
        // But for those who had what there was at the start.
        let least = (10..10_000).map(|member| world.turns(member)).min().expect("some");
        assert!(least >= rounds as usize, "after {rounds} rounds somebody had {least} turns");
    }
    world.check_wakes();
}

#[test]
fn shares_follow_weights() {
    let mut world = World::new(2, Nanos(0));
    let root = world.root(&config(10_000, 40_000, 10));
    let weights = [1, 1, 2, 3, 5, 8, 100];
    for (member, of) in weights.into_iter().enumerate() {
        world.join(root, weight(of), member % 2, Kind::Greedy);
    }
    world.run_until(80_000 * MS);
    let unit = world.moved() as f64 / f64::from(weights.iter().sum::<u32>());
    for (member, of) in weights.into_iter().enumerate() {
        let share = world.shares(member..member + 1)[0] / (unit * f64::from(of));
        // The light have had some thirty turns.
        assert!((0.95..=1.05).contains(&share), "weight {of}: {share}");
    }
}

/// The site is shared by tenants by weight, however many members each has, but for what a tenant may not have itself.
#[test]
fn groups_share_their_parent_by_weight() {
    for depth in 1..=3 {
        let mut world = World::new(3, Nanos(3));
        let site = world.root(&config(60_000, 60_000, 10));
        let mut tenants = Vec::new();
        for (of, own) in [(1, 600_000), (2, 600_000), (3, 600_000), (3, 5_000)] {
            let mut group = world.child(site, &config(own, own, 10), weight(of));
            for _ in 1..depth {
                // Further levels that do not bind, with other ticks.
                group = world.child(group, &config(3_000_000, 3_000_000, 7), weight(1));
            }
            tenants.push(group);
        }
        let members = [1, 50, 3, 10];
        let mut of_tenant = Vec::new();
        for (tenant, count) in members.into_iter().enumerate() {
            let first = world.members();
            world.populate(tenants[tenant], count, |member| member % 3);
            of_tenant.push(first..world.members());
        }
        world.run_until(3 + 5_000 * MS);
        let per_tick = |bytes: f64| bytes / 500.0;
        // The last one is bound by itself; the others share what it leaves.
        for (tenant, expected) in
            [(0, 55_000.0 / 6.0), (1, 55_000.0 / 3.0), (2, 55_000.0 / 2.0), (3, 5_000.0)]
        {
            let shares = world.shares(of_tenant[tenant].clone());
            let share = per_tick(shares.iter().sum()) / expected;
            assert!((0.98..=1.02).contains(&share), "depth {depth}, tenant {tenant}: {share}");
            assert!(jain(&shares) >= 0.99, "depth {depth}, tenant {tenant}: {}", jain(&shares));
        }
        let achieved = world.moved() as f64 / (60_000.0 * 501.0);
        assert!((0.99..=1.01).contains(&achieved), "depth {depth}: {achieved}");
    }
}

/// G-04: the members of a group that ends go on in its parent, by their own weights and no faster than that, whether they
/// wait, are about to run, or are idle then. (The world checks every window of the site.)
#[test]
fn members_of_a_group_that_ends_share_what_is_above_it() {
    let mut world = World::new(3, Nanos(0));
    let site = world.root(&config(10_000, 10_000, 10));
    let tenants = [2_000, 90_000].map(|own| world.child(site, &config(own, own, 10), weight(1)));
    for (member, tenant) in tenants.into_iter().cycle().take(8).enumerate() {
        let of = if member < 2 { 3 } else { 1 };
        world.join(tenant, weight(of), member % 3, Kind::Greedy);
    }
    world.stick(2, 1_010 * MS);
    let light = world.join(tenants[0], weight(1), 1, Kind::Light { bytes: 10, every: 400 * MS });
    world.run_until(1_003 * MS);
    for tenant in tenants {
        world.replace(tenant, &config(1, 1, 10));
    }
    world.run_until(1_100 * MS);
    let before = (world.moved(), world.shares(0..8));
    world.run_until(11_100 * MS);
    let achieved = (world.moved() - before.0) as f64 / (10_000.0 * 1_000.0);
    assert!((0.99..=1.01).contains(&achieved), "{achieved}");
    for (member, (now, then)) in world.shares(0..8).iter().zip(&before.1).enumerate() {
        let share = (now - then) / if member < 2 { 3.0 } else { 1.0 } / (10_000_000.0 / 12.0);
        assert!((0.95..=1.05).contains(&share), "{member}: {share}");
    }
    assert!(world.shares(light..light + 1)[0] >= 260.0 && world.longest_wait(light) <= 20 * MS);
    world.check_conserved();
}

/// X-40, D12: who wants little has it at once, or at the next tick, and takes nothing from the others that it does not use.
#[test]
fn light_members_are_served_first_and_cost_nothing() {
    let mut world = World::new(2, Nanos(0));
    let root = world.root(&config(10_000, 10_000, 10));
    world.populate(root, 100, |member| member % 2);
    let light = world.members();
    for _ in 0..10 {
        world.join(root, weight(1), 1, Kind::Light { bytes: 10, every: 25 * MS });
    }
    world.run_until(10_000 * MS);
    let achieved = world.moved() as f64 / (10_000.0 * 1_001.0);
    assert!((0.99..=1.01).contains(&achieved), "{achieved}");
    for member in light..light + 10 {
        assert!(world.longest_wait(member) <= 20 * MS, "{}", world.longest_wait(member));
        // The last may be on its way.
        assert!(world.shares(member..member + 1)[0] >= 10.0 * 399.0);
    }
    assert!(jain(&world.shares(0..100)) >= 0.99);
}

/// D12, G-07: a base that does not run holds up nobody else, and its members go on when it does.
#[test]
fn stuck_base_holds_up_only_its_own() {
    let mut world = World::new(2, Nanos(0));
    let root = world.root(&config(10_000, 10_000, 10));
    world.populate(root, 20, |member| usize::from(member >= 10));
    world.run_until(1_000 * MS);
    world.stick(0, 3_000 * MS);
    let before = (world.shares(0..10), world.moved());
    world.run_until(2_999 * MS);
    assert_eq!(world.shares(0..10), before.0, "nothing runs on it");
    let achieved = (world.moved() - before.1) as f64 / (10_000.0 * 199.0);
    // What was granted to those that could not run, a turn each, is with them.
    assert!((0.94..=1.01).contains(&achieved), "{achieved}");
    let stuck = world.shares(0..10);
    world.run_until(5_000 * MS);
    let gained = Vec::from_iter(world.shares(0..10).iter().zip(&stuck).map(|(now, then)| now - then));
    assert!(gained.iter().all(|bytes| *bytes >= 90_000.0), "{gained:?}");
}

/// R9: who does not wait has no alarm, and a group that nobody waits for rings no more.
#[test]
fn idle_group_has_no_alarm() {
    let mut world = World::new(4, Nanos(0));
    let root = world.root(&config(1_000_000, 1_000_000, 10));
    for base in 0..4 {
        world.join(root, weight(1), base, Kind::Light { bytes: 1_000, every: 3 * MS });
    }
    world.run_until(1_000 * MS);
    assert_eq!(world.alarms(), 0);
    let greedy = world.join(root, weight(1), 2, Kind::Greedy);
    world.run_until(1_500 * MS);
    assert!(world.alarms() > 40);
    world.leave(greedy);
    world.run_until(1_520 * MS);
    let rung = world.alarms();
    world.run_until(3_000 * MS);
    assert_eq!(world.alarms(), rung);
}

/// F49, F53: join, leave, move, withdraw, other limits, weights and ticks, groups that end, all the time: every byte is accounted for, no
/// window is above what the limits of that time allow, nobody is forgotten.
#[test]
fn churn_loses_neither_bytes_nor_members() {
    for seed in 1..=8 {
        let mut world = World::new(4, Nanos(seed));
        let site = world.root(&config(20_000, 40_000, 10));
        let groups = [
            site,
            world.child(site, &config(9_000, 9_000, 3), weight(2)),
            world.child(site, &config(30_000, 60_000, 100), weight(1)),
        ];
        world.populate(groups[1], 20, |member| member % 4);
        world.populate(groups[2], 20, |member| member % 4);
        let mut random = common::Random::new(seed);
        for step in 1..=400 {
            world.run_until(seed + step * 2_500_000);
            let member = random.below(world.members());
            let group = groups[random.below(3)];
            match random.below(8) {
                0 => world.leave(member),
                1 | 2 => {
                    let weight = weight(1 + random.below(3) as u32);
                    world.join(group, weight, random.below(4), Kind::Greedy);
                }
                3 => world.move_to(member, random.below(4)),
                4 => world.withdraw(member),
                5 => world.resume(member),
                6 => world.decrement(group, random.below(40_000) as i64 - 20_000),
                7 if group != site && random.below(4) == 0 => world.replace(group, &config(9_000, 9_000, 3)),
                _ => {
                    let rate = 1_000 + random.below(20_000) as u64;
                    let burst = rate * (1 + random.below(4) as u64);
                    world.set_config(group, &config(rate, burst, 1 + random.below(50) as u64));
                }
            }
        }
        world.settle_down();
        world.check_conserved();
    }
}

/// F53: a limit that is changed every few milliseconds, between the same two, gives their mean.
#[test]
fn change_of_the_limit_neither_starves_nor_feeds() {
    let mut world = World::new(2, Nanos(0));
    let root = world.root(&config(10_000, 10_000, 10));
    world.populate(root, 10, |member| member % 2);
    for step in 1..=1_000 {
        world.run_until(step * 3 * MS);
        let (rate, tick) = if step % 2 == 0 { (10_000, 10) } else { (60_000, 20) };
        world.set_config(root, &config(rate, 200_000, tick));
    }
    // 1 and 3 MB/s for half of three seconds each.
    let achieved = world.moved() as f64 / 6_000_000.0;
    assert!((0.98..=1.02).contains(&achieved), "{achieved}");
    assert!(jain(&world.shares(0..10)) >= 0.99);
}

/// F54, X-38: a tick of seconds, and a burst of a single byte.
#[test]
fn coarse_ticks_and_tiny_bursts_are_exact() {
    let mut world = World::new(2, Nanos(0));
    let root = world.root(&config(1, 1, 1_000));
    world.populate(root, 3, |member| member % 2);
    world.run_until(299_500 * MS);
    assert_eq!(world.moved(), 300);
    assert!(
        world.shares(0..3).iter().all(|share| (99.0..=101.0).contains(share)),
        "{:?}",
        world.shares(0..3)
    );
    assert_eq!(world.level(root, Direction::Write), 0);
}

/// F52: a base that did not run for long moves no more, when it does, than what was granted to it in the last 20 ms, however
/// many were served meanwhile. (The world checks every window.)
#[test]
fn what_a_stuck_base_was_granted_long_ago_goes_back() {
    for (members, min_share) in [(20, None), (200, None), (200, Some(5_000))] {
        let mut world = World::new(2, Nanos(0));
        let root = world.root(&config(10_000, 10_000, 10));
        world.set_min_share(root, min_share);
        world.populate(root, members + 1, |member| usize::from(member == members));
        world.run_until(1_000 * MS);
        world.stick(0, 11_000 * MS);
        world.run_until(10_999 * MS);
        let before = world.moved();
        world.run_until(11_001 * MS);
        // Two ticks' worth, the burst, and what 20 ms are.
        assert!(world.moved() - before <= 5 * 10_000, "{}", world.moved() - before);
        let before = world.moved();
        world.run_until(16_001 * MS);
        let achieved = (world.moved() - before) as f64 / (10_000.0 * 500.0);
        assert!((0.99..=1.01).contains(&achieved), "{achieved}");
    }
}

/// F52, R2: members that lease, on several bases and below groups with other ticks, beside some that come and want all
/// there is. (The world checks every window of every group.)
#[test]
fn leases_let_no_window_pass_more() {
    for seed in 1..=6 {
        let mut world = World::new(4, Nanos(seed));
        let site = world.root(&config(4_000_000, 4_000_000, 10));
        let groups = [
            site,
            world.child(site, &config(2_000_000, 6_000_000, 7), weight(2)),
            world.child(site, &config(1_500_000, 1_500_000, 3), weight(1)),
        ];
        for member in 0..24 {
            let kind = Kind::Light { bytes: 64 << (member % 6), every: 100_000 + 37_000 * member as u64 };
            world.join(groups[member % 3], weight(1), member % 4, kind);
        }
        let mut random = common::Random::new(seed);
        for step in 1..=40 {
            // Nobody wants much at first.
            world.run_until(seed + step * 13 * MS);
            let greedy = world.join(groups[random.below(3)], weight(1), random.below(4), Kind::Greedy);
            world.run_until(seed + step * 13 * MS + random.below(8_000_000) as u64);
            world.leave(greedy);
        }
        assert!(world.by_lease() > 1_000_000, "{} by leases", world.by_lease());
        world.check_wakes();
        world.check_conserved();
    }
}

/// What is leased and never used is lost to the others once: an eighth of the burst at most.
#[test]
fn holder_that_never_runs_again_costs_its_lease_once() {
    const RATE: u64 = 1_000_000;
    let mut world = World::new(2, Nanos(0));
    let root = world.root(&config(RATE, RATE, 10));
    for _ in 0..8 {
        // Each has a lease, uses a byte of it, and rests for good.
        world.join(root, weight(1), 0, Kind::Light { bytes: 1, every: 5 * MS });
    }
    world.run_until(5 * MS);
    world.stick(0, u64::MAX);
    let before = world.moved();
    world.populate(root, 8, |_| 1);
    world.run_until(9 * MS);
    let moved = world.moved() - before;
    assert!((RATE - RATE / 8 - 8..RATE - 8).contains(&moved), "{moved}");
    world.run_until(109 * MS);
    assert_eq!(world.moved() - before - moved, 10 * RATE);
}
