//! What OpenSSL reads from and writes to: buffers of ours, never a socket.

use std::{cell::Cell, io};

use bufferevent::{Evbuffer, evbuffer::transport::Transport as _};

/// The two directions of the wire. Reads what has arrived, appends what is to be sent, and never refuses to.
///
/// So a write never has to be repeated, and the only thing that OpenSSL can lack is more input. Nothing in here panics.
#[derive(Debug)]
pub(crate) struct Wire {
    /// `None` where both would be empty, as they are while the connection is idle.
    buffers: Option<Box<Buffers>>,
    /// Bytes that may still be read.
    pub(crate) allowance: usize,
    /// Bytes that were read, since it was last set to 0.
    pub(crate) consumed: usize,
    /// Whether there was nothing when it was asked last: the only proof that nothing is left to be taken.
    pub(crate) starved: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// What has arrived from the peer.
    pub(crate) arrived: Evbuffer,
    /// What is to be sent to it.
    pub(crate) to_send: Evbuffer,
}

/// How many bytes are where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Levels {
    pub(crate) arrived: usize,
    pub(crate) consumed: usize,
    pub(crate) to_send: usize,
}

thread_local! {
    /// Empty buffers that no connection has: one pair for each thread.
    static LENT: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

impl Wire {
    pub(crate) fn new(allowance: usize) -> Self {
        Self { buffers: None, allowance, consumed: 0, starved: false }
    }

    /// The buffers, of the thread's if it has none.
    #[inline]
    pub(crate) fn buffers(&mut self) -> &mut Buffers {
        self.buffers.get_or_insert_with(|| LENT.try_with(Cell::take).ok().flatten().unwrap_or_default())
    }

    /// Gives the buffers to the thread if they are empty, and nobody has done anything to them that would be of this connection.
    pub(crate) fn rest(&mut self) {
        let are_as_new =
            |buffers: &mut Box<Buffers>| buffers.arrived.is_as_new() && buffers.to_send.is_as_new();
        if let Some(buffers) = self.buffers.take_if(are_as_new) {
            // A thread that ends takes none.
            let _ = LENT.try_with(|lent| lent.set(Some(buffers)));
        }
    }

    pub(crate) fn levels(&self) -> Levels {
        let len =
            |buffer: fn(&Buffers) -> &Evbuffer| self.buffers.as_ref().map_or(0, |has| buffer(has).len());
        Levels {
            arrived: len(|buffers| &buffers.arrived),
            consumed: self.consumed,
            to_send: len(|buffers| &buffers.to_send),
        }
    }

    /// Whether no more has arrived than may be read.
    pub(crate) fn is_within_allowance(&self) -> bool {
        self.levels().arrived <= self.allowance
    }
}

impl io::Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let arrived = self.buffers.as_mut().map(|buffers| &mut buffers.arrived).filter(|has| !has.is_empty());
        self.starved = arrived.is_none();
        let most = into.len().min(self.allowance);
        let (Some(arrived), 1..) = (arrived, most) else { return Err(io::ErrorKind::WouldBlock.into()) };
        let n = arrived.remove(&mut into[..most])?;
        self.allowance -= n;
        self.consumed += n;
        Ok(n)
    }
}

impl io::Write for Wire {
    /// Fails only where there is no memory, or where who has the buffer froze it: an error, which breaks the connection.
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.buffers().to_send.add(from)?;
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use bufferevent::evbuffer::End;

    use super::*;

    #[test]
    fn it_starves_only_when_nothing_has_arrived() {
        let mut wire = Wire::new(usize::MAX);
        wire.buffers().arrived.add(b"abc").unwrap();
        let mut into = [0; 8];
        assert_eq!(wire.read(&mut into).unwrap(), 3);
        assert!(!wire.starved);
        assert_eq!(wire.read(&mut into).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(wire.starved);
        assert_eq!(wire.consumed, 3);
    }

    #[test]
    fn what_is_read_is_bounded_by_the_allowance() {
        let mut wire = Wire::new(2);
        wire.buffers().arrived.add(b"abc").unwrap();
        assert_eq!(wire.read(&mut [0; 8]).unwrap(), 2);
        assert_eq!(wire.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(!wire.starved, "there is more, it may not be read");
    }

    #[test]
    fn what_is_written_is_taken_whole() {
        let mut wire = Wire::new(0);
        for _ in 0..100 {
            assert_eq!(wire.write(&[7; 20_000]).unwrap(), 20_000);
        }
        wire.flush().unwrap();
        assert_eq!(wire.buffers().to_send.len(), 2_000_000);
    }

    #[test]
    fn empty_buffers_are_the_threads_and_others_are_its_own() {
        let (mut one, mut other) = (Wire::new(usize::MAX), Wire::new(usize::MAX));
        let buffers: *const Buffers = one.buffers();
        one.rest();
        assert!(one.buffers.is_none());
        assert!(std::ptr::eq(other.buffers(), buffers));
        other.write_all(b"kept").unwrap();
        other.rest();
        assert_eq!(other.levels().to_send, 4);
        assert!(one.buffers().to_send.is_empty());
    }

    #[test]
    fn what_somebody_has_capped_frozen_or_observed_is_lent_to_no_other() {
        let spoils: [fn(&mut Buffers); 3] = [
            |buffers| buffers.to_send.set_limit(Some(3)),
            |buffers| buffers.to_send.freeze(End::Back),
            |buffers| {
                let _observer = buffers.arrived.observe(|_, _| panic!("it is of another connection"));
            },
        ];
        for spoil in spoils {
            let (mut one, mut other) = (Wire::new(usize::MAX), Wire::new(usize::MAX));
            spoil(one.buffers());
            one.rest();
            other.write_all(b"more than three").unwrap();
            other.buffers().arrived.add(b"arrived").unwrap();
        }
    }
}
