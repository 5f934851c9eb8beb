//! Servers with rate limits.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::Server;

const LOCKINGS: [&[&str]; 3] =
    [&["--bases", "2"], &["--threadsafe"], &["--threadsafe", "--defer", "--unlocked"]];

/// Reads `bytes`, and answers the greatest excess over `rate` bytes per second since `began`, in bytes.
fn read_watching(stream: &mut TcpStream, bytes: usize, rate: f64, began: Instant) -> f64 {
    let (mut came, mut excess) = (0, 0.0_f64);
    let mut block = vec![0; 16 * 1024];
    while came < bytes {
        let n = stream.read(&mut block[..(bytes - came).min(16 * 1024)]).unwrap();
        assert_ne!(n, 0, "the server hung up");
        came += n;
        excess = excess.max(came as f64 - rate * began.elapsed().as_secs_f64());
    }
    excess
}

// The burst is four ticks' worth: 80 ms.
#[test]
fn each_connection_gets_no_more_than_its_limit() {
    for locking in LOCKINGS {
        let began = Instant::now();
        let server = Server::start("source", &[locking, &["--limit", "2MB/s", "--tick", "20ms"]].concat());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let excess = read_watching(&mut server.connect(), 400_000, 2e6, began);
                    assert!(excess <= 160_000.0, "{locking:?}: {excess}");
                });
            }
        });
        server.end();
    }
}

#[test]
fn all_connections_together_get_no_more_than_the_limit_of_all() {
    for locking in LOCKINGS {
        let began = Instant::now();
        let rates = ["--group-limit", "16Mbit/s", "--tick", "20ms", "--min-share", "1000"];
        let server = Server::start("source", &[locking, &rates].concat());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| read_watching(&mut server.connect(), 100_000, 2e6, began));
            }
        });
        let took = began.elapsed().as_secs_f64();
        assert!(400_000.0 <= 2e6 * took + 160_000.0, "{locking:?}: all of it in {took} s");
        server.end();
    }
}

/// Sends `len` bytes and wants them back.
fn talk(server: &Server, len: usize) {
    let mut stream = server.connect();
    let sent: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    stream.write_all(&sent).unwrap();
    let mut back = vec![0; len];
    stream.read_exact(&mut back).unwrap();
    assert!(back == sent);
}

/// What a server says of a direction when it ends: its line, and those of the limits below it.
fn told<'a>(farewell: &'a str, direction: &str) -> Vec<&'a str> {
    let mut lines = farewell.lines().skip_while(|line| line.split_whitespace().next() != Some(direction));
    let first = lines.next().unwrap_or_else(|| panic!("no {direction}: {farewell}"));
    [first].into_iter().chain(lines.take_while(|line| line.starts_with("    "))).collect()
}

fn farewell_after(server: Server, talks: impl FnOnce(&Server)) -> String {
    talks(&server);
    server.signal(Signal::TERM);
    server.farewell()
}

#[test]
fn a_server_tells_what_it_moved_beside_what_it_promised() {
    let limits: [(&[&str], &[&str]); 3] = [
        (&["--limit", "1MB/s"], &["    each          "]),
        (&["--group-limit", "1MB/s"], &["    all together  "]),
        (&["--limit", "1MB/s", "--group-limit", "1MB/s"], &["    all together  ", "    each          "]),
    ];
    for (limits, names) in limits {
        for locking in LOCKINGS {
            let server = Server::start("echo", &[locking, limits].concat());
            let farewell = farewell_after(server, |server| {
                talk(server, 50_000);
                talk(server, 73_000);
            });
            for direction in ["in", "out"] {
                let lines = told(&farewell, direction);
                assert!(lines[0].ends_with("  123 kB"), "{farewell}");
                assert_eq!(lines.len(), 1 + names.len(), "{farewell}");
                for (line, name) in lines[1..].iter().zip(names) {
                    assert!(line.starts_with(name) && line.contains(" of 1 MB/s (8 Mbit/s), "), "{farewell}");
                }
            }
        }
    }
}

/// The rate in a line such as `each          99.8 kB/s of 100 kB/s (800 kbit/s)`, in kB/s.
fn kilobytes(line: &str) -> f64 {
    let (reached, _) = line.split_once(" kB/s of ").unwrap_or_else(|| panic!("{line}"));
    reached.split_whitespace().last().unwrap().parse().unwrap()
}

/// A tick's worth and what was kept go at once: the shorter a connection, the higher was its mean rate.
#[test]
fn bursts_are_told_apart_from_the_rate() {
    for (limit, line) in [("--limit", "each"), ("--group-limit", "all together")] {
        let server = Server::start("echo", &[limit, "100kB/s"]);
        let farewell = farewell_after(server, |server| talk(server, 40_000));
        let lines = told(&farewell, "in");
        assert!(lines[1].trim_start().starts_with(line) && lines[1].contains(" in bursts"), "{farewell}");
        // The clock of the server is read when it runs, which may be late by a part of a tick.
        assert!(kilobytes(lines[1]) <= 125.0, "{farewell}");
        assert_eq!(lines[1].contains(", held back for "), limit == "--group-limit", "{farewell}");
    }
}

#[test]
fn who_was_never_held_back_is_not_told_for_how_long() {
    let server = Server::start("echo", &["--group-limit", "100MB/s"]);
    let farewell = farewell_after(server, |server| talk(server, 1_000));
    assert!(!farewell.contains("held back"), "{farewell}");
    let [_, line] = told(&farewell, "in")[..] else { panic!("{farewell}") };
    assert_eq!(line, "    all together  no more than bursts of 100 MB/s (800 Mbit/s), 1.00 kB in bursts");
}

#[test]
fn what_a_close_drops_is_told_and_no_part_of_the_rate() {
    let server = Server::start("echo", &["--limit", "100kB/s"]);
    let mut stream = server.connect();
    stream.write_all(&[7; 200_000]).unwrap();
    stream.read_exact(&mut [0; 10_000]).unwrap();
    server.signal(Signal::TERM);
    let _ = stream.read_to_end(&mut Vec::new());
    drop(stream);
    let farewell = server.farewell();
    let lines = told(&farewell, "in");
    assert!(lines[0].ends_with(" of it dropped in closing"), "{farewell}");
    assert!(lines[1].contains(" no more than bursts ") || kilobytes(lines[1]) <= 125.0, "{farewell}");
}

/// Ticks are longer than what a connection may be idle.
#[test]
fn a_connection_that_waits_for_its_limit_is_not_idle() {
    for limit in ["--limit", "--group-limit"] {
        for locking in LOCKINGS {
            let held = [limit, "5000", "--tick", "200ms", "--idle", "100ms"];
            let server = Server::start("echo", &[locking, &held].concat());
            talk(&server, 3_000);
            server.end();
        }
    }
}

/// What is held back at the end goes out at the limit, for the grace at most.
#[test]
fn a_drain_keeps_to_the_limit() {
    let server = Server::start("source", &["--limit", "1MB/s"]);
    let mut stream = server.connect();
    stream.read_exact(&mut [0; 1_000]).unwrap();
    server.signal(Signal::TERM);
    let (began, mut rest) = (Instant::now(), Vec::new());
    stream.read_to_end(&mut rest).unwrap();
    let burst = Duration::from_millis(200);
    assert!(rest.len() as f64 <= 1e6 * (began.elapsed() + burst).as_secs_f64() + 100_000.0);
    drop(stream);
    let farewell = server.farewell();
    assert!(farewell.starts_with("1 connection ended, 1 of them clean; 0 B not sent\n"), "{farewell}");
}
