//! Ranges of files: links of the chain that are read when the front reaches them.

use std::error;
use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::ops::{Bound, RangeBounds};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::segment::{Block, MAX_BLOCK, Segment};
use crate::{Error, Evbuffer};

/// A range of an open file, to be put into any number of buffers. Cheap to clone.
///
/// It is read by positioned reads, never mapped: a file that has become shorter meanwhile is a [`FileError`] of who reads
/// it. All segments, slices and buffers share the open file; it closes when the last of them has gone. To learn of that keep
/// a `Weak` of the `Arc<File>` that was given.
/// # Libevent
/// `struct evbuffer_file_segment`. Differs: no flags, neither mapped nor sent by `sendfile`.
/// # Examples
/// ```
/// use std::fs::File;
/// use std::io::Write;
///
/// use bufferevent_evbuffer::{Evbuffer, FileSegment};
///
/// # let path = std::env::temp_dir().join(format!("file-segment-example-{}", std::process::id()));
/// # File::create(&path)?.write_all(b"# title\nbody\n")?;
/// let page = FileSegment::new(File::open(&path)?, 8..)?;
/// # std::fs::remove_file(&path)?;
/// for _connection in 0..3 {
///     let mut output = Evbuffer::from(b"header\n");
///     output.add_file_segment(page.clone())?;          // reads nothing yet
///     assert_eq!(output.len(), 7 + 5);
///     let mut sink = Vec::new();
///     while output.write_to(&mut sink, usize::MAX)? > 0 {}
///     assert_eq!(sink, b"header\nbody\n");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "evbuffer_file_segment")]
#[derive(Debug, Clone)]
pub struct FileSegment {
    file: Arc<File>,
    offset: u64,
    len: usize,
}

impl FileSegment {
    /// A range of bytes of `file`, `..` for all there are now. What is appended later is not part of it.
    ///
    /// An empty range is allowed.
    /// # Errors
    /// [`FileError::OutOfRange`] if the range reaches past the end of the file; [`FileError::NotRegular`] if it is no
    /// regular file; [`FileError::Io`] if the system does not tell its length.
    /// # Libevent
    /// `evbuffer_file_segment_new`.
    #[doc(alias = "evbuffer_file_segment_new")]
    pub fn new(file: impl Into<Arc<File>>, range: impl RangeBounds<u64>) -> Result<Self, FileError> {
        let file = file.into();
        let metadata = file.metadata().map_err(|source| FileError::Io { offset: 0, source })?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular);
        }
        let (start, end) = ends(&range, metadata.len());
        let len = end.checked_sub(start).and_then(|len| usize::try_from(len).ok());
        match len {
            Some(len) if end <= metadata.len() => Ok(Self { file, offset: start, len }),
            _ => Err(FileError::OutOfRange { start, end, len: metadata.len() }),
        }
    }

    /// A part of it; positions are counted from its own start. Shares the open file.
    /// # Errors
    /// [`Error::OutOfRange`] if the range reaches past its end.
    /// # Libevent
    /// The offset and the length of `evbuffer_add_file_segment`.
    pub fn slice(&self, range: impl RangeBounds<u64>) -> Result<Self, Error> {
        let (start, end) = ends(&range, self.len as u64);
        let out_of_range = || Error::OutOfRange {
            position: usize::try_from(end.max(start)).unwrap_or(usize::MAX),
            len: self.len,
        };
        if start > end || end > self.len as u64 {
            return Err(out_of_range());
        }
        let len = usize::try_from(end - start).map_err(|_| out_of_range())?;
        Ok(Self { file: Arc::clone(&self.file), offset: self.offset + start, len })
    }

    /// The number of bytes.
    /// # Libevent
    /// The length given to `evbuffer_file_segment_new`.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        self.offset += n as u64;
        self.len -= n;
    }

    pub(crate) fn truncate(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        self.len = n;
    }

    /// Reads its first bytes until `block`, which is no longer than it, is full; gives how far that came.
    fn read(&self, block: &mut [u8]) -> (usize, Result<(), FileError>) {
        let mut filled = 0;
        while filled < block.len() {
            let offset = self.offset + filled as u64;
            match self.file.read_at(&mut block[filled..], offset) {
                Ok(0) => return (filled, Err(FileError::Ended { offset })),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return (filled, Err(FileError::Io { offset, source })),
            }
        }
        (filled, Ok(()))
    }
}

/// The first position of a range and the one behind the last, where there are `len`.
fn ends(range: &impl RangeBounds<u64>, len: u64) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    (start, end)
}

impl Evbuffer {
    /// Appends a range of a file, without reading it.
    ///
    /// Its bytes count in [`len`](Evbuffer::len) at once. They are not in memory, and not counted by the
    /// [limit](Evbuffer::set_limit), until the front comes to them: see [the crate's page](crate#files).
    /// # Errors
    /// [`Error::Frozen`] if the back is frozen; [`Error::Full`] if the buffer would be longer than `usize` can tell.
    /// # Libevent
    /// `evbuffer_add_file_segment`, `evbuffer_add_file`. Differs: a segment without bytes adds nothing and is no error.
    #[doc(alias = "evbuffer_add_file_segment")]
    #[doc(alias = "evbuffer_add_file")]
    pub fn add_file_segment(&mut self, segment: FileSegment) -> Result<(), Error> {
        self.check_back(0)?;
        self.check_len(segment.len)?;
        if !segment.is_empty() {
            self.len += segment.len;
            self.rare.get_or_insert_default().unloaded += segment.len;
            self.push_segment(Segment::File(segment));
            self.changed();
        }
        Ok(())
    }

    /// Reads the bytes of files among the first `n` bytes, or among all if there are fewer, so that they are in memory.
    ///
    /// They are read in blocks of up to 64 KiB; a file that is not cached by the system makes the caller wait for the disk.
    /// The limit is not looked at. Works on a frozen buffer too.
    /// # Errors
    /// [`FileError`] if a file has become too short, or cannot be read. What was read before stays.
    /// # Examples
    /// ```
    /// # use std::{fs::File, io::Write};
    /// use bufferevent_evbuffer::{Error, Evbuffer, FileSegment};
    ///
    /// # let path = std::env::temp_dir().join(format!("load-example-{}", std::process::id()));
    /// # File::create(&path)?.write_all(b"of a file")?;
    /// let mut buffer = Evbuffer::from(b"bytes ");
    /// buffer.add_file_segment(FileSegment::new(File::open(&path)?, ..)?)?;
    /// # std::fs::remove_file(&path)?;
    /// assert_eq!(buffer.pullup(8), Err(Error::NotLoaded { loaded: 6, requested: 8 }));
    /// buffer.load(8)?;
    /// assert_eq!(buffer.pullup(8)?, b"bytes of");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load(&mut self, n: usize) -> Result<(), FileError> {
        let n = n.min(self.len);
        while self.loaded_len() < n {
            self.load_block()?;
        }
        Ok(())
    }

    /// The bytes from the front on that are in memory: all, unless there is a file among them that is not read.
    pub fn loaded_len(&self) -> usize {
        if self.unloaded() == 0 { self.len } else { self.chunks().map(<[u8]>::len).sum() }
    }

    /// The bytes of files that are not in memory. They are part of [`len`](Evbuffer::len), not of what the limit counts.
    #[inline]
    pub fn unloaded(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.unloaded)
    }

    /// Reads the next block of the first file that is not read; there is one.
    fn load_block(&mut self) -> Result<(), FileError> {
        let in_memory = |segment: &&Segment| !matches!(segment, Segment::File(_));
        let index = self.segments().take_while(in_memory).count();
        let wanted = self.segments().nth(index).map_or(0, Segment::len).min(FILE_BLOCK);
        let mut storage = self.storage(wanted, 0);
        let Self { head, rest, rare: Some(rare), .. } = self else { return Ok(()) };
        let Some(place) = std::iter::once(head).chain(rest.iter_mut()).nth(index) else { return Ok(()) };
        let Segment::File(file) = place else { return Ok(()) };
        let (n, result) = file.read(&mut storage[..wanted]);
        if n == 0 {
            self.retire_storage(storage);
            return result;
        }
        file.advance(n);
        rare.unloaded -= n;
        let is_read = file.is_empty();
        let behind = mem::replace(place, Segment::Owned(Block::filled(storage, n)));
        if !is_read {
            // The segment after the head is the first of the rest.
            rest.insert(index, behind);
        }
        result
    }

    /// Gets what one write sends into memory: at least one byte, if there is one.
    #[inline]
    pub(crate) fn load_ahead(&mut self, n: usize) -> Result<(), FileError> {
        if self.unloaded() == 0 {
            return Ok(());
        }
        match self.load(n.min(FILE_BLOCK)) {
            Err(error) if self.contiguous_len() == 0 => Err(error),
            // What is in memory goes first; then it is found again.
            _ => Ok(()),
        }
    }

    /// Refuses what needs the first `n <= len` bytes in memory if they are not.
    #[inline]
    pub(crate) fn check_loaded(&self, n: usize) -> Result<(), Error> {
        if self.unloaded() == 0 {
            return Ok(());
        }
        let loaded = self.loaded_len();
        if n > loaded { Err(Error::NotLoaded { loaded, requested: n }) } else { Ok(()) }
    }

    /// The bytes of files that are not in memory among the first `n <= len` bytes.
    #[inline]
    pub(crate) fn unloaded_in(&self, n: usize) -> usize {
        if self.unloaded() == 0 { 0 } else { self.count_unloaded(n) }
    }

    fn count_unloaded(&self, n: usize) -> usize {
        if n == self.len {
            return self.unloaded();
        }
        let (mut left, mut found) = (n, 0);
        for segment in self.segments() {
            let k = segment.len().min(left);
            found += if matches!(segment, Segment::File(_)) { k } else { 0 };
            left -= k;
            if left == 0 {
                break;
            }
        }
        found
    }

    /// There are `n` fewer bytes of files.
    #[cold]
    pub(crate) fn forget_files(&mut self, n: usize) {
        if let Some(rare) = &mut self.rare {
            rare.unloaded -= n;
        }
    }

    /// The first `n` bytes are to move to `target`.
    #[inline]
    pub(crate) fn hand_over_files(&mut self, target: &mut Evbuffer, n: usize) {
        if self.rare.is_some() {
            let files = self.unloaded_in(n);
            self.forget_files(files);
            target.receive_files(files);
        }
    }

    /// There are `n` more bytes of files.
    pub(crate) fn receive_files(&mut self, n: usize) {
        if n > 0 {
            self.rare.get_or_insert_default().unloaded += n;
        }
    }
}

/// Why a file could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The file ends before the segment does: it has become shorter.
    Ended {
        /// The position in the file at which nothing was found.
        offset: u64,
    },
    /// The system failed to read it.
    Io {
        /// The position in the file that was to be read.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The range that was asked for is not in the file.
    OutOfRange {
        /// Its first position.
        start: u64,
        /// The position behind its last.
        end: u64,
        /// The length of the file, in bytes.
        len: u64,
    },
    /// It is a directory, a pipe, a device: nothing that has a length and can be read at any position.
    NotRegular,
}

impl FileError {
    /// The kind of the error: the system's, `UnexpectedEof` for a file that has become shorter, `InvalidInput` for the rest.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Ended { .. } => io::ErrorKind::UnexpectedEof,
            Self::Io { source, .. } => source.kind(),
            Self::OutOfRange { .. } | Self::NotRegular => io::ErrorKind::InvalidInput,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { offset } => write!(f, "the file has become shorter: it ends before byte {offset}"),
            Self::Io { offset, source } => write!(f, "the file cannot be read at byte {offset}: {source}"),
            Self::OutOfRange { start, end, len } => {
                write!(f, "bytes {start} to {end} are not in the file, which has {len}")
            }
            Self::NotRegular => f.write_str("not a regular file"),
        }
    }
}

impl error::Error for FileError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<FileError> for io::Error {
    /// Keeps the error as the source, and its [kind](FileError::kind).
    fn from(error: FileError) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// How many bytes of a file are read ahead at most, in one block.
pub const FILE_BLOCK: usize = MAX_BLOCK;

#[cfg(test)]
mod tests {
    use super::*;

    /// E4: no file is as long, but many ranges of one are.
    #[test]
    fn lengths_that_cannot_be_counted_are_refused() {
        let file = Arc::new(File::open("/dev/null").unwrap());
        let longest = FileSegment { file, offset: 0, len: usize::MAX - 1 };
        let mut buffer = Evbuffer::new();
        buffer.add_file_segment(longest.clone()).unwrap();
        let full = Error::Full { limit: usize::MAX, len: usize::MAX - 1, requested: usize::MAX - 1 };
        assert_eq!(buffer.add_file_segment(longest), Err(full));
        buffer.add(b"x").unwrap();
        assert_eq!(buffer.room(), 0);
        assert!(buffer.add(b"x").is_err() && buffer.prepend(b"x").is_err());
        let mut other = Evbuffer::from(b"x");
        assert!(other.append(&mut buffer).is_err() && buffer.add_buffer_reference(&mut other).is_err());
        assert_eq!(
            other.add_buffer_reference(&mut buffer).unwrap_err().to_string(),
            format!("{} more bytes do not fit: 1 of at most {} are in use", usize::MAX, usize::MAX)
        );
        buffer.drain(usize::MAX).unwrap();
        buffer.debug_validate();
    }
}
