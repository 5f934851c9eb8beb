//! What passes through filters, up and down.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use bufferevent::{
    Base, BaseExt, Bufferevent, Direction, Error, FilterCall, FilterError, FilterFn, FilterStatus, FlushMode,
    Flushed, Interest, Options, Pinned, Rate, Suspend, TokenBucketConfig,
    evbuffer::FileSegment,
    testing::{Census, ManualBase, Wire},
};
use bufferevent_sync::Mutex;

use crate::seen::{Seen, Sim};

/// Adds `by` to each byte.
fn shift(call: &mut FilterCall<'_>, by: u8) -> Result<FilterStatus, FilterError> {
    let n = call.source.len().min(call.room());
    let bytes: Vec<u8> = call.source.take_bytes(n)?.iter().map(|byte| byte.wrapping_add(by)).collect();
    call.destination.add(&bytes)?;
    Ok(FilterStatus::Ok)
}

fn shifting(by: u8) -> impl bufferevent::Filter {
    FilterFn::new()
        .on_input(move |call| shift(call, 0u8.wrapping_sub(by)))
        .on_output(move |call| shift(call, by))
}

#[test]
fn what_is_written_passes_down_and_what_arrives_passes_up() {
    // F-01, F-02, F-03, F-05
    let _census = Census::begin();
    let (mut base, wire, seen) = (ManualBase::new().unwrap(), Wire::new(), Seen::default());
    let builder = Bufferevent::scripted(&wire).filter(shifting(1)).filter(shifting(2)).handler(seen.clone());
    let id = builder.configure(|top| drop(top.write(b"abc"))).start(&mut base).unwrap();
    wire.deliver(b"DEF");
    base.settle().unwrap();
    assert_eq!(wire.written(), b"def");
    assert_eq!(seen.data(), b"ABC");
    wire.end();
    base.settle().unwrap();
    assert_eq!(seen.events(), ["Eof"]);
    base.bufferevent(id).unwrap().write(b"xyz").unwrap();
    base.settle().unwrap();
    assert_eq!(wire.written(), b"def\x7b\x7c\x7d");
    base.bufferevent(id).unwrap().close();
    base.settle().unwrap();
    assert!(wire.is_closed());
}

#[test]
fn a_filter_names_what_is_below_and_has_its_descriptor() {
    let _census = Census::begin();
    // C-39, F-15, F-16, TB-14
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let seen = Seen::default();
    let mut sim = Sim::start(true, Bufferevent::socket(ours).filter(shifting(1)).filter(shifting(2)), &seen);
    sim.with(|top| {
        assert_eq!(top.raw_fd(), Some(fd));
        let middle = top.underlying().unwrap();
        let bottom = middle.underlying().unwrap();
        assert_eq!((middle.raw_fd(), bottom.raw_fd()), (Some(fd), Some(fd)));
        assert!(bottom.underlying().is_none());
        assert!(top.explain().underlying.unwrap().underlying.unwrap().underlying.is_none());
    })
    .unwrap();
}

#[test]
fn a_side_that_is_not_given_passes_everything_and_moves_segments() {
    let _census = Census::begin();
    // F-01
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = Sim::start(false, Bufferevent::scripted(&wire).filter(FilterFn::new()), &seen);
    let all: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
    sim.with(|top| top.write(&all)).unwrap().unwrap();
    wire.deliver(&all);
    sim.settle();
    assert!(wire.written() == all && seen.data() == all);
}

#[test]
fn reading_below_is_withheld_while_the_filter_wants_nothing() {
    let _census = Census::begin();
    // F-01, F-10, X-73
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).filter(FilterFn::new()).enable(Interest::WRITE);
        let mut sim = Sim::start(shared, builder, &seen);
        wire.deliver(b"waits");
        sim.settle();
        let below = |top: &mut Bufferevent| {
            let below = top.underlying().unwrap();
            (below.enabled(), below.suspended(Direction::Read), top.underlying_mut().unwrap().input().len())
        };
        assert_eq!(sim.with(below).unwrap(), (Interest::BOTH, Suspend::FILTER, 0));
        assert_eq!(wire.reads(), 0);
        sim.with(|top| top.enable(Interest::READ)).unwrap();
        sim.settle();
        assert_eq!(seen.data(), b"waits");
        assert_eq!(sim.with(below).unwrap().1, Suspend::NONE);
    }
}

#[test]
fn data_left_below_at_the_high_mark_goes_on_when_the_input_is_drained() {
    let _census = Census::begin();
    // F-03, F-04, X-73, D7
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).filter(FilterFn::new()).read_watermark(0, Some(100));
        let mut sim = Sim::start(shared, builder, &seen);
        seen.leave(100);
        wire.deliver(&[5; 1_000]);
        sim.settle();
        assert_eq!(sim.with(|top| top.input().len()).unwrap(), 100);
        sim.settle();
        let runs = sim.base.counters().runs.get();
        sim.settle();
        assert_eq!(sim.base.counters().runs.get(), runs, "nothing spins meanwhile");
        seen.leave(0);
        for _ in 0..20 {
            sim.with(|top| seen.take(top)).unwrap();
            sim.settle();
        }
        assert_eq!(seen.data().len(), 1_000);
    }
}

#[test]
fn the_limit_follows_the_marks() {
    let _census = Census::begin();
    // F-03, F-05
    let (limits, wire, seen) = (Arc::new(Mutex::new(Vec::new())), Wire::new(), Seen::default());
    let (up, down) = (Arc::clone(&limits), Arc::clone(&limits));
    let filter = FilterFn::new()
        .on_input(move |call| {
            up.lock().push(("up", call.limit()));
            call.pass()
        })
        .on_output(move |call| {
            down.lock().push(("down", call.limit()));
            call.pass()
        });
    wire.set_room(0);
    let builder =
        Bufferevent::scripted(&wire).write_watermark(0, Some(70)).filter(filter).read_watermark(0, Some(30));
    let mut sim = Sim::start(false, builder, &seen);
    seen.leave(20);
    wire.deliver(b"twenty bytes it seems");
    sim.with(|top| top.write(&[1; 100]).map(drop)).unwrap().unwrap();
    sim.settle();
    wire.deliver(b"more");
    sim.settle();
    assert_eq!(*limits.lock(), [("down", 70), ("up", 30), ("up", 10)]);
    assert_eq!(
        sim.with(|top| (top.output().len(), top.underlying_mut().unwrap().output().len())).unwrap(),
        (30, 70)
    );
}

#[test]
fn writing_that_is_enabled_again_pushes_what_is_queued() {
    let _census = Census::begin();
    // F-10, X-73
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim =
        Sim::start(true, Bufferevent::scripted(&wire).filter(FilterFn::new()).enable(Interest::READ), &seen);
    sim.with(|top| top.write(b"queued").map(drop)).unwrap().unwrap();
    sim.settle();
    assert!(wire.written().is_empty());
    sim.with(|top| top.enable(Interest::WRITE)).unwrap();
    sim.settle();
    assert_eq!(wire.written(), b"queued");
}

#[test]
fn data_put_straight_into_the_output_starts_the_filter() {
    let _census = Census::begin();
    // F-05
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = Sim::start(false, Bufferevent::scripted(&wire).filter(shifting(1)), &seen);
    sim.with(|top| top.output().add(b"abc")).unwrap().unwrap();
    sim.settle();
    assert_eq!(wire.written(), b"bcd");
}

#[test]
fn directions_below_may_be_switched_apart_from_what_the_filter_wants() {
    let _census = Census::begin();
    // F-11
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = Sim::start(true, Bufferevent::scripted(&wire).filter(FilterFn::new()), &seen);
    sim.with(|top| top.underlying_mut().unwrap().disable(Interest::BOTH)).unwrap();
    wire.deliver(b"waits");
    sim.with(|top| top.write(b"too").map(drop)).unwrap().unwrap();
    sim.settle();
    sim.with(|top| {
        top.disable(Interest::READ);
        top.enable(Interest::BOTH);
    })
    .unwrap();
    sim.settle();
    assert!(seen.data().is_empty() && wire.written().is_empty());
    sim.with(|top| top.underlying_mut().unwrap().enable(Interest::BOTH)).unwrap();
    sim.settle();
    assert_eq!((seen.data(), wire.written()), (b"waits".to_vec(), b"too".to_vec()));
}

#[test]
fn what_happens_below_is_told_above_and_stops_the_same_direction() {
    let _census = Census::begin();
    // F-08, F-17, D4, D6
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire)
            .timeouts(Some(Duration::from_secs(5)), None)
            .filter(FilterFn::new())
            .filter(FilterFn::new());
        let mut sim = Sim::start(shared, builder, &seen);
        sim.base.advance(Duration::from_secs(6)).unwrap();
        assert_eq!(seen.events(), ["Timeout(Read)"]);
        assert_eq!(sim.with(|top| top.enabled()).unwrap(), Interest::WRITE);
        // Switched on above, it goes on below too.
        sim.with(|top| top.enable(Interest::READ)).unwrap();
        wire.deliver(b"again");
        sim.settle();
        assert_eq!(seen.data(), b"again");
        wire.reset();
        sim.settle();
        assert_eq!(seen.events().len(), 2);
        assert!(seen.events()[1].contains("ConnectionReset"), "{:?}", seen.events());
    }
}

#[test]
fn a_timeout_above_counts_what_the_filter_gives() {
    let _census = Census::begin();
    // F-17, C-31, D6: bytes below do not put it off
    let (wire, seen) = (Wire::new(), Seen::default());
    let hoards = FilterFn::new().on_input(|call: &mut FilterCall<'_>| {
        let _ = call.source.drain(usize::MAX)?;
        Ok(FilterStatus::NeedMore)
    });
    let builder = Bufferevent::scripted(&wire)
        .filter(hoards)
        .timeouts(Some(Duration::from_secs(5)), Some(Duration::from_secs(1)));
    let mut sim = Sim::start(true, builder, &seen);
    for _ in 0..4 {
        wire.deliver(b"x");
        sim.base.advance(Duration::from_secs(1)).unwrap();
    }
    assert!(seen.events().is_empty(), "nor does an idle write timeout run: {:?}", seen.events());
    sim.base.advance(Duration::from_millis(1_100)).unwrap();
    assert_eq!(seen.events(), ["Timeout(Read)"]);
}

#[test]
fn a_rate_limit_holds_on_each_layer() {
    let _census = Census::begin();
    // F-12, D11
    for above in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let rate = Rate::new(10_000).ok();
        let limit = TokenBucketConfig::per_second(rate, rate, Some(Duration::from_millis(10))).unwrap();
        let builder = Bufferevent::scripted(&wire).filter(FilterFn::new());
        let mut sim = Sim::start(true, builder, &seen);
        sim.with(|top| {
            let layer = if above { top } else { top.underlying_mut().unwrap() };
            layer.set_rate_limit(Some(&limit));
        })
        .unwrap();
        sim.with(|top| top.write(&[1; 5_000]).map(drop)).unwrap().unwrap();
        wire.deliver(&[2; 5_000]);
        sim.base.advance(Duration::from_millis(100)).unwrap();
        let (sent, got) = (wire.written().len(), seen.data().len());
        assert!((900..=1_200).contains(&sent) && (900..=1_200).contains(&got), "{sent} {got}");
        sim.base.advance(Duration::from_millis(500)).unwrap();
        assert_eq!((wire.written().len(), seen.data().len()), (5_000, 5_000));
    }
}

#[test]
fn a_connect_below_is_told_above_and_what_was_written_before_is_sent() {
    let _census = Census::begin();
    // F-08, K-11, D5
    for shared in [false, true] {
        let (wire, seen) = (Wire::connecting(), Seen::default());
        let mut sim = Sim::start(shared, Bufferevent::scripted(&wire).filter(shifting(1)), &seen);
        sim.with(|top| top.write(b"abc").map(drop)).unwrap().unwrap();
        sim.settle();
        assert!(!sim.with(|top| top.is_connected()).unwrap() && wire.written().is_empty());
        wire.connect();
        sim.settle();
        assert_eq!((seen.events(), wire.written()), (vec!["Connected".to_owned()], b"bcd".to_vec()));

        let (wire, seen) = (Wire::connecting(), Seen::default());
        let mut sim = Sim::start(shared, Bufferevent::scripted(&wire).filter(shifting(1)), &seen);
        sim.base.advance(bufferevent::CONNECT_TIMEOUT).unwrap();
        sim.base.advance(Duration::from_secs(1)).unwrap();
        assert_eq!(seen.events().len(), 1, "exactly one: {:?}", seen.events());
        assert!(seen.events()[0].contains("TimeLimit(Connect)"));
    }
}

#[test]
fn a_stack_takes_another_connection_and_its_filters_see_a_new_end() {
    let _census = Census::begin();
    // F-15, X-74
    let ((ours, mut theirs), seen) = (UnixStream::pair().unwrap(), Seen::default());
    let mut sim = Sim::start(true, Bufferevent::detached().filter(shifting(1)).filter(shifting(1)), &seen);
    assert!(!sim.with(|top| top.is_connected()).unwrap());
    for _ in 0..2 {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        sim.with(|top| top.set_fd(ours).unwrap()).unwrap();
        assert!(sim.with(|top| top.is_connected()).unwrap());
        sim.with(|top| {
            top.enable(Interest::BOTH);
            top.write(b"abc").map(drop)
        })
        .unwrap()
        .unwrap();
        theirs.write_all(b"cde").unwrap();
        sim.settle();
        let mut got = [0; 3];
        theirs.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"cde");
        drop(theirs);
        sim.settle();
    }
    assert_eq!((seen.data(), seen.events()), (b"abcabc".to_vec(), vec!["Eof".to_owned(), "Eof".to_owned()]));
    assert!(sim.with(|top| top.take_fd()).unwrap().is_some());
    assert!(!sim.with(|top| top.is_connected()).unwrap());
    sim.with(|top| {
        top.enable(Interest::BOTH);
        top.connect_pending_on(ours)
    })
    .unwrap()
    .unwrap();
    theirs.write_all(b"c").unwrap();
    sim.settle();
    assert_eq!(seen.data(), b"abcabca");
}

#[test]
fn observers_below_are_told_what_arrives_and_what_the_filter_takes() {
    let _census = Census::begin();
    for shared in [false, true] {
        let (wire, seen, sums) = (Wire::new(), Seen::default(), Arc::new(Mutex::new((0, 0))));
        let keeps_one = FilterFn::new().on_input(|call: &mut FilterCall<'_>| {
            let n = call.source.len().saturating_sub(1);
            call.source.move_to(call.destination, n)?;
            Ok(FilterStatus::NeedMore)
        });
        let mut sim = Sim::start(shared, Bufferevent::scripted(&wire).filter(keeps_one), &seen);
        let told = Arc::clone(&sums);
        sim.with(|top| {
            top.underlying_mut().unwrap().input().observe(move |_, change| {
                let mut sums = told.lock();
                *sums = (sums.0 + change.added, sums.1 + change.removed);
            })
        })
        .unwrap();
        wire.deliver_in(b"abcdef", 2);
        sim.settle();
        assert_eq!((seen.data(), *sums.lock()), (b"abcde".to_vec(), (6, 5)));
    }
}

/// A file without a name whose bytes count up.
fn file_of(len: usize) -> File {
    let path = std::env::temp_dir().join(format!("bufferevent-filters-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(&Vec::from_iter((0..len).map(|at| at as u8))).unwrap();
    file
}

#[test]
fn a_range_of_a_file_is_loaded_before_the_filter_sees_it() {
    let _census = Census::begin();
    let (wire, seen) = (Wire::new(), Seen::default());
    let file = FileSegment::new(file_of(200_000), ..).unwrap();
    let mut sim = Sim::start(false, Bufferevent::scripted(&wire).filter(shifting(1)), &seen);
    sim.with(|top| {
        top.write(b"head").unwrap();
        top.output().add_file_segment(file).unwrap();
        top.write(b"tail").unwrap();
    })
    .unwrap();
    sim.settle();
    let written = wire.written();
    assert_eq!((written.len(), &written[..4], &written[200_004..]), (200_008, &b"ifbe"[..], &b"ubjm"[..]));
    assert!(written[4..200_004].iter().enumerate().all(|(at, byte)| *byte == (at as u8).wrapping_add(1)));
}

#[test]
fn a_stack_moves_to_another_base_as_a_whole() {
    let _census = Census::begin();
    let ((ours, mut theirs), seen) = (UnixStream::pair().unwrap(), Seen::default());
    let (mut one, mut two) = (Base::<Pinned>::new().unwrap(), Base::<Pinned>::new().unwrap());
    let builder = Bufferevent::socket(ours).filter(shifting(1)).filter(shifting(1)).handler(seen.clone());
    let handle = builder.threadsafe().start(&mut one).unwrap();
    theirs.write_all(b"cd").unwrap();
    one.turn(Some(Duration::ZERO)).unwrap();
    handle.lock().unwrap().set_base(&two.handle().as_movable()).unwrap();
    theirs.write_all(b"ef").unwrap();
    while seen.data().len() < 4 {
        two.turn(Some(Duration::from_millis(10))).unwrap();
    }
    assert_eq!(seen.data(), b"abcd");
    handle.write(b"abc").unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut got = [0; 3];
    while theirs.read(&mut got).is_err() {
        two.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(&got, b"cde");
    handle.abort();
    two.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_stack_has_one_locking_and_so_many_layers() {
    let _census = Census::begin();
    // C-04
    let mut base = ManualBase::new().unwrap();
    let start = |base: &mut ManualBase, below: Options, above: Options| {
        let builder =
            Bufferevent::scripted(&Wire::new()).options(below).filter(FilterFn::new()).options(above);
        builder.start(base).map(drop)
    };
    start(&mut base, Options::THREADSAFE, Options::THREADSAFE | Options::CLOSE_ON_FREE).unwrap();
    assert!(matches!(start(&mut base, Options::NONE, Options::THREADSAFE), Err(Error::MixedLocking)));
    assert!(matches!(start(&mut base, Options::THREADSAFE, Options::NONE), Err(Error::MixedLocking)));
    let mut builder = Bufferevent::scripted(&Wire::new());
    for _ in 0..bufferevent::MAX_LAYERS {
        builder = builder.filter(FilterFn::new());
    }
    let error = builder.filter(FilterFn::new()).start(&mut base);
    assert!(matches!(error, Err(Error::TooDeep { limit: bufferevent::MAX_LAYERS })));
}

#[test]
fn the_deepest_stack_passes_everything() {
    let _census = Census::begin();
    // F-16: iteration, not recursion, as far as bytes go
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut builder = Bufferevent::scripted(&wire);
    for _ in 0..bufferevent::MAX_LAYERS {
        builder = builder.filter(shifting(4));
    }
    let mut sim = Sim::start(true, builder.report_close(), &seen);
    sim.with(|top| top.write(b"deep").map(drop)).unwrap().unwrap();
    wire.deliver(b"down");
    wire.end();
    sim.settle();
    assert_eq!((seen.data(), wire.written()), (b"down".to_vec(), b"deep".to_vec()));
    sim.with(|top| top.close()).unwrap();
    sim.settle();
    assert_eq!(seen.events(), ["Eof", "Closed true 0"]);
}

#[test]
fn a_flush_goes_through_all_layers_past_marks_and_limits_but_no_cap() {
    let _census = Census::begin();
    // C-32, F-14, X-77, D8, D11
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let frames = || {
            FilterFn::new().on_output(|call: &mut FilterCall<'_>| match call.mode() {
                FlushMode::Normal => Ok(FilterStatus::NeedMore),
                _ => {
                    call.destination.append(call.source)?;
                    call.destination.add(b";")?;
                    Ok(FilterStatus::Ok)
                }
            })
        };
        let rate = Rate::new(1_000).ok();
        let limit = TokenBucketConfig::per_second(rate, rate, Some(Duration::from_millis(10))).unwrap();
        let builder =
            Bufferevent::scripted(&wire).write_watermark(0, Some(10)).filter(frames()).rate_limit(&limit);
        let mut sim = Sim::start(shared, builder.filter(frames()), &seen);
        sim.settle();
        assert_eq!(
            sim.with(|top| top.flush(Interest::BOTH, FlushMode::Normal)).unwrap().unwrap(),
            Flushed::Nothing
        );
        sim.with(|top| {
            top.write(&[9; 1_000]).unwrap();
            assert_eq!(top.flush(Interest::WRITE, FlushMode::Flush).unwrap(), Flushed::Produced);
            let middle = top.underlying().unwrap();
            assert!(middle.rate_limit_level(Direction::Write).unwrap() < -900, "a debt");
        })
        .unwrap();
        assert_eq!(wire.written().len(), 1_002, "sent inside the call");
        assert!(seen.data().is_empty());
        wire.deliver(b"there");
        sim.with(|top| assert_eq!(top.flush(Interest::READ, FlushMode::Flush).unwrap(), Flushed::Produced))
            .unwrap();
        assert!(seen.data().is_empty(), "no callback inside");
        sim.settle();
        assert_eq!(seen.data(), b"there");
        sim.with(|top| {
            top.set_input_cap(Some(4));
            top.underlying_mut().unwrap().set_input_cap(Some(3));
        })
        .unwrap();
        seen.leave(usize::MAX);
        wire.deliver(b"no more than the caps take");
        sim.with(|top| top.flush(Interest::READ, FlushMode::Finished).map(drop)).unwrap().unwrap();
        assert_eq!(sim.with(|top| top.input().len()).unwrap(), 3);
        sim.with(|top| top.flush(Interest::READ, FlushMode::Finished).map(drop)).unwrap().unwrap();
        assert_eq!(sim.with(|top| top.input().len()).unwrap(), 4);
    }
}

#[test]
fn a_flush_of_what_has_no_connection_or_closes_is_refused() {
    let _census = Census::begin();
    // C-32, D16
    let seen = Seen::default();
    let mut sim = Sim::start(true, Bufferevent::detached().filter(FilterFn::new()), &seen);
    sim.with(|top| {
        assert!(matches!(top.flush(Interest::BOTH, FlushMode::Flush), Err(Error::NotConnected)));
        top.close();
        assert!(matches!(top.flush(Interest::BOTH, FlushMode::Flush), Err(Error::Closed)));
    })
    .unwrap();
}
