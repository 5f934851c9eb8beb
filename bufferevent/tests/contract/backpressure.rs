//! High marks and hard caps.

use bufferevent::{Error, Evbuffer, Interest, Room, evbuffer};

use crate::harness::{Call, Set, each, each_of, pattern};

#[test]
fn a_write_at_the_high_mark_says_full_and_one_drained_follows() {
    // D8, C-17
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.write_watermark(0, Some(1_000)), |_, _| {});
        let rooms = world
            .with(&conn, |b| [b.write(&[1; 999]).unwrap(), b.write(&[1]).unwrap(), b.write(&[1]).unwrap()]);
        assert_eq!(rooms.unwrap(), [Room::Some, Room::Full, Room::Full]);
        world.receive(&mut peer, 1_001);
        world.until_called(&conn, Call::Drained, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Write, Call::Drained]);
        assert_eq!(world.with(&conn, |b| b.write(&[1; 999]).unwrap()).unwrap(), Room::Some);
        world.receive(&mut peer, 999);
        world.until_called(&conn, Call::Write, 2);
        world.fence(&conn);
        assert_eq!(conn.log.count(Call::Drained), 1, "it was never full");
    });
}

#[test]
fn drained_comes_at_the_low_mark_only() {
    // D8: with a peer that does not read, the output stays above it
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        let room = world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        assert_eq!(room, Room::Full, "the default high mark is 256 KiB");
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        assert!(world.receive(&mut peer, 3_000_000) == pattern(3_000_000));
        world.until_called(&conn, Call::Drained, 1);
        world.fence(&conn);
        assert_eq!(conn.log.count(Call::Drained), 1);
        assert_eq!(conn.log.entries().last().unwrap().output, 0);
    });
}

#[test]
fn a_write_past_the_cap_is_refused_whole() {
    // X-76, F31, D8, D16; C-27: libevent takes all
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.caps(None, Some(100)).enable(Interest::READ), |_, _| {});
        world
            .with(&conn, |b| {
                b.write(&[1; 60]).unwrap();
                assert!(matches!(
                    b.write(&[2; 41]),
                    Err(Error::OutputFull { more: 41, queued: 60, cap: 100 })
                ));
                let mut buffer = Evbuffer::from(vec![3; 41]);
                assert!(matches!(b.write_buffer(&mut buffer), Err(Error::OutputFull { .. })));
                assert_eq!((buffer.len(), b.output().len()), (41, 60), "nothing was moved");
                let refused = b.output().add(&[4; 41]);
                assert!(matches!(refused, Err(evbuffer::Error::Full { limit: 100, len: 60, requested: 41 })));
                b.write(&[5; 40]).unwrap();
                assert_eq!(b.output().len(), 100);
                b.enable(Interest::WRITE);
            })
            .unwrap();
        assert_eq!(world.receive(&mut peer, 100), [[1; 60].as_slice(), &[5; 40]].concat());
    });
}

#[test]
fn a_refused_write_is_followed_by_drained_whatever_the_high_mark() {
    // D8: or nobody would tell when to try again
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.caps(None, Some(100)).write_watermark(0, None), |_, _| {});
        let refused = world.with(&conn, |b| {
            b.write(&[1; 60]).unwrap();
            b.write(&[2; 60]).is_err()
        });
        assert!(refused.unwrap());
        world.receive(&mut peer, 60);
        world.until_called(&conn, Call::Drained, 1);
        assert_eq!(conn.log.calls(), [Call::Write, Call::Drained]);
    });
}

#[test]
fn an_echo_that_is_refused_goes_on_when_the_output_has_drained() {
    // D8: input that was left is told again with Drained
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |b| b.caps(Some(5_000), Some(5_000)).write_watermark(0, Some(1_000)),
            |cx, call| {
                if *call == Call::Read {
                    let (input, output) = cx.buffers();
                    let _ = output.append(input);
                }
            },
        );
        let sent = pattern(45_000);
        let mut back = Vec::new();
        for piece in sent.chunks(15_000) {
            world.send(&mut peer, piece);
            back.extend(world.receive(&mut peer, piece.len()));
        }
        assert!(back == sent);
        assert!(conn.log.entries().iter().all(|entry| entry.input <= 5_000 && entry.output <= 5_000));
    });
}

#[test]
fn a_write_that_never_fits_says_so_and_no_drained_follows() {
    // D8, D16: whether something is queued or not, and whether it is busy or not
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.caps(None, Some(100)).enable(Interest::NONE), |_, _| {});
        let too_large = |answer| matches!(answer, Err(Error::TooLarge { more: 101, cap: 100 }));
        let refused = world.with(&conn, move |b| {
            let empty = too_large(b.write(&[0; 101]));
            b.write(b"x").unwrap();
            let mut buffer = Evbuffer::from(vec![0; 101]);
            [empty, too_large(b.write_buffer(&mut buffer)), buffer.len() == 101]
        });
        assert_eq!(refused.unwrap(), [true; 3]);
        let mut sent = 1;
        if config.set.is_shared() {
            let handle = conn.handle();
            let _busy = handle.lock().unwrap();
            assert!(too_large(handle.write(&[0; 101])));
            let refused = handle.write_buffer(Evbuffer::from(vec![0; 101]));
            assert!(matches!(refused, Err((Error::TooLarge { .. }, data)) if data.len() == 101));
            assert_eq!(handle.write(&[0; 50]).unwrap(), Room::Some);
            sent += 50;
        }
        world.with(&conn, |b| b.enable(Interest::WRITE)).unwrap();
        world.receive(&mut peer, sent);
        world.fence(&conn);
        assert_eq!(conn.log.count(Call::Drained), 0, "nobody was told to wait for it");
    });
}

#[test]
fn without_a_cap_everything_is_taken() {
    // D8: `None` is libevent's behaviour
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.caps(None, None).write_watermark(0, None), |_, _| {});
        let len = 5 * 1024 * 1024;
        let room = world.with(&conn, move |b| b.write(&pattern(len)).unwrap()).unwrap();
        assert_eq!(room, Room::Some);
        assert!(world.receive(&mut peer, len) == pattern(len));
        world.until_called(&conn, Call::Write, 1);
        world.fence(&conn);
        assert!(!conn.log.has(Call::Drained));
    });
}

#[test]
fn the_input_cap_suspends_reading_and_tells_once_each_time() {
    // D8, C-14
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.caps(Some(1_000), None), |_, _| {});
        let sent = pattern(2_500);
        world.send(&mut peer, &sent);
        let mut got = Vec::new();
        for full in 1..=2 {
            world.until_called(&conn, Call::InputFull, full);
            world.settle();
            world.fence(&conn);
            assert_eq!(conn.log.count(Call::InputFull), full);
            let data = world.with(&conn, |b| {
                let data = b.input().to_vec();
                b.input().drain(data.len()).unwrap();
                assert_eq!(b.enabled(), Interest::BOTH);
                data
            });
            got.extend(data.unwrap());
            assert_eq!(got.len(), 1_000 * full);
        }
        world.until_input(&conn, 500);
        got.extend(world.with(&conn, |b| b.input().to_vec()).unwrap());
        assert!(got == sent);
        world.settle();
        assert_eq!(conn.log.count(Call::InputFull), 2);
    });
}

#[test]
fn the_input_cap_that_is_raised_resumes_reading_at_once() {
    // D8, D7
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.caps(Some(1_000), None), |_, _| {});
        world.send(&mut peer, &[0; 2_500]);
        world.until_called(&conn, Call::InputFull, 1);
        world.with(&conn, |b| b.set_input_cap(None)).unwrap();
        world.until_input(&conn, 2_500);
        world.settle();
        assert_eq!(conn.log.count(Call::InputFull), 1);
    });
}

#[test]
fn a_handle_that_writes_at_the_high_mark_is_told_full_too() {
    // D8
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |b| b.write_watermark(0, Some(1_000)).caps(None, Some(2_000)).enable(Interest::READ),
            |_, _| {},
        );
        let handle = conn.handle().clone();
        // A busy bufferevent's mailbox is bounded by itself: these writes are to find it idle. The first may bring a run,
        // where the selector must be told what to wait for.
        world.settle();
        assert_eq!(handle.write(&[1; 999]).unwrap(), Room::Some);
        world.settle();
        assert_eq!(handle.write_buffer(Evbuffer::from(vec![1])).unwrap(), Room::Full);
        world.settle();
        let refused = handle.write_buffer(Evbuffer::from(vec![2; 1_001]));
        assert!(
            matches!(refused, Err((Error::OutputFull { more: 1_001, queued: 1_000, cap: 2_000 }, data)) if data.len() == 1_001)
        );
        assert!(matches!(handle.write(&[2; 1_001]), Err(Error::OutputFull { .. })));
        handle.enable(Interest::WRITE).unwrap();
        assert_eq!(world.receive(&mut peer, 1_000), [1; 1_000]);
        world.until_called(&conn, Call::Drained, 1);
    });
}

#[test]
fn the_end_waits_for_input_that_the_output_had_no_room_for() {
    // D4, D8: or an echo that closes at the end would drop what it has not sent back
    each(|config| {
        // More than the kernel holds on the way back.
        const CAP: usize = 1_500_000;
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |b| b.caps(Some(CAP), Some(CAP)),
            |cx, call| match call {
                Call::Read => {
                    let (input, output) = cx.buffers();
                    let _refused = output.append(input);
                }
                Call::Eof => cx.close(),
                _ => {}
            },
        );
        let sent = pattern(2 * CAP - 100_000);
        world.send(&mut peer, &sent);
        peer.shutdown_write();
        world.settle();
        assert!(world.receive_all(&mut peer) == sent);
        let calls = conn.log.calls();
        assert_eq!(calls.iter().filter(|call| **call == Call::Eof).count(), 1, "{calls:?}");
    });
}

#[test]
fn the_end_does_not_wait_for_an_output_that_is_switched_off() {
    // D4
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |b| b.caps(Some(1_000), Some(1_000)).enable(Interest::READ),
            |cx, call| {
                if *call == Call::Read {
                    let (input, output) = cx.buffers();
                    let _refused = output.append(input);
                }
            },
        );
        world.send(&mut peer, &pattern(600));
        world.until_called(&conn, Call::Read, 1);
        world.send(&mut peer, &pattern(600));
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        assert_eq!(world.with(&conn, |b| (b.input().len(), b.output().len())).unwrap(), (600, 600));
    });
}
