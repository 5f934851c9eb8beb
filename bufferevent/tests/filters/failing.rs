//! Closes in which something fails: what is told of it, and what is sent all the same.

use std::{io::Read as _, os::unix::net::UnixStream, thread, time::Duration};

use bufferevent::{
    BaseExt as _, Bufferevent, Callbacks, Cause, Closed, Closing, Context, Event, Filter, FilterCall,
    FilterError, FilterFn, FilterStatus, FlushMode, Interest, Pinned, Runtime, TimeLimit,
    testing::{Census, ManualBase, Wire},
};

use crate::seen::{Seen, Sim};

type Answer = Result<FilterStatus, FilterError>;

/// Ends with an alert, and fails: at the end, or at once.
fn alerting(at: FlushMode) -> impl Filter {
    FilterFn::new().on_output(move |call: &mut FilterCall<'_>| -> Answer {
        if call.mode() == at {
            call.destination.add(b"alert")?;
            return Err("no trailer".into());
        }
        call.pass()
    })
}

fn cause(closed: &Closed) -> String {
    closed.cause.as_ref().map_or_else(String::new, |cause| format!("{cause}"))
}

#[test]
fn an_error_of_a_filter_in_a_close_is_its_cause_and_what_it_has_given_is_sent() {
    let _census = Census::begin();
    for shared in [false, true] {
        for above in [0, 1] {
            let (wire, seen) = (Wire::new(), Seen::default());
            let mut builder = Bufferevent::scripted(&wire).filter(alerting(FlushMode::Finished));
            for _ in 0..above {
                builder = builder.filter(FilterFn::new());
            }
            wire.set_room(0);
            let mut sim = Sim::start(shared, builder.report_close(), &seen);
            sim.with(|top| top.write(b"text ").map(drop)).unwrap().unwrap();
            sim.with(|top| top.close()).unwrap();
            sim.settle();
            assert!(!sim.is_gone(), "it waits until the peer takes what was given");
            wire.set_room(usize::MAX);
            sim.settle();
            assert_eq!(wire.written(), b"text alert");
            assert!(!wire.is_shut_down() && !wire.is_closed(), "what it has lost is no end");
            wire.end();
            sim.settle();
            assert!(sim.is_gone() && wire.is_reset());
            let closed = seen.closed();
            assert!(!closed.clean && matches!(closed.cause, Some(Cause::Filter(_))), "{closed:?}");
            assert_eq!((closed.unsent, cause(&closed)), (0, "no trailer".to_owned()));
        }
    }
}

#[test]
fn a_close_in_answer_to_a_write_error_sends_what_was_given_and_drops_what_is_above() {
    let _census = Census::begin();
    // D10, D15
    let (wire, mut base) = (Wire::new(), ManualBase::new().unwrap());
    wire.set_room(0);
    let seen = Seen::default();
    let told = seen.clone();
    let handler =
        Callbacks::<Pinned>::new().on_event(move |cx: &mut Context<'_, Pinned>, event| match event {
            Event::Error { cause: Cause::Filter(_), .. } => cx.close(),
            event => bufferevent::Handler::on_event(&mut told.clone(), cx, event),
        });
    let builder = Bufferevent::scripted(&wire).filter(alerting(FlushMode::Normal)).handler(handler);
    let id = builder.report_close().start(&mut base).unwrap();
    base.bufferevent(id).unwrap().write(b"never").unwrap();
    base.settle().unwrap();
    wire.set_room(usize::MAX);
    wire.end();
    base.settle().unwrap();
    assert_eq!(wire.written(), b"alert", "once");
    let closed = seen.closed();
    assert_eq!(
        (closed.clean, closed.unsent, cause(&closed).as_str()),
        (false, 5, ""),
        "an event has told why"
    );
}

#[test]
fn an_error_that_no_event_has_told_is_told_by_the_end_and_an_abort_still_drops_all() {
    let _census = Census::begin();
    for aborts in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        wire.set_room(0);
        let builder = Bufferevent::scripted(&wire).filter(alerting(FlushMode::Flush)).report_close();
        let mut sim = Sim::start(false, builder, &seen);
        sim.with(|top| {
            top.write(b"never").unwrap();
            top.flush(Interest::WRITE, FlushMode::Flush).unwrap();
            if aborts { top.abort() } else { top.close() }
        })
        .unwrap();
        wire.set_room(usize::MAX);
        wire.end();
        sim.settle();
        assert_eq!(wire.written(), if aborts { &b""[..] } else { b"alert" });
        let closed = seen.closed();
        assert_eq!((closed.clean, cause(&closed).as_str()), (false, "no trailer"));
        assert_eq!(seen.events().len(), 1);
    }
}

#[test]
fn a_write_that_is_enabled_again_after_an_error_is_given_to_the_filter_by_the_close() {
    let _census = Census::begin();
    let (wire, seen, mut failed) = (Wire::new(), Seen::default(), false);
    let once = FilterFn::new().on_output(move |call: &mut FilterCall<'_>| -> Answer {
        if std::mem::replace(&mut failed, true) { call.pass() } else { Err("once".into()) }
    });
    let mut sim = Sim::start(false, Bufferevent::scripted(&wire).filter(once).report_close(), &seen);
    sim.with(|top| top.write(b"at last").map(drop)).unwrap().unwrap();
    sim.settle();
    sim.with(|top| {
        top.enable(Interest::WRITE);
        top.close();
    })
    .unwrap();
    wire.end();
    sim.settle();
    assert_eq!(wire.written(), b"at last");
    assert_eq!(seen.events().last().unwrap(), "Closed true 0");
}

#[test]
fn a_panic_of_a_filter_is_the_cause_wherever_it_is() {
    let _census = Census::begin();
    for shared in [false, true] {
        for above in [0, 1] {
            let panics = FilterFn::new().on_output(|call: &mut FilterCall<'_>| -> Answer {
                assert_ne!(call.mode(), FlushMode::Finished, "a filter that does not end");
                call.pass()
            });
            let (wire, seen) = (Wire::new(), Seen::default());
            let mut builder = Bufferevent::scripted(&wire).filter(panics);
            for _ in 0..above {
                builder = builder.filter(FilterFn::new());
            }
            let mut sim = Sim::start(shared, builder.report_close(), &seen);
            sim.with(|top| top.close()).unwrap();
            sim.settle();
            assert!(sim.is_gone() && wire.is_closed());
            let closed = seen.closed();
            assert_eq!((closed.clean, cause(&closed).as_str()), (false, "the filter panicked"));
        }
    }
}

#[test]
fn the_bound_of_a_close_that_is_reached_is_its_cause() {
    let _census = Census::begin();
    // D15
    let second = Duration::from_secs(1);
    let long = Closing { drain: 9 * second, linger: 9 * second, ..Closing::default() };
    let cases = [
        (0, Closing { drain: second, ..long }, TimeLimit::Drain),
        (100, Closing { linger: second, ..long }, TimeLimit::Linger),
        (0, Closing { deadline: Some(second), ..long }, TimeLimit::Close),
    ];
    for layers in [0, 1, 2] {
        for (room, bounds, limit) in cases {
            let (wire, seen) = (Wire::new(), Seen::default());
            wire.set_room(room);
            let mut builder = Bufferevent::scripted(&wire);
            for _ in 0..layers {
                builder = builder.filter(FilterFn::new());
            }
            let mut sim = Sim::start(false, builder.report_close(), &seen);
            sim.with(|top| {
                top.write(b"slow").unwrap();
                top.close_with(bounds);
            })
            .unwrap();
            sim.base.advance(2 * second).unwrap();
            assert!(sim.is_gone());
            let closed = seen.closed();
            assert!(
                matches!(closed.cause, Some(Cause::TimeLimit(reached)) if reached == limit),
                "{layers} {limit:?} {closed:?}"
            );
        }
    }
}

#[test]
fn an_error_of_the_connection_in_a_close_is_its_cause_at_any_depth() {
    let _census = Census::begin();
    for layers in [0, 1, 2] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut builder = Bufferevent::scripted(&wire);
        for _ in 0..layers {
            builder = builder.filter(FilterFn::new());
        }
        let mut sim = Sim::start(true, builder.report_close(), &seen);
        sim.with(|top| top.close()).unwrap();
        sim.settle();
        wire.reset();
        sim.settle();
        assert!(sim.is_gone());
        let closed = seen.closed();
        let kind = closed.cause.as_ref().map(Cause::kind);
        assert_eq!((closed.clean, kind), (false, Some(std::io::ErrorKind::ConnectionReset)), "{layers}");
    }
}

#[test]
fn who_waits_for_the_end_is_told_its_cause() {
    let _census = Census::begin();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let builder = Bufferevent::socket(ours).filter(alerting(FlushMode::Finished)).threadsafe();
    let handle = builder.start(&mut runtime.bases()[0].clone()).unwrap();
    handle.write(b"text ").unwrap();
    let running = thread::spawn({
        let runtime = runtime.clone();
        move || runtime.run()
    });
    let peer = thread::spawn(move || {
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).map(|_| got)
    });
    let closed = handle.close_and_wait().unwrap();
    runtime.stop();
    running.join().unwrap().unwrap();
    assert_eq!(peer.join().unwrap().unwrap(), b"text alert");
    assert_eq!((closed.clean, cause(&closed).as_str()), (false, "no trailer"));
}

#[test]
fn bytes_that_a_filter_leaves_at_the_end_are_counted_and_the_close_is_not_clean() {
    let _census = Census::begin();
    // D10
    for shared in [false, true] {
        for (sent, left) in [(25, 5), (20, 0)] {
            let tens = FilterFn::new().on_input(|call: &mut FilterCall<'_>| -> Answer {
                let whole = call.source.len() / 10 * 10;
                call.source.move_to(call.destination, whole)?;
                Ok(FilterStatus::NeedMore)
            });
            let (wire, seen) = (Wire::new(), Seen::default());
            let builder = Bufferevent::scripted(&wire).filter(tens).filter(FilterFn::new());
            let mut sim = Sim::start(shared, builder.report_close(), &seen);
            wire.deliver(&vec![b'x'; sent]);
            wire.end();
            sim.settle();
            assert_eq!((seen.data().len(), seen.events()), (20, vec!["Eof".to_owned()]));
            sim.with(|top| top.close()).unwrap();
            sim.settle();
            let closed = seen.closed();
            assert_eq!((closed.clean, closed.unfiltered, closed.unread.len()), (left == 0, left, 0));
            assert!(closed.cause.is_none());
        }
    }
}

#[test]
fn an_error_below_is_told_after_all_that_came_before_it_was_filtered() {
    // D4, D10: as an end is
    let _census = Census::begin();
    for shared in [false, true] {
        for above in [0, 1] {
            let sip = || {
                FilterFn::new().on_input(|call: &mut FilterCall<'_>| -> Answer {
                    assert_ne!(call.mode(), FlushMode::Finished, "what was cut short is no end");
                    let n = call.source.len().min(1);
                    call.source.move_to(call.destination, n)?;
                    Ok(FilterStatus::Ok)
                })
            };
            let (wire, seen) = (Wire::new(), Seen::default());
            let mut builder = Bufferevent::scripted(&wire).filter(sip());
            for _ in 0..above {
                builder = builder.filter(sip());
            }
            let mut sim = Sim::start(shared, builder, &seen);
            wire.deliver(&[b'x'; 1_000]);
            wire.reset();
            sim.settle();
            assert_eq!((seen.data().len(), seen.events().len()), (1_000, 1));
            assert!(seen.events()[0].starts_with("Error { direction: Some(Read)"), "{:?}", seen.events());
            assert_eq!(sim.with(|top| top.enabled()).unwrap(), Interest::WRITE);
        }
    }
}
