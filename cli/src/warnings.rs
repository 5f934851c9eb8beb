//! What goes wrong while the program goes on, told on stderr now and then.

use std::{
    fmt,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use bufferevent_sync::Mutex;

/// Between two lines passes at least this long.
const PAUSE: Duration = Duration::from_secs(1);

/// Warnings of one kind, from any thread: at most one line a second.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    throttle: Mutex<Throttle>,
}

impl Warnings {
    /// Tells that `what` failed, or counts it for the next line.
    pub(crate) fn tell(&self, what: impl fmt::Display, why: impl fmt::Display) {
        let now = Instant::now();
        let admitted = self.throttle.lock().admit(now);
        let Some(left_out) = admitted else { return };
        let more = match left_out {
            0 => String::new(),
            n => format!(" (and {n} more since the last such line)"),
        };
        warn(what, format_args!("{why}{more}"));
    }
}

/// Tells that `what` failed, each time: for what happens on request.
pub(crate) fn warn(what: impl fmt::Display, why: impl fmt::Display) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "warning: {what}: {why}");
}

/// Which warnings become a line.
#[derive(Debug, Default)]
struct Throttle {
    /// Until then none does; `None` before the first.
    quiet_until: Option<Instant>,
    left_out: u64,
}

impl Throttle {
    /// How many were left out since the last line, if there is to be one at `now`.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.quiet_until.is_some_and(|until| now < until) {
            self.left_out += 1;
            return None;
        }
        self.quiet_until = Some(now + PAUSE);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_others_are_counted() {
        // F45: what a peer does is told no more often
        let mut throttle = Throttle::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(throttle.admit(at(0)), Some(0));
        assert_eq!(throttle.admit(at(100)), None);
        assert_eq!(throttle.admit(at(999)), None);
        assert_eq!(throttle.admit(at(1_000)), Some(2));
        assert_eq!(throttle.admit(at(1_001)), None);
        assert_eq!(throttle.admit(at(5_000)), Some(1));
        assert_eq!(throttle.admit(at(9_000)), Some(0));
    }
}
