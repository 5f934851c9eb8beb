//! libevent's simulation of rate limits (`test/test-ratelim.c`), on bufferevents of ours and on the system's libevent.
//!
//! Clients write as much as they can to servers that send it back, over TCP, all on one base; only the servers are
//! limited. What comes back is counted. A [`Case`] is run in a process of its own on either side: by [`run`] on ours, by a C
//! program on libevent ([`run_theirs`]), which answers the same JSON.
//!
//! Both sides begin when all connections stand, and end 5 ms before the last tick would, as the original does; that one counts
//! the time of its connects too.

mod judged;
mod ours;
mod theirs;

use std::io;
use std::process::Command;
use std::time::Duration;

pub use self::judged::{Judged, Row, rows};
pub use self::ours::run;
pub use self::theirs::{LIBEVENT, run_theirs};
use crate::json::{Object, find_number, find_numbers};

/// What is simulated. Rates are bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Case {
    /// What each connection may move; 0: no limit.
    #[arg(long, default_value_t = 0)]
    pub connection: u64,
    /// What all of them may move together; 0: no limit.
    #[arg(long, default_value_t = 0)]
    pub group: u64,
    /// Bytes that are taken out of the group by hand at each tick.
    #[arg(long, default_value_t = 0)]
    pub drain: u64,
    /// Connections.
    #[arg(long, default_value_t = 30)]
    pub clients: usize,
    /// Milliseconds of a tick; what may be kept is four ticks' worth.
    #[arg(long, default_value_t = 100)]
    pub tick: u64,
    /// How long, in ticks.
    #[arg(long, default_value_t = 50)]
    pub ticks: u64,
}

impl Case {
    /// Bytes of a tick that pass at `rate`.
    fn per_tick(&self, rate: u64) -> u64 {
        rate * self.tick / 1_000
    }

    fn seconds(&self) -> f64 {
        (self.tick * self.ticks) as f64 / 1e3
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.tick * self.ticks).saturating_sub(Duration::from_millis(5))
    }

    /// When what there is at the start has filled the kernel's buffers, which takes more than all that follows.
    fn warmup(&self) -> Duration {
        Duration::from_secs(1).min(self.duration() / 2)
    }

    /// Bytes per second that come back if the limits let through all that they may.
    pub fn promised(&self) -> f64 {
        let group = self.group as f64 - self.drain as f64 * 1e3 / self.tick as f64;
        let connections = self.connection as f64 * self.clients as f64;
        match (self.connection, self.group) {
            (0, _) => group,
            (_, 0) => connections,
            _ => group.min(connections),
        }
    }

    /// The arguments that make [`run`]'s process run it.
    pub fn to_args(self) -> [String; 6] {
        let Self { connection, group, drain, clients, tick, ticks } = self;
        [
            format!("--connection={connection}"),
            format!("--group={group}"),
            format!("--drain={drain}"),
            format!("--clients={clients}"),
            format!("--tick={tick}"),
            format!("--ticks={ticks}"),
        ]
    }
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Bytes that came back to each client.
    pub received: Vec<u64>,
    /// Milliseconds of CPU time that the process used, its clients included, after it was warm.
    pub cpu: f64,
    /// Bytes that came back meanwhile.
    pub meanwhile: u64,
}

impl Figure {
    /// Returns the figure as a JSON object.
    pub fn to_json(&self) -> String {
        let received: Vec<f64> = self.received.iter().map(|&bytes| bytes as f64).collect();
        Object::new()
            .number("cpu_ms", self.cpu)
            .count("meanwhile", self.meanwhile)
            .numbers("received", &received)
            .finish()
    }

    fn from_json(line: &str) -> Option<Self> {
        let received = find_numbers(line, "received")?.into_iter().map(|bytes| bytes as u64);
        let meanwhile = find_number(line, "meanwhile")? as u64;
        Some(Self { received: received.collect(), cpu: find_number(line, "cpu_ms")?, meanwhile })
    }

    /// What `command` prints.
    ///
    /// # Errors
    /// It cannot be run, fails, or prints something else.
    pub fn of(command: &mut Command) -> io::Result<Self> {
        let output = command.output()?;
        let line = String::from_utf8_lossy(&output.stdout);
        Self::from_json(&line).filter(|_| output.status.success()).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            io::Error::other(format!("{command:?}: {}: {}", output.status, said.trim()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_written_is_read_again() {
        let figure = Figure { received: vec![0, 5_000, 1 << 40], cpu: 12.5, meanwhile: 4_000 };
        assert_eq!(Figure::from_json(&figure.to_json()), Some(figure));
        assert_eq!(Figure::from_json("{}"), None);
    }

    #[test]
    fn what_fails_is_no_figure() {
        let mut command = Command::new("sh");
        let fails = command
            .args(["-c", "echo '{\"cpu_ms\":1,\"meanwhile\":1,\"received\":[1]}'; echo no >&2; exit 3"]);
        let told = Figure::of(fails).map_err(|why| why.to_string());
        assert!(told.is_err_and(|why| why.ends_with("exit status: 3: no")));
    }
}
