//! The chain itself: nothing here looks at frozen ends or the limit.

use std::iter;
use std::mem;

use crate::Evbuffer;
use crate::segment::{Block, MAX_BLOCK, Segment, size_for, size_rounded};

impl Evbuffer {
    #[inline]
    pub(crate) fn push_slice(&mut self, data: &[u8]) {
        if let Segment::Owned(block) = self.tail_mut() {
            if block.push(data) {
                self.len += data.len();
                return;
            }
        }
        self.push_slice_slow(data);
    }

    /// There is no room for all of `data` behind the last bytes.
    #[inline(never)]
    fn push_slice_slow(&mut self, data: &[u8]) {
        let empty = self.len == 0;
        let mut left = data;
        let mut previous = 0;
        if let Segment::Owned(block) = self.tail_mut() {
            previous = block.capacity();
            if block.should_realign(data.len()) {
                block.realign();
            }
            if !empty {
                left = &data[block.push_some(data)..];
            }
        }
        self.len += data.len();
        if left.is_empty() {
            return;
        }
        let block = if self.spare.len() >= left.len() {
            let mut block = Block::new(mem::take(&mut self.spare));
            block.push(left);
            block
        } else {
            Block::copy_of(left, size_for(left.len(), previous))
        };
        if empty {
            self.replace_empty_head(Segment::Owned(block));
        } else {
            self.rest.push_back(Segment::Owned(block));
        }
    }

    /// Appends a segment, which must not be empty, and whose length the caller adds to `len`.
    #[inline]
    pub(crate) fn push_segment(&mut self, segment: Segment) {
        if self.head.len() == 0 {
            self.replace_empty_head(segment);
        } else {
            self.rest.push_back(segment);
        }
    }

    /// Puts a segment in front; otherwise as [`push_segment`](Evbuffer::push_segment).
    pub(crate) fn push_segment_front(&mut self, segment: Segment) {
        if self.head.len() == 0 {
            self.replace_empty_head(segment);
        } else {
            let second = mem::replace(&mut self.head, segment);
            self.rest.push_front(second);
        }
    }

    /// Drops the first `n <= len` bytes.
    #[inline(always)]
    pub(crate) fn discard(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        if n == self.len && self.rest.is_empty() {
            self.reset_head();
        } else if n < self.head.len() {
            self.advance_head(n);
        } else {
            self.discard_segments(n);
        }
        self.len -= n;
    }

    /// The first `n` bytes cover the head, which is not the only segment.
    #[inline(never)]
    fn discard_segments(&mut self, n: usize) {
        let mut left = n;
        while left >= self.head.len() {
            left -= self.head.len();
            if self.rest.is_empty() {
                self.reset_head();
                return;
            }
            let drained = self.pop_segment();
            self.retire(drained);
        }
        self.advance_head(left);
    }

    /// Drops the first `n` bytes of the head, and not all.
    #[inline]
    fn advance_head(&mut self, n: usize) {
        if let Segment::File(_) = self.head {
            self.forget_files(n);
        }
        self.head.advance(n);
    }

    /// Takes the first segment; the caller takes its length off `len`.
    pub(crate) fn pop_segment(&mut self) -> Segment {
        let next = self.rest.pop_front().unwrap_or_default();
        mem::replace(&mut self.head, next)
    }

    /// Drops what lies behind the first `len <= self.len` bytes.
    pub(crate) fn truncate_to(&mut self, len: usize) {
        while self.len > len {
            let excess = self.len - len;
            let tail = self.tail_mut();
            let held = tail.len();
            if held > excess {
                tail.truncate(held - excess);
                self.len = len;
                return;
            }
            self.len -= held;
            match self.rest.pop_back() {
                Some(segment) => self.retire(segment),
                None => self.reset_head(),
            }
        }
    }

    #[inline]
    pub(crate) fn tail_mut(&mut self) -> &mut Segment {
        self.rest.back_mut().unwrap_or(&mut self.head)
    }

    /// Memory for `needed` bytes: the spare if it is large enough, else a new block for after one of `previous`
    /// bytes.
    pub(crate) fn storage(&mut self, needed: usize, previous: usize) -> Box<[u8]> {
        if self.spare.len() >= needed && !self.spare.is_empty() {
            return mem::take(&mut self.spare);
        }
        vec![0; size_for(needed, previous)].into_boxed_slice()
    }

    /// Copies what lies in blocks with little data into blocks of its size; gives the old ones to `free`.
    #[inline(never)]
    pub(crate) fn pack(&mut self, free: &mut impl FnMut(Box<[u8]>)) {
        for segment in iter::once(&mut self.head).chain(self.rest.iter_mut()) {
            if let Segment::Owned(block) = segment {
                if block.is_sparse() {
                    let packed = Block::copy_of(block.as_slice(), size_rounded(block.len()));
                    free(mem::replace(block, packed).into_storage());
                }
            }
        }
    }

    /// Drops a segment that has no more use; keeps its memory if that is better than the spare.
    #[inline]
    pub(crate) fn retire(&mut self, segment: Segment) {
        match segment {
            Segment::Owned(block) => self.retire_storage(block.into_storage()),
            Segment::Shared(_) => {}
            Segment::File(file) => self.forget_files(file.len()),
        }
    }

    #[inline]
    pub(crate) fn retire_storage(&mut self, storage: Box<[u8]>) {
        if storage.len() > self.spare.len() && storage.len() <= MAX_KEPT {
            self.spare = storage;
        }
    }

    /// Puts `segment` into the place of the head, which holds no data.
    #[inline]
    pub(crate) fn replace_empty_head(&mut self, segment: Segment) {
        let old = mem::replace(&mut self.head, segment);
        self.retire(old);
    }

    /// Leaves the drained last segment as E2 wants it.
    #[inline]
    fn reset_head(&mut self) {
        match &mut self.head {
            Segment::Owned(block) if block.capacity() <= MAX_KEPT => block.clear(),
            Segment::File(_) => self.retire_head(),
            head => *head = Segment::default(),
        }
    }

    #[cold]
    fn retire_head(&mut self) {
        let head = mem::take(&mut self.head);
        self.retire(head);
    }

    /// Makes the empty buffer's head a block with about as much room behind `n` bytes in the middle as before them,
    /// and its cursors behind those bytes.
    pub(crate) fn prepare_middle(&mut self, n: usize) {
        let capacity = self.head_capacity();
        if capacity < n {
            let storage = self.storage(size_rounded(n), capacity);
            self.replace_empty_head(Segment::Owned(Block::new(storage)));
        }
        if let Segment::Owned(block) = &mut self.head {
            let slack = block.capacity() - n;
            block.clear_at(slack / 2 + n);
        }
    }

    pub(crate) fn head_capacity(&self) -> usize {
        match &self.head {
            Segment::Owned(block) => block.capacity(),
            Segment::Shared(_) | Segment::File(_) => 0,
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        iter::once(&self.head).chain(self.rest.iter())
    }
}

/// The largest block that is kept for reuse when it has been drained.
pub(crate) const MAX_KEPT: usize = 4 * MAX_BLOCK;
