//! What is under a filtering bufferevent: the one that it owns, and the filter between them.

use std::fmt;

use bufferevent_evbuffer::{Evbuffer, transport::Transport};
use bufferevent_runtime::{SemaphorePermit, Time};
use bufferevent_sync::Mutex;

use super::{
    Belfry, Ending, Filter, FilterCall, FilterError, FilterStatus, FlushMode, Handshake,
    given::{Given, Mark},
    handshake::Greeting,
    loan::{Loan, scratch},
    side::{Outcome, Side, Supply},
};
use crate::{
    bufferevent::{Bufferevent, Closing, Home, Owned},
    event::Cause,
    handler::PanicPolicy,
    interest::{Direction, Interest},
};

/// The lower bufferevent, and the filter.
pub(crate) struct Layer {
    pub(crate) lower: Owned,
    pub(super) filter: Exclusive,
    pub(super) greeting: Greeting,
    /// Its place among the handshakes of its base, from the first byte to the end.
    pub(super) permit: Option<Box<SemaphorePermit>>,
    /// A call for the handshake is for the next pass.
    pub(super) put_off: bool,
    pub(super) incoming: Side,
    pub(super) outgoing: Side,
    pub(super) on_panic: PanicPolicy,
    /// Has the filter called again.
    pub(super) bell: Belfry,
    /// It was reached from above since the last look.
    pub(crate) touched: bool,
    /// The filter was called and did not return: it is not called again.
    broken: bool,
    /// How the lower one is to be closed when the time has come, once that is known.
    pub(super) bounds: Option<Box<Closing>>,
    /// How the filter tells the end, in a close.
    pub(super) ending: Ending,
    /// The lower one closes: all that the filter has given is there.
    pub(super) sunk: bool,
    /// What the filter has made of what it took, as long as that is not sent.
    pub(super) given: Given,
    /// Directions below that the end, an error or a timeout has switched off, and `enable` above switches on again.
    pub(super) stopped: Interest,
    /// The end that the filter is to be told of is none for good: what comes behind it is read once it has been told.
    pub(super) pauses: bool,
    /// Why nothing more arrives, to be told once the filter was called for all that has.
    pub(super) untold: Option<Box<Cause>>,
    /// How many there are below.
    pub(crate) depth: u8,
    /// Rate limits count what is below.
    pub(crate) counts_below: bool,
}

/// The filter, of which whoever has the layer to themselves gets hold, so that it need not be `Sync`. Never locked.
pub(super) struct Exclusive(Mutex<Box<dyn Filter>>);

/// What a call has moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    /// Out of the source.
    pub(super) consumed: usize,
    /// Into the destination.
    pub(super) produced: usize,
}

/// A filter was called, and returned.
pub(super) struct Called<T = FilterStatus> {
    lent: usize,
    pub(super) bytes: Bytes,
    /// There was no room for more of a reply.
    choked: bool,
    pub(super) said: Result<T, FilterError>,
}

/// Where the answers of a filter's own go: a buffer that is made when it is first asked for.
#[derive(Debug)]
pub(super) struct Replies {
    made: Option<Evbuffer>,
    room: usize,
}

/// How a filter is called.
pub(super) struct Calling {
    pub(super) mode: FlushMode,
    /// Bytes of the source to lend.
    pub(super) lend: usize,
    /// Bytes it is to give.
    pub(super) limit: usize,
    /// Bytes it would be to give if there were no rate limit.
    pub(super) usual: usize,
    /// Bytes it may give.
    pub(super) room: usize,
    pub(super) now: Time,
}

/// What a call is about, besides buffers.
struct About<'a> {
    on_panic: PanicPolicy,
    /// Nothing follows, ever.
    last: bool,
    bell: &'a mut Belfry,
    home: Option<&'a Home>,
}

impl Layer {
    pub(crate) fn new(lower: Owned, filter: impl Filter, depth: u8) -> Self {
        let holds = filter.holds();
        let mut layer = Self {
            lower,
            counts_below: filter.counts_below(),
            greeting: Greeting::of(&filter),
            permit: None,
            put_off: false,
            filter: Exclusive(Mutex::new(Box::new(filter))),
            incoming: Side::default(),
            outgoing: Side::default(),
            on_panic: PanicPolicy::Isolate,
            bell: Belfry::default(),
            touched: false,
            broken: false,
            bounds: None,
            ending: Ending::default(),
            sunk: false,
            given: Given::default(),
            stopped: Interest::NONE,
            pauses: false,
            untold: None,
            depth,
        };
        layer.hold(holds);
        layer
    }

    /// What has arrived below.
    pub(super) fn arrived(&self) -> Supply {
        Supply { len: self.lower.input.len(), offered: self.lower.moved(Direction::Read) }
    }

    /// Bytes that the output below should be given: up to its high mark; at least one if it is empty.
    pub(super) fn room_below(&self) -> usize {
        let lower = &self.lower;
        if lower.shut.asked.contains(Interest::WRITE) {
            return 0;
        }
        let queued = lower.output.len();
        lower.write.high.room(queued).max(usize::from(queued == 0)).min(lower.output.room())
    }

    /// What an event has switched off below is switched on again, with the same above. False: nothing was.
    pub(crate) fn start_again(&mut self, directions: Interest) -> bool {
        let again = directions.difference(Interest::BOTH.difference(self.stopped));
        self.stopped = self.stopped.difference(directions);
        if directions.contains(Interest::WRITE) {
            self.outgoing.try_again();
        }
        if again != Interest::NONE {
            self.lower.enable(again);
        }
        again != Interest::NONE
    }

    pub(crate) fn set_panic_policy(&mut self, policy: PanicPolicy) {
        self.on_panic = policy;
        self.lower.set_panic_policy(policy);
    }

    pub(super) fn bounds(&self) -> Closing {
        self.bounds.as_deref().copied().unwrap_or_default()
    }

    /// Whether the filter can be called.
    pub(super) fn is_sound(&self) -> bool {
        !self.broken
    }

    /// Whether what is above can go nowhere.
    pub(super) fn has_failed_to_send(&self) -> bool {
        self.broken || self.outgoing.has_failed()
    }

    /// A call for what is to be sent begins, of which `taken` bytes were taken before.
    #[inline]
    pub(super) fn note_given(&mut self, taken: u64) {
        let now = Mark { taken, given: self.lower.offered() };
        if self.lower.unsent() == 0 {
            self.given.begin(now)
        } else {
            self.given.go_on(now, self.lower.sent())
        }
    }

    /// Whether the peer has ended its side, as the filter takes it, and all that came before was filtered.
    pub(super) fn has_heard_end(&self) -> bool {
        self.incoming.is_done() && !self.incoming.has_failed()
    }

    /// Calls the filter for what arrives, into `input`. `None`: it panicked.
    pub(super) fn call_input(&mut self, how: &Calling, input: &mut Evbuffer) -> Option<Called> {
        let (filter, last) = (self.filter.0.get_mut(), self.incoming.is_ending() && !self.pauses);
        let Bufferevent { input: source, output, shut, home, .. } = &mut *self.lower;
        let about = About { on_panic: self.on_panic, last, bell: &mut self.bell, home: home.as_ref() };
        let mut nowhere = None;
        let reply = match shut.asked.contains(Interest::WRITE) {
            true => nowhere.insert(scratch()),
            false => output,
        };
        self.broken = true;
        let called = call(about, how, source, input, Some(reply), |call| filter.input(call))?;
        self.broken = false;
        if called.choked {
            self.outgoing.hold();
        }
        if called.bytes.consumed > 0 {
            self.outgoing.look_again();
        }
        let arrived = self.arrived();
        Some(self.incoming.note(how, called, arrived))
    }

    /// Calls the filter for what is to be sent, out of `output`, of which it has taken `taken` bytes before. `None`: it
    /// panicked.
    pub(super) fn call_output(&mut self, how: &Calling, output: &mut Evbuffer, taken: u64) -> Option<Called> {
        let (filter, last) = (self.filter.0.get_mut(), self.outgoing.is_ending());
        let Bufferevent { output: target, home, .. } = &mut *self.lower;
        let about = About { on_panic: self.on_panic, last, bell: &mut self.bell, home: home.as_ref() };
        self.broken = true;
        let mut called = call(about, how, output, target, None, |call| filter.output(call))?;
        self.broken = false;
        if let Ok(FilterStatus::End) = called.said {
            called.said = Ok(FilterStatus::NeedMore);
        }
        if called.bytes.produced > 0 {
            self.incoming.look_again();
        }
        let left = to_send(output, taken + called.bytes.consumed as u64);
        Some(self.outgoing.note(how, called, left))
    }

    /// Calls the filter for its handshake. `None`: it panicked.
    pub(super) fn call_handshake(&mut self, how: &Calling) -> Option<Called<Handshake>> {
        let (filter, last) = (self.filter.0.get_mut(), self.incoming.is_ending());
        let Bufferevent { input: source, output: target, home, .. } = &mut *self.lower;
        let about = About { on_panic: self.on_panic, last, bell: &mut self.bell, home: home.as_ref() };
        let mut holds = Interest::NONE;
        self.broken = true;
        let called = call(about, how, source, target, None, |call| {
            let said = filter.handshake(call)?;
            if said == Handshake::Done {
                holds = filter.holds();
            }
            Ok(said)
        })?;
        self.broken = false;
        self.hold(holds);
        Some(called)
    }

    /// The bell hangs where the bufferevent lives.
    pub(crate) fn hang_bell(&self) {
        self.bell.hang_at(self.lower.home.as_ref());
    }

    /// Has the filter called again if somebody has rung for it.
    pub(super) fn answer_bell(&mut self) {
        if self.bell.was_rung() && !self.begin_greeting_again() {
            let sides = [&mut self.incoming, &mut self.outgoing];
            sides.into_iter().filter(|side| !side.has_failed()).for_each(Side::hold);
        }
    }

    /// Asks the filter what it has to give. True: it did not panic.
    pub(super) fn hold_what_it_has(&mut self) -> bool {
        let holds = self.filter_mut().holds();
        self.hold(holds);
        true
    }

    /// The filter has something to give in these directions, of which no byte tells.
    fn hold(&mut self, directions: Interest) {
        if directions.contains(Interest::READ) {
            self.incoming.hold();
        }
        if directions.contains(Interest::WRITE) {
            self.outgoing.hold();
        }
    }

    /// The filter itself.
    pub(crate) fn filter_mut(&mut self) -> &mut dyn Filter {
        &mut **self.filter.0.get_mut()
    }
}

impl Replies {
    pub(super) fn buffer(&mut self) -> &mut Evbuffer {
        self.made.get_or_insert_with(|| {
            let mut buffer = scratch();
            buffer.set_limit(Some(self.room));
            buffer
        })
    }
}

/// Calls a filter on buffers of the call's own: what is frozen, capped or observed is none of its business, and what it does
/// to them is checked after.
fn call<T>(
    about: About<'_>,
    how: &Calling,
    source: &mut Evbuffer,
    destination: &mut Evbuffer,
    reply: Option<&mut Evbuffer>,
    filter: impl FnOnce(&mut FilterCall<'_>) -> Result<T, FilterError>,
) -> Option<Called<T>> {
    let Calling { mode, lend, limit, room, now, .. } = *how;
    let About { on_panic, last, bell, home } = about;
    let mut loan = Loan::begin(source, lend, destination, room);
    let mut replies = reply.as_ref().map(|reply| Replies { made: None, room: reply.room() });
    let [lent, made] = loan.buffers(source, destination);
    let lend = lent.len();
    let mut said = None;
    on_panic.guard(|| {
        let replies = replies.as_mut();
        said = Some(filter(&mut FilterCall {
            source: lent,
            destination: made,
            replies,
            limit,
            mode,
            last,
            now,
            bell,
            home,
        }));
    });
    let [lent, made] = loan.buffers(source, destination);
    let room_for_replies = replies.as_ref().map_or(0, |replies| replies.room);
    let mut replied = replies.as_mut().and_then(|replies| replies.made.as_mut());
    let overflows = |made: &Evbuffer, room| made.len() - made.unloaded() > room;
    let misused = lent.len() > lend
        || overflows(made, room)
        || replied.as_ref().is_some_and(|replied| overflows(replied, room_for_replies));
    if misused {
        // What is in there may be anything.
        said = said.map(|_| Err(Misused.into()));
        lent.consume(usize::MAX);
        replied = None;
    }
    if misused || said.is_none() {
        made.consume(usize::MAX);
    }
    let (left, given) = loan.end(source, destination);
    let choked = replied.as_ref().is_some_and(|replied| replied.len() >= room_for_replies);
    let passed = match (reply, replied) {
        (Some(reply), Some(replied)) => replied.pass_on(reply, usize::MAX),
        _ => Ok(0),
    };
    let (mut said, produced) = (said?, given.as_ref().map_or(0, |produced| *produced));
    if let Err(error) = passed.and(given) {
        said = Err(error.into());
    }
    Some(Called { lent: lend, bytes: Bytes { consumed: lend - left, produced }, choked, said })
}

/// What there is in an output, of which `taken` bytes have gone: no more than can be lent at once.
pub(super) fn to_send(output: &Evbuffer, taken: u64) -> Supply {
    let len = output.len();
    Supply { len: len.min(output.limit().unwrap_or(usize::MAX)), offered: taken + len as u64 }
}

impl Side {
    fn note(&mut self, how: &Calling, mut called: Called, left: Supply) -> Called {
        if let Ok(status) = called.said {
            let Called { lent, bytes: Bytes { consumed, produced }, .. } = called;
            let outcome = Outcome { lent, consumed, produced, limit: how.limit, room: how.usual, status };
            if let Err(endless) = self.called(how.mode, outcome, left) {
                called.said = Err(Box::new(endless));
            }
        }
        if called.said.is_err() {
            self.fail();
        }
        called
    }
}

/// A filter has panicked, which ends its bufferevent.
#[derive(Debug)]
pub(super) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the filter panicked")
    }
}

impl std::error::Error for Panicked {}

/// A filter has done to the buffers it was lent what it must not do.
#[derive(Debug)]
struct Misused;

impl fmt::Display for Misused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the filter has put bytes into its source, or more than there is room for into its destination",
        )
    }
}

impl std::error::Error for Misused {}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("lower", &&*self.lower).finish_non_exhaustive()
    }
}
