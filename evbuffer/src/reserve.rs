//! Room lent out to be written into: reserve and commit.

use std::fmt;
use std::io::IoSliceMut;
use std::mem;

use crate::segment::{Block, Segment, size_for, try_zeroed};
use crate::{Error, Evbuffer};

impl Evbuffer {
    /// Lends room for at least `n` more bytes, in one piece or two; [`Reservation::commit`] makes what was written
    /// there part of the data.
    ///
    /// The pieces are the room behind the last bytes and, if that is too little, one block behind it. They may be
    /// larger than asked for, but never go past the limit. They are initialised, with whatever was there before.
    /// # Errors
    /// [`Error::Frozen`] if the back is frozen; [`Error::Full`] if `n` bytes would pass the limit;
    /// [`Error::TooLarge`] if there is no memory for them.
    /// # Libevent
    /// `evbuffer_reserve_space` with 2 vectors.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// use std::io::Read;
    ///
    /// let mut source = &b"ready"[..];
    /// let mut buffer = Evbuffer::new();
    /// let mut space = buffer.reserve(100)?;
    /// let n = source.read_vectored(&mut space.io_slices())?;
    /// space.commit(n)?;
    /// assert_eq!(buffer, b"ready");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "evbuffer_reserve_space")]
    pub fn reserve(&mut self, n: usize) -> Result<Reservation<'_>, Error> {
        self.check_back(n)?;
        self.reserve_unchecked(n, usize::MAX)
    }

    /// Lends room for at least `n` more bytes in one piece: [`Reservation::as_mut_slice`].
    /// # Errors
    /// As for [`reserve`](Evbuffer::reserve).
    /// # Libevent
    /// `evbuffer_reserve_space` with 1 vector.
    #[doc(alias = "evbuffer_reserve_space")]
    pub fn reserve_contiguous(&mut self, n: usize) -> Result<Reservation<'_>, Error> {
        self.check_back(n)?;
        let (tail, extra) = if self.make_room(n)? { (self.tail_room(), 0) } else { (0, self.spare.len()) };
        Ok(Reservation::new(self, tail, extra, usize::MAX))
    }

    /// [`reserve`](Evbuffer::reserve) for `n <= room` bytes, frozen or not, cut to `max` bytes.
    pub(crate) fn reserve_unchecked(&mut self, n: usize, max: usize) -> Result<Reservation<'_>, Error> {
        if self.len == 0 {
            self.make_room(n)?;
        }
        let mut previous = 0;
        if let Segment::Owned(block) = self.tail_mut() {
            previous = block.capacity();
            if block.tail_room() < n && block.should_realign(n) {
                block.realign();
            }
        }
        let tail = self.tail_room();
        let missing = n.saturating_sub(tail);
        if missing == 0 {
            return Ok(Reservation::new(self, tail, 0, max));
        }
        if self.spare.len() < missing {
            self.spare = try_zeroed(size_for(missing, previous))?;
        }
        let extra = self.spare.len();
        Ok(Reservation::new(self, tail, extra, max))
    }

    /// The room behind the last bytes.
    fn tail_room(&mut self) -> usize {
        match self.tail_mut() {
            Segment::Owned(block) => block.tail_room(),
            Segment::Shared(_) | Segment::File(_) => 0,
        }
    }
}

/// Room lent out by a buffer: [`Evbuffer::reserve`].
///
/// Dropping it without a commit adds nothing; the memory stays with the buffer.
#[must_use = "nothing is added before `commit`"]
pub struct Reservation<'a> {
    buffer: &'a mut Evbuffer,
    /// How much of the room behind the buffer's last bytes is lent.
    tail: usize,
    /// How much of the buffer's spare block, which becomes a segment when something is committed in it.
    extra: usize,
}

impl<'a> Reservation<'a> {
    /// Lends up to `tail` bytes behind the last, then up to `extra`, together neither past `max` nor past the limit.
    fn new(buffer: &'a mut Evbuffer, tail: usize, extra: usize, max: usize) -> Self {
        let room = buffer.room().min(max);
        let tail = tail.min(room);
        Reservation { buffer, tail, extra: extra.min(room - tail) }
    }

    /// The pieces to write into, in order. Pieces that are not there are empty and last.
    pub fn io_slices(&mut self) -> [IoSliceMut<'_>; 2] {
        let Evbuffer { head, rest, spare, .. } = &mut *self.buffer;
        let tail = match rest.back_mut().unwrap_or(head) {
            Segment::Owned(block) => &mut block.tail_mut()[..self.tail],
            Segment::Shared(_) | Segment::File(_) => &mut [],
        };
        let extra = &mut spare[..self.extra];
        let (first, second) = if tail.is_empty() { (extra, tail) } else { (tail, extra) };
        [IoSliceMut::new(first), IoSliceMut::new(second)]
    }

    /// The first piece.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let Evbuffer { head, rest, spare, .. } = &mut *self.buffer;
        match rest.back_mut().unwrap_or(head) {
            Segment::Owned(block) if self.tail > 0 => &mut block.tail_mut()[..self.tail],
            _ => &mut spare[..self.extra],
        }
    }

    /// Adds the first `n` bytes of the pieces, taken as one.
    /// # Errors
    /// [`Error::OutOfRange`] if `n` is more than the pieces hold; nothing is added.
    /// # Libevent
    /// `evbuffer_commit_space`.
    #[doc(alias = "evbuffer_commit_space")]
    pub fn commit(self, n: usize) -> Result<(), Error> {
        self.accept(n)?.changed();
        Ok(())
    }

    /// [`commit`](Reservation::commit) that tells no observer.
    pub(crate) fn accept(self, n: usize) -> Result<&'a mut Evbuffer, Error> {
        if n > self.capacity() {
            return Err(Error::OutOfRange { position: n, len: self.capacity() });
        }
        let first = n.min(self.tail);
        Ok(self.finish(first, n - first))
    }

    /// Adds the first `first` bytes of the first piece and the first `second` bytes of the second.
    /// # Errors
    /// [`Error::OutOfRange`] if either is more than its piece holds; nothing is added.
    /// # Libevent
    /// `evbuffer_commit_space` with 2 vectors.
    #[doc(alias = "evbuffer_commit_space")]
    pub fn commit_parts(self, first: usize, second: usize) -> Result<(), Error> {
        let (in_tail, in_extra) = if self.tail > 0 { (first, second) } else { (second, first) };
        for (part, len) in [(in_tail, self.tail), (in_extra, self.extra)] {
            if part > len {
                return Err(Error::OutOfRange { position: part, len });
            }
        }
        self.finish(in_tail, in_extra).changed();
        Ok(())
    }

    /// How many bytes the pieces hold together.
    pub fn capacity(&self) -> usize {
        self.tail + self.extra
    }

    /// How many pieces there are: 0 (nothing was asked for and no room is left), 1 or 2.
    pub fn pieces(&self) -> usize {
        usize::from(self.tail > 0) + usize::from(self.extra > 0)
    }

    fn finish(self, in_tail: usize, in_extra: usize) -> &'a mut Evbuffer {
        let buffer = self.buffer;
        if let Segment::Owned(block) = buffer.tail_mut() {
            block.grow(in_tail);
            buffer.len += in_tail;
        }
        if in_extra > 0 {
            let storage = mem::take(&mut buffer.spare);
            buffer.push_segment(Segment::Owned(Block::filled(storage, in_extra)));
            buffer.len += in_extra;
        }
        buffer
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("tail", &self.tail).field("extra", &self.extra).finish()
    }
}
