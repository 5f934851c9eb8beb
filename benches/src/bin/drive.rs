//! The load client.
//!
//! ```text
//! drive --connect 127.0.0.1:7000 --mode echo --connections 64 --size 64 --duration 2
//! ```
//!
//! Prints one line of JSON. With `--staged` it prints `ready` once its connections are up and warm, applies the load
//! and prints its line for every line on standard input, and keeps the connections until that is closed.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use benches::Mode;
use benches::drive::{Client, Limit, Plan};
use clap::Parser;

/// A closed-loop load client that checks every echoed byte.
#[derive(Parser)]
struct Args {
    /// Address of the server.
    #[arg(long)]
    connect: SocketAddr,
    /// What the server does.
    #[arg(long, default_value = "echo")]
    mode: Mode,
    /// Over TLS, with a full handshake for every connection; whoever answers is believed.
    #[arg(long)]
    tls: bool,
    /// Connections at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of a request, or of a block of a stream.
    #[arg(long, default_value = "64")]
    size: NonZeroUsize,
    /// Seconds of load.
    #[arg(long, default_value_t = 2.0)]
    duration: f64,
    /// Requests (blocks of a stream) in all, in place of a duration.
    #[arg(long)]
    requests: Option<u64>,
    /// Seconds of load before the measured part, where that is a duration.
    #[arg(long, default_value_t = 0.2)]
    warmup: f64,
    /// Threads the connections are spread over.
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Print `ready`, apply the load for every line on standard input, end when it is closed.
    #[arg(long)]
    staged: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut client = Client::connect(args.plan()?)?;
    if !args.staged {
        return say(&client.load()?.line);
    }
    say("ready")?;
    while io::stdin().read_line(&mut String::new())? > 0 {
        say(&client.load()?.line)?;
    }
    Ok(())
}

impl Args {
    fn plan(&self) -> io::Result<Plan> {
        Ok(Plan {
            connect: self.connect,
            mode: self.mode,
            tls: self.tls,
            connections: self.connections,
            size: self.size.get(),
            limit: match self.requests {
                Some(requests) => Limit::Requests(requests),
                None => Limit::Time(seconds(self.duration)?),
            },
            warmup: seconds(self.warmup)?,
            threads: self.threads,
        })
    }
}

fn say(line: &str) -> io::Result<()> {
    println!("{line}");
    io::stdout().flush()
}

fn seconds(value: f64) -> io::Result<Duration> {
    let value = Duration::try_from_secs_f64(value).map_err(io::Error::other)?;
    if value > Duration::from_secs(600) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "at most 600 seconds"));
    }
    Ok(value)
}
