//! Rate-limit groups: G-01 to G-16 under D11 to D13, with a limit of the member's own beside it and groups above it. The
//! clock is turned by hand, and the numbers are exact; what several bases make of a group is tested in `limits_shared`.

use std::{num::NonZeroU32, time::Duration};

use bufferevent::{
    Builder, Direction, Error, RateLimitGroup, Suspend, TokenBucketConfig, runtime::ManualClock,
};

use crate::{
    harness::{Call, Config, Conn, Peer, World, each, each_counted, pass, pattern},
    limits::{DIRECTIONS, TICK, limit},
};

/// Bufferevents on one base that have something to move in one direction, in or out of groups.
pub(crate) struct Crowd {
    config: Config,
    world: World,
    hand: ManualClock,
    pub(crate) direction: Direction,
    members: Vec<(Conn, Peer)>,
    moved: Vec<usize>,
}

impl Crowd {
    fn new(config: Config, direction: Direction) -> Self {
        let (world, hand) = config.with_manual_clock();
        Self { config, world, hand, direction, members: Vec::new(), moved: Vec::new() }
    }

    pub(crate) fn group(&self, rate: u64, burst: u64) -> RateLimitGroup {
        RateLimitGroup::with_clock(&limit(rate, burst), self.hand.clock())
    }

    /// One more, with `len` bytes to move, which does not run yet.
    pub(crate) fn add(&mut self, len: usize, set_up: impl FnOnce(Builder) -> Builder) -> usize {
        let (data, direction) = (pattern(len), self.direction);
        let (conn, mut peer) = self.config.start_with(
            &mut self.world,
            |builder| {
                set_up(builder).configure(|b| {
                    if direction == Direction::Write {
                        b.write(&data).unwrap();
                    }
                })
            },
            |cx, call| {
                if *call == Call::Read {
                    cx.take();
                }
            },
        );
        if direction == Direction::Read {
            self.world.send(&mut peer, &data);
        }
        self.members.push((conn, peer));
        self.moved.push(0);
        self.members.len() - 1
    }

    /// The same, as a member of a group.
    pub(crate) fn join(&mut self, len: usize, group: &RateLimitGroup) -> usize {
        self.add(len, |b| b.rate_limit_group(group))
    }

    pub(crate) fn with<R: Send + 'static>(
        &mut self,
        member: usize,
        f: impl FnOnce(&mut bufferevent::Bufferevent) -> R + Send + 'static,
    ) -> R {
        self.world.with(&self.members[member].0, f).unwrap()
    }

    /// A member has so much more to move.
    #[allow(dead_code, reason = "for the suite of leases")]
    pub(crate) fn more(&mut self, member: usize, len: usize) {
        let data = pattern(len);
        match self.direction {
            Direction::Write => {
                let _room = self.with(member, move |b| b.write(&data).unwrap());
            }
            Direction::Read => self.world.send(&mut self.members[member].1, &data),
        }
    }

    /// What each has moved so far.
    pub(crate) fn moved(&mut self) -> Vec<usize> {
        self.world.settle();
        for ((conn, peer), moved) in self.members.iter_mut().zip(&mut self.moved) {
            *moved = match self.direction {
                Direction::Read => conn.log.data_len(),
                Direction::Write => {
                    let mut got = Vec::new();
                    // An error: ours has ended.
                    let _ = peer.read_some(usize::MAX, &mut got);
                    *moved + got.len()
                }
            };
        }
        self.world.settle();
        self.moved.clone()
    }

    fn sum(&mut self) -> usize {
        self.moved().iter().sum()
    }

    pub(crate) fn pass(&mut self, ticks: u32) -> &mut Self {
        self.world.settle();
        for _ in 0..ticks {
            pass(&mut self.world, &self.hand, TICK);
        }
        self
    }

    fn suspended(&mut self, member: usize) -> Suspend {
        let direction = self.direction;
        self.with(member, move |b| b.suspended(direction))
    }

    /// No end and no error, of anybody.
    fn goes_on(&self) -> bool {
        let calls = self.members.iter().flat_map(|(conn, _)| conn.log.calls());
        calls.into_iter().all(|call| matches!(call, Call::Read | Call::Write))
    }
}

pub(crate) fn each_crowd(body: impl Fn(Crowd)) {
    each_counted(|config| {
        for direction in DIRECTIONS {
            body(Crowd::new(config, direction));
        }
    });
}

fn weight(weight: u32) -> NonZeroU32 {
    NonZeroU32::new(weight).unwrap()
}

#[test]
fn members_together_move_one_ticks_worth_and_then_one_more_at_each_boundary() {
    // G-01, G-08, G-09, G-10, G-14, D12, R-17: the burst is one tick, and nothing is lost
    each_crowd(|mut crowd| {
        let group = crowd.group(3_000, 3_000);
        for _ in 0..3 {
            crowd.join(60_000, &group);
        }
        for tick in 1..=20 {
            assert_eq!(crowd.sum(), tick * 3_000);
            assert_eq!(group.total(crowd.direction), tick as u64 * 3_000);
            crowd.pass(1);
        }
        let moved = crowd.moved();
        assert!(moved.iter().all(|n| n.abs_diff(21_000) <= 3_000), "fair to a tick: {moved:?}");
        let other = if crowd.direction == Direction::Read { Direction::Write } else { Direction::Read };
        assert_eq!(group.total(other), 0);
        //
        let snapshot = group.snapshot(crowd.direction);
        assert_eq!((snapshot.waiting, snapshot.members, snapshot.throttled), (3, 3, 20 * TICK));
        assert!(crowd.goes_on());
    });
}

#[test]
fn idle_members_have_no_share() {
    // G-09, X-40, D12: libevent divides by all members, those that want nothing included
    each_crowd(|mut crowd| {
        let group = crowd.group(1_000, 1_000);
        for _ in 0..20 {
            crowd.join(0, &group);
        }
        let one = crowd.join(10_000, &group);
        for tick in 1..=10 {
            assert_eq!(crowd.moved()[one], tick * 1_000);
            crowd.pass(1);
        }
        assert_eq!(group.snapshot(crowd.direction).members, 21);
    });
}

#[test]
fn with_less_than_a_byte_for_each_nobody_is_ended() {
    // G-09, R-23, F48, F50: there, a share of nothing was taken for the end, and for an error
    each_crowd(|mut crowd| {
        for min_share in [Some(0), None] {
            let group = crowd.group(3, 3);
            group.set_min_share(min_share);
            let before = crowd.sum();
            for _ in 0..10 {
                crowd.join(6, &group);
            }
            crowd.pass(5);
            assert_eq!(crowd.sum() - before, 18);
            crowd.pass(14);
            assert_eq!(crowd.sum() - before, 60, "and none starves");
        }
        assert!(crowd.goes_on());
    });
}

#[test]
fn what_one_leaves_of_its_turn_is_for_the_next_in_the_same_tick() {
    // G-09, D12: a turn is a whole tick's worth here, and who reads does not know before how much there is
    each_crowd(|mut crowd| {
        let group = crowd.group(1_000, 1_000);
        for _ in 0..13 {
            crowd.join(300, &group);
        }
        for tick in 1..4 {
            assert_eq!(crowd.sum(), tick * 1_000);
            crowd.pass(1);
        }
        assert_eq!(crowd.sum(), 3_900);
        assert!(crowd.goes_on());
    });
}

#[test]
fn shares_follow_weights() {
    each_crowd(|mut crowd| {
        let group = crowd.group(1_000, 1_000);
        for heavy in [1, 3] {
            crowd.add(90_000, |b| {
                b.configure(|b| b.join_rate_limit_group_weighted(&group, weight(heavy)).unwrap())
            });
        }
        for _ in 0..99 {
            // So that no peer is full.
            crowd.pass(1).moved();
        }
        let moved = crowd.moved();
        let sum = moved.iter().sum::<usize>();
        assert_eq!(sum, 100_000);
        // Turns of a tick's worth, in an order that is even to a few of them.
        assert!((20_000..=30_000).contains(&moved[0]), "{moved:?}");
    });
}

#[test]
fn a_group_is_joined_changed_and_left_while_its_limit_is_reached() {
    // G-02: a newcomer waits with the others, one group at a time, who leaves goes on at once
    each_crowd(|mut crowd| {
        let (group, other) = (crowd.group(1_000, 1_000), crowd.group(500, 500));
        let [one, two] = [(), ()].map(|()| crowd.join(20_000, &group));
        assert_eq!(crowd.sum(), 1_000);
        let newcomer = crowd.add(20_000, |b| b.rate_limit_group(&group));
        assert_eq!((crowd.moved()[newcomer], crowd.suspended(newcomer)), (0, Suspend::GROUP_BANDWIDTH));
        // The same again is nothing new.
        let again = group.clone();
        crowd.with(newcomer, move |b| b.join_rate_limit_group(&again).unwrap());
        assert_eq!((crowd.sum(), group.snapshot(crowd.direction).members), (1_000, 3));
        // Another one is its only one then.
        let to = other.clone();
        crowd.with(newcomer, move |b| b.join_rate_limit_group(&to).unwrap());
        assert_eq!(crowd.moved()[newcomer], 500);
        let members = [&group, &other].map(|group| group.snapshot(crowd.direction).members);
        assert_eq!((members, crowd.sum()), ([2, 1], 1_500));
        crowd.pass(2);
        assert_eq!((crowd.moved()[newcomer], crowd.sum()), (1_500, 4_500));
        // None.
        crowd.with(two, |b| b.leave_rate_limit_group());
        assert_eq!((crowd.moved()[two], crowd.suspended(two)), (20_000, Suspend::NONE));
        let left = crowd.moved()[one];
        crowd.pass(1);
        assert_eq!(crowd.moved()[one], left + 1_000, "the others have what it had");
        crowd.with(two, |b| b.leave_rate_limit_group());
        assert!(crowd.goes_on());
    });
}

#[test]
fn who_ends_while_it_waits_leaves_its_tokens_and_its_place() {
    // G-03, F49, X-07, X-31: there, it is a member until the loop has run
    each_crowd(|mut crowd| {
        let group = crowd.group(1_000, 1_000);
        for _ in 0..4 {
            crowd.join(20_000, &group);
        }
        crowd.pass(3);
        let before = crowd.moved();
        assert_eq!(before.iter().sum::<usize>(), 4_000);
        crowd.with(1, |b| b.abort());
        crowd.with(2, |b| b.abort());
        crowd.world.settle();
        assert_eq!(group.snapshot(crowd.direction).members, 2);
        crowd.pass(10);
        // What an aborted Unix peer had not read is gone with it.
        let after = crowd.moved();
        let served = after[0] + after[3] - before[0] - before[3];
        assert_eq!((served, group.total(crowd.direction)), (10_000, 14_000));
        assert!(after[0].abs_diff(after[3]) <= 2_000, "{after:?}");
    });
}

#[test]
fn a_group_that_is_dropped_lets_its_members_go_and_the_groups_below_stay() {
    // G-04, X-41: libevent aborts
    each_crowd(|mut crowd| {
        let group = crowd.group(1_000, 1_000);
        for _ in 0..3 {
            crowd.join(5_000, &group);
        }
        assert_eq!(crowd.sum(), 1_000);
        drop(group);
        assert_eq!((crowd.sum(), crowd.suspended(0)), (15_000, Suspend::NONE));

        let parent = crowd.group(1_000, 1_000);
        let child = parent.child(&limit(600, 600)).unwrap();
        crowd.join(5_000, &child);
        drop(parent);
        assert_eq!(crowd.sum(), 15_600);
        crowd.pass(2);
        assert_eq!(crowd.sum(), 16_800, "the child keeps its parent, and its limit");
        drop(child);
        // Whose last handle the child had.
        assert_eq!((crowd.sum(), crowd.suspended(3)), (20_000, Suspend::NONE));
        assert!(crowd.goes_on());
    });
}

#[test]
fn members_of_a_group_that_is_dropped_go_on_in_the_one_above() {
    // G-04, G-14, G-16: with their weights; who waits does so there, who is idle is limited there too
    each_crowd(|mut crowd| {
        let direction = crowd.direction;
        let site = crowd.group(1_000, 1_000);
        site.set_min_share(Some(100));
        let tenant = site.child(&limit(100, 100)).unwrap();
        let user = tenant.child(&limit(5_000, 5_000)).unwrap();
        let idle = crowd.join(0, &tenant);
        let light = crowd.join(60_000, &tenant);
        let heavy = crowd
            .add(60_000, |b| b.configure(|b| b.join_rate_limit_group_weighted(&user, weight(3)).unwrap()));
        crowd.pass(9);
        assert_eq!((crowd.sum(), site.total(direction)), (1_000, 1_000));
        drop(tenant);
        crowd.pass(1);
        assert_eq!(crowd.sum(), 1_100, "the group below keeps it");
        drop(user);
        // What the site holds is there at once, and no more than that.
        assert_eq!(crowd.sum(), 2_000);
        let snapshot = site.snapshot(direction);
        assert_eq!((snapshot.members, snapshot.waiting, snapshot.total), (3, 2, 2_000));
        assert_eq!(crowd.suspended(light), Suspend::GROUP_BANDWIDTH);
        assert_eq!(crowd.with(idle, move |b| b.max_to_move(direction)), 0);
        let before = crowd.moved();
        crowd.pass(80);
        let after = crowd.moved();
        let gained = [light, heavy].map(|member| after[member] - before[member]);
        assert_eq!(gained.iter().sum::<usize>(), 80_000);
        // As in `shares_follow_weights`.
        assert!((16_000..=24_000).contains(&gained[0]), "{gained:?}");
        drop(site);
        let moved = crowd.moved();
        assert_eq!((moved[light], moved[heavy]), (60_000, 60_000));
        assert!(crowd.goes_on());
    });
}

#[test]
fn another_configuration_holds_at_once() {
    // G-05, F53, D13: clipped down, another tick, a rate that was waited for
    each_crowd(|mut crowd| {
        let group = crowd.group(1_000, 4_000);
        crowd.pass(10);
        assert_eq!(group.level(crowd.direction), 4_000);
        group.set_config(&limit(500, 500));
        crowd.join(50_000, &group);
        assert_eq!(crowd.sum(), 500);
        group.set_config(&limit(5_000, 5_000));
        assert_eq!(crowd.sum(), 500, "no tick has passed");
        crowd.pass(1);
        assert_eq!(crowd.sum(), 5_500);
        let hour = Duration::from_secs(3_600);
        group.set_config(&TokenBucketConfig::new(9, 9, 9, 9, Some(hour)).unwrap());
        crowd.pass(5);
        assert_eq!(crowd.sum(), 5_500);
        group.set_config(&limit(1_000, 1_000));
        crowd.pass(2);
        assert_eq!(crowd.sum(), 7_500, "no hour is waited for");
    });
}

#[test]
fn the_least_share_is_reached_before_anybody_runs() {
    // G-06: clipped to what can be reached; 0 leaves what follows from the rate
    each_crowd(|mut crowd| {
        let group = crowd.group(100, 2_000);
        group.set_min_share(Some(1_000));
        assert_eq!(group.snapshot(crowd.direction).quantum, 1_000);
        let one = crowd.join(10_000, &group);
        assert_eq!(crowd.moved()[one], 100, "nobody waits yet");
        for tick in 1..=9 {
            crowd.pass(1);
            assert_eq!(crowd.moved()[one], 100, "tick {tick}");
        }
        crowd.pass(1);
        assert_eq!(crowd.moved()[one], 1_100);
        group.set_min_share(Some(1));
        crowd.pass(3);
        assert_eq!(crowd.moved()[one], 1_400);
        group.set_min_share(Some(u64::MAX));
        assert_eq!(group.snapshot(crowd.direction).quantum, 1_900);
        group.set_min_share(Some(0));
        assert_eq!(group.snapshot(crowd.direction).quantum, 500, "half a second's");
        group.set_min_share(None);
        crowd.pass(5);
        assert_eq!(crowd.moved()[one], 1_900);
    });
}

#[test]
fn a_group_in_debt_waits_until_it_is_paid_and_credit_ends_that_at_once() {
    // G-11, G-13, G-14, F51: both signs, not counted in the totals, clipped to the burst
    each_crowd(|mut crowd| {
        let (group, direction) = (crowd.group(1_000, 2_000), crowd.direction);
        group.set_min_share(Some(1));
        for _ in 0..3 {
            crowd.join(50_000, &group);
        }
        assert_eq!(crowd.sum(), 1_000);
        group.decrement(direction, 3_500);
        assert_eq!(group.level(direction), -3_500);
        crowd.pass(3);
        assert_eq!((crowd.sum(), group.level(direction)), (1_000, -500), "brought up to date (G-12)");
        crowd.pass(1);
        assert_eq!(crowd.sum(), 1_500);
        group.decrement(direction, -700);
        assert_eq!(crowd.sum(), 2_200);
        group.decrement(direction, i64::MIN);
        assert_eq!(crowd.sum(), 4_200, "the burst");
        assert_eq!(group.total(direction), 4_200);
        group.decrement(direction, i64::MAX);
        crowd.pass(20);
        assert_eq!(crowd.sum(), 4_200);
        group.decrement(direction, i64::MIN);
        crowd.pass(1);
        assert!(group.level(direction) <= 0 && crowd.goes_on());
    });
}

#[test]
fn totals_count_what_has_moved_also_by_those_that_have_left() {
    // G-14
    each_crowd(|mut crowd| {
        let (group, direction) = (crowd.group(1_000, 1_000), crowd.direction);
        let [one, two] = [(), ()].map(|()| crowd.join(3_000, &group));
        crowd.pass(2);
        assert_eq!((crowd.sum(), group.total(direction)), (3_000, 3_000));
        crowd.with(one, |b| b.leave_rate_limit_group());
        let in_group = group.total(direction) as usize;
        let rest = crowd.moved()[one];
        assert_eq!((rest, in_group), (3_000, 3_000), "what it moves now is not the group's");
        group.reset_totals();
        assert_eq!(group.total(direction), 0);
        let before = crowd.moved()[two];
        crowd.pass(1);
        assert_eq!(group.total(direction) as usize, crowd.moved()[two] - before);
    });
}

#[test]
fn the_smaller_of_ones_own_limit_and_the_groups_holds_and_both_are_charged() {
    // G-15, R-12
    each_crowd(|mut crowd| {
        let (group, direction) = (crowd.group(1_000, 1_000), crowd.direction);
        let small = crowd.add(10_000, |b| b.rate_limit(&limit(100, 100)).rate_limit_group(&group));
        assert_eq!(crowd.moved()[small], 100);
        let large = crowd.add(10_000, |b| b.rate_limit(&limit(5_000, 5_000)).rate_limit_group(&group));
        assert_eq!((crowd.moved()[large], crowd.suspended(small)), (900, Suspend::BANDWIDTH));
        assert_eq!(crowd.with(large, move |b| b.rate_limit_level(direction)), Some(5_000 - 900));
        for tick in 2..=7 {
            crowd.pass(1);
            let moved = crowd.moved();
            assert!(moved[small] <= tick * 100 && moved[small] + moved[large] == tick * 1_000, "{moved:?}");
        }
        let before = crowd.moved()[small];
        crowd.with(small, |b| b.set_rate_limit(None));
        crowd.pass(6);
        let moved = crowd.moved();
        assert_eq!(moved[small] + moved[large], 13_000);
        assert!(moved[small] >= before + 2_000, "it shares in what the group lets: {moved:?}");
        // What may move is asked for without taking it.
        crowd.with(large, |b| b.set_rate_limit(None));
        assert_eq!(crowd.with(large, move |b| b.max_to_move(direction)), 0);
    });
}

#[test]
fn who_is_in_debt_to_its_own_limit_leaves_its_turns_to_others() {
    // D12: it neither waits in its group nor keeps what that grants.
    each_crowd(|mut crowd| {
        let (group, direction) = (crowd.group(1_000, 1_000), crowd.direction);
        let [in_debt, other] = [(); 2].map(|()| crowd.join(100_000, &group));
        crowd.with(in_debt, |b| b.set_rate_limit(Some(&limit(5_000, 5_000))));
        crowd.pass(5);
        assert_eq!(group.snapshot(direction).waiting, 2);
        crowd.with(in_debt, move |b| b.decrement_rate_limit(direction, 1 << 40)).unwrap();
        let before = crowd.moved();
        assert_eq!(group.snapshot(direction).waiting, 1);
        crowd.pass(10);
        assert_eq!(crowd.moved()[in_debt], before[in_debt]);
        assert_eq!(crowd.moved()[other], before[other] + 10_000);
    });
}

#[test]
fn nested_groups_limit_and_count_on_every_level() {
    // G-16, X-34: connection < user < tenant < site
    each_crowd(|mut crowd| {
        let direction = crowd.direction;
        let site = crowd.group(1_000, 1_000);
        let tenants = [300, 5_000].map(|rate| site.child(&limit(rate, rate)).unwrap());
        let user = tenants[1].child(&limit(200, 200)).unwrap();
        let low = crowd.join(50_000, &tenants[0]);
        let high = crowd.join(50_000, &tenants[1]);
        let least = crowd.add(50_000, |b| b.rate_limit(&limit(5_000, 5_000)).rate_limit_group(&user));
        for tick in 1..=10 {
            let moved = crowd.moved();
            assert_eq!(moved.iter().sum::<usize>(), tick * 1_000);
            assert!(moved[low] <= tick * 300 && moved[least] <= tick * 200, "{moved:?}");
            crowd.pass(1);
        }
        let moved = crowd.moved();
        let totals = [&site, &tenants[0], &tenants[1], &user].map(|group| group.total(direction) as usize);
        assert_eq!(totals, [11_000, moved[low], moved[high] + moved[least], moved[least]]);
        assert!(
            moved[low] >= 9 * 300 && moved[least] >= 9 * 200,
            "who is below its share gets it: {moved:?}"
        );
        assert_eq!(user.parent().and_then(|tenant| tenant.parent()), Some(site));
    });
}

#[test]
fn a_group_tells_what_it_lets_and_who_is_in_it_and_a_member_where_it_is() {
    // G-05, G-14, C-40, X-45
    each_crowd(|mut crowd| {
        let direction = crowd.direction;
        let site = crowd.group(1_000, 4_000);
        let tenant = site.child(&limit(300, 600)).unwrap();
        assert_eq!((site.config(), tenant.config()), (limit(1_000, 4_000), limit(300, 600)));
        site.set_config(&limit(2_000, 2_000));
        assert_eq!(site.config(), limit(2_000, 2_000));
        let greedy = crowd.add(9_000, |b| b.rate_limit_group_weighted(&tenant, weight(3)));
        let [idle, none] = [Some(&site), None]
            .map(|group| crowd.add(0, |b| group.into_iter().fold(b, Builder::rate_limit_group)));
        crowd.pass(1);
        let of = |crowd: &mut Crowd, member| crowd.with(member, |b| b.rate_limit_group());
        assert_eq!(of(&mut crowd, greedy), Some((tenant.clone(), weight(3))));
        assert_eq!((of(&mut crowd, idle), of(&mut crowd, none)), (Some((site.clone(), weight(1))), None));
        let counted = |group: &RateLimitGroup| {
            let snapshot = group.snapshot(direction);
            (snapshot.members, snapshot.members_below, snapshot.waiting, snapshot.waiting_below)
        };
        assert_eq!((counted(&tenant), counted(&site)), ((1, 0, 1, 0), (1, 1, 0, 1)));
        let shown = format!("{site:?}");
        let told = format!("RateLimitGroup {{ config: {:?}, level: [", site.config());
        assert!(
            shown.starts_with(&told) && shown.contains("members: 1, members_below: 1, waiting: [0, 0]"),
            "{shown}"
        );
        drop(tenant);
        assert_eq!(of(&mut crowd, greedy), Some((site.clone(), weight(3))));
        assert_eq!(counted(&site).0, 2);
        // What was asked for keeps it.
        let kept = of(&mut crowd, greedy);
        drop(site);
        assert_eq!(of(&mut crowd, idle).map(|(group, _)| group), kept.map(|(group, _)| group));
        assert_eq!((of(&mut crowd, greedy), of(&mut crowd, idle)), (None, None));
    });
}

#[test]
fn while_nobody_waits_nothing_runs() {
    // G-07, D12: no timer of the group's, and no base that must run for it
    each_crowd(|mut crowd| {
        let group = crowd.group(1_000, 1_000);
        crowd.join(2_500, &group);
        crowd.pass(4);
        assert_eq!(crowd.sum(), 2_500);
        // The last alarm is kept for a moment.
        crowd.pass(2);
        let runs = crowd.world.runs();
        crowd.pass(50);
        assert_eq!((crowd.world.runs(), group.level(crowd.direction)), (runs, 1_000));
    });
}

#[test]
fn a_group_that_goes_by_another_clock_is_refused_and_nothing_changes() {
    // D16
    each_counted(|config| {
        let mut crowd = Crowd::new(config, Direction::Write);
        let (good, bad) = (crowd.group(100, 100), RateLimitGroup::new(&limit(100, 100)));
        let one = crowd.join(300, &good);
        crowd.world.settle();
        let wrong = bad.clone();
        let refused = crowd.with(one, move |b| b.join_rate_limit_group(&wrong));
        assert!(matches!(refused, Err(Error::WrongClock)), "{refused:?}");
        let members = [&good, &bad].map(|group| group.snapshot(Direction::Write).members);
        assert_eq!((members, crowd.pass(1).moved()[one]), ([1, 0], 200));
        let (builder, _peer) = (config.kind.open)();
        let actor = crate::harness::Actor::new(&crowd.world, |_, _| {});
        let started = crowd.world.start(config.set, builder.rate_limit_group(&bad), actor);
        assert!(matches!(started, Err(Error::WrongClock)));
        if config.set.is_shared() {
            // Before it comes to its base.
            let early = crowd.add(0, |b| b);
            let wrong = bad.clone();
            crowd.with(early, move |b| b.join_rate_limit_group(&wrong).unwrap());
            crowd.world.settle();
            assert_eq!(crowd.members[early].0.log.calls(), [Call::Failed(Some(Direction::Read))]);
        }
        assert_eq!(bad.snapshot(Direction::Write).members, 0);
    });
}

#[test]
fn every_kind_is_limited_by_a_group_of_the_systems_clock() {
    // G-02, P-07, F-12, X-35, D11, D12: own, group and nested, on every kind and shape; never more than the ticks since have paid
    const RATE: usize = 4_000;
    const SHORT: Duration = Duration::from_millis(5);
    each(|config| {
        let limit = |bytes| TokenBucketConfig::new(bytes, bytes, bytes, bytes, Some(SHORT)).unwrap();
        let mut world = config.world();
        let clock = bufferevent::runtime::Clock::monotonic();
        let since = clock.now();
        let site = RateLimitGroup::new(&limit(RATE as u64));
        let nested = site.child(&limit(3 * RATE as u64)).unwrap();
        let data = pattern(2 * RATE);
        let mut crowd = Vec::new();
        for group in [&site, &nested] {
            let set_up = |b: Builder| b.rate_limit(&limit(9_000)).rate_limit_group(group);
            let (conn, peer) = config.start_with(&mut world, set_up, |cx, call| {
                if *call == Call::Read {
                    cx.take();
                }
            });
            crowd.push((conn, peer, Vec::new()));
        }
        for (conn, peer, _) in &mut crowd {
            let ours = data.clone();
            world.with(conn, move |b| _ = b.write(&ours).unwrap()).unwrap();
            world.send(peer, &data);
        }
        world.until("all to move", || {
            for (_, peer, got) in &mut crowd {
                peer.read_some(usize::MAX, got).unwrap();
            }
            let sent: usize = crowd.iter().map(|(_, _, got)| got.len()).sum();
            let read: usize = crowd.iter().map(|(conn, ..)| conn.log.data_len()).sum();
            let most = (clock.now().since(since).as_nanos() / SHORT.as_nanos() + 1) as usize * RATE;
            assert!(sent <= most && read <= most, "{sent} and {read}, not more than {most}");
            sent == 4 * RATE && read == 4 * RATE
        });
        // What has arrived at a peer is counted once the call that sent it has returned.
        let exact = !config.kind.is_tls();
        let counted = |total: u64, data| if exact { total == data } else { total > data };
        world.until("all to be counted", || {
            DIRECTIONS.iter().all(|direction| {
                let [all, half] = [&site, &nested].map(|group| group.total(*direction));
                counted(all, 4 * RATE as u64) && counted(half, 2 * RATE as u64)
            })
        });
        assert!(crowd.iter().all(|(conn, _, got)| *got == data && conn.log.data() == data));
    });
}

#[test]
fn a_group_is_asked_changed_left_and_dropped_inside_any_callback() {
    // D16, G-04: docs/calls.md; nothing there waits, for whoever holds a strand too
    each(|config| {
        let mut world = config.world();
        let group = RateLimitGroup::new(&limit(1_000, 1_000));
        let kept = bufferevent_sync::Mutex::new(Some((group.clone(), group.child(&limit(9, 9)).unwrap())));
        let (_conn, mut peer) = config.start_with(
            &mut world,
            |b| b.rate_limit_group(&group),
            move |cx, call| {
                let Some((group, child)) = kept.lock().take().filter(|_| *call == Call::Read) else { return };
                for direction in DIRECTIONS {
                    let _any = (group.level(direction), group.total(direction), cx.max_to_move(direction));
                    group.decrement(direction, 10_000);
                    group.decrement(direction, -10_000);
                    assert_eq!(group.snapshot(direction).members, 1);
                }
                group.set_config(&limit(2_000, 2_000));
                group.set_min_share(Some(1));
                group.reset_totals();
                cx.join_rate_limit_group(&child).unwrap();
                assert_eq!(child.snapshot(Direction::Read).members, 1);
                cx.leave_rate_limit_group();
                cx.join_rate_limit_group(&child).unwrap();
                cx.write(b"more than the child lets").unwrap();
                drop((child, group));
            },
        );
        drop(group);
        world.send(&mut peer, b"go");
        assert_eq!(world.receive(&mut peer, 24), b"more than the child lets");
    });
}
