//! Reading and writing: K rows.

use bufferevent::{Direction, Evbuffer, Interest};

use crate::harness::{Actor, Call, Config, Conn, Peer, World, each, each_over_socket, each_socket, pattern};

#[test]
fn much_data_goes_both_ways_unharmed() {
    // K-02, K-03, K-06
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |b| b,
            |cx, call| {
                if *call == Call::Read {
                    let (input, output) = cx.buffers();
                    output.append(input).unwrap();
                }
            },
        );
        let sent = pattern(1_000_000);
        let mut back = Vec::new();
        for piece in sent.chunks(150_000) {
            world.send(&mut peer, piece);
            back.extend(world.receive(&mut peer, piece.len()));
        }
        assert!(back == sent);
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
    });
}

#[test]
fn no_read_or_write_moves_more_than_its_limit() {
    // K-02, K-06, R-13
    each(|config| {
        let mut world = config.world();
        let (builder, mut peer) = (config.kind.open)();
        world.send(&mut peer, &pattern(10_000));
        let builder = builder.configure(|b| {
            b.set_max_single_read(1_000);
            b.set_max_single_write(700);
            assert_eq!((b.max_single(Direction::Read), b.max_single(Direction::Write)), (1_000, 700));
        });
        let actor = Actor::new(&world, |cx, call| {
            if *call == Call::Read {
                cx.take();
            }
        });
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until("all the input", || conn.log.data_len() == 10_000);
        assert!(conn.log.data() == pattern(10_000));
        if !config.set.is_deferred() {
            assert!(conn.log.entries().iter().all(|entry| entry.input <= 1_000));
            assert_eq!(conn.log.count(Call::Read), 10);
        }
        world.with(&conn, |b| b.write(&pattern(2_000)).unwrap()).unwrap();
        assert!(world.receive(&mut peer, 2_000) == pattern(2_000));
        let limits = world.with(&conn, |b| {
            b.set_max_single_read(0);
            b.set_max_single_write(0);
            let both = (b.max_single(Direction::Read), b.max_single(Direction::Write));
            b.set_max_single_read(usize::MAX);
            (both, b.max_single(Direction::Read))
        });
        assert_eq!(limits.unwrap(), ((64 * 1024, 64 * 1024), 64 * 1024));
    });
}

#[test]
fn output_of_very_many_pieces_is_sent_to_the_end() {
    // K-06: one system call takes only so many pieces, and having taken all of those does not mean that it was full
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        let sent = pattern(300 * 600);
        let pieces = sent.clone();
        world
            .with(&conn, move |b| {
                for piece in pieces.chunks(600) {
                    // A piece that is shared cannot be merged with another.
                    b.output().add_bytes(piece.to_vec()).unwrap();
                }
            })
            .unwrap();
        assert!(world.receive(&mut peer, sent.len()) == sent);
        world.until_that(&conn, "the output to be empty", |b| b.output().is_empty());
    });
}

#[test]
fn a_half_closed_connection_still_sends() {
    // F8, K-04, 2.12: READ is off, WRITE stays
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b, |cx, _| cx.take());
        world.send(&mut peer, b"question");
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        assert_eq!(conn.log.data(), b"question");
        let enabled = world.with(&conn, |b| {
            b.write(&pattern(1_000_000)).unwrap();
            b.enabled()
        });
        assert_eq!(enabled.unwrap(), Interest::WRITE);
        assert!(world.receive(&mut peer, 1_000_000) == pattern(1_000_000));
        world.settle();
        assert_eq!(conn.log.count(Call::Eof), 1);
        world.close(&conn);
        assert_eq!(world.receive_all(&mut peer), b"");
        world.until_gone(&conn);
    });
}

#[test]
fn our_half_can_be_closed_while_the_peer_still_sends() {
    // K-04 from the other side: the peer's end is awaited after ours
    each_over_socket(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |cx, _| cx.take());
        world
            .with(&conn, |b| {
                b.write(b"all").unwrap();
                b.close();
            })
            .unwrap();
        assert_eq!(world.receive_all(&mut peer), b"all");
        world.send(&mut peer, b"too late to be read");
        world.settle();
        assert_eq!(conn.log.calls(), []);
        drop(peer);
        world.until_called(&conn, Call::Closed, 1);
    });
}

/// Resets the connection from the peer: what was sent to it is there and not read.
fn reset(world: &mut World, conn: &Conn, peer: Peer) {
    world.with(conn, |b| b.write(b"never read").unwrap()).unwrap();
    world.until("the data at the peer", || peer.is_readable());
    peer.reset();
}

#[test]
fn a_reset_is_one_read_error() {
    // F5, K-05, D4: READ is off, WRITE stays
    each_over_socket(|config| {
        let mut world = config.world();
        let (conn, peer) = config.start_with(&mut world, |b| b, |cx, _| cx.take());
        reset(&mut world, &conn, peer);
        world.until_called(&conn, Call::Failed(Some(Direction::Read)), 1);
        world.settle();
        assert_eq!(conn.log.calls(), [Call::Write, Call::Failed(Some(Direction::Read))]);
        assert_eq!(conn.log.cause(), Some(std::io::ErrorKind::ConnectionReset));
        assert_eq!(world.with(&conn, |b| b.enabled()).unwrap(), Interest::WRITE);
        world.close(&conn);
        world.until_gone(&conn);
    });
}

/// Starts one that writes to a peer that is gone, and waits for the error.
fn fails_to_write(config: Config, world: &mut World) -> Conn {
    let (conn, peer) = config.start_with(world, |b| b.enable(Interest::WRITE), |_, _| {});
    drop(peer);
    world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
    world.until_called(&conn, Call::Failed(Some(Direction::Write)), 1);
    conn
}

#[test]
fn a_write_error_keeps_the_data() {
    // K-07, C-23, C-27, 2.12: WRITE is off, what is written later waits too
    each_socket(|config| {
        let mut world = config.world();
        let conn = fails_to_write(config, &mut world);
        world.settle();
        let left = world.with(&conn, |b| (b.enabled(), b.output().len()));
        let (enabled, left) = left.unwrap();
        assert!(enabled == Interest::NONE && left > 0);
        assert_eq!(conn.log.count(Call::Failed(Some(Direction::Write))), 1);
        let cause = conn.log.cause().unwrap();
        assert!(
            matches!(cause, std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset),
            "{cause}"
        );
        let more = world.with(&conn, |b| {
            b.write_buffer(&mut Evbuffer::from(b"more".to_vec())).unwrap();
            b.output().len()
        });
        assert_eq!(more.unwrap(), left + 4);
        // Another connection takes it.
        let (new, mut peer) = crate::harness::unix_pair();
        world
            .with(&conn, move |b| {
                drop(b.set_fd(new).unwrap());
                b.enable(Interest::WRITE);
            })
            .unwrap();
        let got = world.receive(&mut peer, left + 4);
        assert!(got.ends_with(b"more") && pattern(3_000_000).ends_with(&got[..left]));
    });
}

#[test]
fn a_close_after_a_write_error_ends_and_tells_what_was_not_sent() {
    // D15, K-07
    each_over_socket(|config| {
        let mut world = config.world();
        let conn = fails_to_write(config, &mut world);
        let left = world.with(&conn, |b| b.output().len()).unwrap();
        world.close(&conn);
        world.until_gone(&conn);
        assert!(left > 0);
    });
}
