//! From a stream to plain bytes.

use bufferevent::{Evbuffer, FilterStatus, FlushMode};
use flate2::{Decompress, FlushDecompress, Status};

use super::{ZlibError, step};

/// Inflates from buffer to buffer.
pub struct Inflate {
    stream: Decompress,
    /// The last step filled its space: there may be more without more source.
    has_more: bool,
}

impl Default for Inflate {
    fn default() -> Self {
        Self { stream: Decompress::new(true), has_more: false }
    }
}

impl Inflate {
    /// Inflates what `source` holds to at most `room` bytes. `Ok` if there is more.
    ///
    /// # Errors
    /// [`ZlibError::Corrupt`] and, if `mode` says that nothing more comes, [`ZlibError::Truncated`];
    /// [`ZlibError::Buffer`]. What was inflated before is in `destination`.
    pub fn run(
        &mut self,
        source: &mut Evbuffer,
        destination: &mut Evbuffer,
        room: usize,
        mode: FlushMode,
    ) -> Result<FilterStatus, ZlibError> {
        let mut left = room;
        while !source.is_empty() || self.has_more {
            // It is called again as long as there is source: that what it has taken is given too keeps it from waiting for more.
            if left == 0 || room - left >= AT_A_TIME && !source.is_empty() {
                return Ok(FilterStatus::Ok);
            }
            let stream = &mut self.stream;
            let step = step(source, destination, left, |piece, space| {
                let (taken, given) = (stream.total_in(), stream.total_out());
                let status =
                    stream.decompress(piece, space, FlushDecompress::None).map_err(ZlibError::Corrupt)?;
                Ok((status, stream.total_in() - taken, stream.total_out() - given))
            })?;
            left -= step.given;
            self.has_more = step.filled;
            if step.status == Status::StreamEnd {
                self.stream.reset(true);
                self.has_more = false;
            }
        }
        match mode {
            FlushMode::Finished if self.stream.total_in() > 0 => Err(ZlibError::Truncated),
            _ => Ok(FilterStatus::NeedMore),
        }
    }
}

/// How much it gives before it takes more in the same call.
const AT_A_TIME: usize = 64 * 1024;
