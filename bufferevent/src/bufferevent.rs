//! The bufferevent itself: its state, and every operation on it, written once.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd},
    sync::Arc,
};

use bufferevent_evbuffer::{End, Evbuffer, transport::Transport};
use bufferevent_runtime::{AnySelector, Key, Ready, Registered};
use socket2::SockAddr;

use crate::{
    defaults::{INPUT_CAP, MAX_SINGLE_READ, MAX_SINGLE_WRITE, OUTPUT_CAP, OUTPUT_HIGH},
    error::{Error, Result},
    event::{Closed, Event, Trigger},
    interest::{Direction, Interest},
    options::Options,
    pending::{Due, Pending},
    stream::{self, Stream},
};

/// A buffered, callback-driven connection.
///
/// It has an input and an output buffer, a handler, and for each direction watermarks and a switch. Data that arrives
/// is read into the input and the handler told; what is put into the output is sent when the socket takes it.
///
/// Every operation stands here and takes `&mut self`. There are three ways to reach it: in a callback through
/// [`Context`](crate::Context), which derefs to it; from any thread through [`Handle::lock`](crate::Handle::lock), if
/// it is THREADSAFE; and from other code of the same base through its [`Id`](crate::Id). It is made by
/// [`Bufferevent::socket`], [`Bufferevent::connect`] and their like, which give a [`Builder`](crate::Builder).
///
/// The type parameter only makes the type unsized, so that two bufferevents cannot be swapped.
/// # Libevent
/// `struct bufferevent`.
#[doc(alias = "bufferevent")]
pub struct Bufferevent<Unsized: ?Sized = [()]> {
    pub(crate) input: Evbuffer,
    pub(crate) output: Evbuffer,
    pub(crate) read: Half,
    pub(crate) write: Half,
    pub(crate) input_cap: Option<usize>,
    pub(crate) socket: Socket,
    pub(crate) home: Option<Home>,
    pub(crate) pending: Pending,
    /// Callbacks that were asked for from the deferred queue although this bufferevent does not defer.
    pub(crate) later: Option<Box<Pending>>,
    pub(crate) options: Options,
    pub(crate) enabled: Interest,
    pub(crate) ready: Ready,
    pub(crate) phase: Phase,
    pub(crate) told: Told,
    pub(crate) run: Run,
    _unswappable: Unsized,
}

/// What each direction has of its own.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) low: usize,
    pub(crate) high: Option<usize>,
    pub(crate) max_single: usize,
}

/// Where the bufferevent lives, once it is started.
pub(crate) struct Home {
    pub(crate) selector: Arc<AnySelector>,
    pub(crate) key: Key,
}

/// The descriptor, and whether the selector knows it.
pub(crate) enum Socket {
    None,
    Idle(Stream),
    Registered(Registered<OwnedFd>),
}

/// How far the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No descriptor.
    Detached,
    /// A connect is under way.
    Connecting,
    Open,
    /// `close` was called while a connect is under way; the output is written out once it stands.
    Departing,
    /// `close` was called; the output is being written out.
    Draining,
    /// Our side is ended; waiting for the peer's end.
    Lingering,
    Ended,
}

/// What has been told and need not be told again.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The output is, or was last told to be, at its high mark.
    pub(crate) output_full: bool,
    pub(crate) input_full: bool,
    /// The peer has ended its side.
    pub(crate) eof: bool,
    /// That end is not told yet.
    pub(crate) owes_eof: bool,
    /// `enable(WRITE)` was called: a write callback is due when the socket is writable.
    pub(crate) announce_writable: bool,
    /// A `Closed` event was asked for.
    pub(crate) report_close: bool,
    /// What is left of it, by that event or to who waits for the end.
    pub(crate) outcome: bool,
}

/// The run that is going on.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Callbacks may be delivered.
    pub(crate) deliver: bool,
    pub(crate) reads: u8,
    pub(crate) writes: u8,
    /// Output was taken since the drain timer was set.
    pub(crate) progress: bool,
    /// Bytes read and dropped while lingering.
    pub(crate) lingered: usize,
    pub(crate) timer: TimerRequest,
}

/// What the shell must do with the timer at the end of the run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerRequest {
    #[default]
    Leave,
    Set(std::time::Duration),
}

/// Whether the output has room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Go on.
    Some,
    /// The output has reached its high mark: what was given is taken, [`Event::Drained`] tells when to go on.
    Full,
}

impl Bufferevent<[(); 0]> {
    fn new(options: Options) -> Self {
        let (mut input, mut output) = (Evbuffer::new(), Evbuffer::new());
        input.freeze(End::Back);
        output.freeze(End::Front);
        output.set_limit(Some(OUTPUT_CAP));
        input.set_settled();
        output.set_settled();
        Self {
            input,
            output,
            read: Half { low: 0, high: None, max_single: MAX_SINGLE_READ },
            write: Half { low: 0, high: Some(OUTPUT_HIGH), max_single: MAX_SINGLE_WRITE },
            input_cap: Some(INPUT_CAP),
            socket: Socket::None,
            home: None,
            pending: Pending::default(),
            later: None,
            options,
            enabled: Interest::WRITE,
            ready: Ready::NONE,
            phase: Phase::Detached,
            told: Told::default(),
            run: Run::default(),
            _unswappable: [],
        }
    }
}

impl Bufferevent {
    // ---- buffers ----

    /// What has been received and not yet taken. Its back is frozen: only the connection adds to it.
    ///
    /// # Libevent
    /// `bufferevent_get_input`.
    #[doc(alias = "bufferevent_get_input")]
    pub fn input(&mut self) -> &mut Evbuffer {
        &mut self.input
    }

    /// What is to be sent. Its front is frozen: only the connection drains it. An addition past the cap is refused whole.
    ///
    /// What is put here is sent at the end of the run.
    /// # Libevent
    /// `bufferevent_get_output`.
    #[doc(alias = "bufferevent_get_output")]
    pub fn output(&mut self) -> &mut Evbuffer {
        &mut self.output
    }

    /// Both buffers, input first, to move data from one to the other.
    pub fn buffers(&mut self) -> (&mut Evbuffer, &mut Evbuffer) {
        (&mut self.input, &mut self.output)
    }

    /// Appends a copy of `data` to the output.
    ///
    /// With WRITE disabled it waits there. Otherwise it is sent at the end of the run, which may be after this call.
    /// # Errors
    /// [`Error::Closed`] after `close` or `abort`; [`Error::OutputFull`] if it would pass the cap. Nothing is taken then.
    /// # Libevent
    /// `bufferevent_write`. Differs: reports [`Room::Full`] at the high mark and refuses past the cap.
    #[doc(alias = "bufferevent_write")]
    pub fn write(&mut self, data: &[u8]) -> Result<Room> {
        self.check_room(data.len())?;
        self.output.add(data)?;
        Ok(self.room())
    }

    /// Moves all of `data` to the output, copying nothing.
    ///
    /// # Errors
    /// As [`Bufferevent::write`]; `data` keeps what it has.
    /// # Libevent
    /// `bufferevent_write_buffer`.
    #[doc(alias = "bufferevent_write_buffer")]
    pub fn write_buffer(&mut self, data: &mut Evbuffer) -> Result<Room> {
        self.check_room(data.len())?;
        self.output.append(data)?;
        Ok(self.room())
    }

    /// Takes up to `out.len()` bytes from the input; answers how many, 0 if there are none.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the front of the input is frozen.
    /// # Libevent
    /// `bufferevent_read`.
    #[doc(alias = "bufferevent_read")]
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        Ok(self.input.remove(out)?)
    }

    /// Moves the whole input to the back of `target`, copying nothing.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the front of the input or the back of `target` is frozen, or `target` is full.
    /// # Libevent
    /// `bufferevent_read_buffer`.
    #[doc(alias = "bufferevent_read_buffer")]
    pub fn read_buffer(&mut self, target: &mut Evbuffer) -> Result<()> {
        Ok(target.append(&mut self.input)?)
    }

    /// A refusal counts as full: [`Event::Drained`] tells when to try again.
    fn check_room(&mut self, more: usize) -> Result<()> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        match self.output.limit() {
            Some(cap) if self.output.len().saturating_add(more) > cap => {
                self.told.output_full |= !self.output.is_empty();
                Err(Error::OutputFull { more, queued: self.output.len(), cap })
            }
            _ => Ok(()),
        }
    }

    /// Whether the output has room, and remembers that it was told.
    pub(crate) fn room(&mut self) -> Room {
        match self.write.high {
            Some(high) if self.output.len() >= high => {
                self.told.output_full = true;
                Room::Full
            }
            _ => Room::Some,
        }
    }

    // ---- directions ----

    /// Switches directions on. Data that waits for it is handled before the run ends; input that was read before
    /// `disable` brings a read callback, since the one that was due may have been dropped.
    ///
    /// `enable(WRITE)` with an empty output brings one write callback as soon as the socket is writable. While a connect
    /// is under way it only sets the switch.
    /// # Libevent
    /// `bufferevent_enable`.
    #[doc(alias = "bufferevent_enable")]
    pub fn enable(&mut self, directions: Interest) {
        if self.is_closing() {
            return;
        }
        let reads = directions.contains(Interest::READ) && !self.enabled.contains(Interest::READ);
        self.enabled = self.enabled | directions;
        if reads && self.is_readable() {
            self.pending.read(Due::Io);
        }
        if directions.contains(Interest::WRITE) && self.phase == Phase::Open && self.output.is_empty() {
            self.told.announce_writable = true;
        }
    }

    /// Switches directions off: when this returns no read or write callback of them starts any more. What is in the
    /// buffers stays.
    ///
    /// # Libevent
    /// `bufferevent_disable`. Differs: a callback that was scheduled before is dropped.
    #[doc(alias = "bufferevent_disable")]
    pub fn disable(&mut self, directions: Interest) {
        self.enabled = self.enabled.difference(directions);
        for direction in [Direction::Read, Direction::Write] {
            if directions.contains(direction.into()) {
                self.pending.cancel(direction);
                if let Some(later) = &mut self.later {
                    later.cancel(direction);
                }
            }
        }
        if directions.contains(Interest::WRITE) {
            self.told.announce_writable = false;
        }
    }

    /// The directions that are switched on; WRITE alone at first.
    ///
    /// # Libevent
    /// `bufferevent_get_enabled`.
    #[doc(alias = "bufferevent_get_enabled")]
    pub fn enabled(&self) -> Interest {
        self.enabled
    }

    /// Sets the watermarks of the input.
    ///
    /// * `low`, bytes, default 0: the read callback waits until this much is buffered.
    /// * `high`, bytes, `None` = no limit, the default: at this much reading is suspended.
    ///
    /// Takes effect at once, on data already buffered too.
    /// # Errors
    /// [`Error::InvalidWatermark`] if `high < low`; nothing is changed.
    /// # Libevent
    /// `bufferevent_setwatermark(EV_READ)`. Differs: "no limit" is `None`, not 0.
    #[doc(alias = "bufferevent_setwatermark")]
    pub fn set_read_watermark(&mut self, low: usize, high: Option<usize>) -> Result<()> {
        check_marks(low, high)?;
        let lowered = low < self.read.low;
        (self.read.low, self.read.high) = (low, high);
        if lowered && self.enabled.contains(Interest::READ) && self.is_readable() {
            self.pending.read(Due::Io);
        }
        Ok(())
    }

    /// Whether there is input that meets the low mark.
    fn is_readable(&self) -> bool {
        self.is_live() && !self.input.is_empty() && self.input.len() >= self.read.low
    }

    /// Sets the watermarks of the output.
    ///
    /// * `low`, bytes, default 0: the write callback comes when no more than this is left.
    /// * `high`, bytes, `None` = no limit, default 256 KiB: from here on `write` reports [`Room::Full`].
    ///
    /// # Errors
    /// [`Error::InvalidWatermark`] if `high < low`; nothing is changed.
    /// # Libevent
    /// `bufferevent_setwatermark(EV_WRITE)`.
    #[doc(alias = "bufferevent_setwatermark")]
    pub fn set_write_watermark(&mut self, low: usize, high: Option<usize>) -> Result<()> {
        check_marks(low, high)?;
        let reached = low > self.write.low && self.output.len() > self.write.low && self.output.len() <= low;
        (self.write.low, self.write.high) = (low, high);
        if reached && self.is_live() {
            self.output_is_low();
        }
        Ok(())
    }

    /// The low and high mark of one direction.
    ///
    /// # Libevent
    /// `bufferevent_getwatermark`.
    #[doc(alias = "bufferevent_getwatermark")]
    pub fn watermark(&self, direction: Direction) -> (usize, Option<usize>) {
        let half = self.half(direction);
        (half.low, half.high)
    }

    /// Sets the most output there may be, `None` = no limit; default 4 MiB. More than is there now is kept, and further
    /// writes are refused.
    pub fn set_output_cap(&mut self, cap: Option<usize>) {
        self.output.set_limit(cap);
    }

    /// Sets the most input there may be, `None` = no limit; default 4 MiB. There reading is suspended and
    /// [`Event::InputFull`] told once.
    pub fn set_input_cap(&mut self, cap: Option<usize>) {
        self.input_cap = cap;
    }

    /// Sets the most bytes one read takes, and one run reads: 1 to 64 KiB; 0 or more than that means 64 KiB, the
    /// default, of which a run makes up to four.
    ///
    /// # Libevent
    /// `bufferevent_set_max_single_read`, whose default is 16 KiB.
    #[doc(alias = "bufferevent_set_max_single_read")]
    pub fn set_max_single_read(&mut self, bytes: usize) {
        self.read.max_single = if bytes == 0 { MAX_SINGLE_READ } else { bytes.min(MAX_SINGLE_READ) };
    }

    /// Sets the most bytes one write sends, and one run writes; 0 means the default, 64 KiB.
    ///
    /// # Libevent
    /// `bufferevent_set_max_single_write`, whose default is 16 KiB.
    #[doc(alias = "bufferevent_set_max_single_write")]
    pub fn set_max_single_write(&mut self, bytes: usize) {
        self.write.max_single = if bytes == 0 { MAX_SINGLE_WRITE } else { bytes };
    }

    /// The most bytes one read or write moves.
    ///
    /// # Libevent
    /// `bufferevent_get_max_single_read`, `bufferevent_get_max_single_write`.
    pub fn max_single(&self, direction: Direction) -> usize {
        self.half(direction).max_single
    }

    fn half(&self, direction: Direction) -> &Half {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    // ---- callbacks ----

    /// Makes the read or write callback due, or both, as if data had come or gone. Works on disabled directions too.
    ///
    /// It runs after the callback that asks for it, in the same run, unless this bufferevent or `how` defers.
    /// # Libevent
    /// `bufferevent_trigger`.
    #[doc(alias = "bufferevent_trigger")]
    pub fn trigger(&mut self, directions: Interest, how: Trigger) {
        if self.is_closing() {
            return;
        }
        let due = if how.ignore_watermarks { Due::Forced } else { Due::Asked };
        let read =
            directions.contains(Interest::READ) && (due == Due::Forced || self.input.len() >= self.read.low);
        let write = directions.contains(Interest::WRITE)
            && (due == Due::Forced || self.output.len() <= self.write.low);
        let pending = self.pending_for(how);
        if read {
            pending.read(due);
        }
        if write {
            pending.write(due);
        }
    }

    /// Makes [`Event::User`] due with these bits.
    ///
    /// # Libevent
    /// `bufferevent_trigger_event`.
    #[doc(alias = "bufferevent_trigger_event")]
    pub fn trigger_event(&mut self, bits: u16, how: Trigger) {
        if !self.is_closing() {
            self.pending_for(how).event(Event::User(bits));
        }
    }

    fn pending_for(&mut self, how: Trigger) -> &mut Pending {
        if how.defer { self.later.get_or_insert_default() } else { &mut self.pending }
    }

    // ---- the descriptor ----

    /// The descriptor, if there is one.
    ///
    /// # Libevent
    /// `bufferevent_getfd`.
    #[doc(alias = "bufferevent_getfd")]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            Socket::None => None,
            Socket::Idle(stream) => Some(stream.as_fd()),
            Socket::Registered(registered) => Some(registered.as_fd()),
        }
    }

    /// The number of the descriptor, if there is one.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.fd().map(|fd| fd.as_raw_fd())
    }

    /// Gives the bufferevent a connected stream socket, in place of the one it has, which comes back. Buffers stay.
    ///
    /// # Errors
    /// [`Error::Closed`] after `close`; [`Error::NotStream`] if it is no stream socket; [`Error::Io`] if the selector does
    /// not take it. The bufferevent goes on with the socket it has then, and the one that is refused is closed; who
    /// wants to keep it gives a duplicate.
    /// # Libevent
    /// `bufferevent_setfd`.
    #[doc(alias = "bufferevent_setfd")]
    pub fn set_fd(&mut self, stream: impl Into<Stream>) -> Result<Option<OwnedFd>> {
        let stream = stream.into().prepare().map_err(|(error, _)| error)?;
        self.exchange(stream, Phase::Open)
    }

    /// Takes the descriptor away; the bufferevent stays, detached. Buffers stay; an end or an error of the descriptor that
    /// is not told yet is not told any more.
    ///
    /// One that is being closed ends at once: output that is left is unsent.
    /// # Libevent
    /// `bufferevent_setfd(-1)`.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.ready = Ready::NONE;
        (self.told.eof, self.told.owes_eof) = (false, false);
        let fd = self.release_fd()?;
        self.pending.forget_connection();
        if self.is_closing() {
            self.end();
        } else {
            self.phase = Phase::Detached;
        }
        Some(fd)
    }

    /// Begins to connect to `address`, with a socket made for it. [`Event::Connected`] or [`Event::Error`] tells how it
    /// ended, exactly one of them and never from inside this call.
    ///
    /// # Errors
    /// [`Error::AlreadyConnected`] if there is a descriptor; [`Error::Closed`] after `close`; [`Error::Io`] if no socket
    /// could be made. No event comes then.
    /// # Libevent
    /// `bufferevent_socket_connect`. Differs: a failure inside the call is told by the event too.
    #[doc(alias = "bufferevent_socket_connect")]
    pub fn connect_to(&mut self, address: impl Into<SockAddr>) -> Result<()> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        if !matches!(self.socket, Socket::None) {
            return Err(Error::AlreadyConnected);
        }
        let connecting = stream::connect(&address.into())?;
        match connecting.failed {
            Some(error) => self.connect_failed(error),
            None => drop(self.exchange(connecting.stream, Phase::Connecting)?),
        }
        Ok(())
    }

    /// Takes over a socket whose connect is under way. [`Event::Connected`] or [`Event::Error`] follows.
    ///
    /// # Errors
    /// As [`Bufferevent::set_fd`], and [`Error::AlreadyConnected`] if there is a descriptor.
    /// # Libevent
    /// `bufferevent_socket_connect` with no address.
    pub fn connect_pending_on(&mut self, stream: impl Into<Stream>) -> Result<()> {
        if !matches!(self.socket, Socket::None) {
            return Err(Error::AlreadyConnected);
        }
        let stream = stream.into().prepare().map_err(|(error, _)| error)?;
        self.exchange(stream, Phase::Connecting)?;
        Ok(())
    }

    fn exchange(&mut self, stream: Stream, phase: Phase) -> Result<Option<OwnedFd>> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        // The new one first: if the selector refuses it, nothing has changed.
        let new = self.registered(stream).map_err(|(error, _)| error)?;
        let old = self.take_fd();
        self.socket = new;
        self.phase = phase;
        Ok(old)
    }

    /// Makes sure that the descriptor it was made with is a stream socket that does not block.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        self.turn_idle(|_, stream| stream.prepare().map(Socket::Idle))
    }

    /// Tells the selector of the descriptor it was made with.
    pub(crate) fn register(&mut self) -> io::Result<()> {
        self.turn_idle(Self::registered)
    }

    /// Turns a descriptor that the selector does not know yet into what `make` makes of it; refused, it stays.
    fn turn_idle<E>(
        &mut self,
        make: impl FnOnce(&Self, Stream) -> Result<Socket, (E, Stream)>,
    ) -> Result<(), E> {
        let (socket, made) = match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::Idle(stream) => match make(self, stream) {
                Ok(socket) => (socket, Ok(())),
                Err((error, stream)) => (Socket::Idle(stream), Err(error)),
            },
            other => (other, Ok(())),
        };
        self.socket = socket;
        made
    }

    /// Tells the selector of a descriptor, once the bufferevent has a home.
    fn registered(&self, stream: Stream) -> Result<Socket, (io::Error, Stream)> {
        let Some(home) = &self.home else { return Ok(Socket::Idle(stream)) };
        let registered = Registered::new(&home.selector, stream.into(), home.key.token());
        registered.map(Socket::Registered).map_err(|(fd, error)| (error, fd.into()))
    }

    pub(crate) fn release_fd(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::None => None,
            Socket::Idle(stream) => Some(stream.into()),
            Socket::Registered(registered) => Some(registered.into_source()),
        }
    }

    pub(crate) fn connect_failed(&mut self, error: io::Error) {
        self.phase = Phase::Detached;
        if self.options.contains(Options::CLOSE_ON_FREE) {
            self.socket = Socket::None;
        }
        self.pending.event(Event::Error { direction: None, cause: crate::event::Cause::Io(error) });
    }

    // ---- the end ----

    /// Closes gracefully: the output is written out, our side ended, and the peer's end awaited, each within bounds. No
    /// callback starts after this returns, but a last [`Event::Closed`] if it was asked for.
    ///
    /// # Libevent
    /// `bufferevent_free`. Differs: output that is not yet sent is sent.
    #[doc(alias = "bufferevent_free")]
    pub fn close(&mut self) {
        if self.is_closing() {
            return;
        }
        self.silence();
        match self.phase {
            Phase::Open => self.begin_drain(),
            Phase::Connecting if !self.output.is_empty() => self.depart(),
            _ => self.end(),
        }
    }

    /// Ends it now: what is in the buffers is lost. No callback starts after this returns, but a last [`Event::Closed`]
    /// if it was asked for.
    ///
    /// # Libevent
    /// `bufferevent_free`.
    pub fn abort(&mut self) {
        self.silence();
        self.end();
    }

    /// No callback of any kind is due any more.
    fn silence(&mut self) {
        if self.phase != Phase::Ended {
            self.pending.clear();
            self.later = None;
            self.told.owes_eof = false;
        }
    }

    /// Ends it. The buffers stay, for [`Bufferevent::outcome`] to tell of them, and go with their owner: what they hold
    /// may be the user's, and panic when it is dropped.
    pub(crate) fn end(&mut self) {
        if self.has_ended() {
            return;
        }
        self.phase = Phase::Ended;
        self.enabled = Interest::NONE;
        if self.options.contains(Options::CLOSE_ON_FREE) {
            self.socket = Socket::None;
        } else if let Some(fd) = self.release_fd() {
            self.socket = Socket::Idle(fd.into());
        }
        if self.told.report_close {
            self.pending.closed();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What is left of one that has ended; `None` if that has been told.
    pub(crate) fn outcome(&mut self) -> Option<Closed> {
        if std::mem::replace(&mut self.told.outcome, true) {
            return None;
        }
        let mut unread = std::mem::take(&mut self.input);
        unread.unfreeze(End::Back);
        Some(Closed { unsent: self.output.len(), unread, fd: self.release_fd() })
    }

    /// Whether `close` or `abort` was called.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Departing | Phase::Draining | Phase::Lingering | Phase::Ended)
    }

    /// Whether it connects or is connected.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Connecting)
    }

    /// Whether a connection stands.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Open
    }

    /// The options it was made with.
    pub fn options(&self) -> Options {
        self.options
    }
}

fn check_marks(low: usize, high: Option<usize>) -> Result<()> {
    match high {
        Some(high) if high < low => Err(Error::InvalidWatermark { low, high }),
        _ => Ok(()),
    }
}

/// A bufferevent as its owner has it. Dropped, it is closed (D15), or its descriptor left open (D19).
pub(crate) struct Owned(Bufferevent<[(); 0]>);

impl Owned {
    pub(crate) fn new(options: Options) -> Self {
        Self(Bufferevent::new(options))
    }
}

impl Deref for Owned {
    type Target = Bufferevent;

    #[inline]
    fn deref(&self) -> &Bufferevent {
        &self.0
    }
}

impl DerefMut for Owned {
    #[inline]
    fn deref_mut(&mut self) -> &mut Bufferevent {
        &mut self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.close_without_waiting();
        if let Some(fd) = self.release_fd() {
            let _stays_open = fd.into_raw_fd();
        }
    }
}

impl<Unsized: ?Sized> fmt::Debug for Bufferevent<Unsized> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bufferevent")
            .field("phase", &self.phase)
            .field("enabled", &self.enabled)
            .field("input", &self.input.len())
            .field("output", &self.output.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
