//! Finding bytes and lines.

use std::ops::{Bound, RangeBounds};

use crate::iovec::Chunks;
use crate::{Error, Evbuffer};

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "evbuffer_eol_style")]
#[non_exhaustive]
pub enum Eol {
    /// Any run of `\r` and `\n`, taken as one end of line.
    #[doc(alias = "EVBUFFER_EOL_ANY")]
    Any,
    /// `\n`, or `\r\n`.
    #[doc(alias = "EVBUFFER_EOL_CRLF")]
    Crlf,
    /// `\r\n` alone.
    #[doc(alias = "EVBUFFER_EOL_CRLF_STRICT")]
    CrlfStrict,
    /// `\n`.
    #[doc(alias = "EVBUFFER_EOL_LF")]
    Lf,
    /// The byte 0.
    #[doc(alias = "EVBUFFER_EOL_NUL")]
    Nul,
}

/// Where an end of line was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EolMatch {
    /// The position of its first byte, which is also where the line ends.
    pub position: usize,
    /// Its length in bytes.
    pub len: usize,
}

impl Evbuffer {
    /// Finds `what` at or behind position `from`; gives the position of its first byte.
    ///
    /// An empty `what` is found at `from`. `None` also if `from` is past the end. What is not [in
    /// memory](Evbuffer::loaded_len) is not searched, here and in all searches.
    /// # Libevent
    /// `evbuffer_search`, `evbuffer_find`.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::Evbuffer;
    /// let mut buffer = Evbuffer::from(b"con");
    /// buffer.add_bytes("cat")?;                   // a match may span segments
    /// assert_eq!(buffer.search(b"nca", 0), Some(2));
    /// assert_eq!(buffer.search(b"c", 1), Some(3));
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_search")]
    #[doc(alias = "evbuffer_find")]
    pub fn search(&self, what: &[u8], from: usize) -> Option<usize> {
        self.search_range(what, from..)
    }

    /// Finds `what` lying wholly inside the range of positions; gives the position of its first byte.
    ///
    /// A range that ends past the data ends with it.
    /// # Libevent
    /// `evbuffer_search_range`.
    #[doc(alias = "evbuffer_search_range")]
    pub fn search_range(&self, what: &[u8], range: impl RangeBounds<usize>) -> Option<usize> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        self.chunks_from(start).ok().and_then(|chunks| find(chunks, start, end.min(self.len), what))
    }

    /// Finds the first end of line at or behind position `from`.
    ///
    /// What lies before `from` is not looked at: from between `\r` and `\n`, [`Eol::Crlf`] finds the `\n` alone.
    /// # Libevent
    /// `evbuffer_search_eol`.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::{Eol, EolMatch, Evbuffer};
    /// let buffer = Evbuffer::from(b"one\r\ntwo");
    /// assert_eq!(buffer.search_eol(0, Eol::Crlf), Some(EolMatch { position: 3, len: 2 }));
    /// assert_eq!(buffer.search_eol(4, Eol::Crlf), Some(EolMatch { position: 4, len: 1 }));
    /// assert_eq!(buffer.search_eol(5, Eol::Crlf), None);
    /// ```
    #[doc(alias = "evbuffer_search_eol")]
    pub fn search_eol(&self, from: usize, eol: Eol) -> Option<EolMatch> {
        let chunks = self.chunks_from(from).ok()?;
        match eol {
            Eol::Any => find_run(chunks, from),
            Eol::Crlf => find_crlf(chunks, from),
            Eol::CrlfStrict => {
                find(chunks, from, self.len, b"\r\n").map(|position| EolMatch { position, len: 2 })
            }
            Eol::Lf => find_byte(chunks, from, |byte| byte == b'\n'),
            Eol::Nul => find_byte(chunks, from, |byte| byte == 0),
        }
    }

    /// Takes the first line, without its end of line, which is dropped; `None` if there is no end of line yet.
    ///
    /// The line may contain any bytes, 0 included.
    /// # Errors
    /// [`Error::Frozen`] if the front is frozen; [`Error::NotLoaded`] if there is no end of line in memory, and there are
    /// bytes of files behind that.
    /// # Libevent
    /// `evbuffer_readln`; with [`Eol::Any`] also `evbuffer_readline`. Differs: no 0 is put behind the line.
    /// # Examples
    /// ```
    /// # use bufferevent_evbuffer::{Eol, Evbuffer};
    /// let mut buffer = Evbuffer::from(b"one\r\ntwo");
    /// assert_eq!(buffer.readln(Eol::Crlf)?, Some(b"one".to_vec()));
    /// assert_eq!(buffer.readln(Eol::Crlf)?, None);
    /// assert_eq!(buffer, b"two");
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_readln")]
    #[doc(alias = "evbuffer_readline")]
    pub fn readln(&mut self, eol: Eol) -> Result<Option<Vec<u8>>, Error> {
        self.check_front()?;
        let Some(found) = self.search_eol(0, eol) else {
            self.check_loaded(self.len)?;
            return Ok(None);
        };
        let line = self.copy_of_front(found.position);
        self.discard(found.position + found.len);
        self.changed();
        Ok(Some(line))
    }
}

/// Finds `what` between the positions `start`, where `chunks` begins, and `end`.
pub(crate) fn find(mut chunks: Chunks<'_>, start: usize, end: usize, what: &[u8]) -> Option<usize> {
    let last = end.checked_sub(what.len()).filter(|&last| last >= start)?;
    let Some(&initial) = what.first() else { return Some(start) };
    let mut base = start;
    while let Some(chunk) = chunks.next() {
        let candidates = &chunk[..chunk.len().min(last - base + 1)];
        let mut at = 0;
        while let Some(k) = position_of(&candidates[at..], |byte| byte == initial) {
            at += k;
            if starts_with(&chunk[at..], chunks.clone(), what) {
                return Some(base + at);
            }
            at += 1;
        }
        base += chunk.len();
        if base > last {
            return None;
        }
    }
    None
}

/// Whether `first` and then `rest` begin with `what`.
fn starts_with(first: &[u8], mut rest: Chunks<'_>, what: &[u8]) -> bool {
    let mut piece = first;
    let mut left = what;
    loop {
        let k = piece.len().min(left.len());
        if piece[..k] != left[..k] {
            return false;
        }
        left = &left[k..];
        if left.is_empty() {
            return true;
        }
        match rest.next() {
            Some(next) => piece = next,
            None => return false,
        }
    }
}

/// Finds the first byte that `wanted` accepts; `chunks` begins at position `start`.
fn find_byte(chunks: Chunks<'_>, start: usize, wanted: impl Fn(u8) -> bool + Copy) -> Option<EolMatch> {
    let mut base = start;
    for chunk in chunks {
        if let Some(k) = position_of(chunk, wanted) {
            return Some(EolMatch { position: base + k, len: 1 });
        }
        base += chunk.len();
    }
    None
}

/// Finds the first run of `\r` and `\n`.
fn find_run(chunks: Chunks<'_>, start: usize) -> Option<EolMatch> {
    let in_run = |byte| byte == b'\n' || byte == b'\r';
    let found = find_byte(chunks.clone(), start, in_run)?;
    let mut behind = chunks;
    behind.skip_bytes(found.position - start);
    let len = behind.flatten().take_while(|&&byte| in_run(byte)).count();
    Some(EolMatch { len, ..found })
}

/// Finds the first `\n`, with the `\r` before it if that is not before `start`.
fn find_crlf(chunks: Chunks<'_>, start: usize) -> Option<EolMatch> {
    let newline = find_byte(chunks.clone(), start, |byte| byte == b'\n')?;
    if newline.position == start {
        return Some(newline);
    }
    let mut before = chunks;
    before.skip_bytes(newline.position - 1 - start);
    match before.first() {
        [b'\r', ..] => Some(EolMatch { position: newline.position - 1, len: 2 }),
        _ => Some(newline),
    }
}

/// The index of the first byte that `wanted` accepts. Looks at 32 at once, which compiles to vector code.
fn position_of(bytes: &[u8], wanted: impl Fn(u8) -> bool + Copy) -> Option<usize> {
    let skipped = bytes
        .chunks_exact(32)
        .take_while(|group| !group.iter().fold(false, |hit, &byte| hit | wanted(byte)))
        .count()
        * 32;
    bytes[skipped..].iter().position(|&byte| wanted(byte)).map(|k| skipped + k)
}
