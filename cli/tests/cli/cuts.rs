//! A connection through the proxy that is cut off on one side: the other gets what came before, and is never told that it is the
//! end.

use std::{
    io::{Read as _, Write as _},
    thread,
};

use rustix::process::Signal;

use crate::{
    peers::{Between, Peer, Speaks},
    proxy::LOCKINGS,
    servers::pattern,
};

/// More than the buffers of both systems and of the proxy hold at once.
const MUCH: usize = 10_000_000;

/// More than a record, and no whole number of them.
const SOME: usize = 100_001;

/// Calls `one` with each locking, and with and without TLS on either side. Those of one locking run side by side, for a reset comes
/// only when the other has had time to read.
fn each_way(one: impl Fn(&[&str], Speaks) + Sync) {
    for locking in [LOCKINGS[0], LOCKINGS[2], LOCKINGS[4]] {
        thread::scope(|scope| {
            for speaks in Speaks::ALL {
                let one = &one;
                scope.spawn(move || one(locking, speaks));
            }
        });
    }
}

/// Calls `test` with a new proxy and both ends of a connection through it, who is cut off first.
fn each(name: &str, args: &[&str], test: impl Fn(Peer, Peer, &str) + Sync) {
    let one = |locking: &[&str], speaks: Speaks, of_upstream: bool| {
        let name = format!("{name}-{of_upstream}-{speaks}").replace([' ', ','], "");
        let between = Between::start(&name, speaks, &[locking, args].concat());
        let (client, server) = between.connect();
        let (cut, other) = if of_upstream { (server, client) } else { (client, server) };
        test(cut, other, &format!("{locking:?}, {speaks}, upstream cut off: {of_upstream}"));
        between.proxy.signal(Signal::TERM);
        assert_eq!(between.proxy.wait(), Some(0), "{locking:?}, {speaks}");
    };
    each_way(|locking, speaks| {
        thread::scope(|scope| {
            scope.spawn(|| one(locking, speaks, true));
            one(locking, speaks, false);
        });
    });
}

#[test]
fn an_end_is_told_to_the_other_side_behind_all_that_came() {
    let sent = pattern(SOME);
    each("ended", &[], |mut one, mut other, shown| {
        one.write_all(&sent).unwrap();
        one.end();
        let (came, is_end) = other.read_out();
        assert!(came == sent && is_end, "{shown}: {} bytes came, then an end: {is_end}", came.len());
    });
}

#[test]
fn a_reset_is_no_end_for_the_other_side() {
    let sent = pattern(SOME);
    each("reset", &[], |mut cut, mut other, shown| {
        cut.write_all(&sent).unwrap();
        let mut came = vec![0; SOME];
        other.read_exact(&mut came).unwrap();
        assert!(came == sent, "{shown}");
        cut.reset();
        let (more, is_end) = other.read_out();
        assert!(more.is_empty() && !is_end, "{shown}: {} bytes more, then an end: {is_end}", more.len());
    });
}

#[test]
fn an_upstream_that_dies_in_the_middle_of_a_download_is_no_end_for_the_client() {
    let sent = pattern(MUCH);
    each("download", &[], |mut cut, mut other, shown| {
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                // It dies as soon as its system has taken all.
                cut.write_all(&sent).unwrap();
                cut.reset();
            });
            let mut begun = vec![0; SOME];
            other.read_exact(&mut begun).unwrap();
            let (rest, is_end) = other.read_out();
            sending.join().unwrap();
            let came = [begun, rest].concat();
            // What its system had not sent when it died is lost with it.
            assert!(sent.starts_with(&came), "{shown}: {} bytes came", came.len());
            assert!(!is_end, "{shown}: an end after {} bytes", came.len());
        });
    });
}

#[test]
fn a_truncation_of_tls_is_no_end_for_the_other_side_and_loses_nothing() {
    let sent = pattern(SOME);
    each("truncated", &[], |mut cut, mut other, shown| {
        if let Peer::Plain(_) = cut {
            // An end like any other.
            return;
        }
        cut.write_all(&sent).unwrap();
        cut.truncate();
        let (came, is_end) = other.read_out();
        assert!(came == sent && !is_end, "{shown}: {} bytes came, then an end: {is_end}", came.len());
    });
}

#[test]
fn a_timeout_is_no_end_for_either_side_and_loses_nothing() {
    let sent = pattern(SOME);
    each("silent", &["--idle", "300ms"], |mut one, mut other, shown| {
        one.write_all(&sent).unwrap();
        for (peer, expected) in [(&mut other, &sent[..]), (&mut one, &[])] {
            let (came, is_end) = peer.read_out();
            assert!(came == expected && !is_end, "{shown}: {} bytes came, then an end: {is_end}", came.len());
        }
    });
}

/// Calls `test` with a new proxy that is told to end, and both ends of a connection through it: the client, the upstream.
fn each_that_is_to_end(name: &str, grace: &str, test: impl Fn(Peer, Peer, &str) + Sync) {
    each_way(|locking, speaks| {
        let name = format!("{name}-{speaks}").replace([' ', ','], "");
        let between = Between::start(&name, speaks, &[locking, &["--grace", grace]].concat());
        let (client, server) = between.connect();
        between.proxy.signal(Signal::TERM);
        test(client, server, &format!("{locking:?}, {speaks}"));
        assert_eq!(between.proxy.wait(), Some(0), "{locking:?}, {speaks}");
    });
}

#[test]
fn a_proxy_that_is_told_to_end_lets_what_is_under_way_end_first() {
    let (question, answer) = (pattern(SOME), pattern(MUCH));
    each_that_is_to_end("under-way", "10m", |mut client, mut server, shown| {
        client.write_all(&question).unwrap();
        let mut asked = vec![0; SOME];
        server.read_exact(&mut asked).unwrap();
        assert!(asked == question, "{shown}");
        thread::scope(|scope| {
            scope.spawn(|| {
                server.write_all(&answer).unwrap();
                server.end();
            });
            let (came, is_end) = client.read_out();
            assert!(came == answer && is_end, "{shown}: {} bytes came, then an end: {is_end}", came.len());
        });
    });
}

#[test]
fn a_proxy_whose_grace_is_over_tells_no_end() {
    let sent = pattern(SOME);
    each_that_is_to_end("over", "300ms", |mut client, mut server, shown| {
        server.write_all(&sent).unwrap();
        let (came, is_end) = client.read_out();
        assert!(
            sent.starts_with(&came) && !is_end,
            "{shown}: {} bytes came, then an end: {is_end}",
            came.len()
        );
        let (more, is_end) = server.read_out();
        assert!(more.is_empty() && !is_end, "{shown}: then an end: {is_end}");
    });
}
