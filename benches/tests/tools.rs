//! The tools against each other, with small loads.

use std::io;
use std::path::Path;
use std::time::Duration;

use benches::Mode;
use benches::compare::{Bench, Load, Server, cpu, memory, syscalls};
use benches::drive::Limit;

#[test]
fn echo_is_complete_and_correct() -> io::Result<()> {
    one_round(&load(Mode::Echo, 8, 64, 200), 1)
}

#[test]
fn echo_larger_than_any_buffer_is_complete_and_correct() -> io::Result<()> {
    one_round(&load(Mode::Echo, 2, 8_000_000, 4), 1)
}

#[test]
fn two_threads_share_the_connections() -> io::Result<()> {
    one_round(&load(Mode::Echo, 8, 64, 200), 2)
}

#[test]
fn sink_takes_what_is_sent() -> io::Result<()> {
    one_round(&load(Mode::Sink, 2, 65_536, 200), 1)
}

#[test]
fn source_sends() -> io::Result<()> {
    one_round(&load(Mode::Source, 2, 65_536, 200), 2)
}

#[test]
fn churn_counts_connections() -> io::Result<()> {
    one_round(&load(Mode::Churn, 8, 64, 100), 1)?;
    one_round(&load(Mode::Churn, 8, 64, 100), 2)
}

#[test]
fn echo_over_tls_is_complete_and_correct() -> io::Result<()> {
    let over_tls = |connections, size, requests, threads| {
        one_round(&Load { tls: true, ..load(Mode::Echo, connections, size, requests) }, threads)
    };
    over_tls(8, 64, 200, 1)?;
    over_tls(4, 20_000, 40, 2)?;
    over_tls(2, 1_000_000, 4, 1)
}

#[test]
fn churn_over_tls_shakes_hands_in_full_each_time() -> io::Result<()> {
    one_round(&Load { tls: true, ..load(Mode::Churn, 8, 64, 100) }, 2)
}

#[test]
fn over_tls_the_yardstick_makes_two_calls_and_a_wait_per_echo() -> io::Result<()> {
    let echo = Load { tls: true, ..load(Mode::Echo, 1, 64, 0) };
    // Where there is no strace, or it may not trace here, there is nothing to be said.
    if let Ok(Some(calls)) = syscalls::measure(&bench()?, &server(&echo, 1)?, &echo, 100) {
        assert!((calls.total() - 3.0).abs() < 0.1, "{calls:?}");
    }
    Ok(())
}

#[test]
fn load_for_a_time_ends() -> io::Result<()> {
    let limit = Limit::Time(Duration::from_millis(100));
    one_round(&Load { limit, ..load(Mode::Echo, 4, 64, 0) }, 1)
}

#[test]
fn idle_connections_of_the_yardstick_are_small() -> io::Result<()> {
    let usage = memory::measure(&bench()?, &yard(1)?, false, 500, 64)?;
    assert!(usage.rss < 1.0, "{usage:?}");
    Ok(())
}

#[test]
fn the_yardstick_makes_two_calls_and_a_wait_per_echo() -> io::Result<()> {
    let calls = match syscalls::measure(&bench()?, &yard(1)?, &load(Mode::Echo, 1, 64, 0), 100) {
        Ok(Some(calls)) => calls,
        // There is none, or it may not trace here.
        Ok(None) | Err(_) => return Ok(()),
    };
    assert!((calls.total() - 3.0).abs() < 0.1, "{calls:?}");
    Ok(())
}

#[test]
fn a_server_that_says_nothing_is_an_error() -> io::Result<()> {
    let servers = [Server::parse("true=true {addr}")?];
    assert!(cpu::measure(&bench()?, &servers, &load(Mode::Echo, 1, 1, 1), 1, 2, |_| {}).is_err());
    Ok(())
}

fn one_round(load: &Load, threads: usize) -> io::Result<()> {
    let all = cpu::measure(&bench()?, &[server(load, threads)?], load, 1, 2, |_| {})?;
    let run = all[0].runs[0];
    assert_eq!(run.errors, 0.0, "{run:?}");
    assert!(run.rate > 0.0, "{run:?}");
    Ok(())
}

fn load(mode: Mode, connections: usize, size: usize, requests: u64) -> Load {
    Load { mode, tls: false, connections, size, limit: Limit::Requests(requests), warmup: Duration::ZERO }
}

fn yard(threads: usize) -> io::Result<Server> {
    server(&load(Mode::Echo, 0, 0, 0), threads)
}

fn server(load: &Load, threads: usize) -> io::Result<Server> {
    let tls = if load.tls { "--tls" } else { "" };
    Server::parse(&format!("yard={{bin}}/yard {{mode}} --listen {{addr}} --threads {threads} {tls}"))
}

fn bench() -> io::Result<Bench> {
    let bin = Path::new(env!("CARGO_BIN_EXE_yard")).parent().ok_or(io::ErrorKind::NotFound)?;
    Ok(Bench::at(bin))
}
