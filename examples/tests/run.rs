//! Runs the examples that end by themselves. `cargo test -p examples` builds them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    path::PathBuf,
    process::{Command, Output},
};

/// The examples lie beside the folder of the test programs.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

fn run(name: &str) -> Output {
    Command::new(example(name)).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn lines(name: &str) -> Vec<String> {
    let output = run(name);
    assert!(output.status.success(), "{name}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn lent_threads_answer_and_come_back() {
    let lines = lines("lent_threads");
    assert_eq!(lines.first().unwrap(), "lent 3 threads");
    for (line, message) in lines[1..5].iter().zip(["one", "two", "three", "four"]) {
        assert!(line.starts_with("pool-") && line.ends_with(&format!("got {message:?}")), "{line}");
    }
    assert_eq!(lines.last().unwrap(), "all threads are back");
}

#[test]
fn a_handle_writes_in_order_and_closes() {
    let lines = lines("handle");
    let got: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("peer got: ")).collect();
    assert_eq!(got, ["first, under the lock", "second, under the same lock", "third, without waiting"]);
    assert!(lines.iter().any(|line| line == "closed, 0 bytes unsent"), "{lines:?}");
}

#[test]
fn a_name_is_connected_to_past_an_address_that_refuses_and_an_unknown_one_is_told() {
    let mut lines = lines("connect_by_name");
    lines.sort();
    assert_eq!(lines[0], "nowhere: the name is not known");
    assert!(lines[1].starts_with("service: connected to Some(127.0.0.1:"), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_file_is_sent_to_each_peer() {
    assert_eq!(lines("send_file"), [1, 2, 3].map(|peer| format!("peer {peer} got all of it")));
}

#[test]
fn a_nested_base_serves_and_ticks_inside_a_foreign_loop() {
    let mut lines = lines("nested_base");
    assert_eq!(lines.pop().unwrap(), "the loop is over");
    let (ticks, said): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with("tick"));
    assert_eq!(ticks, ["tick 1", "tick 2", "tick 3"]);
    let said: String = said.iter().filter_map(|line| line.strip_prefix("the pipe says: ")).collect();
    assert_eq!(said, "through the base");
}

#[test]
fn a_page_is_deflated_and_inflated() {
    let lines = lines("zlib");
    assert_eq!(lines[..2], ["asked for \"the page\"", "answered: true"]);
    let (got, wire) = lines[2].strip_prefix("got ").unwrap().split_once(" bytes, ").unwrap();
    let wire: u64 = wire.split(' ').next().unwrap().parse().unwrap();
    assert!(got == "1000000" && (1_000..10_000).contains(&wire), "{lines:?}");
}

#[test]
fn lines_are_numbered_until_one_is_too_long() {
    let lines = lines("lines");
    assert_eq!(lines, ["1: one", "2: two", "3: three", "goodbye: a line has more than 80 bytes"]);
}

#[test]
fn a_tap_shows_both_ways() {
    let shown = [("<", "hello", 5), (">", "hello", 5), ("<", "again", 10), (">", "again", 10)];
    assert_eq!(lines("tap"), shown.map(|(arrow, word, n)| format!("{arrow} {word:?}, {n} bytes so far")));
}

#[test]
fn a_proxy_deflates_for_its_server_and_inflates_the_answer() {
    let lines = lines("compressed_proxy");
    assert_eq!(lines, ["the server inflated 310000 bytes", "the client got 310000 bytes, all right"]);
}

#[test]
fn echo_tells_an_address_that_it_cannot_have() {
    let output = Command::new(example("echo")).arg("192.0.2.1:0").output().unwrap();
    assert!(!output.status.success());
}
