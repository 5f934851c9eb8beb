//! One 64-byte echo in one process, over a Unix socket pair and one base driven by hand.
//!
//! Guards against a bufferevent that adds system calls to the five there must be (the peer's write and read, wait,
//! receive, send), or much time of its own between them; against options that cost more than they must. Ids are
//! `echo/64/HOW`, per round trip; `by_hand` is the same on an epoll set without a bufferevent.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use bufferevent::runtime::Clock;
use bufferevent::{Base, Bufferevent, Context, Handle, Handler, Movable, UnlockedHandler};
use criterion::{BenchmarkId, Criterion};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    by_hand(&mut criterion);
    through(&mut criterion, "confined", |stream, base| {
        Bufferevent::socket(stream).handler(Echo).start(base).map(drop)
    });
    through(&mut criterion, "deferred", |stream, base| {
        Bufferevent::socket(stream).handler(Echo).deferred().start(base).map(drop)
    });
    through(&mut criterion, "threadsafe", |stream, base| {
        Bufferevent::socket(stream).handler(Echo).threadsafe().start(base).map(drop)
    });
    through(&mut criterion, "threadsafe_deferred", |stream, base| {
        Bufferevent::socket(stream).handler(Echo).deferred().threadsafe().start(base).map(drop)
    });
    through(&mut criterion, "unlocked", |stream, base| {
        Bufferevent::socket(stream).threadsafe().unlocked(Echo).start(base).map(drop)
    });
    criterion.final_summary();
}

struct Echo;

impl Handler for Echo {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        output.append(input).expect("far from the cap");
    }
}

impl UnlockedHandler for Echo {
    fn on_read(&mut self, bufferevent: &Handle) {
        let mut guard = bufferevent.lock().expect("no strand is held");
        let (input, output) = guard.buffers();
        output.append(input).expect("far from the cap");
    }
}

fn through(
    criterion: &mut Criterion,
    how: &str,
    start: impl Fn(UnixStream, &mut Base) -> bufferevent::Result<()>,
) {
    criterion.benchmark_group("echo").bench_function(BenchmarkId::new("64", how), |bencher| {
        let (ours, mut peer) = pair();
        let mut base = Base::<Movable>::with_clock(Clock::monotonic()).expect("the system has a selector");
        start(ours, &mut base).expect("a socket can be registered");
        bencher.iter(|| {
            peer.write_all(&MESSAGE).expect("the pair stays open");
            loop {
                base.turn(None).expect("the selector works");
                if is_back(&mut peer) {
                    break;
                }
            }
        });
    });
}

fn by_hand(criterion: &mut Criterion) {
    criterion.benchmark_group("echo").bench_function(BenchmarkId::new("64", "by_hand"), |bencher| {
        let (mut ours, mut peer) = pair();
        let set = epoll::create(CreateFlags::CLOEXEC).expect("the system has an epoll set");
        epoll::add(&set, &ours, EventData::new_u64(0), EventFlags::IN).expect("a socket can be registered");
        let (mut events, mut buffer) = (Vec::<Event>::with_capacity(EVENTS), vec![0; BUFFER]);
        bencher.iter(|| {
            peer.write_all(&MESSAGE).expect("the pair stays open");
            events.clear();
            epoll::wait(&set, spare_capacity(&mut events), None).expect("the set works");
            let n = ours.read(&mut buffer).expect("it is readable");
            ours.write_all(&buffer[..n]).expect("the pair stays open");
            assert!(is_back(&mut peer));
        });
    });
}

fn is_back(peer: &mut UnixStream) -> bool {
    let mut reply = [0; MESSAGE.len()];
    match peer.read(&mut reply) {
        Ok(n) => {
            assert_eq!((n, reply), (MESSAGE.len(), MESSAGE));
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("the pair stays open: {error}"),
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let made = || -> io::Result<_> {
        let (ours, peer) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        peer.set_nonblocking(true)?;
        Ok((ours, peer))
    };
    made().expect("the system has a pair of sockets to give")
}

const MESSAGE: [u8; 64] = [7; 64];
const EVENTS: usize = 1024;
const BUFFER: usize = 64 * 1024;
