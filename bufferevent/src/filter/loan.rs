//! The buffers that are lent to a filter for one call.

use bufferevent_evbuffer::{
    Error, Evbuffer,
    transport::{self, Transport},
};

/// What a call sees of two buffers: what is frozen, capped or observed there is none of its business.
pub(super) enum Loan {
    /// They themselves: all of the source is lent, the destination is empty and nobody observes them, which is nearly always so.
    Themselves([transport::Loan; 2]),
    /// Others, which the bytes are moved to and from.
    Others(Box<[Evbuffer; 2]>),
}

impl Loan {
    /// Lends the first `n` bytes of `source`, and what goes into `destination` for at most `room` bytes.
    #[inline(always)]
    pub(super) fn begin(source: &mut Evbuffer, n: usize, destination: &mut Evbuffer, room: usize) -> Self {
        if n >= source.len() && destination.is_empty() && source.is_plain() && destination.is_plain() {
            return Self::Themselves([source.begin_loan(usize::MAX), destination.begin_loan(room)]);
        }
        Self::begin_with_others(source, n, room)
    }

    #[inline(never)]
    fn begin_with_others(source: &mut Evbuffer, n: usize, room: usize) -> Self {
        let mut others = Box::new([scratch(), scratch()]);
        let [lent, made] = &mut *others;
        source.lend(lent, n);
        made.set_limit(Some(room));
        Self::Others(others)
    }

    /// The two that are lent, of the two they are for.
    #[inline(always)]
    pub(super) fn buffers<'a>(
        &'a mut self,
        source: &'a mut Evbuffer,
        destination: &'a mut Evbuffer,
    ) -> [&'a mut Evbuffer; 2] {
        match self {
            Self::Themselves(_) => [source, destination],
            Self::Others(others) => others.each_mut(),
        }
    }

    /// Puts what was left back to the front of the source, and what was made to the back of the destination: the number of bytes
    /// of either.
    #[inline(always)]
    pub(super) fn end(
        self,
        source: &mut Evbuffer,
        destination: &mut Evbuffer,
    ) -> (usize, Result<usize, Error>) {
        match self {
            Self::Themselves([of_source, of_destination]) => {
                source.end_loan(of_source);
                destination.end_loan(of_destination);
                (source.len(), Ok(destination.len()))
            }
            Self::Others(mut others) => {
                let [lent, made] = &mut *others;
                let left = lent.len();
                source.take_back(lent);
                (left, made.pass_on(destination, usize::MAX))
            }
        }
    }
}

/// A buffer that whoever owns the other settles.
pub(super) fn scratch() -> Evbuffer {
    let mut buffer = Evbuffer::new();
    buffer.set_settled();
    buffer
}
