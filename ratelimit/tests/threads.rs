//! A byte clock in the hands of several threads.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::thread;

use bufferevent_ratelimit::{ByteClock, Nanos, Plan, Taken};
use bufferevent_sync::SharedCounter;
use common::{MS, START, limit};

const THREADS: u64 = 4;
const ROUNDS: u64 = 20_000;

/// Each thread turns the time on, takes, gives a part back, and flushes now and then. Gives what went in all, and the
/// last moment.
fn churn(clock: &ByteClock, plan: &Plan) -> (u64, Nanos) {
    let (time, moved) = (SharedCounter::default(), SharedCounter::default());
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (time, moved) = (&time, &moved);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    time.add(MS / 10);
                    let now = Nanos(time.get());
                    if let Taken::Granted(bytes) = clock.take(plan, 1 + (round * 7 + number) % 300, now) {
                        let back = bytes / 3;
                        let _nobody_waits = clock.give(back);
                        moved.add(bytes - back);
                    }
                    if round % 1_000 == 0 {
                        clock.debt(plan, 5, now);
                        moved.add(5);
                    }
                }
            });
        }
    });
    (moved.get(), Nanos(time.get()))
}

/// R2
#[test]
fn no_byte_is_lost_or_found_between_threads() {
    let (clock, plan) = (ByteClock::new(), Plan::new(limit(1_000, 1 << 40, 1), START));
    let (moved, end) = churn(&clock, &plan);
    let paid = 1_000 * (end.0 / MS + 1);
    assert_eq!(i128::from(clock.level(&plan, end)), i128::from(paid) - i128::from(moved));
}

/// R1, F52
#[test]
fn threads_together_get_no_more_than_the_burst_and_the_ticks() {
    let (clock, plan) = (ByteClock::new(), Plan::new(limit(100, 150, 1), START));
    let (moved, end) = churn(&clock, &plan);
    let bound = 150 + 100 * (end.0 / MS);
    let debts = 5 * THREADS * ROUNDS / 1_000;
    assert!(moved <= bound + debts, "{moved} of {bound}");
    assert!(moved >= bound / 2, "{moved} of {bound}: who takes gets");
}
