//! The chain of segments: adding, prepending, draining, copying out.

use std::fmt;
use std::io::IoSlice;

use crate::freeze::Frozen;
use crate::observe::Rare;
use crate::rest::Rest;
use crate::segment::{Block, Segment};
use crate::{End, Error};

/// A chain of byte segments: bytes go in at the back and come out at the front.
///
/// What costs what, and when data is copied, is on the [crate page](crate).
/// # Libevent
/// `struct evbuffer`. Differs: no lock and no reference count (a buffer has one owner), no flags.
/// # Examples
/// ```
/// use bufferevent_evbuffer::Evbuffer;
///
/// let mut buffer = Evbuffer::new();
/// buffer.add(b"world")?;
/// buffer.prepend(b"hello ")?;
/// assert_eq!(buffer, b"hello world");
///
/// let mut word = [0; 5];
/// assert_eq!(buffer.remove(&mut word)?, 5);
/// assert_eq!(&word, b"hello");
/// assert_eq!(buffer.len(), 6);
/// # Ok::<(), bufferevent_evbuffer::Error>(())
/// ```
#[doc(alias = "evbuffer")]
pub struct Evbuffer {
    // Invariants, checked by `debug_validate`:
    // E1  `len` is the sum of the lengths of `head` and of all of `rest`.
    // E2  A segment is empty only if the buffer is: then `head` is an owned block (perhaps without memory) with both
    //     cursors at 0, kept for the next bytes, and `rest` has no segments.
    // E3  `spare` is memory without data (empty: none); it serves the next block that is needed. No limit and no
    //     frozen end depends on it, so any call may drop or replace it.
    // E4  `len` never overflows: every way in has passed `check_room` or `check_len`.
    // E5  `rare.unloaded` is the sum of the lengths of the segments that are files.
    pub(crate) head: Segment,
    pub(crate) rest: Rest,
    pub(crate) len: usize,
    /// `usize::MAX`: none.
    pub(crate) limit: usize,
    pub(crate) spare: Box<[u8]>,
    pub(crate) frozen: Frozen,
    /// `None` in most buffers.
    pub(crate) rare: Option<Box<Rare>>,
}

impl Default for Evbuffer {
    fn default() -> Self {
        Evbuffer::new()
    }
}

impl Evbuffer {
    /// Makes an empty buffer. It owns no memory until the first bytes arrive.
    /// # Libevent
    /// `evbuffer_new`; dropping the buffer is `evbuffer_free`.
    #[doc(alias = "evbuffer_new")]
    #[doc(alias = "evbuffer_free")]
    pub fn new() -> Self {
        Evbuffer {
            head: Segment::default(),
            rest: Rest::default(),
            len: 0,
            limit: usize::MAX,
            spare: Box::default(),
            frozen: Frozen::default(),
            rare: None,
        }
    }

    /// Copies `data` to the back.
    ///
    /// Fills the room behind the last bytes first; what is left goes into a block twice the size of the last one
    /// (256 bytes to 64 KiB).
    /// # Errors
    /// [`Error::Frozen`] if the back is frozen, also for no bytes; [`Error::Full`] if the limit would be passed.
    /// # Libevent
    /// `evbuffer_add`.
    #[doc(alias = "evbuffer_add")]
    #[inline]
    pub fn add(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check_back(data.len())?;
        self.push_slice(data);
        self.changed();
        Ok(())
    }

    /// Copies all `slices` to the back, as one addition; gives the number of bytes.
    /// # Errors
    /// As for [`add`](Evbuffer::add), for all of them together: a refused call adds nothing.
    /// # Libevent
    /// `evbuffer_add_iovec`. Differs: that one stops at the first vector that fails.
    #[doc(alias = "evbuffer_add_iovec")]
    pub fn add_iovec(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Error> {
        let total = slices.iter().fold(0usize, |sum, slice| sum.saturating_add(slice.len()));
        self.check_back(total)?;
        for slice in slices {
            self.push_slice(slice);
        }
        self.changed();
        Ok(total)
    }

    /// Appends formatted text; gives its length in bytes. This is what `write!(buffer, ..)` calls.
    /// # Errors
    /// As for [`add`](Evbuffer::add), and [`Error::Format`] if a value fails to format itself. Either way nothing
    /// of the text stays.
    /// # Libevent
    /// `evbuffer_add_printf`, `evbuffer_add_vprintf`.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut buffer = Evbuffer::new();
    /// assert_eq!(write!(buffer, "{}/{}", "hello", 1)?, 7);
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_add_printf")]
    #[doc(alias = "evbuffer_add_vprintf")]
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> Result<usize, Error> {
        self.check_back(0)?;
        let before = self.len;
        let mut sink = Sink { buffer: self, refusal: Error::Format };
        if fmt::Write::write_fmt(&mut sink, text).is_ok() {
            let formatted = self.len - before;
            self.changed();
            return Ok(formatted);
        }
        let refusal = sink.refusal;
        let formatted = self.len - before;
        self.truncate_to(before);
        Err(match refusal {
            Error::Full { limit, requested, .. } => {
                let requested = formatted.saturating_add(requested);
                Error::Full { limit, len: before - self.unloaded(), requested }
            }
            other => other,
        })
    }

    /// Copies `data` to the front.
    ///
    /// Uses the room in front of the first bytes; what does not fit there goes into a new block, at its end, so that
    /// the next `prepend` finds room. Referenced memory is never written to.
    /// # Errors
    /// [`Error::Frozen`] if the front is frozen and `data` is not empty; [`Error::Full`] if the limit would be
    /// passed.
    /// # Libevent
    /// `evbuffer_prepend`.
    #[doc(alias = "evbuffer_prepend")]
    pub fn prepend(&mut self, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        self.check_front()?;
        self.check_room(data.len())?;
        if self.len == 0 {
            self.prepare_middle(data.len());
        }
        let mut left = data;
        if let Segment::Owned(block) = &mut self.head {
            let n = block.push_front_some(left);
            left = &left[..left.len() - n];
        }
        self.len += data.len();
        if !left.is_empty() {
            let mut block = Block::new(self.storage(left.len(), self.head_capacity()));
            block.clear_at(block.capacity());
            block.push_front_some(left);
            self.push_segment_front(Segment::Owned(block));
        }
        self.changed();
        Ok(())
    }

    /// Drops the first `n` bytes, or all if there are fewer; gives the number dropped.
    /// # Errors
    /// [`Error::Frozen`] if the front is frozen and the buffer is not empty.
    /// # Libevent
    /// `evbuffer_drain`. Differs: gives the number of bytes.
    #[doc(alias = "evbuffer_drain")]
    #[inline]
    pub fn drain(&mut self, n: usize) -> Result<usize, Error> {
        let n = n.min(self.len);
        if self.len > 0 {
            self.check_front()?;
            self.discard(n);
            self.changed();
        }
        Ok(n)
    }

    /// Copies the first bytes into `out` and drops them; gives their number, `min(out.len(), len)`.
    /// # Errors
    /// [`Error::Frozen`] if the front is frozen and that number is not 0; [`Error::NotLoaded`].
    /// # Libevent
    /// `evbuffer_remove`.
    #[doc(alias = "evbuffer_remove")]
    pub fn remove(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let n = self.copy_out(out)?;
        self.discard(n);
        self.changed();
        Ok(n)
    }

    /// Drops everything the buffer caches: the spare block, and if there is no data, all memory it owns.
    ///
    /// Call it when a connection goes idle: an empty buffer then costs only its own size.
    pub fn shrink(&mut self) {
        self.spare = Box::default();
        if self.len == 0 {
            self.head = Segment::default();
            self.rest = Rest::default();
            self.drop_rare();
        }
    }

    /// Copies the first bytes into `out` and leaves them in the buffer; gives their number, `min(out.len(), len)`.
    /// # Errors
    /// [`Error::Frozen`] if the front is frozen and that number is not 0; [`Error::NotLoaded`].
    /// # Libevent
    /// `evbuffer_copyout`.
    #[doc(alias = "evbuffer_copyout")]
    pub fn copy_out(&self, out: &mut [u8]) -> Result<usize, Error> {
        let Some(front @ [_, ..]) = self.head.as_slice().get(..out.len()) else {
            return self.copy_out_from(0, out);
        };
        self.check_front()?;
        out.copy_from_slice(front);
        Ok(front.len())
    }

    /// Copies the bytes from `position` on into `out`; gives their number, `min(out.len(), len - position)`.
    /// # Errors
    /// [`Error::OutOfRange`] if `position > len`; [`Error::Frozen`] if the front is frozen and there is something to
    /// copy; [`Error::NotLoaded`].
    /// # Libevent
    /// `evbuffer_copyout_from`.
    #[doc(alias = "evbuffer_copyout_from")]
    pub fn copy_out_from(&self, position: usize, out: &mut [u8]) -> Result<usize, Error> {
        self.check_position(position)?;
        let n = out.len().min(self.len - position);
        if n == 0 {
            return Ok(0);
        }
        self.check_front()?;
        self.check_loaded(position + n)?;
        let mut left = &mut out[..n];
        for chunk in self.chunks_from(position)? {
            let k = chunk.len().min(left.len());
            let (target, behind) = left.split_at_mut(k);
            target.copy_from_slice(&chunk[..k]);
            left = behind;
            if left.is_empty() {
                break;
            }
        }
        Ok(n)
    }

    /// Copies all data, as far as it is [in memory](Evbuffer::loaded_len), into a vector, whether or not the front is frozen.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.loaded_len());
        for chunk in self.chunks() {
            out.extend_from_slice(chunk);
        }
        out
    }

    /// The number of bytes in the buffer, those of files included.
    /// # Libevent
    /// `evbuffer_get_length`.
    #[doc(alias = "evbuffer_get_length")]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes in the buffer.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of bytes that lie in one piece at the front: what [`pullup`](Evbuffer::pullup) gives for free.
    /// # Libevent
    /// `evbuffer_get_contiguous_space`.
    #[doc(alias = "evbuffer_get_contiguous_space")]
    #[inline]
    pub fn contiguous_len(&self) -> usize {
        self.head.as_slice().len()
    }

    /// The bytes of memory behind the buffer: its blocks with their free room, the spare block, and referenced memory as
    /// far as it is referenced. Files that are not read have none.
    pub fn allocated(&self) -> usize {
        self.segments().map(Segment::allocated).sum::<usize>() + self.spare.len()
    }

    /// Drops what it has no use for.
    #[inline]
    pub(crate) fn drop_rare(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_idle()) {
            self.rare = None;
        }
    }

    /// Panics if an invariant is broken. For tests.
    #[doc(hidden)]
    pub fn debug_validate(&self) {
        assert_eq!(self.len, self.segments().map(Segment::len).sum::<usize>(), "E1");
        if self.len == 0 {
            assert!(self.rest.is_empty(), "E2: empty, but more than one segment");
            match &self.head {
                Segment::Owned(block) => {
                    assert_eq!((block.front_room(), block.len()), (0, 0), "E2: cursors at 0")
                }
                Segment::Shared(_) | Segment::File(_) => panic!("E2: empty, but the head is no block"),
            }
        } else {
            assert!(self.segments().all(|segment| segment.len() > 0), "E2: an empty segment");
        }
        let files = self.segments().filter(|segment| matches!(segment, Segment::File(_)));
        assert_eq!(self.unloaded(), files.map(Segment::len).sum::<usize>(), "E5");
        for segment in self.segments() {
            if let Segment::Owned(block) = segment {
                block.debug_validate();
            }
        }
    }
}

/// Takes formatted text and remembers why it was refused.
struct Sink<'a> {
    buffer: &'a mut Evbuffer,
    refusal: Error,
}

impl fmt::Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.buffer.check_back(text.len()).map_err(|refusal| {
            self.refusal = refusal;
            fmt::Error
        })?;
        self.buffer.push_slice(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Evbuffer {
    /// Shows the shape; not the bytes, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evbuffer")
            .field("len", &self.len)
            .field("segments", &self.chunks().len())
            .field("allocated", &self.allocated())
            .field("limit", &self.limit())
            .field("front_frozen", &self.is_frozen(End::Front))
            .field("back_frozen", &self.is_frozen(End::Back))
            .finish()
    }
}
