//! Compression: what is sent is deflated, what is received inflated (RFC 1950).

mod deflate;
mod inflate;

use std::{error, fmt};

use bufferevent::{Evbuffer, Filter, FilterCall, FilterError, FilterStatus, FlushMode, evbuffer};
use flate2::{CompressError, DecompressError, Status};

pub use self::{deflate::Deflate, inflate::Inflate};

/// Deflates what is sent, inflates what is received.
///
/// A flush makes all that was written readable at the other end, and costs some bytes; the end finishes the stream. What is
/// written after an end is a new stream, what is received behind one is the next. Where nothing was written nothing is
/// sent: there is no empty stream.
///
/// A call gives what there is room for, and of much input little more than 64 KiB. So a little that inflates to very much
/// waits, as little, until there is room again. The filter itself holds up to 400 KiB, which no limit counts.
///
/// ```
/// use bufferevent::{Bufferevent, Handler, testing::{ManualBase, Wire}};
/// use examples::Zlib;
///
/// let (mut base, wire) = (ManualBase::new()?, Wire::new());
/// let builder = Bufferevent::scripted(&wire).filter(Zlib::new(6));
/// builder.configure(|bufferevent| drop(bufferevent.write(&[b'a'; 10_000]))).start(&mut base)?;
/// drop(base); // which closes it
/// assert!(wire.written().len() < 100);
/// # Ok::<(), bufferevent::Error>(())
/// ```
pub struct Zlib {
    deflate: Deflate,
    inflate: Inflate,
    always_flushes: bool,
}

/// Why a stream cannot be inflated, or deflated.
#[derive(Debug)]
#[non_exhaustive]
pub enum ZlibError {
    /// What was received is no stream, or one that was damaged.
    Corrupt(DecompressError),
    /// What was received ended within a stream.
    Truncated,
    /// What was to be sent could not be deflated.
    Deflate(CompressError),
    /// A buffer refused to be changed.
    Buffer(evbuffer::Error),
}

impl Zlib {
    /// * `level`: 0 (none) to 9 (smallest); 6 is zlib's default.
    pub fn new(level: u32) -> Self {
        Self { deflate: Deflate::new(level), inflate: Inflate::default(), always_flushes: false }
    }

    /// Flushes what is sent at each call, for some more bytes: for a proxy, which does not know when somebody waits.
    pub fn flushing(mut self) -> Self {
        self.always_flushes = true;
        self
    }
}

impl Filter for Zlib {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let (room, mode) = (call.room(), call.mode());
        Ok(self.inflate.run(call.source, call.destination, room, mode)?)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let mode = match call.mode() {
            FlushMode::Normal if self.always_flushes => FlushMode::Flush,
            mode => mode,
        };
        let room = call.room();
        Ok(self.deflate.run(call.source, call.destination, room, mode)?)
    }
}

impl fmt::Display for ZlibError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ZlibError::Corrupt(_) => "what was received is no zlib stream",
            ZlibError::Truncated => "what was received ended within a zlib stream",
            ZlibError::Deflate(_) => "what was to be sent could not be deflated",
            ZlibError::Buffer(_) => "a buffer refused to be changed",
        })
    }
}

impl error::Error for ZlibError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ZlibError::Corrupt(error) => Some(error),
            ZlibError::Truncated => None,
            ZlibError::Deflate(error) => Some(error),
            ZlibError::Buffer(error) => Some(error),
        }
    }
}

/// What a codec did with a piece of the source and a space in the destination.
struct Step {
    status: Status,
    given: usize,
    /// It gave as much as there was space for.
    filled: bool,
}

/// Has `codec` do the first piece of `source` into at most `room` bytes. It tells what it took and what it gave.
fn step(
    source: &mut Evbuffer,
    destination: &mut Evbuffer,
    room: usize,
    codec: impl FnOnce(&[u8], &mut [u8]) -> Result<(Status, u64, u64), ZlibError>,
) -> Result<Step, ZlibError> {
    let mut space = destination.reserve_contiguous(room.min(BLOCK)).map_err(ZlibError::Buffer)?;
    let slice = space.as_mut_slice();
    let len = slice.len().min(room);
    let piece = source.chunks().next().unwrap_or_default();
    let (status, taken, given) = codec(piece, &mut slice[..len])?;
    let (taken, given) = (taken as usize, given as usize);
    space.commit(given).map_err(ZlibError::Buffer)?;
    source.drain(taken).map_err(ZlibError::Buffer)?;
    Ok(Step { status, given, filled: given == len })
}

/// The least space that a codec is given at a time, if there is room.
const BLOCK: usize = 4096;
