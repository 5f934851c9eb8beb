//! Freezing an end, and the limit: the two reasons to refuse.

use std::fmt;

use crate::{Error, Evbuffer};

/// One end of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Where data is removed and prepended.
    Front,
    /// Where data is added.
    Back,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Front => "front",
            End::Back => "back",
        })
    }
}

impl Evbuffer {
    /// Freezes one end: until [`unfreeze`](Evbuffer::unfreeze), every call that would change that end is refused.
    ///
    /// * Front: drain, remove, prepend, moving data out, taking, reading lines, writing to a sink. Copying out is
    ///   refused too, as in libevent; [`chunks`](Evbuffer::chunks), [`peek`](Evbuffer::peek) and the searches still
    ///   show the data.
    /// * Back: add, reserve, expand, moving data in, reading from a source.
    ///
    /// The owner of a buffer freezes the end it works on itself: a user must not drain what is being written to a
    /// socket. Freezing is not counted: freezing twice needs one `unfreeze`.
    /// # Libevent
    /// `evbuffer_freeze`. Differs: `expand` is refused at a frozen back.
    /// # Examples
    /// ```
    /// use bufferevent_evbuffer::{End, Error, Evbuffer};
    ///
    /// let mut output = Evbuffer::from(b"being sent");
    /// output.freeze(End::Front);
    /// assert_eq!(output.drain(5), Err(Error::Frozen { end: End::Front }));
    /// output.add(b", and more")?;                 // the back is still open
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "evbuffer_freeze")]
    pub fn freeze(&mut self, end: End) {
        self.frozen.set(end, true);
    }

    /// Undoes [`freeze`](Evbuffer::freeze).
    /// # Libevent
    /// `evbuffer_unfreeze`.
    #[doc(alias = "evbuffer_unfreeze")]
    pub fn unfreeze(&mut self, end: End) {
        self.frozen.set(end, false);
    }

    /// Sets the most the buffer may hold in memory, in bytes; `None` (the default) for no limit.
    ///
    /// Bytes of [files](crate#files) count from when they are read, which the limit does not hinder: there may be one block
    /// of 64 KiB more.
    ///
    /// The limit itself may be reached. From here on a call that would pass it is refused whole with
    /// [`Error::Full`] and moves nothing. What is in the buffer already stays, also when it is more than that.
    /// # Libevent
    /// No counterpart: a buffer there grows until memory ends.
    /// # Examples
    /// ```
    /// use bufferevent_evbuffer::Evbuffer;
    ///
    /// let mut buffer = Evbuffer::new();
    /// buffer.set_limit(Some(4));
    /// buffer.add(b"four")?;
    /// assert!(buffer.add(b"!").is_err());
    /// assert_eq!((buffer.len(), buffer.room()), (4, 0));
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    pub fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit.unwrap_or(usize::MAX);
    }

    /// Whether that end is frozen.
    pub fn is_frozen(&self, end: End) -> bool {
        self.frozen.get(end)
    }

    /// The most the buffer may hold in memory, in bytes; `None` for no limit.
    pub fn limit(&self) -> Option<usize> {
        (self.limit != usize::MAX).then_some(self.limit)
    }

    /// How many bytes may still be added before the limit; what is left of `usize::MAX` where none is set.
    #[inline]
    pub fn room(&self) -> usize {
        match &self.rare {
            None => self.limit.saturating_sub(self.len),
            Some(rare) => self.limit.saturating_sub(self.len - rare.unloaded).min(usize::MAX - self.len),
        }
    }

    /// Refuses `n` more bytes at the back if it is frozen or they do not fit.
    #[inline]
    pub(crate) fn check_back(&self, n: usize) -> Result<(), Error> {
        if self.frozen.get(End::Back) {
            return Err(Error::Frozen { end: End::Back });
        }
        self.check_room(n)
    }

    /// Refuses `n` more bytes if they do not fit.
    #[inline(always)]
    pub(crate) fn check_room(&self, n: usize) -> Result<(), Error> {
        if n <= self.room() { Ok(()) } else { Err(self.full(n)) }
    }

    #[cold]
    fn full(&self, n: usize) -> Error {
        Error::Full { limit: self.limit, len: self.len - self.unloaded(), requested: n }
    }

    /// Refuses `n` more bytes, of a file, if they cannot be counted.
    pub(crate) fn check_len(&self, n: usize) -> Result<(), Error> {
        match self.len.checked_add(n) {
            Some(_) => Ok(()),
            None => Err(Error::Full { limit: usize::MAX, len: self.len, requested: n }),
        }
    }

    /// [`check_back`](Evbuffer::check_back) for the first `n` bytes of `other`.
    #[inline(always)]
    pub(crate) fn check_back_for(&self, other: &Evbuffer, n: usize) -> Result<(), Error> {
        if other.rare.is_none() {
            return self.check_back(n);
        }
        self.check_back(0)?;
        self.check_room_for(other, n)
    }

    /// [`check_room`](Evbuffer::check_room) for the first `n` bytes of `other`.
    #[inline(always)]
    pub(crate) fn check_room_for(&self, other: &Evbuffer, n: usize) -> Result<(), Error> {
        if other.rare.is_none() { self.check_room(n) } else { self.check_room_for_files(other, n) }
    }

    #[cold]
    fn check_room_for_files(&self, other: &Evbuffer, n: usize) -> Result<(), Error> {
        self.check_len(n)?;
        self.check_room(n - other.unloaded_in(n))
    }

    /// Refuses to touch a frozen front.
    #[inline]
    pub(crate) fn check_front(&self) -> Result<(), Error> {
        if self.frozen.get(End::Front) {
            return Err(Error::Frozen { end: End::Front });
        }
        Ok(())
    }
}

/// The frozen ends: bit 0 the front, bit 1 the back. Bits 2 and 3: the owner settles the buffer, and holds its observers
/// back, see [`Transport`](crate::transport::Transport).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Frozen(u8);

impl Frozen {
    #[inline]
    fn get(self, end: End) -> bool {
        self.0 & bit(end) != 0
    }

    /// Whether a block, with whatever data, may come from a buffer with `other`.
    #[inline]
    pub(crate) fn lets_swap(self, other: Self) -> bool {
        self.0 & (bit(End::Back) | SETTLED) == SETTLED && other.0 & bit(End::Front) == 0
    }

    /// Whether neither end is, and the owner does not settle it.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn is_settled(self) -> bool {
        self.0 & SETTLED != 0
    }

    /// As another who has the buffer meanwhile sees it.
    #[inline]
    pub(crate) fn while_lent(self) -> Self {
        Self(self.0 & SETTLED)
    }

    pub(crate) fn set_settled(&mut self) {
        self.0 |= SETTLED;
    }

    pub(crate) fn is_held(self) -> bool {
        self.0 & HELD != 0
    }

    #[inline]
    pub(crate) fn set_held(&mut self, on: bool) {
        self.set_bit(HELD, on);
    }

    fn set(&mut self, end: End, on: bool) {
        self.set_bit(bit(end), on);
    }

    #[inline]
    fn set_bit(&mut self, bit: u8, on: bool) {
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }
}

const SETTLED: u8 = 4;
const HELD: u8 = 8;

#[inline]
const fn bit(end: End) -> u8 {
    match end {
        End::Front => 1,
        End::Back => 2,
    }
}
