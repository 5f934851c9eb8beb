//! One link of the chain: a block that the buffer owns, a view on memory it shares, or a range of a file.

use std::mem;

use bytes::{Buf, Bytes};

use crate::{Error, FileSegment};

/// The smallest block that is allocated for copied data.
pub(crate) const MIN_BLOCK: usize = 256;

/// Where the doubling of block sizes ends. Only a single piece of data or one reservation larger than this gets a
/// larger block.
pub(crate) const MAX_BLOCK: usize = 64 * 1024;

/// Data in an owned block is moved to the block's front to make room only up to this many bytes.
const MAX_REALIGN: usize = 2048;

/// Fewer bytes of a block are copied out of it rather than shared.
const MIN_SHARED: usize = 1024;

/// Blocks below this size are never sparse.
const MIN_SPARSE: usize = 16 * 1024;

/// One link of the chain.
pub(crate) enum Segment {
    /// Writable memory with cursors.
    Owned(Block),
    /// A view on memory that others may see too: never written to, shrunk by moving the view's ends.
    Shared(Bytes),
    /// Bytes that are not in memory.
    File(FileSegment),
}

impl Default for Segment {
    fn default() -> Self {
        Segment::Owned(Block::default())
    }
}

impl Segment {
    /// The bytes; none of a file, where what is in memory ends.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Segment::Owned(block) => block.as_slice(),
            Segment::Shared(bytes) => bytes,
            Segment::File(_) => &[],
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Segment::Owned(block) => block.len(),
            Segment::Shared(bytes) => bytes.len(),
            Segment::File(file) => file.len(),
        }
    }

    /// Drops the first `n <= len` bytes.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        match self {
            Segment::Owned(block) => block.advance(n),
            Segment::Shared(bytes) => bytes.advance(n),
            Segment::File(file) => file.advance(n),
        }
    }

    /// Keeps the first `n <= len` bytes.
    pub(crate) fn truncate(&mut self, n: usize) {
        match self {
            Segment::Owned(block) => block.truncate(n),
            Segment::Shared(bytes) => bytes.truncate(n),
            Segment::File(file) => file.truncate(n),
        }
    }

    /// The bytes of memory it keeps alive, as far as is known.
    pub(crate) fn allocated(&self) -> usize {
        match self {
            Segment::Owned(block) => block.capacity(),
            Segment::Shared(bytes) => bytes.len(),
            Segment::File(_) => 0,
        }
    }

    /// Turns a block into a view on it, without copying: it is not written to any more.
    pub(crate) fn seal(&mut self) {
        if let Segment::Owned(block) = self {
            *self = Segment::Shared(mem::take(block).into_bytes());
        }
    }

    /// Another view on the same bytes, without copying.
    pub(crate) fn view(&mut self) -> Segment {
        self.seal();
        match self {
            Segment::Shared(bytes) => Segment::Shared(bytes.clone()),
            Segment::File(file) => Segment::File(file.clone()),
            Segment::Owned(_) => unreachable!("sealed just above"),
        }
    }

    /// Takes the first `n <= len` bytes, without copying.
    pub(crate) fn split_to(&mut self, n: usize) -> Segment {
        let mut front = self.view();
        front.truncate(n);
        self.advance(n);
        front
    }

    /// The bytes of one that is in memory.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Segment::Owned(block) => block.into_bytes(),
            Segment::Shared(bytes) => bytes,
            Segment::File(_) => unreachable!("who takes bytes has checked that they are loaded"),
        }
    }

    /// Whether a piece of `n` of its bytes is copied rather than shared: small ones of a block would keep all of it alive.
    pub(crate) fn copies(&self, n: usize) -> bool {
        matches!(self, Segment::Owned(block) if n < MIN_SHARED || n < block.capacity() / 4)
    }
}

/// A block of initialised memory; the data lies between two cursors.
///
/// ```text
///   0          start         end        data.len()
///   | front room |   data     | tail room |
/// ```
/// K1  `start <= end <= data.len()`.
/// K2  the whole of `data` is initialised, so that its tail can be lent to a reader.
#[derive(Default)]
pub(crate) struct Block {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Block {
    /// A block without data, over `storage`.
    pub(crate) fn new(storage: Box<[u8]>) -> Self {
        Block { data: storage, start: 0, end: 0 }
    }

    /// A block over `storage` of which the first `filled <= storage.len()` bytes are data.
    pub(crate) fn filled(storage: Box<[u8]>, filled: usize) -> Self {
        debug_assert!(filled <= storage.len());
        Block { data: storage, start: 0, end: filled }
    }

    /// A new block of `max(size, data.len())` bytes that starts with a copy of `data`.
    pub(crate) fn copy_of(data: &[u8], size: usize) -> Self {
        let size = size.max(data.len());
        let mut storage = Vec::with_capacity(size);
        storage.extend_from_slice(data);
        storage.resize(size, 0);
        Block::filled(storage.into_boxed_slice(), data.len())
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.data.len()
    }

    #[inline]
    pub(crate) fn tail_room(&self) -> usize {
        self.data.len() - self.end
    }

    pub(crate) fn front_room(&self) -> usize {
        self.start
    }

    /// Copies `data` behind the data if there is room for all of it.
    #[inline]
    pub(crate) fn push(&mut self, data: &[u8]) -> bool {
        let end = self.end.wrapping_add(data.len());
        let Some(target) = self.data.get_mut(self.end..end) else { return false };
        target.copy_from_slice(data);
        self.end = end;
        true
    }

    /// Copies as much of `data` behind the data as there is room for; gives the number of bytes.
    pub(crate) fn push_some(&mut self, data: &[u8]) -> usize {
        let n = data.len().min(self.tail_room());
        self.push(&data[..n]);
        n
    }

    /// Copies as much of the end of `data` in front of the data as there is room for; gives the number of bytes.
    pub(crate) fn push_front_some(&mut self, data: &[u8]) -> usize {
        let n = data.len().min(self.start);
        self.data[self.start - n..self.start].copy_from_slice(&data[data.len() - n..]);
        self.start -= n;
        n
    }

    /// The room behind the data.
    pub(crate) fn tail_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.end..]
    }

    /// Makes the first `n <= tail_room` bytes of the room behind the data part of it.
    pub(crate) fn grow(&mut self, n: usize) {
        debug_assert!(n <= self.tail_room());
        self.end += n;
    }

    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start += n;
    }

    pub(crate) fn truncate(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.end = self.start + n;
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Leaves the block empty with `start` at `at <= capacity`.
    pub(crate) fn clear_at(&mut self, at: usize) {
        debug_assert!(at <= self.capacity());
        self.start = at;
        self.end = at;
    }

    /// Moves the data to the front of the block.
    pub(crate) fn realign(&mut self) {
        self.data.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Whether moving the data to the front makes room for `n` more bytes and is cheap: at most half the block and
    /// [`MAX_REALIGN`] bytes are moved, which at least as many bytes drained have paid for.
    pub(crate) fn should_realign(&self, n: usize) -> bool {
        self.len() <= self.capacity() / 2
            && self.len() <= MAX_REALIGN
            && n <= self.capacity() - self.len()
            && self.start > 0
    }

    /// Whether it is a large block with so little data that a copy costs less than the memory it holds.
    #[inline]
    pub(crate) fn is_sparse(&self) -> bool {
        self.capacity() >= MIN_SPARSE && self.len() < self.capacity() / 4
    }

    pub(crate) fn into_storage(self) -> Box<[u8]> {
        self.data
    }

    /// The data as a view on the block, without copying.
    fn into_bytes(self) -> Bytes {
        let mut data = Vec::from(self.data);
        data.truncate(self.end);
        let mut bytes = Bytes::from(data);
        bytes.advance(self.start);
        bytes
    }

    /// Panics if K1 is broken.
    pub(crate) fn debug_validate(&self) {
        assert!(self.start <= self.end && self.end <= self.data.len(), "K1");
    }
}

/// The size of the block to allocate for `needed` bytes after a block of `previous` bytes.
pub(crate) fn size_for(needed: usize, previous: usize) -> usize {
    needed.max(previous.saturating_mul(2).clamp(MIN_BLOCK, MAX_BLOCK))
}

/// The size of the block to allocate for `needed` bytes that may grow in steps.
pub(crate) fn size_rounded(needed: usize) -> usize {
    if needed <= MAX_BLOCK { needed.next_power_of_two().max(MIN_BLOCK) } else { needed }
}

/// Allocates `size` zeroed bytes, or says that they cannot be had.
pub(crate) fn try_zeroed(size: usize) -> Result<Box<[u8]>, Error> {
    let mut storage = Vec::new();
    storage.try_reserve_exact(size).map_err(|_| Error::TooLarge { requested: size })?;
    storage.resize(size, 0);
    Ok(storage.into_boxed_slice())
}
