//! The buffers in the user's hands.

use bufferevent::{Error, Evbuffer, evbuffer, evbuffer::End};

use crate::harness::{Call, each};

#[test]
fn the_connections_ends_of_the_buffers_are_frozen() {
    // C-28, C-41: also after the descriptor was exchanged
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        let frozen = |b: &mut bufferevent::Bufferevent| {
            assert_eq!(b.input().add(b"x"), Err(evbuffer::Error::Frozen { end: End::Back }));
            b.write(b"data").unwrap();
            assert_eq!(b.output().drain(1), Err(evbuffer::Error::Frozen { end: End::Front }));
            assert_eq!(b.output().prepend(b"x"), Err(evbuffer::Error::Frozen { end: End::Front }));
        };
        world.with(&conn, frozen).unwrap();
        assert_eq!(world.receive(&mut peer, 4), b"data");
        if config.kind.is_socket() {
            let (stream, other) = crate::harness::unix_pair();
            world.with(&conn, move |b| drop(b.set_fd(stream).unwrap())).unwrap();
            peer = other;
            world.with(&conn, frozen).unwrap();
            assert_eq!(world.receive(&mut peer, 4), b"data");
        }
        world.send(&mut peer, b"in");
        world.until_called(&conn, Call::Read, 1);
        world.with(&conn, frozen).unwrap();
    });
}

#[test]
fn read_takes_a_copy_and_read_buffer_all() {
    // C-26
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world.with(&conn, |b| assert_eq!(b.read(&mut [0; 4]).unwrap(), 0)).unwrap();
        world.send(&mut peer, b"abcdefgh");
        world.until_input(&conn, 8);
        world
            .with(&conn, |b| {
                let mut first = [0; 3];
                assert_eq!((b.read(&mut first).unwrap(), &first), (3, b"abc"));
                let mut rest = Evbuffer::from(b">".to_vec());
                b.read_buffer(&mut rest).unwrap();
                assert_eq!((rest.to_vec(), b.input().len()), (b">defgh".to_vec(), 0));
                b.read_buffer(&mut rest).unwrap();
                b.input().freeze(End::Front);
            })
            .unwrap();
        world.send(&mut peer, b"more");
        world.until_input(&conn, 4);
        world
            .with(&conn, |b| {
                assert!(matches!(b.read(&mut [0; 4]), Err(Error::Buffer(evbuffer::Error::Frozen { .. }))));
                assert!(b.read_buffer(&mut Evbuffer::new()).is_err());
                b.input().unfreeze(End::Front);
                let mut small = Evbuffer::new();
                small.set_limit(Some(3));
                assert!(matches!(
                    b.read_buffer(&mut small),
                    Err(Error::Buffer(evbuffer::Error::Full { .. }))
                ));
                assert_eq!(b.read(&mut [0; 9]).unwrap(), 4);
            })
            .unwrap();
    });
}

#[test]
fn what_is_written_by_copy_by_move_and_into_the_buffer_is_sent_in_order() {
    // C-27, C-28
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world
            .with(&conn, |b| {
                b.write(b"copied,").unwrap();
                let mut moved = Evbuffer::from(b"moved,".to_vec());
                b.write_buffer(&mut moved).unwrap();
                assert!(moved.is_empty());
                b.output().add(b"added").unwrap();
                b.write(b"").unwrap();
            })
            .unwrap();
        assert_eq!(world.receive(&mut peer, 18), b"copied,moved,added");
        world.until_called(&conn, Call::Write, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Write]);
    });
}
