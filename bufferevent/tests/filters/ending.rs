//! How stacks end: closed, aborted, dropped, shut down, handed back.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::Duration,
};

use bufferevent::{
    BaseExt, Bufferevent, Callbacks, Cause, Closed, Closing, Context, Direction, Event, FINISH_BYTES, Filter,
    FilterCall, FilterError, FilterFn, FilterStatus, FlushMode, Interest, OUTPUT_HIGH, Pinned, Runtime,
    testing::{Census, ManualBase, Wire},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::seen::{Dropped, Seen, Sim};

/// Sends in frames of four bytes, and what is left at the end with a mark.
fn framing() -> impl Filter {
    FilterFn::new().on_output(|call: &mut FilterCall<'_>| -> Result<FilterStatus, FilterError> {
        while call.source.len() >= 4 {
            call.destination.add(&call.source.take_bytes(4)?)?;
            call.destination.add(b"|")?;
        }
        if call.mode() == FlushMode::Normal {
            return Ok(FilterStatus::NeedMore);
        }
        let rest = call.source.len();
        call.destination.add(&call.source.take_bytes(rest)?)?;
        if call.mode() == FlushMode::Finished {
            call.destination.add(b".")?;
        }
        Ok(FilterStatus::Ok)
    })
}

#[test]
fn a_close_gives_each_filter_its_end_and_what_it_kept_is_sent() {
    let _census = Census::begin();
    // F-13, D10, D15, X-72
    for shared in [false, true] {
        let (wire, seen, drops) = (Wire::new(), Seen::default(), Arc::new(AtomicUsize::new(0)));
        let builder =
            Bufferevent::scripted(&wire).filter(Dropped(framing(), Arc::clone(&drops))).filter(framing());
        let mut sim = Sim::start(shared, builder.report_close(), &seen);
        sim.with(|top| top.write(b"abcdef").map(drop)).unwrap().unwrap();
        sim.settle();
        assert_eq!(
            wire.written(),
            b"abcd|",
            "the fifth byte of the upper filter waits for three more in the lower"
        );
        sim.with(|top| top.close()).unwrap();
        sim.settle();
        assert_eq!(wire.written(), b"abcd||ef.|.");
        assert!(wire.is_shut_down());
        wire.end();
        sim.settle();
        assert!(sim.is_gone());
        assert_eq!(seen.events(), ["Closed true 0"]);
        assert_eq!(drops.load(Relaxed), 1);
    }
}

#[test]
fn a_close_that_is_cut_short_has_each_filter_give_what_it_kept_and_tells_none_that_it_is_the_end() {
    let _census = Census::begin();
    // F-13, D15
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).filter(framing()).filter(framing());
        let mut sim = Sim::start(shared, builder.report_close(), &seen);
        sim.with(|top| top.write(b"abcdef").map(drop)).unwrap().unwrap();
        sim.with(|top| top.close_with(Closing::CUT_SHORT)).unwrap();
        sim.settle();
        assert_eq!(wire.written(), b"abcd||ef");
        assert!(!wire.is_shut_down() && !wire.is_closed(), "the peer has time to take it");
        sim.base.advance(Closing::default().linger).unwrap();
        assert!(sim.is_gone() && wire.is_reset() && !wire.is_shut_down());
        assert_eq!(seen.events(), ["Closed false 0"]);
    }
}

#[test]
fn one_that_is_cut_short_is_reset_at_once_if_the_peer_ends_or_nothing_was_ever_sent() {
    let _census = Census::begin();
    for data in [&b""[..], b"data"] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim = Sim::start(false, Bufferevent::scripted(&wire).filter(FilterFn::new()), &seen);
        sim.with(|top| top.write(data).map(drop)).unwrap().unwrap();
        sim.with(|top| top.close_with(Closing::CUT_SHORT)).unwrap();
        sim.settle();
        assert_eq!(wire.is_reset(), data.is_empty(), "nothing was ever sent");
        wire.end();
        sim.settle();
        assert!(wire.is_reset() && sim.is_gone());
    }
}

#[test]
fn a_filter_that_loses_what_it_was_given_is_no_end_for_the_peer() {
    let _census = Census::begin();
    // D15: what it gave before is sent
    let (wire, seen) = (Wire::new(), Seen::default());
    let failing =
        FilterFn::new().on_output(|call: &mut FilterCall<'_>| -> Result<FilterStatus, FilterError> {
            call.pass()?;
            if call.mode() == FlushMode::Normal { Ok(FilterStatus::Ok) } else { Err("no more".into()) }
        });
    let mut sim = Sim::start(false, Bufferevent::scripted(&wire).filter(failing).report_close(), &seen);
    sim.with(|top| top.write(b"half").map(drop)).unwrap().unwrap();
    sim.with(|top| top.close()).unwrap();
    sim.base.advance(Closing::default().linger).unwrap();
    assert!(wire.written() == b"half" && wire.is_reset());
    let closed = seen.closed();
    assert!(!closed.clean && matches!(closed.cause, Some(Cause::Filter(_))), "{closed:?}");
}

#[test]
fn a_close_that_the_peer_does_not_take_ends_within_its_bounds_and_tells_what_is_left_of_all_layers() {
    let _census = Census::begin();
    // D15, X-72
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        wire.set_room(10);
        let builder = Bufferevent::scripted(&wire).write_watermark(0, Some(100)).filter(FilterFn::new());
        let mut sim = Sim::start(shared, builder.report_close(), &seen);
        sim.with(|top| top.write(&[1; 1_000]).map(drop)).unwrap().unwrap();
        sim.with(|top| top.close()).unwrap();
        sim.base.advance(Closing::default().drain / 2).unwrap();
        wire.set_room(5);
        sim.base.advance(Closing::default().drain / 2).unwrap();
        assert!(!sim.is_gone(), "the peer has taken something meanwhile");
        sim.base.advance(Closing::default().drain).unwrap();
        assert!(sim.is_gone());
        assert_eq!(seen.events(), ["Closed false 985"]);
    }
}

#[test]
fn a_deadline_of_a_close_is_that_of_the_whole_stack() {
    let _census = Census::begin();
    let (wire, seen) = (Wire::new(), Seen::default());
    let builder = Bufferevent::scripted(&wire).filter(FilterFn::new()).filter(FilterFn::new());
    let mut sim = Sim::start(false, builder.report_close(), &seen);
    let closing =
        Closing { deadline: Some(Duration::from_secs(1)), linger: Duration::MAX, ..Closing::default() };
    sim.with(|top| top.close_with(closing)).unwrap();
    sim.base.advance(Duration::from_millis(900)).unwrap();
    assert!(wire.is_shut_down() && !sim.is_gone());
    sim.base.advance(Duration::from_millis(200)).unwrap();
    assert!(sim.is_gone());
    assert_eq!(seen.events(), ["Closed false 0"]);
}

#[test]
fn an_abort_drops_all_layers_at_once_and_no_filter_is_called() {
    let _census = Census::begin();
    // D3, D15
    let (wire, seen) = (Wire::new(), Seen::default());
    wire.set_room(0);
    let mut sim = Sim::start(true, Bufferevent::scripted(&wire).filter(framing()).report_close(), &seen);
    sim.with(|top| top.write(b"abcdef").map(drop)).unwrap().unwrap();
    sim.settle();
    sim.with(|top| top.abort()).unwrap();
    sim.settle();
    assert!(wire.is_closed() && wire.written().is_empty());
    assert_eq!(seen.events(), ["Closed false 6"], "four as five below, two above");
}

#[test]
fn one_that_is_never_started_is_closed_through_its_filters() {
    let _census = Census::begin();
    // D15
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let builder = Bufferevent::socket(ours).filter(framing()).filter(framing());
    drop(builder.configure(|top| assert!(top.write(b"abcdef").is_ok())));
    let mut got = Vec::new();
    theirs.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"abcd||ef.|.");
}

#[test]
fn a_base_that_ends_closes_its_stacks_as_far_as_that_needs_no_waiting() {
    let _census = Census::begin();
    // D15
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim = Sim::start(shared, Bufferevent::scripted(&wire).filter(framing()), &seen);
        sim.with(|top| top.write(b"abcdef").map(drop)).unwrap().unwrap();
        drop(sim);
        assert_eq!(wire.written(), b"abcd|ef.");
        assert!(wire.is_closed());
    }
}

#[test]
fn without_close_on_free_what_is_below_comes_back_and_can_be_started_again() {
    let _census = Census::begin();
    // F-13, C-03, D19
    let (wire, got) = (Wire::new(), Arc::new(Mutex::new(None)));
    let mut base = ManualBase::new().unwrap();
    let keep = Arc::clone(&got);
    let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
        if let Event::Closed(closed) = event {
            *keep.lock() = Some(closed);
        }
    });
    let builder = Bufferevent::scripted(&wire)
        .timeouts(Some(Duration::from_secs(5)), None)
        .filter(framing())
        .close_on_free(false)
        .report_close()
        .handler(handler);
    let builder = builder.configure(|top| assert!(top.write(b"abcdef").is_ok()));
    let id = builder.start(&mut base).unwrap();
    base.settle().unwrap();
    base.bufferevent(id).unwrap().close();
    base.settle().unwrap();
    let Closed { clean, unsent, underlying, .. } = *got.lock().take().unwrap();
    assert!(clean && unsent == 0 && !wire.is_closed());
    let seen = Seen::default();
    underlying.unwrap().handler(seen.clone()).start(&mut base).unwrap();
    wire.deliver(b"plain");
    base.settle().unwrap();
    assert_eq!(wire.written(), b"abcd|ef.");
    assert_eq!(seen.data(), b"plain");
    base.advance(Duration::from_secs(6)).unwrap();
    assert_eq!(seen.events(), ["Timeout(Read)"], "its settings stay");
}

#[test]
fn what_comes_back_and_is_not_taken_is_closed() {
    let _census = Census::begin();
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim =
        Sim::start(false, Bufferevent::scripted(&wire).filter(framing()).close_on_free(false), &seen);
    sim.with(|top| top.close()).unwrap();
    sim.settle();
    assert!(sim.is_gone() && wire.is_closed());
}

#[test]
fn who_closes_what_is_below_closes_the_stack() {
    let _census = Census::begin();
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = Sim::start(true, Bufferevent::scripted(&wire).filter(framing()).report_close(), &seen);
    sim.with(|top| top.underlying_mut().unwrap().abort()).unwrap();
    sim.settle();
    assert!(sim.is_gone() && wire.is_closed());
    assert_eq!(seen.events(), ["Closed false 0"]);
}

#[test]
fn a_shutdown_of_writing_gives_the_filter_its_end_and_reading_goes_on() {
    let _census = Census::begin();
    // K-18, D10
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).filter(framing()).filter(framing());
        let mut sim = Sim::start(shared, builder, &seen);
        sim.with(|top| {
            top.write(b"abcdef").unwrap();
            top.shutdown(Direction::Write).unwrap();
            assert!(top.write(b"more").is_err());
        })
        .unwrap();
        sim.settle();
        assert_eq!(wire.written(), b"abcd||ef.|.");
        assert!(wire.is_shut_down());
        wire.deliver(b"still");
        wire.end();
        sim.settle();
        assert_eq!((seen.data(), seen.events()), (b"still".to_vec(), vec!["Eof".to_owned()]));
        sim.with(|top| top.close()).unwrap();
        sim.settle();
        assert_eq!(wire.written(), b"abcd||ef.|.", "the end is given once");
        assert!(sim.is_gone());
    }
}

#[test]
fn an_immediate_close_through_two_filters_reaches_a_slow_reader_byte_by_byte() {
    let _census = Census::begin();
    // X-72, D15: over a real socket, with two workers
    const BYTES: usize = 2_000_000;
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let xor = || {
        FilterFn::new().on_output(|call: &mut FilterCall<'_>| {
            let n = call.source.len().min(call.room());
            let bytes: Vec<u8> = call.source.take_bytes(n)?.iter().map(|byte| byte ^ 0x55).collect();
            call.destination.add(&bytes)?;
            Ok(FilterStatus::Ok)
        })
    };
    let handle = Bufferevent::socket(ours)
        .caps(None, None)
        .filter(xor())
        .filter(framing())
        .caps(None, None)
        .threadsafe()
        .start(&mut runtime.bases()[0].clone())
        .unwrap();
    let data: Vec<u8> = (0..BYTES).map(|at| (at * 7 + at / 251) as u8).collect();
    handle.write(&data).unwrap();
    handle.close();
    let running = thread::spawn({
        let runtime = runtime.clone();
        move || runtime.run()
    });
    let mut got = Vec::new();
    let mut block = vec![0; 3_001];
    loop {
        match theirs.read(&mut block).unwrap() {
            0 => break,
            n => got.extend_from_slice(&block[..n]),
        }
    }
    theirs.write_all(b"unread").unwrap();
    drop(theirs);
    let closed = handle.close_and_wait().unwrap();
    runtime.stop();
    running.join().unwrap().unwrap();
    let mut expected: Vec<u8> = data.chunks(4).flat_map(|frame| [frame, b"|"].concat()).collect();
    expected.push(b'.');
    expected.iter_mut().for_each(|byte| *byte ^= 0x55);
    assert!(got == expected, "{} of {}", got.len(), expected.len());
    assert_eq!(closed.unsent, 0);
}

#[test]
fn an_end_is_told_after_the_filter_has_given_the_rest() {
    let _census = Census::begin();
    // F-09, X-71, D10
    for shared in [false, true] {
        let late = FilterFn::new().on_input(|call: &mut FilterCall<'_>| {
            if call.mode() == FlushMode::Finished {
                call.destination.append(call.source)?;
                call.destination.add(b"!")?;
                return Ok(FilterStatus::Ok);
            }
            Ok(FilterStatus::NeedMore)
        });
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim =
            Sim::start(shared, Bufferevent::scripted(&wire).filter(late).filter(FilterFn::new()), &seen);
        wire.deliver_in(b"all of it", 2);
        sim.settle();
        assert!(seen.data().is_empty() && seen.events().is_empty());
        wire.end();
        sim.settle();
        assert_eq!((seen.data(), seen.events()), (b"all of it!".to_vec(), vec!["Eof".to_owned()]));
        assert_eq!(sim.with(|top| top.enabled()).unwrap(), Interest::WRITE);
    }
}

#[test]
fn a_filter_that_takes_nothing_and_gives_for_ever_does_not_keep_a_close_open() {
    // F-07, D15: the peer takes all that it gives
    let _census = Census::begin();
    for shared in [false, true] {
        let gives = FilterFn::new().on_output(|call: &mut FilterCall<'_>| {
            call.destination.add(&vec![0; call.limit()])?;
            Ok(FilterStatus::Ok)
        });
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim = Sim::start(shared, Bufferevent::scripted(&wire).filter(gives).report_close(), &seen);
        sim.with(|top| {
            top.write(b"never").unwrap();
            top.close();
        })
        .unwrap();
        wire.end();
        sim.settle();
        assert!(sim.is_gone(), "no time has passed");
        let closed = seen.closed();
        assert_eq!((closed.clean, closed.unsent), (false, 5));
        assert!(matches!(closed.cause, Some(Cause::Filter(_))), "{:?}", closed.cause);
        assert!(wire.written().len() <= FINISH_BYTES + OUTPUT_HIGH);
    }
}
