//! The cases, what their figures come to, and what libevent's test allows. Pure.

use super::{Case, Figure};
use crate::limits::Shares;

/// A case with its name and what it may miss.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Of libevent's test.
    pub name: &'static str,
    /// Its arguments there.
    pub arguments: &'static str,
    /// What is run.
    pub case: Case,
    tolerance: Tolerance,
}

/// By how much a figure may differ from what was promised, bytes per second.
#[derive(Clone, Copy, Debug)]
struct Tolerance {
    total: f64,
    mean: f64,
    deviation: f64,
}

/// The four runs of libevent's `test-ratelim.sh` with its tolerances, and the first at a thousand times its rate, where what a
/// byte costs is more than what a tick does. `ticks` of 100 ms each.
pub fn rows(ticks: u64) -> [Row; 5] {
    let case = Case { connection: 0, group: 0, drain: 0, clients: 30, tick: 100, ticks };
    let tolerance = Tolerance { total: 1_000.0, mean: f64::INFINITY, deviation: 50.0 };
    let each = Tolerance { mean: 50.0, ..tolerance };
    let row = |name, arguments, case, tolerance| Row { name, arguments, case, tolerance };
    let thousandfold = Tolerance { total: 1e6, deviation: 1e5, ..tolerance };
    [
        row("group", "-g 30000", Case { group: 30_000, ..case }, Tolerance { deviation: 100.0, ..tolerance }),
        row("con", "-c 1000", Case { connection: 1_000, ..case }, Tolerance { total: f64::INFINITY, ..each }),
        row("group+con", "-c 1000 -g 30000", Case { connection: 1_000, group: 30_000, ..case }, each),
        row(
            "group+con+drain",
            "-c 1000 -g 35000 -G 500",
            Case { connection: 1_000, group: 35_000, drain: 500, ..case },
            each,
        ),
        row("group x 1,000", "-g 30000000", Case { group: 30_000_000, ..case }, thousandfold),
    ]
}

/// What a figure comes to.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Bytes per second that came back to all.
    pub total: f64,
    /// Between the clients, bytes per second.
    pub deviation: f64,
    /// Jain's index of what came back to each.
    pub jain: f64,
    /// Milliseconds of CPU time for each MB (1,000,000 bytes), clients included.
    pub cpu: f64,
    /// It is within what the test allows.
    pub is_within: bool,
}

impl Judged {
    /// Of a figure of `row`.
    pub fn new(row: &Row, figure: &Figure) -> Self {
        let Row { case, tolerance, .. } = row;
        let (seconds, count) = (case.seconds(), figure.received.len() as f64);
        let bytes = figure.received.iter().sum::<u64>() as f64;
        let total = bytes / seconds;
        let squares = figure.received.iter().map(|&one| (one as f64 / seconds - total / count).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        let missed = (total - case.promised()).abs();
        Self {
            total,
            deviation,
            jain: Shares::of(&figure.received).jain,
            cpu: figure.cpu / (figure.meanwhile as f64 / 1e6),
            is_within: missed <= tolerance.total
                && missed / count <= tolerance.mean
                && deviation <= tolerance.deviation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(row: usize, received: impl Fn(usize) -> u64) -> Judged {
        let figure = Figure { received: (0..30).map(received).collect(), cpu: 3.0, meanwhile: 150_000 };
        Judged::new(&rows(50)[row], &figure)
    }

    #[test]
    fn all_four_runs_promise_the_same() {
        let promised = rows(50).map(|row| row.case.promised());
        assert_eq!(promised, [30_000.0, 30_000.0, 30_000.0, 30_000.0, 30_000_000.0]);
    }

    #[test]
    fn what_is_exact_is_within() {
        for row in 0..4 {
            let Judged { total, deviation, jain, cpu, is_within } = judged(row, |_| 5_000);
            assert_eq!((total, deviation, jain, cpu, is_within), (30_000.0, 0.0, 1.0, 20.0, true));
        }
    }

    #[test]
    fn each_tolerance_is_that_of_its_run() {
        let off = |bytes: u64| move |_| 5_000 + bytes;
        // A total that is 900 too much, a mean that is 30 too much.
        assert!((0..4).all(|row| judged(row, off(150)).is_within));
        // 1,200 and 40.
        assert_eq!([0, 1, 2, 3].map(|row| judged(row, off(200)).is_within), [false, true, false, false]);
        assert!(!judged(1, off(300)).is_within);
        let uneven = |by: u64| move |one: usize| if one % 2 == 0 { 5_000 + by } else { 5_000 - by };
        // 80 between the clients.
        assert_eq!([0, 1, 2, 3].map(|row| judged(row, uneven(400)).is_within), [true, false, false, false]);
        assert!(!judged(0, uneven(600)).is_within);
    }
}
