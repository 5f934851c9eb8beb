//! Goals that are measured in this process, in turns.

use std::io;

use super::{Bound, Row, Settings};
use crate::compare::stats::Spread;
use crate::skew::{self, Plan, Scene};
use crate::wake::{Bases, ByHand, Party, Workers};

/// Goal 16, the first half: a ping-pong of two bases against one of eventfds and epoll sets, in short turns.
pub(super) fn wake(settings: &Settings) -> io::Result<Vec<Row>> {
    let mut ratios = [Vec::new(), Vec::new()];
    for _ in 0..settings.rounds {
        let parties: [Box<dyn Party>; 3] =
            [Box::new(ByHand::new()?), Box::new(Bases::new()?), Box::new(Workers::new()?)];
        let [by_hand, bases, workers] = hop_in_turns(parties, settings.slices)?;
        ratios[0].push(bases / by_hand);
        ratios[1].push(workers / by_hand);
    }
    let row = |who: &str, ratios: Vec<f64>| Row {
        goal: 16,
        what: format!("wake, {who}, / eventfd and epoll"),
        measured: Spread::of(ratios),
        bound: Bound::AtMost(1.05),
    };
    let [bases, workers] = ratios;
    Ok(vec![row("two bases by hand", bases), row("two workers", workers)])
}

/// Lets each party hop in turns, there and back, and answers the median time of each one's turns.
fn hop_in_turns<const N: usize>(mut parties: [Box<dyn Party>; N], turns: usize) -> io::Result<[f64; N]> {
    let mut times = [const { Vec::new() }; N];
    for party in &mut parties {
        party.hops(HOPS)?;
    }
    for turn in 0..turns {
        for place in 0..N {
            let index = if turn % 2 == 0 { place } else { N - 1 - place };
            times[index].push(parties[index].hops(HOPS)?.as_secs_f64());
        }
    }
    Ok(times.map(|times| Spread::of(times).median))
}

/// Goal 20, and the rescue of a base whose worker is stuck.
pub(super) fn skew(settings: &Settings) -> io::Result<Vec<Row>> {
    let plan = Plan { rounds: settings.rounds, ..Plan::default() };
    let row = |what: &str, measured, bound| Row { goal: 20, what: what.to_owned(), measured, bound };
    let hot = skew::play(Scene::Hot, &plan, |_| {})?;
    let sleeper = skew::play(Scene::Sleeper, &plan, |_| {})?;
    let innocent = &hot.light[1][1];
    let beside = &sleeper.light[1][0];
    Ok(vec![
        row("skew: heavy requests, / pinned", hot.ratio, Bound::AtLeast(1.7)),
        row("skew: light p50 on the innocent base, us", innocent.p50, Bound::AtMost(400.0)),
        row("sleeper: light p50 on the same base, us", beside.p50, Bound::AtMost(2_000.0)),
        row("sleeper: light p99 on the same base, us", beside.p99, Bound::AtMost(20_000.0)),
    ])
}

/// Of one turn: some 10 ms.
const HOPS: u64 = 2_000;
