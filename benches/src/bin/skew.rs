//! One hot base on two workers: pinned against stealing.
//!
//! ```text
//! skew            # heavy requests with stealing over pinned, light latencies on the hot and the innocent base
//! skew sleeper    # a callback that sleeps 50 ms again and again: light latencies on the same base
//! skew --rounds 12 --slice 1
//! ```
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use benches::compare::stats::Spread;
use benches::json::Object;
use benches::skew::{Latency, Outcome, Plan, Scene, play};
use clap::{Parser, ValueEnum};

/// Loads one base of two and prints what stealing makes of it.
#[derive(Parser)]
struct Args {
    /// What goes on.
    #[arg(default_value = "hot")]
    scene: Name,
    /// Times that everything is started afresh.
    #[arg(long, default_value_t = Plan::default().rounds)]
    rounds: usize,
    /// Turns of each side in a round.
    #[arg(long, default_value_t = Plan::default().slices)]
    slices: usize,
    /// Seconds of a turn.
    #[arg(long, default_value_t = 0.5)]
    slice: f64,
    /// Heavy connections.
    #[arg(long, default_value_t = Plan::default().heavy)]
    heavy: usize,
    /// Light connections on each base.
    #[arg(long, default_value_t = Plan::default().light)]
    light: usize,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
}

/// What goes on.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Heavy connections on base 0, light ones on both.
    Hot,
    /// A connection whose callback sleeps on base 0, light ones beside it.
    Sleeper,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let slice = Duration::try_from_secs_f64(args.slice).map_err(io::Error::other)?;
    let Args { rounds, slices, heavy, light, .. } = args;
    let plan = Plan { rounds, slices, slice, heavy, light };
    let scene = match args.scene {
        Name::Hot => Scene::Hot,
        Name::Sleeper => Scene::Sleeper,
    };
    let talk = io::stderr().is_terminal();
    let outcome = play(scene, &plan, |round| {
        if talk {
            eprintln!("round {round} of {rounds}");
        }
    })?;
    if args.json {
        println!("{}", json(&outcome));
    } else {
        print(scene, &plan, &outcome);
    }
    Ok(())
}

fn print(scene: Scene, plan: &Plan, outcome: &Outcome) {
    println!(
        "{} rounds of {} turns of {:?}: medians, quartiles in brackets",
        plan.rounds, plan.slices, plan.slice
    );
    let hot = if scene == Scene::Hot { "heavy" } else { "sleeping" };
    for (side, name) in SIDES.into_iter().enumerate() {
        println!("{name:<9} {hot} requests/s  {}", show(&outcome.heavy[side], 0));
        for (base, kind) in BASES.into_iter().enumerate() {
            let Latency { p50, p99 } = &outcome.light[side][base];
            if !p50.median.is_nan() {
                println!("{name:<9} light, {kind:<8} base  p50 {} us  p99 {} us", show(p50, 0), show(p99, 0));
            }
        }
    }
    println!("stealing over pinned, {hot} requests  {}", show(&outcome.ratio, 3));
    let work = outcome.work;
    println!(
        "a second, stealing: {:.0} steals, {:.0} calls for help, {:.0} rescues",
        work.steals, work.calls, work.rescues
    );
}

fn show(spread: &Spread, digits: usize) -> String {
    let Spread { low, median, high, .. } = *spread;
    format!("{median:.digits$} [{low:.digits$} {high:.digits$}]")
}

fn json(outcome: &Outcome) -> String {
    let quartiles = |spread: &Spread| [spread.low, spread.median, spread.high];
    let mut object = Object::new().numbers("ratio", &quartiles(&outcome.ratio));
    for (side, name) in SIDES.into_iter().enumerate() {
        object = object.numbers(&format!("{name}_heavy_per_s"), &quartiles(&outcome.heavy[side]));
        for (base, kind) in BASES.into_iter().enumerate() {
            let Latency { p50, p99 } = &outcome.light[side][base];
            object = object
                .numbers(&format!("{name}_{kind}_p50_us"), &quartiles(p50))
                .numbers(&format!("{name}_{kind}_p99_us"), &quartiles(p99));
        }
    }
    object.finish()
}

const SIDES: [&str; 2] = ["pinned", "stealing"];
const BASES: [&str; 2] = ["hot", "innocent"];
