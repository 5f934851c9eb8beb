//! Making buffers from other things, extending them, comparing them.

use bytes::Bytes;

use crate::Evbuffer;
use crate::segment::{Block, Segment};

impl From<&[u8]> for Evbuffer {
    /// Copies.
    fn from(data: &[u8]) -> Self {
        let mut buffer = Evbuffer::new();
        buffer.push_slice(data);
        buffer
    }
}

impl<const N: usize> From<&[u8; N]> for Evbuffer {
    /// Copies.
    fn from(data: &[u8; N]) -> Self {
        Evbuffer::from(&data[..])
    }
}

impl From<&str> for Evbuffer {
    /// Copies.
    fn from(text: &str) -> Self {
        Evbuffer::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for Evbuffer {
    /// Takes the vector over, without copying if its capacity is its length.
    fn from(data: Vec<u8>) -> Self {
        if data.is_empty() {
            return Evbuffer::new();
        }
        let filled = data.len();
        Evbuffer::with_segment(Segment::Owned(Block::filled(data.into_boxed_slice(), filled)))
    }
}

impl From<Bytes> for Evbuffer {
    /// Refers to the memory, without copying.
    fn from(data: Bytes) -> Self {
        if data.is_empty() {
            return Evbuffer::new();
        }
        Evbuffer::with_segment(Segment::Shared(data))
    }
}

/// Refers to each piece, as [`add_bytes`](Evbuffer::add_bytes). An iterator cannot be told of a refusal: what would
/// pass the limit, or come to a frozen back, is dropped from the first such piece on.
impl Extend<Bytes> for Evbuffer {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, pieces: I) {
        for piece in pieces {
            if self.add_bytes(piece).is_err() {
                return;
            }
        }
    }
}

/// Copies each piece, as [`add`](Evbuffer::add); refusals as for `Extend<Bytes>`.
impl<'a> Extend<&'a [u8]> for Evbuffer {
    fn extend<I: IntoIterator<Item = &'a [u8]>>(&mut self, pieces: I) {
        for piece in pieces {
            if self.add(piece).is_err() {
                return;
            }
        }
    }
}

/// Copies each byte, as [`add`](Evbuffer::add); refusals as for `Extend<Bytes>`.
impl Extend<u8> for Evbuffer {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        for byte in bytes {
            if self.add(&[byte]).is_err() {
                return;
            }
        }
    }
}

impl FromIterator<Bytes> for Evbuffer {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut buffer = Evbuffer::new();
        buffer.extend(pieces);
        buffer
    }
}

impl<'a> FromIterator<&'a [u8]> for Evbuffer {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(pieces: I) -> Self {
        let mut buffer = Evbuffer::new();
        buffer.extend(pieces);
        buffer
    }
}

impl PartialEq for Evbuffer {
    /// Compares the bytes, however they are cut into segments. Those of files that are not read equal none, so that this
    /// is no `Eq`.
    fn eq(&self, other: &Evbuffer) -> bool {
        self.len == other.len
            && self.unloaded() + other.unloaded() == 0
            && same_bytes(self.chunks(), other.chunks())
    }
}

impl PartialEq<[u8]> for Evbuffer {
    fn eq(&self, other: &[u8]) -> bool {
        self.len == other.len() && self.unloaded() == 0 && same_bytes(self.chunks(), [other])
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Evbuffer {
    fn eq(&self, other: &[u8; N]) -> bool {
        *self == other[..]
    }
}

impl PartialEq<Vec<u8>> for Evbuffer {
    fn eq(&self, other: &Vec<u8>) -> bool {
        *self == other[..]
    }
}

impl PartialEq<str> for Evbuffer {
    fn eq(&self, other: &str) -> bool {
        *self == *other.as_bytes()
    }
}

impl<T: ?Sized> PartialEq<&T> for Evbuffer
where
    Evbuffer: PartialEq<T>,
{
    fn eq(&self, other: &&T) -> bool {
        *self == **other
    }
}

/// Whether two sequences of pieces of the same total length hold the same bytes.
fn same_bytes<'a>(
    left: impl IntoIterator<Item = &'a [u8]>,
    right: impl IntoIterator<Item = &'a [u8]>,
) -> bool {
    let mut right = right.into_iter();
    let mut theirs: &[u8] = &[];
    for mut ours in left {
        while !ours.is_empty() {
            if theirs.is_empty() {
                match right.next() {
                    Some(next) => theirs = next,
                    None => return false,
                }
            }
            let k = ours.len().min(theirs.len());
            if ours[..k] != theirs[..k] {
                return false;
            }
            ours = &ours[k..];
            theirs = &theirs[k..];
        }
    }
    true
}
