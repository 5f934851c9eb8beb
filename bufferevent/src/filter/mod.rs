//! Filtering bufferevents: one that owns another, and changes what passes between the two.
//!
//! A stack of any depth is one bufferevent: ownership nests, so there is one strand, one handler, one name. The engine of the
//! upper one drives the lower one: what is due below is consumed above. [`side`] says, for each direction, whether
//! calling the filter would bring anything; [`layer`] calls it, on buffers lent for the call; `steps` nests the runs,
//! `ending` the closes.

mod bell;
mod ending;
mod flushing;
mod given;
mod handshake;
mod layer;
mod loan;
mod plain;
mod side;
mod steps;

use std::{any::Any, fmt, task::Waker, time::Duration};

use bufferevent_evbuffer::Evbuffer;
use bufferevent_runtime::Time;

use self::bell::Belfry;
pub(crate) use self::layer::Layer;
use self::layer::Replies;
use crate::{bufferevent::Home, defaults::HANDSHAKE_TIMEOUT, interest::Interest};

/// Changes what passes through a bufferevent that is made by [`Builder::filter`](crate::Builder::filter).
///
/// Each call takes bytes out of the front of a source and puts what they become at the back of a destination. It may keep
/// bytes to itself, take none, or make more or less of them. A direction that is not given passes everything as it is.
///
/// It sees bytes, not writes: three writes may be one call, and one write several. To have a frame for each write, frame it
/// before it is written, or have the writer put a length in front that the filter goes by.
///
/// It is `Send` on every base, also a [`Pinned`](crate::Pinned) one.
///
/// ```
/// use bufferevent::{Bufferevent, Filter, FilterCall, FilterError, FilterStatus, testing::{ManualBase, Wire}};
///
/// /// Sends each byte twice.
/// struct Twice;
///
/// impl Filter for Twice {
///     fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
///         let n = call.source.len().min(call.limit().div_ceil(2));
///         for byte in call.source.take_bytes(n)? {
///             call.destination.add(&[byte, byte])?;
///         }
///         Ok(FilterStatus::Ok)
///     }
/// }
///
/// let (mut base, wire) = (ManualBase::new()?, Wire::new());
/// let builder = Bufferevent::scripted(&wire).filter(Twice);
/// builder.configure(|bufferevent| drop(bufferevent.write(b"abc"))).start(&mut base)?;
/// base.settle()?;
/// assert_eq!(wire.written(), b"aabbcc");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// # Locks
/// The strand of a THREADSAFE bufferevent is held, also with UNLOCK_CALLBACKS. A filter sees buffers only; its own
/// bufferevent it reaches by a [`Handle`](crate::Handle), whose operations take effect after the call.
/// # Libevent
/// `bufferevent_filter_cb`, twice, and their context, which is dropped exactly once. Differs: an error is an
/// [`Event::Error`](crate::Event::Error) and stops its direction; both sides see [`FlushMode::Finished`] at the end.
#[doc(alias = "bufferevent_filter_cb")]
pub trait Filter: Any + Send {
    /// What arrives: takes from what was received below, appends to the input.
    ///
    /// # Errors
    /// Any: reading stops and is disabled, and [`Event::Error`](crate::Event::Error) with
    /// [`Cause::Filter`](crate::Cause::Filter) is told. What was put into the destination before that is kept.
    ///
    /// What is left in the source after the last call in mode [`FlushMode::Finished`] is dropped, and only counted
    /// ([`Closed::unfiltered`](crate::Closed::unfiltered)): answer an error if it is half a message.
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        call.pass()
    }

    /// What is sent: takes from the output, appends to the output below.
    ///
    /// # Errors
    /// Any, as [`Filter::input`]: writing stops and is disabled. A close after that sends what was put into the destination, and
    /// drops what is left above. In a close no event tells it: it is the [`cause`](crate::Closed::cause) that
    /// [`Event::Closed`](crate::Event::Closed) and [`close_and_wait`](crate::Handle::close_and_wait) tell.
    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        call.pass()
    }

    /// Whether something is exchanged with the peer before the connection stands for who is above: see
    /// [`handshake`](Filter::handshake).
    fn has_handshake(&self) -> bool {
        false
    }

    /// What is exchanged before the connection stands for who is above, of a filter that [has](Filter::has_handshake) it: takes
    /// what arrived from the source, appends what is sent back to the destination.
    ///
    /// Called once what is below is connected, and again whenever something has arrived or its [waker](FilterCall::waker) was
    /// woken, until it is [`Handshake::Done`]: that is when [`Event::Connected`](crate::Event::Connected) is told. Up to then it connects: nothing is read or written
    /// above, and `enable` and `disable` only set flags. In mode [`FlushMode::Finished`] nothing more will arrive.
    ///
    /// # Errors
    /// Any: the connect has failed, [`Event::Error`](crate::Event::Error) is told instead, and both directions are disabled, as an
    /// error of a filter does: what is below may still be open. What was put into the destination is sent.
    fn handshake(&mut self, call: &mut FilterCall<'_>) -> Result<Handshake, FilterError> {
        let _ = call;
        Ok(Handshake::Done)
    }

    /// Whether the peer says the first word of the [handshake](Filter::handshake), as it does to a server: then that is not
    /// called before something has arrived. Default: no.
    ///
    /// Of such handshakes [`HANDSHAKES`](bufferevent_runtime::HANDSHAKES) at most are [under
    /// way](bufferevent_runtime::BaseHandle::handshakes) on a base at once, from their first byte on: strangers begin them.
    /// Another one waits its turn, in order and within its timeout, and no more is read for it meanwhile. Of all handshakes, in
    /// one pass over what is ready, [`HANDSHAKES_PER_PASS`](bufferevent_runtime::HANDSHAKES_PER_PASS) calls are made: the rest is
    /// put off to the next pass, or made by an idle worker.
    fn waits_for_peer(&self) -> bool {
        false
    }

    /// How long the handshake may take, from when it begins; `None`: for ever. By default
    /// [`HANDSHAKE_TIMEOUT`]. Too long is
    /// [`TimeLimit::Handshake`](crate::TimeLimit::Handshake).
    fn handshake_timeout(&self) -> Option<Duration> {
        Some(HANDSHAKE_TIMEOUT)
    }

    /// There is another connection below, or none: what it knows of the one before is to be forgotten. What waited there to be
    /// sent or taken is dropped if it [has a handshake](Filter::has_handshake) then, which could not begin behind that.
    fn restart(&mut self) {}

    /// Directions in which it has something to give from before it was put here, or from its handshake: it is called for them
    /// though there is nothing in the source. Asked when it is put here, when its handshake is done, and when it was
    /// [reached](crate::Bufferevent::filter_mut) from above.
    fn holds(&self) -> Interest {
        Interest::NONE
    }

    /// How it tells the peer that nothing follows. Asked when a close begins. By default it does not: the end of what is below
    /// does.
    fn ending(&self) -> Ending {
        Ending::default()
    }

    /// Whether rate limits of the bufferevent count what is below the filter, not what is above: then they are set there. By
    /// default they count above.
    fn counts_below(&self) -> bool {
        false
    }
}

/// How a filter [tells](Filter::ending) the peer that nothing follows.
///
/// ```
/// use bufferevent::{
///     BaseExt, Bufferevent, Ending, Filter, FilterCall, FilterError, FilterStatus,
///     testing::{ManualBase, Wire},
/// };
///
/// /// Says `bye` at the end.
/// struct Polite;
///
/// impl Filter for Polite {
///     fn ending(&self) -> Ending {
///         Ending::Told
///     }
///
///     fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
///         call.pass()?;
///         if call.is_last() && call.source.is_empty() {
///             call.destination.add(b"bye")?;
///         }
///         Ok(FilterStatus::Ok)
///     }
/// }
///
/// let (mut base, wire) = (ManualBase::new()?, Wire::new());
/// let id = Bufferevent::scripted(&wire).filter(Polite).start(&mut base)?;
/// base.bufferevent(id)?.close();
/// base.settle()?;
/// assert!(wire.written() == b"bye" && wire.is_shut_down());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ending {
    /// By nothing of its own: the peer sees the end of what is below.
    #[default]
    Below,
    /// By a last message, which [`Filter::output`] gives once nothing follows, and which carries no data; the filter keeps none
    /// to itself either. Who misses it knows that more was to come. So a close that is [cut short](crate::Closing::cut_short)
    /// leaves it out, and ends what is below at once and in order; and nothing is lost if it alone cannot be sent.
    Told,
    /// As [`Told`](Ending::Told), and a close waits for that of the peer, until [`Filter::input`] says [`FilterStatus::End`]: what
    /// comes before that is given to the filter, and what becomes of it dropped, within the
    /// [linger](crate::Closing::linger). Without it the close is not [clean](crate::Closed::clean).
    Exchanged,
}

/// How far a [handshake](Filter::handshake) has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// It goes on when something arrives, or when its [waker](FilterCall::waker) is woken.
    Pending,
    /// The connection stands. What is left in the source is the first of what [`Filter::input`] takes.
    Done,
}

/// Why a filter cannot go on.
///
/// # Libevent
/// `BEV_ERROR`.
#[doc(alias = "BEV_ERROR")]
pub type FilterError = Box<dyn std::error::Error + Send + Sync>;

/// One call of a filter: what it takes from, and what it appends to.
///
/// Both buffers are lent for the call. What is left in the source goes back to the front of where it came from.
#[derive(Debug)]
pub struct FilterCall<'a> {
    /// What is there to be taken, from the front: all that has arrived; of the output, as much as one write sends, or more if
    /// the filter has said [`FilterStatus::NeedMore`] to that.
    pub source: &'a mut Evbuffer,
    /// Where what it becomes is appended. It takes no more than the cap of what is behind it has room for: more is refused
    /// with [`Full`](bufferevent_evbuffer::Error::Full).
    pub destination: &'a mut Evbuffer,
    /// Of an input.
    replies: Option<&'a mut Replies>,
    limit: usize,
    mode: FlushMode,
    last: bool,
    now: Time,
    bell: &'a mut Belfry,
    home: Option<&'a Home>,
}

impl FilterCall<'_> {
    /// Bytes that the destination should be given at most, by marks and rate limits; never 0. A filter whose pieces cannot
    /// be cut may go past it: that is a debt to the rate limit, and fills the buffer past its high mark.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that the destination should still be given.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.destination.len())
    }

    /// Whether the filter should give what it keeps.
    #[must_use]
    pub fn mode(&self) -> FlushMode {
        self.mode
    }

    /// Whether nothing follows, ever: after a flush that says [`FlushMode::Finished`] more may.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.last && self.mode == FlushMode::Finished
    }

    /// Where what goes to the peer is appended, behind all that was sent before: in [`Filter::input`] an answer of the filter's
    /// own, which no limit, mark or timeout of who is above counts; else this is the destination. Once our side has ended below, an
    /// answer is dropped.
    #[must_use]
    pub fn reply(&mut self) -> &mut Evbuffer {
        match &mut self.replies {
            Some(replies) => replies.buffer(),
            None => self.destination,
        }
    }

    /// The time on the clock of its base.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// What has the filter called again although no byte has come: in its handshake as long as that is not over, else for what
    /// it may give in either direction. So it can wait for something else than the peer, or poll a future.
    ///
    /// It may be cloned, kept, and woken from any thread and any callback, which never waits. Woken often before the call, it
    /// brings one call; it finds a bufferevent that has [moved](crate::Context::set_base), and does nothing once that is gone. It
    /// is good for as long as the bufferevent, and every one of a filter is the same. A call may come without it too.
    #[must_use]
    pub fn waker(&mut self) -> Waker {
        self.bell.waker(self.home)
    }

    /// Moves bytes as they are, copying none, as far as the limit lets. What a direction without a filter does.
    ///
    /// # Errors
    /// [`Error::Full`](bufferevent_evbuffer::Error::Full) if the destination takes no more.
    pub fn pass(&mut self) -> Result<FilterStatus, FilterError> {
        let room = self.room();
        self.source.move_to(self.destination, room)?;
        Ok(FilterStatus::Ok)
    }
}

/// What a filter says of a call that went well.
///
/// # Libevent
/// `enum bufferevent_filter_result`.
#[doc(alias = "bufferevent_filter_result")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterStatus {
    /// It may be called again: at once if it has left something in its source, or has filled the limit. If it has neither taken nor
    /// given anything, it is called again when there is more in the source or more room, or when the other direction has got on.
    #[doc(alias = "BEV_OK")]
    Ok,
    /// It can do nothing until there is more in its source, or it is called in another mode.
    #[doc(alias = "BEV_NEED_MORE")]
    NeedMore,
    /// Of an input: nothing follows, though what is below may still be open. The filter is not called for the input again, and
    /// [`Event::Eof`](crate::Event::Eof) is told. Of an output it means [`NeedMore`](FilterStatus::NeedMore).
    End,
}

/// How hard a flush pushes.
///
/// # Libevent
/// `enum bufferevent_flush_mode`.
#[doc(alias = "bufferevent_flush_mode")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FlushMode {
    /// As usual: what can be done well is done.
    #[default]
    #[doc(alias = "BEV_NORMAL")]
    Normal,
    /// All that can be given is to be given, though more may follow.
    #[doc(alias = "BEV_FLUSH")]
    Flush,
    /// Nothing follows: the rest is to be given. A filter is called so once for each direction before its end, and again
    /// while it takes more, or fills what it may give. What is left in the source then is dropped: answer an error if it is
    /// half a message. A [`flush`](crate::Bufferevent::flush) may say so too, and then more may follow: what comes after that
    /// is a beginning.
    #[doc(alias = "BEV_FINISHED")]
    Finished,
}

/// Closures as a filter. A side that is not set passes everything as it is.
///
/// ```
/// use bufferevent::{Bufferevent, FilterFn, FilterStatus};
///
/// let mut passed = 0;
/// let count = FilterFn::new().on_input(move |call| {
///     passed += call.source.len();
///     call.pass()
/// });
/// let builder = Bufferevent::detached().filter(count);
/// # drop(builder);
/// ```
/// # Libevent
/// The two functions of `bufferevent_filter_new`, either of which may be NULL.
pub struct FilterFn<I = (), O = ()> {
    input: I,
    output: O,
}

impl FilterFn {
    /// Passes everything, both ways.
    #[must_use]
    pub fn new() -> Self {
        Self { input: (), output: () }
    }
}

impl Default for FilterFn {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, O> FilterFn<I, O> {
    /// Sets what [`Filter::input`] calls.
    pub fn on_input<F>(self, input: F) -> FilterFn<SideFn<F>, O>
    where
        F: FnMut(&mut FilterCall<'_>) -> Result<FilterStatus, FilterError> + Send + 'static,
    {
        FilterFn { input: SideFn(input), output: self.output }
    }

    /// Sets what [`Filter::output`] calls.
    pub fn on_output<F>(self, output: F) -> FilterFn<I, SideFn<F>>
    where
        F: FnMut(&mut FilterCall<'_>) -> Result<FilterStatus, FilterError> + Send + 'static,
    {
        FilterFn { input: self.input, output: SideFn(output) }
    }
}

impl<I: FilterSide, O: FilterSide> Filter for FilterFn<I, O> {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.input.call(call)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.output.call(call)
    }
}

impl<I, O> fmt::Debug for FilterFn<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterFn").finish_non_exhaustive()
    }
}

/// A closure in a [`FilterFn`].
#[derive(Debug)]
pub struct SideFn<F>(F);

/// One side of a [`FilterFn`]: a closure, or nothing.
pub trait FilterSide: Send + 'static {
    /// Calls it.
    ///
    /// # Errors
    /// What the closure answers.
    fn call(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError>;
}

impl FilterSide for () {
    fn call(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        call.pass()
    }
}

impl<F> FilterSide for SideFn<F>
where
    F: FnMut(&mut FilterCall<'_>) -> Result<FilterStatus, FilterError> + Send + 'static,
{
    fn call(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        (self.0)(call)
    }
}
