//! The programs that `compare` starts, and ends whatever happens.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::{Bench, Load, Server};
use crate::Mode;
use crate::drive::{Limit, Report};

/// A child process whose lines are read; it is killed when dropped.
struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// A server that listens.
pub(super) struct Listening {
    name: String,
    program: Program,
    address: SocketAddr,
}

/// A client whose connections are up.
pub(super) struct Ready {
    program: Program,
    stdin: Option<ChildStdin>,
    patience: Duration,
}

impl Listening {
    /// Starts `server` behind the words of `wrapper` (a tracer, say) and waits for its `listening on` line.
    pub(super) fn start(bench: &Bench, server: &Server, mode: Mode, wrapper: &[String]) -> io::Result<Self> {
        let words: Vec<String> = wrapper.iter().cloned().chain(bench.command(server, mode)).collect();
        let mut program = Program::start(&words, bench.verbose, Stdio::null())?;
        let line = program.line(START_PATIENCE)?;
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| io::Error::other(format!("{}: first line is {line:?}", server.name)))?;
        Ok(Self { name: server.name.clone(), program, address })
    }

    /// Returns the process.
    pub(super) fn pid(&self) -> u32 {
        self.program.child.id()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// It did not end by itself, or not with exit code 0.
    pub(super) fn stop(mut self) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}; --verbose shows what it wrote", self.name))
        };
        kill_process(pid, Signal::TERM).map_err(|errno| named(errno.into()))?;
        self.program.end(STOP_PATIENCE).map_err(named)
    }
}

impl Ready {
    /// Starts a client of `server` and waits until its connections are up and warm.
    pub(super) fn start(bench: &Bench, server: &Listening, load: &Load) -> io::Result<Self> {
        let words = client_command(bench, server.address, load);
        let mut program = Program::start(&words, true, Stdio::piped())?;
        let stdin = program.child.stdin.take();
        let patience = PATIENCE + load.warmup + duration(load.limit);
        let line = program.line(patience)?;
        if line.trim() != "ready" {
            return Err(io::Error::other(format!("the client said {line:?}")));
        }
        Ok(Self { program, stdin, patience })
    }

    /// Applies the load. The connections stay.
    pub(super) fn load(&mut self) -> io::Result<Report> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(b"go\n")?;
        Report::parse(&self.program.line(self.patience)?)
    }

    /// Closes the connections and waits for the client to end.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.stdin = None;
        self.program.end(STOP_PATIENCE)
    }
}

impl Program {
    fn start(words: &[String], verbose: bool, stdin: Stdio) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(if verbose { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, lines: BufReader::new(stdout) })
    }

    /// Waits for a line. An empty one means the program has ended.
    fn line(&mut self, patience: Duration) -> io::Result<String> {
        if self.lines.buffer().is_empty() {
            let mut fds = [PollFd::from_borrowed_fd(self.lines.get_ref().as_fd(), PollFlags::IN)];
            let timeout =
                Timespec { tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
            if poll(&mut fds, Some(&timeout))? == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a program said nothing"));
            }
        }
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }

    fn end(&mut self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(io::Error::other(format!("a program ended with {status}")))
                };
            }
            sleep(Duration::from_millis(2));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "a program did not end"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn client_command(bench: &Bench, address: SocketAddr, load: &Load) -> Vec<String> {
    let mut words = vec![bench.bin().join("drive").to_string_lossy().into_owned(), "--staged".to_owned()];
    let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    option("connect", address.to_string());
    option("mode", load.mode.to_string());
    option("connections", load.connections.to_string());
    option("size", load.size.to_string());
    option("warmup", load.warmup.as_secs_f64().to_string());
    match load.limit {
        Limit::Time(time) => option("duration", time.as_secs_f64().to_string()),
        Limit::Requests(requests) => option("requests", requests.to_string()),
    }
    words.extend(load.tls.then(|| "--tls".to_owned()));
    words
}

fn duration(limit: Limit) -> Duration {
    match limit {
        Limit::Time(time) => time,
        Limit::Requests(_) => Duration::from_secs(120),
    }
}

const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Beyond the load itself.
const PATIENCE: Duration = Duration::from_secs(30);
