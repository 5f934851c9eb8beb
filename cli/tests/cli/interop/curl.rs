//! curl, through the proxy.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::Command,
    thread,
};

use super::lacks;
use crate::{
    servers::pattern,
    support::{Server, bounded, output},
    tls::Files,
};

/// A web server that answers one request; the end of the page is that of the connection.
fn answer_one(listener: &TcpListener, page: &[u8]) {
    let mut stream = bounded(listener.accept().unwrap().0);
    let request = BufReader::new(stream.try_clone().unwrap());
    let end = request.lines().map(Result::unwrap).find(String::is_empty);
    assert!(end.is_some(), "a request ends with an empty line");
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
    stream.write_all(page).unwrap();
}

/// Gets a page from such a server through a proxy. Over TLS curl takes an end without a notice for an error.
fn get_through(proxy: &[&str], curl: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Server::proxy(listener.local_addr().unwrap(), proxy);
    let page = pattern(5_000_000);
    thread::scope(|scope| {
        let answering = scope.spawn(|| answer_one(&listener, &page));
        let scheme = if curl.is_empty() { "http" } else { "https" };
        let url = format!("{scheme}://localhost:{}/page", proxy.address.port());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--ipv4", "--noproxy", "*"]).args(curl).arg(&url);
        let got = output(&mut command);
        assert!(got.status.success(), "{curl:?}: {}", String::from_utf8_lossy(&got.stderr));
        assert!(got.stdout == page, "{curl:?}: {} bytes came", got.stdout.len());
        answering.join().unwrap();
    });
    proxy.end();
}

#[test]
fn curl_gets_a_page_through_the_proxy() {
    if lacks(&["curl"]) {
        return;
    }
    get_through(&[], &[]);
}

#[test]
fn curl_gets_a_page_through_a_proxy_that_speaks_tls() {
    if lacks(&["curl"]) {
        return;
    }
    let files = Files::of("curl");
    for versions in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        get_through(&files.as_server(), &[&versions[..], &["--cacert", &files.certificate]].concat());
    }
}

#[test]
fn curl_shows_its_certificate() {
    if lacks(&["curl"]) {
        return;
    }
    let files = Files::of("curl-cert");
    let asking = [&files.as_server()[..], &["--tls-client-ca", &files.certificate]].concat();
    let showing = ["--cacert", &files.certificate, "--cert", &files.certificate, "--key", &files.key];
    for most in ["1.2", "1.3"] {
        get_through(&asking, &[&showing[..], &["--tls-max", most]].concat());
    }
}
