//! The traits of `std::io`, `std::fmt` and `bytes`.

use std::fmt;
use std::io;
use std::io::{BufRead, IoSlice, IoSliceMut, Read, Write};

use bytes::{Buf, Bytes};

use crate::{End, Evbuffer};

/// Removes from the front; an empty buffer is the end of the stream. A file at the front is read, up to 64 KiB of it.
impl Read for Evbuffer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.load_ahead(1)?;
        let n = out.len().min(self.loaded_len());
        Ok(self.remove(&mut out[..n])?)
    }

    fn read_vectored(&mut self, out: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut total = 0;
        for slice in out {
            if total == 0 || self.contiguous_len() > 0 {
                total += self.read(slice)?;
            }
        }
        Ok(total)
    }
}

/// Gives the first contiguous piece; an empty buffer is the end of the stream. A file at the front is read, up to 64 KiB of
/// it.
impl BufRead for Evbuffer {
    /// Fails if the front is frozen and the buffer is not empty.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.len > 0 {
            self.check_front()?;
        }
        self.load_ahead(1)?;
        Ok(self.head.as_slice())
    }

    /// Drains; more than there is drains everything, and a frozen front stays as it is.
    fn consume(&mut self, n: usize) {
        if !self.is_frozen(End::Front) {
            self.discard(n.min(self.len));
            self.changed();
        }
    }
}

/// Adds to the back: all of it or, past the limit or at a frozen back, nothing.
impl Write for Evbuffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.add(data)?;
        Ok(data.len())
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.add_iovec(data)?)
    }

    /// Does nothing: there is nowhere to flush to.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Adds to the back, piece by piece: where one is refused, those before it stay. The inherent `write_fmt`, which
/// `write!` prefers, takes them back.
impl fmt::Write for Evbuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        Ok(self.add(text.as_bytes())?)
    }
}

/// Reads from the front what is in memory; while that is frozen the buffer looks empty.
impl Buf for Evbuffer {
    fn remaining(&self) -> usize {
        if self.is_frozen(End::Front) { 0 } else { self.loaded_len() }
    }

    fn chunk(&self) -> &[u8] {
        if self.is_frozen(End::Front) { &[] } else { self.head.as_slice() }
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        if self.is_frozen(End::Front) {
            return 0;
        }
        let mut filled = 0;
        for (slot, chunk) in out.iter_mut().zip(self.chunks()) {
            *slot = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    /// Drains.
    /// # Panics
    /// If fewer than `n` bytes remain, as [`Buf::advance`] says; [`drain`](Evbuffer::drain) never does.
    fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "cannot advance past the end");
        self.discard(n);
        self.changed();
    }

    /// As [`take_bytes`](Evbuffer::take_bytes).
    /// # Panics
    /// If fewer than `n` bytes remain, as [`Buf::copy_to_bytes`] says.
    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        assert!(n <= self.remaining(), "cannot take more than there is");
        self.take_bytes(n).unwrap_or_default()
    }
}
