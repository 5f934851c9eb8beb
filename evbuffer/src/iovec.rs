//! Looking at the segments, and one system call's worth of I/O over them.

use std::collections::vec_deque;
use std::fmt;
use std::io;
use std::io::IoSlice;
use std::iter::FusedIterator;
use std::mem;

use crate::segment::{MAX_BLOCK, Segment};
use crate::{Error, Evbuffer};

impl Evbuffer {
    /// Gives the contiguous pieces of the buffer, front to back, as far as it is [in memory](Evbuffer::loaded_len); none of
    /// them is empty.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut buffer = Evbuffer::from(b"copied, ");
    /// buffer.add_bytes("referenced")?;
    /// let pieces: Vec<&[u8]> = buffer.chunks().collect();
    /// assert_eq!(pieces, [&b"copied, "[..], b"referenced"]);
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { first: self.head.as_slice(), rest: self.rest.iter() }
    }

    /// Gives the contiguous pieces from `position` on; the first one may be a part of a piece.
    /// # Errors
    /// [`Error::OutOfRange`] if `position > len`; [`Error::NotLoaded`] if it is not in memory, nor at the end of that.
    pub fn chunks_from(&self, position: usize) -> Result<Chunks<'_>, Error> {
        self.check_position(position)?;
        self.check_loaded(position)?;
        let mut chunks = self.chunks();
        chunks.skip_bytes(position);
        Ok(chunks)
    }

    pub(crate) fn check_position(&self, position: usize) -> Result<(), Error> {
        if position > self.len { Err(Error::OutOfRange { position, len: self.len }) } else { Ok(()) }
    }

    /// Fills `out` with the pieces from `position` on; gives how many pieces are needed.
    ///
    /// With `Some(len)` that many pieces cover the `len` bytes, or all there are; they may be more than `out` takes, and
    /// the last may reach further. With `None` it is as many as `out` takes, or if `out` is empty, all.
    /// # Errors
    /// [`Error::OutOfRange`] if `position > self.len()`; [`Error::NotLoaded`] if the `len` bytes, or those at `position`, are
    /// not in memory.
    /// # Libevent
    /// `evbuffer_peek`.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// use std::io::IoSlice;
    ///
    /// let mut buffer = Evbuffer::new();
    /// for part in ["GET ", "/ ", "HTTP/1.1"] {
    ///     buffer.add_bytes(part)?;
    /// }
    /// let mut slices = [IoSlice::new(&[]); 2];
    /// assert_eq!(buffer.peek(0, Some(5), &mut slices)?, 2);
    /// assert_eq!(&*slices[1], b"/ ");
    /// assert_eq!(buffer.peek(0, Some(100), &mut slices)?, 3);
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_peek")]
    pub fn peek<'a>(
        &'a self,
        position: usize,
        len: Option<usize>,
        out: &mut [IoSlice<'a>],
    ) -> Result<usize, Error> {
        self.check_position(position)?;
        self.check_loaded(position + len.unwrap_or(0).min(self.len - position))?;
        let mut needed = 0;
        let mut covered = 0;
        for chunk in self.chunks_from(position)? {
            let enough = match len {
                Some(len) => covered >= len,
                None => needed == out.len() && !out.is_empty(),
            };
            if enough {
                break;
            }
            if let Some(slot) = out.get_mut(needed) {
                *slot = IoSlice::new(chunk);
            }
            covered += chunk.len();
            needed += 1;
        }
        Ok(needed)
    }

    /// Reads once from `source` and adds what came; gives the number of bytes, 0 at the end of the source.
    ///
    /// * `max`, bytes: the most to read. One call reads at most 64 KiB, and never past the limit. With 0 nothing is
    ///   read.
    ///
    /// It is one `read_vectored`, into the room behind the last bytes and a block behind that.
    /// # Errors
    /// What the source reports, unchanged; [`Error::Frozen`] if the back is frozen and [`Error::Full`] if the limit
    /// is reached, as [`io::Error`]s. Nothing is added then.
    /// # Libevent
    /// `evbuffer_read`. Differs: does not ask the source first how much there is, and has no `max_read` setting.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut source = &b"0123456789"[..];
    /// let mut buffer = Evbuffer::new();
    /// assert_eq!(buffer.read_from(&mut source, 4)?, 4);
    /// assert_eq!(buffer, b"0123");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "evbuffer_read")]
    pub fn read_from<R>(&mut self, source: &mut R, max: usize) -> io::Result<usize>
    where
        R: io::Read + ?Sized,
    {
        self.check_back(0)?;
        let n = self.receive_from(source, max)?;
        self.changed();
        Ok(n)
    }

    /// Writes once to `sink` and drains what it took; gives the number of bytes.
    ///
    /// * `max`, bytes: the most to write, `usize::MAX` for all.
    ///
    /// It is one `write`, or one `write_vectored` over up to 64 pieces. With nothing to write, `sink` is not called. Of a
    /// [file](crate#files) up to 64 KiB are read first.
    /// # Errors
    /// What the sink reports, unchanged; [`Error::Frozen`] if the front is frozen, and [`FileError`](crate::FileError) if a
    /// file at the front cannot be read, as [`io::Error`]s. Nothing is drained then.
    /// # Libevent
    /// `evbuffer_write`, `evbuffer_write_atmost`. Differs: an empty buffer gives `Ok(0)`.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut sink = Vec::new();
    /// let mut buffer = Evbuffer::from(b"0123456789");
    /// assert_eq!(buffer.write_to(&mut sink, 4)?, 4);
    /// assert_eq!(sink, b"0123");
    /// assert_eq!(buffer, b"456789");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "evbuffer_write")]
    #[doc(alias = "evbuffer_write_atmost")]
    pub fn write_to<W>(&mut self, sink: &mut W, max: usize) -> io::Result<usize>
    where
        W: io::Write + ?Sized,
    {
        self.check_front()?;
        let n = self.send_to(sink, max)?;
        self.changed();
        Ok(n)
    }

    /// [`read_from`](Evbuffer::read_from), frozen or not, and without telling an observer.
    pub(crate) fn receive_from<R>(&mut self, source: &mut R, max: usize) -> io::Result<usize>
    where
        R: io::Read + ?Sized,
    {
        if max == 0 {
            return Ok(0);
        }
        self.check_room(1)?;
        let mut space = self.reserve_unchecked(max.min(self.room()).min(MAX_BLOCK), max)?;
        let n = source.read_vectored(&mut space.io_slices())?;
        space.accept(n)?;
        Ok(n)
    }

    /// [`write_to`](Evbuffer::write_to), frozen or not, and without telling an observer.
    pub(crate) fn send_to<W>(&mut self, sink: &mut W, max: usize) -> io::Result<usize>
    where
        W: io::Write + ?Sized,
    {
        let max = max.min(self.len);
        if max == 0 {
            return Ok(0);
        }
        self.load_ahead(max)?;
        let (n, offered) = if max <= self.contiguous_len() {
            (sink.write(&self.head.as_slice()[..max])?, max)
        } else {
            self.write_pieces(sink, max)?
        };
        if n > offered {
            return Err(Error::OutOfRange { position: n, len: offered }.into());
        }
        self.discard(n);
        Ok(n)
    }

    /// Writes the first pieces of the first `max` bytes; gives what was taken and what was offered.
    fn write_pieces<W>(&self, sink: &mut W, max: usize) -> io::Result<(usize, usize)>
    where
        W: io::Write + ?Sized,
    {
        let mut slices = [IoSlice::new(&[]); MAX_PIECES];
        let mut used = 0;
        let mut offered = 0;
        for (slot, chunk) in slices.iter_mut().zip(self.chunks()) {
            if offered == max {
                break;
            }
            let chunk = &chunk[..chunk.len().min(max - offered)];
            *slot = IoSlice::new(chunk);
            offered += chunk.len();
            used += 1;
        }
        Ok((sink.write_vectored(&slices[..used])?, offered))
    }
}

/// The contiguous pieces of a buffer: [`Evbuffer::chunks`].
#[derive(Clone)]
pub struct Chunks<'a> {
    /// The next piece; empty at the end, and only there.
    first: &'a [u8],
    rest: vec_deque::Iter<'a, Segment>,
}

impl<'a> Chunks<'a> {
    /// The next piece without taking it; empty at the end.
    pub(crate) fn first(&self) -> &'a [u8] {
        self.first
    }

    /// Skips `n` bytes, or all if there are fewer.
    pub(crate) fn skip_bytes(&mut self, n: usize) {
        let mut left = n;
        while left >= self.first.len() && !self.first.is_empty() {
            left -= self.first.len();
            self.next();
        }
        self.first = self.first.get(left..).unwrap_or_default();
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.first.is_empty() {
            return None;
        }
        let next = self.rest.next().map(Segment::as_slice).unwrap_or_default();
        Some(mem::replace(&mut self.first, next))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let in_memory = |segment: &&Segment| !segment.as_slice().is_empty();
        let n = if self.first.is_empty() { 0 } else { 1 + self.rest.clone().take_while(in_memory).count() };
        (n, Some(n))
    }
}

impl ExactSizeIterator for Chunks<'_> {}

impl FusedIterator for Chunks<'_> {}

impl fmt::Debug for Chunks<'_> {
    /// Shows how many are left; not the bytes, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("left", &self.len()).finish()
    }
}

/// How many pieces one `write_vectored` gets.
const MAX_PIECES: usize = 64;
