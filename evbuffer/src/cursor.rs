//! A position that can be moved: reading and searching on without draining.

use bytes::Buf;

use crate::iovec::Chunks;
use crate::search::find;
use crate::{Error, Evbuffer};

impl Evbuffer {
    /// Makes a cursor at `position`; the end of the data is a position too. The cursor goes over what is [in
    /// memory](Evbuffer::loaded_len).
    /// # Errors
    /// [`Error::OutOfRange`] if `position > len`; [`Error::NotLoaded`].
    /// # Libevent
    /// `evbuffer_ptr_set` with `EVBUFFER_PTR_SET`. Differs: borrows the buffer, so that it cannot go stale.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// use bytes::Buf;
    ///
    /// let buffer = Evbuffer::from(b"\x00\x05hello");
    /// let mut cursor = buffer.cursor(0)?;
    /// assert_eq!(cursor.get_u16(), 5);            // reads, but drains nothing
    /// assert_eq!(cursor.position(), 2);
    /// assert_eq!(cursor.search(b"l"), Some(4));
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_ptr_set")]
    #[doc(alias = "evbuffer_ptr")]
    #[doc(alias = "EVBUFFER_PTR_SET")]
    pub fn cursor(&self, position: usize) -> Result<Cursor<'_>, Error> {
        Ok(Cursor { chunks: self.chunks_from(position)?, position, len: self.loaded_len() })
    }
}

/// A position in a buffer: [`Evbuffer::cursor`]. Moving on costs what it passes, not what lies before it.
///
/// Implements [`Buf`], to read numbers and slices at the position.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    /// From `position` on.
    chunks: Chunks<'a>,
    position: usize,
    /// Of what is in memory of the buffer.
    len: usize,
}

impl<'a> Cursor<'a> {
    /// Moves `n` bytes on, at most to the end.
    /// # Errors
    /// [`Error::OutOfRange`] if that is past the end; the cursor stays where it was.
    /// # Libevent
    /// `evbuffer_ptr_set` with `EVBUFFER_PTR_ADD`. Differs: a failure leaves the position.
    #[doc(alias = "evbuffer_ptr_set")]
    #[doc(alias = "EVBUFFER_PTR_ADD")]
    pub fn skip(&mut self, n: usize) -> Result<(), Error> {
        if n > self.len - self.position {
            return Err(Error::OutOfRange { position: self.position.saturating_add(n), len: self.len });
        }
        self.chunks.skip_bytes(n);
        self.position += n;
        Ok(())
    }

    /// Finds `what` at or behind the cursor, moves there, and gives the position; if there is none, stays.
    pub fn search(&mut self, what: &[u8]) -> Option<usize> {
        let position = find(self.chunks.clone(), self.position, self.len, what)?;
        self.chunks.skip_bytes(position - self.position);
        self.position = position;
        Some(position)
    }

    /// Where it is, in bytes from the front of the buffer.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The contiguous pieces from here on.
    pub fn chunks(&self) -> Chunks<'a> {
        self.chunks.clone()
    }
}

impl Buf for Cursor<'_> {
    fn remaining(&self) -> usize {
        self.len - self.position
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.first()
    }

    /// Moves on.
    /// # Panics
    /// If fewer than `n` bytes remain, as [`Buf::advance`] says; [`skip`](Cursor::skip) is checked.
    fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "cannot advance past the end");
        self.chunks.skip_bytes(n);
        self.position += n;
    }
}
