//! Data and room in one piece.

use std::mem;

use crate::segment::{Block, Segment, size_rounded, try_zeroed};
use crate::{Error, Evbuffer};

impl Evbuffer {
    /// Makes the first `n` bytes contiguous and gives them.
    ///
    /// Free if they lie in one piece already ([`contiguous_len`](Evbuffer::contiguous_len)); else they are copied,
    /// into the room behind the first segment if that suffices. Works on a frozen buffer too.
    /// # Errors
    /// [`Error::OutOfRange`] if `n > len`; [`Error::NotLoaded`]; [`Error::TooLarge`] if there is no memory for them.
    /// # Libevent
    /// `evbuffer_pullup`. Differs: "all" is `pullup(buffer.len())`.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut buffer = Evbuffer::from(b"four".to_vec());
    /// buffer.add_bytes("teen")?;
    /// assert_eq!(buffer.contiguous_len(), 4);
    /// assert_eq!(buffer.pullup(6)?, b"fourte");
    /// assert!(buffer.pullup(9).is_err());
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_pullup")]
    pub fn pullup(&mut self, n: usize) -> Result<&[u8], Error> {
        if n > self.len {
            return Err(Error::OutOfRange { position: n, len: self.len });
        }
        if n > self.contiguous_len() {
            self.check_loaded(n)?;
            self.gather(n)?;
        }
        Ok(&self.head.as_slice()[..n])
    }

    /// Makes sure that the next `n` bytes that are added need no allocation and land in one piece.
    ///
    /// May move or copy up to 4 KiB that are in the buffer already.
    /// # Errors
    /// [`Error::Frozen`] if the back is frozen; [`Error::Full`] if `n` bytes would pass the limit;
    /// [`Error::TooLarge`] if there is no memory for them.
    /// # Libevent
    /// `evbuffer_expand`.
    #[doc(alias = "evbuffer_expand")]
    pub fn expand(&mut self, n: usize) -> Result<(), Error> {
        self.check_back(n)?;
        if !self.make_room(n)? {
            self.tail_mut().seal();
        }
        Ok(())
    }

    /// Finds contiguous room for `n` bytes: in the last segment (`true`), or else in the spare.
    pub(crate) fn make_room(&mut self, n: usize) -> Result<bool, Error> {
        match self.tail_mut() {
            Segment::Owned(block) if block.tail_room() >= n => return Ok(true),
            Segment::Owned(block) if block.should_realign(n) => {
                block.realign();
                return Ok(true);
            }
            Segment::Owned(block) if block.len() <= COPY_TAIL => {
                let total = block.len().saturating_add(n);
                let mut larger = Block::new(self.try_storage(total, size_rounded(total))?);
                let tail = self.tail_mut();
                larger.push(tail.as_slice());
                let old = mem::replace(tail, Segment::Owned(larger));
                self.retire(old);
                return Ok(true);
            }
            _ => {}
        }
        if self.spare.len() < n {
            self.spare = try_zeroed(size_rounded(n))?;
        }
        Ok(false)
    }

    /// As [`storage`](Evbuffer::storage), but a size that cannot be had is an error.
    pub(crate) fn try_storage(&mut self, needed: usize, size: usize) -> Result<Box<[u8]>, Error> {
        if self.spare.len() >= needed {
            return Ok(mem::take(&mut self.spare));
        }
        try_zeroed(size)
    }

    /// Copies the first `head.len() < n <= len` bytes into one block.
    fn gather(&mut self, n: usize) -> Result<(), Error> {
        let mut block = match mem::take(&mut self.head) {
            Segment::Owned(mut block) if block.capacity() >= n => {
                if block.capacity() - block.front_room() < n {
                    block.realign();
                }
                block
            }
            first => match self.try_storage(n, size_rounded(n)) {
                Ok(storage) => {
                    let mut block = Block::new(storage);
                    block.push(first.as_slice());
                    self.retire(first);
                    block
                }
                Err(error) => {
                    self.head = first;
                    return Err(error);
                }
            },
        };
        while block.len() < n {
            let Some(mut next) = self.rest.pop_front() else { break };
            let k = next.len().min(n - block.len());
            block.push(&next.as_slice()[..k]);
            if k == next.len() {
                self.retire(next);
            } else {
                next.advance(k);
                self.rest.push_front(next);
            }
        }
        self.head = Segment::Owned(block);
        Ok(())
    }
}

/// Up to this many bytes of the last segment are copied to get contiguous room behind them.
const COPY_TAIL: usize = 4096;
