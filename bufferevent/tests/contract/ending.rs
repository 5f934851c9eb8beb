//! close, abort, and what is left afterwards.

use std::{io::Write as _, os::fd::AsRawFd as _, sync::Arc, time::Duration};

use bufferevent::{
    Bufferevent, DRAIN_IDLE, Error, Event, Interest, LINGER, LINGER_BYTES, Runtime, Trigger, testing::Census,
};
use bufferevent_sync::Mutex;

use crate::{
    harness::{
        Actor, Call, Config, Conn, Peer, SETS, Set, Shape, Who, World, each, each_by_hand, each_of,
        each_over_socket, each_socket, launch, pattern,
    },
    kinds::KINDS,
};

/// Makes `call` happen as the first callback there is.
fn provoke(world: &mut World, conn: &Conn, peer: &mut Peer, call: Call) {
    match call {
        Call::Read => world.send(peer, b"data"),
        Call::Write => world.with(conn, |b| b.enable(Interest::WRITE)).unwrap(),
        Call::Eof => peer.shutdown_write(),
        Call::User(bits) => world.with(conn, move |b| b.trigger_event(bits, Trigger::PLAIN)).unwrap(),
        other => panic!("cannot provoke {other:?}"),
    }
}

const EACH_CALL: [Call; 4] = [Call::Read, Call::Write, Call::Eof, Call::User(1)];

/// Starts one that ends itself in its first `call`, with everything else due as well.
fn ends_itself(
    config: Config,
    world: &mut World,
    call: Call,
    end: fn(&mut Bufferevent),
    report: bool,
) -> (Conn, Peer) {
    let (conn, mut peer) = config.start_with(
        world,
        |b| if report { b.report_close() } else { b },
        move |cx, now| {
            if *now == call {
                cx.write(b"goodbye").unwrap();
                cx.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                cx.trigger_event(7, Trigger::PLAIN);
                cx.trigger_event(8, Trigger::DEFER);
                end(cx);
                assert!(cx.is_closing() && matches!(cx.write(b"x"), Err(Error::Closed)));
                // All of this is of no effect any more.
                cx.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                cx.trigger_event(9, Trigger::PLAIN);
                cx.enable(Interest::BOTH);
                cx.disable(Interest::BOTH);
            }
        },
    );
    world.settle();
    provoke(world, &conn, &mut peer, call);
    (conn, peer)
}

#[test]
fn close_in_each_callback_writes_out_and_tells_nothing_more() {
    // C-33, D3, D15
    let _census = Census::begin();
    for call in EACH_CALL {
        each(|config| {
            let mut world = config.world();
            let (conn, mut peer) = ends_itself(config, &mut world, call, Bufferevent::close, false);
            assert_eq!(world.receive_all(&mut peer), b"goodbye");
            drop(peer);
            world.until_gone(&conn);
            world.until_empty();
            assert_eq!((conn.log.calls(), world.panics()), (vec![call], 0));
        });
    }
}

#[test]
fn abort_in_each_callback_tells_nothing_more() {
    // C-33, D3
    let _census = Census::begin();
    for call in EACH_CALL {
        each(|config| {
            let mut world = config.world();
            let (conn, peer) = ends_itself(config, &mut world, call, Bufferevent::abort, false);
            world.until_gone(&conn);
            world.until_empty();
            assert_eq!((conn.log.calls(), world.panics()), (vec![call], 0));
            // Half of a pair that has ended its side can write no more, by which it would notice.
            if call != Call::Eof || config.kind.is_over_socket() {
                world.until("the peer to see it", || peer.is_ended());
            }
        });
    }
}

#[test]
fn an_end_that_was_to_be_reported_is_the_last_callback_and_comes_once() {
    // D3, D4, D15: Closed, with the outcome
    let _census = Census::begin();
    for call in EACH_CALL {
        each(|config| {
            let mut world = config.world();
            let (conn, mut peer) = ends_itself(config, &mut world, call, Bufferevent::close, true);
            assert_eq!(world.receive_all(&mut peer), b"goodbye");
            drop(peer);
            world.until_called(&conn, Call::Closed, 1);
            world.until_gone(&conn);
            let closed = conn.log.closed().unwrap();
            let unread = if call == Call::Read { 4 } else { 0 };
            assert_eq!((closed.unsent, closed.unread.len(), closed.fd.is_none()), (0, unread, true));

            let (conn, _peer) = ends_itself(config, &mut world, call, Bufferevent::abort, true);
            world.until_called(&conn, Call::Closed, 1);
            world.until_gone(&conn);
            assert_eq!(conn.log.calls(), [call, Call::Closed]);
            assert_eq!(conn.log.closed().unwrap().unsent, 7);
            world.until_empty();
            assert_eq!(world.panics(), 0);
        });
    }
}

#[test]
fn close_from_outside_drops_what_is_due() {
    // D3, C-10
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world
            .with(&conn, |b| {
                b.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                b.trigger_event(1, Trigger::PLAIN);
                b.trigger_event(2, Trigger::DEFER);
                b.close();
                b.close();
            })
            .unwrap();
        assert_eq!(world.receive_all(&mut peer), b"");
        drop(peer);
        world.until_gone(&conn);
        assert_eq!(conn.log.calls(), []);
        assert!(matches!(world.with(&conn, |_| ()), Err(Error::Closed)), "D16");
    });
}

#[test]
fn close_writes_everything_to_a_slow_reader() {
    // X-72, D15, K-18: libevent drops what is not sent
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        let len = 3_000_000;
        world
            .with(&conn, move |b| {
                b.write(&pattern(len)).unwrap();
                b.disable(Interest::WRITE);
            })
            .unwrap();
        world.settle();
        world.close(&conn);
        world.settle();
        assert!(!conn.log.has(Call::Closed), "it waits for the reader");
        assert!(world.receive_all(&mut peer) == pattern(len));
        drop(peer);
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!(conn.log.calls(), [Call::Closed]);
        assert_eq!(conn.log.closed().unwrap().unsent, 0);
    });
}

#[test]
fn close_with_unread_input_does_not_destroy_what_was_sent() {
    // F7, D15: a descriptor closed over unread data resets the connection
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.enable(Interest::WRITE), |_, _| {});
        world.send(&mut peer, &[9; 50_000]);
        world.with(&conn, |b| b.write(&pattern(100_000)).unwrap()).unwrap();
        world.close(&conn);
        world.settle();
        assert!(world.receive_all(&mut peer) == pattern(100_000));
        drop(peer);
        world.until_gone(&conn);
    });
}

#[test]
fn a_close_lingers_no_longer_than_its_bound() {
    // D15
    each_by_hand(|config| {
        if !config.kind.is_over_socket() {
            return;
        }
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.settle();
        world.with(&conn, |b| b.write(b"bye").unwrap()).unwrap();
        world.close(&conn);
        assert_eq!(world.receive_all(&mut peer), b"bye", "our side is ended");
        world.settle();
        hand.advance(LINGER - Duration::from_millis(1));
        world.settle();
        assert_eq!(conn.log.calls(), [], "the peer's end is awaited");
        hand.advance(Duration::from_millis(2));
        world.until_called(&conn, Call::Closed, 1);
        world.until_empty();
    });
}

#[test]
fn a_close_lingers_for_no_more_bytes_than_its_bound() {
    // D15
    each_over_socket(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.settle();
        world.close(&conn);
        assert_eq!(world.receive_all(&mut peer), b"");
        let (block, mut sent) = ([0; 10_000], 0);
        world.until("the close to lose patience", || {
            while sent <= 4 * LINGER_BYTES {
                match peer.write(&block) {
                    Ok(n) => sent += n,
                    Err(_) => break,
                }
            }
            conn.log.has(Call::Closed)
        });
    });
}

#[test]
fn a_close_waits_for_a_reader_that_makes_progress_and_for_no_other() {
    // D15
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        world.settle();
        world.close(&conn);
        world.settle();
        for _ in 0..3 {
            hand.advance(DRAIN_IDLE - Duration::from_millis(1));
            world.settle();
            world.receive(&mut peer, 400_000);
            world.settle();
        }
        assert_eq!(conn.log.calls(), [], "three times nearly the bound, and progress each time");
        hand.advance(DRAIN_IDLE + Duration::from_millis(1));
        world.settle();
        hand.advance(DRAIN_IDLE + Duration::from_millis(1));
        world.until_called(&conn, Call::Closed, 1);
        let unsent = conn.log.closed().unwrap().unsent;
        assert!(unsent > 0 && unsent < 1_800_000, "{unsent}");
    });
}

#[test]
fn without_close_on_free_the_descriptor_comes_back_whole() {
    // C-03, D19: open, not shut down, with the input that nobody has read
    each_socket(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.close_on_free(false).report_close(), |_, _| {});
        world.send(&mut peer, b"unread");
        world.until_called(&conn, Call::Read, 1);
        world.with(&conn, |b| b.write(b"last").unwrap()).unwrap();
        world.close(&conn);
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert_eq!((closed.unsent, closed.unread.to_vec()), (0, b"unread".to_vec()));
        let mut stream = std::fs::File::from(closed.fd.unwrap());
        stream.write_all(b" and more").unwrap();
        assert_eq!(world.receive(&mut peer, 13), b"last and more");
        world.until_empty();
        drop(stream);
        assert_eq!(world.receive_all(&mut peer), b"");
    });
}

#[test]
fn close_and_wait_answers_what_is_left_to_the_first_who_asks() {
    // D3, D15, D19
    each_of(Set::is_shared, |config| {
        if !matches!(config.shape, Shape::Threads { .. }) {
            return;
        }
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.close_on_free(false), |_, _| {});
        world.send(&mut peer, b"unread");
        world.until_called(&conn, Call::Read, 1);
        let closed = conn.handle().close_and_wait().unwrap();
        assert_eq!((closed.unsent, closed.unread.to_vec()), (0, b"unread".to_vec()));
        assert_eq!(closed.fd.is_some(), config.kind.is_socket());
        assert!(matches!(conn.handle().close_and_wait(), Err(Error::Closed)));
        assert!(conn.handle().is_closing());
        assert_eq!(conn.log.calls(), [Call::Read]);
    });
}

#[test]
fn close_and_wait_waits_for_the_callback_that_runs() {
    // F22, D3
    each_of(Set::is_shared, |config| {
        if config.shape != (Shape::Threads { workers: 2, bases: 2 }) {
            return;
        }
        let mut world = config.world();
        let gate = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&gate);
        let (conn, _peer) = config.start_with(&mut world, |b| b, move |_, _| drop(theirs.lock()));
        let shut = gate.lock();
        world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        let log = conn.log.clone();
        world.until("the callback to begin", || log.has(Call::User(1)));
        let handle = conn.handle().clone();
        handle.abort();
        let waiting = std::thread::spawn(move || {
            let ended = handle.close_and_wait();
            (ended.is_ok(), log.is_inside())
        });
        world.settle();
        assert!(!waiting.is_finished(), "the callback is still running");
        drop(shut);
        assert_eq!(waiting.join().unwrap(), (true, false));
    });
}

#[test]
fn who_waits_on_a_runtime_that_nobody_runs_is_let_go_by_whatever_comes_of_it() {
    // D3, D16: it may be run late, be stopped, or be dropped; nobody waits for ever on one that has ended
    let _census = Census::begin();
    for late in ["run", "stop", "drop"] {
        for set in SETS.into_iter().filter(|set| set.is_shared()) {
            let runtime = Runtime::builder().workers(1).build().unwrap();
            let (builder, peer) = (KINDS[0].open)();
            let actor = Actor::alone(|_, _| {});
            let conn = launch(set, builder, actor, &mut runtime.bases()[0].clone(), None).unwrap();
            drop(peer);
            let handle = conn.handle().clone();
            let waiting = std::thread::spawn(move || handle.close_and_wait());
            while !conn.handle().is_closing() {
                std::thread::yield_now();
            }
            assert!(!waiting.is_finished(), "nobody has ended it");
            match late {
                "run" => {
                    let mine = runtime.clone();
                    let running = std::thread::spawn(move || mine.run());
                    let closed = waiting.join().unwrap().unwrap();
                    assert!(closed.clean, "the peer is gone, and has ended its side before");
                    runtime.stop();
                    running.join().unwrap().unwrap();
                }
                "stop" => {
                    runtime.stop();
                    waiting.join().unwrap().unwrap();
                }
                _ => {
                    drop(runtime);
                    waiting.join().unwrap().unwrap();
                }
            }
            assert!(matches!(conn.handle().close_and_wait(), Err(Error::Closed)), "it is told once");
        }
    }
}

#[test]
fn one_that_is_never_started_closes_its_descriptor_or_not() {
    // D15, C-03
    let _census = Census::begin();
    for close_on_free in [true, false] {
        for kind in KINDS {
            let (builder, mut peer) = (kind.open)();
            drop(builder.close_on_free(close_on_free));
            // D19: of no effect on pairs, and a filter that is dropped drops what is below, which has its own
            let left_open = !close_on_free && kind.is_socket();
            if left_open {
                assert!(!peer.is_ended());
            } else {
                let is_cut = !close_on_free && kind.is_tls();
                assert_eq!(limbo().receive_last(&mut peer), (vec![], is_cut));
            }
            Census::leave_open(usize::from(left_open));
        }
    }
}

#[test]
fn a_base_that_is_dropped_ends_what_lives_on_it() {
    // X-13, F61, D15, C-33
    each_by_hand(|config| {
        let mut world = config.world();
        let (conn, peer) = config.start(&mut world);
        world.settle();
        let left = world.with(&conn, |b| b.raw_fd()).unwrap();
        let who = conn.clone();
        drop(world);
        assert!(peer.is_ended(), "descriptor {left:?} is closed");
        if config.set.is_shared() {
            assert!(matches!(who.handle().lock(), Err(Error::Closed)), "D16");
            assert!(matches!(who.handle().write(b"x"), Err(Error::Closed)));
            assert!(who.handle().close_and_wait().is_ok());
        }
        assert_eq!(conn.log.calls(), []);
        if !config.kind.is_socket() {
            return;
        }
        let mut world = config.world();
        let (conn, peer) = config.start_with(&mut world, |b| b.close_on_free(false), |_, _| {});
        world.settle();
        let left = world.with(&conn, |b| b.raw_fd().unwrap()).unwrap();
        drop(world);
        assert!(!peer.is_ended(), "D19: it stays open");
        match &conn.who {
            Who::Shared(handle) => {
                let closed = handle.close_and_wait().unwrap();
                assert_eq!(closed.fd.map(|fd| fd.as_raw_fd()), Some(left));
            }
            // It is the test's to leak.
            Who::Confined(_) => Census::leave_open(1),
        }
    });
}

/// A world to wait in when the one of the test is gone.
fn limbo() -> World {
    World::new(Shape::Pinned, Default::default(), Default::default())
}

#[test]
fn a_base_that_is_dropped_sends_what_goes_without_waiting() {
    // D15: whoever drives it, and with input that nobody has read, which would reset the connection under what was sent
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.enable(Interest::NONE), |_, _| {});
        world.send(&mut peer, &[9; 50_000]);
        world.with(&conn, |b| b.write(&pattern(100_000)).unwrap()).unwrap();
        drop(world);
        assert!(limbo().receive_all(&mut peer) == pattern(100_000));
        if config.set.is_shared() {
            assert_eq!(conn.handle().close_and_wait().unwrap().unsent, 0);
        }
        assert_eq!(conn.log.calls(), []);
    });
}

#[test]
fn a_base_that_is_dropped_waits_for_no_reader_and_tells_what_it_could_not_send() {
    // D15
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.enable(Interest::NONE), |_, _| {});
        world.with(&conn, |b| b.write(&pattern(4_000_000)).unwrap()).unwrap();
        drop(world);
        let (sent, is_cut) = limbo().receive_last(&mut peer);
        assert!(!sent.is_empty() && sent == pattern(sent.len()));
        let left = 4_000_000 - sent.len();
        assert!(!config.kind.is_over_socket() || left > 0, "a queue takes all");
        assert_eq!(is_cut, left > 0 && config.kind.tells_cuts());
        if config.set.is_shared() {
            let unsent = conn.handle().close_and_wait().unwrap().unsent;
            assert!(unsent == left || unsent > 0 && is_cut, "{unsent} {left}");
        }
    });
}

#[test]
fn one_that_is_never_started_sends_what_was_written_to_it() {
    // D15, D19
    let _census = Census::begin();
    for close_on_free in [true, false] {
        for kind in KINDS {
            let (builder, mut peer) = (kind.open)();
            drop(builder.close_on_free(close_on_free).configure(|b| {
                b.write(&pattern(4_000_000)).unwrap();
            }));
            if kind.is_filter() && !close_on_free {
                // What is below is closed by its own drop; what is above has not been given to it.
                assert_eq!(limbo().receive_last(&mut peer), (vec![], kind.is_tls()));
            } else if close_on_free || !kind.is_socket() {
                let (sent, is_cut) = limbo().receive_last(&mut peer);
                assert!(!sent.is_empty() && sent == pattern(sent.len()));
                assert!(kind.is_over_socket() || sent.len() == 4_000_000, "a queue takes all");
                assert_eq!(is_cut, sent.len() < 4_000_000 && kind.tells_cuts());
            } else {
                assert!(!peer.is_ended() && !peer.is_readable(), "it is the user's");
                Census::leave_open(1);
            }
        }
    }
}

#[test]
fn closing_a_base_closes_gracefully_what_lives_on_it() {
    // D15
    each_by_hand(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.with(&conn, |b| b.write(&pattern(1_500_000)).unwrap()).unwrap();
        world.drain();
        assert!(world.receive_all(&mut peer) == pattern(1_500_000));
        drop(peer);
        world.until_empty();
        assert_eq!(conn.log.calls(), [Call::Closed]);
        // What is started from now on is closed at once.
        let (late, mut peer) = config.start(&mut world);
        assert_eq!(world.receive_all(&mut peer), b"");
        drop(peer);
        world.until_gone(&late);
        assert_eq!(late.log.calls(), []);
    });
}

#[test]
fn closed_is_terminal_and_has_no_bits_of_libevents() {
    // D4
    let _census = Census::begin();
    let events = [
        (Event::Connected, 0x80, false),
        (Event::Eof, 0x11, true),
        (Event::Drained, 0, false),
        (Event::InputFull, 0, false),
        (Event::User(0x1234), 0x1234, false),
        (Event::Timeout(bufferevent::Direction::Write), 0x42, false),
        (Event::Timeout(bufferevent::Direction::Read), 0x41, false),
    ];
    for (event, bits, terminal) in events {
        assert_eq!((event.bits(), event.is_terminal()), (bits, terminal), "{event:?}");
    }
    let failed = |direction| Event::Error {
        direction,
        cause: bufferevent::Cause::Io(std::io::ErrorKind::BrokenPipe.into()),
    };
    assert_eq!(failed(None).bits(), 0x20);
    assert_eq!(failed(Some(bufferevent::Direction::Read)).bits(), 0x21);
    assert_eq!(failed(Some(bufferevent::Direction::Write)).bits(), 0x22);
    assert!(failed(None).is_terminal());
}
