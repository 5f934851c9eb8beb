//! From plain bytes to a stream.

use bufferevent::{Evbuffer, FilterStatus, FlushMode};
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{ZlibError, step};

/// Deflates from buffer to buffer.
pub struct Deflate {
    stream: Compress,
    /// How much of the source everything is on its way of.
    flushed: u64,
    /// What was asked for, and is not done while there is no room.
    asked: FlushMode,
}

impl Deflate {
    /// * `level`: 0 to 9.
    pub fn new(level: u32) -> Self {
        let stream = Compress::new(Compression::new(level.min(9)), true);
        Self { stream, flushed: 0, asked: FlushMode::Normal }
    }

    /// Deflates what `source` holds to at most `room` bytes. `Ok` if it needs more room to go on.
    ///
    /// # Errors
    /// [`ZlibError::Buffer`], [`ZlibError::Deflate`].
    pub fn run(
        &mut self,
        source: &mut Evbuffer,
        destination: &mut Evbuffer,
        room: usize,
        mode: FlushMode,
    ) -> Result<FilterStatus, ZlibError> {
        if mode != FlushMode::Normal {
            self.asked = mode;
        }
        let mut left = room;
        while !source.is_empty() || self.owes() {
            if left == 0 {
                return Ok(FilterStatus::Ok);
            }
            let is_last = source.contiguous_len() == source.len();
            let flush = if is_last { flush_for(self.asked) } else { FlushCompress::None };
            let stream = &mut self.stream;
            let step = step(source, destination, left, |piece, space| {
                let (taken, given) = (stream.total_in(), stream.total_out());
                let status = stream.compress(piece, space, flush).map_err(ZlibError::Deflate)?;
                Ok((status, stream.total_in() - taken, stream.total_out() - given))
            })?;
            left -= step.given;
            if flush != FlushCompress::None && source.is_empty() && !step.filled {
                self.flushed = self.stream.total_in();
            }
            if step.status == Status::StreamEnd {
                self.stream.reset();
                self.flushed = 0;
            }
        }
        self.asked = FlushMode::Normal;
        Ok(FilterStatus::NeedMore)
    }

    /// Whether a flush has to give something yet.
    fn owes(&self) -> bool {
        match self.asked {
            FlushMode::Normal => false,
            FlushMode::Flush => self.stream.total_in() > self.flushed,
            FlushMode::Finished => self.stream.total_in() > 0,
        }
    }
}

fn flush_for(mode: FlushMode) -> FlushCompress {
    match mode {
        FlushMode::Normal => FlushCompress::None,
        FlushMode::Flush => FlushCompress::Sync,
        FlushMode::Finished => FlushCompress::Finish,
    }
}
