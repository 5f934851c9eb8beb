//! What a pipe does with the end of one side that is none: scripted, so that every byte is accounted for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{io, sync::Arc, time::Duration};

use bufferevent::{
    BaseExt as _, Bufferevent, Closing, Direction, Filter, FilterCall, FilterError, FilterStatus, Handle,
    INPUT_CAP, Id, Interest, LINGER, NoHandler, OUTPUT_HIGH, Pipe, PipeEnd, Piped,
    testing::{Census, ManualBase, ReadStep, Wire, WriteStep},
};
use bufferevent_sync::Mutex;

/// Two wires joined by a pipe, confined or not.
struct Joined {
    base: ManualBase,
    wires: [Wire; 2],
    ends: Ends,
    piped: Arc<Mutex<Option<Piped>>>,
}

enum Ends {
    Confined([Id; 2]),
    Shared([Handle; 2]),
}

impl Joined {
    fn new(shared: bool) -> Self {
        let (mut base, wires) = (ManualBase::new().unwrap(), [(); 2].map(|()| Wire::new()));
        let piped: Arc<Mutex<Option<Piped>>> = Arc::default();
        let told = Arc::clone(&piped);
        let pipe = Pipe::new().on_end(move |piped| *told.lock() = Some(piped));
        let builders = wires.each_ref().map(|wire| Bufferevent::scripted(wire).handler(NoHandler));
        let ends = if shared {
            let ends = builders.map(|builder| builder.threadsafe().start(&mut base).unwrap());
            pipe.join(&ends[0], &ends[1]).unwrap();
            Ends::Shared(ends)
        } else {
            let ends = builders.map(|builder| builder.start(&mut base).unwrap());
            pipe.join_on(&mut base, ends[0], ends[1]).unwrap();
            Ends::Confined(ends)
        };
        base.settle().unwrap();
        Self { base, wires, ends, piped }
    }

    fn with<R>(&mut self, side: usize, f: impl FnOnce(&mut Bufferevent) -> R) -> R {
        match &self.ends {
            Ends::Confined(ids) => f(self.base.bufferevent(ids[side]).unwrap()),
            Ends::Shared(handles) => f(&mut handles[side].lock().unwrap()),
        }
    }

    fn settle(&mut self) {
        self.base.settle().unwrap();
    }

    fn end(&self) -> PipeEnd {
        self.piped.lock().take().unwrap().end
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn all_that_one_has_sent_before_it_failed_reaches_the_other_however_slow_that_is() {
    // X-76, D15: more than the other has room for, with backpressure
    let _census = Census::begin();
    for shared in [false, true] {
        let mut joined = Joined::new(shared);
        let data = bytes(3 * INPUT_CAP / 2);
        joined.wires[1].set_room(1_000);
        joined.wires[0].deliver_in(&data, 50_000);
        joined.wires[0].reset();
        joined.settle();
        let held = joined.with(1, |b| b.output().len());
        assert!((OUTPUT_HIGH..2 * OUTPUT_HIGH + 64 * 1024).contains(&held), "{held}");
        for room in [100_000, 1_000_000, usize::MAX] {
            joined.wires[1].set_room(room);
            joined.settle();
        }
        assert!(joined.wires[1].written() == data, "{}", joined.wires[1].written().len());
        assert!(matches!(joined.end(), PipeEnd::Failed(0, _)));
        assert!(!joined.wires[1].is_closed() && !joined.wires[1].is_shut_down(), "it has time to take it");
        joined.base.advance(LINGER).unwrap();
        assert!(joined.wires[1].is_reset() && !joined.wires[1].is_shut_down());
        joined.base.advance(LINGER).unwrap();
        assert_eq!(joined.base.len(), 0);
    }
}

#[test]
fn what_one_has_sent_that_takes_nothing_more_reaches_the_other() {
    // A server that answers early and closes, while the rest of the question is on its way.
    let _census = Census::begin();
    for shared in [false, true] {
        let mut joined = Joined::new(shared);
        let data = bytes(INPUT_CAP / 2);
        joined.wires[1].set_room(0);
        joined.wires[0].deliver_in(&data, 50_000);
        joined.settle();
        joined.wires[0].write_next(WriteStep::Failed(io::ErrorKind::BrokenPipe.into()));
        joined.wires[1].deliver(b"the rest of the question");
        joined.settle();
        assert!(
            matches!(joined.end(), PipeEnd::Failed(0, cause) if cause.kind() == io::ErrorKind::BrokenPipe)
        );
        joined.wires[1].set_room(usize::MAX);
        joined.base.advance(LINGER).unwrap();
        assert!(joined.wires[1].written() == data, "{}", joined.wires[1].written().len());
        assert!(joined.wires[1].is_reset());
        joined.base.advance(LINGER).unwrap();
        assert_eq!(joined.base.len(), 0);
    }
}

#[test]
fn an_end_that_was_passed_on_stays_one_whatever_becomes_of_the_other_direction() {
    // It waits behind bytes that are not taken yet.
    let _census = Census::begin();
    for shared in [false, true] {
        let mut joined = Joined::new(shared);
        joined.wires[1].set_room(0);
        joined.wires[0].deliver(b"all there is");
        joined.wires[0].end();
        joined.settle();
        joined.wires[1].read_next(ReadStep::Failed(io::ErrorKind::TimedOut.into()));
        joined.settle();
        assert!(matches!(joined.end(), PipeEnd::Failed(1, _)));
        assert!(joined.wires[0].is_reset(), "it was told nothing");
        joined.wires[1].set_room(usize::MAX);
        joined.settle();
        assert!(joined.wires[1].written() == b"all there is" && joined.wires[1].is_shut_down());
        joined.base.advance(LINGER).unwrap();
        assert!(joined.wires[1].is_closed() && !joined.wires[1].is_reset());
        assert_eq!(joined.base.len(), 0);
    }
}

#[test]
fn who_fails_has_had_all_once_the_end_of_the_other_is_out_and_not_before() {
    let _census = Census::begin();
    for shared in [false, true] {
        for (has_ended, room, had_all) in
            [(false, usize::MAX, false), (true, usize::MAX, true), (true, 3, false), (true, 0, false)]
        {
            let mut joined = Joined::new(shared);
            joined.wires[0].set_room(room);
            joined.wires[1].deliver(b"answer");
            if has_ended {
                joined.wires[1].end();
            }
            joined.settle();
            joined.wires[0].reset();
            joined.settle();
            let piped = joined.piped.lock().take().unwrap();
            assert!(matches!(piped.end, PipeEnd::Failed(0, _)), "{piped:?}");
            assert_eq!(piped.had_all, had_all, "ended: {has_ended}, room: {room}");
            joined.wires[1].end();
            joined.base.advance(2 * LINGER).unwrap();
        }
    }
}

#[test]
fn an_end_that_has_come_is_told_behind_the_bytes_before_it_though_its_sender_takes_nothing_more() {
    // the first has ended, and more waits than the other has room for.
    let _census = Census::begin();
    for shared in [false, true] {
        for fails in [false, true] {
            let mut joined = Joined::new(shared);
            let data = bytes(INPUT_CAP / 2);
            joined.wires[0].set_room(0);
            joined.wires[1].set_room(0);
            joined.wires[0].deliver_in(&data, 50_000);
            joined.wires[0].end();
            joined.wires[1].deliver(b"half an answer");
            joined.with(0, |b| b.set_timeouts(None, Some(LINGER)));
            joined.settle();
            if fails {
                joined.wires[0].write_next(WriteStep::Failed(io::ErrorKind::BrokenPipe.into()));
                joined.wires[0].set_room(usize::MAX);
                joined.settle();
                assert!(matches!(joined.end(), PipeEnd::Failed(0, _)));
            } else {
                joined.base.advance(LINGER).unwrap();
                assert!(matches!(joined.end(), PipeEnd::Timeout(0, Direction::Write)));
            }
            joined.wires[1].set_room(usize::MAX);
            joined.settle();
            assert!(joined.wires[1].written() == data, "{}", joined.wires[1].written().len());
            assert!(joined.wires[1].is_shut_down(), "{shared} {fails}: it was told that this is all");
            joined.base.advance(LINGER).unwrap();
            joined.base.advance(LINGER).unwrap();
            assert!(joined.wires[1].is_closed() && !joined.wires[1].is_reset());
        }
    }
}

#[test]
fn an_end_is_not_told_of_one_that_is_closed_with_bytes_before_it() {
    let _census = Census::begin();
    for shared in [false, true] {
        let mut joined = Joined::new(shared);
        let data = bytes(INPUT_CAP / 2);
        joined.wires[1].set_room(0);
        joined.wires[0].deliver_in(&data, 50_000);
        joined.wires[0].end();
        joined.settle();
        joined.with(0, Bufferevent::close);
        joined.settle();
        joined.base.advance(LINGER).unwrap();
        joined.settle();
        assert!(matches!(joined.end(), PipeEnd::Closed(0)));
        joined.wires[1].set_room(usize::MAX);
        joined.settle();
        assert!(joined.wires[1].written().len() < data.len() && !joined.wires[1].is_shut_down());
        joined.base.advance(LINGER).unwrap();
        joined.base.advance(LINGER).unwrap();
        assert!(joined.wires[1].is_reset());
        assert_eq!(joined.base.len(), 0);
    }
}

#[test]
fn an_end_that_is_passed_on_while_the_other_is_busy_is_told_though_that_is_cut_short_meanwhile() {
    let _census = Census::begin();
    let mut joined = Joined::new(true);
    let Ends::Shared([_, handle]) = &joined.ends else { unreachable!() };
    let handle = handle.clone();
    let mut guard = handle.lock().unwrap();
    joined.wires[0].deliver(b"all there is");
    joined.wires[0].end();
    joined.settle();
    guard.close_with(Closing::CUT_SHORT);
    drop(guard);
    joined.settle();
    assert!(joined.wires[1].written() == b"all there is" && joined.wires[1].is_shut_down());
    joined.base.advance(LINGER).unwrap();
    joined.base.advance(LINGER).unwrap();
    assert!(!joined.wires[1].is_reset());
    assert_eq!(joined.base.len(), 0);
}

#[test]
fn what_comes_last_for_one_that_is_busy_and_closes_meanwhile_is_sent_or_told_as_unsent() {
    let _census = Census::begin();
    for abort in [false, true] {
        let mut joined = Joined::new(true);
        let Ends::Shared(handles) = &joined.ends else { unreachable!() };
        let [first, handle] = handles.clone();
        let mut guard = handle.lock().unwrap();
        // There is room for what closes it alone.
        while handle.enable(Interest::READ).is_ok() {}
        guard.close_with(Closing { linger: Duration::from_secs(60), ..Closing::default() });
        joined.wires[0].deliver(b"last words");
        joined.settle();
        joined.wires[0].write_next(WriteStep::Failed(io::ErrorKind::BrokenPipe.into()));
        first.write(b"answer").unwrap();
        joined.settle();
        if abort {
            guard.abort();
        }
        drop(guard);
        let moved = joined.piped.lock().take().unwrap().forth;
        joined.settle();
        joined.wires[1].end();
        joined.settle();
        let closed = handle.close_and_wait().unwrap();
        let sent = joined.wires[1].written().len();
        assert_eq!((moved, sent + closed.unsent), (10, 10), "{abort}: {closed:?}");
        assert_eq!(sent, if abort { 0 } else { 10 });
        joined.base.advance(LINGER).unwrap();
        assert_eq!(joined.base.len(), 0);
    }
}

/// Passes everything as it is.
struct Nothing;

impl Filter for Nothing {}

#[test]
fn what_half_of_a_pair_said_before_it_went_reaches_the_other_with_its_end() {
    // P-09, D9: what comes for it meanwhile cannot be sent to it
    let _census = Census::begin();
    for layered in [false, true] {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        let (half, far) = Bufferevent::pair();
        let half = if layered { half.filter(Nothing) } else { half };
        let front = Bufferevent::scripted(&wire).handler(NoHandler).start(&mut base).unwrap();
        let back = half.handler(NoHandler).start(&mut base).unwrap();
        let far = far.handler(NoHandler).start(&mut base).unwrap();
        Pipe::new().join_on(&mut base, front, back).unwrap();
        base.settle().unwrap();
        wire.deliver(b"the rest of the question");
        let far = base.bufferevent(far).unwrap();
        far.write(b"an early answer").unwrap();
        far.close();
        base.settle().unwrap();
        assert_eq!(wire.written(), b"an early answer", "{layered}");
        assert!(wire.is_shut_down(), "{layered}: it was told that this is all");
        base.advance(LINGER).unwrap();
        base.advance(LINGER).unwrap();
        assert!(wire.is_closed() && !wire.is_reset());
        assert_eq!(base.len(), 0);
    }
}

/// Keeps the last byte until it knows that it is.
struct Keeper;

impl Filter for Keeper {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let (len, kept) = (call.source.len(), usize::from(!call.is_last()));
        let n = len.saturating_sub(kept).min(call.limit());
        call.source.move_to(call.destination, n)?;
        Ok(if len - n > kept { FilterStatus::Ok } else { FilterStatus::NeedMore })
    }
}

#[test]
fn what_a_filter_keeps_until_the_end_reaches_the_other_though_its_sender_takes_nothing_more() {
    // F-09
    let _census = Census::begin();
    let (mut base, wires) = (ManualBase::new().unwrap(), [(); 2].map(|()| Wire::new()));
    let front = Bufferevent::scripted(&wires[0]).filter(Keeper).handler(NoHandler).start(&mut base).unwrap();
    let back = Bufferevent::scripted(&wires[1]).handler(NoHandler).start(&mut base).unwrap();
    Pipe::new().join_on(&mut base, front, back).unwrap();
    let data = bytes(INPUT_CAP / 2);
    wires[1].set_room(0);
    wires[0].deliver_in(&data, 50_000);
    wires[0].end();
    base.settle().unwrap();
    wires[0].write_next(WriteStep::Failed(io::ErrorKind::BrokenPipe.into()));
    wires[1].deliver(b"an early answer");
    base.settle().unwrap();
    wires[1].set_room(usize::MAX);
    base.settle().unwrap();
    assert!(wires[1].written() == data, "{}", wires[1].written().len());
    assert!(wires[1].is_shut_down(), "it was told that this is all");
    base.advance(LINGER).unwrap();
    base.advance(LINGER).unwrap();
    assert_eq!(base.len(), 0);
}

#[test]
fn one_that_is_short_of_life_or_slow_cuts_the_other_short() {
    let _census = Census::begin();
    for shared in [false, true] {
        let mut joined = Joined::new(shared);
        joined.wires[0].deliver(b"so far");
        joined.with(0, |b| b.set_lifetime(Some(LINGER)));
        joined.base.advance(LINGER).unwrap();
        assert!(matches!(joined.end(), PipeEnd::Failed(0, _)));
        joined.base.advance(LINGER).unwrap();
        assert!(joined.wires[1].written() == b"so far" && joined.wires[1].is_reset());
        assert!(joined.wires[0].is_reset());

        let mut joined = Joined::new(shared);
        joined.wires[0].deliver(b"so far");
        joined.with(1, |b| b.set_timeouts(Some(LINGER), None));
        joined.base.advance(LINGER).unwrap();
        assert!(matches!(joined.end(), PipeEnd::Timeout(1, Direction::Read)));
        joined.base.advance(LINGER).unwrap();
        assert!(joined.wires.iter().all(|wire| wire.is_reset() && !wire.is_shut_down()));
    }
}

#[test]
fn one_that_is_drained_and_then_taken_apart_is_closed_then() {
    // D15: what a drain has asked of it holds.
    let _census = Census::begin();
    for shared in [false, true] {
        let mut joined = Joined::new(shared);
        joined.base.close_all();
        joined.settle();
        assert!(joined.wires.iter().all(|wire| !wire.is_shut_down()), "its peers end it");
        match &joined.ends {
            Ends::Confined(ids) => ids.iter().for_each(|id| joined.base.set_handler(*id, NoHandler).unwrap()),
            Ends::Shared(handles) => {
                handles.iter().for_each(|handle| handle.lock().unwrap().set_handler(NoHandler).unwrap())
            }
        }
        joined.settle();
        assert!(joined.wires.iter().all(|wire| wire.is_shut_down()));
    }
}

#[test]
fn what_one_takes_whose_end_was_told_by_the_program_is_not_counted_as_passed_on() {
    let _census = Census::begin();
    for shared in [false, true] {
        let mut joined = Joined::new(shared);
        joined.with(1, |b| b.shutdown(Direction::Write)).unwrap();
        joined.settle();
        joined.wires[0].deliver(b"lost");
        joined.settle();
        let piped = joined.piped.lock().take().unwrap();
        assert_eq!((piped.forth, joined.wires[1].written()), (0, vec![]), "{piped:?}");
    }
}
