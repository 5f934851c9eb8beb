//! The proxy, between clients and servers that are well, slow, or dead.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::ChildStderr,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt::set_socket_linger},
    process::Signal,
};

use crate::{
    load::number,
    servers::{pattern, talk_to_echo, talk_to_source},
    support::{Server, bev, bounded, cut, mute, rest, run, stuck, warnings},
};

pub(crate) const LOCKINGS: [&[&str]; 5] = [
    &[],
    &["--defer"],
    &["--threadsafe"],
    &["--threadsafe", "--defer"],
    &["--threadsafe", "--defer", "--unlocked"],
];

/// A proxy to a server that this test plays.
pub(crate) fn before_us(args: &[&str]) -> (Server, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (Server::proxy(listener.local_addr().unwrap(), args), listener)
}

/// Both ends of a connection through a proxy.
pub(crate) fn through(proxy: &Server, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = proxy.connect();
    (client, bounded(listener.accept().unwrap().0))
}

/// An address that nobody listens on, as long as the socket is kept.
fn refusing() -> (OwnedFd, SocketAddr) {
    let bound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&bound, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    let address = getsockname(&bound).unwrap().try_into().unwrap();
    (bound, address)
}

/// Ends a connection as a peer that crashes.
pub(crate) fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

pub(crate) fn line(stderr: &mut BufReader<ChildStderr>) -> String {
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    line
}

/// What a proxy with `--json` says at its end.
pub(crate) fn farewell(proxy: Server) -> String {
    proxy.signal(Signal::TERM);
    let json = proxy.farewell();
    assert!(
        json.starts_with("{\"mode\":\"proxy\",\"upstream\":\"")
            && json.ends_with("}\n")
            && json.lines().count() == 1,
        "{json}"
    );
    json
}

#[test]
fn a_load_through_the_proxy_gets_every_byte_back() {
    for locking in LOCKINGS {
        for workers in ["1", "2"] {
            let echo = Server::start("echo", &[]);
            let proxy = Server::proxy(echo.address, &[locking, &["--json", "--workers", workers]].concat());
            let address = proxy.address.to_string();
            let load = ["load", "--connect", &address, "--mode", "echo", "--size", "10KiB", "--json"];
            let (code, json, stderr) =
                run(&[&load[..], &["--connections", "20", "--duration", "300ms"]].concat());
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{locking:?}");
            assert!(number(&json, "requests") > 0.0, "{json}");
            let told = farewell(proxy);
            assert_eq!((number(&told, "clients"), number(&told, "upstream_failures")), (20.0, 0.0), "{told}");
            echo.end();
        }
    }
}

#[test]
fn an_upstream_may_have_a_name() {
    let echo = Server::start("echo", &[]);
    let proxy = Server::proxy(format_args!("localhost:{}", echo.address.port()), &[]);
    talk_to_echo(proxy.connect(), 300_000);
    proxy.end();
    echo.end();
}

//
#[test]
fn an_end_goes_through_behind_the_bytes_before_it_and_the_answer_comes_back() {
    for locking in LOCKINGS {
        let (proxy, listener) = before_us(locking);
        let (mut client, mut server) = through(&proxy, &listener);
        let request = pattern(3_000_000);
        thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&request).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            let mut came = Vec::new();
            server.read_to_end(&mut came).unwrap();
            assert!(came == request, "{locking:?}: {} bytes came", came.len());
        });
        server.write_all(b"answered after the end").unwrap();
        drop(server);
        assert_eq!(rest(client), "answered after the end");
        proxy.end();
    }
}

#[test]
fn an_upstream_that_refuses_is_told_and_its_client_closed() {
    for locking in LOCKINGS {
        let (_bound, address) = refusing();
        let mut proxy = Server::proxy(address, &[locking, &["--json"]].concat());
        let mut stderr = proxy.process.stderr();
        assert_eq!(cut(proxy.connect()), "", "{locking:?}");
        assert_eq!(
            line(&mut stderr),
            format!("warning: upstream {address}: Connection refused (os error 111)\n")
        );
        assert_eq!(cut(proxy.connect()), "");
        let told = farewell(proxy);
        assert_eq!(number(&told, "upstream_failures"), 2.0, "{told}");
        // At most one line a second.
        assert!(warnings(stderr).lines().count() <= 1);
    }
}

/// How many failures a line stands for.
fn stands_for(line: &str) -> usize {
    assert!(line.starts_with("warning: upstream "), "{line}");
    let more = line.split_once(" (and ").and_then(|(_, more)| more.split(' ').next());
    1 + more.map_or(0, |more| more.parse().unwrap())
}

#[test]
fn failures_of_one_second_are_told_when_it_is_over_and_those_of_the_last_one_at_the_end() {
    let (_bound, address) = refusing();
    let mut proxy = Server::proxy(address, &[]);
    let mut stderr = proxy.process.stderr();
    for _ in 0..4 {
        cut(proxy.connect());
    }
    let mut told = 0;
    while told < 4 {
        told += stands_for(&line(&mut stderr));
    }
    for _ in 0..4 {
        cut(proxy.connect());
    }
    proxy.end();
    assert_eq!(told + warnings(stderr).lines().map(stands_for).sum::<usize>(), 8);
}

#[test]
fn a_proxy_whose_stderr_nobody_reads_waits_for_nobody() {
    let (_bound, address) = refusing();
    let (stuck, _unread) = stuck();
    let mut command =
        bev(&["proxy", "--listen", "127.0.0.1:0", "--upstream", &address.to_string(), "--workers", "1"]);
    let proxy = Server::watch(command.stderr(stuck));
    for _ in 0..2 {
        assert_eq!(cut(proxy.connect()), "");
    }
    proxy.end();
}

#[test]
fn an_upstream_that_does_not_answer_is_told_after_the_time_it_may_take() {
    let (address, _kept) = mute();
    for locking in LOCKINGS {
        let mut proxy = Server::proxy(address, &[locking, &["--connect-timeout", "200ms"]].concat());
        let mut stderr = proxy.process.stderr();
        let began = Instant::now();
        assert_eq!(cut(proxy.connect()), "", "{locking:?}");
        assert_eq!(line(&mut stderr), format!("warning: upstream {address}: the connect took too long\n"));
        assert!(began.elapsed() < Duration::from_secs(20), "it is 30 s else");
        proxy.end();
    }
}

#[test]
fn an_upstream_that_dies_in_the_middle_is_told_and_what_it_sent_is_not_lost() {
    for locking in LOCKINGS {
        let (mut proxy, listener) = before_us(locking);
        let mut stderr = proxy.process.stderr();
        let (mut client, mut server) = through(&proxy, &listener);
        client.write_all(b"request").unwrap();
        server.read_exact(&mut [0; 7]).unwrap();
        server.write_all(b"half an ans").unwrap();
        let mut came = [0; 11];
        client.read_exact(&mut came).unwrap();
        assert_eq!(came, *b"half an ans");
        reset(server);
        // No end: more was to come.
        assert_eq!(cut(client), "", "{locking:?}");
        let told = line(&mut stderr);
        let begin = format!("warning: upstream {}: Connection reset", listener.local_addr().unwrap());
        assert!(told.starts_with(&begin), "{told}");
        // The next one is served.
        let (mut client, mut server) = through(&proxy, &listener);
        server.write_all(b"well again").unwrap();
        drop(server);
        let mut came = String::new();
        client.read_to_string(&mut came).unwrap();
        assert_eq!(came, "well again");
        drop(client);
        proxy.end();
    }
}

#[test]
fn an_upstream_that_is_killed_ends_the_stream_of_its_client() {
    let source = Server::start("source", &[]);
    let proxy = Server::proxy(source.address, &[]);
    let mut client = proxy.connect();
    talk_to_source(&mut client, 100_000);
    source.signal(Signal::KILL);
    assert_eq!(source.wait(), None);
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    assert_eq!(cut(proxy.connect()), "", "nobody is there any more");
    proxy.end();
}

#[test]
fn a_client_that_dies_ends_the_connection_to_the_upstream() {
    let (mut proxy, listener) = before_us(&["--json"]);
    let stderr = proxy.process.stderr();
    let (mut client, mut server) = through(&proxy, &listener);
    // So that both connections stand, as seen from the proxy.
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let address = client.local_addr().unwrap();
    reset(client);
    assert_eq!(cut(server), "");
    let told = farewell(proxy);
    assert_eq!((number(&told, "client_failures"), number(&told, "upstream_failures")), (1.0, 0.0), "{told}");
    assert_eq!(
        warnings(stderr),
        format!("warning: client {address}: Connection reset by peer (os error 104)\n")
    );
}

#[test]
fn a_connection_on_which_nothing_moves_is_closed() {
    for (limit, counted) in [("--idle", "idle"), ("--lifetime", "outlived")] {
        for locking in LOCKINGS {
            let (proxy, listener) = before_us(&[locking, &[limit, "50ms", "--json"]].concat());
            let (client, server) = through(&proxy, &listener);
            for peer in [client, server] {
                assert_eq!(cut(peer), "", "{limit} {locking:?}");
            }
            let told = farewell(proxy);
            let numbers = [counted, "client_failures", "upstream_failures"].map(|name| number(&told, name));
            assert_eq!(numbers, [1.0, 0.0, 0.0], "{locking:?}: {told}");
        }
    }
}

#[test]
fn an_upstream_that_takes_nothing_is_told() {
    let (mut proxy, listener) = before_us(&["--idle", "200ms"]);
    let mut stderr = proxy.process.stderr();
    let (client, server) = through(&proxy, &listener);
    // It may be closed while this goes on.
    client.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    while (&client).write(&[7; 65_536]).is_ok() {}
    let address = listener.local_addr().unwrap();
    assert_eq!(line(&mut stderr), format!("warning: upstream {address}: it takes nothing any more\n"));
    drop((client, server));
    proxy.end();
}

#[test]
fn a_signal_lets_what_was_read_go_out_to_both_sides() {
    for locking in LOCKINGS {
        let (proxy, listener) = before_us(&[locking, &["--grace", "100ms"]].concat());
        let (client, server) = through(&proxy, &listener);
        for (mut from, mut to) in [(&client, &server), (&server, &client)] {
            from.write_all(b"on its way").unwrap();
            to.read_exact(&mut [0; 10]).unwrap();
        }
        proxy.signal(Signal::TERM);
        for peer in [client, server] {
            assert_eq!(cut(peer), "", "neither has said that it is the end");
        }
        let told = proxy.farewell();
        let upstream = listener.local_addr().unwrap();
        assert_eq!(
            told,
            format!(
                "2 connections ended, 0 of them clean; 0 B not sent\n  \
                 read  10 B from 1 client, 10 B from {upstream}; 0 client failures, 0 upstream failures\n"
            ),
            "{locking:?}"
        );
    }
}

#[test]
fn a_connection_takes_two_descriptors_of_those_there_are() {
    let echo = Server::start("echo", &[]);
    let args = format!("--workers 1 --upstream {}", echo.address);
    let mut proxy = Server::start_with_files(48, "proxy", &args);
    let mut stderr = proxy.process.stderr();
    // Of half of 48 each takes two.
    let mut clients: Vec<TcpStream> = (0..14).map(|_| proxy.connect()).collect();
    let told = line(&mut stderr);
    assert!(told.starts_with("warning: cannot accept: 12 connections are open"), "{told}");
    for client in &mut clients[..12] {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    drop(clients);
    talk_to_echo(proxy.connect(), 1_000);
    proxy.end();
    assert!(warnings(stderr).lines().all(|line| line.starts_with("warning: cannot accept: ")));
    echo.end();
}

#[test]
fn a_limit_holds_what_clients_send_and_get() {
    for limit in ["--limit", "--group-limit"] {
        let echo = Server::start("echo", &[]);
        let proxy = Server::proxy(echo.address, &[limit, "1MB/s"]);
        let began = Instant::now();
        talk_to_echo(proxy.connect(), 400_000);
        // What was there at first: a tick's worth, and what was kept of four more.
        assert!(began.elapsed().as_secs_f64() >= (400_000.0 - 250_000.0) / 1e6);
        proxy.signal(Signal::TERM);
        let told = proxy.farewell();
        for direction in ["\n  in   400 kB", "\n  out  400 kB"] {
            assert!(told.contains(direction), "{told}");
        }
        assert_eq!(told.matches(" of 1 MB/s (8 Mbit/s)").count(), 2, "{told}");
        echo.end();
    }
}

#[test]
fn a_proxy_that_nobody_used_says_that() {
    let (_bound, address) = refusing();
    let mut command = bev(&["proxy", "--listen", "127.0.0.1:0", "--upstream", &address.to_string()]);
    let proxy = Server::watch(&mut command);
    proxy.signal(Signal::TERM);
    assert_eq!(
        proxy.farewell(),
        format!(
            "no connection was open\n  read  0 B from 0 clients, 0 B from {address}; 0 client failures, 0 upstream failures\n"
        )
    );
}
