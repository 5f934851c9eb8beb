//! Sends back what comes in.

use bufferevent::{Bufferevent, Event, Interest};

use super::Service;

/// Moves segments from the input to the output; nothing is copied.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// The peer has ended its side, or a drain is on; what is left of its input is still owed.
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

    /// What has come is sent back, and nothing more is taken.
    fn drain(&mut self, connection: &mut Bufferevent) {
        connection.disable(Interest::READ);
        self.ended = true;
        self.answer(connection);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bufferevent::{
        OUTPUT_CAP,
        testing::{ManualBase, Wire},
    };

    use super::*;
    use crate::server::Served;

    #[test]
    fn a_drain_sends_back_what_has_come_also_past_the_cap() {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        let all: Vec<_> = (0..OUTPUT_CAP + 1_000_000).map(|i| (i % 251) as u8).collect();
        wire.set_room(0);
        wire.deliver(&all);
        Bufferevent::scripted(&wire).handler(Served::new(Echo::default(), None)).start(&mut base).unwrap();
        base.settle().unwrap();
        base.close_all();
        base.settle().unwrap();
        assert!(!wire.is_shut_down());
        wire.deliver(b"too late");
        wire.set_room(usize::MAX);
        base.settle().unwrap();
        assert!(wire.written() == all && wire.is_shut_down());
    }
}
