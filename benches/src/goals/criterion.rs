//! Goals in nanoseconds, from the samples that `cargo bench` has left.
//!
//! Of the samples only the fastest tenth is looked at: what disturbs a loop on one thread only ever adds. The base line
//! of the same run stands beside each: a machine that is slow today is slow for both.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Bound, Row};
use crate::compare::Bench;
use crate::compare::stats::Spread;
use crate::json::find_numbers;

/// One goal's figure: nanoseconds per operation.
struct Figure {
    goal: u8,
    what: &'static str,
    id: &'static str,
    limit: f64,
    /// What the same bench measures beside it.
    beside: &'static str,
}

/// Returns the rows of `goal`.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if its bench has not been run.
pub(super) fn rows(bench: &Bench, goal: u8) -> io::Result<Vec<Row>> {
    let results = results(bench);
    let row = |figure: &Figure| {
        let measured = samples(&results, figure.id)?;
        let beside = samples(&results, figure.beside)?.median;
        let other = figure.beside.rsplit('/').next().unwrap_or_default();
        let what = format!("ns, {} ({other}: {beside:.1})", figure.what);
        Ok(Row { goal, what, measured, bound: Bound::AtMost(figure.limit) })
    };
    FIGURES.iter().filter(|figure| figure.goal == goal).map(row).collect()
}

/// Where `cargo bench` leaves its results: beside the folder of the programs.
fn results(bench: &Bench) -> PathBuf {
    bench.bin().parent().unwrap_or(bench.bin()).join("criterion")
}

/// Reads the times per operation of the benchmark `id`, of the fastest samples.
fn samples(results: &Path, id: &str) -> io::Result<Spread> {
    let path = results.join(id).join("new").join("sample.json");
    let sample = fs::read_to_string(&path).map_err(|error| {
        let area = id.split('/').next().unwrap_or_default();
        let hint = format!("{}: {error}; run `cargo bench --package benches --bench {area}`", path.display());
        io::Error::new(error.kind(), hint)
    })?;
    each(&sample).ok_or_else(|| io::Error::other(format!("cannot make sense of {}", path.display())))
}

fn each(sample: &str) -> Option<Spread> {
    let (iters, times) = (find_numbers(sample, "iters")?, find_numbers(sample, "times")?);
    let mut each: Vec<f64> = times.iter().zip(iters).map(|(time, count)| time / count).collect();
    each.sort_by(f64::total_cmp);
    each.truncate(each.len().div_ceil(FASTEST));
    Some(Spread::of(each))
}

/// One in so many samples counts.
const FASTEST: usize = 10;

const FIGURES: [Figure; 27] = [
    figure(
        14,
        "deferred by Trigger::DEFER, confined",
        "deferred/confined/asked",
        25.0,
        "deferred/callback/boxes",
    ),
    figure(
        14,
        "deferred by Trigger::DEFER, THREADSAFE",
        "deferred/threadsafe/asked",
        40.0,
        "deferred/callback/boxes",
    ),
    figure(
        14,
        "deferred by the option, confined",
        "deferred/confined/event",
        25.0,
        "deferred/callback/boxes",
    ),
    figure(
        14,
        "deferred by the option, THREADSAFE",
        "deferred/threadsafe/event",
        40.0,
        "deferred/callback/boxes",
    ),
    figure(15, "spawn and complete, one worker", "spawn/complete/1", 60.0, "spawn/complete/deque"),
    figure(15, "spawn and complete, two workers", "spawn/complete/2", 120.0, "spawn/complete/deque"),
    figure(16, "post to a busy base", "wake/post_busy/other_thread", 300.0, "wake/post_busy/own_thread"),
    figure(17, "arm for the first time, wheel", "timers/grow/wheel", 75.0, "timers/grow/btree"),
    figure(17, "arm for the first time, base", "timers/grow/base", 75.0, "timers/grow/btree"),
    figure(17, "arm again, wheel", "timers/arm/wheel", 75.0, "timers/arm/btree"),
    figure(17, "arm again, base", "timers/arm/base", 75.0, "timers/arm/btree"),
    figure(17, "re-arm, wheel", "timers/rearm/wheel", 100.0, "timers/rearm/btree"),
    figure(17, "re-arm, base", "timers/rearm/base", 100.0, "timers/rearm/btree"),
    figure(
        17,
        "re-arm in random order, wheel",
        "timers/rearm_mixed/wheel",
        100.0,
        "timers/rearm_mixed/btree",
    ),
    figure(17, "re-arm in random order, base", "timers/rearm_mixed/base", 100.0, "timers/rearm_mixed/btree"),
    figure(17, "cancel, wheel", "timers/cancel/wheel", 50.0, "timers/cancel/btree"),
    figure(17, "cancel, base", "timers/cancel/base", 50.0, "timers/cancel/btree"),
    figure(
        17,
        "cancel in random order, wheel",
        "timers/cancel_mixed/wheel",
        50.0,
        "timers/cancel_mixed/btree",
    ),
    figure(17, "cancel in random order, base", "timers/cancel_mixed/base", 50.0, "timers/cancel_mixed/btree"),
    figure(18, "64 B round trip, confined", "pair/round_trip/confined", 220.0, "pair/round_trip/buffers"),
    figure(18, "64 B round trip, THREADSAFE", "pair/round_trip/threadsafe", 350.0, "pair/round_trip/buffers"),
    figure(18, "64 KiB one way, confined", "pair/one_way/confined", 1_800.0, "pair/one_way/buffers"),
    figure(18, "64 KiB one way, THREADSAFE", "pair/one_way/threadsafe", 1_800.0, "pair/one_way/buffers"),
    figure(19, "add and drain 64 B", "evbuffer/add_drain_64/evbuffer", 8.0, "evbuffer/add_drain_64/vec"),
    figure(19, "add 64 B, batched", "evbuffer/add_batched_64/evbuffer", 3.0, "evbuffer/add_batched_64/vec"),
    figure(19, "move", "evbuffer/move_4096/evbuffer", 15.0, "evbuffer/move_4096/bytes"),
    figure(19, "reference 4 KiB", "evbuffer/reference_4096/evbuffer", 20.0, "evbuffer/reference_4096/queue"),
];

const fn figure(goal: u8, what: &'static str, id: &'static str, limit: f64, beside: &'static str) -> Figure {
    Figure { goal, what, id, limit, beside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_samples_become_times_per_operation() {
        let numbers =
            |of: fn(u32) -> u32| (1..=20).map(|number| of(number).to_string()).collect::<Vec<_>>().join(",");
        let sample = format!(
            r#"{{"sampling_mode":"Linear","iters":[{}],"times":[{}]}}"#,
            numbers(|number| number),
            numbers(|number| number * (number + 10))
        );
        let spread = each(&sample).expect("it is well formed");
        assert_eq!((spread.least, spread.median, spread.greatest), (11.0, 11.5, 12.0));
        assert!(each("{}").is_none());
    }
}
