//! Unix-domain sockets.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixListener,
    path::PathBuf,
    process::{ChildStdout, Stdio},
};

use rustix::process::Signal;

use crate::{
    load::number,
    proxy::{LOCKINGS, line},
    servers::talk_to_echo,
    support::{Process, Server, bev, cut, rest, run},
    tls::{Files, assert_loaded, load},
};

/// The path of a socket, which is removed with this.
struct Place(String);

impl Place {
    fn of(test: &str) -> Self {
        // Short, for a socket's path is: the folder of the build may be anywhere.
        let path = std::env::temp_dir().join(format!("bev-{test}-{}.sock", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path.to_str().unwrap().to_owned())
    }

    fn address(&self) -> String {
        format!("unix:{}", self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A server that listens there.
struct There {
    process: Process,
    stdout: BufReader<ChildStdout>,
}

impl There {
    fn start(kind: &str, place: &Place, args: &[&str]) -> Self {
        let address = place.address();
        let mut command = bev(&[&[kind, "--listen", &address], args].concat());
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut stdout = process.stdout();
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let in_json = format!("{{\"listening\":\"{address}\",\"certificate_sha256\":null}}\n");
        assert_eq!(
            first,
            if args.contains(&"--json") { in_json } else { format!("listening on {address}\n") }
        );
        Self { process, stdout }
    }

    fn end(mut self) -> String {
        self.process.signal(Signal::TERM);
        assert_eq!(self.process.wait().code(), Some(0));
        rest(self.stdout)
    }
}

#[test]
fn a_load_gets_every_byte_back_over_a_unix_socket() {
    for locking in LOCKINGS {
        let place = Place::of(&format!("echo{}", locking.concat()));
        let echo = There::start("echo", &place, &[locking, &["--json"]].concat());
        assert_loaded(load(&place.address(), "echo", &[]));
        let told = echo.end();
        assert_eq!(number(&told, "clients"), 10.0, "{told}");
    }
}

#[test]
fn a_proxy_joins_unix_sockets_and_tcp() {
    let (place, front) = (Place::of("upstream"), Place::of("front"));
    let echo = There::start("echo", &place, &[]);
    for locking in LOCKINGS {
        let to_unix = Server::proxy(place.address(), &[locking, &["--json"]].concat());
        talk_to_echo(to_unix.connect(), 300_000);
        let upstream = to_unix.address.to_string();
        let from_unix = There::start("proxy", &front, &[locking, &["--upstream", &upstream]].concat());
        assert_loaded(load(&front.address(), "echo", &[]));
        from_unix.end();
        let told = crate::proxy::farewell(to_unix);
        assert!(told.contains(&format!("\"upstream\":\"{}\"", place.address())), "{told}");
        let failures = ["client_failures", "upstream_failures"].map(|name| number(&told, name));
        assert_eq!((number(&told, "clients"), failures), (11.0, [0.0, 0.0]), "{told}");
    }
    echo.end();
}

#[test]
fn tls_over_a_unix_socket_is_to_a_name_that_was_given() {
    let (place, files) = (Place::of("tls"), Files::of("unix"));
    let echo = There::start("echo", &place, &files.as_server());
    let trusting = ["--tls", "--ca", &files.certificate];
    assert_loaded(load(&place.address(), "echo", &[&trusting[..], &["--server-name", "localhost"]].concat()));
    assert_loaded(load(&place.address(), "echo", &["--tls", "--insecure"]));
    let (code, _, stderr) = load(&place.address(), "echo", &trusting);
    let expected =
        format!("error: no certificate can be for {}; --server-name says another name\n", place.address());
    assert_eq!((code, stderr), (Some(2), expected));
    let named = ["--upstream-tls", "--ca", &files.certificate, "--server-name", "localhost"];
    let proxy = Server::proxy(place.address(), &named);
    talk_to_echo(proxy.connect(), 300_000);
    proxy.end();
    echo.end();
}

#[test]
fn a_socket_that_was_left_is_taken_and_one_in_use_is_not() {
    let place = Place::of("left");
    There::start("echo", &place, &[]).end();
    assert!(PathBuf::from(&place.0).exists());
    let again = There::start("echo", &place, &[]);
    let (code, stdout, stderr) = run(&["echo", "--listen", &place.address()]);
    let begin = format!("error: cannot listen on {}: ", place.address());
    assert!((code, &*stdout) == (Some(1), "") && stderr.starts_with(&begin), "{stderr}");
    assert_loaded(load(&place.address(), "echo", &[]));
    again.end();
}

#[test]
fn an_upstream_where_nobody_listens_is_told() {
    let place = Place::of("nobody");
    for why in ["No such file", "Connection refused"] {
        let mut proxy = Server::proxy(place.address(), &[]);
        let mut stderr = proxy.process.stderr();
        assert_eq!(cut(proxy.connect()), "");
        let told = line(&mut stderr);
        assert!(told.starts_with(&format!("warning: upstream {}: {why}", place.address())), "{told}");
        proxy.end();
        drop(UnixListener::bind(&place.0));
    }
}
