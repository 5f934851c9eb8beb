//! The manual page and the completions, from the definition of the command line.

use std::io::{self, Write};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::{args::Args, failure::Failure};

/// Prints the script that completes the arguments in `shell`.
pub(crate) fn print_completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "bev", &mut script);
    print(&script)
}

/// Prints the manual page.
pub(crate) fn print_page() -> Result<(), Failure> {
    print(&page().map_err(Failure::output)?)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).map_err(Failure::output)
}

/// One page for all commands, each with a section.
fn page() -> io::Result<Vec<u8>> {
    // Asking for help is told of once, at the top.
    let mut bev = Args::command().disable_help_subcommand(true);
    bev.build();
    let whole = Man::new(bev.clone()).manual("User Commands");
    let mut page = Vec::new();
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    Roff::new().control("SH", ["SYNOPSIS"]).to_writer(&mut page)?;
    synopsis(&mut bev, &mut page)?;
    whole.render_options_section(&mut page)?;
    for command in bev.get_subcommands() {
        section(command, &mut page)?;
    }
    whole.render_version_section(&mut page)?;
    Ok(page)
}

/// How the command is called, as its help says.
fn synopsis(command: &mut Command, page: &mut Vec<u8>) -> io::Result<()> {
    let usage = command.render_usage().to_string();
    let called = usage.trim_start_matches("Usage:").trim();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let arguments = called.strip_prefix(name).unwrap_or_default();
    Roff::new().text([bold(name), roman(arguments)]).to_writer(page)
}

/// The section of one command: what would be a page of its own, without the headings.
fn section(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    Roff::new().control("SH", [name.to_uppercase().as_str()]).to_writer(page)?;
    let mut command = command.clone().mut_args(|argument| {
        let is_help = argument.get_id() == "help";
        argument.hide(is_help)
    });
    let mut parts = Vec::new();
    synopsis(&mut command, &mut parts)?;
    let man = Man::new(command);
    man.render_description_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    man.render_extra_section(&mut parts)?;
    let without_headings = parts
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| if line.starts_with(b".SH ") { &b".PP\n"[..] } else { line });
    page.extend(without_headings.flatten());
    Ok(())
}
