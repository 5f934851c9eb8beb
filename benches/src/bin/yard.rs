//! The yardstick server: a level-triggered epoll loop written by hand.
//!
//! ```text
//! yard echo --listen 127.0.0.1:0 --threads 1
//! yard echo --tls
//! ```
//!
//! The first line on standard output is `listening on ADDR`. SIGTERM ends it with exit code 0; it then prints its own
//! CPU time as one line of JSON on standard error.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;

use benches::Mode;
use benches::yard::{Yard, usage};
use clap::Parser;
use signal_hook::consts::SIGTERM;

/// A level-triggered epoll server to measure others against.
#[derive(Parser)]
struct Args {
    /// What to do with a connection.
    mode: Mode,
    /// Speak TLS, with a certificate made now; for echoes alone.
    #[arg(long)]
    tls: bool,
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads, each with an epoll set of its own.
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let (stop, signalled) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, signalled)?;
    let yard = Yard::bind(args.mode, args.tls, args.listen, args.threads)?;
    println!("listening on {}", yard.address());
    std::io::stdout().flush()?;
    yard.run(stop)?;
    eprintln!("{}", usage(args.mode, args.threads)?);
    Ok(())
}
