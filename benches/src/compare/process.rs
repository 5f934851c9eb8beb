//! What the kernel says a process has used: `/proc/PID`.

use std::io;
use std::{fs, path::Path};

/// CPU time of a process by the kernel's clock tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ticks {
    /// Seconds in user mode.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub sys_s: f64,
}

/// CPU time of a process, to the nanosecond where the kernel says it.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    /// Of the threads there are; 0 where the kernel does not account it.
    threads_ns: f64,
    /// Of all threads there ever were, but by the tick.
    ticks_ns: f64,
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// All resident pages.
    pub rss: f64,
    /// The process's share of them.
    pub pss: f64,
}

impl CpuTime {
    /// Reads the CPU time of `pid` so far. Exact while its threads sleep.
    pub fn of(pid: u32) -> io::Result<Self> {
        let ticks = ticks(pid)?;
        Ok(Self { threads_ns: threads_ns(pid)?, ticks_ns: (ticks.user_s + ticks.sys_s) * 1e9 })
    }

    /// Returns the nanoseconds used by the threads there are.
    pub fn ns(self) -> f64 {
        self.threads_ns
    }

    /// Returns the nanoseconds used since `earlier`. A thread that ended in between takes its exact time with it;
    /// where the ticks show that, they are returned.
    pub fn since(self, earlier: Self) -> f64 {
        let exact = self.threads_ns - earlier.threads_ns;
        let coarse = self.ticks_ns - earlier.ticks_ns;
        if coarse > exact * 1.05 + TICKS_OF_DOUBT_NS { coarse } else { exact }
    }
}

/// Reads user and system time of `pid`, all its threads together.
pub fn ticks(pid: u32) -> io::Result<Ticks> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&stat).ok_or_else(|| invalid("stat", &stat))
}

/// Reads the resident memory of `pid`.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| rollup.lines().find_map(|line| parse_kib(line, name));
    match (field("Rss:"), field("Pss:")) {
        (Some(rss), Some(pss)) => Ok(Memory { rss, pss }),
        _ => Err(invalid("smaps_rollup", &rollup)),
    }
}

fn threads_ns(pid: u32) -> io::Result<f64> {
    let mut total = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        total += thread_ns(&task?.path()).unwrap_or(0.0);
    }
    Ok(total)
}

fn thread_ns(task: &Path) -> Option<f64> {
    let line = fs::read_to_string(task.join("schedstat")).ok()?;
    line.split_whitespace().next()?.parse().ok()
}

fn parse_stat(stat: &str) -> Option<Ticks> {
    // The second field is the program's name in brackets, which may hold anything; 14 and 15 are wanted.
    let fields = &stat[stat.rfind(')')? + 1..];
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, sys) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(Ticks { user_s: user / USER_HZ, sys_s: sys / USER_HZ })
}

fn parse_kib(line: &str, name: &str) -> Option<f64> {
    line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn invalid(file: &str, content: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cannot make sense of {file}: {content:?}"))
}

const TICKS_OF_DOUBT_NS: f64 = 40_000_000.0;
/// Part of Linux's interface to programs, whatever the kernel's own tick is.
const USER_HZ: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 200 300 0 0 20 0 1 0";
        assert_eq!(parse_stat(stat), Some(Ticks { user_s: 2.0, sys_s: 3.0 }));
    }

    #[test]
    fn this_process_has_used_something() {
        let before = CpuTime::of(std::process::id()).expect("proc is mounted");
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(20) {}
        let after = CpuTime::of(std::process::id()).expect("proc is mounted");
        assert!(after.since(before) > 1e6);
        assert!(memory(std::process::id()).expect("proc is mounted").rss > 100.0);
    }
}
