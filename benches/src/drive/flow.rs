//! Sink and source: every connection streams as fast as the server takes or gives.

use std::io;
use std::time::{Duration, Instant};

use super::Limit;
use super::line::Moved;
use super::worker::{BATCH, Worker};
use crate::Mode;

impl Worker {
    /// Streams until `limit`. What the kernel buffers hold afterwards is left there.
    pub(super) fn run_flow(&mut self, limit: Limit) -> io::Result<()> {
        let (deadline, bytes) = match limit {
            Limit::Time(time) => (Instant::now() + time, u64::MAX),
            Limit::Requests(blocks) => (Instant::now() + LONGEST, blocks.saturating_mul(self.size as u64)),
        };
        for index in 0..self.conns.len() {
            self.arm(index, self.mode == Mode::Sink)?;
            self.conns[index].begun = Instant::now();
        }
        let mut events = Vec::with_capacity(BATCH);
        while self.tally.bytes < bytes && Instant::now() < deadline {
            self.wait(&mut events, deadline)?;
            for event in &events {
                let index = event.data.u64() as usize;
                if !self.stream(index) {
                    self.conns[index].line = None;
                    self.tally.errors += 1;
                }
            }
            if self.conns.iter().all(|conn| conn.line.is_none()) {
                break;
            }
        }
        Ok(())
    }

    /// Moves one block, or what goes without waiting. Returns false if the connection is broken.
    fn stream(&mut self, index: usize) -> bool {
        let conn = &mut self.conns[index];
        let Some(line) = &mut conn.line else { return true };
        let moved = if self.mode == Mode::Sink {
            let done = conn.sent % self.size;
            line.send(&self.pattern[done..self.size])
        } else {
            line.recv(&mut self.scratch)
        };
        let count = match moved {
            Moved::Bytes(count) => count,
            Moved::WaitsForInput | Moved::WaitsForRoom => return true,
            Moved::Broken => return false,
        };
        self.tally.bytes += count as u64;
        conn.sent += count;
        conn.received += count;
        if conn.received >= self.size {
            conn.received %= self.size;
            let now = Instant::now();
            self.tally.record(now - conn.begun);
            conn.begun = now;
        }
        true
    }
}

const LONGEST: Duration = Duration::from_secs(600);
