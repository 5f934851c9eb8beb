//! The load generator, against our servers and against bad ones.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{Process, Server, bev, mute, rest, run, unheard};

/// A field of a flat JSON object on one line.
pub(crate) fn field<'a>(json: &'a str, name: &str) -> &'a str {
    let key = format!("\"{name}\":");
    let (_, value) = json.split_once(&key).unwrap_or_else(|| panic!("no {name} in {json}"));
    value.split([',', '}']).next().unwrap()
}

pub(crate) fn number(json: &str, name: &str) -> f64 {
    field(json, name).parse().unwrap()
}

fn assert_sane(json: &str, mode: &str, connections: usize) {
    assert_eq!(json.lines().count(), 1, "{json}");
    assert!(json.starts_with('{') && json.ends_with("}\n"), "{json}");
    assert_eq!(field(json, "mode"), format!("\"{mode}\""));
    assert_eq!(number(json, "connected"), connections as f64, "{json}");
    assert_eq!(number(json, "errors"), 0.0, "{json}");
    assert_eq!(number(json, "wrong_bytes"), 0.0, "{json}");
    let (requests, bytes, seconds) =
        (number(json, "requests"), number(json, "bytes"), number(json, "seconds"));
    assert!((0.3..20.0).contains(&seconds), "{json}");
    assert!(requests > 0.0, "{json}");
    assert!(bytes >= requests * number(json, "size_bytes"), "{json}");
    let rate = number(json, "requests_per_second") * seconds / requests;
    assert!((0.98..1.02).contains(&rate), "{json}");
    let (unanswered, oldest) = (number(json, "unanswered"), field(json, "oldest_unanswered_us"));
    assert!(unanswered <= connections as f64, "{json}");
    assert_eq!(unanswered == 0.0, oldest == "null", "{json}");
    let latencies = ["p50_us", "p99_us", "p999_us", "max_us"].map(|name| number(json, name));
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{json}");
}

#[test]
fn a_server_is_reached_by_its_name() {
    let server = Server::start("echo", &["--workers", "1"]);
    let name = format!("localhost:{}", server.address.port());
    let args =
        ["load", "--connect", &name, "--mode", "echo", "--connections", "3", "--duration", "400ms", "--json"];
    let (code, stdout, stderr) = run(&args);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert_sane(&stdout, "echo", 3);
    server.end();
}

#[test]
fn each_mode_measures_its_server_without_an_error() {
    for mode in ["echo", "sink", "source"] {
        let server = Server::start(mode, &["--workers", "2"]);
        let address = server.address.to_string();
        for (connections, size) in [("1", "1"), ("8", "64"), ("3", "1MiB"), ("100", "10kB")] {
            let (code, stdout, stderr) = run(&[
                "load",
                "--connect",
                &address,
                "--mode",
                mode,
                "--connections",
                connections,
                "--size",
                size,
                "--duration",
                "300ms",
                "--json",
            ]);
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{mode} {connections} {size}: {stdout}");
            assert_sane(&stdout, mode, connections.parse().unwrap());
        }
        server.end();
    }
}

#[test]
fn an_echo_of_every_locking_has_no_wrong_byte() {
    for args in [&["--threadsafe"][..], &["--threadsafe", "--defer", "--unlocked"], &["--bases", "4"]] {
        let server = Server::start("echo", &[&["--workers", "2"], args].concat());
        let address = server.address.to_string();
        let load = ["load", "--connect", &address, "--mode", "echo", "--duration", "300ms", "--json"];
        let (code, stdout, stderr) = run(&[&load[..], &["--size", "100kB", "--connections", "20"]].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
        assert_sane(&stdout, "echo", 20);
        server.end();
    }
}

#[test]
fn the_report_for_people_tells_the_same() {
    let server = Server::start("echo", &[]);
    let address = server.address.to_string();
    let (code, stdout, stderr) =
        run(&["load", "--connect", &address, "--mode", "echo", "--duration", "300ms"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in ["requests", "p50", "p99", "p99.9", "unanswered  ", "errors      0", "came back in place"] {
        assert!(stdout.contains(word), "{stdout}");
    }
    server.end();
}

/// A server that does `serve` with one connection.
fn with_peer(serve: impl FnOnce(std::net::TcpStream) + Send, check: impl FnOnce(&str)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::scope(|scope| {
        scope.spawn(move || serve(listener.accept().unwrap().0));
        check(&address);
    });
}

fn load_one(address: &str) -> (Option<i32>, String, String) {
    let load = ["load", "--connect", address, "--mode", "echo", "--connections", "1"];
    run(&[&load[..], &["--duration", "300ms", "--json"]].concat())
}

#[test]
fn one_wrong_byte_fails() {
    let serve = |mut stream: std::net::TcpStream| {
        let mut request = [0; 64];
        stream.read_exact(&mut request).unwrap();
        request[63] ^= 1;
        stream.write_all(&request).unwrap();
        // The client hangs up, with or without the answers it did not read.
        let _ = stream.read(&mut request);
    };
    with_peer(serve, |address| {
        let (code, stdout, stderr) = load_one(address);
        assert_eq!(code, Some(1), "{stdout}");
        assert_eq!(number(&stdout, "wrong_bytes"), 1.0, "{stdout}");
        assert_eq!(number(&stdout, "errors"), 1.0, "{stdout}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    });
}

#[test]
fn a_connection_that_the_server_closes_fails() {
    let serve = |mut stream: std::net::TcpStream| {
        stream.read_exact(&mut [0; 64]).unwrap();
    };
    with_peer(serve, |address| {
        let (code, stdout, stderr) = load_one(address);
        assert_eq!((code, number(&stdout, "errors")), (Some(1), 1.0), "{stdout} {stderr}");
        assert_eq!(number(&stdout, "requests"), 0.0, "{stdout}");
        // It failed: it is told there, and not as unanswered.
        assert_eq!(number(&stdout, "unanswered"), 0.0, "{stdout}");
    });
}

#[test]
fn a_request_without_an_answer_fails() {
    let server = Server::start("sink", &[]);
    let (code, stdout, stderr) = load_one(&server.address.to_string());
    assert_eq!((code, number(&stdout, "errors")), (Some(1), 1.0), "{stdout}");
    assert!(stderr.contains("no answer"), "{stderr}");
    assert_eq!((number(&stdout, "requests"), number(&stdout, "unanswered")), (0.0, 1.0), "{stdout}");
    assert!(number(&stdout, "oldest_unanswered_us") > 0.0, "{stdout}");
    for latency in ["p50_us", "p99_us", "p999_us", "max_us"] {
        assert_eq!(field(&stdout, latency), "null", "{stdout}");
    }
    server.end();
}

/// A server under a limit takes longer for what is under way than there is time at the end.
#[test]
fn a_request_that_is_being_answered_at_the_end_is_cut_off_and_no_failure() {
    for mode in ["echo", "source"] {
        let server = Server::start(mode, &["--limit", "100kB/s", "--tick", "10ms"]);
        let address = server.address.to_string();
        let load =
            ["load", "--connect", &address, "--mode", mode, "--connections", "2", "--duration", "300ms"];
        let (code, stdout, stderr) = run(&[&load[..], &["--size", "16MiB"]].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{mode}: {stdout}");
        assert!(stdout.contains("unanswered  2 at the end, the oldest for "), "{mode}: {stdout}");
        assert!(stdout.contains("; 2 cut off while being answered\n"), "{mode}: {stdout}");
        assert!(stdout.contains("\n  errors      0\n"), "{mode}: {stdout}");
    }
}

#[test]
fn a_load_on_a_server_under_a_limit_ends_well() {
    for mode in ["echo", "source", "sink"] {
        let server = Server::start(mode, &["--limit", "100kB/s", "--group-limit", "150kB/s"]);
        let address = server.address.to_string();
        let load =
            ["load", "--connect", &address, "--mode", mode, "--connections", "3", "--duration", "300ms"];
        let (code, stdout, stderr) = run(&[&load[..], &["--size", "64KiB", "--json"]].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{mode}: {stdout}");
        assert_eq!(
            (number(&stdout, "errors"), number(&stdout, "wrong_bytes")),
            (0.0, 0.0),
            "{mode}: {stdout}"
        );
        let [unanswered, cut_off] = ["unanswered", "cut_off"].map(|name| number(&stdout, name));
        assert!(cut_off <= unanswered && unanswered <= 3.0, "{mode}: {stdout}");
    }
}

#[test]
fn a_stall_shows_in_the_latencies() {
    let serve = |mut stream: std::net::TcpStream| {
        let mut request = [0; 64];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&request).unwrap();
        // The second one is never answered.
        let _ = stream.read_to_end(&mut Vec::new());
    };
    with_peer(serve, |address| {
        let (code, stdout, _) = load_one(address);
        assert_eq!(code, Some(1), "{stdout}");
        assert_eq!((number(&stdout, "requests"), number(&stdout, "unanswered")), (1.0, 1.0), "{stdout}");
        // It was as old when the measurement ended, and older when it was given up.
        assert!(number(&stdout, "max_us") >= number(&stdout, "oldest_unanswered_us"), "{stdout}");
    });
}

#[test]
fn without_an_answer_there_are_no_latencies_to_read() {
    let server = Server::start("sink", &[]);
    let address = server.address.to_string();
    let load = ["load", "--connect", &address, "--mode", "echo", "--connections", "1", "--duration", "100ms"];
    let (_, stdout, _) = run(&load);
    for word in
        ["1 connection, 64 B a request, ", "p50 -   p99 -   p99.9 -   max -", "unanswered  1 at the end"]
    {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    server.end();
}

#[test]
fn a_wrong_byte_of_a_source_is_found() {
    let serve = |mut stream: std::net::TcpStream| {
        let real = Server::start("source", &[]);
        let mut came = [0; 100_000];
        real.connect().read_exact(&mut came).unwrap();
        real.end();
        came[99_999] ^= 1;
        // What the client does not read any more is lost.
        let _ = stream.write_all(&came);
        let _ = stream.read_to_end(&mut Vec::new());
    };
    with_peer(serve, |address| {
        let load = ["load", "--connect", address, "--mode", "source", "--connections", "1"];
        let (code, stdout, stderr) =
            run(&[&load[..], &["--size", "100", "--duration", "1h", "--json"]].concat());
        assert_eq!(code, Some(1), "{stdout}");
        assert_eq!(number(&stdout, "wrong_bytes"), 1.0, "{stdout}");
        assert_eq!(stderr, "error: 1 connection failed: wrong bytes came\n");
    });
}

#[test]
fn a_source_does_not_pass_for_an_echo() {
    let server = Server::start("source", &[]);
    let address = server.address.to_string();
    let (code, stdout, stderr) =
        run(&["load", "--connect", &address, "--mode", "echo", "--connections", "3", "--duration", "1h"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert_eq!(stderr, "error: 3 connections failed: wrong bytes came\n");
    assert!(stdout.contains(" wrong bytes\n"), "{stdout}");
    server.end();
}

/// A load that would take an hour.
fn long_load(address: &str) -> Process {
    let load =
        ["load", "--connect", address, "--mode", "echo", "--connections", "1", "--duration", "1h", "--json"];
    Process::start(bev(&load).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

#[test]
fn a_signal_ends_the_load_early_with_its_report() {
    for signal in [Signal::TERM, Signal::INT] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut load = long_load(&listener.local_addr().unwrap().to_string());
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 64];
        stream.read_exact(&mut request).unwrap();
        load.signal(signal);
        // The request under way is answered yet, and so is what comes before the signal is seen.
        while stream.write_all(&request).is_ok() && stream.read_exact(&mut request).is_ok() {}
        drop(stream);
        let (stdout, stderr) = (rest(load.stdout()), rest(load.stderr()));
        assert_eq!((load.wait().code(), stderr.as_str()), (Some(0), ""), "{stdout}");
        assert_eq!(number(&stdout, "errors"), 0.0, "{stdout}");
    }
}

#[test]
fn a_second_signal_ends_the_load_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut load = long_load(&listener.local_addr().unwrap().to_string());
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 64];
    stream.read_exact(&mut request).unwrap();
    // It waits for the last answer, for twice as long as the slowest took: longer than signals are one wish.
    thread::sleep(Duration::from_millis(2_500));
    stream.write_all(&request).unwrap();
    stream.read_exact(&mut request).unwrap();
    assert_eq!(load.insist(Signal::INT).code(), Some(128 + 2));
}

#[test]
fn a_load_that_nobody_hears_ends_quietly() {
    let server = Server::start("echo", &[]);
    let address = server.address.to_string();
    let mut command = bev(&["load", "--connect", &address, "--mode", "echo", "--duration", "100ms"]);
    let mut load = Process::start(command.stdout(unheard()).stderr(Stdio::piped()));
    assert_eq!(rest(load.stderr()), "");
    assert_eq!(load.wait().code(), Some(128 + 13));
    server.end();
}

#[test]
fn a_server_that_does_not_answer_is_told_after_the_time_it_may_take() {
    let (address, _kept) = mute();
    let address = address.to_string();
    let load = ["load", "--connect", &address, "--mode", "echo", "--connect-timeout", "200ms", "--json"];
    let began = Instant::now();
    let (code, stdout, stderr) = run(&load);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, format!("error: cannot connect to {address}: the connect took too long\n"));
    assert!(began.elapsed() < Duration::from_secs(9), "it is 10 s else");
}

#[test]
fn nobody_there_is_told_on_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, stdout, stderr) = load_one(&address);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.starts_with(&format!("error: cannot connect to {address}: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
