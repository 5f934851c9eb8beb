//! What goes wrong while the program goes on, told on stderr now and then.

use std::{
    fmt, mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent_sync::Mutex;

use crate::notices;

/// Between two lines passes at least this long.
const PAUSE: Duration = Duration::from_secs(1);

/// Warnings of one kind, from any thread: at most one line a second, and one at the end. What comes in between is told when the
/// second is over: the latest, and how many more there were.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    throttle: Arc<Mutex<Throttle>>,
}

impl Warnings {
    /// Tells that `what` failed, now or with others within a second.
    pub(crate) fn tell(&self, what: impl fmt::Display, why: impl fmt::Display) {
        let text = format!("{what}: {why}");
        let admitted = self.throttle.lock().admit(text, Instant::now());
        match admitted {
            Admitted::Now(line) => line.tell(),
            Admitted::Later(at) => self.tell_at(at),
            Admitted::WithOthers => {}
        }
    }

    /// Has a thread tell what waits, at this time and each second after it, until nothing does.
    fn tell_at(&self, mut at: Instant) {
        let throttle = Arc::clone(&self.throttle);
        let tell = move || loop {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            let due = throttle.lock().due(Instant::now());
            let Some((line, next)) = due else { return };
            line.tell();
            at = next;
        };
        if thread::Builder::new().name("bev-warnings".to_owned()).spawn(tell).is_err() {
            // It goes with the next one, or at the end.
            self.throttle.lock().watched = false;
        }
    }
}

impl Drop for Warnings {
    fn drop(&mut self) {
        let left = self.throttle.lock().waiting.take();
        left.iter().for_each(Line::tell);
    }
}

/// Tells that `what` failed, each time: for what happens on request.
pub(crate) fn warn(what: impl fmt::Display, why: impl fmt::Display) {
    notices::line(format_args!("warning: {what}: {why}"));
}

/// Which warnings become a line, and when.
#[derive(Debug, Default)]
struct Throttle {
    /// Until then none does; `None` before the first.
    quiet_until: Option<Instant>,
    /// What is to be told then.
    waiting: Option<Line>,
    /// A thread will.
    watched: bool,
}

/// A warning, and how many others it stands for.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    text: String,
    more: u64,
}

/// What becomes of a warning.
#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    Now(Line),
    /// It waits, and is to be told at this time.
    Later(Instant),
    /// It waits, and somebody will.
    WithOthers,
}

impl Throttle {
    fn admit(&mut self, text: String, now: Instant) -> Admitted {
        let more = self.waiting.take().map_or(0, |others| others.more + 1);
        let line = Line { text, more };
        match self.quiet_until.filter(|&until| self.watched || now < until) {
            None => {
                self.quiet_until = Some(now + PAUSE);
                Admitted::Now(line)
            }
            Some(until) => {
                self.waiting = Some(line);
                match mem::replace(&mut self.watched, true) {
                    true => Admitted::WithOthers,
                    false => Admitted::Later(until),
                }
            }
        }
    }

    /// What is to be told at `now`, and when to look again; `None`: nothing, and nobody watches any more.
    fn due(&mut self, now: Instant) -> Option<(Line, Instant)> {
        self.watched = self.waiting.is_some();
        let line = self.waiting.take()?;
        let next = now + PAUSE;
        self.quiet_until = Some(next);
        Some((line, next))
    }
}

impl Line {
    fn tell(&self) {
        let more = match self.more {
            0 => String::new(),
            n => format!(" (and {n} more since the last such line)"),
        };
        notices::line(format_args!("warning: {}{more}", self.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, more: u64) -> Line {
        Line { text: text.to_owned(), more }
    }

    #[test]
    fn one_line_a_second_and_the_others_are_told_when_it_is_over() {
        // F45: what a peer does is told no more often
        let mut throttle = Throttle::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut admit = |text: &str, millis| throttle.admit(text.to_owned(), at(millis));
        assert_eq!(admit("a", 0), Admitted::Now(line("a", 0)));
        assert_eq!(admit("b", 100), Admitted::Later(at(1_000)));
        assert_eq!(admit("c", 999), Admitted::WithOthers);
        // Whoever is to tell them is late.
        assert_eq!(admit("d", 1_010), Admitted::WithOthers);
        assert_eq!(throttle.due(at(1_020)), Some((line("d", 2), at(2_020))));
        assert_eq!(throttle.admit("e".to_owned(), at(1_500)), Admitted::WithOthers);
        assert_eq!(throttle.due(at(2_020)), Some((line("e", 0), at(3_020))));
        assert_eq!(throttle.due(at(3_020)), None);
        assert_eq!(throttle.admit("f".to_owned(), at(3_030)), Admitted::Now(line("f", 0)));
    }

    #[test]
    fn what_nobody_tells_goes_with_the_next() {
        let mut throttle = Throttle::default();
        let begin = Instant::now();
        assert_eq!(throttle.admit("a".to_owned(), begin), Admitted::Now(line("a", 0)));
        assert_eq!(throttle.admit("b".to_owned(), begin), Admitted::Later(begin + PAUSE));
        throttle.watched = false;
        assert_eq!(throttle.admit("c".to_owned(), begin + PAUSE), Admitted::Now(line("c", 1)));
    }
}
