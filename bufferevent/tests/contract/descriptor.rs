//! The descriptor: looked at, exchanged, taken away.

use std::{
    io::ErrorKind,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    sync::Arc,
};

use bufferevent::{Bufferevent, Error, Interest};
use bufferevent_sync::Mutex;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::harness::{Actor, Call, Drive, Peer, each_by_hand, each_socket, pattern, tcp_pair, unix_pair};

#[test]
fn the_number_of_the_descriptor_is_the_one_that_was_given() {
    // C-38, K-01
    each_socket(|config| {
        for (ours, _peer) in [unix_pair(), tcp_pair()] {
            let mut world = config.world();
            let number = ours.as_raw_fd();
            let actor = Actor::new(&world, |_, _| {});
            let conn = world.start(config.set, Bufferevent::socket(ours), actor).unwrap();
            let seen = world.with(&conn, |b| (b.raw_fd(), b.fd().map(|fd| fd.as_raw_fd()))).unwrap();
            assert_eq!(seen, (Some(number), Some(number)));
        }
    });
}

#[test]
fn another_descriptor_takes_over_what_is_queued() {
    // C-38, K-15: the buffers stay, the old descriptor comes back open
    each_socket(|config| {
        let mut world = config.world();
        let (conn, mut old_peer) = config.start_with(&mut world, |b| b, |_, _| {});
        world.send(&mut old_peer, b"unread");
        world.until_called(&conn, Call::Read, 1);
        let (new, mut new_peer) = tcp_pair();
        let old = world.with(&conn, move |b| {
            b.write(&pattern(300_000)).unwrap();
            let old = b.set_fd(new).unwrap();
            assert_eq!(b.input().to_vec(), b"unread");
            old
        });
        let old = old.unwrap().unwrap();
        assert!(world.receive(&mut new_peer, 300_000) == pattern(300_000));
        assert!(!old_peer.is_ended() && !old_peer.is_readable(), "open, and nothing was sent there");
        world.send(&mut new_peer, b", and more");
        world.until_input(&conn, 16);
        drop(old);
        assert!(old_peer.is_ended());
        world.close(&conn);
        assert_eq!(world.receive_all(&mut new_peer), b"");
    });
}

#[test]
fn exchanged_in_the_middle_of_a_write_the_rest_goes_to_the_other() {
    // C-38, 2.12: setfd with data queued
    each_socket(|config| {
        let mut world = config.world();
        let (conn, mut old_peer) = config.start(&mut world);
        world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        world.settle();
        let (new, mut new_peer) = unix_pair();
        let left = world.with(&conn, move |b| {
            let old = b.set_fd(new).unwrap();
            (b.output().len(), old)
        });
        let (left, old) = left.unwrap();
        drop(old);
        let first = world.receive_all(&mut old_peer);
        let rest = world.receive(&mut new_peer, left);
        assert!(!rest.is_empty() && [first, rest].concat() == pattern(3_000_000));
    });
}

#[test]
fn a_descriptor_that_is_taken_away_is_the_users_and_the_rest_stays() {
    // C-38: setfd(-1)
    each_socket(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world.send(&mut peer, b"in");
        world.until_called(&conn, Call::Read, 1);
        let fd = world.with(&conn, |b| {
            let fd = b.take_fd();
            b.write(b"out").unwrap();
            assert!(b.take_fd().is_none() && b.fd().is_none() && !b.is_connected());
            fd
        });
        let fd = fd.unwrap().unwrap();
        world.send(&mut peer, b"not for it");
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read]);
        world.with(&conn, move |b| assert!(b.set_fd(fd).unwrap().is_none())).unwrap();
        assert_eq!(world.receive(&mut peer, 3), b"out");
        world.until_input(&conn, 12);
    });
}

#[test]
fn exchanged_in_a_callback_the_other_is_read_from_then_on() {
    // C-38, K-15
    each_socket(|config| {
        let mut world = config.world();
        let (new, mut new_peer) = unix_pair();
        let (new, old) = (Mutex::new(Some(new)), Arc::new(Mutex::new(None)));
        let kept = Arc::clone(&old);
        let (conn, mut old_peer) = config.start_with(
            &mut world,
            |b| b,
            move |cx, _| {
                cx.take();
                if let Some(new) = new.lock().take() {
                    *kept.lock() = cx.set_fd(new).unwrap();
                }
            },
        );
        world.send(&mut new_peer, b"new");
        world.send(&mut old_peer, b"old");
        world.until("both", || conn.log.data_len() == 6);
        assert_eq!(conn.log.data(), b"oldnew");
        assert!(old.lock().is_some());
    });
}

#[test]
fn a_descriptor_that_is_no_stream_socket_is_refused() {
    // K-01, C-38, D16
    each_socket(|config| {
        let mut world = config.world();
        let others: [fn() -> OwnedFd; 5] = [
            || std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(),
            || UnixDatagram::pair().unwrap().0.into(),
            || std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            || std::fs::File::open("/dev/null").unwrap().into(),
            || rustix::pipe::pipe().unwrap().0,
        ];
        let (conn, mut peer) = config.start(&mut world);
        for make in others {
            for builder in [Bufferevent::socket(make()), Bufferevent::connect_pending(make())] {
                let refused = world.start(config.set, builder, Actor::new(&world, |_, _| {}));
                assert!(matches!(refused, Err(Error::NotStream)));
            }
            let fd = make();
            let refused = world.with(&conn, move |b| b.set_fd(fd)).unwrap();
            assert!(matches!(refused, Err(Error::NotStream)));
        }
        world.with(&conn, |b| b.write(b"still").unwrap()).unwrap();
        assert_eq!(world.receive(&mut peer, 5), b"still", "the old one is still there");
        assert_eq!(world.objects(), 1);
    });
}

#[test]
fn a_descriptor_that_the_selector_refuses_changes_nothing() {
    // C-38, K-15, D16, F15: the selector knows it already
    each_by_hand(|config| {
        if !config.kind.is_socket() {
            return;
        }
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        world.settle();
        let (new, new_peer) = unix_pair();
        let selector = match &world.drive {
            Drive::Pinned(base) => base.as_fd(),
            Drive::Movable(base) => base.as_fd(),
            Drive::Threads { .. } => unreachable!(),
        };
        epoll::add(selector, &new, EventData::new_u64(0), EventFlags::empty()).unwrap();
        let refused = world.with(&conn, move |b| b.set_fd(new)).unwrap();
        assert!(matches!(refused, Err(Error::Io(error)) if error.kind() == ErrorKind::AlreadyExists));
        assert!(new_peer.is_ended(), "what is refused is closed");
        world.send(&mut peer, b"still read");
        world.until_input(&conn, 10);
        world.with(&conn, |b| b.write(b"still written").unwrap()).unwrap();
        assert_eq!(world.receive(&mut peer, 13), b"still written");
    });
}

#[test]
fn a_descriptor_that_is_taken_away_from_a_close_ends_it_at_once() {
    // C-38, D15: what is left is told as unsent, and nothing waits
    each_socket(|config| {
        let mut world = config.world();
        let (conn, peer) =
            config.start_with(&mut world, |b| b.enable(Interest::NONE).report_close(), |_, _| {});
        world.settle();
        let fd = world.with(&conn, |b| {
            b.write(&[7; 1_000]).unwrap();
            b.close();
            b.take_fd()
        });
        world.until_called(&conn, Call::Closed, 1);
        world.until_gone(&conn);
        assert_eq!(conn.log.closed().unwrap().unsent, 1_000);
        assert_eq!(conn.log.calls(), [Call::Closed]);
        assert!(!peer.is_ended(), "it is the user's");
        drop(fd.unwrap().unwrap());
        assert!(peer.is_ended());
    });
}

#[test]
fn a_builder_whose_descriptor_was_taken_has_none_to_start_with() {
    // D16
    each_socket(|config| {
        let mut world = config.world();
        let (ours, peer): (_, Peer) = unix_pair();
        let mut taken = None;
        let builder = Bufferevent::socket(ours).configure(|b| taken = b.take_fd());
        let refused = world.start(config.set, builder, Actor::new(&world, |_, _| {}));
        assert!(matches!(refused, Err(Error::NotConnected)));
        assert!(taken.is_some() && !peer.is_ended());
    });
}

#[test]
fn what_happened_to_the_old_descriptor_is_not_told_of_the_new() {
    // C-38, D3, D4: the end came before the callback that exchanges it, and is due when callbacks are deferred
    each_socket(|config| {
        let mut world = config.world();
        let (builder, mut old_peer) = (config.kind.open)();
        world.send(&mut old_peer, b"old");
        old_peer.shutdown_write();
        let (new, mut new_peer) = unix_pair();
        let new = Mutex::new(Some(new));
        let actor = Actor::new(&world, move |cx, _| {
            cx.take();
            if let Some(new) = new.lock().take() {
                drop(cx.set_fd(new).unwrap());
                cx.enable(bufferevent::Interest::READ);
            }
        });
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until_called(&conn, Call::Read, 1);
        world.send(&mut new_peer, b"new");
        world.until("the new data", || conn.log.data_len() == 6);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read, Call::Read]);
        drop(new_peer);
        world.until_called(&conn, Call::Eof, 1);
    });
}
