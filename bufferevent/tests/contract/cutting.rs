//! What ends before all was said is no end: the peer hears an error, where its kind has one.

use std::time::Duration;

use bufferevent::{Closing, DRAIN_IDLE, Direction, LINGER};

use crate::harness::{Call, Config, Conn, Peer, World, each, each_by_hand, pass, pattern};

const JUST: Duration = Duration::from_millis(1);

fn start(config: Config, world: &mut World) -> (Conn, Peer) {
    config.start_with(world, |b| b.report_close(), |_, _| {})
}

#[test]
fn a_close_that_is_cut_short_sends_all_and_tells_no_end() {
    // D15: more than the system takes at once
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = start(config, &mut world);
        let len = 1_500_000;
        world.with(&conn, move |b| b.write(&pattern(len)).unwrap()).unwrap();
        world.with(&conn, |b| b.close_with(Closing::CUT_SHORT)).unwrap();
        assert!(world.receive(&mut peer, len) == pattern(len));
        world.settle();
        pass(&mut world, &hand, LINGER + JUST);
        assert_eq!(world.receive_last(&mut peer), (vec![], config.kind.tells_cuts()));
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert_eq!((closed.clean, closed.unsent, closed.cause.is_none()), (false, 0, true));
    });
}

#[test]
fn a_cut_without_a_linger_comes_at_once_whoever_drives_it() {
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = start(config, &mut world);
        world.settle();
        world.with(&conn, |b| b.write(b"half of").unwrap()).unwrap();
        assert_eq!(world.receive(&mut peer, 7), b"half of");
        world
            .with(&conn, |b| b.close_with(Closing { linger: Duration::ZERO, ..Closing::CUT_SHORT }))
            .unwrap();
        assert_eq!(world.receive_last(&mut peer), (vec![], config.kind.tells_cuts()));
        world.until_called(&conn, Call::Closed, 1);
        assert!(!conn.log.closed().unwrap().clean);
    });
}

#[test]
fn a_peer_that_has_ended_its_side_has_the_time_of_a_linger_to_take_what_was_sent() {
    //
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = start(config, &mut world);
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        let len = 600_000;
        world.with(&conn, move |b| b.write(&pattern(len)).unwrap()).unwrap();
        world.with(&conn, |b| b.close_with(Closing::CUT_SHORT)).unwrap();
        world.settle();
        pass(&mut world, &hand, LINGER - JUST);
        assert!(world.receive(&mut peer, len) == pattern(len));
        pass(&mut world, &hand, LINGER + JUST);
        pass(&mut world, &hand, LINGER + JUST);
        assert_eq!(world.receive_last(&mut peer), (vec![], config.kind.tells_cuts()));
    });
}

#[test]
fn an_end_that_was_asked_for_before_is_told() {
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = start(config, &mut world);
        world
            .with(&conn, |b| {
                b.write(b"this is all").unwrap();
                b.shutdown(Direction::Write).unwrap();
                b.close_with(Closing::CUT_SHORT);
            })
            .unwrap();
        world.settle();
        assert_eq!(world.receive_last(&mut peer), (b"this is all".to_vec(), false));
        drop(peer);
        pass(&mut world, &hand, LINGER + JUST);
        assert!(conn.log.closed().unwrap().clean);
    });
}

#[test]
fn who_cannot_send_all_tells_no_end() {
    // D15, F8: libevent's peer takes the half for the whole
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = start(config, &mut world);
        world.with(&conn, |b| b.write(&pattern(4_000_000)).unwrap()).unwrap();
        world.settle();
        world.close(&conn);
        world.settle();
        // TCP may take some more after a while.
        for _ in 0..3 {
            pass(&mut world, &hand, DRAIN_IDLE + JUST);
        }
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert!(!closed.clean && closed.unsent > 0);
        let (sent, is_cut) = world.receive_last(&mut peer);
        assert!(sent == pattern(sent.len()) && sent.len() < 4_000_000);
        assert_eq!(is_cut, config.kind.tells_cuts());
    });
}

#[test]
fn a_close_after_an_error_of_what_arrives_was_told_is_not_clean() {
    // D4, D15: by whatever the kind tells it, and however the rest ends
    each_by_hand(|config| {
        if !config.kind.tells_cuts() {
            return;
        }
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = start(config, &mut world);
        world.send(&mut peer, b"half of it");
        peer.cut_short();
        world.until_called(&conn, Call::Failed(Some(Direction::Read)), 1);
        world.close(&conn);
        pass(&mut world, &hand, LINGER + JUST);
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert_eq!((closed.clean, closed.unsent), (false, 0));
    });
}
