//! The client of GnuTLS, which ends its side and reads on.

use std::{fs::File, process::Command};

use super::{lacks, text};
use crate::{
    support::{Server, output_of},
    tls::Files,
};

const VERSIONS: [&str; 2] = ["NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"];

fn gnutls_cli(server: &Server, files: &Files, version: &str) -> Command {
    let mut client = Command::new("gnutls-cli");
    client.args(["--x509cafile", &files.certificate, "--priority", version, "--logfile", "/dev/null"]);
    client.args(["--port", &server.address.port().to_string(), "localhost"]);
    client
}

/// Sends text by a client, which ends its side behind it; all of it must come back, and then the end.
fn talk_to_the_end(client: &mut Command, files: &Files, sent: &[u8]) {
    let path = format!("{}.sent", files.certificate);
    std::fs::write(&path, sent).unwrap();
    let got = output_of(client, File::open(&path).unwrap().into());
    std::fs::remove_file(&path).unwrap();
    assert!(got.status.success(), "{client:?}: {}", String::from_utf8_lossy(&got.stderr));
    assert!(got.stdout == sent, "{client:?}: {} bytes came back", got.stdout.len());
}

#[test]
fn gnutls_cli_ends_its_side_and_gets_the_rest_back() {
    if lacks(&["gnutls-cli"]) {
        return;
    }
    let files = Files::of("gnutls");
    let echo = Server::start("echo", &[]);
    let proxy = Server::proxy(echo.address, &files.as_server());
    let direct = Server::start("echo", &files.as_server());
    for version in VERSIONS {
        for server in [&direct, &proxy] {
            talk_to_the_end(&mut gnutls_cli(server, &files, version), &files, &text(400_000));
        }
    }
    [direct, proxy, echo].into_iter().for_each(Server::end);
}

#[test]
fn gnutls_cli_shows_its_certificate() {
    if lacks(&["gnutls-cli"]) {
        return;
    }
    let files = Files::of("gnutls-cert");
    let asking = [&files.as_server()[..], &["--tls-client-ca", &files.certificate]].concat();
    let server = Server::start("echo", &asking);
    for version in VERSIONS {
        let mut client = gnutls_cli(&server, &files, version);
        client.args(["--x509certfile", &files.certificate, "--x509keyfile", &files.key]);
        talk_to_the_end(&mut client, &files, &text(10_000));
    }
    server.end();
}
