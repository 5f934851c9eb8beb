//! Filters that tell the end themselves, and wait for the peer's: what a close does then, what it tells, and what a cut leaves out.

use std::{io, sync::Arc, time::Duration};

use bufferevent::{
    Bufferevent, Builder, Callbacks, Cause, Closed, Closing, Context, Ending, Event, Filter, FilterCall,
    FilterError, FilterFn, FilterStatus, LINGER, LINGER_BYTES, OUTPUT_HIGH, Pinned, TimeLimit,
    testing::{Census, ManualBase, Wire, WriteStep},
};
use bufferevent_sync::Mutex;

use crate::seen::{Seen, Sim};

/// Sends a `.` when nothing follows, as the peer's is the end of what arrives; an end without one is an error.
struct Teller(Ending);

impl Filter for Teller {
    fn ending(&self) -> Ending {
        self.0
    }

    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let len = call.source.len();
        let data = call.source.take_bytes(len)?;
        let mut parts = data.splitn(2, |byte| *byte == b'.');
        call.destination.add(parts.next().unwrap_or_default())?;
        match (parts.next(), call.is_last()) {
            (Some(_), _) => Ok(FilterStatus::End),
            (None, true) => Err("cut off".into()),
            (None, false) => Ok(FilterStatus::Ok),
        }
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        call.pass()?;
        if call.is_last() && call.source.is_empty() {
            call.destination.add(b".")?;
        }
        Ok(FilterStatus::Ok)
    }
}

/// What is below the one that tells the end.
const BELOW: [fn(Builder) -> Builder; 3] = [
    |wire| wire,
    |wire| wire.filter(FilterFn::new()),
    |wire| wire.filter(FilterFn::new()).filter(FilterFn::new()),
];

fn each(ending: Ending, test: impl FnMut(&Wire, Sim, &Seen)) {
    each_over(&BELOW, ending, test);
}

fn each_over(below: &[fn(Builder) -> Builder], ending: Ending, mut test: impl FnMut(&Wire, Sim, &Seen)) {
    let _census = Census::begin();
    for shared in [false, true] {
        for below in below {
            let (wire, seen) = (Wire::new(), Seen::default());
            let builder = below(Bufferevent::scripted(&wire)).filter(Teller(ending)).report_close();
            let sim = Sim::start(shared, builder, &seen);
            test(&wire, sim, &seen);
        }
    }
}

fn write(sim: &mut Sim, data: &[u8]) {
    sim.with(|top| top.write(data).map(drop)).unwrap().unwrap();
    sim.settle();
}

fn close(sim: &mut Sim) {
    sim.with(|top| top.close()).unwrap();
    sim.settle();
}

fn is_cut_off(cause: Option<&Cause>) -> bool {
    matches!(cause, Some(Cause::Filter(error)) if error.to_string() == "cut off")
}

#[test]
fn a_close_waits_for_the_message_of_the_peer_and_drops_what_comes_before() {
    // D15, 1.6
    each(Ending::Exchanged, |wire, mut sim, seen| {
        write(&mut sim, b"all");
        close(&mut sim);
        assert!(wire.written() == b"all." && wire.is_shut_down() && !sim.is_gone());
        for late in [&b"still"[..], b"more"] {
            wire.deliver(late);
            sim.settle();
        }
        assert!(!sim.is_gone(), "it waits");
        wire.deliver(b"last.");
        sim.settle();
        assert!(!sim.is_gone(), "the end of what is below is awaited as in any close");
        wire.end();
        sim.settle();
        assert!(sim.is_gone() && seen.data().is_empty());
        let closed = seen.closed();
        assert_eq!((closed.clean, closed.unsent, closed.unread.len()), (true, 0, 0));
        assert!(closed.cause.is_none());
    });
}

#[test]
fn what_was_told_before_is_not_awaited() {
    each(Ending::Exchanged, |wire, mut sim, seen| {
        wire.deliver(b"over.");
        sim.settle();
        assert_eq!((seen.data(), seen.events()), (b"over".to_vec(), vec!["Eof".to_owned()]));
        close(&mut sim);
        assert!(wire.written() == b"." && wire.is_shut_down());
        sim.base.advance(LINGER).unwrap();
        assert!(sim.is_gone());
        assert!(seen.closed().clean, "that what is below does not end is nothing to it");
    });
}

#[test]
fn a_peer_that_ends_without_its_message_is_no_clean_end_where_that_is_awaited() {
    for (ending, clean) in [(Ending::Exchanged, false), (Ending::Told, true)] {
        each(ending, |wire, mut sim, seen| {
            write(&mut sim, b"all");
            close(&mut sim);
            wire.deliver(b"half");
            wire.end();
            sim.settle();
            assert!(sim.is_gone());
            let closed = seen.closed();
            assert_eq!((closed.clean, closed.unsent), (clean, 0));
            assert_eq!(is_cut_off(closed.cause.as_ref()), !clean);
        });
    }
}

#[test]
fn a_reset_is_its_cause_but_not_behind_the_message() {
    for (told, clean) in [(&b"half"[..], false), (b"all.", true)] {
        each(Ending::Exchanged, |wire, mut sim, seen| {
            close(&mut sim);
            wire.deliver(told);
            wire.reset();
            sim.settle();
            assert!(sim.is_gone());
            let closed = seen.closed();
            assert_eq!((closed.clean, closed.cause.is_some()), (clean, !clean), "{closed:?}");
        });
    }
}

#[test]
fn it_waits_no_longer_than_it_lingers_and_for_no_more_bytes() {
    each(Ending::Exchanged, |_, mut sim, seen| {
        close(&mut sim);
        sim.base.advance(LINGER - Duration::from_millis(1)).unwrap();
        assert!(!sim.is_gone());
        sim.base.advance(Duration::from_millis(2)).unwrap();
        assert!(sim.is_gone());
        let closed = seen.closed();
        assert!(!closed.clean && matches!(closed.cause, Some(Cause::TimeLimit(TimeLimit::Linger))));
    });
    each(Ending::Exchanged, |wire, mut sim, seen| {
        close(&mut sim);
        for _ in 0..LINGER_BYTES / 10_000 {
            wire.deliver(&[0; 10_000]);
            sim.settle();
        }
        assert!(!sim.is_gone());
        wire.deliver(&[0; 10_000]);
        sim.settle();
        assert!(sim.is_gone() && !seen.closed().clean);
    });
}

#[test]
fn a_filter_that_gives_for_ever_of_what_arrives_does_not_keep_a_close_open() {
    // F-07: also while the peer takes nothing of what is to be sent
    struct Gives;
    impl Filter for Gives {
        fn ending(&self) -> Ending {
            Ending::Exchanged
        }

        fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
            call.destination.add(&vec![0; call.limit()])?;
            Ok(FilterStatus::Ok)
        }
    }
    let _census = Census::begin();
    for shared in [false, true] {
        for room in [0, usize::MAX] {
            let (wire, seen) = (Wire::new(), Seen::default());
            wire.set_room(room);
            let builder = Bufferevent::scripted(&wire).read_watermark(0, Some(1)).filter(Gives);
            let mut sim = Sim::start(shared, builder.report_close(), &seen);
            write(&mut sim, b"data");
            close(&mut sim);
            wire.deliver(b"x");
            sim.settle();
            assert!(sim.is_gone(), "no time has passed");
            assert!(!seen.closed().clean);
        }
    }
}

#[test]
fn what_the_peer_does_not_take_is_waited_for_first() {
    each(Ending::Exchanged, |wire, mut sim, seen| {
        wire.set_room(10);
        write(&mut sim, &[b'x'; 100]);
        close(&mut sim);
        for _ in 0..4 {
            wire.deliver(b"talk");
            sim.base.advance(Closing::default().drain / 2).unwrap();
            wire.set_room(5);
            sim.settle();
        }
        assert!(!sim.is_gone() && !wire.is_shut_down());
        wire.set_room(usize::MAX);
        wire.deliver(b"bye.");
        sim.settle();
        wire.end();
        sim.settle();
        let closed = seen.closed();
        assert_eq!((closed.clean, closed.unsent, wire.written().len()), (true, 0, 101));
    });
}

#[test]
fn a_peer_that_is_gone_misses_the_message_alone_and_so_nothing() {
    // Had its own come, or its end, all was said on both sides.
    let _census = Census::begin();
    for ending in [Ending::Told, Ending::Exchanged] {
        // What a filter in between may have kept would be missed too, unless the peer has told its end.
        let below = if ending == Ending::Told { &BELOW[..1] } else { &BELOW };
        for (tells, data) in [(true, false), (false, false), (true, true)] {
            each_over(below, ending, |wire, mut sim, seen| {
                write(&mut sim, b"before");
                wire.write_next(WriteStep::Failed(io::ErrorKind::BrokenPipe.into()));
                if tells {
                    wire.deliver(b"bye.");
                }
                sim.with(|top| {
                    if data {
                        top.write(b"behind").unwrap();
                    }
                    top.close();
                })
                .unwrap();
                wire.end();
                sim.settle();
                assert!(sim.is_gone());
                let closed = seen.closed();
                let clean = !data && (tells || ending == Ending::Told);
                let unsent = if data { 6 } else { 0 };
                assert_eq!((closed.clean, closed.unsent), (clean, unsent), "{ending:?} {tells} {data}");
                assert_eq!(closed.cause.is_none(), clean);
            });
        }
    }
}

#[test]
fn a_cut_leaves_the_message_out_and_ends_what_is_below_at_once() {
    for ending in [Ending::Told, Ending::Exchanged] {
        each(ending, |wire, mut sim, seen| {
            write(&mut sim, b"half");
            sim.with(|top| top.close_with(Closing::CUT_SHORT)).unwrap();
            sim.settle();
            assert!(wire.written() == b"half" && wire.is_shut_down() && !sim.is_gone());
            sim.base.advance(LINGER).unwrap();
            assert!(sim.is_gone() && !wire.is_reset());
            let closed = seen.closed();
            assert!(!closed.clean && closed.cause.is_none(), "{closed:?}");
        });
        // Whoever ends it.
        for cut_by_base in [false, true] {
            let _census = Census::begin();
            let (wire, seen) = (Wire::new(), Seen::default());
            let mut sim = Sim::start(true, Bufferevent::scripted(&wire).filter(Teller(ending)), &seen);
            write(&mut sim, b"half");
            if !cut_by_base {
                sim.with(|top| top.abort()).unwrap();
            }
            drop(sim);
            let all: &[u8] = if cut_by_base { b"half." } else { b"half" };
            assert!(wire.written() == all && wire.is_closed() && !wire.is_reset());
        }
    }
}

#[test]
fn a_connection_that_stands_only_after_the_close_is_ended_as_any_other() {
    let _census = Census::begin();
    for shared in [false, true] {
        for below in BELOW {
            for data in [&b""[..], b"data"] {
                let (wire, seen) = (Wire::connecting(), Seen::default());
                let builder =
                    below(Bufferevent::scripted(&wire)).filter(Teller(Ending::Exchanged)).report_close();
                let mut sim = Sim::start(shared, builder, &seen);
                write(&mut sim, data);
                close(&mut sim);
                wire.connect();
                sim.settle();
                wire.deliver(b"bye.");
                wire.end();
                sim.settle();
                assert!(sim.is_gone());
                let closed = seen.closed();
                assert_eq!(wire.written(), [data, b"."].concat());
                assert_eq!((closed.clean, closed.unsent), (true, 0));
                assert!(seen.events().len() == 1, "{:?}", seen.events());
            }
        }
    }
}

#[test]
fn what_is_handed_back_has_heard_the_peers_message() {
    // D19: so that both sides know where what follows begins
    let _census = Census::begin();
    for answers in [false, true] {
        let (wire, got) = (Wire::new(), Arc::new(Mutex::new(None::<Box<Closed>>)));
        let mut base = ManualBase::new().unwrap();
        let keep = Arc::clone(&got);
        let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
            if let Event::Closed(closed) = event {
                *keep.lock() = Some(closed);
            }
        });
        let builder = Bufferevent::scripted(&wire).filter(Teller(Ending::Exchanged)).close_on_free(false);
        let builder = builder.report_close().handler(handler);
        builder
            .configure(|top| {
                top.write(b"all").unwrap();
                top.close();
            })
            .start(&mut base)
            .unwrap();
        base.settle().unwrap();
        assert!(wire.written() == b"all." && got.lock().is_none());
        if answers {
            wire.deliver(b"bye.");
            base.settle().unwrap();
        } else {
            base.advance(LINGER).unwrap();
        }
        let closed = got.lock().take().expect("it has ended");
        assert!(closed.clean == answers && closed.underlying.is_some());
        assert!(!wire.is_shut_down() && !wire.is_closed());
    }
}

#[test]
fn who_panics_when_asked_ends_its_bufferevent() {
    struct Panics;
    impl Filter for Panics {
        fn ending(&self) -> Ending {
            panic!("on purpose")
        }
    }
    let _census = Census::begin();
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).filter(Panics).report_close();
        let mut sim = Sim::start(shared, builder, &seen);
        sim.settle();
        close(&mut sim);
        assert!(sim.is_gone() && wire.is_closed() && !seen.closed().clean);
        assert_eq!(sim.base.counters().panics.get(), 1);
    }
}

#[test]
fn what_is_lost_is_told_in_the_bytes_of_who_wrote_them() {
    // A filter that makes three of one.
    let _census = Census::begin();
    let tripled = || {
        FilterFn::new().on_output(|call: &mut FilterCall<'_>| {
            let n = call.source.len().min(call.room().div_ceil(3));
            for byte in call.source.take_bytes(n)? {
                call.destination.add(&[byte; 3])?;
            }
            Ok(FilterStatus::Ok)
        })
    };
    for (depth, factor) in [(1, 3), (2, 9)] {
        for (room, sent) in [(0, 0), (90, 90), (9 * 50_000, 9 * 50_000)] {
            let (wire, seen) = (Wire::new(), Seen::default());
            wire.set_room(room);
            let mut builder = Bufferevent::scripted(&wire).filter(tripled());
            for _ in 1..depth {
                builder = builder.filter(tripled());
            }
            let mut sim = Sim::start(false, builder.report_close(), &seen);
            let len = 4 * OUTPUT_HIGH;
            write(&mut sim, &vec![7; len]);
            sim.with(|top| top.abort()).unwrap();
            sim.settle();
            let closed = seen.closed();
            assert_eq!(wire.written().len(), sent);
            assert_eq!((closed.clean, closed.unsent), (false, len - sent / factor), "{depth} {room}");
        }
    }
}

#[test]
fn what_is_dropped_may_come_in_messages_of_any_length() {
    let _census = Census::begin();
    /// Gives nothing but whole messages, of which each is an end, though that is more than it should.
    struct Whole;
    impl Filter for Whole {
        fn ending(&self) -> Ending {
            Ending::Exchanged
        }

        fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
            if call.source.len() < MESSAGE {
                return Ok(FilterStatus::NeedMore);
            }
            call.source.move_to(call.destination, MESSAGE)?;
            Ok(FilterStatus::End)
        }
    }
    const MESSAGE: usize = 200_000;
    // F-04, D15
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim = Sim::start(shared, Bufferevent::scripted(&wire).filter(Whole).report_close(), &seen);
        close(&mut sim);
        wire.deliver(&[0; MESSAGE - 1]);
        sim.settle();
        assert!(!sim.is_gone(), "it waits for the rest, and does not spin");
        wire.deliver(&[0]);
        wire.end();
        sim.settle();
        assert!(sim.is_gone() && seen.closed().clean);
    }
}

#[test]
fn what_is_dropped_may_be_more_than_the_input_may_hold() {
    let _census = Census::begin();
    /// Gives as much as it is to.
    struct Gives;
    impl Filter for Gives {
        fn ending(&self) -> Ending {
            Ending::Exchanged
        }

        fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
            let most = call.source.len().min(call.limit());
            call.source.move_to(call.destination, most)?;
            Ok(if call.is_last() && call.source.is_empty() { FilterStatus::End } else { FilterStatus::Ok })
        }
    }
    // C-17, D15
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).filter(Gives).report_close();
        let mut sim = Sim::start(shared, builder.configure(|top| top.set_input_cap(Some(1_000))), &seen);
        close(&mut sim);
        wire.deliver(&[0; 50_000]);
        wire.end();
        sim.settle();
        let closed = seen.closed();
        assert!(sim.is_gone() && closed.clean, "{closed:?}");
    }
}
