//! Reads everything, keeps nothing.

use bufferevent::Bufferevent;

use super::Service;

/// Drains its input.
#[derive(Debug)]
pub(crate) struct Sink;

impl Service for Sink {
    fn input(&mut self, connection: &mut Bufferevent) {
        discard(connection);
    }
}

/// Drops all input.
pub(super) fn discard(connection: &mut Bufferevent) {
    let input = connection.input();
    let all = input.len();
    let drained = input.drain(all);
    debug_assert!(drained.is_ok(), "the front of an input is never frozen here");
}
