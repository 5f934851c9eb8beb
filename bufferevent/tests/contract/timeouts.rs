//! Timeouts: fire once, disable their direction, run only while it is willing. The clock is turned by hand.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use bufferevent::{
    Bufferevent, Builder, CONNECT_TIMEOUT, Direction, Interest, MinRate, TimeLimit, Trigger,
    runtime::ManualClock,
};
use socket2::{Domain, Socket, Type};

use crate::harness::{
    Actor, Call, Config, Conn, Peer, World, each, each_by_hand, each_over_unix, pass, pattern,
};

const READ: Call = Call::Timeout(Direction::Read);
const WRITE: Call = Call::Timeout(Direction::Write);
const T: Duration = Duration::from_millis(100);
const JUST: Duration = Duration::from_millis(1);

/// A bufferevent whose timeouts are both `T`, settled.
fn timed(config: Config) -> (World, ManualClock, Conn, Peer) {
    let (mut world, hand) = config.with_manual_clock();
    let set_up = |b: Builder| b.timeouts(Some(T), Some(T));
    let (conn, peer) = config.start_with(&mut world, set_up, |_, _| {});
    world.settle();
    (world, hand, conn, peer)
}

#[test]
fn a_read_timeout_fires_once_and_disables_reading() {
    // C-29, C-30, D6
    each_by_hand(|config| {
        let (mut world, hand, conn, mut peer) = timed(config);
        pass(&mut world, &hand, T - JUST);
        assert_eq!(conn.log.calls(), []);
        pass(&mut world, &hand, JUST);
        assert_eq!(conn.log.calls(), [READ]);
        assert_eq!(conn.log.entries()[0].enabled, Interest::WRITE);
        pass(&mut world, &hand, 10 * T);
        world.send(&mut peer, b"late");
        world.settle();
        assert_eq!(conn.log.calls(), [READ], "once, and reading is off");
        world.with(&conn, |b| b.enable(Interest::READ)).unwrap();
        world.until_called(&conn, Call::Read, 1);
        pass(&mut world, &hand, T);
        assert_eq!(conn.log.calls(), [READ, Call::Read, READ], "enabled again, it runs again");
    });
}

#[test]
fn every_byte_that_is_read_puts_the_timeout_off() {
    // C-30; inventory 2.12: timeouts reset by real traffic
    each_by_hand(|config| {
        let (mut world, hand, conn, mut peer) = timed(config);
        for count in 1..=5 {
            pass(&mut world, &hand, T - JUST);
            world.send(&mut peer, b"x");
            world.until_called(&conn, Call::Read, count);
            world.settle();
        }
        assert_eq!(conn.log.count(READ), 0);
        pass(&mut world, &hand, T - JUST);
        assert_eq!(conn.log.count(READ), 0);
        pass(&mut world, &hand, JUST);
        assert_eq!(conn.log.count(READ), 1);
    });
}

#[test]
fn data_that_is_there_when_the_timeout_is_over_wins() {
    // C-30
    each_by_hand(|config| {
        let (mut world, hand, conn, mut peer) = timed(config);
        hand.advance(T);
        world.send(&mut peer, b"in time");
        world.until_called(&conn, Call::Read, 1);
        world.settle();
        assert_eq!(conn.log.calls(), [Call::Read]);
    });
}

#[test]
fn a_write_timeout_runs_only_while_there_is_output() {
    // C-29, C-31, K-08, P-06, X-26, D6: an idle one has no write timeout; of a pair too, what is sent puts off its own
    each_over_unix(|config| {
        let (mut world, hand, conn, mut peer) = timed(config);
        world.with(&conn, |b| b.disable(Interest::READ)).unwrap();
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.calls(), [], "there is nothing to write");
        world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        world.settle();
        pass(&mut world, &hand, T - JUST);
        // Appending does not put it off (C-27), progress does.
        world.with(&conn, |b| b.write(b"more").unwrap()).unwrap();
        world.receive(&mut peer, 1_000_000);
        world.settle();
        pass(&mut world, &hand, T - JUST);
        world.with(&conn, |b| b.write(b"more").unwrap()).unwrap();
        world.settle();
        assert_eq!(conn.log.count(WRITE), 0);
        pass(&mut world, &hand, JUST);
        assert_eq!(conn.log.count(WRITE), 1);
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.count(WRITE), 1);
        let left = world.with(&conn, |b| (b.output().len(), b.enabled())).unwrap();
        assert!(left.0 > 0 && left.1 == Interest::NONE, "output is kept, writing off: {left:?}");
    });
}

#[test]
fn a_suspended_direction_has_no_timeout() {
    // C-12, C-14, D6
    each_by_hand(|config| {
        let (mut world, hand, conn, mut peer) = timed(config);
        world.with(&conn, |b| b.set_read_watermark(0, Some(4)).unwrap()).unwrap();
        world.send(&mut peer, b"full");
        world.until_called(&conn, Call::Read, 1);
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.count(READ), 0, "reading is suspended at the high mark");
        world.with(&conn, |b| b.input().drain(4).unwrap()).unwrap();
        world.settle();
        pass(&mut world, &hand, T - JUST);
        assert_eq!(conn.log.count(READ), 0, "it began anew when reading went on");
        pass(&mut world, &hand, JUST);
        assert_eq!(conn.log.count(READ), 1);
    });
}

#[test]
fn a_timeout_that_is_changed_or_taken_away_takes_effect_at_once() {
    // C-29
    each_by_hand(|config| {
        let (mut world, hand, conn, _peer) = timed(config);
        pass(&mut world, &hand, T - JUST);
        world.with(&conn, |b| b.set_timeouts(None, None)).unwrap();
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.calls(), []);
        world.with(&conn, |b| b.set_timeouts(Some(2 * T), None)).unwrap();
        world.settle();
        assert_eq!(world.with(&conn, |b| b.timeout(Direction::Read)).unwrap(), Some(2 * T));
        pass(&mut world, &hand, 2 * T - JUST);
        world.with(&conn, |b| b.set_timeouts(Some(T), None)).unwrap();
        world.settle();
        pass(&mut world, &hand, T - JUST);
        assert_eq!(conn.log.calls(), [], "it begins anew when it is set");
        pass(&mut world, &hand, JUST);
        assert_eq!(conn.log.calls(), [READ]);
    });
}

#[test]
fn zero_and_endless_timeouts_are_what_they_say() {
    // F26
    each_by_hand(|config| {
        let (mut world, hand, conn, _peer) = timed(config);
        world.with(&conn, |b| b.set_timeouts(Some(Duration::MAX), None)).unwrap();
        world.settle();
        pass(&mut world, &hand, Duration::from_secs(10_000_000_000));
        assert_eq!(conn.log.calls(), [], "three hundred years");
        world.with(&conn, |b| b.set_timeouts(Some(Duration::ZERO), None)).unwrap();
        world.settle();
        pass(&mut world, &hand, JUST);
        assert_eq!(conn.log.calls(), [READ]);
    });
}

#[test]
fn regress_bufferevent_timeout() {
    // TB-22, TB-23, TB-24, TB-25: sockets, pairs and filters over both, with a peer that does not read (the C test says that it should).
    // A write timeout runs where there is something to write, on filters too (C-31, D6).
    each_over_unix(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (one, _silent) = config.start_with(
            &mut world,
            |b| b.timeouts(Some(Duration::from_millis(150)), Some(Duration::from_millis(100))),
            |_, _| {},
        );
        world.with(&one, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        let (other, _peer) = config.start_with(
            &mut world,
            |b| {
                b.enable(Interest::WRITE)
                    .timeouts(Some(Duration::from_millis(100)), Some(Duration::from_millis(200)))
            },
            |_, _| {},
        );
        world.settle();
        for _ in 0..35 {
            pass(&mut world, &hand, Duration::from_millis(10));
        }
        assert_eq!(one.log.calls(), [WRITE, READ]);
        assert_eq!(other.log.calls(), [], "nothing to write, and reading is off");
    });
}

#[test]
fn a_lifetime_ends_both_directions_whatever_moves() {
    // X-26; F30
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = config.start_with(&mut world, |b| b.lifetime(Some(10 * T)), |_, _| {});
        world.settle();
        for _ in 0..9 {
            pass(&mut world, &hand, T);
            world.send(&mut peer, b"x");
            world.settle();
        }
        assert_eq!(conn.log.count(Call::Failed(None)), 0);
        pass(&mut world, &hand, T);
        assert_eq!(conn.log.count(Call::Failed(None)), 1);
        assert_eq!(conn.log.time_limit(), Some(TimeLimit::Lifetime));
        assert_eq!(world.with(&conn, |b| b.enabled()).unwrap(), Interest::NONE);
        for _ in 0..3 {
            pass(&mut world, &hand, 10 * T);
        }
        assert_eq!(conn.log.count(Call::Failed(None)), 1, "once, also if nobody closes it");
    });
}

#[test]
fn a_lifetime_that_is_over_while_it_connects_ends_the_attempt() {
    // D5
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (listener, waiting, address) = silent();
        let actor = Actor::new(&world, |_, _| {});
        let connect = Bufferevent::connect(address).lifetime(Some(T));
        let conn = world.start(config.set, connect, actor).unwrap();
        world.settle();
        pass(&mut world, &hand, T);
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
        assert_eq!(conn.log.time_limit(), Some(TimeLimit::Lifetime));
        drop(waiting);
        listener.set_nonblocking(true).unwrap();
        while listener.accept().is_ok() {}
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
    });
}

#[test]
fn a_lifetime_ends_a_close_that_takes_too_long() {
    // D15
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let set_up = |b: Builder| b.lifetime(Some(10 * T)).report_close();
        let (conn, mut peer) = config.start_with(&mut world, set_up, |_, _| {});
        world.with(&conn, |b| b.write(&pattern(4_000_000)).unwrap()).unwrap();
        world.settle();
        world.close(&conn);
        for _ in 0..9 {
            pass(&mut world, &hand, T);
            world.receive(&mut peer, 1_000);
        }
        assert_eq!(conn.log.calls(), []);
        pass(&mut world, &hand, T);
        world.until_called(&conn, Call::Closed, 1);
        assert!(!conn.log.closed().unwrap().clean);
    });
}

#[test]
fn a_peer_that_sends_a_byte_now_and_then_is_too_slow() {
    // F30: a slow sender
    each_by_hand(|config| {
        let (mut world, hand, conn, mut peer) = timed(config);
        let rate = MinRate { bytes: 10, window: 10 * T };
        world.with(&conn, move |b| b.set_min_rate(Direction::Read, Some(rate))).unwrap();
        world.settle();
        let mut window = |bytes: u32| {
            for second in 0..10 {
                pass(&mut world, &hand, T - JUST);
                if second < bytes {
                    world.send(&mut peer, b"x");
                    world.until_input(&conn, 1);
                }
                world.with(&conn, |b| b.set_timeouts(None, None)).unwrap();
                pass(&mut world, &hand, JUST);
            }
        };
        window(10);
        assert_eq!(conn.log.time_limit(), None, "just fast enough");
        window(9);
        assert_eq!(conn.log.time_limit(), Some(TimeLimit::MinRate));
        assert_eq!(conn.log.count(Call::Failed(Some(Direction::Read))), 1);
    });
}

#[test]
fn a_reader_that_takes_a_byte_now_and_then_is_too_slow() {
    // F30, F31: a slow reader. The window runs only while there is output.
    each_over_unix(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, mut peer) = config.start(&mut world);
        let rate = MinRate { bytes: 1_000_000, window: T };
        world.with(&conn, move |b| b.set_min_rate(Direction::Write, Some(rate))).unwrap();
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.calls(), []);
        world.with(&conn, |b| b.write(&pattern(4_000_000)).unwrap()).unwrap();
        world.settle();
        world.receive(&mut peer, 1_500_000);
        pass(&mut world, &hand, T);
        assert_eq!(conn.log.time_limit(), None);
        pass(&mut world, &hand, T);
        assert_eq!(conn.log.time_limit(), Some(TimeLimit::MinRate));
        assert_eq!(conn.log.count(Call::Failed(Some(Direction::Write))), 1);
    });
}

/// An address that never answers: a listener whose queue is full.
fn silent() -> (TcpListener, Vec<Socket>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let waiting = (0..4).map(|_| {
        let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        waiting.set_nonblocking(true).unwrap();
        let _ = waiting.connect(&address);
        waiting
    });
    (TcpListener::from(std::os::fd::OwnedFd::from(socket)), waiting.collect(), address.as_socket().unwrap())
}

#[test]
fn a_connect_that_takes_too_long_is_one_error() {
    // K-11, D5, F16: neither repeats, nor is followed by Connected
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (listener, waiting, address) = silent();
        type Set = fn(Builder) -> Builder;
        let limits: [(Set, Duration); 3] = [
            (|b| b, CONNECT_TIMEOUT),
            (|b| b.connect_timeout(Some(T)), T),
            (|b| b.timeouts(Some(JUST), Some(2 * T)), 2 * T),
        ];
        let mut conns = Vec::new();
        for (limit, after) in limits {
            let actor = Actor::new(&world, |_, _| {});
            let connect = limit(Bufferevent::connect(address));
            let conn = world.start(config.set, connect, actor).unwrap();
            world.settle();
            pass(&mut world, &hand, after - JUST);
            assert_eq!(conn.log.calls(), []);
            pass(&mut world, &hand, JUST);
            assert_eq!(conn.log.calls(), [Call::Failed(None)]);
            assert_eq!(conn.log.time_limit(), Some(TimeLimit::Connect));
            assert!(!world.with(&conn, |b| b.is_connected()).unwrap());
            conns.push(conn);
        }
        // Now there is room: an attempt that goes on would succeed.
        drop(waiting);
        listener.set_nonblocking(true).unwrap();
        while listener.accept().is_ok() {}
        pass(&mut world, &hand, CONNECT_TIMEOUT);
        assert!(conns.iter().all(|conn| conn.log.calls().len() == 1));
    });
}

#[test]
fn a_connection_that_stands_has_no_connect_timeout() {
    // K-11
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = Bufferevent::connect(listener.local_addr().unwrap()).connect_timeout(Some(T));
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, connect, actor).unwrap();
        world.until_called(&conn, Call::Connected, 1);
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.calls(), [Call::Connected]);
    });
}

#[test]
fn a_rate_of_no_bytes_is_none_and_wakes_nobody() {
    each_by_hand(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, _peer) = config.start(&mut world);
        for window in [Duration::ZERO, T] {
            let rate = MinRate { bytes: 0, window };
            world.with(&conn, move |b| b.set_min_rate(Direction::Read, Some(rate))).unwrap();
            world.settle();
            let before = world.runs();
            pass(&mut world, &hand, 10 * T);
            assert_eq!((world.runs(), conn.log.calls()), (before, Vec::new()));
        }
    });
}

#[test]
fn timeouts_fire_by_themselves_on_every_base() {
    // D6; the real clock: that they come, not when
    each(|config| {
        let mut world = config.world();
        let short = Duration::from_millis(5);
        let (conn, mut peer) =
            config.start_with(&mut world, |b| b.timeouts(Some(short), Some(short)), |_, _| {});
        world.with(&conn, |b| b.write(&pattern(3_000_000)).unwrap()).unwrap();
        world.until_called(&conn, READ, 1);
        world.until_called(&conn, WRITE, 1);
        world.send(&mut peer, b"x");
        world.fence(&conn);
        assert_eq!((conn.log.count(READ), conn.log.count(WRITE)), (1, 1));
    });
}

#[test]
fn an_idle_connection_with_a_timeout_wakes_nobody_before_it_is_over() {
    // Lazy: traffic moves no timer. The base turns for the traffic, and once for the timer that is too early.
    each_by_hand(|config| {
        let (mut world, hand, conn, mut peer) = timed(config);
        for _ in 0..3 {
            pass(&mut world, &hand, T / 4);
            world.send(&mut peer, b"x");
            world.settle();
        }
        let before = world.runs();
        pass(&mut world, &hand, T / 4);
        world.settle();
        assert!(world.runs() <= before + 1, "one run for the timer that is too early");
        assert_eq!(conn.log.count(READ), 0);
    });
}

#[test]
fn a_callback_that_is_due_comes_before_its_timeout() {
    // D1
    each_by_hand(|config| {
        let (mut world, hand, conn, _peer) = timed(config);
        hand.advance(T);
        world.with(&conn, |b| b.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS)).unwrap();
        world.settle();
        let calls = conn.log.calls();
        assert!(calls == [Call::Read, READ], "{calls:?}");
    });
}

#[test]
fn a_connection_that_the_peer_has_ended_has_no_read_timeout() {
    // K-04, C-30
    each_by_hand(|config| {
        let (mut world, hand, conn, peer) = timed(config);
        peer.shutdown_write();
        world.until_called(&conn, Call::Eof, 1);
        pass(&mut world, &hand, 10 * T);
        assert_eq!(conn.log.calls(), [Call::Eof]);
    });
}

#[test]
fn a_new_descriptor_begins_anew() {
    // C-29, K-15
    each_by_hand(|config| {
        if !config.kind.is_socket() {
            return;
        }
        let (mut world, hand, conn, _peer) = timed(config);
        pass(&mut world, &hand, T - JUST);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        world.with(&conn, move |b| drop(b.set_fd(ours).unwrap())).unwrap();
        world.settle();
        pass(&mut world, &hand, T - JUST);
        assert_eq!(conn.log.calls(), []);
        pass(&mut world, &hand, JUST);
        assert_eq!(conn.log.calls(), [READ]);
    });
}
