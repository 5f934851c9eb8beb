//! libevent's simulation of rate limits (`test/test-ratelim.c`, run four times by `test/test-ratelim.sh`), with its
//! numbers and tolerances. TR- are its rows in the project's inventory.
//!
//! Clients write as much as they can to servers that send it back; only the servers are limited. What the clients get is
//! counted. On a clock that is turned by hand no factor for slow machines is needed (TR-06), and the totals are exact.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use bufferevent::{
    Base, Bufferevent, Context, Direction, Handler, Interest, Pinned, RateLimitGroup, Stream,
    TokenBucketConfig,
    evbuffer::Evbuffer,
    runtime::Clock,
    testing::{Census, ManualBase},
};
use bufferevent_sync::atomic::{AtomicU64, Ordering};

const TICK: Duration = Duration::from_millis(100);
const CLIENTS: usize = 30;
const TICKS: u64 = 50;

/// Bytes per second; each of these may be none.
#[derive(Clone, Copy, Default)]
struct Rates {
    connection: Option<u64>,
    group: Option<u64>,
    /// Bytes that are taken out of the group by hand at each tick.
    drain: i64,
}

/// Keeps at least 8,192 bytes of output, and counts what comes back.
#[derive(Clone, Default)]
struct Client(Arc<AtomicU64>);

impl Client {
    fn fill(output: &mut Evbuffer) {
        while output.len() < 8_192 {
            output.add(&[7; 1_024]).unwrap();
        }
    }
}

impl Handler for Client {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let input = cx.input();
        let length = input.len();
        input.drain(length).unwrap();
        self.0.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn on_write(&mut self, cx: &mut Context<'_>) {
        Self::fill(cx.output());
    }
}

/// Sends back what comes, and reads no more while much is left to send.
struct Server;

impl Handler for Server {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        output.append(input).unwrap();
        if output.len() > 1_024_000 {
            cx.disable(Interest::READ);
        }
    }

    fn on_write(&mut self, cx: &mut Context<'_>) {
        // At the low mark of the output, or below it.
        cx.enable(Interest::READ);
    }
}

/// Per second, with a burst of four ticks.
fn config(rate: u64) -> TokenBucketConfig {
    let rate = rate * TICK.as_millis() as u64 / 1_000;
    TokenBucketConfig::new(rate, 4 * rate, rate, 4 * rate, Some(TICK)).unwrap()
}

/// What runs on a base.
struct Simulation {
    clients: Vec<Client>,
    group: Option<RateLimitGroup>,
    rates: Rates,
}

impl Simulation {
    fn start<S: Into<Stream>>(
        base: &mut Base<Pinned>,
        rates: Rates,
        mut pair: impl FnMut() -> (S, S),
    ) -> Self {
        let clock = base.handle().clock().clone();
        let group = rates.group.map(|rate| RateLimitGroup::with_clock(&config(rate), clock));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let (ours, theirs) = pair();
            let client = Client::default();
            clients.push(client.clone());
            let fill = |client: &mut Bufferevent| Client::fill(client.output());
            let limit = |server: &mut Bufferevent| {
                server.set_rate_limit(rates.connection.map(config).as_ref());
                if let Some(group) = &group {
                    server.join_rate_limit_group(group).unwrap();
                }
            };
            let server = Bufferevent::socket(theirs).write_watermark(512_000, None).configure(limit);
            server.threadsafe().handler(Server).start(base).unwrap();
            let client_side = Bufferevent::socket(ours).configure(fill);
            client_side.threadsafe().handler(client).start(base).unwrap();
        }
        Self { clients, group, rates }
    }

    fn drain(&self) {
        if let Some(group) = self.group.as_ref().filter(|_| self.rates.drain > 0) {
            group.decrement(Direction::Read, self.rates.drain);
            group.decrement(Direction::Write, self.rates.drain);
        }
    }

    fn received(&self) -> Vec<f64> {
        self.clients.iter().map(|client| client.0.load(Ordering::Relaxed) as f64).collect()
    }
}

/// Bytes per second that came back.
#[derive(Debug)]
struct Outcome {
    total: f64,
    mean: f64,
    deviation: f64,
}

impl Outcome {
    fn of(received: &[f64], seconds: f64) -> Self {
        let (total, count) = (received.iter().sum::<f64>() / seconds, received.len() as f64);
        let mean = total / count;
        let squares = received.iter().map(|bytes| (bytes / seconds - mean).powi(2)).sum::<f64>();
        Self { total, mean, deviation: (squares / count).sqrt() }
    }
}

/// Five seconds, on a clock that is turned by hand.
fn simulate(rates: Rates) -> Outcome {
    let mut base = ManualBase::new().unwrap();
    let simulation = Simulation::start(&mut base, rates, || UnixStream::pair().unwrap());
    for _ in 1..TICKS {
        base.settle().unwrap();
        simulation.drain();
        base.advance(TICK).unwrap();
    }
    let group = simulation.group.as_ref();
    let all: f64 = simulation.received().iter().sum();
    assert!(group.is_none_or(|group| group.total(Direction::Write) as f64 >= all), "each byte is counted");
    Outcome::of(&simulation.received(), TICKS as f64 * TICK.as_secs_f64())
}

#[test]
fn regress_ratelim_group() {
    let _census = Census::begin();
    // TR-01, TR-02, G-17: -g 30000 -n 30 -t 100
    let outcome = simulate(Rates { group: Some(30_000), ..Rates::default() });
    assert_eq!(outcome.total, 30_000.0, "{outcome:?}");
    assert!(outcome.deviation <= 100.0, "{outcome:?}");
}

#[test]
fn regress_ratelim_con() {
    let _census = Census::begin();
    // TR-03, G-17: -c 1000 -n 30 -t 100. There is no tick too many at the start.
    let outcome = simulate(Rates { connection: Some(1_000), ..Rates::default() });
    assert_eq!((outcome.mean, outcome.deviation), (1_000.0, 0.0));
}

#[test]
fn regress_ratelim_group_con() {
    let _census = Census::begin();
    // TR-04: -c 1000 -g 30000 -n 30 -t 100
    let outcome = simulate(Rates { connection: Some(1_000), group: Some(30_000), ..Rates::default() });
    assert!((29_000.0..=30_000.0).contains(&outcome.total), "{outcome:?}");
    assert!((outcome.mean - 1_000.0).abs() <= 50.0 && outcome.deviation <= 50.0, "{outcome:?}");
}

#[test]
fn regress_ratelim_group_con_drain() {
    let _census = Census::begin();
    // TR-05: -c 1000 -g 35000 -n 30 -t 100 -G 500
    let rates = Rates { connection: Some(1_000), group: Some(35_000), drain: 500 };
    let outcome = simulate(rates);
    assert!((29_000.0..=30_000.0).contains(&outcome.total), "{outcome:?}");
    assert!((outcome.mean - 1_000.0).abs() <= 50.0 && outcome.deviation <= 50.0, "{outcome:?}");
}

#[test]
fn on_tcp_in_real_time_never_more_than_the_limits_comes_back() {
    let _census = Census::begin();
    // TR-01 on the system's clock: what it did not let through in time is not asserted.
    let mut base = Base::<Pinned>::with_clock(Clock::monotonic()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rates = Rates { connection: Some(1_000), group: Some(25_000), drain: 0 };
    let start = Instant::now();
    let simulation = Simulation::start(&mut base, rates, || {
        let client = TcpStream::connect(address).unwrap();
        (client, listener.accept().unwrap().0)
    });
    while start.elapsed() < TICK * 5 {
        base.turn(Some(TICK / 10)).unwrap();
        let received = simulation.received();
        // A tick's worth is there at once.
        let ticks = (start.elapsed().as_nanos() / TICK.as_nanos() + 1) as f64;
        assert!(received.iter().sum::<f64>() <= 2_500.0 * ticks, "{received:?} in {ticks}");
        assert!(received.iter().all(|bytes| *bytes <= 100.0 * ticks), "{received:?} in {ticks}");
    }
    assert!(simulation.received().iter().sum::<f64>() > 0.0);
}
