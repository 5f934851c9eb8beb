//! What the owner of a buffer does to it: the same work as the public calls, at frozen ends too.
//!
//! A bufferevent freezes the back of its input and the front of its output, and still has to fill the one and drain
//! the other. The limit holds here as everywhere. No observer is called by these operations.

use std::io;

use crate::chain::MAX_KEPT;
use crate::freeze::Frozen;
use crate::observers::Observers;
use crate::rest::Rest;
use crate::segment::{Block, Segment};
use crate::{Error, Evbuffer, FileError};

/// The owner's operations on a buffer. They look past frozen ends, not past the limit.
///
/// Not for users of the `bufferevent` crate, and not covered by semantic versioning.
pub trait Transport {
    /// Makes `block`, all of it initialised, the last segment, without copying: its first `filled` bytes become data,
    /// the rest of it is room for what is added next.
    ///
    /// With `filled` = 0 the block is kept as memory for later.
    /// # Errors
    /// [`Error::OutOfRange`] if `filled > block.len()`, [`Error::Full`] if the limit would be passed. The block
    /// comes back.
    fn append_block(&mut self, block: Box<[u8]>, filled: usize) -> Result<(), (Error, Box<[u8]>)>;

    /// States that the owner calls [`settle`](Transport::settle) after each use. Until then blocks with little data in
    /// them may stay, and move on to other such buffers; what moves elsewhere is copied into blocks of its size.
    fn set_settled(&mut self);

    /// Leaves the buffer with no more memory than its data needs: blocks with little data are copied into blocks of
    /// their size, and an empty buffer keeps nothing. Large blocks that come free are given to `pool`, but for one that a
    /// file at the front is read into next.
    fn settle(&mut self, pool: &mut impl FnMut(Box<[u8]>));

    /// Gives back a block of at least 16 KiB that has been drained, for the caller to pool. Its length is its size,
    /// its contents are arbitrary.
    ///
    /// A buffer keeps at most one such block beside its data, and one more when it is empty; call until it gives
    /// `None`. Blocks above 256 KiB are freed, not kept.
    fn reclaim(&mut self) -> Option<Box<[u8]>>;

    /// The first contiguous piece; empty only if the buffer is, or if a file is at its front.
    fn front(&self) -> &[u8];

    /// Gets of the first `n` bytes as many into memory as one read of a file brings, and at least one byte.
    /// # Errors
    /// [`FileError`] if there is none because a file cannot be read.
    fn load_ahead(&mut self, n: usize) -> Result<(), FileError>;

    /// Copies `data` to the back: [`Evbuffer::add`].
    /// # Errors
    /// [`Error::Full`] if the limit would be passed.
    fn fill(&mut self, data: &[u8]) -> Result<(), Error>;

    /// Drops the first `n` bytes, or all if there are fewer; gives the number dropped: [`Evbuffer::drain`].
    fn consume(&mut self, n: usize) -> usize;

    /// Drops what the buffer caches: [`Evbuffer::shrink`].
    fn shrink(&mut self);

    /// Reads once from `source`: [`Evbuffer::read_from`].
    /// # Errors
    /// What the source reports; [`Error::Full`] if the limit is reached.
    fn receive<R: io::Read + ?Sized>(&mut self, source: &mut R, max: usize) -> io::Result<usize>;

    /// Writes once to `sink`: [`Evbuffer::write_to`].
    /// # Errors
    /// What the sink reports.
    fn send<W: io::Write + ?Sized>(&mut self, sink: &mut W, max: usize) -> io::Result<usize>;

    /// Moves the first `n` bytes, or all if there are fewer, to the back of `target`; gives the number moved:
    /// [`Evbuffer::move_to`].
    /// # Errors
    /// [`Error::Full`] if the limit of `target` would be passed; nothing moves.
    fn pass_on(&mut self, target: &mut Evbuffer, n: usize) -> Result<usize, Error>;

    /// Moves the first `n` bytes, or all if there are fewer, to the back of `borrower`. What comes of them is told to the
    /// observers when they are taken back.
    fn lend(&mut self, borrower: &mut Evbuffer, n: usize);

    /// Moves what is left of what was lent back to the front, and large blocks that were drained, for [`settle`](Self::settle)
    /// to pool them. The observers are told that the rest was removed.
    fn take_back(&mut self, borrower: &mut Evbuffer);

    /// Lends the buffer itself: until it is [taken back](Transport::end_loan) neither end is frozen, and this is the limit. It must
    /// [be plain](Transport::is_plain).
    fn begin_loan(&mut self, limit: usize) -> Loan;

    /// Takes the buffer itself back, with whatever is in it now. Observers that the borrower has added are dropped.
    fn end_loan(&mut self, loan: Loan);

    /// Whether there is nothing to ask for of observers and files. It may stay false when they have gone.
    fn is_plain(&self) -> bool;

    /// Whether it is as a new one is, but for memory that it may own.
    fn is_as_new(&self) -> bool;

    /// Whether an observer is to be called at once: the operations here leave that to the owner.
    fn has_news(&self) -> bool;

    /// Calls the observers that are to be called at once.
    fn notify_at_once(&mut self);

    /// Whether [`Evbuffer::notify_deferred`] has something to tell.
    fn owes_deferred(&self) -> bool;

    /// From now on no observer is called, by whatever operation, until this is undone.
    fn hold_observers(&mut self, held: bool);
}

/// What a buffer that is lent itself gets back.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Loan {
    frozen: Frozen,
    limit: usize,
}

impl Transport for Evbuffer {
    #[inline(always)]
    fn append_block(&mut self, block: Box<[u8]>, filled: usize) -> Result<(), (Error, Box<[u8]>)> {
        if filled > block.len() {
            return Err((Error::OutOfRange { position: filled, len: block.len() }, block));
        }
        if let Err(error) = self.check_room(filled) {
            return Err((error, block));
        }
        match &mut self.head {
            // E2: it is empty.
            Segment::Owned(head) if head.capacity() == 0 && (filled > 0 || block.len() <= MAX_KEPT) => {
                *head = Block::filled(block, filled);
            }
            _ if filled == 0 => self.retire_storage(block),
            _ => self.push_segment(Segment::Owned(Block::filled(block, filled))),
        }
        if filled > 0 {
            self.len += filled;
            self.noted();
        }
        Ok(())
    }

    fn set_settled(&mut self) {
        self.frozen.set_settled();
    }

    #[inline(always)]
    fn settle(&mut self, pool: &mut impl FnMut(Box<[u8]>)) {
        let mut capacity = self.head_capacity();
        if let (Segment::Owned(block), 0, MIN_RECLAIMED..) = (&mut self.head, self.len, capacity) {
            pool(std::mem::take(block).into_storage());
            capacity = 0;
        }
        // One test for all, since an idle connection has none of them.
        if capacity | self.spare.len() | usize::from(self.rest.is_allocated()) > 0 || self.rare.is_some() {
            self.settle_blocks(pool);
        }
    }

    #[inline]
    fn front(&self) -> &[u8] {
        self.head.as_slice()
    }

    #[inline]
    fn load_ahead(&mut self, n: usize) -> Result<(), FileError> {
        Evbuffer::load_ahead(self, n)
    }

    fn reclaim(&mut self) -> Option<Box<[u8]>> {
        if self.spare.len() >= MIN_RECLAIMED {
            return Some(std::mem::take(&mut self.spare));
        }
        match &mut self.head {
            Segment::Owned(block) if self.len == 0 && block.capacity() >= MIN_RECLAIMED => {
                Some(std::mem::take(block).into_storage())
            }
            _ => None,
        }
    }

    #[inline]
    fn fill(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check_room(data.len())?;
        self.push_slice(data);
        self.noted();
        Ok(())
    }

    #[inline(always)]
    fn consume(&mut self, n: usize) -> usize {
        let n = n.min(self.len);
        self.discard(n);
        self.noted();
        n
    }

    fn shrink(&mut self) {
        Evbuffer::shrink(self);
    }

    fn receive<R: io::Read + ?Sized>(&mut self, source: &mut R, max: usize) -> io::Result<usize> {
        let n = self.receive_from(source, max)?;
        self.noted();
        Ok(n)
    }

    fn send<W: io::Write + ?Sized>(&mut self, sink: &mut W, max: usize) -> io::Result<usize> {
        let n = self.send_to(sink, max)?;
        self.noted();
        Ok(n)
    }

    #[inline]
    fn pass_on(&mut self, target: &mut Evbuffer, n: usize) -> Result<usize, Error> {
        if n >= self.len && target.may_swap(self) && target.frozen.is_settled() {
            target.swap_with(self);
            return Ok(target.len);
        }
        self.pass_on_others(target, n)
    }

    fn lend(&mut self, borrower: &mut Evbuffer, n: usize) {
        let n = n.min(self.len);
        if n > 0 {
            self.transfer(borrower, n);
        }
    }

    fn take_back(&mut self, borrower: &mut Evbuffer) {
        if borrower.len > 0 {
            borrower.transfer_to_front(self);
        } else if self.len == 0 && borrower.head_capacity() >= MIN_RECLAIMED {
            std::mem::swap(&mut self.head, &mut borrower.head);
        }
        if !borrower.spare.is_empty() {
            self.retire_storage(std::mem::take(&mut borrower.spare));
        }
        self.noted();
    }

    #[inline]
    fn begin_loan(&mut self, limit: usize) -> Loan {
        debug_assert!(self.rare.is_none(), "its observers would be called");
        let loan = Loan { frozen: self.frozen, limit: self.limit };
        (self.frozen, self.limit) = (self.frozen.while_lent(), limit);
        loan
    }

    #[inline]
    fn end_loan(&mut self, loan: Loan) {
        (self.frozen, self.limit) = (loan.frozen, loan.limit);
        if let Some(rare) = &mut self.rare {
            rare.observers = Observers::default();
            self.drop_rare();
        }
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.rare.is_none()
    }

    #[inline]
    fn is_as_new(&self) -> bool {
        self.len == 0 && self.limit == usize::MAX && self.frozen.is_none() && self.rare.is_none()
    }

    #[inline]
    fn has_news(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.observers.has_news())
    }

    fn notify_at_once(&mut self) {
        self.tell_at_once();
    }

    #[inline]
    fn owes_deferred(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.observers.owes_deferred())
    }

    #[inline]
    fn hold_observers(&mut self, held: bool) {
        self.frozen.set_held(held);
    }
}

impl Evbuffer {
    #[inline(never)]
    fn pass_on_others(&mut self, target: &mut Evbuffer, n: usize) -> Result<usize, Error> {
        let n = n.min(self.len);
        target.check_room_for(self, n)?;
        if n > 0 {
            self.transfer(target, n);
            self.noted();
            target.noted();
        }
        Ok(n)
    }

    #[inline(never)]
    fn settle_blocks(&mut self, pool: &mut impl FnMut(Box<[u8]>)) {
        let mut give = |storage: Box<[u8]>| {
            if storage.len() >= MIN_RECLAIMED {
                pool(storage);
            }
        };
        if self.len > 0 {
            self.pack(&mut give);
        } else {
            if let Segment::Owned(block) = &mut self.head {
                give(std::mem::take(block).into_storage());
            }
            self.rest = Rest::default();
            self.drop_rare();
        }
        // With a file at the front it serves the next block of that.
        if !self.spare.is_empty() && !matches!(self.head, Segment::File(_)) {
            give(std::mem::take(&mut self.spare));
        }
    }
}

/// Smaller blocks are not worth pooling.
const MIN_RECLAIMED: usize = 16 * 1024;
