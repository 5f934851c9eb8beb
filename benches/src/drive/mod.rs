//! The load client: closed loop, its own level-triggered epoll set, and every echoed byte is checked.
//!
//! A client goes through three steps, so that whoever measures the server can look at it in between:
//!
//! 1. [`Client::connect`]: all connections are made and warmed up (one echo each, or a moment of streaming);
//! 2. [`Client::load`]: the measured part; it ends when nothing is under way any more;
//! 3. dropping the client closes the connections.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Mode;
pub use report::Report;
use tally::Tally;
use worker::Worker;

mod conn;
mod flow;
mod line;
mod report;
mod request;
mod tally;
mod worker;

/// What to load a server with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub connect: SocketAddr,
    /// What it does.
    pub mode: Mode,
    /// Over TLS, with a full handshake for every connection. Whoever answers is believed.
    pub tls: bool,
    /// How many at a time.
    pub connections: usize,
    /// Bytes of a request, or of a block of a stream.
    pub size: usize,
    /// When to stop.
    pub limit: Limit,
    /// How long to warm up, where `limit` is a duration; by default one echo a connection is all.
    pub warmup: Duration,
    /// Threads the connections are spread over.
    pub threads: NonZeroUsize,
}

/// When the measured part stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// After this time.
    Time(Duration),
    /// After this many requests (blocks of a stream) in all.
    Requests(u64),
}

/// A load client with its connections.
#[derive(Debug)]
pub struct Client {
    plan: Plan,
    workers: Vec<Worker>,
}

impl Client {
    /// Makes the connections and warms them up.
    pub fn connect(plan: Plan) -> io::Result<Self> {
        let threads = plan.threads.get();
        let mut workers = Vec::with_capacity(threads);
        for number in 0..threads {
            let connections = share(plan.connections as u64, threads, number) as usize;
            workers.push(Worker::connect(&plan, connections)?);
        }
        let mut client = Self { plan, workers };
        for limit in client.warmups() {
            client.run(limit)?;
        }
        Ok(client)
    }

    /// Applies the load and reports it.
    pub fn load(&mut self) -> io::Result<Report> {
        let cpu = own_cpu_ns();
        let start = Instant::now();
        let tally = self.run(self.plan.limit)?;
        Ok(Report::new(&self.plan, &tally, start.elapsed(), own_cpu_ns() - cpu))
    }

    fn warmups(&self) -> Vec<Limit> {
        let mut warmups = Vec::new();
        if self.plan.mode == Mode::Echo {
            warmups.push(Limit::Requests(self.plan.connections as u64));
        }
        // A counted run must be the same each time, so it gets no timed warm-up.
        if matches!(self.plan.limit, Limit::Time(_)) && !self.plan.warmup.is_zero() {
            warmups.push(Limit::Time(self.plan.warmup));
        }
        warmups
    }

    fn run(&mut self, limit: Limit) -> io::Result<Tally> {
        let threads = self.workers.len();
        let results: Vec<io::Result<Tally>> = thread::scope(|scope| {
            let running: Vec<_> = self
                .workers
                .iter_mut()
                .enumerate()
                .map(|(number, worker)| scope.spawn(move || worker.run(part(limit, threads, number))))
                .collect();
            running.into_iter().map(join).collect()
        });
        let mut total = Tally::new()?;
        for result in results {
            total.add(&result?)?;
        }
        Ok(total)
    }
}

/// Returns the CPU time this process has used, in nanoseconds.
fn own_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a client thread panicked")))
}

fn part(limit: Limit, threads: usize, number: usize) -> Limit {
    match limit {
        Limit::Time(time) => Limit::Time(time),
        Limit::Requests(all) => Limit::Requests(share(all, threads, number)),
    }
}

/// Returns the `number`-th of `threads` shares of `all`, which differ by at most one.
fn share(all: u64, threads: usize, number: usize) -> u64 {
    let threads = threads as u64;
    all / threads + u64::from((number as u64) < all % threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for all in 0..20 {
            assert_eq!((0..3).map(|number| share(all, 3, number)).sum::<u64>(), all);
        }
    }
}
