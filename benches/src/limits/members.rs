//! The runtime under test, and what its connections do: move as much as they may.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use bufferevent::evbuffer::Evbuffer;
use bufferevent::runtime::{Clock, Time};
use bufferevent::{Bufferevent, Context, Direction, Handler, RateLimitGroup, Runtime, TokenBucketConfig};
use bufferevent_sync::{Arc, SharedCounter};
use bytes::Bytes;
use rustix::net::sockopt;

use super::wakes::Wakes;
use super::{Case, STARTING, Ticks, WARMUP, Way};

/// Members of a group, at work.
pub(super) struct Members {
    runtime: Runtime,
    running: Option<JoinHandle<bufferevent::runtime::Result<()>>>,
    clock: Clock,
    origin: Time,
    wakes: Wakes,
    /// Bytes that each has read.
    read: Vec<Arc<SharedCounter>>,
    _group: Option<RateLimitGroup>,
}

impl Members {
    /// Starts all of them, and returns the other ends of their connections.
    pub(super) fn start(case: &Case) -> io::Result<(Self, Vec<TcpStream>)> {
        let built = Runtime::builder().workers(case.bases).bases(case.bases).build();
        let runtime = built.map_err(io::Error::other)?;
        let runs = runtime.clone();
        let running = thread::Builder::new().spawn(move || runs.run())?;
        let pairs = pairs(case)?;

        let clock = Clock::monotonic();
        let group = (case.rate > 0).then(|| config(case)).transpose()?;
        let group = group.map(|config| RateLimitGroup::new(&config));
        if let Some(group) = &group {
            // All wait before anything is let pass, so that nobody has had more than its share when the first look comes.
            let debt = case.rate * STARTING.as_millis() as u64 / 1_000 + case.per_tick();
            for direction in [Direction::Read, Direction::Write] {
                group.decrement(direction, debt as i64);
            }
        }
        // The group's ticks begin with those of the timers.
        let origin = Time::from_tick(clock.now().tick_ceil());
        let ticks = Ticks { origin, length: case.tick_length() };
        let wakes = Wakes::new(ticks, case.ticks + 10 * WARMUP.as_millis() as u64);
        for base in runtime.bases() {
            let wakes = wakes.clone();
            let watch = base.post(move |base| {
                base.on_check(move |base| wakes.record(base.now()));
            });
            watch.map_err(io::Error::other)?;
        }

        thread::sleep(case.tick_length().mul_f64(case.phase));
        let (mut read, mut peers, mut bases) = (Vec::new(), Vec::new(), runtime.bases());
        for (number, (ours, theirs)) in pairs.into_iter().enumerate() {
            let mover =
                Mover { block: Bytes::from_static(&BLOCK), filled: filled(case), read: Arc::default() };
            read.push(Arc::clone(&mover.read));
            peers.push(theirs);
            let begin = |bufferevent: &mut Bufferevent| {
                if let Some(group) = &group {
                    bufferevent.join_rate_limit_group(group).expect("both go by the system's clock");
                }
                if case.way == Way::Write {
                    let refill_at = mover.filled / 2;
                    bufferevent.set_write_watermark(refill_at, None).expect("there is no high mark");
                    mover.fill(bufferevent.output());
                }
            };
            let started = Bufferevent::socket(ours).threadsafe().configure(begin);
            let base = number % case.bases;
            started.handler(mover.clone()).start(&mut bases[base]).map_err(io::Error::other)?;
        }
        Ok((Self { runtime, running: Some(running), clock, origin, wakes, read, _group: group }, peers))
    }

    /// When the group's first tick began.
    pub(super) fn origin(&self) -> Time {
        self.origin
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(super) fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// Bytes that each has read so far.
    pub(super) fn read(&self) -> Vec<u64> {
        self.read.iter().map(|read| read.get()).collect()
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.runtime.stop();
        if let Some(running) = self.running.take() {
            // A panic has been reported by then.
            let _ = running.join();
        }
    }
}

/// A connection that drops what it reads, and keeps its output filled if it was filled at first.
#[derive(Clone)]
struct Mover {
    block: Bytes,
    /// Bytes of output that are kept ready; at half of it there is more.
    filled: usize,
    read: Arc<SharedCounter>,
}

impl Mover {
    fn fill(&self, output: &mut Evbuffer) {
        while output.len() < self.filled {
            output.add_bytes(self.block.clone()).expect("far from the cap");
        }
    }
}

impl Handler for Mover {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let input = cx.input();
        let length = input.len();
        input.drain(length).expect("it is there");
        self.read.add(length as u64);
    }

    fn on_write(&mut self, cx: &mut Context<'_>) {
        self.fill(cx.output());
    }
}

fn config(case: &Case) -> io::Result<TokenBucketConfig> {
    let (rate, burst) = (case.per_tick(), case.per_tick() * case.burst);
    let config = TokenBucketConfig::new(rate, burst, rate, burst, Some(case.tick_length()));
    config.map_err(io::Error::other)
}

/// Both ends of the connections of a case; ours are the first.
pub(super) fn pairs(case: &Case) -> io::Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Little is under way, so that the peers come round to all of them often: else who is not reached has nothing to read, and
    // what went before the first look is counted after it. But no less than what a tick brings at once.
    let under_way = (2 * case.share()).clamp(UNDER_WAY, UNDER_WAY_MAX);
    (0..case.members).map(|_| pair(&listener, under_way)).collect()
}

fn pair(listener: &TcpListener, under_way: usize) -> io::Result<(TcpStream, TcpStream)> {
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    ours.set_nodelay(true)?;
    for end in [&ours, &theirs] {
        sockopt::set_socket_recv_buffer_size(end, under_way)?;
        sockopt::set_socket_send_buffer_size(end, under_way)?;
    }
    theirs.set_nonblocking(true)?;
    Ok((ours, theirs))
}

static BLOCK: [u8; 64 * 1024] = [7; 64 * 1024];
/// Bytes that the kernel keeps at each end of a connection, each way, at least.
const UNDER_WAY: usize = 64 * 1024;
/// Usual systems let nobody have more.
const UNDER_WAY_MAX: usize = 208 * 1024;

/// So much that a member always wants more than its share of a tick: else what it does not want goes to others.
fn filled(case: &Case) -> usize {
    (4 * case.share()).clamp(4 * BLOCK.len(), 2 << 20)
}
