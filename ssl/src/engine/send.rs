//! From data to ciphertext.

use std::cell::Cell;

use bufferevent::{Evbuffer, evbuffer::End};
use openssl::ssl::SslStream;

use super::Engine;
use crate::{Error, RECORD, RECORD_MIN, call::Reply, wire::Wire};

/// Bytes that a record is longer than its data, at most: those of TLS 1.2.
const OVERHEAD: usize = 29;

thread_local! {
    /// Where the small pieces of a record are gathered, as OpenSSL takes one piece: one for each thread, not for each connection.
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Engine {
    /// Takes data from the front of `from`, and appends what it becomes to [`to_send`](Self::to_send); gives the number of bytes
    /// taken.
    ///
    /// * `limit`, bytes of ciphertext to be made at most. Records are cut to fit, but none is made for less than
    ///   [`RECORD_MIN`] bytes of data where there are more: the first one may go past a limit that is smaller.
    ///
    /// Files are read as far as they are taken.
    ///
    /// # Errors
    /// [`ErrorKind::NotOpen`](crate::ErrorKind::NotOpen) before the handshake is over, [`Closed`](crate::ErrorKind::Closed) after
    /// [`notify`](Self::notify), [`Broken`](crate::ErrorKind::Broken) after a failure, and [`Io`](crate::ErrorKind::Io) if a file
    /// cannot be read or `from` is frozen: then nothing of it was taken, what was taken before stands.
    pub fn send(&mut self, from: &mut Evbuffer, limit: usize) -> Result<usize, Error> {
        self.check_sendable()?;
        if from.is_frozen(End::Front) {
            from.drain(1)?;
        }
        let before = self.wire.levels().to_send;
        let (mut taken, mut made) = (0, 0);
        while let Some(size) = record_size(limit, made, from.len().min(self.record.into())) {
            from.load(size)?;
            // Where another handshake is under way, it goes on when more has arrived.
            let Reply::Done(n) = self.call(|stream| write(stream, from, size))? else { break };
            from.drain(n)?;
            taken += n;
            made = self.wire.levels().to_send - before;
        }
        Ok(taken)
    }
}

/// Bytes of data for the next record, if there is to be one: `made` bytes of ciphertext were made, and there are `data` bytes.
fn record_size(limit: usize, made: usize, data: usize) -> Option<usize> {
    let room = limit.saturating_sub(made).saturating_sub(OVERHEAD);
    let size = if made == 0 { room.max(RECORD_MIN) } else { room };
    let size = size.min(data);
    (size > 0 && (size == data || size >= RECORD_MIN)).then_some(size)
}

/// Writes the first `size` bytes, from where they are if that is one place.
fn write(stream: &mut SslStream<Wire>, from: &Evbuffer, size: usize) -> Result<usize, openssl::ssl::Error> {
    let first = from.chunks().next().unwrap_or_default();
    if let Some(record) = first.get(..size) {
        return stream.ssl_write(record);
    }
    // It is out of its place while OpenSSL runs, which may call back.
    let mut gathered = GATHERED.try_with(Cell::take).unwrap_or_default();
    gathered.resize(RECORD, 0);
    let n = from.copy_out(&mut gathered[..size]).unwrap_or_default();
    let written = stream.ssl_write(&gathered[..n]);
    // A thread that ends keeps none.
    let _ = GATHERED.try_with(|kept| kept.set(gathered));
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_to_fit_and_no_slivers_are_made() {
        let full = RECORD + OVERHEAD;
        assert_eq!(record_size(usize::MAX, 0, RECORD), Some(RECORD));
        assert_eq!(record_size(full, 0, RECORD), Some(RECORD));
        assert_eq!(record_size(full, full, RECORD), None);
        assert_eq!(record_size(5_000, 0, RECORD), Some(5_000 - OVERHEAD));
        assert_eq!(record_size(1, 0, RECORD), Some(RECORD_MIN), "the first one is made in any case");
        assert_eq!(record_size(1, 0, 3), Some(3));
        assert_eq!(record_size(full + 500, full, RECORD), None, "the rest waits");
        assert_eq!(record_size(full + 500, full, 100), Some(100));
        assert_eq!(record_size(usize::MAX, 0, 0), None);
    }
}
