//! TLS between the servers, the load, the proxy and the tools of others.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use bufferevent_ssl::{
    Identity,
    openssl::{
        hash::MessageDigest,
        ssl::{ErrorCode, SslConnector, SslMethod},
        x509::X509,
    },
};
use rustix::{net::sockopt::set_socket_linger, process::Signal};

use crate::{
    load::number,
    proxy::{LOCKINGS, before_us},
    servers::{pattern, talk_to_echo},
    support::{Server, bev, cut, run, warnings},
};

/// A certificate and its key in files, which go when this does.
pub(crate) struct Files {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Files {
    pub(crate) fn of(test: &str) -> Self {
        let path = |end: &str| {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
            folder.join(format!("{test}-{}.{end}", std::process::id())).to_str().unwrap().to_owned()
        };
        let files = Self { certificate: path("crt"), key: path("key") };
        files.renew();
        files
    }

    /// Puts another certificate and its key in their place.
    pub(crate) fn renew(&self) {
        let identity = Identity::self_signed(&["localhost", "127.0.0.1"]).unwrap();
        fs::write(&self.certificate, identity.certificate_pem().unwrap()).unwrap();
        fs::write(&self.key, identity.key_pem().unwrap()).unwrap();
    }

    pub(crate) fn as_server(&self) -> [&str; 4] {
        ["--tls-cert", &self.certificate, "--tls-key", &self.key]
    }

    pub(crate) fn as_client(&self) -> [&str; 4] {
        ["--client-cert", &self.certificate, "--client-key", &self.key]
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.certificate);
        let _ = fs::remove_file(&self.key);
    }
}

/// A short load: exit code, JSON, stderr.
pub(crate) fn load(address: &str, mode: &str, tls: &[&str]) -> (Option<i32>, String, String) {
    let load = ["load", "--connect", address, "--mode", mode, "--size", "10KiB", "--json"];
    run(&[&load[..], &["--connections", "10", "--duration", "300ms"], tls].concat())
}

pub(crate) fn assert_loaded((code, json, stderr): (Option<i32>, String, String)) {
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{json}");
    assert!(number(&json, "requests") > 0.0 && number(&json, "connected") == 10.0, "{json}");
}

pub(crate) fn assert_refused((code, _, stderr): (Option<i32>, String, String), why: &str) {
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains(why), "{why}: {stderr}");
}

#[test]
fn a_load_over_tls_gets_every_byte_back() {
    for locking in LOCKINGS {
        for mode in ["echo", "sink", "source"] {
            let server = Server::start(mode, &[locking, &["--self-signed"]].concat());
            assert_loaded(load(&server.address.to_string(), mode, &["--tls", "--insecure"]));
            server.end();
        }
    }
}

#[test]
fn a_server_is_who_its_certificate_says_to_those_who_trust_it() {
    let files = Files::of("names");
    let server = Server::start("echo", &files.as_server());
    let trusting = ["--tls", "--ca", &files.certificate];
    let (number, name) = (server.address.to_string(), format!("localhost:{}", server.address.port()));
    for address in [&number, &name] {
        assert_loaded(load(address, "echo", &trusting));
    }
    assert_loaded(load(&number, "echo", &[&trusting[..], &["--server-name", "localhost"]].concat()));
    let other = [&trusting[..], &["--server-name", "example.org"]].concat();
    assert_refused(load(&number, "echo", &other), "certificate");
    // The system does not trust it.
    assert_refused(load(&number, "echo", &["--tls"]), "certificate");
    // Without TLS.
    assert_eq!(load(&number, "echo", &[]).0, Some(1));
    server.end();
}

#[test]
fn a_client_shows_its_certificate_where_there_must_be_one() {
    let (files, other) = (Files::of("clients"), Files::of("strangers"));
    let asking = [&files.as_server()[..], &["--tls-client-ca", &files.certificate]].concat();
    let mut command = bev(&[&["echo", "--listen", "127.0.0.1:0"], &asking[..]].concat());
    let mut server = Server::watch(command.stderr(Stdio::piped()));
    let stderr = server.process.stderr();
    let address = server.address.to_string();
    let trusting = ["--tls", "--ca", &files.certificate];
    assert_loaded(load(&address, "echo", &[&trusting[..], &files.as_client()].concat()));
    for refused in [&[][..], &other.as_client()] {
        let (code, _, stderr) = load(&address, "echo", &[&trusting[..], refused].concat());
        assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    }
    // As many connections as a load makes, twice.
    server.signal(Signal::TERM);
    let told = server.farewell();
    assert!(told.ends_with("; 20 handshakes failed\n"), "{told}");
    let warnings = warnings(stderr);
    assert!(warnings.lines().count() >= 1, "at most one a second, and at least one");
    assert!(warnings.lines().all(|line| line.starts_with("warning: client 127.0.0.1:")), "{warnings}");
    assert!(warnings.contains("peer did not return a certificate"), "{warnings}");
}

#[test]
fn the_proxy_shows_its_certificate_to_an_upstream_that_asks_for_one() {
    let files = Files::of("upstream-asks");
    let asking = [&files.as_server()[..], &["--tls-client-ca", &files.certificate]].concat();
    let echo = Server::start("echo", &asking);
    let upstream = ["--upstream-tls", "--ca", &files.certificate];
    for locking in LOCKINGS {
        let proxy = Server::proxy(echo.address, &[locking, &upstream, &files.as_client()].concat());
        talk_to_echo(proxy.connect(), 300_000);
        proxy.end();
        let mut nobody = Server::proxy(echo.address, &[locking, &upstream].concat());
        let mut stderr = BufReader::new(nobody.process.stderr());
        // However it ends.
        let _ = nobody.connect().read_to_end(&mut Vec::new());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let begin = format!("warning: upstream {}: the peer gave up: ", echo.address);
        assert!(line.starts_with(&begin), "{locking:?}: {line}");
        nobody.end();
    }
    echo.end();
}

#[test]
fn what_does_not_speak_tls_is_told_and_counted() {
    for kind in ["echo", "sink", "source"] {
        let mut command = bev(&[kind, "--listen", "127.0.0.1:0", "--self-signed"]);
        let mut server = Server::watch(command.stderr(Stdio::piped()));
        let mut stderr = BufReader::new(server.process.stderr());
        let mut client = server.connect();
        let address = client.local_addr().unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let _ = client.read_to_end(&mut Vec::new());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let begin = format!("warning: client {address}: the handshake failed: ");
        assert!(line.starts_with(&begin), "{kind}: {line}");
        server.signal(Signal::TERM);
        let told = server.farewell();
        assert!(told.ends_with("; 1 handshake failed\n"), "{kind}: {told}");
    }
}

#[test]
fn a_client_of_the_proxy_that_does_not_speak_tls_is_told_and_counted() {
    for locking in LOCKINGS {
        let (mut proxy, listener) = before_us(&[locking, &["--self-signed", "--json"]].concat());
        let mut stderr = BufReader::new(proxy.process.stderr());
        let mut client = proxy.connect();
        let address = client.local_addr().unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let _ = client.read_to_end(&mut Vec::new());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let begin = format!("warning: client {address}: the handshake failed: ");
        assert!(line.starts_with(&begin), "{locking:?}: {line}");
        proxy.signal(Signal::TERM);
        let told = proxy.farewell();
        let counts = [
            "clients",
            "client_failures",
            "tls_handshakes_failed",
            "upstream_failures",
            "from_clients_bytes",
        ];
        assert_eq!(counts.map(|name| number(&told, name)), [1.0, 1.0, 1.0, 0.0, 0.0], "{locking:?}: {told}");
        listener.set_nonblocking(true).unwrap();
        let connected = listener.accept().map_err(|none| none.kind());
        assert!(
            matches!(connected, Err(ErrorKind::WouldBlock)),
            "it costs the upstream nothing: {connected:?}"
        );
    }
}

#[test]
fn a_certificate_made_for_the_occasion_is_given_to_who_asks_for_it() {
    let name = format!("saved-{}.crt", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).to_str().unwrap().to_owned();
    let server = Server::start("echo", &["--self-signed", "--save-cert", &path]);
    let address = server.address.to_string();
    assert_loaded(load(&address, "echo", &["--tls", "--ca", &path]));
    // Another one is not trusted.
    let other = Server::start("echo", &["--self-signed"]);
    assert_refused(load(&other.address.to_string(), "echo", &["--tls", "--ca", &path]), "certificate");
    other.end();
    let saved = X509::from_pem(&fs::read(&path).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    let hash = saved.digest(MessageDigest::sha256()).unwrap();
    let told: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    server.signal(Signal::TERM);
    let farewell = server.farewell();
    assert_eq!(farewell.lines().next(), Some(&*format!("certificate SHA-256 {}", told.join(":"))));
}

#[test]
fn limits_count_what_goes_over_the_wire() {
    let server = Server::start("echo", &["--self-signed", "--limit", "100MB/s"]);
    assert_loaded(load(&server.address.to_string(), "echo", &["--tls", "--insecure"]));
    server.signal(Signal::TERM);
    let told = server.farewell();
    // The bytes of TLS are not taken for what was moved in closing: the notice of each end alone is that.
    assert!(told.contains("\n  in ") && told.contains("    each "), "{told}");
    assert!(!told.contains("kB of it dropped") && !told.contains("MB of it"), "{told}");
}

#[test]
fn the_proxy_speaks_tls_to_either_side() {
    let files = Files::of("sides");
    let trusting = ["--tls", "--ca", &files.certificate];
    for locking in LOCKINGS {
        let plain = Server::start("echo", &[]);
        let front = Server::proxy(plain.address, &[locking, &files.as_server()].concat());
        assert_loaded(load(&front.address.to_string(), "echo", &trusting));
        // And back to plain behind that.
        let upstream = ["--upstream-tls", "--ca", &files.certificate];
        let back = Server::proxy(front.address, &[locking, &upstream].concat());
        assert_loaded(load(&back.address.to_string(), "echo", &[]));
        talk_to_echo(back.connect(), 1_000_000);
        for server in [back, front, plain] {
            server.end();
        }
    }
}

#[test]
fn an_upstream_with_another_name_is_told_and_its_client_closed() {
    let files = Files::of("other");
    let echo = Server::start("echo", &files.as_server());
    let args = ["--upstream-tls", "--ca", &files.certificate, "--server-name", "example.org"];
    let mut proxy = Server::proxy(echo.address, &args);
    let mut stderr = proxy.process.stderr();
    let mut client = proxy.connect();
    client.write_all(b"for example.org alone").unwrap();
    assert_eq!(cut(client), "");
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with(&format!("warning: upstream {}: ", echo.address)), "{line}");
    assert!(line.contains("certificate"), "{line}");
    proxy.end();
    echo.end();
}

/// An upstream that is cut off in the middle is no end for a client behind TLS; one that ends is.
#[test]
fn a_client_of_the_proxy_is_given_no_notice_that_nobody_has_given() {
    let files = Files::of("cut");
    for locking in LOCKINGS {
        for is_cut in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let proxy =
                Server::proxy(listener.local_addr().unwrap(), &[locking, &files.as_server()].concat());
            let mut trusting = SslConnector::builder(SslMethod::tls_client()).unwrap();
            trusting.set_ca_file(&files.certificate).unwrap();
            let mut client = trusting.build().connect("localhost", proxy.connect()).unwrap();
            client.write_all(b"a question").unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.read_exact(&mut [0; 10]).unwrap();
            server.write_all(&pattern(100_000)).unwrap();
            let mut answer = vec![0; 100_000];
            client.read_exact(&mut answer).unwrap();
            assert!(answer == pattern(100_000));
            if is_cut {
                set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
            }
            drop(server);
            let end = client.ssl_read(&mut [0; 100]).unwrap_err();
            assert_eq!(end.code() == ErrorCode::ZERO_RETURN, !is_cut, "{locking:?} {end:?}");
            drop(client);
            proxy.end();
        }
    }
}

#[test]
fn a_file_that_is_no_good_is_told_with_its_name_and_why() {
    let files = Files::of("bad");
    let listen = ["echo", "--listen", "127.0.0.1:0"];
    let load = ["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--tls"];
    let missing = "/nowhere/at-all.pem";
    let cases: [(&[&str], &[&str], &str); 7] = [
        (&listen, &["--tls-cert", missing, "--tls-key", &files.key], missing),
        (&listen, &["--tls-cert", &files.certificate, "--tls-key", missing], missing),
        (&listen, &["--tls-cert", &files.key, "--tls-key", &files.key], &files.key),
        (&listen, &["--self-signed", "--tls-client-ca", &files.key], &files.key),
        (&load, &["--ca", &files.key], &files.key),
        (&load, &["--client-cert", &files.key, "--client-key", &files.key], &files.key),
        (&load, &["--client-cert", &files.certificate, "--client-key", missing], missing),
    ];
    for (command, args, file) in cases {
        let why = if file == missing { "No such file" } else { "certificate" };
        let told = run(&[command, args].concat());
        assert!(told.2.contains(file), "{args:?}: {told:?}");
        assert_refused(told, why);
    }
}
