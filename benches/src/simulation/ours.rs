//! Our side.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use bufferevent::evbuffer::Evbuffer;
use bufferevent::{
    Base, Bufferevent, Context, Direction, Handler, Interest, Pinned, RateLimitGroup, TokenBucketConfig,
};
use bufferevent_sync::{Arc, SharedCounter};
use rustix::time::ClockId;

use super::{Case, Figure};
use crate::cpu_time::cpu_time;

/// Runs `case` in this process.
///
/// # Errors
/// The system has no sockets to give, or a limit of the case is none.
pub fn run(case: &Case) -> io::Result<Figure> {
    let pairs = pairs(case.clients)?;
    let mut base = Base::<Pinned>::new().map_err(io::Error::other)?;
    let limit = |rate| (rate > 0).then(|| config(case, rate)).transpose();
    let each = limit(case.connection)?;
    let group = limit(case.group)?.map(|config| RateLimitGroup::new(&config));
    let mut received = Vec::new();
    for (ours, theirs) in pairs {
        let client = Client::default();
        received.push(Arc::clone(&client.received));
        let limited = |server: &mut Bufferevent| {
            server.set_rate_limit(each.as_ref());
            if let Some(group) = &group {
                server.join_rate_limit_group(group).expect("both go by the system's clock");
            }
        };
        let server = Bufferevent::socket(theirs).write_watermark(512_000, None).configure(limited);
        server.threadsafe().handler(Server).start(&mut base).map_err(io::Error::other)?;
        let filled = Bufferevent::socket(ours).configure(|client| Client::fill(client.output()));
        filled.threadsafe().handler(client).start(&mut base).map_err(io::Error::other)?;
    }
    if let (Some(group), bytes @ 1..) = (group.clone(), case.drain as i64) {
        base.every(Duration::from_millis(case.tick), move |_| {
            group.decrement(Direction::Read, bytes);
            group.decrement(Direction::Write, bytes);
        });
    }
    let look = move || {
        let received = received.iter().map(|bytes| bytes.get()).collect();
        Look { received, cpu: cpu_time(ClockId::ProcessCPUTime) }
    };
    let warm = Rc::new(Cell::new(None));
    let (seen, early) = (Rc::clone(&warm), look.clone());
    base.after(case.warmup(), move |_| seen.set(Some(early())));
    base.exit_after(case.duration());
    base.run().map_err(io::Error::other)?;
    // Members do not keep their group.
    drop(group);
    let end = look();
    let warm = warm.take().ok_or_else(|| io::Error::other("the base ended before it was warm"))?;
    let cpu = (end.cpu - warm.cpu).as_secs_f64() * 1e3;
    Ok(Figure { meanwhile: end.sum() - warm.sum(), received: end.received, cpu })
}

/// How things stand.
struct Look {
    received: Vec<u64>,
    cpu: Duration,
}

impl Look {
    fn sum(&self) -> u64 {
        self.received.iter().sum()
    }
}

/// Connections over TCP.
fn pairs(count: usize) -> io::Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let pair = |_| Ok((TcpStream::connect(listener.local_addr()?)?, listener.accept()?.0));
    (0..count).map(pair).collect()
}

fn config(case: &Case, rate: u64) -> io::Result<TokenBucketConfig> {
    let (rate, tick) = (case.per_tick(rate), Duration::from_millis(case.tick));
    TokenBucketConfig::new(rate, 4 * rate, rate, 4 * rate, Some(tick)).map_err(io::Error::other)
}

/// Keeps at least 8,192 bytes of output, and counts what comes back.
#[derive(Clone, Default)]
struct Client {
    received: Arc<SharedCounter>,
}

impl Client {
    fn fill(output: &mut Evbuffer) {
        while output.len() < 8_192 {
            output.add(&[7; 1_024]).expect("far from the cap");
        }
    }
}

impl Handler for Client {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let input = cx.input();
        let length = input.len();
        input.drain(length).expect("it is there");
        self.received.add(length as u64);
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
        output.append(input).expect("reading stops far below the cap");
        if output.len() > 1_024_000 {
            cx.disable(Interest::READ);
        }
    }

    fn on_write(&mut self, cx: &mut Context<'_>) {
        // At the low mark of the output, or below it.
        cx.enable(Interest::READ);
    }
}
