//! Filters that fail, lie, panic, give without end or end their own bufferevent: each harms its own connection alone.

use std::sync::Arc;

use bufferevent::{
    Bufferevent, Closing, Evbuffer, Filter, FilterCall, FilterError, FilterFn, FilterStatus, FlushMode,
    Handle, Interest, PanicPolicy,
    testing::{Census, Wire},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::seen::{Dropped, Seen, Sim, Who};

type Answer = Result<FilterStatus, FilterError>;

/// Runs a body with a confined and with a THREADSAFE bufferevent.
fn each(body: impl Fn(bool)) {
    for shared in [false, true] {
        let _census = Census::begin();
        body(shared);
    }
}

fn start(shared: bool, filter: impl Filter) -> (Sim, Wire, Seen, Arc<AtomicUsize>) {
    let (wire, seen, drops) = (Wire::new(), Seen::default(), Arc::new(AtomicUsize::new(0)));
    let builder = Bufferevent::scripted(&wire).filter(Dropped(filter, Arc::clone(&drops)));
    (Sim::start(shared, builder.report_close(), &seen), wire, seen, drops)
}

#[test]
fn an_error_is_told_once_keeps_what_was_made_and_stops_its_direction_alone() {
    let _census = Census::begin();
    // F-07, X-70, D10
    each(|shared| {
        let fails = |call: &mut FilterCall<'_>| -> Answer {
            call.destination.append(call.source)?;
            Err("no more of this".into())
        };
        let (mut sim, wire, seen, _) = start(shared, FilterFn::new().on_input(fails));
        wire.deliver(b"before");
        sim.settle();
        assert_eq!(seen.data(), b"before");
        assert_eq!(seen.events().len(), 1);
        assert!(
            seen.events()[0].contains("direction: Some(Read)")
                && seen.events()[0].contains("no more of this")
        );
        assert_eq!(sim.with(|top| top.enabled()).unwrap(), Interest::WRITE);
        wire.deliver(b"behind");
        sim.with(|top| top.write(b"still")).unwrap().unwrap();
        sim.settle();
        assert_eq!((seen.events().len(), wire.written()), (1, b"still".to_vec()));
    });
}

#[test]
fn an_error_at_the_output_stops_writing_and_reading_goes_on() {
    let _census = Census::begin();
    // D10
    each(|shared| {
        let (mut sim, wire, seen, _) =
            start(shared, FilterFn::new().on_output(|_| -> Answer { Err("full".into()) }));
        sim.with(|top| top.write(b"never")).unwrap().unwrap();
        wire.deliver(b"arrives");
        sim.settle();
        assert_eq!(seen.data(), b"arrives");
        assert!(seen.events()[0].contains("direction: Some(Write)"));
        assert_eq!(sim.with(|top| top.enabled()).unwrap(), Interest::READ);
        // What it does not take is unsent, and the close does not wait for it.
        sim.with(|top| top.close()).unwrap();
        sim.settle();
        assert!(wire.is_reset());
        assert_eq!(seen.events()[1], "Closed false 5");
    });
}

#[test]
fn one_that_says_ok_and_does_nothing_is_not_called_again_before_there_is_more() {
    let _census = Census::begin();
    // F-03, F-04
    each(|shared| {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let lies = move |_: &mut FilterCall<'_>| -> Answer {
            count.fetch_add(1, Relaxed);
            Ok(FilterStatus::Ok)
        };
        let (mut sim, wire, _, _) = start(shared, FilterFn::new().on_input(lies));
        wire.deliver(b"one");
        sim.settle();
        assert_eq!(calls.load(Relaxed), 1);
        wire.deliver(b"two");
        sim.settle();
        assert_eq!(calls.load(Relaxed), 2);
        assert_eq!(
            sim.with(|top| top.underlying_mut().unwrap().input().len()).unwrap(),
            6,
            "nothing is lost"
        );
    });
}

#[test]
fn one_that_gives_without_end_fills_the_input_to_its_cap_and_no_further() {
    let _census = Census::begin();
    // D8
    each(|shared| {
        let floods = |call: &mut FilterCall<'_>| -> Answer {
            let _ = call.source.drain(1);
            let room = call.room();
            call.destination.add(&vec![7; room])?;
            Ok(FilterStatus::Ok)
        };
        let (mut sim, wire, seen, _) = start(shared, FilterFn::new().on_input(floods));
        sim.with(|top| top.set_input_cap(Some(100_000))).unwrap();
        seen.leave(usize::MAX);
        wire.deliver(b"x");
        sim.settle();
        assert_eq!(sim.with(|top| top.input().len()).unwrap(), 100_000);
        assert_eq!(seen.events(), ["InputFull"]);
    });
}

#[test]
fn one_that_ignores_the_limit_is_refused_past_the_cap() {
    let _census = Census::begin();
    // D8, D10
    each(|shared| {
        let bursts = |call: &mut FilterCall<'_>| -> Answer {
            loop {
                call.destination.add(&[1; 1_000])?;
            }
        };
        let (mut sim, _wire, seen, _) = start(shared, FilterFn::new().on_output(bursts));
        sim.with(|top| {
            top.underlying_mut().unwrap().set_output_cap(Some(10_500));
            top.write(b"go").map(drop)
        })
        .unwrap()
        .unwrap();
        sim.settle();
        assert!(seen.events()[0].contains("Full"), "{:?}", seen.events());
        assert_eq!(_wire.written().len(), 10_000, "what it gave before is sent");
    });
}

#[test]
fn one_that_never_comes_to_an_end_is_told_as_an_error_and_closes_all_the_same() {
    let _census = Census::begin();
    // D10, D15
    each(|shared| {
        let endless = |call: &mut FilterCall<'_>| -> Answer {
            if call.mode() == FlushMode::Finished {
                let room = call.room();
                call.destination.add(&vec![3; room])?;
            }
            call.pass()
        };
        let (mut sim, wire, seen, drops) =
            start(shared, FilterFn::new().on_input(endless).on_output(endless));
        sim.with(|top| {
            top.set_input_cap(Some(100));
            top.underlying_mut().unwrap().set_output_cap(Some(100));
        })
        .unwrap();
        wire.end();
        sim.settle();
        assert!(seen.events().iter().any(|event| event.contains("Endless")), "{:?}", seen.events());
        sim.with(|top| top.close()).unwrap();
        sim.settle();
        assert!(sim.is_gone(), "{}", sim.with(|top| top.explain().to_string()).unwrap());
        assert!(seen.events().last().unwrap().starts_with("Closed false"), "{:?}", seen.events());
        drop(sim);
        assert_eq!(drops.load(Relaxed), 1);
    });
}

#[test]
fn one_that_puts_bytes_into_its_source_or_lifts_the_limit_fails() {
    let _census = Census::begin();
    each(|shared| {
        let cheats = |call: &mut FilterCall<'_>| -> Answer {
            call.source.add(b"more than was lent")?;
            Ok(FilterStatus::Ok)
        };
        let (mut sim, wire, seen, _) = start(shared, FilterFn::new().on_input(cheats));
        wire.deliver(b"x");
        sim.settle();
        assert!(seen.events()[0].contains("Misused") && seen.data().is_empty(), "{:?}", seen.events());

        let lifts = |call: &mut FilterCall<'_>| -> Answer {
            *call.destination = Evbuffer::from(vec![0; 2_000]);
            Ok(FilterStatus::Ok)
        };
        let (mut sim, wire, seen, _) = start(shared, FilterFn::new().on_input(lifts));
        sim.with(|top| top.set_input_cap(Some(1_000))).unwrap();
        wire.deliver(b"x");
        sim.settle();
        assert!(seen.events()[0].contains("Misused") && seen.data().is_empty(), "{:?}", seen.events());
    });
}

#[test]
fn one_that_keeps_the_buffers_it_is_lent_keeps_the_bytes_alone() {
    let _census = Census::begin();
    each(|shared| {
        let mut kept = Evbuffer::new();
        let hoards = move |call: &mut FilterCall<'_>| -> Answer {
            std::mem::swap(&mut kept, call.source);
            std::mem::swap(call.destination, call.source);
            Ok(FilterStatus::Ok)
        };
        let (mut sim, wire, seen, _) = start(shared, FilterFn::new().on_input(hoards));
        for _ in 0..3 {
            wire.deliver(b"ab");
            sim.settle();
        }
        assert_eq!(seen.data(), b"abab");
    });
}

#[test]
fn a_panic_ends_its_bufferevent_and_no_other_and_the_filter_is_dropped_once() {
    let _census = Census::begin();
    // F19, D15
    each(|shared| {
        let panics = |_: &mut FilterCall<'_>| -> Answer { panic!("in a filter") };
        let (mut sim, wire, seen, drops) = start(shared, FilterFn::new().on_input(panics));
        sim.with(|top| top.write(b"lost").map(drop)).unwrap().unwrap();
        wire.set_room(0);
        wire.deliver(b"x");
        sim.settle();
        assert_eq!(sim.base.counters().panics.get(), 1);
        assert!(sim.is_gone() && wire.is_closed());
        assert_eq!(seen.events(), ["Closed false 4"]);
        drop(sim);
        assert_eq!(drops.load(Relaxed), 1);
    });
}

#[test]
fn a_panic_in_a_lower_filter_ends_the_whole_stack() {
    let _census = Census::begin();
    each(|shared| {
        let (wire, seen) = (Wire::new(), Seen::default());
        let panics = |_: &mut FilterCall<'_>| -> Answer { panic!("below") };
        let builder =
            Bufferevent::scripted(&wire).filter(FilterFn::new().on_output(panics)).filter(FilterFn::new());
        let mut sim = Sim::start(shared, builder.report_close(), &seen);
        sim.with(|top| top.write(b"lost").map(drop)).unwrap().unwrap();
        sim.settle();
        assert!(sim.is_gone() && wire.is_closed());
        assert_eq!(seen.events(), ["Closed false 4"]);
    });
}

#[test]
fn a_panic_comes_out_of_the_turn_if_the_policy_says_so() {
    let _census = Census::begin();
    let (wire, seen, drops) = (Wire::new(), Seen::default(), Arc::new(AtomicUsize::new(0)));
    let panics = FilterFn::new().on_input(|_| -> Answer { panic!("out") });
    let builder = Bufferevent::scripted(&wire).filter(Dropped(panics, Arc::clone(&drops)));
    let mut sim = Sim::start(false, builder.on_panic(PanicPolicy::Propagate), &seen);
    wire.deliver(b"x");
    let turned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sim.settle()));
    assert!(turned.is_err() && sim.is_gone() && wire.is_closed());
    assert_eq!(drops.load(Relaxed), 1);
}

#[test]
fn one_that_ends_its_own_bufferevent_by_a_handle_ends_it_after_the_call() {
    let _census = Census::begin();
    // within the call the strand is held
    for abort in [false, true] {
        let own: Arc<Mutex<Option<Handle>>> = Arc::default();
        let mine = Arc::clone(&own);
        let ends = move |call: &mut FilterCall<'_>| -> Answer {
            if let Some(handle) = mine.lock().take() {
                assert!(handle.lock().is_err(), "it would wait for itself");
                handle.write(b"!").unwrap();
                if abort { handle.abort() } else { handle.close() }
            }
            call.pass()
        };
        let (mut sim, wire, seen, drops) = start(true, FilterFn::new().on_input(ends));
        let Who::Shared(handle) = &sim.who else { unreachable!() };
        *own.lock() = Some(handle.clone());
        wire.deliver(b"x");
        sim.settle();
        wire.end();
        sim.base.advance(Closing::default().linger).unwrap();
        assert!(sim.is_gone() && wire.is_closed());
        assert_eq!(seen.events(), [if abort { "Closed false 1" } else { "Closed true 0" }]);
        assert_eq!(wire.written(), if abort { &b""[..] } else { b"!" });
        drop(sim);
        assert_eq!(drops.load(Relaxed), 1);
    }
}

#[test]
fn one_that_writes_to_its_own_bufferevent_is_not_entered_again() {
    let _census = Census::begin();
    // F-05, TB-16
    let own: Arc<Mutex<Option<Handle>>> = Arc::default();
    let (mine, depth) = (Arc::clone(&own), Arc::new(AtomicUsize::new(0)));
    let writes = move |call: &mut FilterCall<'_>| -> Answer {
        assert_eq!(depth.fetch_add(1, Relaxed), 0);
        if let Some(handle) = mine.lock().take() {
            handle.write(b"-").unwrap();
        }
        let answer = call.pass();
        depth.fetch_sub(1, Relaxed);
        answer
    };
    let (mut sim, wire, _, _) = start(true, FilterFn::new().on_output(writes));
    let Who::Shared(handle) = &sim.who else { unreachable!() };
    *own.lock() = Some(handle.clone());
    sim.with(|top| top.write(b"first").map(drop)).unwrap().unwrap();
    sim.settle();
    assert_eq!(wire.written(), b"first-");
}

/// Panics when it is dropped.
struct Grenade(Arc<AtomicUsize>);

impl Filter for Grenade {}

impl Drop for Grenade {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
        panic!("dropped");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_filter_harms_nobody() {
    let _census = Census::begin();
    // F19
    each(|shared| {
        for frees in [true, false] {
            let (wire, seen, drops) = (Wire::new(), Seen::default(), Arc::new(AtomicUsize::new(0)));
            let builder =
                Bufferevent::scripted(&wire).filter(Grenade(Arc::clone(&drops))).close_on_free(frees);
            let mut sim = Sim::start(shared, builder.report_close(), &seen);
            sim.with(|top| top.close()).unwrap();
            wire.end();
            sim.settle();
            assert!(sim.is_gone());
            assert_eq!(seen.events(), ["Closed true 0"]);
            assert_eq!((drops.load(Relaxed), sim.base.counters().panics.get()), (1, 1));
        }
    });
}
