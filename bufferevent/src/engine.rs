//! What a run of a bufferevent does, step by step: one system call at a time, callbacks between them.
//!
//! The engine holds no handler and calls nobody. The shell ([`confined`](crate::confined), [`shared`](crate::shared))
//! begins a run with the reasons for it, then asks in turn for the next callback and the next step until there is
//! neither, and ends the run. So a callback runs directly after the step that raised it, and before the next system
//! call (D17).

use bufferevent_evbuffer::transport::Transport;
use bufferevent_ratelimit::LEASE_MIN;
use bufferevent_runtime::{BLOCK, Ready, Reasons, Scratch, Selector as _, Time};

use crate::{
    bound::Bound,
    bufferevent::{ALARM, Bufferevent, Home, LAYERED, LIMITED, Phase, Socket},
    defaults::READS_PER_RUN,
    event::{Cause, Event},
    interest::{Direction, Interest},
    memory::Member,
    options::Options,
    pending::{Callback, Due},
    stream::{Io, is_shortage},
};

/// Callbacks in one run. One that makes itself due again and again, by a trigger or by writes from an unlocked callback,
/// would hold the worker for ever.
const CALLBACKS_PER_RUN: u8 = 32;

/// A shorter read is copied behind what the input holds already, so that small data does not hold large blocks.
const KEEP_BLOCK: usize = BLOCK / 4;

/// With so much of a lease a read is content: what there is to read is not known before.
const READ_LEAST: usize = LEASE_MIN as usize;

/// What the end of a run leaves for the shell to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Ended {
    /// Nothing until something is posted.
    Idle,
    /// Budget ended the run: run again at the tail of the queue.
    Again,
    /// What is next costs much: run again once others had their turn, in the next pass.
    PutOff,
    /// Callbacks are due: run again from the deferred queue.
    Defer,
    /// The bufferevent is over.
    Over,
}

impl Bufferevent {
    /// Begins a run.
    #[inline]
    pub(crate) fn begin_run(&mut self, reasons: Reasons, now: Time) {
        self.run.now = now;
        self.ready |= Ready::from_bits(reasons.readiness());
        self.run.reads = READS_PER_RUN;
        self.run.writes = 1;
        self.run.callbacks = CALLBACKS_PER_RUN;
        self.run.deliver = !self.options.contains(Options::DEFER_CALLBACKS);
        let unusual = Reasons::DEFERRED | Reasons::CLOSE | Reasons::TIMER | Reasons::MOVED;
        if reasons.intersects(unusual) {
            self.begin_unusual_run(reasons);
        }
        if self.is_layered() {
            self.begin_layer(reasons);
        }
    }

    #[cold]
    fn begin_unusual_run(&mut self, reasons: Reasons) {
        if reasons.contains(Reasons::MOVED) {
            self.refresh();
        }
        if reasons.contains(Reasons::DEFERRED) {
            self.run.deliver = true;
            if let Some(later) = self.later.take() {
                self.pending.merge(*later);
            }
        }
        if reasons.contains(Reasons::CLOSE) {
            self.drain_begins();
        }
        if reasons.contains(Reasons::TIMER) {
            self.alarm_rings();
        }
    }

    /// Goes on, a system call at a time, until a callback is due, or observers are. False: the run is over.
    #[inline(always)]
    pub(crate) fn advance(&mut self, scratch: &mut Scratch) -> bool {
        while !self.has_callback() {
            if !self.step(scratch) {
                return false;
            }
        }
        true
    }

    #[inline]
    fn has_callback(&self) -> bool {
        self.run.deliver && !self.pending.is_empty() || self.has_news()
    }

    /// Takes the read callback if it alone is due, as it is nearly always, and the buffers justify it.
    #[inline]
    pub(crate) fn takes_read(&mut self) -> bool {
        let readable = !self.input.is_empty() && self.input.len() >= self.read_low();
        let takes = self.run.deliver && self.run.callbacks > 1 && readable && self.pending.take_read_alone();
        self.run.callbacks -= u8::from(takes);
        takes
    }

    /// The callback that is due, unless the buffers no longer justify it.
    #[inline(never)]
    pub(crate) fn next_callback(&mut self) -> Option<Callback> {
        if !self.run.deliver {
            return None;
        }
        if self.has_ended() {
            return self.last_callback();
        }
        let (input, output) = (self.input.len(), self.output.len());
        let (read_low, write_low) = (self.read_low(), self.write.low);
        let readable = |asked| input >= read_low && (asked || input > 0);
        self.run.callbacks -= 1;
        if self.run.callbacks == 0 {
            self.run.deliver = false;
            self.unusual();
            return self.pending.next_but_write(readable);
        }
        self.pending.next(readable, || output <= write_low)
    }

    /// [`Event::Closed`], if it was asked for.
    #[cold]
    fn last_callback(&mut self) -> Option<Callback> {
        let asked = !self.pending.is_empty();
        self.pending.clear();
        let closed = if asked { self.outcome() } else { None };
        closed.map(|closed| Callback::Event(Event::Closed(Box::new(closed))))
    }

    /// Does the next system call, if there is one to do. False: there is none.
    #[inline(always)]
    fn step(&mut self, scratch: &mut Scratch) -> bool {
        if self.phase != Phase::Open {
            return self.step_unusual(scratch);
        }
        self.step_read::<false>(scratch) || self.step_on(scratch)
    }

    /// The steps after that of reading.
    #[inline(always)]
    fn step_on(&mut self, scratch: &mut Scratch) -> bool {
        self.step_send::<false>()
            || self.told.owes_eof && self.tell_eof()
            || self.may_shut_down() && self.step_shutdown()
            || self.run.rare & (ALARM | LAYERED) != 0 && self.step_rare(scratch)
    }

    #[cold]
    fn step_rare(&mut self, scratch: &mut Scratch) -> bool {
        self.is_layered() && self.step_below(scratch) || self.run.rare & ALARM != 0 && self.step_clocks()
    }

    /// A step of what is under a filter, which may withhold reading.
    #[cold]
    pub(crate) fn step_as_lower(&mut self, scratch: &mut Scratch) -> bool {
        if self.phase != Phase::Open || !self.told.withheld {
            return self.step(scratch);
        }
        self.step_on(scratch)
    }

    /// Whether a direction is switched on and ready.
    #[inline]
    pub(crate) fn may_go(&self, direction: Ready) -> bool {
        self.ready.bits() & self.enabled.bits() & direction.bits() != 0
    }

    #[cold]
    pub(crate) fn step_unusual(&mut self, scratch: &mut Scratch) -> bool {
        let stepped = match self.phase {
            _ if self.is_layered() => self.step_unusual_layer(scratch),
            Phase::Connecting | Phase::Departing => self.step_connect(),
            Phase::Draining => self.step_drain(),
            Phase::Lingering => self.step_linger(scratch),
            Phase::Open | Phase::Detached | Phase::Ended => false,
        };
        stepped || self.run.rare & ALARM != 0 && self.step_clocks()
    }

    /// Ends the run: gives blocks back, and says what is left to do.
    #[inline(always)]
    pub(crate) fn end_run(&mut self, scratch: &mut Scratch) -> Ended {
        let below = if self.is_layered() { self.end_layer(scratch) } else { Ended::Idle };
        self.give_back(scratch);
        if self.has_memory_to_count() && self.count_memory() {
            return self.give_way();
        }
        if self.run.rare & LIMITED != 0 {
            self.settle_limits();
        }
        self.rearm();
        if !self.pending.is_empty() || self.later.is_some() {
            return Ended::Defer;
        }
        if self.owes_deferred() {
            return Ended::Again;
        }
        let goes_on = match self.phase {
            Phase::Open => self.may_read() || self.may_write(),
            Phase::Ended => return Ended::Over,
            _ => self.may_write() || self.may_linger(),
        };
        if goes_on { Ended::Again } else { below }
    }

    // ---- reading ----

    /// Whether anything may be read now: not at the high mark and at the cap, and not while it waits for memory.
    #[inline]
    pub(crate) fn has_room_to_read(&self) -> bool {
        !self.input_bound().is_reached(self.input.len()) && !self.is_short_of_memory() && !self.told.withheld
    }

    /// Bytes that one read may take, whatever memory there is.
    #[inline]
    pub(crate) fn room_to_read(&self) -> usize {
        self.read.max_single.min(self.input_bound().room(self.input.len()))
    }

    #[inline]
    fn input_bound(&self) -> Bound {
        self.read.high.tighter(self.input_cap)
    }

    /// Whether it waits until its limit has memory.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.memory.as_ref().is_some_and(|member| member.is_held_back(self.held_bytes()))
    }

    /// What the buffers hold in memory.
    fn held_bytes(&self) -> usize {
        self.input.len() + self.output.len() - self.output.unloaded()
    }

    #[cold]
    fn waits_for_memory(&mut self) -> bool {
        let held = self.held_bytes();
        let (Some(member), Some(home)) = (&mut self.memory, &self.home) else { return false };
        member.waits(held, home)
    }

    #[inline]
    pub(crate) fn has_memory_to_count(&self) -> bool {
        let to_count = |member: &Member| !member.is_counted(self.held_bytes());
        self.memory.as_ref().is_some_and(|member| self.phase == Phase::Ended || to_count(member))
    }

    /// Tells the limit what is held now. What has ended is no member any more. True: it is to end.
    #[cold]
    pub(crate) fn count_memory(&mut self) -> bool {
        let [read, written] = Direction::ALL.map(|direction| self.moved(direction));
        let (held, moved) = (self.held_bytes(), read.wrapping_add(written));
        let (Some(member), Some(home)) = (&mut self.memory, &self.home) else { return false };
        let ends = member.count(held, moved, home);
        if self.phase == Phase::Ended {
            self.memory = None;
            return false;
        }
        ends
    }

    /// It held memory and moved nothing while others had none.
    #[cold]
    fn give_way(&mut self) -> Ended {
        self.abort();
        Ended::Again
    }

    fn may_read(&self) -> bool {
        self.would_read() && !self.is_throttled(Direction::Read)
    }

    /// Whether it would read if its rate limits let it.
    pub(crate) fn would_read(&self) -> bool {
        self.may_go(Ready::READABLE) && self.phase == Phase::Open && self.has_room_to_read()
    }

    /// Reads, if there is anything to read, and room. `PLAIN`: the run [is plain](Bufferevent::is_plain).
    #[inline(always)]
    pub(crate) fn step_read<const PLAIN: bool>(&mut self, scratch: &mut Scratch) -> bool {
        if !self.may_go(Ready::READABLE) {
            return false;
        }
        // Also one that was held back before: it may have lost its place.
        let asks = self.memory.as_ref().is_some_and(|member| member.asks());
        let waits = asks && self.waits_for_memory();
        let budget = self.room_to_read();
        if waits || budget == 0 {
            return !waits && self.take_pushed() || self.tell_input_full();
        }
        self.told.input_full = false;
        if self.run.reads == 0 {
            return false;
        }
        self.run.reads -= 1;
        if self.run.reads < READS_PER_RUN - 1 {
            // What the callback has emptied is read into again, while it is warm.
            self.input.settle(&mut |block| scratch.give(block));
        }
        let granted = self.grant(Direction::Read, budget, usize::MAX, READ_LEAST);
        if granted == 0 {
            return false;
        }
        let Some(link) = self.link() else { return self.read_elsewhere::<PLAIN>(granted, scratch) };
        match link.receive(&mut scratch.block()[..granted]) {
            Io::Done(n @ 1..) => {
                self.charge(Direction::Read, granted, n);
                self.keep(scratch, n);
                self.after_read::<PLAIN>(n, granted);
            }
            nothing => self.read_nothing(granted, nothing),
        }
        true
    }

    #[inline(never)]
    fn read_nothing(&mut self, granted: usize, received: Io) {
        self.settle(Direction::Read, granted, 0);
        match received {
            Io::Done(_) => self.read_eof(),
            Io::WouldBlock => self.ready = self.ready - Ready::READABLE,
            Io::Failed(error) => self.fail(Direction::Read, error),
        }
    }

    /// Moves what was read from the worker's block to the input.
    ///
    /// Into an empty input the block itself goes; if little of it is used when the run ends, that is copied then.
    #[inline(always)]
    pub(crate) fn keep(&mut self, scratch: &mut Scratch, n: usize) {
        if n < KEEP_BLOCK && !self.input.is_empty() {
            let filled = self.input.fill(&scratch.block()[..n]);
            debug_assert!(filled.is_ok(), "the input has no limit of its own: its cap bounds each read");
        } else if let Err((error, block)) = self.input.append_block(scratch.take(), n) {
            debug_assert!(false, "the input has no limit of its own: {error}");
            scratch.give(block);
        }
    }

    #[inline(always)]
    pub(crate) fn after_read<const PLAIN: bool>(&mut self, n: usize, budget: usize) {
        self.run.progress = self.run.progress | Interest::READ;
        if n == budget {
            if budget < BLOCK && self.throttle.is_none() {
                self.run.reads = 0;
            }
        } else if self.is_drained_by_short_read::<PLAIN>() {
            self.ready = self.ready - Ready::READABLE;
        }
        self.input_has_grown();
    }

    #[inline]
    pub(crate) fn input_has_grown(&mut self) {
        if self.input.len() >= self.read_low() {
            self.pending.read(Due::Io);
        }
    }

    /// A short read drained the socket, unless the end or an error is behind it, which the selector may not tell.
    #[inline]
    fn is_drained_by_short_read<const PLAIN: bool>(&self) -> bool {
        let reports = |home: &Home| home.base.selector().reports_hangup();
        (PLAIN || self.home.as_ref().is_some_and(reports)) && !self.ready.contains(Ready::HANGUP)
    }

    /// Reads from what is no descriptor.
    #[inline(never)]
    fn read_elsewhere<const PLAIN: bool>(&mut self, granted: usize, scratch: &mut Scratch) -> bool {
        match self.socket {
            Socket::Filter(_) if PLAIN => self.pass_up(granted, scratch),
            Socket::Filter(_) => self.filter_input(granted),
            _ => self.take_from_pair(granted, granted),
        }
    }

    pub(crate) fn read_eof(&mut self) {
        self.enabled = self.enabled.difference(Interest::READ);
        self.told.eof = true;
        self.tell_pause();
    }

    /// The end was reached of what there is for now: more may come.
    pub(crate) fn tell_pause(&mut self) {
        self.told.owes_eof = true;
        self.unusual();
        self.tell_eof();
    }

    /// Tells the end, unless a read callback is still owed: input that the output had no room for is told again when that
    /// has drained, and the end after it.
    fn tell_eof(&mut self) -> bool {
        self.note_full();
        let drains =
            !self.output.is_empty() && self.enabled.contains(Interest::WRITE) && !self.is_held_by_filter();
        if drains && self.told.output_full && !self.input.is_empty() {
            return false;
        }
        self.told.owes_eof = false;
        self.pending.event(Event::Eof);
        true
    }

    fn tell_input_full(&mut self) -> bool {
        let full = self.input_cap.is_reached(self.input.len());
        if !full || std::mem::replace(&mut self.told.input_full, true) {
            return false;
        }
        self.pending.event(Event::InputFull);
        true
    }

    // ---- writing ----

    fn may_write(&self) -> bool {
        self.would_write() && !self.is_throttled(Direction::Write)
    }

    /// Whether it would write if its rate limits let it.
    pub(crate) fn would_write(&self) -> bool {
        self.may_go(Ready::WRITABLE)
            && self.wants_to_write::<false>()
            && matches!(self.phase, Phase::Open | Phase::Draining)
    }

    #[inline]
    fn wants_to_write<const PLAIN: bool>(&self) -> bool {
        !self.output.is_empty() || !PLAIN && self.told.announce_writable
    }

    /// Writes, if there is anything to write. `PLAIN` as above.
    #[inline(always)]
    pub(crate) fn step_send<const PLAIN: bool>(&mut self) -> bool {
        self.may_go(Ready::WRITABLE)
            && self.wants_to_write::<PLAIN>()
            && self.run.writes > 0
            && self.write_once::<PLAIN>()
    }

    #[inline(never)]
    pub(crate) fn step_write(&mut self) -> bool {
        self.run.writes > 0 && self.would_write() && self.write_once::<false>()
    }

    #[inline(always)]
    fn write_once<const PLAIN: bool>(&mut self) -> bool {
        self.run.writes -= 1;
        if !PLAIN && self.output.is_empty() {
            self.told.announce_writable = false;
            self.pending.write(Due::Io);
            return true;
        }
        self.note_full();
        let all = self.output.len();
        let once = all.min(self.write.max_single);
        let most = self.grant(Direction::Write, once, all, once);
        if most == 0 {
            return false;
        }
        if !PLAIN && !self.output.is_plain() && !self.is_layered() && !self.load_ahead(most) {
            self.settle(Direction::Write, most, 0);
            return true;
        }
        self.send::<PLAIN>(most, most)
    }

    /// Sends at most `most` bytes, of which `granted` have been granted.
    #[inline(always)]
    pub(crate) fn send<const PLAIN: bool>(&mut self, granted: usize, most: usize) -> bool {
        let Some(link) = self.link() else { return self.write_elsewhere::<PLAIN>(granted, most) };
        let front = self.output.front();
        let (sent, attempted) = if front.len() >= most {
            (link.transmit_one(&front[..most]), most)
        } else {
            link.transmit(self.output.chunks(), most)
        };
        match sent {
            Io::Done(n) => {
                self.charge(Direction::Write, granted, n);
                self.after_write::<PLAIN>(n, attempted);
            }
            nothing => self.sent_nothing(granted, nothing),
        }
        true
    }

    #[inline(never)]
    fn sent_nothing(&mut self, granted: usize, sent: Io) {
        self.settle(Direction::Write, granted, 0);
        match sent {
            Io::Done(_) | Io::WouldBlock => self.ready = self.ready - Ready::WRITABLE,
            Io::Failed(error) if is_shortage(&error) => self.retry_later(),
            Io::Failed(error) => self.fail(Direction::Write, error),
        }
    }

    /// Writes to what is no descriptor.
    #[inline(never)]
    fn write_elsewhere<const PLAIN: bool>(&mut self, granted: usize, most: usize) -> bool {
        match self.socket {
            Socket::Filter(_) if PLAIN => self.pass_down(granted),
            Socket::Filter(_) => self.filter_output(granted),
            _ => self.put_into_pair(granted, most),
        }
    }

    /// Reads what the next write takes of a file; false if that failed.
    #[cold]
    pub(crate) fn load_ahead(&mut self, most: usize) -> bool {
        let loaded = self.output.load_ahead(most);
        loaded.map_err(|error| self.fail(Direction::Write, error)).is_ok()
    }

    /// Remembers that the output is at its high mark, or that what is left in the input would take it past its cap: then
    /// [`Event::Drained`] is due when it has drained.
    #[inline]
    fn note_full(&mut self) {
        // Each of the ways to be full takes as much.
        let bound = self.write.high.tighter(self.output.limit().into());
        if bound.is_reached(self.input.len().saturating_add(self.output.len())) {
            self.look_whether_full();
        }
    }

    fn look_whether_full(&mut self) {
        let (input, output) = (self.input.len(), self.output.len());
        let cap = self.output.limit().unwrap_or(usize::MAX);
        let held = output - self.output.unloaded();
        if self.write.high.is_reached(output) || held >= cap || input > 0 && held.saturating_add(input) > cap
        {
            self.told.output_full |= output > 0;
        }
    }

    #[inline(always)]
    fn after_write<const PLAIN: bool>(&mut self, n: usize, attempted: usize) {
        self.output.consume(n);
        if n < attempted {
            self.ready = self.ready - Ready::WRITABLE;
        }
        self.has_sent::<PLAIN>(n);
    }

    /// So many bytes have left the output.
    #[inline(always)]
    pub(crate) fn has_sent<const PLAIN: bool>(&mut self, n: usize) {
        self.run.progress = self.run.progress | Interest::WRITE;
        if !PLAIN && self.is_closing() || n == 0 || self.output.len() > self.write.low {
            return;
        }
        if !PLAIN {
            self.told.announce_writable = false;
        }
        self.output_is_low();
    }

    /// Makes due what is told when the output is down to its low mark.
    #[inline]
    pub(crate) fn output_is_low(&mut self) {
        if self.hears_write {
            self.pending.write(Due::Io);
        }
        if std::mem::take(&mut self.told.output_full) {
            self.tell_drained();
        }
    }

    /// Tells those who were told that there is no room that there is.
    #[cold]
    pub(crate) fn tell_drained(&mut self) {
        self.pending.event(Event::Drained);
        // Input that was left because the output had no room would wait for new input otherwise.
        if !self.input.is_empty() && (self.enabled.contains(Interest::READ) || self.told.owes_eof) {
            self.pending.read(Due::Io);
        }
    }

    /// Sends what can be sent, outside a run: at the end of a guard. Callbacks that this makes due stay pending.
    pub(crate) fn flush_output(&mut self) {
        self.run.writes = 1;
        // Under a rate limit a run does, which can wait for its turn.
        let sends = self.phase == Phase::Open && !self.output.is_empty() && self.throttle.is_none();
        // A filter is called in a run.
        if sends && !self.is_layered() {
            self.step_write();
        }
        self.run.writes = 0;
        if self.memory.is_some() {
            // Whoever is to end is told so in its next run.
            let _ = self.count_memory();
        }
    }

    /// Whether a run would find something to do.
    pub(crate) fn wants_run(&self) -> bool {
        !self.pending.is_empty()
            || self.later.is_some()
            || self.has_news()
            || self.owes_deferred()
            || self.is_closing()
            || self.told.owes_eof
            || self.owes_clocks()
            // Its limits, or what they let, may be others than when it ran.
            || self.throttle.is_some()
            || self.connector.as_ref().is_some_and(|connector| connector.is_fresh())
            || self.may_read()
            || self.may_write()
            || self.may_shut_down()
            || self.is_layered()
    }

    pub(crate) fn fail(&mut self, direction: Direction, cause: impl Into<Cause>) {
        if self.is_closing() {
            return self.close_failed(cause.into());
        }
        self.told.broken_off |= direction == Direction::Read;
        self.enabled = self.enabled.difference(direction.into());
        self.pending.event(Event::Error { direction: Some(direction), cause: cause.into() });
    }

    // ---- rate limits ----

    /// How many of `want` bytes may move now; 0: the direction is suspended. `in_all` could move if there were no limit; with
    /// less than `least` of a lease it asks for more.
    #[inline(always)]
    fn grant(&mut self, direction: Direction, want: usize, in_all: usize, least: usize) -> usize {
        let left = self.allowance.left(direction);
        let lends = || self.throttle.as_ref().is_none_or(|throttle| throttle.lends(direction, self.run.now));
        if left >= least as u64 && lends() {
            return left.min(want as u64) as usize;
        }
        self.grant_by_limits(direction, want, in_all)
    }

    /// What of a grant was used: counts it. The rest goes back.
    #[inline(always)]
    pub(crate) fn charge(&mut self, direction: Direction, granted: usize, used: usize) {
        let within = (1..=granted).contains(&used) && self.allowance.spend(direction, used as u64);
        if !within {
            self.settle(direction, granted, used);
        }
    }

    pub(crate) fn is_throttled(&self, direction: Direction) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| !throttle.suspended(direction).is_empty())
    }

    // ---- the end of a run ----

    /// Drained blocks go back to the worker; an empty buffer keeps no memory.
    #[inline(always)]
    pub(crate) fn give_back(&mut self, scratch: &mut Scratch) {
        let mut pool = |block| scratch.give(block);
        self.input.settle(&mut pool);
        self.output.settle(&mut pool);
        if !self.output.is_empty() {
            self.note_full();
        }
    }

    /// Where the system knows no edges, waits anew for what is not ready.
    #[inline]
    pub(crate) fn rearm(&mut self) {
        if self.home.as_ref().is_some_and(|home| home.base.selector().needs_rearm()) {
            self.wait_anew();
        }
    }

    fn wait_anew(&mut self) {
        if let (Some(connector), Some(home)) = (&self.connector, &self.home) {
            if let Err(error) = connector.rearm(home) {
                self.connect_failed(Cause::Io(error));
            }
            return;
        }
        let (Socket::Registered(registered), Some(home)) = (&self.socket, &self.home) else { return };
        let mut wanted = Ready::NONE;
        if self.enabled.contains(Interest::READ) || self.phase == Phase::Lingering && !self.told.eof {
            wanted |= Ready::READABLE;
        }
        let connects = matches!(self.phase, Phase::Connecting | Phase::Departing);
        if !self.output.is_empty() || self.told.announce_writable || connects {
            wanted |= Ready::WRITABLE;
        }
        let missing = wanted - self.ready;
        if missing != Ready::NONE {
            if let Err(error) = registered.rearm(home.key.token(), missing) {
                self.fail(Direction::Read, error);
            }
        }
    }
}
