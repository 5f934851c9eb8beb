//! The manual page and the completions, which come from the definition of the command line.

use std::process::Stdio;

use crate::support::{Process, bev, rest, run, shell, unheard};

/// Every command, with the options that its help names.
fn commands() -> Vec<(String, Vec<String>)> {
    let (_, help, _) = run(&["--help"]);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    commands.into_iter().map(|name| (name.clone(), options(&name))).collect()
}

fn options(command: &str) -> Vec<String> {
    let (_, help, _) = run(&[command, "--help"]);
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let words = lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
    words.map(|word| word.trim_end_matches(',').to_owned()).filter(|word| word != "--help").collect()
}

#[test]
fn the_page_has_a_section_for_each_command_with_its_options() {
    let (code, page, stderr) = run(&["man"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(page.contains(&format!(".TH bev 1  \"bev {}\"", env!("CARGO_PKG_VERSION"))), "{page}");
    let commands = commands();
    assert!(commands.len() >= 8, "{commands:?}");
    for (command, options) in commands {
        let heading = format!(".SH \"BEV {}\"\n", command.to_uppercase());
        let (_, section) = page.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split(".SH ").next().unwrap_or_default().replace("\\-", "-");
        assert!(section.contains(&format!("bev {command}")), "{section}");
        let usage = run(&[&command, "--help"]).1;
        let usage =
            usage.lines().find_map(|line| line.strip_prefix(&format!("Usage: bev {command}"))).unwrap();
        assert!(section.contains(&format!("\\fBbev {command}\\fR{usage}\n")), "{usage}: {section}");
        for option in options {
            assert!(section.contains(&format!("\\fB{option}\\fR")), "{command} {option}: {section}");
        }
    }
}

#[test]
fn there_are_completions_for_each_shell_with_every_option() {
    for name in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, script, stderr) = run(&["completions", name]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{name}");
        for (command, options) in commands() {
            assert!(script.contains(&command), "{name}: {command}");
            for option in options {
                assert!(script.contains(option.trim_start_matches('-')), "{name}: {command} {option}");
            }
        }
    }
}

#[test]
fn bash_takes_the_completions_and_completes() {
    let ask = |words: &str, at: usize| {
        let script = format!(
            "set -u; source <(\"$BEV\" completions bash); COMP_WORDS=({words}); COMP_CWORD={at}; \
             _bev bev \"${{COMP_WORDS[$COMP_CWORD]}}\" \"${{COMP_WORDS[$COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let (code, out, stderr) = shell(&format!("exec bash -c '{script}'"));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{words}");
        out.trim_end().to_owned()
    };
    assert_eq!(ask("bev ec", 1), "echo");
    assert_eq!(ask("bev echo --idl", 2), "--idle");
    assert_eq!(ask("bev load --mode s", 3), "sink source");
}

#[test]
fn what_nobody_hears_ends_quietly() {
    for args in [&["man"][..], &["completions", "zsh"]] {
        let mut process = Process::start(bev(args).stdout(unheard()).stderr(Stdio::piped()));
        assert_eq!(rest(process.stderr()), "", "{args:?}");
        assert_eq!(process.wait().code(), Some(128 + 13), "{args:?}");
    }
}
