//! Ending one direction, and the bounds of a close.

use std::time::Duration;

use bufferevent::{Closing, Direction, Error, Interest};

use crate::harness::{Call, each, each_by_hand, each_of, each_over_socket, each_socket, pattern};

#[test]
fn shutting_writing_down_sends_all_before_and_reading_goes_on() {
    // X-82, F8: half-close
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b, |cx, _| cx.take());
        let sent = pattern(1_000_000);
        let data = sent.clone();
        world
            .with(&conn, move |b| {
                b.write(&data).unwrap();
                b.shutdown(Direction::Write).unwrap();
                b.shutdown(Direction::Write).unwrap();
                assert!(matches!(b.write(b"late"), Err(Error::ShutDown)));
                assert!(b.output().add(b"late").is_err());
            })
            .unwrap();
        assert_eq!(world.receive_all(&mut peer), sent);
        world.send(&mut peer, b"still heard");
        world.until("the peer's data", || conn.log.data() == b"still heard");
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        assert!(!conn.log.calls().iter().any(|call| matches!(call, Call::Failed(_))));
    });
}

#[test]
fn shutting_writing_down_with_nothing_to_send_ends_our_side_now() {
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world.with(&conn, |b| b.shutdown(Direction::Write).unwrap()).unwrap();
        assert_eq!(world.receive_all(&mut peer), b"");
        world.close(&conn);
        drop(peer);
        world.until_empty();
    });
}

#[test]
fn output_that_may_not_go_yet_goes_before_the_end() {
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world
            .with(&conn, |b| {
                b.disable(Interest::WRITE);
                b.write(b"held").unwrap();
                b.shutdown(Direction::Write).unwrap();
            })
            .unwrap();
        world.settle();
        assert!(!peer.is_readable());
        world.with(&conn, |b| b.enable(Interest::WRITE)).unwrap();
        assert_eq!(world.receive_all(&mut peer), b"held");
    });
}

#[test]
fn shutting_reading_down_stops_it_for_good() {
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world.send(&mut peer, b"before");
        world.until_called(&conn, Call::Read, 1);
        world.with(&conn, |b| b.shutdown(Direction::Read).unwrap()).unwrap();
        world.with(&conn, |b| b.enable(Interest::BOTH)).unwrap();
        // Over a Unix socket the peer is told.
        let _ = peer.write(b"after");
        world.fence(&conn);
        assert_eq!(conn.log.count(Call::Read), 1);
        assert_eq!(
            world.with(&conn, |b| (b.input().to_vec(), b.enabled())).unwrap(),
            (b"before".to_vec(), Interest::WRITE)
        );
        world.with(&conn, |b| b.write(b"answer").unwrap()).unwrap();
        assert_eq!(world.receive(&mut peer, 6), b"answer");
    });
}

#[test]
fn a_handle_shuts_down_behind_what_it_has_written() {
    each_of(
        |set| set.is_shared(),
        |config| {
            let mut world = config.world();
            let (conn, mut peer) = config.start(&mut world);
            let busy = conn.handle().lock().unwrap();
            let handle = conn.handle().clone();
            std::thread::spawn(move || {
                handle.write(b"first").unwrap();
                handle.shutdown(Direction::Write).unwrap();
            })
            .join()
            .unwrap();
            drop(busy);
            assert_eq!(world.receive_all(&mut peer), b"first");
        },
    );
}

#[test]
fn what_has_no_connection_or_closes_is_not_shut_down() {
    // D16
    each_over_socket(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        world
            .with(&conn, |b| {
                drop(b.take_fd());
                assert!(matches!(b.shutdown(Direction::Write), Err(Error::NotConnected)));
                b.close();
                assert!(matches!(b.shutdown(Direction::Read), Err(Error::Closed)));
            })
            .unwrap();
    });
}

#[test]
fn a_new_descriptor_is_not_shut_down() {
    // K-15
    each_socket(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world.with(&conn, |b| b.shutdown(Direction::Write).unwrap()).unwrap();
        world.receive_all(&mut peer);
        let (ours, mut other) = crate::harness::tcp_pair();
        world.with(&conn, move |b| drop(b.set_fd(ours).unwrap())).unwrap();
        world.with(&conn, |b| b.write(b"anew").unwrap()).unwrap();
        assert_eq!(world.receive(&mut other, 4), b"anew");
    });
}

#[test]
fn a_close_is_clean_if_all_was_sent_and_the_peer_ended_too() {
    // D15
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.with(&conn, |b| b.write(b"bye").unwrap()).unwrap();
        world.close(&conn);
        assert_eq!(world.receive_all(&mut peer), b"bye");
        drop(peer);
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert!(closed.clean && closed.unsent == 0);
    });
}

#[test]
fn an_abort_is_not_clean() {
    // D15
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        world.abort(&conn);
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert!(!closed.clean && closed.unsent > 0);
    });
}

#[test]
fn a_close_ends_at_its_deadline_though_the_peer_makes_progress() {
    // D15
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.with(&conn, |b| b.write(&pattern(4_000_000)).unwrap()).unwrap();
        world.settle();
        let bounds = Closing { deadline: Some(Duration::from_secs(10)), ..Closing::default() };
        world.with(&conn, move |b| b.close_with(bounds)).unwrap();
        world.settle();
        for _ in 0..9 {
            hand.advance(Duration::from_secs(1));
            world.receive(&mut peer, 100_000);
            world.settle();
        }
        assert_eq!(conn.log.calls(), []);
        hand.advance(Duration::from_secs(1));
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert!(!closed.clean && closed.unsent > 0);
    });
}

#[test]
fn a_close_that_is_not_to_linger_does_not() {
    // D15
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
        world.with(&conn, |b| b.write(b"bye").unwrap()).unwrap();
        let bounds = Closing { linger: Duration::ZERO, ..Closing::default() };
        world.with(&conn, move |b| b.close_with(bounds)).unwrap();
        world.settle();
        hand.advance(Duration::from_millis(1));
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!(world.receive_all(&mut peer), b"bye");
        let closed = conn.log.closed().unwrap();
        let awaits_none = !config.kind.is_over_socket();
        assert!(
            closed.clean == awaits_none && closed.unsent == 0,
            "sent, but the peer's end was not awaited"
        );
    });
}
