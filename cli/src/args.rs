//! The command line.

use std::time::Duration;

use bufferevent::Rate;
use clap::{
    Arg, ArgGroup, Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    error::ErrorKind,
};
use clap_complete::Shell;

use crate::{
    address::Address,
    failure::Failure,
    proxy::Upstream,
    tls::{ServerTls, Trust},
    units,
};

/// Buffered connections on N event bases and M threads: servers, a load generator and a demo.
#[derive(Debug, Parser)]
#[command(name = "bev", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve: send back everything that comes in
    Echo(Serve),
    /// Serve: read everything, keep nothing
    Sink(Serve),
    /// Serve: send a pattern without end, until the peer closes; `bev load --mode source` checks it
    Source(Serve),
    /// Serve: pass each connection on to another server, and back what that sends
    Proxy(Box<Proxy>),
    /// Put load on a server and measure it
    Load(Load),
    /// Show it all in one process on loopback: a TLS echo server, 2,000 connections, every byte checked; then three tenants
    /// that get what they were promised
    Demo(Demo),
    /// Print a script that completes the arguments in a shell
    Completions(Completions),
    /// Print the manual page: `bev man | man -l -`
    Man,
}

/// The arguments of a server.
#[derive(Debug, ClapArgs)]
#[command(
    group(ArgGroup::new("rates").multiple(true)),
    after_help = "SIGTERM or SIGINT ends the server with exit code 0: it accepts no more, writes out what it \
    owes, for the grace at most, and tells how that went (a connection ends clean when all was sent and its peer ended too); a \
    proxy goes on until both sides of each connection have ended, and cuts short what the grace has not seen ending. How many \
    connections are open when that begins, and how long it took, is told on stderr. A second signal, a second later or more, ends \
    it at once, with 128 and the signal's number: a peer over plain TCP takes that for an end.\n\n\
    SIGHUP has it read the files of TLS again, those of --tls-cert, --tls-key and --tls-client-ca, and of a proxy those of --ca, \
    --client-cert and --client-key: new connections use them, those that stand keep what they have. What is no good is told, \
    and changes nothing. Without such files nothing changes either, so a server does not end with the terminal it was started in.\n\n\
    A RATE is a number and a unit, such as 10MB/s, 10MiB/s or 80Mbit/s; without a unit it is bytes per second. What was not \
    used of it is kept for four ticks. Limits hold for what is written out at the end too. Who sends to a server notices \
    that it is read slowly only once the buffers of both systems are full. At the end a server with limits tells what moved, \
    and at what rates: of all together, and the mean of each connection while it moved something, with pauses of a second at \
    most. What a limit had kept by then is told apart, as bursts."
)]
pub(crate) struct Serve {
    /// Address to listen on, such as 127.0.0.1:7000; port 0 takes a free one, which the first line of output tells. Or a Unix socket,
    /// unix:PATH, which stays there and is taken again by the next; its peers take a cut for an end
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Address,
    /// Threads [default: as many as cores]
    #[arg(long, value_name = "N", value_parser = units::whole(1, 1_024))]
    pub(crate) workers: Option<u64>,
    /// Event bases [default: as many as workers]
    #[arg(long, value_name = "N", value_parser = units::whole(1, 1_024))]
    pub(crate) bases: Option<u64>,
    /// Keep every base on its own worker: nothing is stolen, nobody helps
    #[arg(long)]
    pub(crate) pinned: bool,
    /// Give each connection a lock and a strand of its own, so that any worker may run it (BEV_OPT_THREADSAFE)
    #[arg(long)]
    pub(crate) threadsafe: bool,
    /// Run callbacks from the deferred queue (BEV_OPT_DEFER_CALLBACKS)
    #[arg(long)]
    pub(crate) defer: bool,
    /// Run callbacks with no lock held; needs --defer, and means --defer alone without --threadsafe
    /// (BEV_OPT_UNLOCK_CALLBACKS)
    #[arg(long, requires = "defer")]
    pub(crate) unlocked: bool,
    /// Connections that may be open at once; more wait to be accepted [default: as many as files may be open, but for
    /// a few]
    #[arg(long, value_name = "N", value_parser = units::whole(1, 10_000_000))]
    pub(crate) max_connections: Option<u64>,
    /// Memory that the buffers of all connections may hold together: a part of what there is, a size such as 512MiB, or
    /// none. With TLS that is what was received and what is to be sent, in plain: not what is encrypted, nor what OpenSSL has
    /// of each connection, 12 to 16 KiB by its version 3.0 and 19 to 34 by 3.6. When memory is short, who holds most is not
    /// read from, then nobody is accepted, then who is idle is ended
    #[arg(long, value_name = "BYTES", default_value = "25%", value_parser = units::parse_memory)]
    pub(crate) memory: units::Memory,
    /// How long a connection may last without a byte that moves, or none; then it is closed
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = units::parse_limit)]
    pub(crate) idle: units::Limit,
    /// How long a connection may last in all, or none; then it is closed
    #[arg(long, value_name = "TIME", default_value = "none", value_parser = units::parse_limit)]
    pub(crate) lifetime: units::Limit,
    /// How long the end may take after the first signal, such as 500ms or 10s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::parse_duration)]
    pub(crate) grace: Duration,
    /// Over how long connections are asked to end then, so that not all peers come back at once, or none; no longer than
    /// --grace
    #[arg(long, value_name = "TIME", default_value = "none", value_parser = units::parse_limit)]
    pub(crate) spread: units::Limit,
    /// Bytes per second that each connection may read, and as many that it may write; of a proxy those of clients [default: no limit]
    #[arg(long, value_name = "RATE", group = "rates", value_parser = units::parse_rate)]
    pub(crate) limit: Option<Rate>,
    /// Bytes per second that all connections together may read, and as many that they may write, in fair shares [default: no
    /// limit]
    #[arg(long, value_name = "RATE", group = "rates", value_parser = units::parse_rate)]
    pub(crate) group_limit: Option<Rate>,
    /// How often what a limit lets move is added, from 1ms to 24 days; needs a limit
    #[arg(long, value_name = "TIME", default_value = "50ms", requires = "rates", value_parser = units::parse_tick)]
    pub(crate) tick: Duration,
    /// Bytes that there must be before a connection that waits for the others is served, or 0 for no least share; needs
    /// --group-limit [default: by the rate, from 64 to 16384]
    #[arg(long, value_name = "BYTES", requires = "group_limit", value_parser = units::parse_share)]
    pub(crate) min_share: Option<u64>,
    #[command(flatten)]
    pub(crate) tls: ServerTls,
    /// Tell all on stdout in lines of JSON: the first where it listens, the last how it went; rates per second, null for what
    /// there is not
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of the proxy.
#[derive(Debug, ClapArgs)]
pub(crate) struct Proxy {
    /// Address to pass connections on to, such as 127.0.0.1:7000 or example.org:80; a name is looked up for each, and of its
    /// addresses the first that can be had is taken. Or a Unix socket, unix:PATH
    #[arg(long, value_name = "ADDR")]
    pub(crate) upstream: Upstream,
    /// How long that may take, such as 500ms or 10s; a handshake may take 10 s more
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::parse_duration)]
    pub(crate) connect_timeout: Duration,
    /// Speak TLS to the upstream
    #[arg(id = "secured", long = "upstream-tls")]
    pub(crate) upstream_tls: bool,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// The same as --tls-allow-truncation, of the upstream; needs --upstream-tls
    #[arg(long, requires = "secured")]
    pub(crate) upstream_allow_truncation: bool,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

/// The arguments of the load generator.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Each connection has one request under way at a time. Those that have no answer when the measurement \
    ends are told as unanswered, with the age of the oldest. They do not count as requests, but in the latencies: with \
    what they took in the end, or, if there is no answer within the time that is left for it, with their age by then, which is a \
    lower bound. That time is two seconds, or twice what the slowest request took if that is more, but ten at most. A request \
    that is being answered then, by a server under a limit say, is cut off, and told so; one that came no further has failed.\n\nSIGTERM or SIGINT ends the measurement early, and what was measured is told. A second signal, a second later or more, ends \
    the program at once, with 128 and the signal's number.\n\nThe exit code is 0 only if no connection failed and, in \
    echo and source mode, every byte came in its place."
)]
pub(crate) struct Load {
    /// Address of the server, such as 127.0.0.1:7000, localhost:7000 or unix:PATH; of a name's addresses the first that can be had
    #[arg(long, value_name = "ADDR")]
    pub(crate) connect: Address,
    /// What the server does
    #[arg(long, value_enum)]
    pub(crate) mode: Mode,
    /// Connections
    #[arg(long, value_name = "N", default_value = "64", value_parser = units::whole(1, 1_000_000))]
    pub(crate) connections: u64,
    /// Bytes of one request, such as 64, 64KiB or 1MiB
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = units::parse_size)]
    pub(crate) size: usize,
    /// How long connecting may take, such as 500ms or 10s: that of each connection, and of all together, with their handshakes,
    /// before the measurement begins with those that stand
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::parse_duration)]
    pub(crate) connect_timeout: Duration,
    /// How long to measure, such as 500ms, 5s or 2m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::parse_duration)]
    pub(crate) duration: Duration,
    /// Threads [default: as many as cores]
    #[arg(long, value_name = "N", value_parser = units::whole(1, 1_024))]
    pub(crate) workers: Option<u64>,
    /// Speak TLS
    #[arg(id = "secured", long = "tls")]
    pub(crate) tls: bool,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Print one line of JSON: rates per second, latencies in microseconds, null if no request was answered
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a server does with bytes, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Send a request, wait until all of it is back, check every byte
    Echo,
    /// Send as fast as the server reads; a request is done when the kernel has taken it
    Sink,
    /// Read as fast as the server sends, which must be `bev source`, and check every byte; a request is done when its
    /// size has come
    Source,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Sink => "sink",
            Self::Source => "source",
        }
    }
}

/// The arguments of the demo.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "SIGTERM or SIGINT ends the traffic early; a second one ends the program at once. The exit code is 0 \
    only if every byte came back in its place, and if every promise was kept: over the whole time no more than the limits \
    let, exactly, and no less than promised, but for a tenth and a quarter of a second that a busy machine may cost."
)]
pub(crate) struct Demo {
    /// Seconds of traffic of each part
    #[arg(long, value_name = "N", default_value = "5", value_parser = units::whole(1, 3_600))]
    pub(crate) seconds: u64,
}

/// The arguments of the completions.
#[derive(Debug, ClapArgs)]
#[command(after_help = "In bash: source <(bev completions bash)")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

impl Args {
    /// Reads the process's arguments; `None` if help or the version was asked for, and given.
    pub(crate) fn read() -> Result<Option<Self>, Failure> {
        match Self::parse_all() {
            Ok(args) => Ok(Some(args)),
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                error.print().map_err(Failure::output)?;
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Err(Failure::Lost(error.render().to_string()))
            }
            Err(error) => Err(Failure::Usage(one_line(&error))),
        }
    }
}

impl Args {
    /// A value such as -1 is a bad one, and no option that there is not.
    fn parse_all() -> Result<Self, clap::Error> {
        let with_hyphen = |arg: Arg| match arg.get_action().takes_values() && !arg.is_positional() {
            true => arg.allow_hyphen_values(true),
            false => arg,
        };
        let command = Self::command().mut_subcommands(|command| command.mut_args(with_hyphen));
        Self::from_arg_matches(&command.try_get_matches()?)
    }
}

/// What is wrong, without the usage and the hints that follow it.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
