//! The servers, as peers and operators see them.

use std::{
    io::{BufRead as _, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::proxy::line;
use crate::support::{LIMIT, Process, Server, bev, rest, unheard, warnings};
use rustix::process::Signal;

/// Bytes after which the source repeats itself.
const PERIOD: usize = 65_521;

/// What the source begins with.
const BEGINNING: [u8; 8] = [0xae, 0xb9, 0x91, 0x0c, 0xe0, 0xce, 0x44, 0x2e];

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Sends `len` bytes, ends its side, and wants all of them back and then the end.
pub(crate) fn talk_to_echo(mut stream: TcpStream, len: usize) {
    let sent = pattern(len);
    let mut back = Vec::new();
    thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut back).unwrap();
    });
    assert!(back == sent, "{} bytes came back of {len}", back.len());
}

fn talk_to_sink(mut stream: TcpStream, len: usize) {
    stream.write_all(&pattern(len)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
}

pub(crate) fn talk_to_source(stream: &mut TcpStream, len: usize) {
    let mut came = vec![0; len];
    stream.read_exact(&mut came).unwrap();
    assert_eq!(came[..8], BEGINNING);
    assert!((PERIOD..len).all(|i| came[i] == came[i - PERIOD]));
}

fn talk(kind: &str, server: &Server) {
    match kind {
        "echo" => talk_to_echo(server.connect(), 300_000),
        "sink" => talk_to_sink(server.connect(), 300_000),
        _ => talk_to_source(&mut server.connect(), 300_000),
    }
}

#[test]
fn every_option_set_serves_and_ends() {
    let locking: &[&[&str]] = &[
        &[],
        &["--defer"],
        &["--defer", "--unlocked"],
        &["--threadsafe"],
        &["--threadsafe", "--defer"],
        &["--threadsafe", "--defer", "--unlocked"],
    ];
    let shapes: &[&[&str]] = &[
        &[],
        &["--workers", "1"],
        &["--workers", "2", "--bases", "1"],
        &["--workers", "2", "--bases", "4"],
        &["--workers", "2", "--pinned"],
    ];
    for kind in ["echo", "sink", "source"] {
        for locking in locking {
            for shape in shapes {
                let args = [*locking, *shape].concat();
                let server = Server::start(kind, &args);
                thread::scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| talk(kind, &server));
                    }
                });
                server.end();
            }
        }
    }
}

#[test]
fn port_0_is_told_as_the_real_one() {
    let server = Server::start("echo", &[]);
    assert_ne!(server.address.port(), 0);
    assert!(server.address.ip().is_loopback());
    server.end();
}

/// Writes until nothing goes any more; answers how much went.
pub(crate) fn write_until_stuck(mut stream: &TcpStream, data: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut gone = 0;
    loop {
        match stream.write(&data[gone..]) {
            Ok(n) => gone += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return gone,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn echo_owes_nothing_to_a_peer_that_sends_before_it_reads() {
    // More than both caps and the kernel's buffers hold, so input stays behind.
    let sent = pattern(64 << 20);
    for args in [&[][..], &["--threadsafe"], &["--threadsafe", "--defer", "--unlocked"]] {
        let server = Server::start("echo", args);
        let mut stream = server.connect();
        let gone = write_until_stuck(&stream, &sent);
        assert!(gone < sent.len());
        let mut back = Vec::new();
        thread::scope(|scope| {
            let mut writer = stream.try_clone().unwrap();
            writer.set_write_timeout(Some(LIMIT)).unwrap();
            let rest = &sent[gone..];
            scope.spawn(move || {
                writer.write_all(rest).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            stream.read_to_end(&mut back).unwrap();
        });
        assert!(back == sent, "{args:?}: {} bytes came back", back.len());
        server.end();
    }
}

#[test]
fn a_connection_without_traffic_is_closed() {
    for limit in ["--idle", "--lifetime"] {
        for kind in ["echo", "sink"] {
            let server = Server::start(kind, &[limit, "50ms"]);
            let mut stream = server.connect();
            assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "{limit} {kind}");
            server.end();
        }
    }
}

#[test]
fn both_signals_end_an_idle_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start("echo", &[]);
        server.signal(signal);
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn a_signal_drains_what_is_in_flight() {
    for args in [&[][..], &["--threadsafe"], &["--threadsafe", "--defer", "--unlocked"]] {
        let server = Server::start("source", args);
        let mut stream = server.connect();
        talk_to_source(&mut stream, 1_000);
        server.signal(Signal::TERM);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        // The output is filled by whole periods, so one that was cut off would show.
        assert_eq!((1_000 + rest.len()) % PERIOD, 0);
        drop(stream);
        assert_eq!(server.farewell(), "1 connection ended, 1 of them clean; 0 B not sent\n");
    }
}

#[test]
fn a_signal_waits_for_a_peer_that_does_not_read_no_longer_than_the_grace() {
    let server = Server::start("echo", &["--grace", "100ms"]);
    let stream = server.connect();
    // So it owes more than the kernel holds.
    assert!(write_until_stuck(&stream, &pattern(64 << 20)) < 64 << 20);
    let began = Instant::now();
    server.signal(Signal::TERM);
    let farewell = server.farewell();
    assert!(farewell.starts_with("1 connection ended, 0 of them clean; "), "{farewell}");
    assert!(!farewell.ends_with(" 0 B not sent\n"), "{farewell}");
    assert!(began.elapsed() < Duration::from_secs(20), "a drain alone would wait for 30 s");
}

#[test]
fn the_end_is_told_on_stderr_when_it_begins_and_when_it_is_over() {
    let echo = Server::start("echo", &[]);
    let upstream = echo.address.to_string();
    for args in [&["echo"][..], &["proxy", "--upstream", &upstream]] {
        let mut command = bev(&[args, &["--listen", "127.0.0.1:0", "--grace", "1m"]].concat());
        let mut server = Server::watch(command.stderr(Stdio::piped()));
        let mut stderr = server.process.stderr();
        let mut streams = [(); 2].map(|()| server.connect());
        for stream in &mut streams {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        server.signal(Signal::TERM);
        // Those of clients, of a proxy too.
        assert_eq!(line(&mut stderr), "notice: draining 2 connections, for 60.0 s at most\n");
        drop(streams);
        server.farewell();
        let told = rest(stderr);
        assert!(told.starts_with("notice: ended after ") && told.lines().count() == 1, "{told}");
    }
    echo.end();
}

#[test]
fn a_server_that_nobody_used_says_that() {
    let server = Server::start("echo", &[]);
    server.signal(Signal::TERM);
    assert_eq!(server.farewell(), "no connection was open\n");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start("echo", &["--grace", "1h"]);
    let stream = server.connect();
    // So it owes more than the kernel holds, and cannot end by itself.
    assert!(write_until_stuck(&stream, &pattern(64 << 20)) < 64 << 20);
    let began = Instant::now();
    assert_eq!(server.process.insist(Signal::INT).code(), Some(128 + 2));
    assert!(began.elapsed() < Duration::from_secs(20), "a drain alone would wait for 30 s");
}

#[test]
fn signals_that_come_together_are_one_wish_to_end() {
    // As of who signals a program and then its group.
    let server = Server::start("echo", &[]);
    let mut stream = server.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    stream.read_to_end(&mut Vec::new()).unwrap();
    drop(stream);
    assert_eq!(server.farewell(), "1 connection ended, 1 of them clean; 0 B not sent\n");
}

#[test]
fn more_connections_than_there_are_descriptors_for_are_told_of_on_stderr() {
    let mut server = Server::start_with_files(32, "echo", "--workers 1");
    let mut stderr = server.process.stderr();
    // More than it may have: it takes half as many as descriptors, and the rest wait in the kernel's queue.
    let peers: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("warning: cannot accept: 16 connections are open"), "{line}");
    drop(peers);
    // It goes on: what is accepted again is served.
    talk_to_echo(server.connect(), 1_000);
    server.end();
    assert!(warnings(stderr).lines().all(|line| line.starts_with("warning: cannot accept: ")));
}

#[test]
fn connections_past_the_limit_wait_for_one_that_ends() {
    let mut command = bev(&["echo", "--listen", "127.0.0.1:0", "--max-connections", "1"]);
    let mut server = Server::watch(command.stderr(Stdio::piped()));
    let mut stderr = server.process.stderr();
    let [first, second] = [(); 2].map(|()| server.connect());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("warning: cannot accept: 1 connections are open"), "{line}");
    talk_to_echo(first, 1_000);
    talk_to_echo(second, 1_000);
    server.end();
}

#[test]
fn memory_that_is_short_is_told_and_nothing_that_was_taken_is_lost() {
    // F33: whoever does not read what is sent back is not read from any more
    let mut command = bev(&["echo", "--listen", "127.0.0.1:0", "--memory", "1MiB", "--workers", "1"]);
    let mut server = Server::watch(command.stderr(Stdio::piped()));
    let mut stderr = server.process.stderr();
    let sent = pattern(16 << 20);
    let streams = [(); 3].map(|()| server.connect());
    let gone = streams.each_ref().map(|stream| write_until_stuck(stream, &sent));
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("warning: memory for buffers is short: "), "{line}");
    for (mut stream, gone) in streams.into_iter().zip(gone) {
        assert!(gone < sent.len());
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut back = vec![0; gone];
        stream.read_exact(&mut back).unwrap();
        assert!(back == sent[..gone]);
    }
    talk_to_echo(server.connect(), 1_000);
    server.end();
}

#[test]
fn a_server_that_nobody_hears_ends_quietly() {
    let mut command = bev(&["echo", "--listen", "127.0.0.1:0"]);
    let mut server = Process::start(command.stdout(unheard()).stderr(Stdio::piped()));
    assert_eq!(rest(server.stderr()), "");
    assert_eq!(server.wait().code(), Some(128 + 13));
}
