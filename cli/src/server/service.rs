//! What a server does with one connection, written once for all ways to run it.

use std::sync::Arc;

use bufferevent::{Bufferevent, Context, Event, Handle, Handler, HandlerAffinity, UnlockedHandler};

use crate::failures::{Client, Failures};

/// What a server does with one connection.
pub(crate) trait Service: Send + 'static {
    /// Whether it does anything when there is room.
    const FILLS_ROOM: bool = false;

    /// Prepares the connection before it starts.
    fn begin(&mut self, _connection: &mut Bufferevent) {}

    /// Input has come.
    fn input(&mut self, connection: &mut Bufferevent);

    /// The output is down to its low mark.
    fn room(&mut self, _connection: &mut Bufferevent) {}

    /// Something else happened.
    fn event(&mut self, connection: &mut Bufferevent, event: &Event) {
        if event.is_terminal() {
            connection.close();
        }
    }

    /// The server is to end: no more is begun.
    fn drain(&mut self, connection: &mut Bufferevent) {
        connection.close();
    }
}

/// A service as the handler of a connection: in callbacks that hold the strand, or need none, and in unlocked ones.
#[derive(Debug)]
pub(crate) struct Served<S> {
    service: S,
    /// Where a handshake that fails is told, if that is to be.
    handshakes: Option<Arc<Failures>>,
}

impl<S: Service> Served<S> {
    pub(crate) fn new(service: S, handshakes: Option<Arc<Failures>>) -> Self {
        Self { service, handshakes }
    }

    fn event(&mut self, connection: &mut Bufferevent, event: &Event) {
        // One without a direction: it never stood.
        if let (Event::Error { direction: None, cause }, Some(handshakes)) = (event, &self.handshakes) {
            handshakes.tell(Client::of(connection), cause);
        }
        self.service.event(connection, event);
    }
}

impl<A: HandlerAffinity, S: Service> Handler<A> for Served<S> {
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        self.service.input(cx);
    }

    fn on_write(&mut self, cx: &mut Context<'_, A>) {
        self.service.room(cx);
    }

    fn on_event(&mut self, cx: &mut Context<'_, A>, event: Event) {
        self.event(cx, &event);
    }

    fn on_drain(&mut self, cx: &mut Context<'_, A>) {
        self.service.drain(cx);
    }

    fn hears_write(&self) -> bool {
        S::FILLS_ROOM
    }
}

/// A lock that is refused means that the connection has ended meanwhile.
impl<S: Service> UnlockedHandler for Served<S> {
    fn on_read(&mut self, bufferevent: &Handle) {
        if let Ok(mut connection) = bufferevent.lock() {
            self.service.input(&mut connection);
        }
    }

    fn on_write(&mut self, bufferevent: &Handle) {
        if let Ok(mut connection) = bufferevent.lock() {
            self.service.room(&mut connection);
        }
    }

    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        if let Ok(mut connection) = bufferevent.lock() {
            self.event(&mut connection, &event);
        }
    }

    fn on_drain(&mut self, bufferevent: &Handle) {
        if let Ok(mut connection) = bufferevent.lock() {
            self.service.drain(&mut connection);
        }
    }

    fn hears_write(&self) -> bool {
        S::FILLS_ROOM
    }
}
