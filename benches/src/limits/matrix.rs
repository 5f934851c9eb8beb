//! Which cases are measured. Pure.

use super::{Case, Way};

/// Every rate with every tick and every number of members, twice: each setting of the other axes with each of any two of
/// these, and in the second half the opposite of the first. About seven minutes.
pub fn usual() -> Vec<Case> {
    let halves = [false, true].into_iter();
    halves.flat_map(|flip| cells().enumerate().map(move |(at, cell)| half(cell, at, flip))).collect()
}

/// All of it.
pub fn whole() -> Vec<Case> {
    let settings = || (0..8).map(|bits| [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]);
    cells().enumerate().flat_map(|(at, cell)| settings().map(move |bits| case(cell, at, bits))).collect()
}

/// The same traffic without a group.
#[must_use]
pub fn unlimited(like: &Case) -> Case {
    Case { rate: 0, tick: 1, burst: 1, phase: 0.0, ticks: UNLIMITED, ..*like }
}

/// The same pieces, sent without a library.
#[must_use]
pub fn without_library(like: &Case) -> Case {
    Case { way: Way::Write, bases: 1, phase: 0.0, ticks: TIME / like.tick, ..*like }
}

/// In round number `round` members start at another time of a tick.
#[must_use]
pub fn shifted(case: &Case, round: usize) -> Case {
    Case { phase: (case.phase + round as f64 * PHASE).fract(), ..*case }
}

/// Rate, milliseconds of a tick, members.
type Cell = (u64, u64, usize);

fn cells() -> impl Iterator<Item = Cell> {
    let rates = RATES.into_iter();
    rates.flat_map(|rate| {
        TICKS.into_iter().flat_map(move |tick| MEMBERS.into_iter().map(move |members| (rate, tick, members)))
    })
}

fn half(cell: Cell, at: usize, flip: bool) -> Case {
    let (row, column, layer) = (at / 9, at / 3 % 3, at % 3);
    let bits = [row + column + layer, column + layer / 2, row + layer].map(|sum| (sum % 2 == 1) != flip);
    case(cell, at, bits)
}

fn case((rate, tick, members): Cell, at: usize, [two_bases, deep, reads]: [bool; 3]) -> Case {
    let mut case = Case {
        rate,
        tick,
        members,
        bases: if two_bases { 2 } else { 1 },
        burst: if deep { 4 } else { 1 },
        way: if reads { Way::Read } else { Way::Write },
        phase: (at as f64 * PHASE).fract(),
        ticks: 0,
    };
    case.ticks = (TIME.max(quanta_time(&case))).div_ceil(tick);
    case
}

/// Milliseconds in which each member gets `QUANTA` quanta: so many that one more or less, which is as it happens, is no tenth.
fn quanta_time(case: &Case) -> u64 {
    (QUANTA * quantum(case) * case.members as u64 * 1_000).div_ceil(case.rate)
}

/// Bytes that a member is given at a time, at least, while all want some.
pub(super) fn quantum(case: &Case) -> u64 {
    let share = case.rate / (2 * case.members as u64);
    share.clamp(64, 16 * 1024).min(case.per_tick().max(1) * case.burst)
}

const RATES: [u64; 3] = [1_000_000, 10_000_000, 100_000_000];
const TICKS: [u64; 3] = [1, 10, 100];
const MEMBERS: [usize; 3] = [1, 30, 1_000];
/// Milliseconds at least: 20 of the longest ticks.
const TIME: u64 = 2_000;
const QUANTA: u64 = 30;
/// Milliseconds.
const UNLIMITED: u64 = 700;
/// Of a tick; not a part of it, so that no two are the same.
const PHASE: f64 = 0.377;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_cases_have_each_setting_with_each_cell_once() {
        let cases = usual();
        assert_eq!(cases.len(), 54);
        for (first, second) in cases[..27].iter().zip(&cases[27..]) {
            assert_eq!((first.rate, first.tick, first.members), (second.rate, second.tick, second.members));
            assert!(first.bases != second.bases && first.burst != second.burst && first.way != second.way);
        }
    }

    #[test]
    fn no_two_of_all_cases_are_the_same_and_the_usual_ones_are_among_them() {
        let settings = |case: &Case| (case.rate, case.tick, case.members, case.bases, case.burst, case.way);
        let mut all: Vec<_> = whole().iter().map(settings).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 216);
        assert!(usual().iter().all(|case| all.contains(&settings(case))));
    }

    #[test]
    fn a_member_gets_thirty_quanta_and_the_usual_cases_end_in_seven_minutes() {
        let time = |case: &Case| case.ticks * case.tick;
        for case in whole() {
            assert!(time(&case) >= TIME, "{case:?}");
            let share = (case.rate / (2 * case.members as u64)).clamp(64, 16 * 1024);
            let quantum = share.min(case.per_tick() * case.burst);
            assert!(case.rate * time(&case) / 1_000 >= 30 * quantum * case.members as u64, "{case:?}");
        }
        assert!(usual().iter().map(time).sum::<u64>() < 7 * 60_000);
    }
}
