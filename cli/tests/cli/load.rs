//! The load generator, against our servers and against bad ones.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::support::{Server, run};

/// A field of a flat JSON object on one line.
fn field<'a>(json: &'a str, name: &str) -> &'a str {
    let key = format!("\"{name}\":");
    let (_, value) = json.split_once(&key).unwrap_or_else(|| panic!("no {name} in {json}"));
    value.split([',', '}']).next().unwrap()
}

fn number(json: &str, name: &str) -> f64 {
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
    assert!(bytes >= requests * number(json, "size"), "{json}");
    let rate = number(json, "requests_per_second") * seconds / requests;
    assert!((0.98..1.02).contains(&rate), "{json}");
    let latencies = ["p50_us", "p99_us", "p999_us", "max_us"].map(|name| number(json, name));
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{json}");
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
    for word in ["requests", "p50", "p99", "p99.9", "errors      0", "came back in place"] {
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
    });
}

#[test]
fn a_request_without_an_answer_fails() {
    let server = Server::start("sink", &[]);
    let (code, stdout, stderr) = load_one(&server.address.to_string());
    assert_eq!((code, number(&stdout, "errors")), (Some(1), 1.0), "{stdout}");
    assert!(stderr.contains("no answer"), "{stderr}");
    server.end();
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
