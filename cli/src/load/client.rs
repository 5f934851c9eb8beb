//! One connection of the load: a request at a time.

use std::{sync::Arc, time::Instant};

use bufferevent::{Bufferevent, Context, Event, Handler};
use bufferevent_ssl::Tls;
use rustix::net::sockopt::set_tcp_nodelay;

use super::engine::BaseLoad;
use crate::{
    args::Mode,
    pattern::{Cursor, SOURCE},
};

/// The bits of the event that makes a connection begin its first request.
pub(super) const BEGIN: u16 = 0x4000;

/// Bytes of a request kept in the output; the rest follows as they go.
const FILLED: usize = 128 * 1024;

/// The handler of one connection.
#[derive(Debug)]
pub(super) struct Client {
    base: Arc<BaseLoad>,
    /// Its number among the connections of its base.
    slot: usize,
    size: usize,
    /// What is sent next.
    sending: Cursor,
    /// What must come next.
    awaited: Cursor,
    request: Request,
    has_stood: bool,
    has_failed: bool,
}

/// The request that is under way.
#[derive(Debug)]
struct Request {
    /// When it began; `None` before the first.
    began: Option<Instant>,
    /// Bytes still to be put into the output.
    to_send: usize,
    /// Bytes still to come.
    to_receive: usize,
}

impl Client {
    /// Connection `number` of the load.
    pub(super) fn new(base: Arc<BaseLoad>, number: usize) -> Self {
        let load = base.load();
        let stream = load.pattern.stream(match load.plan.mode {
            Mode::Source => SOURCE,
            Mode::Echo | Mode::Sink => SOURCE + 1 + number,
        });
        Self {
            slot: load.slot(number),
            size: load.plan.size(number),
            sending: stream.clone(),
            awaited: stream,
            request: Request { began: None, to_send: 0, to_receive: 0 },
            has_stood: false,
            has_failed: false,
            base,
        }
    }

    fn mode(&self) -> Mode {
        self.base.load().plan.mode
    }

    /// Begins a request, unless the load ends: then the connection does.
    fn begin(&mut self, connection: &mut Bufferevent, now: Instant) {
        if self.base.load().is_stopping() {
            self.base.tally.under_way(self.slot, None);
            return connection.close();
        }
        let (to_send, to_receive) = match self.mode() {
            Mode::Echo => (self.size, self.size),
            Mode::Sink => (self.size, 0),
            Mode::Source => (0, self.size),
        };
        self.request = Request { began: Some(now), to_send, to_receive };
        self.base.tally.under_way(self.slot, Some(now));
        self.send(connection);
    }

    /// Puts more of the request into the output, as far as it has room.
    fn send(&mut self, connection: &mut Bufferevent) {
        let output = connection.output();
        let n = self.request.to_send.min(FILLED.saturating_sub(output.len()));
        if n == 0 {
            return;
        }
        if !self.sending.fill(output, n) {
            return self.fail(connection, || "the output refused a request".to_owned());
        }
        self.request.to_send -= n;
        self.base.tally.sent[self.slot].add(n as u64);
    }

    /// Counts `requests` that ended together, and begins the next.
    fn done(&mut self, connection: &mut Bufferevent, requests: usize) {
        let now = Instant::now();
        if let Some(began) = self.request.began {
            self.base.tally.requests(requests as u64, now - began);
        }
        self.begin(connection, now);
    }

    /// Checks what came, byte by byte, and discards it; answers how much it was, `None` if it was wrong.
    fn check(&mut self, connection: &mut Bufferevent) -> Option<usize> {
        let input = connection.input();
        let came = input.len();
        let wrong: usize = input.chunks().map(|bytes| self.awaited.check(bytes)).sum();
        self.discard(connection, came);
        if wrong == 0 {
            return Some(came);
        }
        self.base.load().board.wrong(wrong);
        // How many is told once, for all connections.
        self.fail(connection, || "wrong bytes came".to_owned());
        None
    }

    /// Takes what comes back.
    fn receive_echo(&mut self, connection: &mut Bufferevent) {
        let Some(came) = self.check(connection) else { return };
        match self.request.to_receive.checked_sub(came) {
            None => self.fail(connection, || "more came back than was sent".to_owned()),
            Some(0) => self.done(connection, 1),
            Some(left) => self.request.to_receive = left,
        }
    }

    /// Takes what comes without being asked for; it may end more than one request.
    fn receive_stream(&mut self, connection: &mut Bufferevent) {
        let Some(came) = self.check(connection) else { return };
        if self.request.began.is_none() {
            return;
        }
        let Some(more) = came.checked_sub(self.request.to_receive) else {
            self.request.to_receive -= came;
            return;
        };
        self.done(connection, 1 + more / self.size);
        if !connection.is_closing() {
            self.request.to_receive -= more % self.size;
        }
    }

    fn discard(&mut self, connection: &mut Bufferevent, n: usize) {
        let drained = connection.input().drain(n);
        debug_assert!(drained.is_ok(), "the front of an input is never frozen here");
        self.base.tally.received[self.slot].add(n as u64);
    }

    fn fail(&mut self, connection: &mut Bufferevent, why: impl FnOnce() -> String) {
        self.note_failure(why);
        connection.abort();
    }

    fn note_failure(&mut self, why: impl FnOnce() -> String) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.base.load().board.failed(why);
            self.base.tally.under_way(self.slot, None);
        }
    }

    fn connected(&mut self, cx: &mut Context<'_>) {
        if let Some(socket) = cx.fd() {
            // Small requests go out at once; a socket without the option serves as well.
            let _ = set_tcp_nodelay(socket, true);
        }
        self.has_stood = true;
        let resumed = cx.filter_mut::<Tls>().and_then(|tls| Some(tls.ssl()?.session_reused()));
        self.base.load().board.connected(resumed);
        self.base.start_next(cx);
        if !cx.id().is_some_and(|id| self.base.keep(id)) {
            self.begin(cx, Instant::now());
        }
    }
}

impl Handler for Client {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        match self.mode() {
            Mode::Echo => self.receive_echo(cx),
            Mode::Sink => {
                let came = cx.input().len();
                self.discard(cx, came);
            }
            Mode::Source => self.receive_stream(cx),
        }
    }

    fn on_write(&mut self, cx: &mut Context<'_>) {
        if self.request.to_send > 0 {
            return self.send(cx);
        }
        if self.mode() == Mode::Sink && self.request.began.is_some() {
            self.done(cx, 1);
        }
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => self.connected(cx),
            Event::User(BEGIN) => self.begin(cx, Instant::now()),
            Event::Eof => self.fail(cx, || "the server closed the connection".to_owned()),
            // What TLS has to say of it goes to the server first.
            Event::Error { direction: None, cause } => {
                self.note_failure(|| cause.to_string());
                cx.close();
                self.base.start_next(cx);
            }
            Event::Error { cause, .. } => self.fail(cx, || cause.to_string()),
            Event::Closed(_) => self.base.load().board.ended(self.has_stood),
            _ => {}
        }
    }
}
