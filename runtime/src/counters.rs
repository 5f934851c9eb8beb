//! What a base and a worker count. Reading costs the writer nothing.

use bufferevent_sync::{Counter, SharedCounter};

/// What one base has done since it was made. Written by the worker that holds the base, but for what others add.
#[derive(Debug, Default)]
pub struct BaseCounters {
    /// Turns of the loop.
    pub turns: Counter,
    /// Calls to the selector.
    pub polls: Counter,
    /// Events the selector reported.
    pub events: Counter,
    /// Events of objects that were gone by then, dropped.
    pub stale: Counter,
    /// Runs of connections, listeners and timers confined to the base.
    pub runs: Counter,
    /// Runs of strands taken from this base's worker by another.
    pub helped: SharedCounter,
    /// Connections accepted that live, or lived, on this base.
    pub accepted: Counter,
    /// Times a listener paused: at a limit of connections, or for want of descriptors or memory.
    pub accept_pauses: Counter,
    /// Callbacks waiting in the deferred queue at the end of the last turn.
    pub deferred: Counter,
    /// Connections that ended here.
    pub ended: SharedCounter,
    /// Those of them whose output was all sent and whose peer ended its side too.
    pub ended_clean: SharedCounter,
    /// Bytes of output that were not sent when their connection ended.
    pub unsent: SharedCounter,
    /// Callbacks that panicked and were isolated.
    pub panics: SharedCounter,
}

/// What one worker has done. Written by that worker.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Runs of strands and tasks.
    pub runs: Counter,
    /// Tasks taken from another worker's deque.
    pub steals: Counter,
    /// Calls for help that woke another worker.
    pub calls: Counter,
    /// Times the worker polled a base whose own worker was busy.
    pub rescues: Counter,
    /// Times it went to sleep.
    pub parks: Counter,
    /// Nanoseconds it was awake.
    pub busy_nanos: Counter,
}
