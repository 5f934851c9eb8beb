//! What OpenSSL reads from and writes to: buffers of ours, never a socket.

use std::io;

use bufferevent::Evbuffer;

/// The two directions of the wire. Reads what has arrived, appends what is to be sent, and never refuses to.
///
/// So a write never has to be repeated, and the only thing that OpenSSL can lack is more input. Nothing in here panics.
#[derive(Debug)]
pub(crate) struct Wire {
    /// What has arrived from the peer.
    pub(crate) arrived: Evbuffer,
    /// What is to be sent to it.
    pub(crate) to_send: Evbuffer,
    /// Bytes that may still be read.
    pub(crate) allowance: usize,
    /// Bytes that were read, since it was last set to 0.
    pub(crate) consumed: usize,
    /// Whether more was asked for than has arrived: the only proof that nothing is left to be taken.
    pub(crate) starved: bool,
}

impl Wire {
    pub(crate) fn new(allowance: usize) -> Self {
        Self { arrived: Evbuffer::new(), to_send: Evbuffer::new(), allowance, consumed: 0, starved: false }
    }

    /// Whether no more has arrived than may be read.
    pub(crate) fn is_within_allowance(&self) -> bool {
        self.arrived.len() <= self.allowance
    }
}

impl io::Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.arrived.is_empty() {
            self.starved = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = into.len().min(self.allowance);
        if most == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = self.arrived.remove(&mut into[..most])?;
        self.allowance -= n;
        self.consumed += n;
        Ok(n)
    }
}

impl io::Write for Wire {
    /// Fails only where there is no memory, or where who has the buffer froze it: an error, which breaks the connection.
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.to_send.add(from)?;
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use super::*;

    #[test]
    fn it_starves_only_when_nothing_has_arrived() {
        let mut wire = Wire::new(usize::MAX);
        wire.arrived.add(b"abc").unwrap();
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
        wire.arrived.add(b"abc").unwrap();
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
        assert_eq!(wire.to_send.len(), 2_000_000);
    }
}
