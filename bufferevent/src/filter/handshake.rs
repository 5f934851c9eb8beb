//! What a filter exchanges with the peer before the connection stands for who is above. It is a part of connecting: a connect
//! above is over when both are, and fails when either does.

use std::io;

use bufferevent_runtime::{CallbackKind, Scratch};

use super::{
    Filter, FlushMode, Handshake,
    layer::{Called, Calling, Layer},
};
use crate::{
    bufferevent::{Bufferevent, Phase},
    clocks::Limit,
    event::{Cause, Event},
    interest::Interest,
};

/// How far the handshake of a filter is. Each change is of a call, or of another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It begins once what is below is connected, and the peer has begun, if it waits for that.
    Ahead { waits: bool },
    /// So many bytes had arrived when the filter was called last, and the end if so; whether it filled the room there was, or was
    /// woken since.
    UnderWay { offered: u64, ended: bool, full: bool, woken: bool },
    /// It was completed or given up, or there is none.
    Over,
    /// It has failed.
    Failed,
}

impl Greeting {
    pub(super) fn of(filter: &(impl Filter + ?Sized)) -> Self {
        if filter.has_handshake() { Self::Ahead { waits: filter.waits_for_peer() } } else { Self::Over }
    }
}

impl Layer {
    /// Whether what is below may be connected, and is not yet for who is above.
    pub(crate) fn greets(&self) -> bool {
        !matches!(self.greeting, Greeting::Over | Greeting::Failed)
    }

    /// Where the connection has come for who is above.
    pub(super) fn phase(&self) -> Phase {
        match self.lower.phase {
            Phase::Open if self.greets() => Phase::Connecting,
            phase => phase,
        }
    }

    /// Whether the handshake is what takes time.
    pub(crate) fn is_greeting(&self) -> bool {
        self.greets() && self.lower.phase == Phase::Open
    }

    fn owes_handshake(&self) -> bool {
        let now = (self.arrived().offered, self.incoming.is_ending());
        let owes = match self.greeting {
            Greeting::Ahead { waits } => !waits || self.arrived().len > 0 || self.incoming.is_ending(),
            Greeting::UnderWay { offered, ended, full, woken } => {
                woken || now != (offered, ended) || full && self.lower.output.room() > 0
            }
            Greeting::Over | Greeting::Failed => false,
        };
        owes && self.is_greeting()
    }

    /// It goes on without another byte, if it is under way. False: it is not.
    pub(super) fn begin_greeting_again(&mut self) -> bool {
        if let Greeting::UnderWay { woken, .. } = &mut self.greeting {
            *woken = true;
        }
        self.greets()
    }

    /// Whether it may begin, or go on, among the handshakes that the peers of this base have begun. If not, the bell rings when
    /// it may.
    fn is_admitted(&mut self) -> bool {
        if self.greeting != (Greeting::Ahead { waits: true }) || self.arrived().len == 0 {
            return true;
        }
        let Some(home) = &self.lower.home else { return true };
        let handshakes = home.base.handshakes();
        let bell = &mut self.bell;
        let permit = self.permit.get_or_insert_with(|| {
            Box::new(handshakes.try_acquire().unwrap_or_else(|| {
                home.base.counters().handshakes_waited.add(1);
                handshakes.acquire(&bell.waker(Some(home)))
            }))
        });
        permit.is_granted()
    }

    /// Whether it has not begun though the peer has.
    pub(super) fn waits_to_greet(&self) -> bool {
        matches!(self.greeting, Greeting::Ahead { .. }) && self.permit.is_some()
    }

    /// It is over, or there is none.
    fn end_greeting(&mut self) {
        self.greeting = Greeting::Over;
        self.permit = None;
    }

    /// There is another connection, which the filter begins with. True: it did not panic.
    pub(super) fn greet_anew(&mut self) -> bool {
        self.end_greeting();
        self.filter_mut().restart();
        self.greeting = Greeting::of(self.filter_mut());
        true
    }

    /// There is nothing that it is for any more.
    pub(super) fn give_up_handshake(&mut self) {
        self.end_greeting();
        self.outgoing.give_up();
    }
}

impl Bufferevent {
    /// Whether the connection does not stand yet for want of a handshake.
    pub(crate) fn greets(&self) -> bool {
        self.layer().is_some_and(Layer::greets)
    }

    /// Whether what is below is connected, and the handshake is what is waited for.
    pub(crate) fn shakes_hands(&self) -> bool {
        self.layer().is_some_and(Layer::is_greeting)
    }

    /// Sets how long the handshake may take, if there is to be one.
    pub(crate) fn expect_handshake(&mut self) {
        let Some(layer) = self.layer_mut().filter(|layer| layer.greets()) else { return };
        let after = layer.filter_mut().handshake_timeout();
        self.clocks().set(Limit::Connect, after);
    }

    /// A step of the handshake. False: none is due.
    pub(super) fn step_handshake(&mut self, scratch: &mut Scratch) -> bool {
        let now = self.run.now;
        let Some(layer) = self.layer_mut().filter(|layer| layer.owes_handshake()) else { return false };
        if !layer.is_admitted() || layer.put_off {
            return false;
        }
        if !scratch.takes_handshake() {
            layer.put_off = true;
            self.home.iter().for_each(|home| home.base.counters().handshakes_put_off.add(1));
            return false;
        }
        let (offered, ended) = (layer.arrived().offered, layer.incoming.is_ending());
        let (mode, room) =
            (if ended { FlushMode::Finished } else { FlushMode::Normal }, layer.lower.output.room());
        let inside = self.callback_begins(CallbackKind::Filter);
        let how = Calling { mode, lend: usize::MAX, limit: room, usual: room, room, now };
        let called = self.layer_mut().and_then(|layer| layer.call_handshake(&how));
        drop(inside);
        let full = called.as_ref().is_some_and(|called| called.bytes.produced >= room);
        if let Some(layer) = self.layer_mut() {
            layer.greeting = Greeting::UnderWay { offered, ended, full, woken: false };
        }
        match called.map(|Called { said, .. }| said) {
            None => self.filter_panicked(),
            Some(Err(error)) => self.handshake_failed(Cause::Filter(error)),
            Some(Ok(Handshake::Done)) => self.handshake_done(),
            Some(Ok(Handshake::Pending)) if ended && !full => {
                self.handshake_failed(Cause::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            Some(Ok(Handshake::Pending)) => {}
        }
        true
    }

    fn handshake_done(&mut self) {
        if let Some(layer) = self.layer_mut() {
            layer.end_greeting();
        }
        self.forget_limit(Limit::Connect);
        if !self.is_closing() {
            self.connection_stands();
        }
        self.look_below();
    }

    /// The connect has failed above, though what is below may be open: what the filter has said last is sent there.
    pub(crate) fn handshake_failed(&mut self, cause: Cause) {
        let Some(layer) = self.layer_mut() else { return };
        layer.end_greeting();
        layer.greeting = Greeting::Failed;
        layer.incoming.fail();
        layer.outgoing.fail();
        if self.is_closing() {
            self.failure = Some(Box::new(cause));
            self.give_up_output();
            return;
        }
        self.enabled = Interest::NONE;
        self.follow();
        self.pending.event(Event::Error { direction: None, cause });
    }
}
