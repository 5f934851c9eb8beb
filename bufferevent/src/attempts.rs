//! Which of several addresses to try when (RFC 8305, "happy eyeballs"). Pure: the time comes in, what to do goes out.
//!
//! Addresses are tried in order, the families alternating. Each attempt has a head start before the next begins beside
//! it; one that fails lets the next begin at once. No more than a few are under way: when all have had their head start
//! and addresses are left, the oldest gives way, so that addresses which never answer do not hide one that would.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bufferevent_runtime::Time;

use crate::{
    defaults::{ADDRESSES, ATTEMPT_DELAY, ATTEMPTS},
    host::Family,
};

/// The bounds of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The head start of an attempt.
    pub(crate) delay: Duration,
    /// Attempts under way at once, at least 1.
    pub(crate) most: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { delay: ATTEMPT_DELAY, most: ATTEMPTS }
    }
}

/// The addresses that were not tried yet, and when the next one is.
#[derive(Debug)]
pub(crate) struct Attempts {
    waiting: VecDeque<SocketAddr>,
    under_way: usize,
    /// When the head start of the newest attempt is over.
    next_at: Time,
    pace: Pace,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Begin an attempt; with `evict`, give the oldest one up first.
    Start { address: SocketAddr, evict: bool },
    /// Nothing before this, unless an attempt ends.
    Wait(Option<Time>),
    /// All have failed.
    Over,
}

impl Attempts {
    /// A race for the first [`ADDRESSES`] of `addresses` in the order in which `family` wants them; `None` if it wants
    /// none of them.
    pub(crate) fn new(addresses: &[SocketAddr], family: Family, pace: Pace) -> Option<Self> {
        let waiting = in_order(addresses, family);
        (!waiting.is_empty()).then_some(Self { waiting, under_way: 0, next_at: Time::ZERO, pace })
    }

    /// What to do at `now`. An attempt that it says to start counts as under way.
    pub(crate) fn next(&mut self, now: Time) -> Next {
        if self.waiting.is_empty() {
            return if self.under_way == 0 { Next::Over } else { Next::Wait(None) };
        }
        if self.under_way > 0 && now < self.next_at {
            return Next::Wait(Some(self.next_at));
        }
        let Some(address) = self.waiting.pop_front() else { return Next::Over };
        let evict = self.under_way >= self.pace.most.max(1);
        self.under_way += usize::from(!evict);
        self.next_at = now.saturating_add(self.pace.delay);
        Next::Start { address, evict }
    }

    /// One that was under way has failed: the next begins at once.
    pub(crate) fn failed(&mut self) {
        debug_assert!(self.under_way > 0, "only what was started can fail");
        self.under_way = self.under_way.saturating_sub(1);
        self.next_at = Time::ZERO;
    }
}

/// Each address once, the wanted families alone, alternating: it begins with the preferred one, or with that of the
/// first address, since the resolver knows best.
fn in_order(addresses: &[SocketAddr], family: Family) -> VecDeque<SocketAddr> {
    let mut seen = Vec::new();
    for address in addresses.iter().filter(|address| family.admits(address)) {
        if seen.len() < ADDRESSES && !seen.contains(address) {
            seen.push(*address);
        }
    }
    let v6_first = match family {
        Family::PreferV4 => false,
        Family::PreferV6 => true,
        Family::Any | Family::V4 | Family::V6 => seen.first().is_some_and(SocketAddr::is_ipv6),
    };
    let (first, second): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|address| address.is_ipv6() == v6_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = VecDeque::new();
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return order;
        }
        order.extend(pair.0.into_iter().chain(pair.1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What becomes of an attempt, and how many milliseconds after it began.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Fails(u64),
        Connects(u64),
        Silent,
    }

    fn address(index: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], index as u16 + 1))
    }

    fn index(address: SocketAddr) -> usize {
        usize::from(address.port()) - 1
    }

    fn at(milliseconds: u64) -> Time {
        Time::ZERO.saturating_add(Duration::from_millis(milliseconds))
    }

    /// How a race went: when each attempt began, and the winner.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Run {
        begun: Vec<u64>,
        winner: Option<usize>,
    }

    /// Drives the policy as the shell does, waking only when it says so or when an attempt ends.
    fn race(fates: &[Fate], pace: Pace) -> Run {
        let addresses: Vec<_> = (0..fates.len()).map(address).collect();
        let mut attempts = Attempts::new(&addresses, Family::Any, pace).unwrap();
        let (mut run, mut alive, mut now) = (Run::default(), VecDeque::<(usize, u64)>::new(), 0);
        loop {
            let ended = |&(index, begun): &(usize, u64)| match fates[index] {
                Fate::Fails(after) => Some((begun + after, false)),
                Fate::Connects(after) => Some((begun + after, true)),
                Fate::Silent => None,
            };
            if let Some(&(index, _)) =
                alive.iter().find(|one| ended(one).is_some_and(|(t, up)| up && t <= now))
            {
                run.winner = Some(index);
                return run;
            }
            let before = alive.len();
            alive.retain(|one| ended(one).is_none_or(|(t, _)| t > now));
            (alive.len()..before).for_each(|_| attempts.failed());
            let until = loop {
                match attempts.next(at(now)) {
                    Next::Start { address, evict } => {
                        if evict {
                            alive.pop_front();
                        }
                        run.begun.push(now);
                        alive.push_back((index(address), now));
                        assert!(alive.len() <= pace.most, "never more at once");
                    }
                    Next::Wait(until) => break until,
                    Next::Over => return run,
                }
            };
            let next_end = alive.iter().filter_map(ended).map(|(t, _)| at(t));
            let Some(then) = until.into_iter().chain(next_end).min() else { return run };
            now = (then.as_nanos() / 1_000_000).max(now + u64::from(at(now) >= then));
        }
    }

    /// The same by the definition alone: the state at each millisecond is computed anew from who began when.
    fn oracle(fates: &[Fate], pace: Pace) -> Run {
        let delay = pace.delay.as_millis() as u64;
        let horizon = fates.len() as u64 * (delay + 1) + 2_000;
        let (mut begun, mut evicted) = (Vec::<u64>::new(), vec![false; fates.len()]);
        for now in 0..horizon {
            let end = |i: usize, begun: &[u64]| match fates[i] {
                Fate::Fails(after) | Fate::Connects(after) => begun[i] + after,
                Fate::Silent => u64::MAX,
            };
            let connects = |i: &usize| matches!(fates[*i], Fate::Connects(_)) && !evicted[*i];
            let winners = (0..begun.len()).filter(connects).filter(|i| end(*i, &begun) <= now);
            // Of two at the same moment the older one.
            if let Some(winner) = winners.min_by_key(|i| *i) {
                return Run { begun, winner: Some(winner) };
            }
            while begun.len() < fates.len() {
                let alive: Vec<_> =
                    (0..begun.len()).filter(|i| !evicted[*i] && end(*i, &begun) > now).collect();
                let newest = begun.last().copied();
                // An attempt that fails in the very moment it begins is seen in the next.
                let unseen = newest == Some(now);
                let has_failed =
                    |i: usize| !evicted[i] && end(i, &begun) <= now && Some(end(i, &begun)) > newest;
                let one_failed = (0..begun.len()).any(has_failed);
                let due = newest.is_none_or(|newest| now >= newest + delay) || one_failed || alive.is_empty();
                if !due || unseen {
                    break;
                }
                if alive.len() >= pace.most {
                    evicted[alive[0]] = true;
                }
                begun.push(now);
            }
        }
        Run { begun, winner: None }
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            3 => (1..900_u64).prop_map(Fate::Fails),
            1 => (1..900_u64).prop_map(Fate::Connects),
            2 => Just(Fate::Silent),
        ]
    }

    proptest! {
        #[test]
        fn a_race_goes_as_its_definition_says(
            fates in vec(fate(), 1..12), delay in 1..400_u64, most in 1..5_usize,
        ) {
            let pace = Pace { delay: Duration::from_millis(delay), most };
            prop_assert_eq!(race(&fates, pace), oracle(&fates, pace));
        }

        #[test]
        fn families_alternate_and_no_address_comes_twice(
            families in vec((any::<bool>(), 0..40_u16), 0..100),
            wanted in prop_oneof![
                Just(Family::Any), Just(Family::V4), Just(Family::V6), Just(Family::PreferV4), Just(Family::PreferV6)
            ],
        ) {
            let addresses: Vec<SocketAddr> = families
                .iter()
                .map(|(v6, host)| match v6 {
                    true => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, *host], 1)),
                    false => SocketAddr::from(([127, 0, 0, *host as u8], 1)),
                })
                .collect();
            let order: Vec<_> = in_order(&addresses, wanted).into();
            let admitted = |address: &&SocketAddr| wanted.admits(address);
            let mut unique: Vec<_> = addresses.iter().filter(admitted).collect();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(order.len(), unique.len().min(ADDRESSES));
            for family in [true, false] {
                // Within a family the resolver's order holds.
                let of_family = |address: &&SocketAddr| address.is_ipv6() == family;
                let first_seen = |wanted: &SocketAddr| addresses.iter().position(|address| address == wanted);
                let positions: Vec<_> = order.iter().filter(of_family).map(first_seen).collect();
                prop_assert!(positions.is_sorted());
            }
            // After the first of the rarer family has its turn, no two of one family follow until the other is used up.
            let rarer = order.iter().filter(|a| a.is_ipv4()).count().min(order.iter().filter(|a| a.is_ipv6()).count());
            let head = &order[..(2 * rarer).min(order.len())];
            prop_assert!(head.windows(2).all(|pair| pair[0].is_ipv4() != pair[1].is_ipv4()));
            if let (Some(first), true) = (order.first(), rarer > 0) {
                let v6_first = match wanted {
                    Family::PreferV6 => true,
                    Family::PreferV4 => false,
                    _ => addresses.iter().find(admitted).unwrap().is_ipv6(),
                };
                prop_assert_eq!(first.is_ipv6(), v6_first);
            }
        }
    }

    fn pace(delay: u64, most: usize) -> Pace {
        Pace { delay: Duration::from_millis(delay), most }
    }

    #[test]
    fn a_failed_attempt_starts_the_next_at_once_and_a_silent_one_after_the_delay() {
        // RFC 8305, 5; X-83
        let run = race(&[Fate::Fails(10), Fate::Silent, Fate::Silent, Fate::Connects(5)], pace(250, 6));
        assert_eq!(run, Run { begun: vec![0, 10, 260, 510], winner: Some(3) });
    }

    #[test]
    fn an_older_attempt_may_still_win() {
        let run = race(&[Fate::Connects(300), Fate::Connects(200)], pace(250, 6));
        assert_eq!(run, Run { begun: vec![0, 250], winner: Some(0) });
    }

    #[test]
    fn fifty_addresses_are_tried_a_few_at_once_and_the_last_can_win() {
        // F63
        let mut fates = vec![Fate::Silent; 49];
        fates.push(Fate::Connects(1));
        let run = race(&fates, Pace::default());
        assert_eq!((run.begun.len(), run.winner), (50, Some(49)));
        assert_eq!(run.begun[49], 49 * ATTEMPT_DELAY.as_millis() as u64);
    }

    #[test]
    fn fifty_that_fail_at_once_are_over_at_once() {
        // F63
        let run = race(&[Fate::Fails(0); 50], Pace::default());
        assert_eq!((run.begun.len(), run.winner), (50, None));
        assert!(run.begun.iter().all(|begun| *begun <= 50));
    }

    #[test]
    fn nothing_wanted_is_no_race_and_no_attempt_at_once_means_one() {
        assert!(Attempts::new(&[], Family::Any, Pace::default()).is_none());
        assert!(Attempts::new(&[address(0)], Family::V6, Pace::default()).is_none());
        let mut attempts = Attempts::new(&[address(0)], Family::Any, pace(1, 0)).unwrap();
        assert_eq!(attempts.next(Time::ZERO), Next::Start { address: address(0), evict: false });
        assert_eq!(attempts.next(Time::MAX), Next::Wait(None));
        attempts.failed();
        assert_eq!(attempts.next(Time::ZERO), Next::Over);
    }
}
