//! The clients: one thread for all heavy connections, one for all light ones, both asleep most of the time.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Connections that ask again as soon as they are answered.
#[derive(Debug, Default)]
pub(super) struct Heavy {
    streams: Vec<UnixStream>,
}

/// Connections that ask at fixed times.
#[derive(Debug, Default)]
pub(super) struct Light {
    asking: Vec<Asking>,
}

#[derive(Debug)]
struct Asking {
    stream: UnixStream,
    base: usize,
    /// When to ask next, or when it was asked.
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Due(Instant),
    Asked(Instant),
}

impl Heavy {
    pub(super) fn add(&mut self, stream: UnixStream) {
        self.streams.push(stream);
    }

    /// Asks until `until` and waits for the replies under way; answers how many there were.
    pub(super) fn ask_until(&mut self, until: Instant) -> io::Result<u64> {
        let mut replies = 0;
        for stream in &mut self.streams {
            stream.write_all(&REQUEST)?;
        }
        let mut open = self.streams.len();
        while open > 0 {
            for index in readable(self.streams.iter(), PATIENCE)? {
                take_reply(&mut self.streams[index])?;
                replies += 1;
                if Instant::now() < until {
                    self.streams[index].write_all(&REQUEST)?;
                } else {
                    open -= 1;
                }
            }
        }
        Ok(replies)
    }
}

impl Light {
    pub(super) fn add(&mut self, stream: UnixStream, base: usize) {
        self.asking.push(Asking { stream, base, state: State::Due(Instant::now()) });
    }

    /// Asks until `until` and waits for the replies under way; tells `record` of each the base and the time it took.
    pub(super) fn ask_until(
        &mut self,
        until: Instant,
        mut record: impl FnMut(usize, Duration),
    ) -> io::Result<()> {
        self.spread_over_one_period();
        loop {
            let now = Instant::now();
            for asking in &mut self.asking {
                asking.ask_if_due(now, until)?;
            }
            let Some(wait) = self.wait(now, until) else { return Ok(()) };
            for index in readable(self.asking.iter().map(|asking| &asking.stream), wait)? {
                let asking = &mut self.asking[index];
                take_reply(&mut asking.stream)?;
                let State::Asked(at) = asking.state else {
                    return Err(io::Error::other("a reply to no request"));
                };
                let now = Instant::now();
                record(asking.base, now - at);
                // A request that would have been due meanwhile is left out.
                asking.state = State::Due(now.max(at + PERIOD));
            }
        }
    }

    fn spread_over_one_period(&mut self) {
        let (start, count) = (Instant::now(), self.asking.len().max(1) as u32);
        for (number, asking) in self.asking.iter_mut().enumerate() {
            asking.state = State::Due(start + PERIOD * number as u32 / count);
        }
    }

    /// How long to wait for a reply or the next request; `None` when all is over.
    fn wait(&self, now: Instant, until: Instant) -> Option<Duration> {
        let waits = self.asking.iter().filter_map(|asking| match asking.state {
            State::Asked(_) => Some(PATIENCE),
            State::Due(at) => (at < until).then(|| at.saturating_duration_since(now)),
        });
        waits.min()
    }
}

impl Asking {
    fn ask_if_due(&mut self, now: Instant, until: Instant) -> io::Result<()> {
        let State::Due(at) = self.state else { return Ok(()) };
        if at <= now && at < until {
            self.state = State::Asked(Instant::now());
            self.stream.write_all(&REQUEST)?;
        }
        Ok(())
    }
}

/// Waits until one of `streams` is readable, or for `wait`; answers which are.
fn readable<'a>(streams: impl Iterator<Item = &'a UnixStream>, wait: Duration) -> io::Result<Vec<usize>> {
    let mut fds: Vec<_> =
        streams.map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)).collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(wait.subsec_nanos()),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) if wait >= PATIENCE => Err(io::Error::new(io::ErrorKind::TimedOut, "a reply is missing")),
        Ok(_) | Err(Errno::INTR) => {
            let ready = fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
            Ok(ready.map(|(index, _)| index).collect())
        }
        Err(errno) => Err(errno.into()),
    }
}

fn take_reply(stream: &mut UnixStream) -> io::Result<()> {
    let mut reply = [0; REQUEST.len()];
    stream.read_exact(&mut reply)?;
    if reply == REQUEST { Ok(()) } else { Err(io::Error::other("a reply differs from its request")) }
}

const REQUEST: [u8; 64] = [7; 64];
const PERIOD: Duration = Duration::from_millis(4);
const PATIENCE: Duration = Duration::from_secs(10);
