//! The demo, from its first line to its last.

use std::{
    io::BufRead as _,
    process::{Command, Stdio},
    thread::available_parallelism,
};

use bufferevent_sync::Mutex;
use rustix::process::Signal;

use crate::support::{Process, rest, shell};

/// Two demos at a time could not keep what they promise on a machine with few cores.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

/// Runs a demo of a second with so many open files; what it says. On a machine that others keep busy a group may get less than it
/// was promised, or its members uneven shares: then it must say so, and fail. More than its limit lets nothing excuses.
fn demo(files: usize) -> String {
    let (code, stdout, stderr) = shell(&format!("ulimit -n {files} && exec \"$BEV\" demo --seconds 1"));
    match stderr.strip_prefix("error: a promise was not kept: ") {
        None => {
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
            assert!(stdout.ends_with("\n  every promise was kept\n"), "{stdout}");
        }
        Some(broken) => {
            assert_eq!(code, Some(1), "{broken}");
            assert!(!broken.contains("may have") && !stdout.contains("every promise"), "{broken}{stdout}");
        }
    }
    assert!(stdout.starts_with("bev demo: a TLS echo server on "), "{stdout}");
    assert!(stdout.contains("\n  every byte came back in place\n"), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
    stdout
}

#[test]
fn a_second_of_it_succeeds() {
    let _alone = ONE_BY_ONE.lock();
    // As many as a busy machine shakes hands with in the time there is.
    let stdout = demo(1_100);
    for word in [
        "requests", "MB/s", "p50", "p99", "checked", "steals", "busy", "gold", "silver", "bronze", "site",
        "fairness",
    ] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    assert_connections_add_up(&stdout);
    assert_nobody_got_more_than_allowed(&stdout);
}

/// As it is shown, to the last digit.
fn assert_nobody_got_more_than_allowed(stdout: &str) {
    let (_, table) = stdout.split_once("fairness\n").unwrap();
    for (line, name) in table.lines().zip(["gold", "silver", "bronze", "site"]) {
        let rates: Vec<f64> =
            line.split(" MB/s").filter_map(|part| part.split(' ').next_back()?.parse().ok()).collect();
        let [got, promised, most] = rates[..3] else { panic!("{line}") };
        assert!(line.trim_start().starts_with(name) && got <= most && promised <= most, "{stdout}");
    }
    assert!(stdout.contains("\n  fairness: Jain's index; 1 if all "), "{stdout}");
}

/// The table has each connection that stands once.
fn assert_connections_add_up(stdout: &str) {
    let (_, table) = stdout.split_once("   base  connections").unwrap();
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let name = words.next()?;
        Some((name, words.next()?.replace(',', "").parse::<usize>().ok()?))
    };
    let rows: Vec<(String, usize)> = table.lines().skip(1).map_while(row).collect();
    let (all, bases) = rows.split_last().unwrap();
    assert_eq!(all.0, "all", "{stdout}");
    assert_eq!(bases.iter().map(|(_, connections)| connections).sum::<usize>(), all.1, "{stdout}");
    let stand = stdout.lines().find(|line| line.contains("connections stand after")).unwrap();
    assert_eq!(row(&format!("- {stand}")).unwrap().1, all.1, "{stdout}");
    let secured = stdout.lines().find_map(|line| line.strip_prefix("  secured ")).unwrap();
    assert_eq!(row(&format!("- {secured}")).unwrap().1, all.1, "{stdout}");
    assert!(secured.ends_with(" of them resumed"), "{stdout}");
}

#[test]
fn it_makes_do_with_the_open_files_it_may_have() {
    let _alone = ONE_BY_ONE.lock();
    let stdout = demo(400);
    let told: Vec<&str> = stdout.lines().filter(|line| line.contains("open files")).collect();
    assert!(matches!(told[..], [line] if line.contains("2,000")), "{stdout}");
}

#[test]
fn one_connection_is_told_in_the_singular() {
    let _alone = ONE_BY_ONE.lock();
    let cores = available_parallelism().unwrap().get();
    // As the demo reckons: 64, 4 for each core and base, and 2 for a connection.
    let files = 64 + 4 * (cores + cores.max(4)) + 2;
    let stdout = demo(files);
    for words in
        [", 1 connection,", "1 connection, not 2,000", "1 connection stands", "with 1 request under way"]
    {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    assert!(!stdout.contains("half") && !stdout.contains("1 connections"), "{stdout}");
}

/// The program with few files to open, and so with few connections: not each test has to make thousands of handshakes.
fn small(args: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n 400 && exec \"$BEV\" {args}")]);
    command.env("BEV", env!("CARGO_BIN_EXE_bev"));
    command
}

#[test]
fn a_signal_ends_it_early_with_its_summary() {
    let _alone = ONE_BY_ONE.lock();
    let mut demo = Process::start(small("demo --seconds 3600").stdout(Stdio::piped()));
    let mut stdout = demo.stdout();
    let mut line = String::new();
    while !line.contains(" stand after ") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
    }
    demo.signal(Signal::INT);
    let last = rest(stdout);
    assert!(last.ends_with("every byte came back in place\n"), "{last}");
    assert_eq!(demo.wait().code(), Some(0));
}

#[test]
fn a_signal_ends_the_tenants_early_too() {
    let _alone = ONE_BY_ONE.lock();
    let mut demo = Process::start(small("demo --seconds 3").stdout(Stdio::piped()));
    let mut stdout = demo.stdout();
    let mut until = |words: &str| {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "{words}");
        }
    };
    until("rate limits: three tenants");
    // With the first second of them.
    until("   gold ");
    demo.signal(Signal::TERM);
    let last = rest(stdout);
    assert!(
        last.ends_with("\n  ended early, before it could be told whether every promise was kept\n"),
        "{last}"
    );
    assert_eq!(demo.wait().code(), Some(0));
}

#[test]
fn it_ends_quietly_with_its_reader() {
    let _alone = ONE_BY_ONE.lock();
    let script = "ulimit -n 400; { \"$BEV\" demo --seconds 3600; echo $? >&2; } | head -n 1";
    let (code, stdout, stderr) = shell(script);
    assert_eq!((code, stderr.as_str()), (Some(0), "141\n"));
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
}
