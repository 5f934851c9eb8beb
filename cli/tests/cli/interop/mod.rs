//! The program and those of others, over TLS and without.

mod curl;
mod gnutls;
mod openssl;
mod redis;

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::support::{Process, output};

/// Whether a program is missing that a test needs. Then it is skipped: it says so, and `make test` counts it.
fn lacks(programs: &[&str]) -> bool {
    let Some(missing) = programs.iter().find(|program| !is_there(program)) else { return false };
    let told = format!("{}: no {missing}", thread::current().name().unwrap_or("a test"));
    eprintln!("SKIP: {told}");
    if let Some(file) = env::var_os("SKIPPED_TESTS") {
        note(Path::new(&file), &told);
    }
    true
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Adds a line to a file that other tests write to as well.
fn note(file: &Path, told: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(file).unwrap();
    file.write_all(format!("{told}\n").as_bytes()).unwrap();
}

/// An address of this machine that is free, for a program that cannot tell which it took.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until a program listens.
fn await_listener(port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::yield_now();
    }
}

/// Lines of small letters, which nothing takes for a command.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| if at % 61 == 60 { b'\n' } else { b'a' + (at % 26) as u8 }).collect()
}

/// Has a program send text to an echo, and ends its input when all of it is back; it must succeed.
fn talk_by(command: &mut Command, sent: &[u8]) {
    let shown = format!("{command:?}");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut process, mut input) = Process::start_with_input(command);
    let (mut out, err) = (process.stdout(), process.stderr());
    let mut back = vec![0; sent.len()];
    let read = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            // One that has ended says why.
            let _ = input.write_all(sent);
        });
        let read = out.read_exact(&mut back);
        writer.join().unwrap();
        read
    });
    drop(input);
    let (status, told) = (process.wait(), crate::support::rest(err));
    assert!(read.is_ok() && back == sent, "{shown}: {read:?}: {told}");
    assert!(status.success(), "{shown}: {told}");
}

#[test]
fn a_test_that_is_skipped_is_counted() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skipped-{}", std::process::id()));
    let told = || {
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/skipped.sh"));
        String::from_utf8(output(script.env("SKIPPED_TESTS", &file)).stdout).unwrap()
    };
    assert_eq!(told(), "tests skipped: 0\n");
    File::create(&file).unwrap();
    assert_eq!(told(), "tests skipped: 0\n");
    note(&file, "two: no curl");
    note(&file, "one: no openssl");
    assert_eq!(told(), "tests skipped: 2\n  one: no openssl\n  two: no curl\n");
    fs::remove_file(&file).unwrap();
}
