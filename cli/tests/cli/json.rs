//! What is told to machines: the same things under the same names, whoever tells them.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::{
    load::{field, number},
    servers::{talk_to_echo, talk_to_source},
    support::{Server, run},
};

/// The names in a flat object, none of whose texts has a comma.
fn names(json: &str) -> BTreeSet<&str> {
    let fields = json.trim_end().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap();
    let names = fields.split(',').map(|field| field.strip_prefix('"').unwrap().split_once('"').unwrap().0);
    let found: BTreeSet<&str> = names.clone().collect();
    assert_eq!(found.len(), names.count(), "a name twice: {json}");
    found
}

fn farewell(server: Server) -> String {
    server.signal(Signal::TERM);
    let json = server.farewell();
    assert_eq!(json.lines().count(), 1, "{json}");
    json
}

/// What a server of this kind that nobody uses tells.
fn of_idle(kind: &str, args: &[&str]) -> String {
    farewell(Server::start(kind, &[&["--json"], args].concat()))
}

#[test]
fn what_all_servers_tell_has_one_name_and_a_proxy_tells_more() {
    let [echo, sink, source] = ["echo", "sink", "source"].map(|kind| {
        let json = of_idle(kind, &[]);
        assert_eq!(field(&json, "mode"), format!("\"{kind}\""));
        json
    });
    assert_eq!(names(&echo), names(&sink));
    assert_eq!(names(&echo), names(&source));
    let proxy = of_idle("proxy", &["--upstream", "127.0.0.1:1"]);
    assert!(names(&proxy).is_superset(&names(&echo)), "{proxy} {echo}");
    let server = Server::start("echo", &[]);
    let address = server.address.to_string();
    let (_, load, _) =
        run(&["load", "--connect", &address, "--mode", "echo", "--duration", "100ms", "--json"]);
    server.end();
    for name in ["mode", "seconds"] {
        assert!(names(&load).contains(name) && names(&proxy).contains(name), "{name}");
    }
}

#[test]
fn what_a_server_tells_at_the_beginning_is_json_too() {
    for (args, is_told) in [(&["--json"][..], false), (&["--json", "--self-signed"], true)] {
        let server = Server::start("echo", args);
        assert_eq!(names(&server.first), BTreeSet::from(["listening", "certificate_sha256"]));
        assert_eq!(field(&server.first, "listening"), format!("\"{}\"", server.address));
        let fingerprint = field(&server.first, "certificate_sha256");
        assert_eq!(fingerprint.matches(':').count(), if is_told { 31 } else { 0 }, "{fingerprint}");
        assert_eq!(fingerprint == "null", !is_told);
        server.end();
    }
}

#[test]
fn a_number_that_counts_no_things_says_what_it_is_of() {
    let server = Server::start("source", &["--json", "--limit", "1MB/s", "--group-limit", "2MB/s"]);
    talk_to_source(&mut server.connect(), 300_000);
    let json = farewell(server);
    for name in names(&json) {
        let is_fraction = field(&json, name).contains('.');
        let has_unit = ["seconds", "_us", "per_second"].iter().any(|unit| name.ends_with(unit));
        assert!(!is_fraction || has_unit, "{name}: {json}");
    }
}

#[test]
fn a_server_tells_what_it_did_within_which_limits() {
    let limits = ["--limit", "1MB/s", "--group-limit", "8Mbit/s", "--tick", "20ms"];
    let others = ["--max-connections", "7", "--memory", "64MiB", "--idle", "90s", "--lifetime", "none"];
    let server = Server::start("echo", &[&["--json"], &limits[..], &others].concat());
    talk_to_echo(server.connect(), 300_000);
    let json = farewell(server);
    let expected = [
        ("mode", "\"echo\""),
        ("clients", "1"),
        ("tls_handshakes_failed", "0"),
        ("max_connections", "7"),
        ("memory_bytes", "67108864"),
        ("idle_seconds", "90.000"),
        ("lifetime_seconds", "null"),
        ("limit_bytes_per_second", "1000000"),
        ("group_limit_bytes_per_second", "1000000"),
        ("tick_us", "20000.0"),
        ("in_bytes", "300000"),
        ("out_bytes", "300000"),
        ("unsent_bytes", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(field(&json, name), value, "{name}: {json}");
    }
    for direction in ["in", "out"] {
        for whose in ["all", "each"] {
            let rate = number(&json, &format!("{whose}_{direction}_bytes_per_second"));
            let burst = number(&json, &format!("{whose}_{direction}_burst_bytes"));
            assert!(rate > 0.0 && (1.0..300_000.0).contains(&burst), "{whose} {direction}: {json}");
        }
    }
}

#[test]
fn without_limits_there_are_none_to_tell() {
    let server = Server::start("echo", &["--json", "--memory", "none", "--idle", "none"]);
    talk_to_echo(server.connect(), 1_000);
    let json = farewell(server);
    for name in [
        "memory_bytes",
        "idle_seconds",
        "limit_bytes_per_second",
        "group_limit_bytes_per_second",
        "tick_us",
        "in_bytes",
        "each_out_burst_bytes",
    ] {
        assert_eq!(field(&json, name), "null", "{name}: {json}");
    }
    assert!(number(&json, "max_connections") > 0.0, "{json}");
}
