//! References: `Bytes` in and out.

use std::iter;

use bytes::Bytes;

use crate::segment::Segment;
use crate::{Error, Evbuffer};

impl Evbuffer {
    /// Appends a reference to `data`, without copying it.
    ///
    /// The memory is released when the last of its bytes has been drained here and everywhere else; with
    /// [`Bytes::from_owner`] that is when a value of the caller's is dropped. It is never written to.
    /// # Errors
    /// As for [`add`](Evbuffer::add); the reference is dropped then.
    /// # Libevent
    /// `evbuffer_add_reference`, `evbuffer_add_reference_with_offset` (use [`Bytes::slice`]).
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// use bytes::Bytes;
    ///
    /// let page = Bytes::from(vec![b'x'; 4096]);
    /// let mut output = Evbuffer::new();
    /// output.add_bytes(page.clone())?;
    /// assert_eq!(output.take_bytes(4096)?.as_ptr(), page.as_ptr());
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_add_reference")]
    #[doc(alias = "evbuffer_add_reference_with_offset")]
    #[inline]
    pub fn add_bytes(&mut self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        self.check_back(data.len())?;
        if !data.is_empty() {
            self.len += data.len();
            self.push_segment(Segment::Shared(data));
            self.changed();
        }
        Ok(())
    }

    /// Puts a reference to `data` in front, without copying it.
    /// # Errors
    /// As for [`prepend`](Evbuffer::prepend); the reference is dropped then.
    pub fn prepend_bytes(&mut self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        if data.is_empty() {
            return Ok(());
        }
        self.check_front()?;
        self.check_room(data.len())?;
        self.len += data.len();
        self.push_segment_front(Segment::Shared(data));
        self.changed();
        Ok(())
    }

    /// Appends what `source` holds, which keeps it: both refer to the same memory, and to the same files.
    ///
    /// No byte is copied but of pieces that have less than 1 KiB, or less than a quarter of their block. What is added to
    /// `source` afterwards is its own.
    /// # Errors
    /// As for [`append`](Evbuffer::append); nothing is added then.
    /// # Libevent
    /// `evbuffer_add_buffer_reference`. Differs: references and files are referred to again, not refused.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut news = Evbuffer::from(vec![b'n'; 100_000]);
    /// let mut outputs = [Evbuffer::new(), Evbuffer::new()];
    /// for output in &mut outputs {
    ///     output.add_buffer_reference(&mut news)?;
    /// }
    /// assert_eq!((news.len(), outputs[1].len()), (100_000, 100_000));
    /// assert_eq!(outputs[0].pullup(1)?.as_ptr(), outputs[1].pullup(1)?.as_ptr());
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_add_buffer_reference")]
    pub fn add_buffer_reference(&mut self, source: &mut Evbuffer) -> Result<(), Error> {
        if source.len == 0 {
            return Ok(());
        }
        self.check_back_for(source, source.len)?;
        source.check_front()?;
        for segment in iter::once(&mut source.head).chain(source.rest.iter_mut()) {
            if segment.copies(segment.len()) {
                self.push_slice(segment.as_slice());
            } else {
                self.len += segment.len();
                self.push_segment(segment.view());
            }
        }
        self.receive_files(source.unloaded());
        self.changed();
        Ok(())
    }

    /// Takes exactly the first `n` bytes.
    ///
    /// A piece of a reference is a reference. A piece of a block is one too, if it has at least 1 KiB and a quarter of
    /// the block; else it is copied, so that it does not keep the rest of the block alive. Bytes that lie in more
    /// than one segment are copied.
    /// # Errors
    /// [`Error::OutOfRange`] if `n > len`; [`Error::Frozen`] if the front is frozen and `n > 0`; [`Error::NotLoaded`].
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut input = Evbuffer::from(b"headbody");
    /// assert_eq!(input.take_bytes(4)?, "head");
    /// assert!(input.take_bytes(5).is_err());
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    pub fn take_bytes(&mut self, n: usize) -> Result<Bytes, Error> {
        if n > self.len {
            return Err(Error::OutOfRange { position: n, len: self.len });
        }
        if n == 0 {
            return Ok(Bytes::new());
        }
        self.check_front()?;
        self.check_loaded(n)?;
        let taken = if n > self.head.len() { self.take_copy(n) } else { self.take_from_head(n) };
        self.changed();
        Ok(taken)
    }

    /// Takes the first contiguous piece, as [`take_bytes`](Evbuffer::take_bytes) does; `None` if the buffer is empty.
    /// # Errors
    /// [`Error::Frozen`] if the front is frozen and the buffer is not empty; [`Error::NotLoaded`].
    pub fn take_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let n = self.head.len();
        if n == 0 {
            return Ok(None);
        }
        self.take_bytes(n).map(Some)
    }

    /// Takes the first `0 < n <= head.len()` bytes.
    fn take_from_head(&mut self, n: usize) -> Bytes {
        if self.head.copies(n) {
            return self.take_copy(n);
        }
        self.len -= n;
        let taken = if n == self.head.len() { self.pop_segment() } else { self.head.split_to(n) };
        taken.into_bytes()
    }

    /// Takes a copy of the first `n <= len` bytes.
    fn take_copy(&mut self, n: usize) -> Bytes {
        let copy = self.copy_of_front(n);
        self.discard(n);
        Bytes::from(copy)
    }

    /// A copy of the first `n <= len` bytes.
    pub(crate) fn copy_of_front(&self, n: usize) -> Vec<u8> {
        let mut copy = Vec::with_capacity(n);
        for chunk in self.chunks() {
            let k = chunk.len().min(n - copy.len());
            copy.extend_from_slice(&chunk[..k]);
            if copy.len() == n {
                break;
            }
        }
        copy
    }

    /// Makes `segment`, which is not empty, the only one of this new buffer.
    pub(crate) fn with_segment(segment: Segment) -> Self {
        let mut buffer = Evbuffer::new();
        buffer.len = segment.len();
        buffer.head = segment;
        buffer
    }
}
