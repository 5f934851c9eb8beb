//! What the program says to arguments, good and bad.

use std::{net::TcpListener, process::Stdio};

use crate::support::{Process, bev, rest, run, shell, unheard};

fn is_one_line_error(stderr: &str) -> bool {
    stderr.starts_with("error: ") && stderr.ends_with('\n') && stderr.lines().count() == 1
}

#[test]
fn bad_arguments_are_told_on_one_line_with_exit_code_2() {
    let cases: &[&[&str]] = &[
        &["nonsense"],
        &["--nonsense"],
        &["echo"],
        &["sink"],
        &["source"],
        &["echo", "--listen"],
        &["echo", "--listen", "7000"],
        &["echo", "--listen", "unix:"],
        &["load", "--connect", "unix:/x", "--mode", "echo", "--tls"],
        &["proxy", "--listen", "127.0.0.1:0", "--upstream", "unix:/x", "--upstream-tls"],
        &["echo", "--listen", ":7000"],
        &["echo", "--listen", "127.0.0.1:65536"],
        &["echo", "--listen", "127.0.0.1:0", "more"],
        &["echo", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
        &["echo", "--listen", "127.0.0.1:0", "--workers", "0"],
        &["echo", "--listen", "127.0.0.1:0", "--workers", "1025"],
        &["echo", "--listen", "127.0.0.1:0", "--workers", "many"],
        &["echo", "--listen", "127.0.0.1:0", "--bases", "0"],
        &["echo", "--listen", "127.0.0.1:0", "--bases", "-1"],
        &["echo", "--listen", "127.0.0.1:0", "--pinned", "--workers", "1", "--bases", "2"],
        &["echo", "--listen", "127.0.0.1:0", "--unlocked"],
        &["echo", "--listen", "127.0.0.1:0", "--unlocked", "--threadsafe"],
        &["sink", "--listen", "127.0.0.1:0", "--grace", "5"],
        &["sink", "--listen", "127.0.0.1:0", "--spread", "11s"],
        &["sink", "--listen", "127.0.0.1:0", "--idle", "0s"],
        &["sink", "--listen", "127.0.0.1:0", "--lifetime", "never"],
        &["echo", "--listen", "127.0.0.1:0", "--limit", "10Mb/s"],
        &["echo", "--listen", "127.0.0.1:0", "--tick", "10ms"],
        &["sink", "--listen", "127.0.0.1:0", "--min-share", "64"],
        &["source", "--listen", "127.0.0.1:0", "--limit", "1MB/s", "--min-share", "64"],
        &["source", "--listen", "127.0.0.1:0", "--group-limit", "18446744073709551615", "--tick", "24h"],
        &["proxy"],
        &["proxy", "--listen", "127.0.0.1:0"],
        &["proxy", "--upstream", "127.0.0.1:1"],
        &["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1"],
        &["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:0"],
        &["proxy", "--listen", "127.0.0.1:0", "--upstream", "two words:80"],
        &["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--tick", "10ms"],
        &["echo", "--listen", "127.0.0.1:0", "--tls-cert", "x.crt"],
        &["echo", "--listen", "127.0.0.1:0", "--tls-key", "x.key"],
        &["echo", "--listen", "127.0.0.1:0", "--tls-client-ca", "x.crt"],
        &["echo", "--listen", "127.0.0.1:0", "--self-signed", "--tls-cert", "x.crt", "--tls-key", "x.key"],
        &["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--ca", "x.crt"],
        &["echo", "--listen", "127.0.0.1:0", "--save-cert", "x.crt"],
        &["echo", "--listen", "127.0.0.1:0", "--tls-cert", "x", "--tls-key", "x", "--save-cert", "x.crt"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--insecure"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--client-cert", "x", "--client-key", "x"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--tls", "--client-cert", "x.crt"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--tls", "--client-key", "x.key"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--tls", "--insecure", "--ca", "x.crt"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--tls", "--server-name", "no..name"],
        &["echo", "--listen", "127.0.0.1:0", "--tls-allow-truncation"],
        &["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--upstream-allow-truncation"],
        &["load"],
        &["load", "--connect", "127.0.0.1:1"],
        &["load", "--mode", "echo"],
        &["load", "--connect", "127.0.0.1", "--mode", "echo"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "shout"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--connections", "0"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--connections", "-1"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--size", "0"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--size", "2GiB"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--size", "64XB"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--duration", "5"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--duration", "0s"],
        &["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--workers", "0"],
        &["demo", "--seconds", "0"],
        &["demo", "--seconds", "1.5"],
        &["demo", "now"],
        &["completions"],
        &["completions", "cmd"],
        &["man", "echo"],
    ];
    for args in cases {
        let (code, stdout, stderr) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert_eq!(stdout, "", "{args:?}");
        assert!(is_one_line_error(&stderr), "{args:?}: {stderr}");
    }
}

#[test]
fn no_argument_at_all_is_answered_with_the_help_on_stderr_and_exit_code_2() {
    let (code, stdout, stderr) = run(&[]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_eq!(stderr, run(&["-h"]).1);
    // A command that needs arguments says which.
    let (code, _, stderr) = run(&["echo"]);
    assert!(code == Some(2) && is_one_line_error(&stderr) && stderr.contains("--listen"), "{stderr}");
}

/// Everything that is a number, with what is said of a bad one.
#[test]
fn a_bad_number_is_told_with_its_argument_and_what_is_allowed() {
    let serve = &["echo", "--listen", "127.0.0.1:0"][..];
    let limited = &["echo", "--listen", "127.0.0.1:0", "--group-limit", "1MB/s"][..];
    let load = &["load", "--connect", "127.0.0.1:1", "--mode", "echo"][..];
    let cases: &[(&[&str], &str, &[&str], &str)] = &[
        (serve, "--workers", &["0", "1025", "-1", "many", "1.5"], "a whole number from 1 to 1024"),
        (serve, "--bases", &["0", "1025", "-1", "many"], "a whole number from 1 to 1024"),
        (serve, "--grace", &["5", "-1s", "s"], "such as 500ms"),
        (serve, "--max-connections", &["0", "-1", "many"], "a whole number from 1 to 10000000"),
        (serve, "--memory", &["0", "-1", "101%", "1KiB", "much"], "1%"),
        (
            &["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1"],
            "--connect-timeout",
            &["5", "0s", "-1s", "none"],
            "such as 500ms, 5s or 2m",
        ),
        (load, "--connect-timeout", &["5", "0s", "-1s"], "such as 500ms, 5s or 2m"),
        (serve, "--idle", &["5", "0s", "-1s", "never"], "such as 500ms, 5s or 2m, or none"),
        (serve, "--spread", &["1", "0s"], "or none"),
        (serve, "--lifetime", &["1", "25h"], "or none"),
        (serve, "--limit", &["", "fast"], "no number at the beginning, as in 10MB/s"),
        (serve, "--limit", &["none", "0"], "for no limit leave the option out"),
        (serve, "--limit", &["-1", "-2.5MB/s"], "below zero; the least is 1"),
        (serve, "--limit", &["0", "0.9", "7bit/s"], "less than one byte per second, which is the least"),
        (
            serve,
            "--limit",
            &["99999999999999999999999", "20000000TB/s"],
            "more than 18446744073709551615 bytes",
        ),
        (serve, "--group-limit", &["10MB", "80Mbit"], "/s is missing, as in 10MB/s"),
        (serve, "--group-limit", &["10MBps", "10m/s"], "no unit such as B/s, kB/s, MB/s, MiB/s or Mbit/s"),
        (serve, "--group-limit", &["10Mb/s"], "say bit or B"),
        (limited, "--tick", &["0s"], "tick is zero: the least is 1ms"),
        (limited, "--tick", &["999us"], "shorter than 1ms, which is the least"),
        (limited, "--tick", &["600h"], "longer than 2147483s, which is the most"),
        (limited, "--tick", &["50", "-1s"], "such as 500ms"),
        (limited, "--min-share", &["-1", "2GiB", "some"], "or 0"),
        // Two bytes in 50 ms are 40 a second, three are 60.
        (
            serve,
            "--limit",
            &["59"],
            "59 B/s (472 bit/s) is no whole number of bytes in a tick of 50ms; a longer --tick",
        ),
        (load, "--workers", &["0", "1025"], "a whole number from 1 to 1024"),
        (load, "--connections", &["0", "-1", "1000001", "many"], "a whole number from 1 to 1000000"),
        (load, "--size", &["0", "-1", "2GiB", "many"], "1 byte to 1 GiB"),
        (load, "--duration", &["5", "0s", "-1", "soon"], "such as 500ms"),
        (&["demo"], "--seconds", &["0", "-1", "1.5", "3601"], "a whole number from 1 to 3600"),
    ];
    for (command, argument, values, allowed) in cases {
        for value in *values {
            let (code, _, stderr) = run(&[*command, &[*argument, *value]].concat());
            assert_eq!(code, Some(2), "{argument} {value}");
            assert!(stderr.contains(argument) && stderr.contains(allowed), "{argument} {value}: {stderr}");
        }
    }
}

#[test]
fn a_name_that_no_certificate_can_be_for_is_told_with_its_argument() {
    let load = ["load", "--connect", "127.0.0.1:1", "--mode", "echo", "--tls", "--server-name"];
    for name in ["a b", "no..name", "", "b\u{fc}cher.example"] {
        let (code, _, stderr) = run(&[&load[..], &[name]].concat());
        let told = format!("error: --server-name {name:?}: expected the name of a host, or an address, ");
        assert!(code == Some(2) && stderr.starts_with(&told) && is_one_line_error(&stderr), "{stderr}");
    }
}

#[test]
fn unlocked_without_defer_says_what_is_missing() {
    let (_, _, stderr) = run(&["echo", "--listen", "127.0.0.1:0", "--unlocked", "--threadsafe"]);
    assert!(stderr.contains("--defer"), "{stderr}");
}

#[test]
fn what_belongs_to_a_rate_limit_says_what_is_missing() {
    let serve = ["echo", "--listen", "127.0.0.1:0"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["--tick", "10ms"], &["--limit <RATE>", "--group-limit <RATE>"]),
        (&["--min-share", "0"], &["--group-limit <RATE>"]),
        (&["--min-share", "0", "--limit", "1MB/s"], &["--group-limit <RATE>"]),
    ];
    for (args, missing) in cases {
        let (code, _, stderr) = run(&[&serve, *args].concat());
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(missing.iter().all(|option| stderr.contains(option)), "{args:?}: {stderr}");
    }
}

#[test]
fn help_and_version_succeed() {
    let (code, stdout, stderr) = run(&["--version"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, format!("bev {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["", "echo", "sink", "source", "proxy", "load", "demo", "completions", "man"] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let (code, stdout, stderr) = run(&args);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(stdout.contains("Usage: bev"), "{args:?}: {stdout}");
    }
}

#[test]
fn what_the_system_refuses_is_told_on_one_line_with_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for kind in [&["echo"][..], &["sink"], &["source"], &["proxy", "--upstream", "127.0.0.1:1"]] {
        let (code, stdout, stderr) = run(&[kind, &["--listen", &address]].concat());
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{kind:?}: {stderr}");
        assert!(is_one_line_error(&stderr) && stderr.contains(&address), "{kind:?}: {stderr}");
    }
    // Of no interface of this machine: the block is for documentation.
    let (code, _, stderr) = run(&["echo", "--listen", "192.0.2.1:0"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(is_one_line_error(&stderr), "{stderr}");
}

#[test]
fn too_few_open_files_are_told_before_the_load_begins() {
    let script = "ulimit -n 100 && exec \"$BEV\" load --connect 127.0.0.1:1 --mode echo --connections 1000";
    let (code, stdout, stderr) = shell(script);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(is_one_line_error(&stderr) && stderr.contains("100"), "{stderr}");
}

#[test]
fn a_runtime_that_cannot_start_is_told_as_that() {
    for command in ["echo --listen 127.0.0.1:0", "demo"] {
        let (code, stdout, stderr) = shell(&format!("ulimit -n 4 && exec \"$BEV\" {command}"));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{command}: {stderr}");
        assert!(is_one_line_error(&stderr), "{command}: {stderr}");
        assert!(
            stderr.starts_with("error: cannot start the runtime: Too many open files"),
            "{command}: {stderr}"
        );
    }
}

#[test]
fn threads_that_cannot_start_are_told_before_anybody_is_invited() {
    // No address space holds such a stack.
    let script =
        "RUST_MIN_STACK=$((1 << 60)) exec \"$BEV\" echo --listen 127.0.0.1:0 --workers 1024 --bases 1";
    let (code, stdout, stderr) = shell(script);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(is_one_line_error(&stderr) && stderr.starts_with("error: cannot start thread "), "{stderr}");
}

#[test]
fn help_that_nobody_hears_ends_quietly() {
    let mut help = Process::start(bev(&["--help"]).stdout(unheard()).stderr(Stdio::piped()));
    assert_eq!(rest(help.stderr()), "");
    assert_eq!(help.wait().code(), Some(128 + 13));
}
