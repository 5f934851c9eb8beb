//! Sends back what comes in.

use bufferevent::{Bufferevent, Event};

use super::Service;

/// Moves segments from the input to the output; nothing is copied.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// The peer has ended its side; what is left of its input is still owed.
    ended: bool,
}

impl Echo {
    /// Moves all input. Past the output's cap it stays, and the next read callback or `Drained` tries again.
    fn answer(&self, connection: &mut Bufferevent) {
        let (input, output) = connection.buffers();
        let _refused_past_the_cap = output.append(input);
        if self.ended && connection.input().is_empty() {
            connection.close();
        }
    }
}

impl Service for Echo {
    fn input(&mut self, connection: &mut Bufferevent) {
        self.answer(connection);
    }

    fn event(&mut self, connection: &mut Bufferevent, event: &Event) {
        match event {
            Event::Eof => {
                self.ended = true;
                self.answer(connection);
            }
            Event::Drained => self.answer(connection),
            event if event.is_terminal() => connection.close(),
            _ => {}
        }
    }
}
