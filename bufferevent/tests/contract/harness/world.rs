//! Bases, whoever drives them, and what lives on them.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bufferevent::{
    Base, BaseExt, BaseHandle, Bufferevent, Builder, Error, Movable, Options, Pinned, Result, Runtime,
    Trigger, Turned,
    runtime::{Clock, SelectorKind},
};
use bufferevent_sync::Mutex;

use super::{
    Actor, Call, Conn, LIMIT, Log, Peer, Set, Shape, Who, launch, leaks::Leaks, log::Signal, turn_peers,
};

/// Bases, and whoever drives them.
pub(crate) struct World {
    pub(crate) drive: Drive,
    pub(super) signal: Arc<Signal>,
    logs: Vec<Log>,
    next_base: usize,
    leaks: Leaks,
}

pub(crate) enum Drive {
    Pinned(Base<Pinned>),
    Movable(Base<Movable>),
    Threads { runtime: Runtime, running: Option<JoinHandle<()>> },
}

/// A result that another thread brings.
type Answer<R> = Arc<Mutex<Option<R>>>;

impl World {
    pub(crate) fn new(shape: Shape, selector: SelectorKind, clock: Clock) -> Self {
        let by_hand = || selector.make().unwrap();
        let drive = match shape {
            Shape::Pinned => Drive::Pinned(Base::with_selector(by_hand(), clock).unwrap()),
            Shape::Movable => Drive::Movable(Base::with_selector(by_hand(), clock).unwrap()),
            Shape::Threads { workers, bases } => {
                let builder =
                    Runtime::builder().workers(workers).bases(bases).selector(selector).clock(clock);
                let runtime = builder.build().unwrap();
                let mine = runtime.clone();
                let running = Some(thread::spawn(move || mine.run().unwrap()));
                Drive::Threads { runtime, running }
            }
        };
        let bases = match &drive {
            Drive::Pinned(base) => vec![base.handle().as_movable()],
            Drive::Movable(base) => vec![base.handle()],
            Drive::Threads { runtime, .. } => runtime.bases(),
        };
        Self { drive, signal: Arc::default(), logs: Vec::new(), next_base: 0, leaks: Leaks::of(bases) }
    }

    pub(crate) fn start(&mut self, set: Set, builder: Builder, actor: Actor) -> Result<Conn> {
        self.logs.push(actor.log.clone());
        self.leaks.watch_handler(&actor);
        match &mut self.drive {
            Drive::Pinned(base) => launch(set, builder, actor, base, None),
            Drive::Movable(base) => launch(set, builder, actor, base, None),
            Drive::Threads { runtime, .. } => {
                let bases = runtime.bases();
                let home = bases[self.next_base % bases.len()].clone();
                self.next_base += 1;
                launch(set, builder, actor, &mut home.clone(), Some(home))
            }
        }
    }

    /// Runs `f` on the bufferevent, from outside of its callbacks.
    pub(crate) fn with<R: Send + 'static>(
        &mut self,
        conn: &Conn,
        f: impl FnOnce(&mut Bufferevent) -> R + Send + 'static,
    ) -> Result<R> {
        let id = match &conn.who {
            Who::Shared(handle) => return Ok(f(&mut handle.lock()?)),
            Who::Confined(id) => *id,
        };
        match &mut self.drive {
            Drive::Pinned(base) => base.bufferevent(id).map(f),
            Drive::Movable(base) => base.bufferevent(id).map(f),
            Drive::Threads { .. } => self.on_base_of(conn, move |base| base.bufferevent(id).map(f)),
        }
    }

    /// Replaces the handler, from outside of its callbacks.
    pub(crate) fn replace(&mut self, conn: &Conn, heir: Actor) {
        let id = match &conn.who {
            Who::Shared(handle) => {
                let mut guard = handle.lock().unwrap();
                return match guard.options().contains(Options::UNLOCK_CALLBACKS) {
                    true => guard.set_unlocked_handler(heir).unwrap(),
                    false => guard.set_handler(heir).unwrap(),
                };
            }
            Who::Confined(id) => *id,
        };
        match &mut self.drive {
            Drive::Pinned(base) => base.set_handler(id, heir).unwrap(),
            Drive::Movable(base) => base.set_handler(id, heir).unwrap(),
            Drive::Threads { .. } => self.on_base_of(conn, move |base| base.set_handler(id, heir).unwrap()),
        }
    }

    /// What is started next goes to the base of `conn`.
    pub(crate) fn skip_to_base_of(&mut self, conn: &Conn) {
        if let (Drive::Threads { .. }, Some(home)) = (&self.drive, &conn.home) {
            self.next_base = home.index();
        }
    }

    /// Runs `f` on the base of a bufferevent of a runtime, and waits for it.
    pub(crate) fn on_base_of<R: Send + 'static>(
        &mut self,
        conn: &Conn,
        f: impl FnOnce(&mut Base) -> R + Send + 'static,
    ) -> R {
        let answer = Answer::default();
        let theirs = Arc::clone(&answer);
        let home = conn.home.as_ref().unwrap();
        home.post(move |base| *theirs.lock() = Some(f(base))).unwrap();
        self.until("the base to answer", || answer.lock().is_some());
        answer.lock().take().unwrap()
    }

    /// Turns, or lets the workers turn, until `condition` holds.
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition() {
            assert!(Instant::now() < deadline, "waited too long for {what}; {:?}", self.transcripts());
            self.pump();
        }
    }

    /// Waits for `count` callbacks `call`.
    pub(crate) fn until_called(&mut self, conn: &Conn, call: Call, count: usize) {
        let log = conn.log.clone();
        self.until(&format!("{call:?} {count} times"), || log.count(call) >= count && !log.is_inside());
    }

    /// Waits until the input holds `len` bytes.
    pub(crate) fn until_input(&mut self, conn: &Conn, len: usize) {
        self.until_that(conn, "input", move |bufferevent| bufferevent.input().len() >= len);
    }

    /// Waits until `condition` holds for the bufferevent.
    pub(crate) fn until_that(
        &mut self,
        conn: &Conn,
        what: &str,
        condition: impl Fn(&mut Bufferevent) -> bool + Clone + Send + 'static,
    ) {
        let deadline = Instant::now() + LIMIT;
        while !self.with(conn, condition.clone()).unwrap() {
            assert!(Instant::now() < deadline, "waited too long for {what}; {:?}", self.transcripts());
            self.pump();
        }
    }

    fn transcripts(&self) -> Vec<Vec<Call>> {
        self.logs.iter().map(Log::calls).collect()
    }

    /// Lets a little happen.
    pub(crate) fn pump(&mut self) {
        let a_while = Duration::from_millis(1);
        turn_peers();
        match &mut self.drive {
            Drive::Pinned(base) => drop(base.turn(Some(a_while)).unwrap()),
            Drive::Movable(base) => drop(base.turn(Some(a_while)).unwrap()),
            Drive::Threads { .. } => {
                let mut locked = self.signal.lock.lock();
                self.signal.changed.wait_for(&mut locked, a_while);
            }
        }
    }

    /// Waits until nothing is going on: fails if something is running again and again.
    pub(crate) fn settle(&mut self) {
        let deadline = Instant::now() + LIMIT;
        let mut quiet = 0;
        while quiet < 3 {
            assert!(Instant::now() < deadline, "it runs and runs; {:?}", self.transcripts());
            let before = self.runs();
            turn_peers();
            let turned = match &mut self.drive {
                Drive::Pinned(base) => base.turn(Some(Duration::ZERO)).unwrap(),
                Drive::Movable(base) => base.turn(Some(Duration::ZERO)).unwrap(),
                Drive::Threads { .. } => {
                    self.pump();
                    Turned::Idle
                }
            };
            let idle = turned != Turned::Ran && self.runs() == before;
            quiet = if idle { quiet + 1 } else { 0 };
        }
    }

    pub(crate) fn runs(&self) -> u64 {
        match &self.drive {
            Drive::Pinned(base) => base.counters().runs.get(),
            Drive::Movable(base) => base.counters().runs.get(),
            Drive::Threads { runtime, .. } => {
                let bases: u64 = runtime.bases().iter().map(|base| base.counters().runs.get()).sum();
                bases + runtime.worker_counters().map(|worker| worker.runs.get()).sum::<u64>()
            }
        }
    }

    /// The base that the bufferevent was started on.
    pub(crate) fn base_id(&self, conn: &Conn) -> u64 {
        match &self.drive {
            Drive::Pinned(base) => base.id(),
            Drive::Movable(base) => base.id(),
            Drive::Threads { .. } => conn.home.as_ref().unwrap().id(),
        }
    }

    /// Callbacks that panicked.
    pub(crate) fn panics(&self) -> u64 {
        match &self.drive {
            Drive::Pinned(base) => base.counters().panics.get(),
            Drive::Movable(base) => base.counters().panics.get(),
            Drive::Threads { runtime, .. } => {
                runtime.bases().iter().map(|base| base.counters().panics.get()).sum()
            }
        }
    }

    pub(crate) fn until_panics(&mut self, count: u64) {
        let deadline = Instant::now() + LIMIT;
        while self.panics() < count {
            assert!(Instant::now() < deadline, "{} panics", self.panics());
            self.pump();
        }
        assert_eq!(self.panics(), count);
    }

    /// Sends an event through the bufferevent: what was due before it has been told when this returns.
    pub(crate) fn fence(&mut self, conn: &Conn) {
        const FENCE: u16 = 0x4000;
        let before = conn.log.count(Call::User(FENCE));
        self.with(conn, |bufferevent| bufferevent.trigger_event(FENCE, Trigger::PLAIN)).unwrap();
        self.until_called(conn, Call::User(FENCE), before + 1);
        conn.log.synced.lock().entries.retain(|entry| entry.call != Call::User(FENCE));
    }

    /// Waits until the bufferevent is no more.
    pub(crate) fn until_gone(&mut self, conn: &Conn) {
        let deadline = Instant::now() + LIMIT;
        while !matches!(self.with(conn, |_| ()), Err(Error::Closed)) {
            assert!(Instant::now() < deadline, "not gone; {:?}", self.transcripts());
            self.pump();
        }
    }

    pub(crate) fn close(&mut self, conn: &Conn) {
        match &conn.who {
            Who::Shared(handle) => handle.close(),
            Who::Confined(_) => self.with(conn, |bufferevent| bufferevent.close()).unwrap(),
        }
    }

    pub(crate) fn abort(&mut self, conn: &Conn) {
        match &conn.who {
            Who::Shared(handle) => handle.abort(),
            Who::Confined(_) => self.with(conn, |bufferevent| bufferevent.abort()).unwrap(),
        }
    }

    /// Sends all of `data` from the peer.
    pub(crate) fn send(&mut self, peer: &mut Peer, data: &[u8]) {
        let mut left = data;
        self.until("the peer to send", || {
            while !left.is_empty() {
                match peer.write(left) {
                    Ok(n) => left = &left[n..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    Err(error) => panic!("the peer cannot send: {error}"),
                }
            }
            true
        });
    }

    /// Receives exactly `count` bytes at the peer.
    pub(crate) fn receive(&mut self, peer: &mut Peer, count: usize) -> Vec<u8> {
        let mut got = Vec::new();
        self.until(&format!("{count} bytes at the peer"), || {
            match peer.read_some(count - got.len(), &mut got) {
                Ok(ended) => assert!(!ended || got.len() == count, "the end after {} bytes", got.len()),
                Err(error) => panic!("the peer cannot receive: {error}"),
            }
            got.len() == count
        });
        got
    }

    /// Receives at the peer until the end of the stream.
    pub(crate) fn receive_all(&mut self, peer: &mut Peer) -> Vec<u8> {
        let mut got = Vec::new();
        self.until("the end at the peer", || peer.read_some(usize::MAX, &mut got).unwrap());
        got
    }

    /// Receives at the peer what there is before the end of the stream, or before it was cut: and whether the peer could tell.
    pub(crate) fn receive_last(&mut self, peer: &mut Peer) -> (Vec<u8>, bool) {
        let (mut got, mut is_cut) = (Vec::new(), false);
        self.until("the end at the peer", || {
            let ended = peer.read_some(usize::MAX, &mut got);
            is_cut = matches!(
                ended.as_ref().map_err(io::Error::kind),
                Err(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            );
            is_cut || ended.unwrap()
        });
        (got, is_cut)
    }

    /// Tells all that live here that a drain is on.
    pub(crate) fn drain(&mut self) {
        match &mut self.drive {
            Drive::Pinned(base) => base.close_all(),
            Drive::Movable(base) => base.close_all(),
            Drive::Threads { runtime, .. } => {
                runtime.bases().iter().for_each(|base| base.post(Base::close_all).unwrap());
            }
        }
    }

    /// Lets the base of the bufferevent go on after a break; one that is turned by hand does so by itself.
    pub(crate) fn resume(&self, conn: &Conn) {
        if let Some(home) = &conn.home {
            home.resume();
        }
    }

    /// Objects that live on the bases.
    pub(crate) fn objects(&self) -> usize {
        match &self.drive {
            Drive::Pinned(base) => base.len(),
            Drive::Movable(base) => base.len(),
            Drive::Threads { runtime, .. } => runtime.bases().iter().map(BaseHandle::objects).sum(),
        }
    }

    pub(crate) fn until_empty(&mut self) {
        let deadline = Instant::now() + LIMIT;
        while self.objects() > 0 {
            assert!(
                Instant::now() < deadline,
                "{} objects are left; {:?}",
                self.objects(),
                self.transcripts()
            );
            self.pump();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Drive::Threads { runtime, running } = &mut self.drive {
            runtime.stop();
            let ended = running.take().map(JoinHandle::join);
            assert!(thread::panicking() || matches!(ended, None | Some(Ok(()))), "a worker panicked");
        }
        // D1, in every test.
        let overlapped = self.logs.iter().any(|log| log.synced.lock().overlapped);
        assert!(thread::panicking() || !overlapped, "callbacks of one bufferevent overlapped");
    }
}
