//! The same traffic without a library: a thread that sleeps until the next tick, and sends what that pays in pieces.
//!
//! It says what the machine alone takes for a limit that is kept in such pieces: no bookkeeping, no buffers, no callbacks. The table
//! has it beside each case whose cost is judged, so that what is ours of that can be told.

use std::env;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bufferevent::runtime::Clock;
use rustix::time::ClockId;

use super::members::pairs;
use super::peers::Peers;
use super::{Case, Way, matrix, raise_open_files};
use crate::cpu_time::cpu_time;

/// Returns milliseconds of CPU time for each MB of `case`, written in pieces of a group's quantum.
///
/// # Errors
/// The system has no sockets or threads to give, or a send fails.
pub fn by_hand(case: &Case) -> io::Result<f64> {
    raise_open_files();
    let (ours, theirs) = pairs(case)?.into_iter().unzip();
    let mut peers = Peers::new(theirs, Way::Write)?;
    let (case, clock) = (*case, Clock::monotonic());
    let sender = thread::spawn(move || send(ours, &case));
    while !sender.is_finished() {
        peers.run_until(clock.now().saturating_add(TURN), &clock)?;
    }
    let (cpu, sent, _open) = sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
    Ok(cpu.as_secs_f64() * 1e3 / (sent as f64 / 1e6))
}

/// As [`by_hand`], in a process that is made for it.
///
/// # Errors
/// It has failed, or there is none to be had.
pub fn by_hand_in_own_process(case: &Case) -> io::Result<f64> {
    let output = Command::new(env::current_exe()?).arg("by-hand").args(case.to_args()).output()?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let line = String::from_utf8_lossy(&output.stdout);
    line.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("{case:?} by hand: {}: {}", output.status, said())))
}

/// Answers what that took of CPU time, how many bytes went, and the connections, still open.
fn send(mut streams: Vec<TcpStream>, case: &Case) -> io::Result<(Duration, u64, Vec<TcpStream>)> {
    let block = vec![7; matrix::quantum(case) as usize];
    let (start, before) = (Instant::now(), cpu_time(ClockId::ThreadCPUTime));
    let (mut sent, mut turn) = (0, 0);
    for tick in 1..=case.ticks {
        let due = start + Duration::from_millis(case.tick * tick);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        while sent < case.per_tick() * tick {
            let next = turn % streams.len();
            sent += streams[next].write(&block)? as u64;
            turn += 1;
        }
    }
    Ok((cpu_time(ClockId::ThreadCPUTime) - before, sent, streams))
}

/// Between two looks whether all is over.
const TURN: Duration = Duration::from_millis(20);
