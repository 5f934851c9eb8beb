//! Peers that end a connection without TLS's notice, where that is allowed, and where nothing can be missing.

use std::{
    io::{ErrorKind::ConnectionReset, Read, Write as _},
    net::{Shutdown, TcpStream},
    thread,
};

use bufferevent_ssl::{
    Engine, Evbuffer, Progress,
    openssl::ssl::{ErrorCode, SslConnector, SslMethod},
    runtime::Time,
};

use crate::{
    load::number,
    peers::{Between, Peer, Speaks},
    proxy::{LOCKINGS, farewell},
    servers::pattern,
    support::{Server, warnings},
    tls::Files,
};

const SOME: usize = 100_001;

const TLS_TO_BOTH: Speaks = Speaks { tls_to_client: true, tls_to_upstream: true };
const TLS_TO_CLIENT: Speaks = Speaks { tls_to_client: true, tls_to_upstream: false };

/// Calls `test` with each locking and its name, side by side: a cut takes its time.
fn each(test: impl Fn(&[&str], &str) + Sync) {
    thread::scope(|scope| {
        for locking in LOCKINGS {
            let test = &test;
            scope.spawn(move || test(locking, &locking.concat()));
        }
    });
}

fn assert_told(between: Between, expected: [(&str, f64); 3], stderr: impl Read) -> String {
    let told = farewell(between.proxy);
    for (name, count) in expected {
        assert_eq!(number(&told, name), count, "{name}: {told}");
    }
    warnings(stderr)
}

/// What `from` has sent before it is cut off, and whether that was all for `to`.
fn truncated(from: &mut Peer, to: &mut Peer) -> bool {
    from.write_all(&pattern(SOME)).unwrap();
    from.truncate();
    let (came, is_end) = to.read_out();
    assert!(came == pattern(SOME), "{} bytes came", came.len());
    is_end
}

#[test]
fn an_end_without_the_notice_is_one_where_that_is_allowed_and_nowhere_else() {
    each(|locking, name| {
        for (option, of_upstream) in
            [("--tls-allow-truncation", false), ("--upstream-allow-truncation", true)]
        {
            let args = [locking, &["--json", option]].concat();
            let mut between = Between::start(&format!("allowed{option}{name}"), TLS_TO_BOTH, &args);
            let stderr = between.proxy.process.stderr();
            let by = |(client, server)| if of_upstream { (server, client) } else { (client, server) };
            let (mut cut, mut other) = by(between.connect());
            assert!(truncated(&mut cut, &mut other), "{option} {locking:?}");
            other.end();
            assert_eq!(cut.read_out(), (Vec::new(), true), "{option} {locking:?}");
            // The other side may not.
            let (mut other, mut cut) = by(between.connect());
            assert!(!truncated(&mut cut, &mut other), "{option} {locking:?}");
            let failures = [f64::from(of_upstream), f64::from(!of_upstream)];
            let expected = [
                ("client_failures", failures[0]),
                ("upstream_failures", failures[1]),
                ("without_notice", 0.0),
            ];
            let warnings = assert_told(between, expected, stderr);
            assert_eq!(warnings.matches("without the peer's notice").count(), 1, "{warnings}");
        }
    });
}

#[test]
fn a_client_that_had_all_and_leaves_without_the_notice_is_counted_and_no_failure() {
    each(|locking, name| {
        let mut between =
            Between::start(&format!("had-all{name}"), TLS_TO_CLIENT, &[locking, &["--json"]].concat());
        let stderr = between.proxy.process.stderr();
        let (mut client, mut server) = between.connect();
        client.write_all(b"question").unwrap();
        server.read_exact(&mut [0; 8]).unwrap();
        server.write_all(&pattern(SOME)).unwrap();
        server.end();
        assert!(client.read_out() == (pattern(SOME), true), "{locking:?}");
        client.truncate();
        // Who reads on yet is told that there was no end.
        assert_eq!(
            server.read_to_end(&mut Vec::new()).map_err(|error| error.kind()),
            Err(ConnectionReset),
            "{locking:?}"
        );
        let expected = [("client_failures", 0.0), ("upstream_failures", 0.0), ("without_notice", 1.0)];
        let warnings = assert_told(between, expected, stderr);
        assert_eq!(warnings, "", "{locking:?}");
    });
}

#[test]
fn a_client_that_leaves_without_the_notice_before_the_upstream_has_ended_is_a_failure() {
    each(|locking, name| {
        let mut between =
            Between::start(&format!("had-some{name}"), TLS_TO_CLIENT, &[locking, &["--json"]].concat());
        let stderr = between.proxy.process.stderr();
        let (mut client, mut server) = between.connect();
        server.write_all(b"answer").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
        client.truncate();
        assert_eq!(
            server.read_to_end(&mut Vec::new()).map_err(|error| error.kind()),
            Err(ConnectionReset),
            "{locking:?}"
        );
        let expected = [("client_failures", 1.0), ("upstream_failures", 0.0), ("without_notice", 0.0)];
        let warnings = assert_told(between, expected, stderr);
        assert!(warnings.contains("without the peer's notice: something may be missing"), "{warnings}");
    });
}

#[test]
fn a_client_that_is_cut_as_soon_as_it_has_shaken_hands_gets_no_end() {
    each(|locking, name| {
        let between = Between::start(&format!("cut-early{name}"), TLS_TO_CLIENT, locking);
        let connector = between.connector_of_ours();
        // What it sends last comes with its end: it fails before it is joined to the upstream, or just after.
        for _ in 0..20 {
            let (mut client, mut socket) = (connector.engine("localhost").unwrap(), between.proxy.connect());
            while client.handshake().unwrap() == Progress::Pending {
                send(&mut client, &mut socket);
                assert!(hear(&mut client, &mut socket));
            }
            client.send(&mut Evbuffer::from(b"question"), usize::MAX).unwrap();
            send(&mut client, &mut socket);
            socket.shutdown(Shutdown::Write).unwrap();
            while hear(&mut client, &mut socket) {}
            let answer = client.receive(&mut Evbuffer::new(), usize::MAX, Time::ZERO).unwrap();
            assert_eq!((answer.bytes, answer.ended), (0, false), "{locking:?}");
        }
    });
}

/// Sends what an engine has to be sent.
fn send(engine: &mut Engine, socket: &mut TcpStream) {
    let mut flight = vec![0; engine.to_send().len()];
    engine.to_send().remove(&mut flight).unwrap();
    socket.write_all(&flight).unwrap();
}

/// Gives an engine what arrives; false: nothing more does.
fn hear(engine: &mut Engine, socket: &mut TcpStream) -> bool {
    let mut flight = [0; 16 * 1024];
    let n = socket.read(&mut flight).unwrap_or_default();
    engine.arrived().add(&flight[..n]).unwrap();
    n > 0
}

#[test]
fn an_echo_answers_a_client_that_ends_without_the_notice_to_the_end_where_that_is_allowed() {
    each(|locking, name| {
        let files = Files::of(&format!("echo-allowed{name}"));
        let server =
            Server::start("echo", &[locking, &files.as_server(), &["--tls-allow-truncation"]].concat());
        let mut trusting = SslConnector::builder(SslMethod::tls_client()).unwrap();
        trusting.set_ca_file(&files.certificate).unwrap();
        let mut client = trusting.build().connect("localhost", server.connect()).unwrap();
        client.write_all(&pattern(SOME)).unwrap();
        client.get_ref().shutdown(Shutdown::Write).unwrap();
        let mut back = vec![0; SOME];
        client.read_exact(&mut back).unwrap();
        assert!(back == pattern(SOME), "{locking:?}");
        assert_eq!(client.ssl_read(&mut [0]).unwrap_err().code(), ErrorCode::ZERO_RETURN, "{locking:?}");
        drop(client);
        server.end();
    });
}
