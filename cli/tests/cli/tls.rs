//! TLS between the servers, the load, the proxy and the tools of others.

use std::{
    fs,
    io::{BufRead as _, Write as _},
    path::PathBuf,
};

use bufferevent_ssl::Identity;
use rustix::process::Signal;

use crate::{
    load::number,
    proxy::LOCKINGS,
    servers::talk_to_echo,
    support::{Server, rest, run},
};

/// A certificate and its key in files, which go when this does.
pub(crate) struct Files {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Files {
    pub(crate) fn of(test: &str) -> Self {
        let identity = Identity::self_signed(&["localhost", "127.0.0.1"]).unwrap();
        let path = |end: &str| {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
            folder.join(format!("{test}-{}.{end}", std::process::id())).to_str().unwrap().to_owned()
        };
        let files = Self { certificate: path("crt"), key: path("key") };
        fs::write(&files.certificate, identity.certificate_pem().unwrap()).unwrap();
        fs::write(&files.key, identity.key_pem().unwrap()).unwrap();
        files
    }

    pub(crate) fn as_server(&self) -> [&str; 4] {
        ["--tls-cert", &self.certificate, "--tls-key", &self.key]
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.certificate);
        let _ = fs::remove_file(&self.key);
    }
}

/// A short load: exit code, JSON, stderr.
fn load(address: &str, mode: &str, tls: &[&str]) -> (Option<i32>, String, String) {
    let load = ["load", "--connect", address, "--mode", mode, "--size", "10KiB", "--json"];
    run(&[&load[..], &["--connections", "10", "--duration", "300ms"], tls].concat())
}

fn assert_loaded((code, json, stderr): (Option<i32>, String, String)) {
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{json}");
    assert!(number(&json, "requests") > 0.0 && number(&json, "connected") == 10.0, "{json}");
}

fn assert_refused((code, _, stderr): (Option<i32>, String, String), why: &str) {
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
fn a_client_without_a_certificate_is_refused_where_there_must_be_one() {
    let files = Files::of("clients");
    let asking = [&files.as_server()[..], &["--tls-client-ca", &files.certificate]].concat();
    let server = Server::start("echo", &asking);
    let (code, _, stderr) = load(&server.address.to_string(), "echo", &["--tls", "--insecure"]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    server.end();
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
    assert_eq!(rest(client), "");
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with(&format!("proxy: upstream {}: ", echo.address)), "{line}");
    assert!(line.contains("certificate"), "{line}");
    proxy.end();
    echo.end();
}

#[test]
fn a_file_that_is_no_good_is_told_with_its_name_and_why() {
    let files = Files::of("bad");
    let listen = ["echo", "--listen", "127.0.0.1:0"];
    let load = ["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--tls"];
    let missing = "/nowhere/at-all.pem";
    let cases: [(&[&str], &[&str], &str); 5] = [
        (&listen, &["--tls-cert", missing, "--tls-key", &files.key], missing),
        (&listen, &["--tls-cert", &files.certificate, "--tls-key", missing], missing),
        (&listen, &["--tls-cert", &files.key, "--tls-key", &files.key], &files.key),
        (&listen, &["--self-signed", "--tls-client-ca", &files.key], &files.key),
        (&load, &["--ca", &files.key], &files.key),
    ];
    for (command, args, file) in cases {
        let why = if file == missing { "No such file" } else { "certificate" };
        let told = run(&[command, args].concat());
        assert!(told.2.contains(file), "{args:?}: {told:?}");
        assert_refused(told, why);
    }
}
