//! A store and its benchmark, with the proxy between them.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::process::Signal;

use super::{await_listener, free_port, is_there, lacks};
use crate::{
    support::{Process, Server, output},
    tls::Files,
};

/// A store that keeps nothing, and its address.
fn redis() -> (Process, String) {
    let port = free_port().to_string();
    // Packages that have the benchmark and not the server have it under another name: it goes by how it was called.
    let mut server = match is_there("redis-server") {
        true => Command::new("redis-server"),
        false => Command::new("redis-check-rdb"),
    };
    server.arg0("redis-server");
    server.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let server = Process::start(server.stdout(Stdio::null()));
    await_listener(port.parse().unwrap());
    (server, format!("127.0.0.1:{port}"))
}

fn benchmark(proxy: &Server, args: &[&str]) {
    let port = proxy.address.port().to_string();
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-h", "127.0.0.1", "-p", &port, "-n", "2000", "-P", "8", "-t", "set,get", "--csv"]);
    let got = output(benchmark.args(args));
    let told = String::from_utf8(got.stdout).unwrap();
    assert!(got.status.success(), "{args:?}: {told}{}", String::from_utf8_lossy(&got.stderr));
    for test in ["\"SET\",", "\"GET\","] {
        assert!(told.lines().any(|line| line.starts_with(test)), "{args:?}: {told}");
    }
}

#[test]
fn redis_benchmark_runs_through_the_proxy() {
    if lacks(&["redis-benchmark", "redis-check-rdb"]) {
        return;
    }
    let files = Files::of("redis");
    let (mut redis, address) = redis();
    let plain = Server::proxy(&address, &[]);
    let secured = Server::proxy(&address, &files.as_server());
    let both = Server::proxy(secured.address, &["--upstream-tls", "--ca", &files.certificate]);
    benchmark(&plain, &[]);
    benchmark(&secured, &["--tls", "--cacert", &files.certificate]);
    benchmark(&both, &[]);
    [both, secured, plain].into_iter().for_each(Server::end);
    redis.signal(Signal::TERM);
    redis.wait();
}
