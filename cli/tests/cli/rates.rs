//! Servers with rate limits.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

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

#[test]
fn a_server_tells_what_it_moved_beside_what_it_promised() {
    let limits: [(&[&str], &[&str]); 3] = [
        (&["--limit", "1MB/s"], &[", each ", " of 1 MB/s (8 Mbit/s)"]),
        (&["--group-limit", "2MB/s"], &[", all together ", " of 2 MB/s (16 Mbit/s), held back for "]),
        (
            &["--limit", "1MB/s", "--group-limit", "2MB/s"],
            &[", all together ", " of 2 MB/s (16 Mbit/s), each ", " of 1 MB/s (8 Mbit/s), held back for "],
        ),
    ];
    for (limits, told) in limits {
        for locking in LOCKINGS {
            let server = Server::start("echo", &[locking, limits].concat());
            talk(&server, 50_000);
            talk(&server, 73_000);
            server.signal(rustix::process::Signal::TERM);
            let farewell = server.farewell();
            let [_, read, write] = farewell.lines().collect::<Vec<_>>()[..] else { panic!("{farewell}") };
            for (line, beginning) in [(read, "  in   123 kB"), (write, "  out  123 kB")] {
                assert!(line.starts_with(beginning), "{farewell}");
                let rest = told.iter().try_fold(line, |line, words| Some(line.split_once(words)?.1));
                assert!(rest.is_some(), "{told:?}: {farewell}");
            }
        }
    }
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
    server.signal(rustix::process::Signal::TERM);
    let (began, mut rest) = (Instant::now(), Vec::new());
    stream.read_to_end(&mut rest).unwrap();
    let burst = Duration::from_millis(200);
    assert!(rest.len() as f64 <= 1e6 * (began.elapsed() + burst).as_secs_f64() + 100_000.0);
    drop(stream);
    let farewell = server.farewell();
    assert!(farewell.starts_with("1 connection ended, 1 of them clean; 0 B not sent\n"), "{farewell}");
}
