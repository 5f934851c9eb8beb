//! Two bufferevents joined: what one receives the other sends, with backpressure both ways.
//!
//! Each gets a [`Relay`] as its handler, which has its own bufferevent at hand and asks the [`Other`] for four things,
//! none of which waits. What one reads is moved to the output of the other; when that is full, reading is off until it
//! has drained. An end is passed on behind the bytes before it, and when both have ended both are closed.

use std::{fmt, sync::Arc, time::Duration};

use bufferevent_evbuffer::Evbuffer;
use bufferevent_runtime::{Base, BaseHandle};
use bufferevent_sync::{
    Counter, Leaf,
    atomic::{AtomicU32, Ordering},
};

use crate::{
    bufferevent::{Bufferevent, Closing, Room},
    context::{BaseExt as _, Context, Id, Spot},
    error::{Error, Result},
    event::{Cause, Event, Trigger},
    handle::{Guard, Handle, lock_both},
    handler::{Handler, HandlerAffinity, IntoHandler, UnlockedHandler},
    interest::{Direction, Interest},
    mailbox::Asked,
    options::Options,
};

/// How a pipe ended, and what went through it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Piped {
    /// Bytes that were passed from the first to the second.
    pub forth: u64,
    /// Bytes that were passed from the second to the first.
    pub back: u64,
    /// Why it ended.
    pub end: PipeEnd,
    /// Whether the peer of the one by which it ended, which failed or made no progress, had been told the end of the other by then, with
    /// all that came before given to the system. If it was not reset, what it may have wanted to say yet is all that can be missing.
    pub had_all: bool,
}

/// Why a pipe ended.
///
/// A peer is told an end only where the other has said that it is one, which holds whatever becomes of the other afterwards. In all
/// other cases what has come for it goes out, and then it is [cut short](Closing::cut_short).
#[derive(Debug)]
#[non_exhaustive]
pub enum PipeEnd {
    /// Both peers ended their sides, and both ends were passed on.
    Ended,
    /// The connection of the first (0) or the second (1) failed: it was reset, or cut off under TLS, could not be had, or has
    /// lived as long as it may.
    Failed(usize, Cause),
    /// A direction of the first (0) or the second (1) made no progress for its timeout.
    Timeout(usize, Direction),
    /// Nothing came from either for [the time](Pipe::idle_timeout) that they may be silent.
    Idle,
    /// The first (0) or the second (1) was closed: by the program, for the memory it held, or with its base. How it ended itself
    /// is what whoever closed it said; a base that is dropped, as at the end of the grace of a drain, cuts both short. What it had
    /// received and the other had no room for is lost with it, as who closes wants no more of it.
    Closed(usize),
}

type Done = Box<dyn FnOnce(Piped) + Send>;

/// An end that is to be told. It was claimed before anything was closed: what is closed may end at once, on another
/// thread, and would tell of that.
struct Ending {
    done: Option<Done>,
    end: PipeEnd,
    had_all: bool,
}

/// Joins two bufferevents.
///
/// What one receives the other sends; no byte is copied. Neither holds more output than its high mark and what one run
/// reads, whatever the other receives. When the peer of one ends its side, that of the other is told so after all that
/// came before. When both have ended, both are closed. When one fails or times out, the other is given what has come from it, and
/// both are closed, [cut short](Closing::cut_short): no peer is told an end that nobody has told. When somebody closes one,
/// the other is cut short as soon as that has ended.
///
/// The handlers of both are replaced; what they would have been told is gone. The pipe ends with its bufferevents, or is
/// taken apart by giving both other handlers.
///
/// ```
/// use bufferevent::{Base, Bufferevent, NoHandler, Pinned, Pipe};
/// use std::{io::{Read, Write}, os::unix::net::UnixStream};
///
/// let (mut client, front) = UnixStream::pair()?;
/// let (back, mut server) = UnixStream::pair()?;
/// let mut base = Base::<Pinned>::new()?;
/// let front = Bufferevent::socket(front).handler(NoHandler).start(&mut base)?;
/// let back = Bufferevent::socket(back).handler(NoHandler).start(&mut base)?;
/// Pipe::new().join_on(&mut base, front, back)?;
///
/// client.write_all(b"through")?;
/// drop(client);
/// server.shutdown(std::net::Shutdown::Write)?;
/// base.run()?;
/// let mut got = String::new();
/// server.read_to_string(&mut got)?;
/// assert_eq!(got, "through");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// # Libevent
/// What its sample `le-proxy` does by hand.
#[derive(Default)]
#[must_use = "it joins nothing until it is given two bufferevents"]
pub struct Pipe {
    done: Option<Done>,
    idle: Option<Duration>,
}

impl Pipe {
    /// A pipe that tells nobody how it ends.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells how the pipe ended, once, when its bufferevents begin to close, or are dropped with their base. It is called in a callback of one of
    /// them, or by who drops the base, and is `Send` on every base, also a [`Pinned`](crate::Pinned) one.
    pub fn on_end(mut self, done: impl FnOnce(Piped) + Send + 'static) -> Self {
        self.done = Some(Box::new(done));
        self
    }

    /// Ends the pipe when nothing has come from either for `after`, or when one of them takes nothing of what is to be sent to it
    /// for as long; default: the timeouts that each has itself, of which the first ends the pipe. These are replaced.
    ///
    /// So one may be silent for as long as the other is not, as in a download; or as long as a rate limit holds it back. It is
    /// told as [`PipeEnd::Idle`], the other as [`PipeEnd::Timeout`].
    pub fn idle_timeout(mut self, after: Duration) -> Self {
        self.idle = Some(after);
        self
    }

    /// Joins two THREADSAFE bufferevents, of any bases and options. Both directions of both are enabled.
    ///
    /// From any thread that holds no strand: not from a locked callback.
    /// # Errors
    /// [`Error::WouldDeadlock`] if this thread holds a strand, or both are the same; [`Error::Closed`] once one is
    /// closing.
    pub fn join(mut self, first: &Handle, second: &Handle) -> Result<()> {
        let (mut one, mut two) = lock_both(first, second)?;
        if one.is_closing() || two.is_closing() {
            return Err(Error::Closed);
        }
        let joint = Joint::of(&mut self);
        relay_to(&mut one, Relay::watching(&joint, 0, first, second))?;
        relay_to(&mut two, Relay::watching(&joint, 1, second, first))?;
        self.begin(&mut one);
        self.begin(&mut two);
        Ok(())
    }

    /// Joins two bufferevents that are confined to `base`. Both directions of both are enabled.
    ///
    /// Neither is moved to another base as long as they are joined ([`Error::Joined`]).
    ///
    /// On the base's turn; not in a callback of one of them.
    /// # Errors
    /// [`Error::Closed`] if one is gone, is closing, is running, or is of another base, or both are the same.
    pub fn join_on<A: HandlerAffinity>(mut self, base: &mut Base<A>, first: Id, second: Id) -> Result<()>
    where
        Relay<Id>: IntoHandler<A>,
    {
        let is_open = |base: &mut Base<A>, id| base.bufferevent(id).is_ok_and(|b| !b.is_closing());
        if first == second || !is_open(base, first) || !is_open(base, second) {
            return Err(Error::Closed);
        }
        let joint = Joint::of(&mut self);
        for (side, id, other) in [(0, first, second), (1, second, first)] {
            let watched = Watched::Base(base.handle().as_movable());
            base.set_handler(id, Relay::new(&joint, side, other, watched))?;
            let bufferevent = base.bufferevent(id)?;
            // So that the end of one closes the other, whoever closes it.
            bufferevent.told.report_close = true;
            self.begin(bufferevent);
        }
        Ok(())
    }

    /// Lets a joined bufferevent pass on what it has already.
    fn begin(&self, bufferevent: &mut Bufferevent) {
        bufferevent.relays = true;
        if self.idle.is_some() {
            bufferevent.set_timeouts(self.idle, self.idle);
        }
        bufferevent.enable(Interest::BOTH);
        bufferevent.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS);
        bufferevent.tell_end_again();
    }
}

/// [`Pipe::join`] with nothing more to say.
///
/// # Errors
/// As [`Pipe::join`].
pub fn pipe(first: &Handle, second: &Handle) -> Result<()> {
    Pipe::new().join(first, second)
}

fn relay_to(guard: &mut Guard<'_>, relay: Relay<Handle>) -> Result<()> {
    if guard.options().contains(Options::UNLOCK_CALLBACKS) {
        guard.set_unlocked_handler(relay)
    } else {
        guard.set_handler(relay)
    }
}

/// What both relays of a pipe share.
struct Joint {
    /// How many ends were passed on. Whoever passes on the second closes both.
    ended: AtomicU32,
    /// A bit for each side of which nothing has come for its timeout, or nothing will. Looked at if `idles`.
    silent: AtomicU32,
    /// Both must be silent for the pipe to end.
    idles: bool,
    /// Bytes passed on by the first and by the second; each is written by its own relay.
    moved: [Counter; 2],
    done: Leaf<Option<Done>>,
}

impl Joint {
    fn of(pipe: &mut Pipe) -> Arc<Self> {
        Arc::new(Self {
            ended: AtomicU32::new(0),
            silent: AtomicU32::new(0),
            idles: pipe.idle.is_some(),
            moved: Default::default(),
            done: Leaf::new(pipe.done.take()),
        })
    }

    /// Counts an end that was passed on; true if it was the second.
    fn count_end(&self) -> bool {
        // ORDER: AcqRel; of two ends that are passed on at the same time exactly one sees the other.
        self.ended.fetch_add(1, Ordering::AcqRel) == 1
    }

    /// Notes that nothing comes from `side`; true if nothing comes from the other either.
    fn fall_silent(&self, side: usize) -> bool {
        // ORDER: Relaxed; nothing is published. Of two that fall silent at the same time the second in the word's order sees
        // the other.
        self.silent.fetch_or(1 << side, Ordering::Relaxed) & (1 << (1 - side)) != 0
    }

    /// Something has come from `side`.
    fn stir(&self, side: usize) {
        // ORDER: Relaxed; as above. The other may end the pipe while this comes: then it was silent for as long as it may be.
        self.silent.fetch_and(!(1 << side), Ordering::Relaxed);
    }

    /// The right to tell how the pipe ended, if nobody has it yet.
    fn claim(&self) -> Option<Done> {
        self.done.lock().take()
    }

    fn tell(&self, Ending { done, end, had_all }: Ending) {
        if let Some(done) = done {
            let [forth, back] = &self.moved;
            done(Piped { forth: forth.get(), back: back.get(), end, had_all });
        }
    }
}

/// The handler of a bufferevent in a pipe.
pub struct Relay<O> {
    joint: Arc<Joint>,
    side: usize,
    other: O,
    /// The peer has ended its side.
    ended: bool,
    /// That is passed on.
    passed_on: bool,
    /// Nothing came for its timeout, and nothing since.
    silent: bool,
    _watch: Watch,
}

/// Goes with a relay: if that is dropped because its bufferevent has ended, whoever ended it, the end is told, and the other is
/// closed.
struct Watch {
    joint: Arc<Joint>,
    side: usize,
    of: Watched,
}

enum Watched {
    /// A THREADSAFE one.
    Strand { own: Handle, other: Handle },
    /// One that is confined to a base, which closes both when it is dropped; any other end is an event.
    Base(BaseHandle),
}

impl Drop for Watch {
    fn drop(&mut self) {
        let has_ended = match &self.of {
            Watched::Strand { own, .. } => own.is_closing(),
            Watched::Base(base) => base.is_gone(),
        };
        if has_ended {
            let done = self.joint.claim();
            if let Watched::Strand { other, .. } = &self.of {
                other.close_with(Closing::CUT_SHORT);
            }
            self.joint.tell(Ending { done, end: PipeEnd::Closed(self.side), had_all: false });
        }
    }
}

/// What a relay does with the bufferevent at the other end. Nothing of it waits; one that is gone is of no use any more.
trait Other {
    /// What is refused stays in `data`.
    fn write(&mut self, data: &mut Evbuffer) -> Result<Room>;
    fn ask(&mut self, asked: Asked);
    /// Closes behind these bytes, whatever room there is. False: it has ended its side already, and takes nothing.
    fn close_after(&mut self, last: Evbuffer, bounds: Closing) -> bool;
}

impl Other for &Handle {
    fn write(&mut self, data: &mut Evbuffer) -> Result<Room> {
        self.write_buffer(std::mem::take(data)).map_err(|(error, refused)| {
            *data = refused;
            error
        })
    }

    fn ask(&mut self, asked: Asked) {
        let _gone = Handle::ask(self, asked);
    }

    fn close_after(&mut self, last: Evbuffer, bounds: Closing) -> bool {
        Handle::close_after(self, last, bounds)
    }
}

impl Other for Option<&mut Bufferevent> {
    fn write(&mut self, data: &mut Evbuffer) -> Result<Room> {
        self.as_mut().ok_or(Error::Closed)?.write_buffer(data)
    }

    fn ask(&mut self, asked: Asked) {
        if let Some(other) = self {
            asked.apply(other);
        }
    }

    fn close_after(&mut self, last: Evbuffer, bounds: Closing) -> bool {
        self.as_mut().is_some_and(|other| other.close_after(last, bounds))
    }
}

/// What became of data that was offered to the other.
enum Offered {
    /// It takes more.
    Taken,
    /// It took some, or none, and tells when it has drained.
    Full,
    /// Nothing can be sent to its peer any more.
    Broken,
    /// It is closed.
    Gone,
}

impl<O> Relay<O> {
    fn new(joint: &Arc<Joint>, side: usize, other: O, of: Watched) -> Self {
        Self {
            joint: Arc::clone(joint),
            side,
            other,
            ended: false,
            passed_on: false,
            silent: false,
            _watch: Watch { joint: Arc::clone(joint), side, of },
        }
    }
}

impl Relay<Handle> {
    fn watching(joint: &Arc<Joint>, side: usize, own: &Handle, other: &Handle) -> Self {
        let watched = Watched::Strand { own: own.clone(), other: other.clone() };
        Self::new(joint, side, other.clone(), watched)
    }
}

/// One side at work: its own bufferevent, held, and the other.
struct Side<'a, T> {
    joint: &'a Joint,
    side: usize,
    ended: &'a mut bool,
    passed_on: &'a mut bool,
    silent: &'a mut bool,
    own: &'a mut Bufferevent,
    other: T,
}

impl<T: Other> Side<'_, T> {
    /// Moves the input on.
    fn on_read(&mut self) -> Option<Ending> {
        if std::mem::take(self.silent) {
            self.joint.stir(self.side);
        }
        match self.offer_all() {
            Offered::Taken if *self.ended => self.pass_end_on(),
            Offered::Taken => None,
            Offered::Full => {
                self.own.disable(Interest::READ);
                None
            }
            Offered::Broken => {
                self.own.disable(Interest::READ);
                self.other.ask(Asked::FAIL);
                None
            }
            Offered::Gone => self.cut(PipeEnd::Closed(1 - self.side)),
        }
    }

    fn on_event(&mut self, event: Event) -> Option<Ending> {
        match event {
            Event::Eof => {
                (*self.ended, *self.silent) = (true, false);
                self.joint.fall_silent(self.side);
                self.on_read()
            }
            Event::Drained => {
                self.other.ask(Asked::RESUME);
                None
            }
            Event::Error { direction, cause } => {
                if direction == Some(Direction::Write) {
                    self.own.take_in();
                }
                self.cut(PipeEnd::Failed(self.side, cause))
            }
            Event::Timeout(Direction::Read) if self.joint.idles => self.fall_silent(),
            Event::Timeout(direction) => {
                self.own.take_in();
                self.cut(PipeEnd::Timeout(self.side, direction))
            }
            Event::Closed(_) => self.cut(PipeEnd::Closed(self.side)),
            Event::Connected | Event::InputFull | Event::User(_) => None,
        }
    }

    /// Offers the whole input, or as much of it as there is room for.
    fn offer_all(&mut self) -> Offered {
        let mut most = self.own.input().len();
        for _ in 0..3 {
            if most == 0 {
                break;
            }
            match self.offer(most) {
                Ok(Room::Some) if self.own.input().is_empty() => return Offered::Taken,
                Ok(_) => return Offered::Full,
                Err(Error::OutputFull { queued, cap, .. }) => most = cap.saturating_sub(queued).min(most),
                Err(Error::TooLarge { cap, .. }) => most = cap.min(most),
                Err(Error::MailboxFull { .. }) => return Offered::Full,
                Err(Error::Unlinked) => return Offered::Broken,
                Err(_) => return Offered::Gone,
            }
        }
        if self.own.input().is_empty() { Offered::Taken } else { Offered::Full }
    }

    fn offer(&mut self, most: usize) -> Result<Room> {
        let mut data = Evbuffer::new();
        let n = self.own.input().move_to(&mut data, most)?;
        let offered = self.other.write(&mut data);
        match &offered {
            Ok(_) => self.joint.moved[self.side].add(n as u64),
            Err(_) => self.own.input().prepend_buffer(&mut data)?,
        }
        offered
    }

    fn fall_silent(&mut self) -> Option<Ending> {
        // While it is sent to, the timeout of writing tells whether anything moves.
        if self.own.output().is_empty() {
            *self.silent = true;
            if self.joint.fall_silent(self.side) {
                return self.cut(PipeEnd::Idle);
            }
        }
        self.own.enable(Interest::READ);
        None
    }

    fn pass_end_on(&mut self) -> Option<Ending> {
        if std::mem::replace(self.passed_on, true) {
            return None;
        }
        self.other.ask(Asked::END);
        if self.joint.count_end() {
            self.own.close();
            self.close_other(PipeEnd::Ended, true, Evbuffer::new(), Closing::default())
        } else {
            None
        }
    }

    /// Ends it though not both have ended. What has come from here goes to the other first, with its end if that has come.
    fn cut(&mut self, end: PipeEnd) -> Option<Ending> {
        let mut last = Evbuffer::new();
        // A handler that was here before may have frozen it.
        let _ = self.own.read_buffer(&mut last);
        // What one that was closed has not passed on is lost.
        let is_whole = !self.own.is_closing() && self.own.input().is_empty();
        let is_all = is_whole && (*self.ended || self.own.told.eof);
        let had_all = self.own.has_told_end();
        // Of no effect on one whose peer was told the end before.
        self.own.close_with(Closing::CUT_SHORT);
        self.close_other(end, had_all, last, Closing { cut_short: !is_all, ..Closing::default() })
    }

    /// Closes the other behind what has come `last`.
    fn close_other(
        &mut self,
        end: PipeEnd,
        had_all: bool,
        last: Evbuffer,
        bounds: Closing,
    ) -> Option<Ending> {
        let (done, bytes) = (self.joint.claim(), last.len());
        if self.other.close_after(last, bounds) {
            self.joint.moved[self.side].add(bytes as u64);
        }
        Some(Ending { done, end, had_all })
    }
}

impl<O> Relay<O> {
    fn side<'a, T>(&'a mut self, own: &'a mut Bufferevent, other: impl FnOnce(&'a O) -> T) -> Side<'a, T> {
        Side {
            joint: &self.joint,
            side: self.side,
            ended: &mut self.ended,
            passed_on: &mut self.passed_on,
            silent: &mut self.silent,
            own,
            other: other(&self.other),
        }
    }

    fn tell(&self, end: Option<Ending>) {
        if let Some(end) = end {
            self.joint.tell(end);
        }
    }
}

impl Handler for Relay<Handle> {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let end = self.side(cx, |other| other).on_read();
        self.tell(end);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        let end = self.side(cx, |other| other).on_event(event);
        self.tell(end);
    }

    fn hears_write(&self) -> bool {
        false
    }

    fn on_drain(&mut self, _: &mut Context<'_>) {}
}

impl UnlockedHandler for Relay<Handle> {
    fn on_read(&mut self, bufferevent: &Handle) {
        // Held throughout, so that what the other asks for meanwhile comes after what is done here.
        let Ok(mut own) = bufferevent.lock() else { return };
        let end = self.side(&mut own, |other| other).on_read();
        drop(own);
        self.tell(end);
    }

    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        let Ok(mut own) = bufferevent.lock() else { return };
        let end = self.side(&mut own, |other| other).on_event(event);
        drop(own);
        self.tell(end);
    }

    fn hears_write(&self) -> bool {
        false
    }

    fn on_drain(&mut self, _: &Handle) {}
}

impl<A: HandlerAffinity> Handler<A> for Relay<Id> {
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        let end = self.confined(cx, |side| side.on_read());
        self.tell(end);
    }

    fn on_event(&mut self, cx: &mut Context<'_, A>, event: Event) {
        let end = self.confined(cx, |side| side.on_event(event));
        self.tell(end);
    }

    fn is_joined(&self) -> bool {
        true
    }

    fn hears_write(&self) -> bool {
        false
    }

    fn on_drain(&mut self, _: &mut Context<'_, A>) {}
}

impl Relay<Id> {
    fn confined<A: HandlerAffinity>(
        &mut self,
        cx: &mut Context<'_, A>,
        act: impl FnOnce(&mut Side<'_, Option<&mut Bufferevent>>) -> Option<Ending>,
    ) -> Option<Ending> {
        let Context { bufferevent, spot, .. } = cx;
        let other = match spot {
            Spot::Base(base) => base.bufferevent(self.other).ok(),
            Spot::Strand(..) | Spot::Remote(_) => None,
        };
        act(&mut self.side(bufferevent, |_| other))
    }
}

impl<O> fmt::Debug for Relay<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("side", &self.side).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("on_end", &self.done.is_some()).field("idle", &self.idle).finish()
    }
}
