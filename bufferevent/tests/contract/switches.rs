//! enable, disable, trigger.

use bufferevent::{Interest, Trigger};

use crate::harness::{Call, Set, each, each_of};

#[test]
fn both_directions_are_enabled_at_first_or_what_the_builder_says() {
    // C-02: libevent enables WRITE alone
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        assert_eq!(world.with(&conn, |bufferevent| bufferevent.enabled()).unwrap(), Interest::BOTH);
        let (other, _peer) =
            config.start_with(&mut world, |builder| builder.enable(Interest::WRITE), |_, _| {});
        assert_eq!(world.with(&other, |bufferevent| bufferevent.enabled()).unwrap(), Interest::WRITE);
        let marks = world.with(&conn, |b| {
            use bufferevent::Direction::{Read, Write};
            (b.watermark(Read), b.watermark(Write).0, b.max_single(Read), b.max_single(Write))
        });
        assert_eq!(marks.unwrap(), ((0, None), 0, 64 * 1024, 64 * 1024), "R-13: 64 KiB, not 16");
    });
}

#[test]
fn data_waits_in_the_socket_while_reading_is_off() {
    // C-09, C-11
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |builder| builder.enable(Interest::WRITE), |cx, _| cx.take());
        world.send(&mut peer, b"early");
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        world.with(&conn, |bufferevent| bufferevent.enable(Interest::READ)).unwrap();
        world.until_called(&conn, Call::Read, 1);
        assert_eq!(conn.log.data(), b"early");
    });
}

#[test]
fn reading_that_is_enabled_before_data_comes_finds_it() {
    // C-09
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |builder| builder.enable(Interest::WRITE), |cx, _| cx.take());
        world.settle();
        world.with(&conn, |bufferevent| bufferevent.enable(Interest::READ)).unwrap();
        world.settle();
        world.send(&mut peer, b"late");
        world.until_called(&conn, Call::Read, 1);
        assert_eq!(conn.log.data(), b"late");
    });
}

#[test]
fn output_waits_while_writing_is_off() {
    // C-09, C-27
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |builder| builder.enable(Interest::READ), |_, _| {});
        world.with(&conn, |bufferevent| bufferevent.write(b"patience").unwrap()).unwrap();
        world.settle();
        assert!(!peer.is_readable());
        assert_eq!(world.with(&conn, |bufferevent| bufferevent.output().len()).unwrap(), 8);
        world.with(&conn, |bufferevent| bufferevent.enable(Interest::WRITE)).unwrap();
        assert_eq!(world.receive(&mut peer, 8), b"patience");
        world.until_called(&conn, Call::Write, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Write]);
    });
}

#[test]
fn output_that_is_written_while_the_socket_is_full_goes_out_when_it_is_not() {
    // K-06: the guard's own write may find the socket full
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        let mut sent = 0;
        // More than the socket takes, one guard after the other.
        for _ in 0..20 {
            sent += world.with(&conn, |b| b.write(&[7; 180_000]).map_or(0, |_| 180_000)).unwrap();
        }
        world.settle();
        let got = world.receive(&mut peer, sent);
        assert!(got.iter().all(|&byte| byte == 7));
        world.until("the output to be empty", || {
            conn.log.entries().iter().any(|e| e.call == Call::Write && e.output == 0)
        });
    });
}

#[test]
fn disable_drops_the_callback_that_is_due() {
    // C-10, D3
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        world
            .with(&conn, |bufferevent| {
                bufferevent.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                bufferevent.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS.deferred());
                bufferevent.disable(Interest::BOTH);
            })
            .unwrap();
        world.fence(&conn);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        assert_eq!(world.with(&conn, |bufferevent| bufferevent.enabled()).unwrap(), Interest::NONE);
    });
}

#[test]
fn disable_in_a_callback_drops_what_the_same_run_would_have_told() {
    // C-10, D3
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start_with(
            &mut world,
            |builder| builder,
            |cx, call| {
                if *call == Call::Read {
                    cx.disable(Interest::WRITE);
                }
            },
        );
        world
            .with(&conn, |bufferevent| {
                bufferevent.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                bufferevent.trigger_event(1, Trigger::PLAIN);
            })
            .unwrap();
        world.until_called(&conn, Call::User(1), 1);
        assert_eq!(conn.log.calls(), [Call::Read, Call::User(1)]);
    });
}

#[test]
fn disable_in_the_read_callback_stops_reading_at_once() {
    // C-10, K-02
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |builder| builder.configure(|bufferevent| bufferevent.set_max_single_read(10)),
            |cx, call| {
                if *call == Call::Read {
                    cx.take();
                    cx.disable(Interest::READ);
                }
            },
        );
        world.send(&mut peer, &[1; 100]);
        for round in 1..=10 {
            world.until_called(&conn, Call::Read, round);
            world.settle();
            if config.set.is_deferred() {
                // Reading may go on until the deferred callback runs.
                assert!(conn.log.count(Call::Read) == round && conn.log.data_len() >= 10 * round);
                if conn.log.data_len() == 100 {
                    break;
                }
            } else {
                assert_eq!((conn.log.count(Call::Read), conn.log.data_len()), (round, 10 * round));
            }
            world.with(&conn, |bufferevent| bufferevent.enable(Interest::READ)).unwrap();
        }
    });
}

#[test]
fn input_whose_callback_was_dropped_is_told_when_reading_is_on_again() {
    // C-09, C-10, D3, D7: or a deferred read callback that meets a disable would be lost for ever
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |builder| builder,
            |cx, call| {
                if *call == Call::User(1) {
                    cx.take();
                }
            },
        );
        world.send(&mut peer, b"held back");
        world.until_called(&conn, Call::Read, 1);
        world
            .with(&conn, |bufferevent| {
                bufferevent.trigger(Interest::READ, Trigger::PLAIN);
                bufferevent.disable(Interest::READ);
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read]);
        world.with(&conn, |bufferevent| bufferevent.enable(Interest::READ)).unwrap();
        world.until_called(&conn, Call::Read, 2);
        // Enabled already: nothing new to tell.
        world.with(&conn, |bufferevent| bufferevent.enable(Interest::READ)).unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read, Call::Read]);
    });
}

#[test]
fn enabling_writing_with_nothing_to_write_brings_one_write_callback() {
    // X-23, C-09, C-16
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [], "the start brings none");
        for round in 1..=2 {
            world.with(&conn, |bufferevent| bufferevent.enable(Interest::WRITE)).unwrap();
            world.until_called(&conn, Call::Write, round);
            world.settle();
            assert_eq!(conn.log.calls(), vec![Call::Write; round]);
        }
        world
            .with(&conn, |bufferevent| {
                bufferevent.enable(Interest::WRITE);
                bufferevent.disable(Interest::WRITE);
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.count(Call::Write), 2, "D3");
    });
}

#[test]
fn a_trigger_heeds_the_watermarks_unless_told_not_to() {
    // C-24, C-13, C-16, D2
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.read_watermark(5, None).enable(Interest::READ), |_, _| {});
        world.send(&mut peer, b"four");
        world.until_input(&conn, 4);
        world
            .with(&conn, |b| {
                b.trigger(Interest::READ, Trigger::PLAIN);
                b.trigger(Interest::READ, Trigger::DEFER)
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
        world.with(&conn, |b| b.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS)).unwrap();
        world.until_called(&conn, Call::Read, 1);
        world.with(&conn, |b| b.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS.deferred())).unwrap();
        world.until_called(&conn, Call::Read, 2);
        // The output is above its low mark of 0.
        world
            .with(&conn, |b| {
                b.write(b"x").unwrap();
                b.trigger(Interest::WRITE, Trigger::PLAIN)
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.count(Call::Write), 0);
        world.with(&conn, |b| b.trigger(Interest::WRITE, Trigger::IGNORE_WATERMARKS)).unwrap();
        world.until_called(&conn, Call::Write, 1);
    });
}

#[test]
fn a_trigger_works_on_directions_that_are_off_and_on_an_empty_input() {
    // C-24, D2
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start_with(&mut world, |b| b.enable(Interest::NONE), |_, _| {});
        world.with(&conn, |b| b.trigger(Interest::BOTH, Trigger::PLAIN)).unwrap();
        world.until_called(&conn, Call::Write, 1);
        world.with(&conn, |b| b.trigger(Interest::BOTH, Trigger::DEFER)).unwrap();
        world.until_called(&conn, Call::Write, 2);
        assert_eq!(conn.log.calls(), [Call::Read, Call::Write, Call::Read, Call::Write]);
    });
}

#[test]
fn a_callback_is_dropped_if_the_buffers_no_longer_call_for_it() {
    // C-20, D2: the marks are looked at again at delivery
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.enable(Interest::READ), |_, _| {});
        world.send(&mut peer, b"12345");
        world.until_called(&conn, Call::Read, 1);
        world
            .with(&conn, |b| {
                b.set_read_watermark(3, None).unwrap();
                b.trigger(Interest::BOTH, Trigger::PLAIN);
                b.input().drain(3).unwrap();
                b.write(b"more").unwrap();
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read]);
        // What was lowered is due at once, unless it is gone by then; one that ignores the marks is not taken back.
        world
            .with(&conn, |b| {
                b.set_read_watermark(1, None).unwrap();
                b.input().drain(2).unwrap();
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read]);
        world.with(&conn, |b| b.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS)).unwrap();
        world.until_called(&conn, Call::Read, 2);
    });
}

#[test]
fn any_bits_can_be_an_event() {
    // C-25
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        world
            .with(&conn, |b| {
                b.trigger_event(u16::MAX, Trigger::PLAIN);
                b.trigger_event(0, Trigger::DEFER);
            })
            .unwrap();
        world.until_called(&conn, Call::User(0), 1);
        assert_eq!(conn.log.calls(), [Call::User(u16::MAX), Call::User(0)]);
    });
}

#[test]
fn the_operations_of_a_handle_do_the_same_as_those_of_a_guard() {
    // C-09, C-10, C-24, C-25 through `Handle`
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.enable(Interest::NONE), |cx, _| cx.take());
        let handle = conn.handle().clone();
        world.settle();
        world.send(&mut peer, b"in");
        handle.write(b"out").unwrap();
        world.settle();
        assert!(!peer.is_readable() && conn.log.calls().is_empty());
        handle.enable(Interest::BOTH).unwrap();
        assert_eq!(world.receive(&mut peer, 3), b"out");
        world.until_called(&conn, Call::Read, 1);
        assert_eq!(conn.log.data(), b"in");
        handle.disable(Interest::READ).unwrap();
        handle.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS).unwrap();
        handle.trigger_event(9, Trigger::PLAIN).unwrap();
        world.until_called(&conn, Call::User(9), 1);
        assert_eq!(conn.log.count(Call::Read), 2);
        assert_eq!(world.with(&conn, |b| b.enabled()).unwrap(), Interest::WRITE);
    });
}
