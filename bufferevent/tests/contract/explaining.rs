//! explain: why a direction makes no progress. A reason each, on every configuration.

use std::time::Duration;

use bufferevent::{Bufferevent, Direction, Interest, Snapshot, Stall, State, Suspend};

use crate::harness::{Actor, Call, Config, Conn, Peer, World, each, each_by_hand, each_of, pattern};

fn explain(world: &mut World, conn: &Conn) -> Snapshot {
    world.with(conn, |b| b.explain()).unwrap()
}

fn settled(config: Config) -> (World, Conn, Peer) {
    let mut world = config.world();
    let (conn, peer) = config.start(&mut world);
    world.fence(&conn);
    (world, conn, peer)
}

#[test]
fn an_idle_one_waits_for_the_peer_and_has_nothing_to_write() {
    each(|config| {
        let (mut world, conn, _peer) = settled(config);
        world.until_that(&conn, "the socket to be found empty", |b| {
            b.explain().read.stall == Some(Stall::NotReady)
        });
        let snapshot = explain(&mut world, &conn);
        assert_eq!((snapshot.state, snapshot.write.stall), (State::Connected, Some(Stall::Empty)));
        let text = snapshot.to_string();
        assert!(text.contains("reading: what is below is not ready; 0 bytes buffered"), "{text}");
        assert_eq!(world.with(&conn, |b| b.suspended(Direction::Read)).unwrap(), Suspend::NONE);
    });
}

#[test]
fn each_reason_not_to_read_is_told() {
    // C-11, C-12
    each(|config| {
        let (mut world, conn, mut peer) = settled(config);
        let stall = |world: &mut World| explain(world, &conn).read.stall;
        world.with(&conn, |b| b.disable(Interest::READ)).unwrap();
        assert_eq!(stall(&mut world), Some(Stall::Disabled));
        world
            .with(&conn, |b| {
                b.enable(Interest::READ);
                b.set_read_watermark(0, Some(4)).unwrap();
                b.set_input_cap(Some(4));
            })
            .unwrap();
        world.send(&mut peer, b"1234567");
        world.until_input(&conn, 4);
        let both = Suspend::WATERMARK | Suspend::CAP;
        assert_eq!(stall(&mut world), Some(Stall::Suspended(both)));
        world.with(&conn, |b| b.set_input_cap(None)).unwrap();
        let snapshot = explain(&mut world, &conn);
        assert_eq!(snapshot.read.stall, Some(Stall::Suspended(Suspend::WATERMARK)));
        assert_eq!((snapshot.read.buffered, snapshot.read.moved, snapshot.read.high), (4, 4, Some(4)));
        world.with(&conn, |b| b.set_read_watermark(0, None).unwrap()).unwrap();
        world.until_input(&conn, 7);
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        assert_eq!(stall(&mut world), Some(Stall::Ended));
        world.with(&conn, |b| b.shutdown(Direction::Read).unwrap()).unwrap();
        assert_eq!(stall(&mut world), Some(Stall::ShutDown));
    });
}

#[test]
fn each_reason_not_to_write_is_told() {
    each(|config| {
        let (mut world, conn, mut peer) = settled(config);
        world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        world
            .until_that(&conn, "the socket to be full", |b| b.explain().write.stall == Some(Stall::NotReady));
        let snapshot = explain(&mut world, &conn);
        assert_eq!(snapshot.write.buffered as u64 + snapshot.write.moved, 3_000_000);
        world.with(&conn, |b| b.disable(Interest::WRITE)).unwrap();
        assert_eq!(explain(&mut world, &conn).write.stall, Some(Stall::Disabled));
        world.with(&conn, |b| b.enable(Interest::WRITE)).unwrap();
        world.receive(&mut peer, 3_000_000);
        world.with(&conn, |b| b.shutdown(Direction::Write).unwrap()).unwrap();
        world.until_that(&conn, "the output to be out", |b| b.explain().write.stall == Some(Stall::ShutDown));
    });
}

#[test]
fn states_are_told_from_the_beginning_to_the_end() {
    each(|config| {
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::detached(), actor).unwrap();
        let snapshot = explain(&mut world, &conn);
        assert_eq!((snapshot.state, snapshot.read.stall), (State::Detached, Some(Stall::NotConnected)));
        let (ours, _peer) = crate::harness::tcp_pair();
        world.with(&conn, move |b| drop(b.set_fd(ours).unwrap())).unwrap();
        let state = world.with(&conn, |b| {
            b.write(&[0; 1_000_000]).unwrap();
            b.close();
            b.explain().state
        });
        assert_eq!(state.unwrap(), State::Draining);
    });
}

#[test]
fn the_age_is_that_since_the_start() {
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        hand.advance(Duration::from_secs(5));
        let (conn, _peer) = config.start(&mut world);
        world.settle();
        hand.advance(Duration::from_secs(3));
        assert_eq!(explain(&mut world, &conn).age, Duration::from_secs(3));
    });
}

#[test]
fn a_handle_explains_without_waiting() {
    //
    each_of(
        |set| set.is_shared(),
        |config| {
            let (mut world, conn, _peer) = settled(config);
            let handle = conn.handle();
            let held = handle.lock().unwrap();
            handle.enable(Interest::READ).unwrap();
            assert!(handle.explain().is_none(), "somebody holds it");
            drop(held);
            let mut snapshot = None;
            world.until("nobody to hold it", || {
                snapshot = handle.explain();
                snapshot.is_some()
            });
            let strand = snapshot.unwrap().strand.unwrap();
            assert!(strand.mailbox <= 1 && strand.waiting.is_none());
        },
    );
}
