//! Running the program: started, watched, and ended whatever happens.

use std::{
    fmt::Display,
    io::{BufRead as _, BufReader, Read, Write as _},
    iter,
    net::{SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent_sync::{Condvar, Mutex};
use rustix::{
    net::{AddressFamily, SocketType, bind, getsockname, listen, socket},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid},
};

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
        Self::spawn(command.stdin(Stdio::null()))
    }

    pub(crate) fn start_with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut process = Self::spawn(command.stdin(Stdio::piped()));
        let input = process.child.stdin.take().unwrap();
        (process, input)
    }

    fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
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

    /// The memory that is its own, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
    }

    /// What the process writes to stdout, where that is a pipe.
    pub(crate) fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    /// What the process writes to stderr, where that is a pipe.
    pub(crate) fn stderr(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.child.stderr.take().unwrap())
    }

    /// Gives it the signal again and again until it ends.
    pub(crate) fn insist(&mut self, signal: Signal) -> ExitStatus {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while waitid(WaitId::Pid(self.pid), ended).unwrap().is_none() {
            self.signal(signal);
            thread::sleep(Duration::from_millis(100));
        }
        self.wait()
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

/// An address at which a connect is not answered, neither way, as long as these are kept.
pub(crate) fn mute() -> (SocketAddr, Vec<OwnedFd>) {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    let address = getsockname(&listener).unwrap().try_into().unwrap();
    // Its queue is full when one has to wait: a connect on loopback takes no time else.
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).map(OwnedFd::from);
    let queued: Vec<OwnedFd> = iter::repeat_with(connect).map_while(Result::ok).take(64).collect();
    assert!(queued.len() < 64, "the queue has no end");
    (address, [listener].into_iter().chain(queued).collect())
}

/// The program with these arguments, to be started.
pub(crate) fn bev(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bev"));
    command.args(args);
    command
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    output_of(command, Stdio::null())
}

/// The same of one that reads `input`.
pub(crate) fn output_of(command: &mut Command, input: Stdio) -> Output {
    let command = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(command);
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

/// An output that nobody reads.
pub(crate) fn unheard() -> Stdio {
    let (ours, _) = UnixStream::pair().unwrap();
    OwnedFd::from(ours).into()
}

/// An output that takes nothing more, as long as the other end is kept.
pub(crate) fn stuck() -> (Stdio, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while ours.write(&[b'x'; 4_096]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    (OwnedFd::from(ours).into(), theirs)
}

/// A stream on which nothing takes longer than it may.
pub(crate) fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// What `read` has left, as text.
pub(crate) fn rest(mut read: impl Read) -> String {
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    text
}

/// What a server has left to say on stderr, but for what has gone as it should.
pub(crate) fn warnings(stderr: impl Read) -> String {
    rest(stderr).split_inclusive('\n').filter(|line| !line.starts_with("notice: ")).collect()
}

/// What comes before the connection is reset, which is no end.
pub(crate) fn cut(mut read: impl Read) -> String {
    let mut text = Vec::new();
    let error = read.read_to_end(&mut text).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "after {} bytes", text.len());
    String::from_utf8(text).unwrap()
}

fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server on a free port.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// What it told first.
    pub(crate) first: String,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `bev KIND --listen 127.0.0.1:0 ARGS`, and waits for its first line.
    pub(crate) fn start(kind: &str, args: &[&str]) -> Self {
        Self::watch(bev(&[kind, "--listen", "127.0.0.1:0"]).args(args))
    }

    /// Starts a proxy to `upstream`, with a stderr to read.
    pub(crate) fn proxy(upstream: impl Display, args: &[&str]) -> Self {
        let upstream = upstream.to_string();
        let mut command = bev(&["proxy", "--listen", "127.0.0.1:0", "--upstream", &upstream]);
        Self::watch(command.args(args).stderr(Stdio::piped()))
    }

    /// Starts a server that may have `files` open, with a stderr to read.
    pub(crate) fn start_with_files(files: u32, kind: &str, args: &str) -> Self {
        let script = format!("ulimit -n {files} && exec \"$BEV\" {kind} --listen 127.0.0.1:0 {args}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("BEV", env!("CARGO_BIN_EXE_bev"));
        Self::watch(command.stderr(Stdio::piped()))
    }

    pub(crate) fn watch(command: &mut Command) -> Self {
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut stdout = process.stdout();
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        // A self-signed one tells its fingerprint behind it, in JSON on the same line.
        let in_json = first.strip_prefix("{\"listening\":\"").and_then(|rest| rest.split('"').next());
        let address = in_json.or_else(|| first.strip_prefix("listening on ").map(str::trim_end));
        let address = address.unwrap_or_else(|| panic!("the first line of {command:?} is {first:?}"));
        let address = address.parse().unwrap();
        Self { process, address, first, stdout }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        bounded(TcpStream::connect(self.address).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its good end; answers its last words.
    pub(crate) fn farewell(mut self) -> String {
        assert_eq!(self.process.wait().code(), Some(0));
        rest(self.stdout)
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
