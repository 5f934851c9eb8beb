//! One connection of the client.

use std::time::Instant;

use super::line::Line;

/// One connection of the client, or its place while there is none.
#[derive(Debug)]
pub(super) struct Conn {
    /// `None` after a failure, and between two connections under churn.
    pub(super) line: Option<Line>,
    /// When the current request (or block) was begun.
    pub(super) begun: Instant,
    /// A request is under way.
    pub(super) busy: bool,
    /// Where in the pattern the request's bytes begin.
    pub(super) offset: usize,
    /// How much of the request (or block) was sent.
    pub(super) sent: usize,
    /// How much of the reply (or block) was received.
    pub(super) received: usize,
    /// Registered for `EPOLLOUT` too.
    pub(super) armed: bool,
}

impl Conn {
    /// Wraps a connected line whose socket is nonblocking, or keeps a place for one.
    pub(super) fn new(line: Option<Line>) -> Self {
        Self { line, begun: Instant::now(), busy: false, offset: 0, sent: 0, received: 0, armed: false }
    }

    /// Begins a request. Every one starts elsewhere in the pattern, so that a reply to another is noticed.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = now;
        self.busy = true;
        self.offset = (self.offset + STEP) % PERIOD;
        self.sent = 0;
        self.received = 0;
    }
}

/// Returns the bytes that requests are cut from: `size` of them can be taken at any offset below the period.
pub(super) fn pattern(size: usize) -> Vec<u8> {
    (0..size + PERIOD).map(|index| (index % PERIOD) as u8).collect()
}

const PERIOD: usize = 251;
const STEP: usize = 17;
