//! User instructions per operation, counted by callgrind.
//!
//! As with system calls: the difference between a run of R and one of twice as many requests, over R. Where several workers wake,
//! wait for and steal from each other, that differs between runs by more than most of what one would like to tell: then only
//! what is executed [`Within`] a function can be counted, with all that it calls.

use std::fs;
use std::io;

use super::syscalls::{ScratchFile, exists, run_wrapped};
use super::{Bench, Load, Server};
use crate::json::Object;

/// User instructions per operation.
#[derive(Clone, Debug)]
pub struct Instructions {
    /// The server's name.
    pub name: String,
    /// User instructions per operation, all threads together.
    pub each: f64,
}

/// What of a server is counted.
#[derive(Clone, Copy, Debug)]
pub enum Within {
    /// All of it.
    All,
    /// What functions execute whose names match this pattern of callgrind's (`*` and `?`), and those they call.
    Functions(&'static str),
}

/// Counts what `server` executes per operation of `load`.
///
/// * `requests`: R; `load.limit` is not used.
///
/// Returns `None` when there is no `valgrind`.
pub fn measure(
    bench: &Bench,
    server: &Server,
    load: &Load,
    requests: u64,
    within: Within,
) -> io::Result<Option<Instructions>> {
    if !exists("valgrind") {
        return Ok(None);
    }
    let once = count(bench, server, load, requests, within)?;
    let twice = count(bench, server, load, requests * 2, within)?;
    Ok(Some(Instructions { name: server.name.clone(), each: (twice - once) / requests as f64 }))
}

impl Instructions {
    /// Returns the count as a JSON object.
    pub fn to_json(&self) -> String {
        Object::new().text("name", &self.name).number("user_instructions_per_operation", self.each).finish()
    }
}

fn count(bench: &Bench, server: &Server, load: &Load, requests: u64, within: Within) -> io::Result<f64> {
    let file = ScratchFile::new("callgrind", requests);
    let out = format!("--callgrind-out-file={}", file.path().display());
    let mut wrapper = Vec::from(["valgrind", "--tool=callgrind", &out].map(str::to_owned));
    if let Within::Functions(pattern) = within {
        wrapper.push(format!("--toggle-collect={pattern}"));
    }
    run_wrapped(bench, server, load, requests, &wrapper)?;
    let counted = total(&fs::read_to_string(file.path())?).filter(|&total| total > 0.0);
    counted.ok_or_else(|| io::Error::other(format!("callgrind has counted nothing of {within:?}")))
}

fn total(profile: &str) -> Option<f64> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_callgrind_is_found() {
        assert_eq!(total("events: Ir\nfn=(1) main\n1 10\n\ntotals: 12345\n"), Some(12345.0));
        assert_eq!(total("events: Ir\n"), None);
    }
}
