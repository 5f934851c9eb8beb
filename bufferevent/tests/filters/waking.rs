//! Filters that wait for something else than the peer, and are woken.

use std::{os::unix::net::UnixStream, sync::Arc, task::Waker, time::Duration};

use bufferevent::{
    Base, Bufferevent, Filter, FilterCall, FilterError, FilterStatus, HANDSHAKE_TIMEOUT, Handshake, Interest,
    Pinned, Turned,
    testing::{Census, Wire},
};
use bufferevent_sync::Mutex;

use crate::seen::{Seen, Sim};

/// What is outside of a filter and is waited for.
#[derive(Default)]
struct World {
    /// The handshake may end.
    ready: bool,
    /// What is to be received and sent next.
    news: Vec<u8>,
    waker: Option<Waker>,
    called: usize,
}

#[derive(Clone, Default)]
struct Waits(Arc<Mutex<World>>);

impl Waits {
    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.0.lock());
    }

    /// Wakes it, from another thread.
    fn wake(&self) {
        let waker = self.0.lock().waker.clone().expect("it was called");
        std::thread::spawn(move || waker.wake()).join().unwrap();
    }

    fn called(&self) -> usize {
        std::mem::take(&mut self.0.lock().called)
    }

    fn give(&self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let mut world = self.0.lock();
        world.called += 1;
        world.waker = Some(call.waker());
        call.destination.add(&world.news)?;
        call.pass()
    }
}

impl Filter for Waits {
    fn has_handshake(&self) -> bool {
        !self.0.lock().ready
    }

    fn handshake(&mut self, call: &mut FilterCall<'_>) -> Result<Handshake, FilterError> {
        let mut world = self.0.lock();
        world.called += 1;
        world.waker = Some(call.waker());
        Ok(if world.ready { Handshake::Done } else { Handshake::Pending })
    }

    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.give(call)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.give(call)
    }
}

/// Over a wire, under `above` filters that pass everything.
fn start(shared: bool, above: usize, seen: &Seen) -> (Sim, Wire, Waits) {
    let (wire, waits) = (Wire::new(), Waits::default());
    let mut builder = Bufferevent::scripted(&wire).filter(waits.clone());
    for _ in 0..above {
        builder = builder.filter(bufferevent::FilterFn::new());
    }
    let builder = builder.configure(|top| top.enable(Interest::BOTH));
    let mut sim = Sim::start(shared, builder, seen);
    sim.settle();
    (sim, wire, waits)
}

#[test]
fn a_handshake_goes_on_when_the_filter_is_woken_though_no_byte_comes() {
    let _census = Census::begin();
    for (shared, above) in [(false, 0), (true, 0), (false, 2), (true, 2)] {
        let seen = Seen::default();
        let (mut sim, _wire, waits) = start(shared, above, &seen);
        assert_eq!((seen.events(), waits.called()), (vec![], 1));
        for _ in 0..3 {
            waits.wake();
        }
        sim.settle();
        assert_eq!((seen.events(), waits.called()), (vec![], 1), "nothing has changed, and three are one");
        waits.change(|world| world.ready = true);
        sim.settle();
        assert_eq!(waits.called(), 0);
        waits.wake();
        sim.settle();
        assert_eq!((seen.events(), waits.called()), (vec!["Connected".to_owned()], 1));
    }
}

#[test]
fn one_that_stands_gives_in_both_directions_when_it_is_woken() {
    let _census = Census::begin();
    for (shared, above) in [(false, 0), (true, 0), (false, 2), (true, 2)] {
        let seen = Seen::default();
        let (mut sim, wire, waits) = start(shared, above, &seen);
        waits.change(|world| world.ready = true);
        waits.wake();
        sim.settle();
        waits.called();
        waits.change(|world| world.news = b"news".to_vec());
        waits.wake();
        sim.settle();
        assert_eq!((seen.data(), wire.written()), (b"news".to_vec(), b"news".to_vec()));
        assert_eq!(waits.called(), 2);
    }
}

#[test]
fn the_deadline_of_a_handshake_holds_for_one_that_waits() {
    let _census = Census::begin();
    let seen = Seen::default();
    let (mut sim, _wire, waits) = start(false, 0, &seen);
    sim.base.advance(HANDSHAKE_TIMEOUT).unwrap();
    assert_eq!(seen.events().len(), 1);
    waits.change(|world| (world.ready, world.news) = (true, b"late".to_vec()));
    waits.wake();
    sim.settle();
    assert_eq!((seen.events().len(), seen.data()), (1, vec![]), "it has failed once");
}

#[test]
fn one_that_is_closed_meanwhile_is_called_no_more_and_its_waker_keeps_nothing() {
    let _census = Census::begin();
    for shared in [false, true] {
        let seen = Seen::default();
        let (mut sim, _wire, waits) = start(shared, 1, &seen);
        waits.called();
        sim.with(|top| top.abort()).unwrap();
        // The ring comes before the end, and after it.
        waits.wake();
        sim.settle();
        assert!(sim.is_gone());
        drop(sim);
        waits.wake();
        assert_eq!(waits.called(), 0);
        // The census would find the base.
    }
}

#[test]
fn a_filter_that_is_called_before_the_start_is_woken_after_it() {
    let _census = Census::begin();
    let (wire, seen, waits) = (Wire::new(), Seen::default(), Waits::default());
    waits.change(|world| world.ready = true);
    let builder = Bufferevent::scripted(&wire).filter(waits.clone()).configure(|top| {
        top.write(b"a").unwrap();
        top.flush(Interest::WRITE, bufferevent::FlushMode::Flush).unwrap();
    });
    assert_eq!(waits.called(), 1);
    waits.change(|world| world.news = b"b".to_vec());
    waits.wake();
    let mut sim = Sim::start(true, builder, &seen);
    sim.settle();
    assert_eq!(wire.written(), b"ab");
}

/// Turns both until neither has anything to do.
fn settle(bases: &mut [&mut Base<Pinned>]) {
    let mut idle = 0;
    while idle < bases.len() {
        idle = 0;
        for base in bases.iter_mut() {
            let turned = base.turn(Some(Duration::ZERO)).unwrap();
            idle += usize::from(turned != Turned::Ran);
        }
    }
}

#[test]
fn a_waker_finds_one_that_has_moved() {
    let _census = Census::begin();
    for above in [0, 1] {
        let (mut one, mut other) = (Base::<Pinned>::new().unwrap(), Base::<Pinned>::new().unwrap());
        let (socket, _peer) = UnixStream::pair().unwrap();
        let (seen, waits) = (Seen::default(), Waits::default());
        let mut builder = Bufferevent::socket(socket).filter(waits.clone());
        for _ in 0..above {
            builder = builder.filter(bufferevent::FilterFn::new());
        }
        let handle = builder.handler(seen.clone()).threadsafe().start(&mut one).unwrap();
        settle(&mut [&mut one, &mut other]);
        waits.called();
        // Rung at the old place, and seen at the new one.
        waits.wake();
        handle.lock().unwrap().set_base(&other.handle().as_movable()).unwrap();
        settle(&mut [&mut other]);
        assert_eq!(waits.called(), 1);
        waits.change(|world| world.ready = true);
        waits.wake();
        settle(&mut [&mut other]);
        assert_eq!(seen.events(), ["Connected"]);
        handle.abort();
        settle(&mut [&mut one, &mut other]);
    }
}
