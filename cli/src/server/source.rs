//! Sends without end.

use bufferevent::Bufferevent;
use bytes::Bytes;

use super::{Service, sink::discard};
use crate::pattern::{PERIOD, Pattern};

/// Bytes of output kept ready: below the high mark, so that nothing is told of it.
const FILLED: usize = 2 * PERIOD;

/// Keeps the output filled with references to one block that all connections share.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    block: Bytes,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self { block: Pattern::new().period().clone() }
    }
}

impl Service for Source {
    const FILLS_ROOM: bool = true;

    /// The first block is there before the connection starts; from then on each write brings the next callback.
    fn begin(&mut self, connection: &mut Bufferevent) {
        self.room(connection);
    }

    fn input(&mut self, connection: &mut Bufferevent) {
        discard(connection);
    }

    fn room(&mut self, connection: &mut Bufferevent) {
        let output = connection.output();
        while output.len() < FILLED {
            // A block is added whole or not at all, so each begins where the pattern does.
            if output.add_bytes(self.block.clone()).is_err() {
                return;
            }
        }
    }
}
