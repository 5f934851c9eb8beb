//! The demo, from its first line to its last.

use crate::support::{run, shell};

fn assert_good((code, stdout, stderr): (Option<i32>, String, String)) -> String {
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.starts_with("bev demo: an echo server on "), "{stdout}");
    assert!(stdout.ends_with("every byte came back in place\n"), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
    stdout
}

#[test]
fn a_second_of_it_succeeds() {
    let stdout = assert_good(run(&["demo", "--seconds", "1"]));
    for word in ["requests", "MB/s", "p50", "p99", "bytes", "steals", "busy"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
}

#[test]
fn it_makes_do_with_the_open_files_it_may_have() {
    let stdout = assert_good(shell("ulimit -n 400 && exec \"$BEV\" demo --seconds 1"));
    let told: Vec<&str> = stdout.lines().filter(|line| line.contains("open files")).collect();
    assert!(matches!(told[..], [line] if line.contains("2,000")), "{stdout}");
}
