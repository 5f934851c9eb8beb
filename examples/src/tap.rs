//! A tap: counts what passes, and shows it.

use bufferevent::{Direction, Evbuffer, Filter, FilterCall, FilterError, FilterStatus};

/// Counts what passes both ways, and shows it, unchanged.
///
/// What is shown refers to the memory of what passes (pieces of less than 1 KiB are copied), and may be kept, written to
/// another bufferevent, or dropped.
///
/// ```
/// use bufferevent::{BaseExt, Bufferevent, NoHandler, testing::{ManualBase, Wire}};
/// use examples::Tap;
///
/// let (mut base, wire) = (ManualBase::new()?, Wire::new());
/// let tap = Tap::new(|passed| println!("{:?}: {} bytes so far", passed.direction, passed.total));
/// let id = Bufferevent::scripted(&wire).filter(tap).handler(NoHandler).start(&mut base)?;
/// base.bufferevent(id)?.write(b"as it is")?;
/// base.settle()?;
/// assert_eq!(wire.written(), b"as it is");
/// # Ok::<(), bufferevent::Error>(())
/// ```
pub struct Tap<F> {
    totals: [u64; 2],
    show: F,
}

/// Some bytes that pass.
#[derive(Debug)]
pub struct Passed {
    /// `Read`: they were received; `Write`: they are sent.
    pub direction: Direction,
    /// How many have passed in that direction, with these.
    pub total: u64,
    /// The bytes.
    pub bytes: Evbuffer,
}

impl<F: FnMut(Passed) + Send + 'static> Tap<F> {
    /// * `show`: is called with all that passes, in order. It must not wait, since its bufferevent does meanwhile.
    pub fn new(show: F) -> Self {
        Self { totals: [0; 2], show }
    }

    fn pass(&mut self, direction: Direction, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let (mut passing, mut bytes) = (Evbuffer::new(), Evbuffer::new());
        let n = call.source.move_to(&mut passing, call.room())?;
        if n > 0 {
            bytes.add_buffer_reference(&mut passing)?;
            call.destination.append(&mut passing)?;
            let total = &mut self.totals[usize::from(direction == Direction::Write)];
            *total += n as u64;
            (self.show)(Passed { direction, total: *total, bytes });
        }
        Ok(FilterStatus::Ok)
    }
}

impl<F: FnMut(Passed) + Send + 'static> Filter for Tap<F> {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.pass(Direction::Read, call)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.pass(Direction::Write, call)
    }
}
