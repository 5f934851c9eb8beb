//! Running the program: started, watched, and ended whatever happens.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent_sync::{Condvar, Mutex};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// After this a process is killed, and so is the test that waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A process that is killed when it takes too long.
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    over: Arc<Over>,
}

#[derive(Default)]
struct Over {
    is_over: Mutex<bool>,
    told: Condvar,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let over = Arc::new(Over::default());
        let watched = Arc::clone(&over);
        thread::spawn(move || {
            let deadline = Instant::now() + LIMIT;
            let mut is_over = watched.is_over.lock();
            while !*is_over {
                if watched.told.wait_until(&mut is_over, deadline).timed_out() {
                    // Not reaped before `is_over` is set under the lock that is held here: the number is still its own.
                    let _ = kill_process(pid, Signal::KILL);
                    return;
                }
            }
        });
        Self { child, pid, over }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Leaves the process to be reaped, so that its number stays its own until the watcher is gone.
        waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        *self.over.is_over.lock() = true;
        self.over.told.notify_all();
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !*self.over.is_over.lock() {
            let _ = kill_process(self.pid, Signal::KILL);
            self.wait();
        }
    }
}

/// The program with these arguments, to be started.
pub(crate) fn bev(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bev"));
    command.args(args);
    command
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    let mut process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut out = process.child.stdout.take().unwrap();
    let mut err = process.child.stderr.take().unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| out.read_to_end(&mut stdout).unwrap());
        err.read_to_end(&mut stderr).unwrap();
    });
    Output { status: process.wait(), stdout, stderr }
}

/// Runs the program to its end: exit code, stdout, stderr.
pub(crate) fn run(args: &[&str]) -> (Option<i32>, String, String) {
    texts(output(&mut bev(args)))
}

/// The same of a shell script, in which `$BEV` is the program.
pub(crate) fn shell(script: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("sh");
    texts(output(command.args(["-c", script]).env("BEV", env!("CARGO_BIN_EXE_bev"))))
}

fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server on a free port.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `bev KIND --listen 127.0.0.1:0 ARGS`, and waits for its first line.
    pub(crate) fn start(kind: &str, args: &[&str]) -> Self {
        let mut command = bev(&[kind, "--listen", "127.0.0.1:0"]);
        let mut process = Process::start(command.args(args).stdout(Stdio::piped()));
        let mut stdout = BufReader::new(process.child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let address = first.strip_prefix("listening on ").map(str::trim_end);
        let address = address.unwrap_or_else(|| panic!("the first line of {kind} {args:?} is {first:?}"));
        Self { process, address: address.parse().unwrap(), _stdout: stdout }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end; answers the exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.process.wait().code()
    }

    /// Ends it as an operator does.
    pub(crate) fn end(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), Some(0));
    }
}
