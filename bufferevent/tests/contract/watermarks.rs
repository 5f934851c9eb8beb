//! Low and high marks of both buffers.

use std::sync::Arc;

use bufferevent::{Direction, Error, Interest};
use bufferevent_sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Call, each, pattern};

#[test]
fn read_callback_waits_for_the_low_mark() {
    // C-13
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.read_watermark(10, None), |_, _| {});
        world.send(&mut peer, b"123456789");
        world.until_input(&conn, 9);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        world.send(&mut peer, b"0");
        world.until_called(&conn, Call::Read, 1);
        assert_eq!(conn.log.entries()[0].input, 10);
    });
}

#[test]
fn lowering_the_low_mark_takes_effect_at_once() {
    // C-13, D7: libevent looks only when more comes
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.read_watermark(10, None), |_, _| {});
        world.send(&mut peer, b"12345");
        world.until_input(&conn, 5);
        world.with(&conn, |b| b.set_read_watermark(6, None).unwrap()).unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        world.with(&conn, |b| b.set_read_watermark(5, None).unwrap()).unwrap();
        world.until_called(&conn, Call::Read, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read]);
    });
}

#[test]
fn lowering_the_low_mark_tells_nothing_while_reading_is_off() {
    // D3: no read callback starts after disable, but by a trigger
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.read_watermark(10, None), |_, _| {});
        world.send(&mut peer, b"12345");
        world.until_input(&conn, 5);
        world
            .with(&conn, |b| {
                b.disable(Interest::READ);
                b.set_read_watermark(1, None).unwrap();
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        world.with(&conn, |b| b.enable(Interest::READ)).unwrap();
        world.until_called(&conn, Call::Read, 1);
    });
}

#[test]
fn the_end_comes_at_once_though_the_input_is_below_the_low_mark() {
    // X-25, K-04, D4: the data stays, and is seen in the event
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |b| b.read_watermark(10, None),
            |cx, call| {
                if *call == Call::Eof {
                    cx.take();
                }
            },
        );
        world.send(&mut peer, b"short");
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Eof]);
        assert_eq!(conn.log.data(), b"short");
        assert_eq!(conn.log.entries()[0].enabled, Interest::WRITE, "K-04: READ is off, WRITE stays");
    });
}

#[test]
fn high_mark_suspends_reading_without_a_busy_loop_and_a_drain_resumes_it() {
    // X-21, C-14, C-15, C-11, D7
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.read_watermark(0, Some(100)), |_, _| {});
        let sent = pattern(350);
        world.send(&mut peer, &sent);
        let mut got = Vec::new();
        while got.len() < sent.len() {
            let want = 100.min(sent.len() - got.len());
            world.until_input(&conn, want);
            world.settle();
            let (input, enabled) = world
                .with(&conn, |b| {
                    let data = b.input().to_vec();
                    b.input().drain(data.len()).unwrap();
                    (data, b.enabled())
                })
                .unwrap();
            assert_eq!((input.len(), enabled), (want, Interest::BOTH), "suspended, not disabled");
            got.extend(input);
        }
        assert_eq!(got, sent);
        assert!(conn.log.entries().iter().all(|entry| entry.input <= 100));
        assert!(!conn.log.has(Call::InputFull), "a mark is not the cap");
    });
}

#[test]
fn raising_or_removing_the_high_mark_resumes_reading_at_once() {
    // C-14, D7
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.read_watermark(0, Some(100)), |_, _| {});
        world.send(&mut peer, &[1; 350]);
        world.until_input(&conn, 100);
        world.settle();
        world.with(&conn, |b| b.set_read_watermark(0, Some(200)).unwrap()).unwrap();
        world.until_input(&conn, 200);
        world.settle();
        assert_eq!(world.with(&conn, |b| b.input().len()).unwrap(), 200);
        world.with(&conn, |b| b.set_read_watermark(0, None).unwrap()).unwrap();
        world.until_input(&conn, 350);
    });
}

#[test]
fn draining_in_the_callback_resumes_reading_at_once() {
    // C-14
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.read_watermark(30, Some(70)), |cx, _| cx.take());
        let sent = pattern(20_000);
        world.send(&mut peer, &sent);
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        assert!(conn.log.data() == sent);
        let entries = conn.log.entries();
        let reads = entries.iter().filter(|entry| entry.call == Call::Read);
        assert!(reads.clone().all(|entry| (30..=70).contains(&entry.input)));
    });
}

#[test]
fn at_the_high_mark_the_end_is_noticed_after_a_drain() {
    // K-04; over a pair it comes with the last bytes
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.read_watermark(0, Some(10)), |_, _| {});
        world.send(&mut peer, b"0123456789");
        peer.shutdown_write();
        world.until_input(&conn, 10);
        world.settle();
        world.fence(&conn);
        assert!(conn.log.calls() == [Call::Read] || !config.kind.is_over_socket());
        world.with(&conn, |b| b.input().drain(1).unwrap()).unwrap();
        world.until_called(&conn, Call::Eof, 1);
        assert_eq!(conn.log.calls(), [Call::Read, Call::Eof]);
    });
}

#[test]
fn write_callback_comes_when_the_output_is_down_to_the_low_mark() {
    // C-16
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.write_watermark(1_000, None), |_, _| {});
        let sent = pattern(3_000_000);
        let theirs = sent.clone();
        world.with(&conn, move |b| b.write(&theirs).unwrap()).unwrap();
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [], "the peer has not read");
        assert!(world.receive(&mut peer, sent.len()) == sent);
        world.until_called(&conn, Call::Write, 1);
        world.settle();
        assert!(conn.log.entries().iter().all(|entry| entry.call == Call::Write && entry.output <= 1_000));
    });
}

#[test]
fn raising_the_low_mark_of_the_output_takes_effect_at_once() {
    // C-16, D7: libevent looks only at the next write
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        let full = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&full);
        world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        world
            .with(&conn, move |b| {
                let len = b.output().len();
                left.store(len, Ordering::SeqCst);
                b.set_write_watermark(len, None).unwrap();
            })
            .unwrap();
        world.until_called(&conn, Call::Write, 1);
        assert!(conn.log.entries()[0].output <= full.load(Ordering::SeqCst));
        // D8: the write was told full, and the output is down to its low mark now.
        world.until_called(&conn, Call::Drained, 1);
        world.receive(&mut peer, 3_000_000);
    });
}

#[test]
fn marks_are_given_back_and_a_wrong_pair_is_refused_whole() {
    // C-18, D16
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        world
            .with(&conn, |b| {
                b.set_read_watermark(10, Some(20)).unwrap();
                b.set_write_watermark(100, Some(100)).unwrap();
                let refused = b.set_read_watermark(21, Some(20));
                assert!(matches!(refused, Err(Error::InvalidWatermark { low: 21, high: 20 })));
                assert!(matches!(b.set_write_watermark(1, Some(0)), Err(Error::InvalidWatermark { .. })));
                assert_eq!(b.watermark(Direction::Read), (10, Some(20)));
                assert_eq!(b.watermark(Direction::Write), (100, Some(100)));
            })
            .unwrap();
        let (builder, _peer) = (config.kind.open)();
        let actor = crate::harness::Actor::new(&world, |_, _| {});
        let refused = world.start(config.set, builder.read_watermark(2, Some(1)), actor);
        assert!(matches!(refused, Err(Error::InvalidWatermark { low: 2, high: 1 })));
    });
}

#[test]
fn a_low_mark_above_the_cap_counts_as_the_cap() {
    // D8: no more will come, so there is nothing to wait for
    each(|config| {
        let mut world = config.world();
        let set_up = |b: bufferevent::Builder| b.caps(Some(1_000), None).read_watermark(5_000, None);
        let (conn, mut peer) = config.start_with(&mut world, set_up, |cx, call| {
            if *call == Call::Read {
                cx.take();
            }
        });
        world.send(&mut peer, &pattern(2_500));
        world.until("two reads of the cap", || conn.log.data_len() == 2_000);
        world.until_input(&conn, 500);
        assert!(conn.log.data() == pattern(2_500)[..2_000]);
    });
}

#[test]
fn a_high_mark_of_nothing_is_refused() {
    // C-18, D16: libevent's 0 means none
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        let refused = world.with(&conn, |b| b.set_read_watermark(0, Some(0))).unwrap();
        assert!(matches!(refused, Err(Error::InvalidWatermark { low: 0, high: 0 })));
    });
}
