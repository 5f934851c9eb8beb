//! A buffer that is lent to a filter for one call.

use bufferevent_evbuffer::{
    Error, Evbuffer,
    transport::{self, Transport},
};

/// What a call sees of a buffer: what is frozen, capped or observed there is none of its business.
///
/// It is the buffer itself where all of it is lent and nobody observes it, which is nearly always; else another, which its bytes
/// are moved to and from.
pub(super) enum Loan {
    Itself(transport::Loan),
    Other(Evbuffer),
}

impl Loan {
    /// Lends the first `n` bytes of `source`.
    #[inline]
    pub(super) fn of_source(source: &mut Evbuffer, n: usize) -> Self {
        if n >= source.len() && source.is_plain() {
            return Self::Itself(source.begin_loan(usize::MAX));
        }
        let mut lent = scratch();
        source.lend(&mut lent, n);
        Self::Other(lent)
    }

    /// Lends an empty buffer for what goes into `destination`, with a limit of `room` bytes.
    #[inline]
    pub(super) fn of_destination(destination: &mut Evbuffer, room: usize) -> Self {
        if destination.is_empty() && destination.is_plain() {
            return Self::Itself(destination.begin_loan(room));
        }
        let mut made = scratch();
        made.set_limit(Some(room));
        Self::Other(made)
    }

    /// The buffer that is lent, of `owner`.
    #[inline]
    pub(super) fn buffer<'a>(&'a mut self, owner: &'a mut Evbuffer) -> &'a mut Evbuffer {
        match self {
            Self::Itself(_) => owner,
            Self::Other(other) => other,
        }
    }

    /// Puts what was left back to the front of the source; gives the number of bytes.
    #[inline]
    pub(super) fn end_of_source(&mut self, source: &mut Evbuffer) -> usize {
        match self {
            Self::Itself(loan) => {
                source.end_loan(*loan);
                source.len()
            }
            Self::Other(lent) => {
                let left = lent.len();
                source.take_back(lent);
                left
            }
        }
    }

    /// Puts what was made to the back of the destination; gives the number of bytes.
    #[inline]
    pub(super) fn end_of_destination(&mut self, destination: &mut Evbuffer) -> Result<usize, Error> {
        match self {
            Self::Itself(loan) => {
                destination.end_loan(*loan);
                Ok(destination.len())
            }
            Self::Other(made) => made.pass_on(destination, usize::MAX),
        }
    }
}

/// A buffer that whoever owns the other settles.
pub(super) fn scratch() -> Evbuffer {
    let mut buffer = Evbuffer::new();
    buffer.set_settled();
    buffer
}
