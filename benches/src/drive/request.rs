//! Echo and churn: one request at a time on every connection, the next one as soon as the reply is complete.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::epoll::{Event, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::Limit;
use super::worker::{BATCH, GRACE, Worker};
use crate::Mode;

/// How much of a load is left.
struct Budget {
    requests: u64,
    deadline: Instant,
    /// Requests under way.
    active: usize,
}

impl Worker {
    /// Runs requests until `limit`, then waits for the replies under way.
    pub(super) fn run_requests(&mut self, limit: Limit) -> io::Result<()> {
        let start = Instant::now();
        let mut budget = Budget::new(limit, start);
        for index in 0..self.conns.len() {
            self.begin(index, start, &mut budget)?;
        }
        let mut events = Vec::with_capacity(BATCH);
        while budget.active > 0 {
            let patience = budget.deadline.max(Instant::now()) + GRACE;
            self.wait(&mut events, patience)?;
            if events.is_empty() {
                self.tally.errors += budget.active as u64;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "replies are missing"));
            }
            for event in &events {
                self.ready(event, &mut budget)?;
            }
        }
        Ok(())
    }

    fn ready(&mut self, event: &Event, budget: &mut Budget) -> io::Result<()> {
        let index = event.data.u64() as usize;
        let flags = event.flags;
        if self.conns[index].armed && flags.intersects(EventFlags::OUT) && !self.push(index)? {
            return self.fail(index, budget);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return match self.pull(index) {
                Pulled::Complete => self.finish(index, budget),
                Pulled::Partly => Ok(()),
                Pulled::Broken => self.fail(index, budget),
            };
        }
        Ok(())
    }

    /// Begins the next request on connection `index`, if the budget has one.
    fn begin(&mut self, index: usize, now: Instant, budget: &mut Budget) -> io::Result<()> {
        if !budget.take(now) {
            return Ok(());
        }
        self.conns[index].begin(now);
        let is_new = self.mode == Mode::Churn;
        if is_new {
            self.conns[index].fd = Some(self.open()?);
            self.conns[index].armed = false;
            // The loopback handshake is mostly over by now; if it is not, `push` arms for output.
            let whole = self.push_unarmed(index);
            self.conns[index].armed = !whole;
            return self.register(index);
        }
        if self.conns[index].fd.is_none() || !self.push(index)? {
            return self.fail(index, budget);
        }
        Ok(())
    }

    /// Sends what is left of the request. Returns false if the connection is broken.
    fn push(&mut self, index: usize) -> io::Result<bool> {
        let conn = &mut self.conns[index];
        let Some(fd) = &conn.fd else { return Ok(false) };
        let rest = &self.pattern[conn.offset + conn.sent..conn.offset + self.size];
        match send(fd, rest, SendFlags::NOSIGNAL) {
            Ok(count) => conn.sent += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Ok(false),
        }
        let whole = conn.sent == self.size;
        self.arm(index, !whole)?;
        Ok(true)
    }

    /// Sends what it can on a connection that may still be connecting. Returns true if that was all.
    fn push_unarmed(&mut self, index: usize) -> bool {
        let conn = &mut self.conns[index];
        let Some(fd) = &conn.fd else { return false };
        let request = &self.pattern[conn.offset..conn.offset + self.size];
        conn.sent = send(fd, request, SendFlags::NOSIGNAL).unwrap_or(0);
        conn.sent == self.size
    }

    /// Receives once and compares with the request.
    fn pull(&mut self, index: usize) -> Pulled {
        let conn = &mut self.conns[index];
        let Some(fd) = &conn.fd else { return Pulled::Partly };
        let count = match recv(fd, &mut self.scratch[..], RecvFlags::empty()) {
            Ok((0, _)) => return Pulled::Broken,
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Pulled::Partly,
            Err(_) => return Pulled::Broken,
        };
        let expected = conn.offset + conn.received..conn.offset + self.size;
        if !conn.busy
            || self.pattern.get(expected).and_then(|rest| rest.get(..count)) != Some(&self.scratch[..count])
        {
            return Pulled::Broken;
        }
        conn.received += count;
        if conn.received == self.size { Pulled::Complete } else { Pulled::Partly }
    }

    fn finish(&mut self, index: usize, budget: &mut Budget) -> io::Result<()> {
        let now = Instant::now();
        let conn = &mut self.conns[index];
        conn.busy = false;
        budget.active -= 1;
        self.tally.requests += 1;
        self.tally.bytes += self.size as u64;
        self.tally.record(now - conn.begun);
        if self.mode == Mode::Churn {
            conn.fd = None;
        }
        self.begin(index, now, budget)
    }

    /// Gives up connection `index` and its request.
    fn fail(&mut self, index: usize, budget: &mut Budget) -> io::Result<()> {
        let conn = &mut self.conns[index];
        let was_busy = std::mem::replace(&mut conn.busy, false);
        conn.fd = None;
        conn.armed = false;
        self.tally.errors += 1;
        if was_busy {
            budget.active -= 1;
        }
        if self.mode == Mode::Churn && self.tally.errors < MOST_FAILURES {
            return self.begin(index, Instant::now(), budget);
        }
        Ok(())
    }
}

impl Budget {
    fn new(limit: Limit, start: Instant) -> Self {
        match limit {
            Limit::Time(time) => Self { requests: u64::MAX, deadline: start + time, active: 0 },
            Limit::Requests(requests) => Self { requests, deadline: start + LONGEST, active: 0 },
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.requests == 0 || now >= self.deadline {
            return false;
        }
        self.requests -= 1;
        self.active += 1;
        true
    }
}

/// What came of receiving once.
enum Pulled {
    /// The reply is whole.
    Complete,
    /// More of it is to come.
    Partly,
    /// The connection is closed, or the reply is not what was sent.
    Broken,
}

const MOST_FAILURES: u64 = 100;
const LONGEST: Duration = Duration::from_secs(600);
