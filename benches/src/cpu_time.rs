//! CPU time, to the nanosecond.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What the process or the thread, as `clock` says, has used so far.
pub(crate) fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
