//! Echo and churn: one request at a time on every connection, the next one as soon as the reply is complete.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::epoll::{Event, EventFlags};

use super::Limit;
use super::line::{Line, Moved};
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
            if !self.shake_on(index)? {
                return self.fail(index, budget);
            }
            return match self.pull(index) {
                Pulled::Complete => self.finish(index, budget),
                Pulled::Partly => Ok(()),
                Pulled::Broken => self.fail(index, budget),
            };
        }
        Ok(())
    }

    /// Goes on with a handshake that the request waits for. Returns false if the connection is broken.
    fn shake_on(&mut self, index: usize) -> io::Result<bool> {
        let conn = &self.conns[index];
        let waits = conn.busy && conn.sent == 0 && !conn.armed;
        if waits { self.push(index) } else { Ok(true) }
    }

    /// Begins the next request on connection `index`, if the budget has one.
    fn begin(&mut self, index: usize, now: Instant, budget: &mut Budget) -> io::Result<()> {
        if !budget.take(now) {
            return Ok(());
        }
        self.conns[index].begin(now);
        let is_new = self.mode == Mode::Churn;
        if is_new {
            self.conns[index].line = Some(self.open()?);
            // TCP's handshake on the loopback is mostly over by now; if it is not, this waits for room.
            self.conns[index].armed = self.send_rest(index) != Some(false);
            return self.register(index);
        }
        if !self.push(index)? {
            return self.fail(index, budget);
        }
        Ok(())
    }

    /// Sends what is left of the request. Returns false if the connection is broken.
    fn push(&mut self, index: usize) -> io::Result<bool> {
        let Some(armed) = self.send_rest(index) else { return Ok(false) };
        self.arm(index, armed)?;
        Ok(true)
    }

    /// Sends what goes of the request. Returns whether the rest waits for room; `None` if the connection is broken.
    fn send_rest(&mut self, index: usize) -> Option<bool> {
        let conn = &mut self.conns[index];
        let rest = &self.pattern[conn.offset + conn.sent..conn.offset + self.size];
        match conn.line.as_mut()?.send(rest) {
            Moved::Bytes(count) => conn.sent += count,
            Moved::WaitsForRoom => {}
            // TLS shakes hands before.
            Moved::WaitsForInput => return Some(false),
            Moved::Broken => return None,
        }
        Some(conn.sent < self.size)
    }

    /// Receives what is there of the reply.
    fn pull(&mut self, index: usize) -> Pulled {
        loop {
            match self.pull_once(index) {
                Some(Pulled::Partly) if self.conns[index].line.as_ref().is_some_and(Line::holds_back) => {}
                Some(pulled) => return pulled,
                None => return Pulled::Partly,
            }
        }
    }

    /// Receives once and compares with the request; `None` when there is nothing.
    fn pull_once(&mut self, index: usize) -> Option<Pulled> {
        let conn = &mut self.conns[index];
        let count = match conn.line.as_mut()?.recv(&mut self.scratch) {
            Moved::Bytes(count) => count,
            Moved::WaitsForInput | Moved::WaitsForRoom => return None,
            Moved::Broken => return Some(Pulled::Broken),
        };
        let expected = conn.offset + conn.received..conn.offset + self.size;
        if !conn.busy
            || self.pattern.get(expected).and_then(|rest| rest.get(..count)) != Some(&self.scratch[..count])
        {
            return Some(Pulled::Broken);
        }
        conn.received += count;
        Some(if conn.received == self.size { Pulled::Complete } else { Pulled::Partly })
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
            conn.line.take().into_iter().for_each(Line::close);
        }
        self.begin(index, now, budget)
    }

    /// Gives up connection `index` and its request.
    fn fail(&mut self, index: usize, budget: &mut Budget) -> io::Result<()> {
        let conn = &mut self.conns[index];
        let was_busy = std::mem::replace(&mut conn.busy, false);
        conn.line = None;
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
