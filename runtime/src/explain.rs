//! What a base, and a runtime, are doing at one moment.

use std::{fmt, time::Duration};

use crate::{
    affinity::Affinity,
    base::{BaseHandle, shared::BaseShared},
    runtime::Runtime,
    sched::pool::WorkerShared,
};

/// What a base looked like at one moment: what lives and waits there, and what it has done so far.
///
/// Each figure is exact; together they may be of slightly different moments.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BaseSnapshot {
    /// Its number in its runtime, from 0.
    pub index: usize,
    /// Objects that live there: bufferevents, listeners, timers.
    pub objects: usize,
    /// Messages in its inbox.
    pub messages: usize,
    /// Whether it rests since it was told to exit or to break: nothing runs until it is resumed.
    pub resting: bool,
    /// Callbacks that waited in the deferred queue at the end of the last turn.
    pub deferred: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Calls to the selector.
    pub polls: u64,
    /// Events the selector reported.
    pub events: u64,
    /// Events of objects that were gone by then.
    pub stale: u64,
    /// Runs of what is confined to it.
    pub runs: u64,
    /// Runs of its strands by other workers.
    pub helped: u64,
    /// Connections accepted that live, or lived, there.
    pub accepted: u64,
    /// Callbacks that panicked and were isolated.
    pub panics: u64,
    /// Callbacks that blocked, if somebody wants to [know](crate::Builder::on_blocked).
    pub blocked: u64,
}

/// What a worker looked like at one moment, and what it has done so far.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// How long the strand that it runs has been running; `None` if it runs none.
    pub running: Option<Duration>,
    /// Runs of strands and tasks.
    pub runs: u64,
    /// Tasks taken from another worker.
    pub steals: u64,
    /// Calls for help that woke another worker.
    pub calls: u64,
    /// Times it polled a base whose own worker was busy.
    pub rescues: u64,
    /// Times it went to sleep.
    pub parks: u64,
    /// How long it was awake.
    pub busy: Duration,
}

/// What a runtime looked like at one moment. Printed, it says so, a line for each base and worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RuntimeSnapshot {
    /// The bases, in the order of their numbers.
    pub bases: Vec<BaseSnapshot>,
    /// The workers.
    pub workers: Vec<WorkerSnapshot>,
}

impl BaseSnapshot {
    fn of(base: &BaseShared) -> Self {
        let counters = &base.counters;
        Self {
            index: base.index,
            objects: base.load(),
            messages: base.inbox.len(),
            resting: base.gate.is_broken(),
            deferred: counters.deferred.get(),
            turns: counters.turns.get(),
            polls: counters.polls.get(),
            events: counters.events.get(),
            stale: counters.stale.get(),
            runs: counters.runs.get(),
            helped: counters.helped.get(),
            accepted: counters.accepted.get(),
            panics: counters.panics.get(),
            blocked: counters.blocked.get(),
        }
    }
}

impl WorkerSnapshot {
    fn of(worker: &WorkerShared, running: Option<Duration>) -> Self {
        let counters = &worker.counters;
        Self {
            running,
            runs: counters.runs.get(),
            steals: counters.steals.get(),
            calls: counters.calls.get(),
            rescues: counters.rescues.get(),
            parks: counters.parks.get(),
            busy: Duration::from_nanos(counters.busy_nanos.get()),
        }
    }
}

impl<A: Affinity> BaseHandle<A> {
    /// What the base is doing. From any thread; never waits, and costs the base nothing.
    ///
    /// # Libevent
    /// `event_base_get_num_events`, `event_base_dump_events`.
    #[doc(alias = "event_base_get_num_events")]
    #[doc(alias = "event_base_dump_events")]
    pub fn explain(&self) -> BaseSnapshot {
        BaseSnapshot::of(&self.shared)
    }
}

impl Runtime {
    /// What the runtime is doing. From any thread; never waits, and costs its workers nothing.
    ///
    /// ```
    /// use bufferevent_runtime::Runtime;
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// let snapshot = runtime.explain();
    /// assert_eq!((snapshot.bases.len(), snapshot.workers.len()), (1, 1));
    /// println!("{snapshot}");
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    pub fn explain(&self) -> RuntimeSnapshot {
        let pool = self.pool();
        let now = pool.clock.now();
        RuntimeSnapshot {
            bases: pool.bases.iter().map(|base| BaseSnapshot::of(&base.shared)).collect(),
            workers: pool
                .workers
                .iter()
                .map(|worker| WorkerSnapshot::of(worker, worker.running_for(now)))
                .collect(),
        }
    }
}

impl fmt::Display for BaseSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, objects, messages, deferred, turns, polls, events, runs, helped, .. } = self;
        let resting = if self.resting { ", resting" } else { "" };
        write!(
            f,
            "base {index}: {objects} objects, {messages} messages, {deferred} deferred{resting}; {turns} turns, \
             {polls} polls, {events} events, {runs} runs, {helped} by others"
        )?;
        for (count, what) in [(self.panics, "panics"), (self.blocked, "blocked")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for WorkerSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, steals, calls, rescues, parks, busy, .. } = self;
        match self.running {
            Some(running) => write!(f, "in one strand for {running:.1?}")?,
            None => f.write_str("in no strand")?,
        }
        write!(
            f,
            "; {runs} runs, {steals} steals, {calls} calls, {rescues} rescues, {parks} parks, busy {busy:.1?}"
        )
    }
}

impl fmt::Display for RuntimeSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for base in &self.bases {
            writeln!(f, "{base}")?;
        }
        for (number, worker) in self.workers.iter().enumerate() {
            writeln!(f, "worker {number}: {worker}")?;
        }
        Ok(())
    }
}
