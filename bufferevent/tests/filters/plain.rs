//! Plain runs of a filter: what they cost, and that a filter that is lent the buffers themselves cannot spoil them.

use std::{mem, sync::Arc};

use bufferevent::{
    Bufferevent, Builder, Context, Evbuffer, FilterCall, FilterFn, FilterStatus, Handler, HandlerAffinity,
    testing::{Census, ManualBase, Wire},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::seen::{Sim, Who};

/// Sends back what it reads.
struct Echo;

impl<A: HandlerAffinity> Handler<A> for Echo {
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        let (input, output) = cx.buffers();
        output.append(input).unwrap();
    }
}

fn echoing(shared: bool, builder: Builder) -> Sim {
    let mut base = ManualBase::new().unwrap();
    let builder = builder.handler(Echo);
    let who = match shared {
        true => Who::Shared(builder.threadsafe().start(&mut base).unwrap()),
        false => Who::Confined(builder.start(&mut base).unwrap()),
    };
    Sim { base, who }
}

/// Bytes of memory of all buffers, of a filter and of what is below.
fn allocated(sim: &mut Sim) -> usize {
    let of = |bufferevent: &mut Bufferevent| {
        let (input, output) = bufferevent.buffers();
        input.allocated() + output.allocated()
    };
    sim.with(|top| of(top) + of(top.underlying_mut().unwrap())).unwrap()
}

/// A filter that counts its calls, passes copies, and does `more` to the buffers.
fn copying(
    calls: &Arc<AtomicUsize>,
    more: impl Fn(&mut Evbuffer) + Send + Clone + 'static,
) -> impl bufferevent::Filter {
    let side = |calls: Arc<AtomicUsize>, more: Box<dyn Fn(&mut Evbuffer) + Send>| {
        move |call: &mut FilterCall<'_>| {
            calls.fetch_add(1, Relaxed);
            let bytes = call.source.take_bytes(call.room().min(call.source.len()))?;
            more(call.source);
            more(call.destination);
            call.destination.add(&bytes)?;
            Ok(FilterStatus::Ok)
        }
    };
    FilterFn::new()
        .on_input(side(Arc::clone(calls), Box::new(more.clone())))
        .on_output(side(Arc::clone(calls), Box::new(more)))
}

#[test]
fn an_echo_is_a_read_a_call_each_way_and_a_write_and_leaves_no_memory() {
    let _census = Census::begin();
    // F-01, X-79
    for shared in [false, true] {
        let (wire, calls) = (Wire::new(), Arc::default());
        let mut sim = echoing(shared, Bufferevent::scripted(&wire).filter(copying(&calls, |_| ())));
        for echo in 0..10 {
            wire.deliver(b"there and back");
            let before = (wire.reads(), wire.writes(), calls.load(Relaxed));
            sim.settle();
            assert_eq!(wire.take_written(), b"there and back");
            let cost = (wire.reads() - before.0, wire.writes() - before.1, calls.load(Relaxed) - before.2);
            assert!(echo == 0 || cost == (1, 1, 2), "{cost:?}");
        }
        assert_eq!(allocated(&mut sim), 0);
    }
}

#[test]
fn a_part_that_the_socket_does_not_take_goes_when_it_does() {
    let _census = Census::begin();
    // F-04, X-73
    for shared in [false, true] {
        let (wire, calls) = (Wire::new(), Arc::default());
        let mut sim = echoing(shared, Bufferevent::scripted(&wire).filter(copying(&calls, |_| ())));
        for _ in 0..3 {
            wire.deliver(b"whole");
            sim.settle();
            assert_eq!(wire.take_written(), b"whole");
            wire.set_room(2);
            wire.deliver(b"in pieces");
            sim.settle();
            assert_eq!(wire.take_written(), b"in");
            wire.set_room(usize::MAX);
            sim.settle();
            assert_eq!(wire.take_written(), b" pieces");
        }
        assert_eq!(allocated(&mut sim), 0);
    }
}

#[test]
fn an_observer_that_a_filter_adds_to_what_it_is_lent_is_gone_after_the_call() {
    let _census = Census::begin();
    // F-02
    for shared in [false, true] {
        let (wire, calls, told) = (Wire::new(), Arc::default(), Arc::new(AtomicUsize::new(0)));
        let observer = Arc::clone(&told);
        let observes = move |buffer: &mut Evbuffer| {
            let told = Arc::clone(&observer);
            buffer.observe_deferred(move |_, _| {
                told.fetch_add(1, Relaxed);
            });
        };
        let mut sim = echoing(shared, Bufferevent::scripted(&wire).filter(copying(&calls, observes)));
        for _ in 0..3 {
            wire.deliver(b"unobserved");
            sim.settle();
            assert_eq!(wire.take_written(), b"unobserved");
        }
        assert_eq!(told.load(Relaxed), 0);
        assert_eq!(Arc::strong_count(&told), 3, "the filter's two sides keep what makes them");
    }
}

#[test]
fn a_buffer_that_a_filter_puts_in_the_place_of_the_one_it_is_lent_is_frozen_and_capped_as_that() {
    let _census = Census::begin();
    // F-02, D8
    for shared in [false, true] {
        let (wire, calls) = (Wire::new(), Arc::default());
        let replaces = |buffer: &mut Evbuffer| drop(mem::take(buffer));
        let mut sim = echoing(shared, Bufferevent::scripted(&wire).filter(copying(&calls, replaces)));
        for _ in 0..3 {
            wire.deliver(b"replaced");
            sim.settle();
            assert_eq!(wire.take_written(), b"replaced");
        }
        sim.with(|top| {
            let (cap, lower) = (top.output().limit(), top.underlying_mut().unwrap());
            assert_eq!(lower.output().limit(), cap);
            check(lower);
            check(top);
        })
        .unwrap();
    }
}

fn check(bufferevent: &mut Bufferevent) {
    let (input, output) = bufferevent.buffers();
    assert!(input.add(b"x").is_err(), "the back of an input is frozen");
    assert!(output.prepend(b"x").is_err(), "so is the front of an output");
    assert_eq!(input.limit(), None);
}

#[test]
fn room_that_a_callback_makes_behind_the_last_pass_is_used() {
    let _census = Census::begin();
    /// Leaves what it is told of to the write callback.
    #[derive(Clone, Default)]
    struct Late(Arc<Mutex<Vec<u8>>>);
    impl<A: HandlerAffinity> Handler<A> for Late {
        fn on_read(&mut self, cx: &mut Context<'_, A>) {
            cx.write(b"taken").unwrap();
        }

        fn on_write(&mut self, cx: &mut Context<'_, A>) {
            let len = cx.input().len();
            self.0.lock().extend(cx.input().take_bytes(len).unwrap());
        }
    }
    // F-04: whole frames in, and what goes out is kept.
    let framed = || {
        FilterFn::new()
            .on_input(|call: &mut FilterCall<'_>| {
                let fits = call.source.len().min(call.limit()) / FRAME * FRAME;
                call.source.move_to(call.destination, fits)?;
                Ok(FilterStatus::Ok)
            })
            .on_output(|call: &mut FilterCall<'_>| {
                call.source.drain(call.source.len())?;
                Ok(FilterStatus::Ok)
            })
    };
    const FRAME: usize = 20;
    for shared in [false, true] {
        let (wire, late) = (Wire::new(), Late::default());
        let builder = Bufferevent::scripted(&wire).filter(framed());
        let builder = builder.configure(|top| top.set_read_watermark(0, Some(FRAME * 3 / 2)).unwrap());
        let mut base = ManualBase::new().unwrap();
        let builder = builder.handler(late.clone());
        let who = match shared {
            true => Who::Shared(builder.threadsafe().start(&mut base).unwrap()),
            false => Who::Confined(builder.start(&mut base).unwrap()),
        };
        let mut sim = Sim { base, who };
        for frames in 1..=6 {
            wire.deliver(&[frames; 2 * FRAME]);
            sim.settle();
            assert_eq!(late.0.lock().len(), 2 * FRAME * usize::from(frames));
        }
    }
}
