//! Pairs and filters where one thing meets another: a move and a flush, a close and a full queue, an end and a budget.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bufferevent::{
    Base, BaseExt, Bufferevent, Callbacks, Context, Direction, Error, Event, FilterCall, FilterError,
    FilterFn, FilterStatus, FlushMode, Handle, Id, Interest, Movable, NoHandler, PAIR_QUEUE, Pinned, Trigger,
    runtime::Clock,
    testing::{Census, ManualBase, Wire},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

fn pass(call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
    call.pass()
}

/// A filter that passes on at most a byte a call.
fn sip(call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
    let n = call.source.len().min(1);
    let byte = call.source.take_bytes(n)?;
    call.destination.add(&byte)?;
    Ok(FilterStatus::Ok)
}

#[test]
fn a_flush_that_found_room_does_not_open_the_high_mark_for_what_comes_after() {
    // P-09, K-03
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (one, other) = Bufferevent::pair();
    let one = one.handler(NoHandler).start(&mut base).unwrap();
    let other = other.handler(NoHandler).read_watermark(0, Some(10)).start(&mut base).unwrap();
    base.bufferevent(one).unwrap().write(b"12345").unwrap();
    base.bufferevent(one).unwrap().flush(Interest::WRITE, FlushMode::Flush).unwrap();
    base.settle().unwrap();
    assert_eq!(base.bufferevent(other).unwrap().input().len(), 5);
    base.bufferevent(one).unwrap().write(&[b'x'; 100]).unwrap();
    base.settle().unwrap();
    assert_eq!(base.bufferevent(other).unwrap().input().len(), 10);
}

#[test]
fn what_is_mailed_behind_a_shutdown_is_told_as_unsent() {
    // D9, D15
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (one, other) = Bufferevent::pair();
    let own = Arc::new(OnceLock::<Handle>::new());
    let handle = Arc::clone(&own);
    let mut calls = 0;
    let on_read = move |cx: &mut Context<'_>| {
        calls += 1;
        cx.input().drain(usize::MAX).unwrap();
        match calls {
            1 => cx.shutdown(Direction::Write).unwrap(),
            _ => drop(handle.get().unwrap().write(b"late").unwrap()),
        }
    };
    let unsent = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&unsent);
    let on_event = move |_: &mut Context<'_>, event: Event| {
        if let Event::Closed(closed) = event {
            told.store(closed.unsent, Ordering::Relaxed);
        }
    };
    let one = one.report_close().handler(Callbacks::new().on_read(on_read).on_event(on_event)).threadsafe();
    let one = one.start(&mut base).unwrap();
    own.set(one.clone()).unwrap();
    let other = other.handler(NoHandler).start(&mut base).unwrap();
    for _ in 0..2 {
        base.bufferevent(other).unwrap().write(b"x").unwrap();
        base.settle().unwrap();
    }
    one.close();
    base.settle().unwrap();
    assert_eq!(unsent.load(Ordering::Relaxed), 4);
    assert!(base.bufferevent(other).unwrap().input().is_empty());
}

fn base() -> Base<Movable> {
    Base::with_clock(Clock::monotonic()).unwrap()
}

fn turn(base: &mut Base<Movable>, turns: usize) {
    for _ in 0..turns {
        let _turned = base.turn(Some(Duration::ZERO)).unwrap();
    }
}

/// A half with more to send than the queue holds, on one base, and the other, whose events are `go`, on another.
fn full(
    at: (&mut Base<Movable>, &mut Base<Movable>),
    go: impl FnMut(&mut Context<'_>, Event) + Send + 'static,
) -> (Id, Id) {
    let (one, other) = Bufferevent::pair();
    let other = other.enable(Interest::WRITE).handler(Callbacks::new().on_event(go)).start(at.1).unwrap();
    let one = one.handler(NoHandler).start(at.0).unwrap();
    at.0.bufferevent(one).unwrap().write(&vec![b'x'; 3 * PAIR_QUEUE]).unwrap();
    turn(at.0, 8);
    turn(at.1, 8);
    (one, other)
}

#[test]
fn a_half_that_flushes_as_it_moves_calls_the_other_where_that_is() {
    let _census = Census::begin();
    let (mut here, mut there) = (base(), base());
    let to = there.handle();
    let go = move |cx: &mut Context<'_>, _: Event| {
        cx.enable(Interest::READ);
        cx.set_base(&to).unwrap();
        cx.flush(Interest::READ, FlushMode::Flush).unwrap();
        cx.disable(Interest::READ);
    };
    let (one, other) = full((&mut there, &mut here), go);
    here.bufferevent(other).unwrap().trigger_event(1, Trigger::default());
    turn(&mut here, 8);
    turn(&mut there, 8);
    assert_eq!(there.bufferevent(one).unwrap().output().len(), PAIR_QUEUE);
}

#[test]
fn a_half_that_flushed_and_is_moved_before_it_runs_has_called_the_other() {
    let _census = Census::begin();
    let (mut here, mut there) = (base(), base());
    let (one, other) = Bufferevent::pair();
    let one = one.handler(NoHandler).start(&mut here).unwrap();
    let other = other.enable(Interest::WRITE).handler(NoHandler).start(&mut here).unwrap();
    here.bufferevent(one).unwrap().write(&vec![b'x'; 3 * PAIR_QUEUE]).unwrap();
    turn(&mut here, 8);
    let half = here.bufferevent(other).unwrap();
    half.enable(Interest::READ);
    half.flush(Interest::READ, FlushMode::Flush).unwrap();
    half.disable(Interest::READ);
    here.set_base(other, &there.handle()).unwrap();
    turn(&mut there, 8);
    turn(&mut here, 8);
    assert_eq!(here.bufferevent(one).unwrap().output().len(), PAIR_QUEUE);
}

#[test]
fn a_half_that_is_handed_back_has_called_the_other() {
    // D19
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (one, other) = Bufferevent::pair();
    let on_event = |cx: &mut Context<'_, Pinned>, event: Event| {
        if let Event::User(_) = event {
            cx.enable(Interest::READ);
            cx.flush(Interest::READ, FlushMode::Flush).unwrap();
            cx.close();
        }
    };
    let top = one.enable(Interest::BOTH).filter(FilterFn::new()).close_on_free(false).report_close();
    let top =
        top.enable(Interest::WRITE).handler(Callbacks::new().on_event(on_event)).start(&mut base).unwrap();
    let other = other.handler(NoHandler).start(&mut base).unwrap();
    base.bufferevent(other).unwrap().write(&vec![b'x'; 3 * PAIR_QUEUE]).unwrap();
    base.settle().unwrap();
    base.bufferevent(other).unwrap().close();
    base.settle().unwrap();
    base.bufferevent(top).unwrap().trigger_event(1, Trigger::default());
    base.settle().unwrap();
    assert!(matches!(base.bufferevent(top), Err(Error::Closed)));
    assert!(matches!(base.bufferevent(other), Err(Error::Closed)));
}

#[test]
fn a_close_tells_the_filter_the_end_though_the_run_was_spent_on_the_output() {
    // F-09, D10, D15
    let _census = Census::begin();
    for (bytes, shuts) in (1..10).flat_map(|bytes| [(bytes, false), (bytes, true)]) {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        let trailer = FilterFn::new().on_output(|call: &mut FilterCall<'_>| {
            if call.mode() == FlushMode::Finished {
                call.destination.add(b"!")?;
            }
            sip(call)
        });
        let top = Bufferevent::scripted(&wire).filter(trailer).handler(NoHandler).start(&mut base).unwrap();
        base.settle().unwrap();
        let half = base.bufferevent(top).unwrap();
        half.write(&vec![b'x'; bytes]).unwrap();
        if shuts {
            half.shutdown(Direction::Write).unwrap();
        } else {
            half.close();
        }
        base.settle().unwrap();
        assert_eq!(wire.written().len(), bytes + 1, "{bytes} {shuts}");
        assert!(wire.is_shut_down());
        wire.end();
        base.settle().unwrap();
    }
}

#[test]
fn a_filter_that_panics_when_it_is_dropped_is_contained() {
    struct Sore;
    impl Drop for Sore {
        fn drop(&mut self) {
            panic!("when it is dropped");
        }
    }
    let _census = Census::begin();
    for (close_on_free, threadsafe) in [(true, false), (false, false), (true, true), (false, true)] {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        let sore = Sore;
        let filter = FilterFn::new().on_output(move |call: &mut FilterCall<'_>| {
            let _keeps = &sore;
            pass(call)
        });
        let top = Bufferevent::scripted(&wire).filter(filter).close_on_free(close_on_free).report_close();
        let top = top.handler(NoHandler);
        if threadsafe {
            top.threadsafe().start(&mut base).unwrap().abort();
        } else {
            let id = top.start(&mut base).unwrap();
            base.settle().unwrap();
            base.bufferevent(id).unwrap().abort();
        }
        base.settle().unwrap();
        assert!(wire.is_closed());
    }
}

#[test]
fn a_stack_over_a_half_whose_other_is_gone_says_so_and_closes_at_once() {
    // D9
    let _census = Census::begin();
    for depth in 1..3 {
        let mut base = ManualBase::new().unwrap();
        let (one, other) = Bufferevent::pair();
        let one = (0..depth).fold(one, |one, _| one.filter(FilterFn::new()));
        let one = one.handler(NoHandler).start(&mut base).unwrap();
        let other = other.handler(NoHandler).start(&mut base).unwrap();
        base.settle().unwrap();
        base.bufferevent(other).unwrap().disable(Interest::READ);
        base.bufferevent(one).unwrap().write(&vec![b'x'; 1 << 20]).unwrap();
        base.settle().unwrap();
        base.bufferevent(other).unwrap().abort();
        base.settle().unwrap();
        let half = base.bufferevent(one).unwrap();
        assert!(matches!(half.write(b"more"), Err(Error::Unlinked)));
        assert!(matches!(half.flush(Interest::BOTH, FlushMode::Flush), Err(Error::Unlinked)));
        half.close();
        base.settle().unwrap();
        assert!(matches!(base.bufferevent(one), Err(Error::Closed)), "{depth}");
    }
}

#[test]
fn a_close_waits_as_long_as_the_peer_takes_something_however_many_layers() {
    // D15
    let _census = Census::begin();
    for depth in 1..4 {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        wire.set_room(0);
        // What is below has far more than its high mark, and takes no more for long.
        let spread = FilterFn::new().on_output(|call: &mut FilterCall<'_>| {
            let n = call.source.drain(usize::MAX)?;
            call.destination.add(&vec![b'x'; 100 * n])?;
            Ok(FilterStatus::Ok)
        });
        let bottom = Bufferevent::scripted(&wire).write_watermark(0, Some(10)).filter(spread);
        let stack =
            (1..depth).fold(bottom, |stack, _| stack.write_watermark(0, Some(10)).filter(FilterFn::new()));
        let lasts = Arc::new(Mutex::new(None));
        let told = Arc::clone(&lasts);
        let on_event = move |_: &mut Context<'_, Pinned>, event: Event| {
            if let Event::Closed(closed) = event {
                *told.lock() = Some((closed.clean, closed.unsent));
            }
        };
        let top = stack.report_close().handler(Callbacks::new().on_event(on_event)).start(&mut base).unwrap();
        base.settle().unwrap();
        base.bufferevent(top).unwrap().write(&[b'y'; 100]).unwrap();
        base.settle().unwrap();
        base.bufferevent(top).unwrap().close();
        for _ in 0..20 {
            base.advance(Duration::from_secs(20)).unwrap();
            assert_eq!(*lasts.lock(), None, "{depth}");
            wire.set_room(100);
            base.settle().unwrap();
        }
        wire.set_room(usize::MAX);
        wire.end();
        base.settle().unwrap();
        assert_eq!(*lasts.lock(), Some((true, 0)), "{depth}");
    }
}

#[test]
fn a_filter_that_gives_for_ever_ends_when_it_is_closed_or_dropped() {
    // D10, D15
    let _census = Census::begin();
    for (drops, leaves) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        wire.set_room(0);
        let spring = FilterFn::new().on_output(move |call: &mut FilterCall<'_>| {
            if !leaves {
                call.source.drain(usize::MAX)?;
            }
            let all = call.room();
            call.destination.add(&vec![b'x'; all])?;
            Ok(FilterStatus::Ok)
        });
        let bottom = Bufferevent::scripted(&wire).write_watermark(0, Some(10)).caps(None, Some(100));
        let top = bottom.filter(spring).handler(NoHandler).start(&mut base).unwrap();
        base.bufferevent(top).unwrap().write(b"y").unwrap();
        base.settle().unwrap();
        wire.set_room(usize::MAX);
        if !drops && !leaves {
            base.bufferevent(top).unwrap().close();
            wire.end();
            base.settle().unwrap();
        }
        drop(base);
        assert!(wire.is_closed());
    }
}
