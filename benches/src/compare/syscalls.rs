//! System calls per operation, counted by `strace`.
//!
//! Two fresh servers, one under R requests and one under twice as many; the difference over R leaves out start, accept
//! and end. `strace` slows the server down so much that all connections are always ready: this is the count at the
//! largest batch. With one connection it is the count at the smallest.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs, process};

use super::program::{Listening, Ready};
use super::{Bench, Load, Server};
use crate::drive::Limit;
use crate::json::Object;

/// Calls per operation.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The server's name.
    pub name: String,
    /// By name of the system call.
    pub each: BTreeMap<String, f64>,
}

/// Counts what `server` calls per operation of `load`.
///
/// * `requests`: R; `load.limit` is not used.
///
/// Returns `None` when there is no `strace`.
pub fn measure(bench: &Bench, server: &Server, load: &Load, requests: u64) -> io::Result<Option<Calls>> {
    if !exists("strace") {
        return Ok(None);
    }
    let once = count(bench, server, load, requests)?;
    let twice = count(bench, server, load, requests * 2)?;
    let mut each = BTreeMap::new();
    for (name, calls) in twice {
        let more = calls - once.get(&name).copied().unwrap_or(0.0);
        if more != 0.0 {
            each.insert(name, more / requests as f64);
        }
    }
    Ok(Some(Calls { name: server.name.clone(), each }))
}

impl Calls {
    /// Returns all calls per operation.
    pub fn total(&self) -> f64 {
        self.each.values().sum()
    }

    /// Returns the calls per operation of all that `names` has.
    pub fn of(&self, names: &[&str]) -> f64 {
        names.iter().filter_map(|&name| self.each.get(name)).sum()
    }

    /// Returns the waits per operation.
    pub fn waits(&self) -> f64 {
        self.of(&["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"])
    }

    /// Returns the calls as `name count` pairs, those below one in a thousand operations left out.
    pub fn listing(&self) -> String {
        let shown = self.each.iter().filter(|&(_, &count)| count.abs() >= 0.001);
        shown.map(|(name, count)| format!("{name} {count:.3}")).collect::<Vec<_>>().join(", ")
    }

    /// Returns the calls as a JSON object.
    pub fn to_json(&self) -> String {
        let each = self.each.iter().fold(Object::new(), |object, (name, &count)| object.number(name, count));
        Object::new()
            .text("name", &self.name)
            .number("per_operation", self.total())
            .raw("each", &each.finish())
            .finish()
    }
}

/// Reports whether `tool` can be started.
pub(super) fn exists(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs `server` behind `wrapper` under `requests` requests.
pub(super) fn run_wrapped(
    bench: &Bench,
    server: &Server,
    load: &Load,
    requests: u64,
    wrapper: &[String],
) -> io::Result<()> {
    let load = Load { limit: Limit::Requests(requests), warmup: Duration::ZERO, ..load.clone() };
    let listening = Listening::start(bench, server, load.mode, wrapper)?;
    let mut client = Ready::start(bench, &listening, &load)?;
    let report = client.load()?;
    client.close()?;
    listening.stop()?;
    if report.errors > 0.0 {
        return Err(io::Error::other(format!("{}: {} errors", server.name, report.errors)));
    }
    Ok(())
}

/// A file for a tool's output; it is removed when dropped.
pub(super) struct ScratchFile(PathBuf);

impl ScratchFile {
    /// Names a file that no other process uses.
    pub(super) fn new(tool: &str, requests: u64) -> Self {
        Self(env::temp_dir().join(format!("compare-{}-{tool}-{requests}", process::id())))
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn count(bench: &Bench, server: &Server, load: &Load, requests: u64) -> io::Result<BTreeMap<String, f64>> {
    let file = ScratchFile::new("strace", requests);
    let path = file.path().to_string_lossy().into_owned();
    // With -D the tracer is the grandchild: the process we started is the server, and gets our signal.
    let wrapper = ["strace", "-D", "-f", "-c", "-o", &path].map(str::to_owned);
    run_wrapped(bench, server, load, requests, &wrapper)?;
    Ok(parse(&summary(file.path())?))
}

/// Waits for the tracer, which ends after the server, to write its table.
fn summary(file: &Path) -> io::Result<String> {
    for _ in 0..500 {
        let table = fs::read_to_string(file).unwrap_or_default();
        if table.trim_end().ends_with("total") {
            return Ok(table);
        }
        sleep(Duration::from_millis(10));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "strace wrote no summary"))
}

fn parse(table: &str) -> BTreeMap<String, f64> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = *words.last()?;
        let calls = words.get(3)?.parse().ok()?;
        (name != "total").then(|| (name.to_owned(), calls))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_understood() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     50.00    0.000100           1       200           sendto\n \
                     50.00    0.000100           1       210        10 recvfrom\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000200           0       410        10 total\n";
        let calls = parse(table);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls["sendto"], 200.0);
        assert_eq!(calls["recvfrom"], 210.0);
    }
}
