//! What measures from inside, with small loads.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use benches::libevent::Libevent;
use benches::pair;
use benches::simulation::{self, Case, rows, run};
use benches::skew::{Plan, Scene, play};
use benches::wake::{Bases, Busy, ByHand, Party, Workers, post_from_within};

#[test]
fn every_ping_pong_makes_its_hops_again_and_again() -> io::Result<()> {
    let parties: [Box<dyn Party>; 3] =
        [Box::new(ByHand::new()?), Box::new(Bases::new()?), Box::new(Workers::new()?)];
    for mut party in parties {
        for count in [1, 2, 100] {
            assert!(party.hops(count)? > Duration::ZERO);
        }
    }
    Ok(())
}

#[test]
fn posts_to_a_busy_base_never_meet_a_full_inbox() -> io::Result<()> {
    let mut busy = Busy::new()?;
    for _ in 0..20 {
        busy.posts(5_000)?;
    }
    post_from_within(100_000)?;
    Ok(())
}

#[test]
fn every_scene_has_figures_for_its_connections() -> io::Result<()> {
    let plan = Plan { rounds: 1, slices: 2, slice: Duration::from_millis(100), ..Plan::default() };
    let hot = play(Scene::Hot, &plan, |_| {})?;
    assert!(hot.ratio.median > 0.0 && hot.light[1][1].p50.median > 0.0, "{hot:?}");
    let sleeper = play(Scene::Sleeper, &plan, |_| {})?;
    assert!(sleeper.light[1][0].p99.median > 0.0, "{sleeper:?}");
    assert!(sleeper.light[1][1].p50.median.is_nan(), "nothing asks the other base: {sleeper:?}");
    Ok(())
}

/// A busy machine may sleep through the last tick, or over the end: what is asked is the upper bound over the time it took.
#[test]
fn what_comes_back_in_the_simulation_is_never_more_than_was_promised() -> io::Result<()> {
    for row in &rows(8)[..4] {
        let begun = Instant::now();
        let figure = run(&row.case)?;
        let all = figure.received.iter().sum::<u64>();
        // A tick's worth is there at once, and what the drain takes then was there before.
        let most = row.case.promised() * (begun.elapsed().as_secs_f64() + 0.1) + row.case.drain as f64;
        assert!(all > 0 && all as f64 <= most, "{row:?}: {figure:?}");
        assert!(figure.meanwhile <= all && figure.cpu > 0.0, "{row:?}: {figure:?}");
    }
    Ok(())
}

#[test]
fn the_other_side_of_the_simulation_runs_where_there_is_one_and_else_says_why() -> io::Result<()> {
    match Libevent::build("simulation_test", simulation::LIBEVENT, Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(libevent) => {
            let case = Case { ticks: 4, ..rows(4)[1].case };
            let figure = simulation::run_theirs(&libevent, &case)?;
            assert_eq!(figure.received.len(), case.clients);
            assert!(figure.received.iter().sum::<u64>() > 0, "{figure:?}");
            assert!(libevent.version.starts_with('2'), "{libevent:?}");
        }
        Err(why) => assert!(!why.is_empty()),
    }
    Ok(())
}

#[test]
fn a_pair_of_libevent_runs_where_there_is_one_and_else_says_why() -> io::Result<()> {
    match Libevent::build("pair_test", pair::LIBEVENT, Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(libevent) => {
            for (what, how) in [("round_trip", "confined"), ("one_way", "threadsafe")] {
                assert!(pair::run_theirs(&libevent, what, how, 10)? > Duration::ZERO);
            }
        }
        Err(why) => assert!(!why.is_empty()),
    }
    Ok(())
}
