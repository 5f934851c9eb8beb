//! OpenSSL's own programs, as clients and as servers.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr},
    path::Path,
    process::{ChildStdin, Command, Stdio},
    thread,
};

use rustix::process::Signal;

use super::{await_listener, free_port, lacks, talk_by, text};
use crate::{
    load::number,
    support::{Process, Server, output, rest, run},
    tls::Files,
};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// A client of a server, which it verifies.
fn s_client(address: SocketAddr, files: &Files, version: &str) -> Command {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-no_ign_eof", "-nocommands", "-verify_return_error", version]);
    client.args(["-CAfile", &files.certificate, "-verify_ip", "127.0.0.1", "-connect", &address.to_string()]);
    client
}

#[test]
fn openssl_s_client_talks_to_the_echo() {
    if lacks(&["openssl"]) {
        return;
    }
    let files = Files::of("s_client");
    let server = Server::start("echo", &files.as_server());
    for version in VERSIONS {
        talk_by(&mut s_client(server.address, &files, version), &text(300_000));
    }
    server.end();
}

#[test]
fn openssl_s_client_shows_its_certificate() {
    if lacks(&["openssl"]) {
        return;
    }
    let (files, other) = (Files::of("s_client-cert"), Files::of("s_client-other"));
    let asking = [&files.as_server()[..], &["--tls-client-ca", &files.certificate]].concat();
    let server = Server::start("echo", &asking);
    for version in VERSIONS {
        let mut client = s_client(server.address, &files, version);
        client.args(["-cert", &files.certificate, "-key", &files.key]);
        talk_by(&mut client, &text(10_000));
        // In TLS 1.3 it learns of that only when it has connected already.
        let mut stranger = s_client(server.address, &files, version);
        stranger.args(["-ign_eof", "-cert", &other.certificate, "-key", &other.key]);
        let refused = output(&mut stranger);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains("alert unknown ca") && refused.stdout.is_empty(), "{version}: {told}");
    }
    server.end();
}

#[test]
fn openssl_s_time_connects_again_and_again() {
    if lacks(&["openssl"]) {
        return;
    }
    let files = Files::of("s_time");
    let server = Server::start("echo", &files.as_server());
    for version in VERSIONS {
        for sessions in ["-new", "-reuse"] {
            let mut timer = Command::new("openssl");
            timer.args(["s_time", "-connect", &server.address.to_string(), "-CAfile", &files.certificate]);
            let timed = output(timer.args(["-verify", "1", "-time", "1", version, sessions]));
            let told = String::from_utf8(timed.stdout).unwrap();
            let count = told.lines().find_map(|line| line.split_once(" connections in ")?.0.parse().ok());
            assert!(timed.status.success() && count > Some(0_u64), "{version} {sessions}: {told}");
        }
    }
    // It leaves without a word each time, and the server stands.
    talk_by(&mut s_client(server.address, &files, VERSIONS[1]), &text(1_000));
    server.end();
}

/// A server of OpenSSL's, with a stdout to read.
struct OpensslServer {
    process: Process,
    address: String,
    /// It ends a connection when there is nothing more to say to it.
    _input: ChildStdin,
}

impl OpensslServer {
    fn start(files: &Files, args: &[&str]) -> Self {
        let port = free_port();
        let mut server = Command::new("openssl");
        server.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
        server.args(["-cert", &files.certificate, "-key", &files.key]).args(args);
        // What it serves, it finds here.
        server.current_dir(env!("CARGO_TARGET_TMPDIR")).stdout(Stdio::piped()).stderr(Stdio::null());
        let (process, input) = Process::start_with_input(&mut server);
        await_listener(port);
        Self { process, address: format!("127.0.0.1:{port}"), _input: input }
    }

    fn stop(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }
}

#[test]
fn a_load_runs_against_openssl_s_server() {
    if lacks(&["openssl"]) {
        return;
    }
    let files = Files::of("s_server");
    for version in VERSIONS {
        let mut server = OpensslServer::start(&files, &[version]);
        let mut drained = server.process.stdout();
        let reading = thread::spawn(move || std::io::copy(&mut drained, &mut std::io::sink()).unwrap());
        let load =
            ["load", "--connect", &server.address, "--mode", "sink", "--connections", "1", "--size", "100kB"];
        let tls = ["--duration", "300ms", "--json", "--tls", "--ca", &files.certificate];
        let (code, json, stderr) = run(&[&load[..], &tls].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{version}: {json}");
        assert!(number(&json, "requests") > 0.0 && number(&json, "tls_handshakes") == 1.0, "{json}");
        server.stop();
        assert!(reading.join().unwrap() > 0);
    }
}

#[test]
fn an_end_goes_through_the_proxy_to_openssl_s_server_behind_the_bytes_before_it() {
    if lacks(&["openssl"]) {
        return;
    }
    let files = Files::of("s_server-end");
    for version in VERSIONS {
        // The first connection is that which finds it listening.
        let mut upstream = OpensslServer::start(&files, &[version, "-naccept", "2"]);
        let mut stdout = upstream.process.stdout();
        let proxy = Server::proxy(&upstream.address, &["--upstream-tls", "--ca", &files.certificate]);
        let mut client = proxy.connect();
        let sent = text(1_000_000);
        let came = thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut came = Vec::new();
                stdout.read_to_end(&mut came).unwrap();
                came
            });
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            // It ends its own side when it has seen that of the client.
            assert_eq!(rest(&client), "", "{version}");
            reading.join().unwrap()
        });
        assert!(came == sent, "{version}: {} bytes came", came.len());
        proxy.end();
        upstream.process.wait();
    }
}

#[test]
fn a_page_of_openssl_s_server_comes_through_the_proxy_to_its_end() {
    if lacks(&["openssl"]) {
        return;
    }
    let files = Files::of("s_server-page");
    let page = text(3_000_000);
    let name = format!("s_server-{}.page", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    fs::write(&path, &page).unwrap();
    for version in VERSIONS {
        let upstream = OpensslServer::start(&files, &[version, "-WWW"]);
        let proxy = Server::proxy(&upstream.address, &["--upstream-tls", "--ca", &files.certificate]);
        let mut client = proxy.connect();
        write!(client, "GET /{name} HTTP/1.0\r\n\r\n").unwrap();
        let answer = rest(client);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(body.as_bytes() == page, "{version}: {} bytes came", body.len());
        proxy.end();
        upstream.stop();
    }
    fs::remove_file(&path).unwrap();
}
