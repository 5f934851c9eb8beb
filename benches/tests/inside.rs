//! What measures from inside, with small loads.

use std::io;
use std::time::Duration;

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
