//! What a base and a worker count. Reading costs the writer nothing.

use std::{fmt, time::Duration};

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
    /// Connections that the filter of a listener here refused.
    pub refused: Counter,
    /// Times a listener paused: at a limit of connections, or for want of descriptors or memory.
    pub accept_pauses: Counter,
    /// Steps of handshakes that were put off to the next pass.
    pub handshakes_put_off: SharedCounter,
    /// Handshakes that had to wait until others were over.
    pub handshakes_waited: SharedCounter,
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
    /// Callbacks that blocked, see [`Builder::on_blocked`](crate::Builder::on_blocked).
    pub blocked: SharedCounter,
    /// How long callbacks took, if the runtime was told to [`trace`](crate::Builder::trace).
    pub callback_times: CallbackTimes,
}

/// How many callbacks took how long, in powers of two of a microsecond. Any worker adds.
#[derive(Default)]
pub struct CallbackTimes {
    counts: [SharedCounter; TIMES],
}

/// Up to a microsecond, to 2, to 4, and so on to 4 s; longer.
const TIMES: usize = 24;

impl CallbackTimes {
    pub(crate) fn add(&self, took: Duration) {
        let micros = took.as_nanos().div_ceil(1_000).next_power_of_two();
        let longest = TIMES as u32 - 1;
        self.counts[micros.trailing_zeros().min(longest) as usize].add(1);
    }

    /// The least power of two that bounds it, and the count, of each length that occurred; `None`: more than 4 s.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bound = |place: usize| (place + 1 < TIMES).then(|| Duration::from_micros(1 << place));
        let counts = self.counts.iter().map(SharedCounter::get);
        counts.enumerate().filter(|(_, count)| *count > 0).map(move |(place, count)| (bound(place), count))
    }
}

impl fmt::Debug for CallbackTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_under_its_bound() {
        let times = CallbackTimes::default();
        for nanos in [0, 1, 1_000, 1_001, 2_000, 3_000_000, 4_194_304_000, 4_194_304_001, u64::MAX] {
            times.add(Duration::from_nanos(nanos));
        }
        let micros = |micros| Some(Duration::from_micros(micros));
        let counts = Vec::from_iter(times.iter());
        assert_eq!(
            counts,
            [(micros(1), 3), (micros(2), 2), (micros(4_096), 1), (micros(1 << 22), 1), (None, 2)]
        );
    }
}
