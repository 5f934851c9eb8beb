use std::panic::Location;
use std::time::Instant;

use crate::Tally;

/// How much of a model is explored: the number of preemptions per execution, `None` for all.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// By default.
    pub quick: Option<usize>,
    /// With `BEV_LOOM=full`.
    pub full: Option<usize>,
}

impl Bounds {
    /// Everything, always: for two threads, or three with little to do.
    pub const EXHAUSTIVE: Self = Self { quick: None, full: None };
    /// Everything, but not every time: for three threads.
    pub const DEEP: Self = Self { quick: Some(3), full: None };
    /// For models whose last preemptions cost an hour.
    pub const LARGE: Self = Self { quick: Some(3), full: Some(5) };
}

/// Steps in one execution, beyond which loom takes the model for one that never ends.
const MAX_BRANCHES: usize = 10_000;

/// Explores `body`, and reports how many executions that took.
#[track_caller]
pub fn model(bounds: Bounds, body: impl Fn() + Send + Sync + 'static) {
    let at = Location::caller();
    let executions = std::sync::Arc::new(Tally::new());
    let count = std::sync::Arc::clone(&executions);
    let start = Instant::now();

    let mut builder = loom::model::Builder::new();
    builder.max_branches = MAX_BRANCHES;
    builder.preemption_bound = match std::env::var("BEV_LOOM") {
        Ok(mode) if mode == "full" => bounds.full,
        _ => bounds.quick,
    };
    let bound = builder.preemption_bound.map_or("all".to_owned(), |bound| bound.to_string());
    builder.check(move || {
        count.add(1);
        body();
    });

    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "model {}:{} {name}: preemptions {bound}, {} executions, {seconds:.2} s",
        at.file(),
        at.line(),
        executions.get()
    );
}
