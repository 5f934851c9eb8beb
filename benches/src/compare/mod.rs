//! Servers against each other: the same client, interleaved rounds, ratios to the first server.
//!
//! A figure in microseconds says little on a shared machine whose speed changes by the second. So the servers take
//! turns many times a second within a round, processes are started afresh for every round, and only the ratio to the
//! first server *of the same round* is kept; the result is the median of those, with its quartiles.
//!
//! Four things are measured: [`cpu`] time and latency, [`memory`] per idle connection, [`syscalls`] per operation and
//! user [`instructions`] per operation. The last two count and need no rounds.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Mode;
use crate::drive::Limit;

pub mod cpu;
pub mod instructions;
pub mod memory;
pub mod process;
mod program;
pub mod stats;
pub mod syscalls;

/// A server under test.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// What tables call it.
    pub name: String,
    /// Program and arguments. In each, `{addr}` stands for the address to listen on, `{mode}` for the mode
    /// (`echo` under churn) and `{bin}` for the folder of the programs.
    pub command: Vec<String>,
}

/// What to load every server with.
#[derive(Clone, Debug)]
pub struct Load {
    /// What the server does.
    pub mode: Mode,
    /// Over TLS, if the server speaks it.
    pub tls: bool,
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of a request, or of a block of a stream.
    pub size: usize,
    /// When to stop.
    pub limit: Limit,
    /// How long to load before measuring.
    pub warmup: Duration,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Bench {
    bin: PathBuf,
    /// Let the servers write on standard error.
    pub verbose: bool,
}

impl Server {
    /// Parses `name=command with {addr}`. The command is split at blanks; there is no shell.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if there is no name or no command.
    pub fn parse(text: &str) -> io::Result<Self> {
        let invalid = || {
            io::Error::new(io::ErrorKind::InvalidInput, format!("not `name=command with {{addr}}`: {text:?}"))
        };
        let (name, command) = text.split_once('=').ok_or_else(invalid)?;
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if name.trim().is_empty() || command.is_empty() {
            return Err(invalid());
        }
        Ok(Self { name: name.trim().to_owned(), command })
    }
}

impl Bench {
    /// Looks for the programs beside the running one.
    pub fn beside_self() -> io::Result<Self> {
        let exe = std::env::current_exe()?;
        let bin = exe.parent().ok_or_else(|| io::Error::other("a program without a folder"))?;
        Ok(Self::at(bin))
    }

    /// Expects the programs in the folder `bin`.
    pub fn at(bin: &Path) -> Self {
        Self { bin: bin.to_owned(), verbose: false }
    }

    /// Returns the folder of the programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Returns the command line of `server` under `load`.
    fn command(&self, server: &Server, mode: Mode) -> Vec<String> {
        let bin = self.bin.to_string_lossy();
        let fill = |word: &String| {
            word.replace("{addr}", ANY_PORT).replace("{mode}", mode.of_server().name()).replace("{bin}", &bin)
        };
        server.command.iter().map(fill).collect()
    }
}

const ANY_PORT: &str = "127.0.0.1:0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_hold_an_equals_sign() {
        let server = Server::parse("a = x --listen={addr}").expect("valid");
        assert_eq!(server.name, "a");
        assert_eq!(server.command, ["x", "--listen={addr}"]);
        assert!(Server::parse("x --listen").is_err());
        assert!(Server::parse("x=").is_err());
    }
}
