//! SIGHUP: the files of TLS are read again while connections stand.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    iter,
    process::{ChildStderr, Stdio},
};

use bufferevent_ssl::openssl::ssl::{SslConnector, SslMethod};
use rustix::process::Signal;

use crate::{
    proxy::line,
    servers::talk_to_echo,
    support::{Server, bev},
    tls::{Files, assert_loaded, assert_refused, load},
};

fn watch(args: &[&str]) -> (Server, BufReader<ChildStderr>) {
    let mut server = Server::watch(bev(args).stderr(Stdio::piped()));
    let stderr = server.process.stderr();
    (server, stderr)
}

/// Has a server read its files again; answers what it says of that, which may come behind what it says of clients.
fn hang_up(server: &Server, stderr: &mut BufReader<ChildStderr>) -> String {
    server.signal(Signal::HUP);
    iter::repeat_with(|| line(stderr)).find(|line| !line.starts_with("warning: client ")).unwrap()
}

#[test]
fn new_connections_use_new_files_and_those_that_stand_go_on() {
    for kind in ["echo", "sink", "source"] {
        let (files, old) = (Files::of(&format!("reload-{kind}")), Files::of(&format!("reloaded-{kind}")));
        fs::copy(&files.certificate, &old.certificate).unwrap();
        let (server, mut stderr) =
            watch(&[&[kind, "--listen", "127.0.0.1:0"], &files.as_server()[..]].concat());
        let address = server.address.to_string();
        let trusting = |files: &Files| load(&address, kind, &["--tls", "--ca", &files.certificate]);
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_ca_file(&files.certificate).unwrap();
        let mut standing = connector.build().connect("localhost", server.connect()).unwrap();
        assert_loaded(trusting(&files));

        files.renew();
        assert_loaded(trusting(&old));
        let told = hang_up(&server, &mut stderr);
        assert_eq!(
            told,
            format!("notice: new connections use {}, {} as they are now\n", files.certificate, files.key)
        );
        assert_loaded(trusting(&files));
        assert_refused(trusting(&old), "certificate");
        standing.write_all(b"still here").unwrap();
        if kind != "sink" {
            standing.read_exact(&mut [0; 10]).unwrap();
        }
        drop(standing);
        server.end();
    }
}

#[test]
fn files_that_are_no_good_are_told_and_change_nothing() {
    let (files, other) = (Files::of("reload-bad"), Files::of("reload-other"));
    let (server, mut stderr) =
        watch(&[&["echo", "--listen", "127.0.0.1:0"], &files.as_server()[..]].concat());
    let trusted = Files::of("reload-trusted");
    fs::copy(&files.certificate, &trusted.certificate).unwrap();
    let begin =
        format!("warning: new connections use {}, {} as they were: cannot ", files.certificate, files.key);
    let spoil: [(&dyn Fn(), &str); 4] = [
        (
            &|| fs::write(&files.key, fs::read(&other.key).unwrap()).unwrap(),
            "the key is not that of the certificate",
        ),
        (&|| fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nhalf of").unwrap(), "certificate"),
        (&|| fs::write(&files.certificate, "").unwrap(), "certificate"),
        (&|| fs::remove_file(&files.certificate).unwrap(), "No such file"),
    ];
    for (spoil, why) in spoil {
        spoil();
        let told = hang_up(&server, &mut stderr);
        assert!(told.starts_with(&begin) && told.contains(why), "{why}: {told}");
        assert_loaded(load(&server.address.to_string(), "echo", &["--tls", "--ca", &trusted.certificate]));
    }
    fs::copy(&other.certificate, &files.certificate).unwrap();
    assert!(hang_up(&server, &mut stderr).starts_with("notice: "));
    assert_loaded(load(&server.address.to_string(), "echo", &["--tls", "--ca", &other.certificate]));
    server.end();
}

#[test]
fn a_proxy_reads_the_files_of_both_sides() {
    let files = Files::of("reload-proxy");
    let (echo, mut echo_says) =
        watch(&[&["echo", "--listen", "127.0.0.1:0"], &files.as_server()[..]].concat());
    let trusting = ["--upstream-tls", "--ca", &files.certificate];
    let mut proxy = Server::proxy(echo.address, &[&files.as_server()[..], &trusting].concat());
    let mut proxy_says = proxy.process.stderr();
    let through = || load(&proxy.address.to_string(), "echo", &["--tls", "--ca", &files.certificate]);
    assert_loaded(through());

    files.renew();
    assert!(hang_up(&echo, &mut echo_says).starts_with("notice: "));
    // Its own certificate is that from before, and so is whom it trusts.
    assert_refused(through(), "certificate");
    let Files { certificate, key } = &files;
    assert_eq!(
        hang_up(&proxy, &mut proxy_says),
        format!("notice: new connections use {certificate}, {key} as they are now\n")
    );
    assert_eq!(line(&mut proxy_says), format!("notice: new connections use {certificate} as they are now\n"));
    assert_loaded(through());
    proxy.end();
    echo.end();
}

#[test]
fn the_authority_for_clients_is_read_again_also_with_a_certificate_that_was_made() {
    let files = Files::of("reload-clients");
    let (server, mut stderr) =
        watch(&["echo", "--listen", "127.0.0.1:0", "--self-signed", "--tls-client-ca", &files.certificate]);
    let showing = || {
        load(
            &server.address.to_string(),
            "echo",
            &[&["--tls", "--insecure"][..], &files.as_client()].concat(),
        )
    };
    assert_loaded(showing());
    files.renew();
    assert_ne!(showing().0, Some(0), "nobody vouches for the new one yet");
    assert_eq!(
        hang_up(&server, &mut stderr),
        format!("notice: new connections use {} as they are now\n", files.certificate)
    );
    assert_loaded(showing());
    server.end();
}

#[test]
fn a_server_without_files_goes_on() {
    for args in [&[][..], &["--self-signed"]] {
        let (server, mut stderr) = watch(&[&["echo", "--listen", "127.0.0.1:0"], args].concat());
        assert_eq!(
            hang_up(&server, &mut stderr),
            "notice: SIGHUP changes nothing: there are no files of TLS to read again\n"
        );
        if args.is_empty() {
            talk_to_echo(server.connect(), 1_000);
        }
        server.end();
    }
}
