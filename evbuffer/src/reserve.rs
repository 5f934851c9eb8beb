//! Room lent out to be written into: reserve and commit.

use std::fmt;
use std::io::IoSliceMut;
use std::mem;

use crate::segment::{Block, Segment, size_for};
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
        if self.make_room(n)? {
            let tail = self.tail_room();
            return Ok(Reservation::new(self, tail, Box::default(), usize::MAX));
        }
        let extra = mem::take(&mut self.spare);
        Ok(Reservation::new(self, 0, extra, usize::MAX))
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
        let extra = match n.saturating_sub(tail) {
            0 => Box::default(),
            missing => self.try_storage(missing, size_for(missing, previous))?,
        };
        Ok(Reservation::new(self, tail, extra, max))
    }

    /// The room behind the last bytes.
    fn tail_room(&mut self) -> usize {
        match self.tail_mut() {
            Segment::Owned(block) => block.tail_room(),
            Segment::Shared(_) => 0,
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
    /// The block behind that; becomes a segment when something is committed in it.
    extra: Box<[u8]>,
    /// How much of `extra` is lent.
    extra_len: usize,
}

impl<'a> Reservation<'a> {
    /// Lends up to `tail` bytes behind the last and then `extra`, together neither past `max` nor past the limit.
    fn new(buffer: &'a mut Evbuffer, tail: usize, extra: Box<[u8]>, max: usize) -> Self {
        let room = buffer.room().min(max);
        let tail = tail.min(room);
        let extra_len = extra.len().min(room - tail);
        Reservation { buffer, tail, extra, extra_len }
    }

    /// The pieces to write into, in order. Pieces that are not there are empty and last.
    pub fn io_slices(&mut self) -> [IoSliceMut<'_>; 2] {
        let tail = match self.buffer.tail_mut() {
            Segment::Owned(block) => &mut block.tail_mut()[..self.tail],
            Segment::Shared(_) => &mut [],
        };
        let extra = &mut self.extra[..self.extra_len];
        let (first, second) = if tail.is_empty() { (extra, tail) } else { (tail, extra) };
        [IoSliceMut::new(first), IoSliceMut::new(second)]
    }

    /// The first piece.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self.buffer.tail_mut() {
            Segment::Owned(block) if self.tail > 0 => &mut block.tail_mut()[..self.tail],
            _ => &mut self.extra[..self.extra_len],
        }
    }

    /// Adds the first `n` bytes of the pieces, taken as one.
    /// # Errors
    /// [`Error::OutOfRange`] if `n` is more than the pieces hold; nothing is added.
    /// # Libevent
    /// `evbuffer_commit_space`.
    #[doc(alias = "evbuffer_commit_space")]
    pub fn commit(self, n: usize) -> Result<(), Error> {
        if n > self.capacity() {
            return Err(Error::OutOfRange { position: n, len: self.capacity() });
        }
        let first = n.min(self.tail);
        self.finish(first, n - first);
        Ok(())
    }

    /// Adds the first `first` bytes of the first piece and the first `second` bytes of the second.
    /// # Errors
    /// [`Error::OutOfRange`] if either is more than its piece holds; nothing is added.
    /// # Libevent
    /// `evbuffer_commit_space` with 2 vectors.
    #[doc(alias = "evbuffer_commit_space")]
    pub fn commit_parts(self, first: usize, second: usize) -> Result<(), Error> {
        let (in_tail, in_extra) = if self.tail > 0 { (first, second) } else { (second, first) };
        for (part, len) in [(in_tail, self.tail), (in_extra, self.extra_len)] {
            if part > len {
                return Err(Error::OutOfRange { position: part, len });
            }
        }
        self.finish(in_tail, in_extra);
        Ok(())
    }

    /// How many bytes the pieces hold together.
    pub fn capacity(&self) -> usize {
        self.tail + self.extra_len
    }

    /// How many pieces there are: 0 (nothing was asked for and no room is left), 1 or 2.
    pub fn pieces(&self) -> usize {
        usize::from(self.tail > 0) + usize::from(self.extra_len > 0)
    }

    fn finish(mut self, in_tail: usize, in_extra: usize) {
        if let Segment::Owned(block) = self.buffer.tail_mut() {
            block.grow(in_tail);
            self.buffer.len += in_tail;
        }
        if in_extra > 0 {
            let block = Block::filled(mem::take(&mut self.extra), in_extra);
            self.buffer.push_segment(Segment::Owned(block));
            self.buffer.len += in_extra;
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.buffer.retire_storage(mem::take(&mut self.extra));
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("tail", &self.tail).field("extra", &self.extra_len).finish()
    }
}
