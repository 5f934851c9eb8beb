//! Lines: only whole ones come up.

use std::{error, fmt};

use bufferevent::{Evbuffer, Filter, FilterCall, FilterError, FilterStatus, FlushMode, evbuffer};

/// Lets only whole lines through to the input.
///
/// A line ends with LF or CR LF, and keeps that. So a read callback finds whole lines alone, and takes them with
/// `readln(Eol::Crlf)`. Behind the last line, what has no end when the peer ends comes up as it is. What is sent passes
/// as it is.
///
/// The line that has begun is kept here, not below, and has a bound: one that is longer is an error, and so is one that
/// passes the cap of the input. While there is room for other lines only, it waits.
///
/// ```
/// use bufferevent::{BaseExt, Bufferevent, NoHandler, testing::{ManualBase, Wire}};
/// use examples::Lines;
///
/// let (mut base, wire) = (ManualBase::new()?, Wire::new());
/// let id = Bufferevent::scripted(&wire).filter(Lines::new(80)).handler(NoHandler).start(&mut base)?;
/// wire.deliver(b"whole\nha");
/// base.settle()?;
/// assert_eq!(*base.bufferevent(id)?.input(), b"whole\n"[..]);
/// # Ok::<(), bufferevent::Error>(())
/// ```
pub struct Lines {
    begun: Evbuffer,
    longest: usize,
    /// The most that any destination has had room for: what has more will never fit.
    widest: usize,
}

/// Why lines cannot come up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError {
    /// A line has more bytes than were agreed on, its end not counted.
    TooLong {
        /// What was agreed on, in bytes.
        longest: usize,
    },
    /// The buffer refused to be changed.
    Buffer(evbuffer::Error),
}

impl Lines {
    /// * `longest`: how many bytes a line may have, its end not counted.
    pub fn new(longest: usize) -> Self {
        Self { begun: Evbuffer::new(), longest, widest: 0 }
    }

    /// Moves whole lines from `source` to `destination` until that has got `room` bytes. `Ok` if it needs more room to go on.
    ///
    /// # Errors
    /// [`LineError::TooLong`], behind the lines that come before; [`LineError::Buffer`] of a line that passes the limit
    /// of an empty destination.
    pub fn run(
        &mut self,
        source: &mut Evbuffer,
        destination: &mut Evbuffer,
        room: usize,
        mode: FlushMode,
    ) -> Result<FilterStatus, LineError> {
        let enough = destination.len().saturating_add(room);
        self.widest = self.widest.max(destination.room());
        while !source.is_empty() {
            let end = source.search(b"\n", 0).map(|at| at + 1);
            let len = end.unwrap_or(source.len());
            let line = end.map_or(0, |end| self.begun.len() + end);
            if destination.len() >= enough || line > destination.room() && line <= self.widest {
                return Ok(FilterStatus::Ok);
            }
            source.move_to(&mut self.begun, len).map_err(LineError::Buffer)?;
            if text_len(&self.begun) > self.longest {
                return Err(LineError::TooLong { longest: self.longest });
            }
            if end.is_some() {
                destination.append(&mut self.begun).map_err(LineError::Buffer)?;
            }
        }
        if mode == FlushMode::Finished {
            destination.append(&mut self.begun).map_err(LineError::Buffer)?;
        }
        Ok(FilterStatus::NeedMore)
    }
}

impl Filter for Lines {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let (room, mode) = (call.room(), call.mode());
        Ok(self.run(call.source, call.destination, room, mode)?)
    }
}

/// How long a line is without its end, or what may become its end.
fn text_len(line: &Evbuffer) -> usize {
    let mut last = [0; 2];
    let from = line.len().saturating_sub(2);
    let n = line.copy_out_from(from, &mut last).unwrap_or(0);
    line.len()
        - match &last[..n] {
            b"\r\n" => 2,
            [.., b'\n' | b'\r'] => 1,
            _ => 0,
        }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::TooLong { longest } => write!(f, "a line has more than {longest} bytes"),
            LineError::Buffer(_) => f.write_str("a buffer refused to be changed"),
        }
    }
}

impl error::Error for LineError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            LineError::TooLong { .. } => None,
            LineError::Buffer(error) => Some(error),
        }
    }
}
