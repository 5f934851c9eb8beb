//! From buffer to buffer: segments move, bytes stay where they are.

use std::mem;

use crate::segment::{Block, Segment, size_for};
use crate::{Error, Evbuffer};

impl Evbuffer {
    /// Moves everything from `other` to the back; `other` is empty afterwards.
    ///
    /// Segments change hands, their bytes are not copied; with an empty destination the two chains change places.
    /// The one exception: up to 256 bytes that fit behind the last bytes are copied there, which costs less than a
    /// segment and leaves both buffers their memory.
    /// # Errors
    /// [`Error::Frozen`] if the back here or the front of `other` is frozen and `other` is not empty;
    /// [`Error::Full`] if the limit would be passed. Either way `other` keeps its data.
    /// # Libevent
    /// `evbuffer_add_buffer`.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut input = Evbuffer::from(vec![7; 100_000]);
    /// let mut output = Evbuffer::from(b"header");
    /// output.append(&mut input)?;                 // 100,000 bytes move, none is copied
    /// assert_eq!((input.len(), output.len()), (0, 100_006));
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_add_buffer")]
    #[inline]
    pub fn append(&mut self, other: &mut Evbuffer) -> Result<(), Error> {
        if self.may_swap(other) && self.frozen.lets_swap(other.frozen) {
            self.swap_with(other);
            return Ok(());
        }
        self.append_others(other)
    }

    /// Whether this is empty, and may take the one segment of another buffer as far as neither end nor owner matter.
    #[inline]
    pub(crate) fn may_swap(&self, other: &Evbuffer) -> bool {
        let is_plain = self.rare.is_none() & other.rare.is_none();
        let has_one = !self.rest.is_allocated() && !other.rest.is_allocated() && self.len == 0;
        is_plain && has_one && (1..=self.limit).contains(&other.len)
    }

    /// Takes the one segment of `other` for its own, which is empty.
    #[inline]
    pub(crate) fn swap_with(&mut self, other: &mut Evbuffer) {
        mem::swap(&mut self.head, &mut other.head);
        self.len = mem::take(&mut other.len);
    }

    #[inline(never)]
    fn append_others(&mut self, other: &mut Evbuffer) -> Result<(), Error> {
        if other.len == 0 {
            return Ok(());
        }
        self.check_back_for(other, other.len)?;
        other.check_front()?;
        other.transfer_all(self);
        other.changed();
        self.changed();
        Ok(())
    }

    /// Moves everything from `other` to the front; `other` is empty afterwards. No byte is copied.
    /// # Errors
    /// [`Error::Frozen`] if the front of either is frozen and `other` is not empty; [`Error::Full`] if the limit
    /// would be passed. Either way `other` keeps its data.
    /// # Libevent
    /// `evbuffer_prepend_buffer`.
    #[doc(alias = "evbuffer_prepend_buffer")]
    pub fn prepend_buffer(&mut self, other: &mut Evbuffer) -> Result<(), Error> {
        if other.len == 0 {
            return Ok(());
        }
        self.check_front()?;
        self.check_room_for(other, other.len)?;
        other.check_front()?;
        other.transfer_to_front(self);
        other.changed();
        self.changed();
        Ok(())
    }

    /// Moves the first `n` bytes, or all if there are fewer, to the back of `target`; gives the number moved.
    ///
    /// Whole segments change hands. Where the cut goes through a segment, the smaller side of it is copied if it has
    /// at most 4 KiB, else both buffers keep a reference to its memory.
    /// # Errors
    /// [`Error::Frozen`] if the front here or the back of `target` is frozen and there is something to move;
    /// [`Error::Full`] if the limit of `target` would be passed. Either way nothing moves.
    /// # Libevent
    /// `evbuffer_remove_buffer`. Differs: large remainders are shared, not copied.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut input = Evbuffer::from(b"headbody");
    /// let mut head = Evbuffer::new();
    /// assert_eq!(input.move_to(&mut head, 4)?, 4);
    /// assert_eq!(head, b"head");
    /// assert_eq!(input, b"body");
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_remove_buffer")]
    pub fn move_to(&mut self, target: &mut Evbuffer, n: usize) -> Result<usize, Error> {
        let n = n.min(self.len);
        if n == 0 {
            return Ok(0);
        }
        self.check_front()?;
        target.check_back_for(self, n)?;
        self.transfer(target, n);
        self.changed();
        target.changed();
        Ok(n)
    }

    /// Blocks with little data in them do not leave for a buffer that nobody settles.
    #[inline]
    fn pack_for(&mut self, target: &Evbuffer) {
        if self.frozen.is_settled() && !target.frozen.is_settled() {
            self.pack_and_retire();
        }
    }

    #[cold]
    fn pack_and_retire(&mut self) {
        let mut freed = Box::default();
        self.pack(&mut |storage| freed = storage);
        self.retire_storage(freed);
    }

    /// Moves the first `n <= len` bytes.
    #[inline]
    pub(crate) fn transfer(&mut self, target: &mut Evbuffer, n: usize) {
        if n == self.len { self.transfer_all(target) } else { self.transfer_first(target, n) }
    }

    /// Moves the first `n < len` bytes.
    fn transfer_first(&mut self, target: &mut Evbuffer, n: usize) {
        self.pack_for(target);
        self.hand_over_files(target, n);
        let mut left = n;
        while left >= self.head.len() {
            let segment = self.pop_segment();
            left -= segment.len();
            target.len += segment.len();
            target.push_segment(segment);
        }
        self.len -= n - left;
        if left > 0 {
            self.transfer_part(target, left);
        }
    }

    /// Moves everything; there is something.
    #[inline]
    fn transfer_all(&mut self, target: &mut Evbuffer) {
        self.pack_for(target);
        self.hand_over_files(target, self.len);
        if target.len > 0 {
            return self.transfer_all_behind(target);
        }
        mem::swap(&mut self.head, &mut target.head);
        mem::swap(&mut self.rest, &mut target.rest);
        target.len = mem::take(&mut self.len);
    }

    /// Moves everything to the back of `target`; there is something in both.
    #[inline(never)]
    fn transfer_all_behind(&mut self, target: &mut Evbuffer) {
        if self.len <= COPY_SMALL && self.copy_small(target) {
            self.discard(self.len);
            return;
        }
        target.len += mem::take(&mut self.len);
        target.push_segment(mem::take(&mut self.head));
        target.rest.append(&mut self.rest);
    }

    /// Moves everything to the front of `target`; there is something.
    pub(crate) fn transfer_to_front(&mut self, target: &mut Evbuffer) {
        if target.len == 0 {
            self.transfer_all(target);
        } else {
            self.transfer_all_to_front(target);
        }
    }

    /// Moves everything to the front of `target`; there is something in both.
    fn transfer_all_to_front(&mut self, target: &mut Evbuffer) {
        self.pack_for(target);
        self.hand_over_files(target, self.len);
        target.len += mem::take(&mut self.len);
        while let Some(segment) = self.rest.pop_back() {
            target.push_segment_front(segment);
        }
        target.push_segment_front(mem::take(&mut self.head));
    }

    /// Copies everything behind the last bytes of `target` if it is one block and fits.
    fn copy_small(&self, target: &mut Evbuffer) -> bool {
        let copied = match (&self.head, target.tail_mut()) {
            (Segment::Owned(from), Segment::Owned(to)) => self.rest.is_empty() && to.push(from.as_slice()),
            _ => false,
        };
        if copied {
            target.len += self.len;
        }
        copied
    }

    /// Moves the first `0 < n < head.len()` bytes.
    fn transfer_part(&mut self, target: &mut Evbuffer, n: usize) {
        if let Segment::Owned(block) = &mut self.head {
            let behind = block.len() - n;
            if n <= COPY_PART {
                target.push_slice(&block.as_slice()[..n]);
                self.discard(n);
                return;
            }
            if behind <= COPY_PART {
                let remainder = Block::copy_of(&block.as_slice()[n..], size_for(behind, 0));
                let mut moved = mem::replace(block, remainder);
                moved.truncate(n);
                self.len -= n;
                target.len += n;
                target.push_segment(Segment::Owned(moved));
                return;
            }
        }
        let moved = self.head.split_to(n);
        self.len -= n;
        target.len += n;
        target.push_segment(moved);
    }
}

/// Up to this many bytes are copied rather than relinked when they fit behind the last bytes of the target.
const COPY_SMALL: usize = 256;

/// Up to this many bytes of a segment that is cut are copied rather than shared.
const COPY_PART: usize = 4096;
