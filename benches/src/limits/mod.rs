//! What a group with a limit lets pass on real connections, how evenly, and at what cost: goals 11 and 12.
//!
//! A [`Case`] is measured in a process of its own ([`in_own_process`]). The members are THREADSAFE bufferevents over TCP,
//! on bases of a runtime with as many workers; each wants to move more than there is, all the time. The main thread is
//! at the other ends of all connections (`peers`) and does nothing else, so that what the rest of the process uses is
//! the members' and the group's.
//!
//! It is looked at twice, in the middle of a tick each time, when all that the tick has paid is gone. So what was
//! promised between the two is a whole number of ticks, and exact.

mod by_hand;
mod echo;
mod judged;
pub mod matrix;
mod members;
mod peers;
mod shares;
mod wakes;

use std::{env, io, process::Command, time::Duration};

use bufferevent::runtime::Time;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use self::by_hand::{by_hand, by_hand_in_own_process};
pub use self::echo::Echo;
pub use self::judged::{Judged, is_costly};
use self::members::Members;
use self::peers::{Peers, Sample};
pub use self::shares::Shares;
use crate::json::{Object, find_number};

/// Which way the limited bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Way {
    /// The members read.
    Read,
    /// The members write.
    Write,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, clap::Args)]
pub struct Case {
    /// Bytes per second that the group lets pass; 0: there is no group.
    #[arg(long)]
    pub rate: u64,
    /// Milliseconds of a tick.
    #[arg(long, default_value_t = 10)]
    pub tick: u64,
    /// Ticks' worth that the group holds at most.
    #[arg(long, default_value_t = 1)]
    pub burst: u64,
    /// Connections.
    #[arg(long, default_value_t = 30)]
    pub members: usize,
    /// Bases, and as many workers.
    #[arg(long, default_value_t = 1)]
    pub bases: usize,
    /// Which way.
    #[arg(long, value_enum, default_value_t = Way::Write)]
    pub way: Way,
    /// The members start when this part of a tick is over.
    #[arg(long, default_value_t = 0.0)]
    pub phase: f64,
    /// Ticks between the two looks.
    #[arg(long, default_value_t = 200)]
    pub ticks: u64,
}

/// What came of a case.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Bytes that moved, of those that were promised.
    pub achieved: f64,
    /// Ticks of which a base was awake before the burst held no more, of all: not more than that can be achieved.
    pub awake: f64,
    /// How even the shares are.
    pub shares: Shares,
    /// Milliseconds of CPU time for each MB (1,000,000 bytes) that moved, without what the peers used.
    pub cpu: f64,
}

impl Case {
    /// Bytes per tick.
    pub fn per_tick(&self) -> u64 {
        self.rate * self.tick / 1_000
    }

    /// What a member gets in a tick, bytes.
    fn share(&self) -> usize {
        self.per_tick() as usize / self.members
    }

    fn tick_length(&self) -> Duration {
        Duration::from_millis(self.tick)
    }

    fn to_args(self) -> Vec<String> {
        let way = match self.way {
            Way::Read => "read",
            Way::Write => "write",
        };
        let Self { rate, tick, burst, members, bases, phase, ticks, .. } = self;
        let numbers = [
            format!("--rate={rate}"),
            format!("--tick={tick}"),
            format!("--burst={burst}"),
            format!("--members={members}"),
            format!("--bases={bases}"),
            format!("--phase={phase}"),
            format!("--ticks={ticks}"),
        ];
        numbers.into_iter().chain([format!("--way={way}")]).collect()
    }
}

/// Measures `case` in this process.
///
/// # Errors
/// The system has no sockets or threads to give.
pub fn run(case: &Case) -> io::Result<Figure> {
    raise_open_files();
    let (members, streams) = Members::start(case)?;
    let mut peers = Peers::new(streams, case.way)?;
    let ticks = Ticks { origin: members.origin(), length: case.tick_length() };
    let start = ticks.number(members.now()) + 1 + WARMUP.as_millis().div_ceil(case.tick.into()) as u64;
    let mut look = |number| -> io::Result<Sample> {
        peers.run_until(ticks.middle(number), members.clock())?;
        peers.look(&members)
    };
    let (before, after) = (look(start)?, look(start + case.ticks)?);
    let moved: Vec<u64> =
        after.moved.iter().zip(&before.moved).map(|(after, before)| after - before).collect();
    let all = moved.iter().sum::<u64>() as f64;
    let (first, last) = (ticks.number(before.at), ticks.number(after.at));
    Ok(Figure {
        achieved: all / (case.per_tick() * (last - first)) as f64,
        awake: members.wakes().among(first + 1..=last, case.burst),
        shares: Shares::of(&moved),
        cpu: (after.cpu - before.cpu).as_secs_f64() * 1e3 / (all / 1e6),
    })
}

/// Measures `case` in a process that is made for it.
///
/// # Errors
/// It has failed, or there is none to be had.
pub fn in_own_process(case: &Case) -> io::Result<Figure> {
    let output = Command::new(env::current_exe()?).arg("one").args(case.to_args()).output()?;
    let line = String::from_utf8_lossy(&output.stdout);
    Figure::from_json(&line).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("{case:?}: {}: {}", output.status, said.trim()))
    })
}

impl Figure {
    /// Returns the figure as a JSON object.
    pub fn to_json(&self) -> String {
        let Self { achieved, awake, shares: Shares { jain, least, most }, cpu } = *self;
        Object::new()
            .number("achieved", achieved)
            .number("awake", awake)
            .number("jain", jain)
            .number("least", least)
            .number("most", most)
            .number("cpu_ms_per_mb", cpu)
            .finish()
    }

    fn from_json(line: &str) -> Option<Self> {
        let number = |key| match find_number(line, key) {
            // There is no rate without a group.
            None if line.contains(&format!("\"{key}\":null")) => Some(f64::NAN),
            number => number,
        };
        let shares = Shares { jain: number("jain")?, least: number("least")?, most: number("most")? };
        Some(Self {
            achieved: number("achieved")?,
            awake: number("awake")?,
            shares,
            cpu: number("cpu_ms_per_mb")?,
        })
    }
}

/// When ticks begin. Tick number n pays at its beginning.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    origin: Time,
    length: Duration,
}

impl Ticks {
    fn number(&self, at: Time) -> u64 {
        (at.since(self.origin).as_nanos() / self.length.as_nanos()) as u64
    }

    fn middle(&self, number: u64) -> Time {
        let nanos = self.length.as_nanos() as u64;
        self.origin.saturating_add(Duration::from_nanos(nanos * number + nanos / 2))
    }
}

/// So many as may be.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused there may be enough; if not, the socket that is missing says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// What it takes at most until all members want something.
const STARTING: Duration = Duration::from_millis(200);
/// Besides that, for the kernel's buffers.
const WARMUP: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_written_is_read_again() {
        let shares = Shares { jain: 0.5, least: 0.25, most: 2.0 };
        let figure = Figure { achieved: f64::NAN, awake: 1.0, shares, cpu: 1.5 };
        let read = Figure::from_json(&figure.to_json()).expect("it is whole");
        assert!(read.achieved.is_nan());
        assert_eq!((read.awake, read.shares, read.cpu), (1.0, shares, 1.5));
        assert!(Figure::from_json("{}").is_none());
    }

    #[test]
    fn the_middle_of_a_tick_is_in_it() {
        let ticks = Ticks { origin: Time::from_nanos(500), length: Duration::from_millis(10) };
        for number in [0, 1, 1_000] {
            assert_eq!(ticks.number(ticks.middle(number)), number);
        }
        assert_eq!(ticks.number(Time::from_nanos(10_000_499)), 0);
        assert_eq!(ticks.number(Time::from_nanos(10_000_500)), 1);
    }
}
