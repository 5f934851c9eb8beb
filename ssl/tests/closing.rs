//! How a connection is closed: four modes, against peers that answer in all ways, over all that TLS can be over (T4, 1.6).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Callbacks, Cause, Closed, Closing, Context, Event, FilterFn, Id,
    LINGER, Pinned, TimeLimit, testing::ManualBase,
};
use bufferevent_ssl::{CloseMode, Error, ErrorKind, Tls, openssl::ssl::SslVersion};
use bufferevent_sync::Mutex;
use common::{Census, NAME, Pair, VERSIONS, receive, settings};

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flavour {
    Socket,
    Tcp,
    Filter,
    Pair,
    Tls,
}

const FLAVOURS: [Flavour; 5] = [Flavour::Socket, Flavour::Tcp, Flavour::Filter, Flavour::Pair, Flavour::Tls];

impl Flavour {
    fn both(self, version: SslVersion) -> [Builder; 2] {
        let sockets = || {
            let (one, other) = UnixStream::pair().unwrap();
            [one, other].map(Bufferevent::socket)
        };
        match self {
            Self::Socket => sockets(),
            Self::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                [one, listener.accept().unwrap().0].map(Bufferevent::socket)
            }
            Self::Filter => sockets().map(|socket| socket.filter(FilterFn::new())),
            Self::Pair => Bufferevent::pair().into(),
            Self::Tls => over(sockets(), [CloseMode::Notify; 2], version),
        }
    }
}

/// TLS over both, whose handshake is over.
fn over(both: [Builder; 2], [ours, theirs]: [CloseMode; 2], version: SslVersion) -> [Builder; 2] {
    let Pair { mut client, server } = Pair::open(version);
    let _ = receive(&mut client, &mut Default::default()).unwrap();
    let [one, other] = both;
    [one.filter(Tls::new(client).close_mode(ours)), other.filter(Tls::new(server).close_mode(theirs))]
}

/// How the peer answers the end of our side.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// By its own, behind data.
    Closes(CloseMode),
    /// By a reset, as far as what carries the bytes has one.
    Aborts,
    /// Not at all.
    Nothing,
}

const ANSWERS: [Answer; 5] = [
    Answer::Closes(CloseMode::Full),
    Answer::Closes(CloseMode::Notify),
    Answer::Closes(CloseMode::Quiet),
    Answer::Aborts,
    Answer::Nothing,
];

/// How our side ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Close(CloseMode),
    Cut(CloseMode),
    Abort,
}

struct World {
    base: ManualBase,
    ours: Id,
    closed: Arc<Mutex<Option<Box<Closed>>>>,
    /// What the peer was told.
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(flavour: Flavour, version: SslVersion, mode: CloseMode, answer: Answer) -> Self {
        let theirs = if let Answer::Closes(mode) = answer { mode } else { CloseMode::default() };
        let [one, other] = over(flavour.both(version), [mode, theirs], version);
        let mut base = ManualBase::new().unwrap();
        let (closed, told) = (Arc::<Mutex<_>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (keeps, tells) = (Arc::clone(&closed), Arc::clone(&told));
        let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
            if let Event::Closed(how) = event {
                *keeps.lock() = Some(how);
            }
        });
        let ours = one.handler(handler).report_close().start(&mut base).unwrap();
        let peer = Callbacks::<Pinned>::new().on_event(move |cx: &mut Context<'_, Pinned>, event| {
            tells.lock().push(kind(&event));
            match answer {
                Answer::Closes(_) => {
                    cx.write(b"last words").unwrap();
                    cx.close();
                }
                Answer::Aborts => cx.abort(),
                Answer::Nothing => {}
            }
        });
        other.handler(peer).start(&mut base).unwrap();
        base.settle().unwrap();
        Self { base, ours, closed, told }
    }

    fn end(&mut self, end: End) {
        let ours = self.base.bufferevent(self.ours).unwrap();
        ours.write(&[7; 100_000]).unwrap();
        match end {
            End::Close(_) => ours.close(),
            End::Cut(_) => ours.close_with(Closing::CUT_SHORT),
            End::Abort => ours.abort(),
        }
        self.base.settle().unwrap();
    }
}

fn kind(event: &Event) -> String {
    match event {
        Event::Error { cause: Cause::Filter(error), .. } => {
            format!("{:?}", error.downcast_ref::<Error>().unwrap().kind())
        }
        event => format!("{event:?}"),
    }
}

fn each(mut test: impl FnMut(Flavour, SslVersion)) {
    let _census = Census::begin();
    for flavour in FLAVOURS {
        VERSIONS.into_iter().for_each(|version| test(flavour, version));
    }
}

#[test]
fn a_close_is_clean_if_the_peer_ends_as_its_mode_asks_for() {
    each(|flavour, version| {
        for mode in [CloseMode::Full, CloseMode::Notify, CloseMode::Quiet] {
            for answer in ANSWERS {
                let mut world = World::new(flavour, version, mode, answer);
                world.end(End::Close(mode));
                let about = format!("{flavour:?} {mode:?} {answer:?}");
                // Half of a pair that is aborted only unlinks the other.
                let silent =
                    answer == Answer::Nothing || answer == Answer::Aborts && flavour == Flavour::Pair;
                let waits = flavour != Flavour::Pair || mode == CloseMode::Full;
                assert_eq!(world.closed.lock().is_none(), waits && silent, "{about}");
                world.base.advance(LINGER).unwrap();
                let closed = world.closed.lock().take().expect("it has ended");
                let told = match mode {
                    CloseMode::Quiet => "Truncated",
                    _ => "Eof",
                };
                assert_eq!(world.told.lock().first().map(String::as_str), Some(told), "{about}");
                let notified = matches!(answer, Answer::Closes(CloseMode::Full | CloseMode::Notify));
                let clean = match mode {
                    CloseMode::Full => notified,
                    // Half of a pair has sent all, which is enough; else the end of what is below is.
                    _ => flavour == Flavour::Pair || matches!(answer, Answer::Closes(_)),
                };
                let is_aborted = answer == Answer::Aborts && mode != CloseMode::Full;
                if !is_aborted {
                    assert_eq!(closed.clean, clean, "{about}: {closed:?}");
                }
                assert_eq!((closed.unsent, closed.unread.len()), (0, 0), "{about}");
                if mode == CloseMode::Full && !clean {
                    let late = matches!(closed.cause, Some(Cause::TimeLimit(TimeLimit::Linger)));
                    let cut = matches!(&closed.cause, Some(Cause::Filter(error))
                        if error.downcast_ref::<Error>().unwrap().kind() == ErrorKind::Truncated);
                    let reset = matches!(closed.cause, Some(Cause::Io(_)));
                    let expected = if silent { late } else { cut || reset && answer == Answer::Aborts };
                    assert!(expected, "{about}: {closed:?}");
                }
            }
        }
    });
}

#[test]
fn an_abort_and_a_cut_are_truncation_to_the_peer_at_once() {
    each(|flavour, version| {
        for end in [End::Cut(CloseMode::Full), End::Cut(CloseMode::Notify), End::Abort] {
            let mode = if let End::Cut(mode) = end { mode } else { CloseMode::default() };
            let mut world = World::new(flavour, version, mode, Answer::Nothing);
            world.end(end);
            let told = world.told.lock().clone();
            // D9: an abort of half of a pair tells nothing
            if end != End::Abort {
                assert_eq!(told, ["Truncated"], "{flavour:?} {end:?}");
            } else if flavour != Flavour::Pair {
                assert_eq!(told.len(), 1, "{flavour:?} {end:?}");
                assert_ne!(told, ["Eof"]);
            }
            world.base.advance(LINGER).unwrap();
            let closed = world.closed.lock().take().expect("it has ended");
            assert!(!closed.clean && closed.cause.is_none(), "{closed:?}");
            assert_eq!(closed.unsent, if end == End::Abort { 100_000 } else { 0 });
        }
    });
}

#[test]
fn both_may_wait_for_each_other_at_once() {
    // With more outstanding than what carries it holds, each way.
    each(|flavour, version| {
        let [one, other] = over(flavour.both(version), [CloseMode::Full; 2], version);
        let mut base = ManualBase::new().unwrap();
        let clean: Arc<Mutex<Vec<(bool, usize)>>> = Arc::default();
        let ids = [one, other].map(|builder| {
            let clean = Arc::clone(&clean);
            let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
                if let Event::Closed(closed) = event {
                    clean.lock().push((closed.clean, closed.unsent));
                }
            });
            builder.handler(handler).report_close().start(&mut base).unwrap()
        });
        for id in ids {
            let one = base.bufferevent(id).unwrap();
            one.write(&[7; 1_000_000]).unwrap();
            one.close_with(Closing { linger_bytes: 2_000_000, ..Closing::default() });
        }
        base.settle().unwrap();
        assert_eq!(*clean.lock(), [(true, 0); 2], "{flavour:?}");
    });
}

#[test]
fn a_close_after_a_truncation_that_was_told_is_not_clean() {
    each(|flavour, version| {
        for mode in [CloseMode::Full, CloseMode::Notify, CloseMode::Quiet] {
            let [one, other] = over(flavour.both(version), [mode, CloseMode::Quiet], version);
            let mut base = ManualBase::new().unwrap();
            let (closed, told) = (Arc::<Mutex<_>>::default(), Arc::<Mutex<Vec<String>>>::default());
            let (keeps, tells) = (Arc::clone(&closed), Arc::clone(&told));
            let handler = Callbacks::<Pinned>::new().on_event(move |cx: &mut Context<'_, Pinned>, event| {
                tells.lock().push(kind(&event));
                match event {
                    Event::Closed(how) => *keeps.lock() = Some(how),
                    _ => cx.close(),
                }
            });
            one.handler(handler).report_close().start(&mut base).unwrap();
            let other = other.start(&mut base).unwrap();
            base.bufferevent(other).unwrap().close();
            base.settle().unwrap();
            base.advance(LINGER).unwrap();
            assert_eq!(told.lock()[0], "Truncated");
            let closed = closed.lock().take().expect("it has ended");
            assert!(!closed.clean, "{flavour:?} {mode:?}: {closed:?}");
        }
    });
}

#[test]
fn sessions_stay_good_however_a_connection_is_closed() {
    // T4
    let _census = Census::begin();
    for version in VERSIONS {
        for end in [
            End::Close(CloseMode::Full),
            End::Close(CloseMode::Notify),
            End::Close(CloseMode::Quiet),
            End::Cut(CloseMode::Notify),
            End::Abort,
        ] {
            let (server, client) = settings(version);
            let (acceptor, connector) = (server.build().unwrap(), client.build().unwrap());
            for again in [false, true] {
                let mut base = ManualBase::new().unwrap();
                let mode =
                    if let End::Close(mode) | End::Cut(mode) = end { mode } else { CloseMode::default() };
                let [one, other] = Flavour::Socket.both(version);
                let server = one.filter(acceptor.accept()).start(&mut base).unwrap();
                let client = connector.connect(NAME).unwrap().close_mode(mode);
                let client = other.filter(client).start(&mut base).unwrap();
                // Tickets come with what is received.
                base.bufferevent(server).unwrap().write(b"hello").unwrap();
                base.settle().unwrap();
                let ours = base.bufferevent(client).unwrap();
                let reused = ours.filter_mut::<Tls>().unwrap().ssl().unwrap().session_reused();
                assert_eq!(reused, again, "{end:?}");
                match end {
                    End::Close(_) => ours.close(),
                    End::Cut(_) => ours.close_with(Closing::CUT_SHORT),
                    End::Abort => ours.abort(),
                }
                base.settle().unwrap();
                base.bufferevent(server).unwrap().close();
                base.settle().unwrap();
            }
        }
    }
}

#[test]
fn whether_an_end_without_notice_is_allowed_may_change_while_it_is_in_use() {
    // T-17: `bufferevent_ssl_set_allow_dirty_shutdown`
    each(|flavour, version| {
        for allowed in [false, true] {
            let [one, other] = over(flavour.both(version), [CloseMode::default(), CloseMode::Quiet], version);
            let mut base = ManualBase::new().unwrap();
            let told: Arc<Mutex<Vec<String>>> = Arc::default();
            let tells = Arc::clone(&told);
            let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
                tells.lock().push(kind(&event));
            });
            let ours = one.handler(handler).start(&mut base).unwrap();
            let other = other.start(&mut base).unwrap();
            let tls = base.bufferevent(ours).unwrap().filter_mut::<Tls>().unwrap();
            assert!(!tls.dirty_shutdown());
            tls.set_dirty_shutdown(allowed);
            assert_eq!(tls.dirty_shutdown(), allowed);
            base.bufferevent(other).unwrap().close();
            base.settle().unwrap();
            assert_eq!(*told.lock(), [if allowed { "Eof" } else { "Truncated" }], "{flavour:?}");
        }
    });
}

#[test]
fn a_close_in_the_middle_of_a_handshake_waits_for_nothing_that_cannot_come() {
    // Of the one above, or of the one below it, by either side.
    each(|flavour, version| {
        let (server, client) = settings(version);
        let (acceptor, connector) = (server.build().unwrap(), client.build().unwrap());
        let full = CloseMode::Full;
        for (who, turns) in [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)] {
            let below = || {
                let [one, other] = flavour.both(version);
                [one.filter(acceptor.accept()), other.filter(connector.connect(NAME).unwrap())]
            };
            let [one, other] = below();
            let mut base = ManualBase::new().unwrap();
            let ids = [
                one.filter(acceptor.accept().close_mode(full)).start(&mut base).unwrap(),
                other.filter(connector.connect(NAME).unwrap().close_mode(full)).start(&mut base).unwrap(),
            ];
            for _ in 0..turns {
                let _ = base.turn(Some(Duration::ZERO)).unwrap();
            }
            base.bufferevent(ids[who]).unwrap().close();
            base.advance(LINGER).unwrap();
            base.advance(LINGER).unwrap();
            assert!(base.bufferevent(ids[who]).is_err(), "{flavour:?} {who} {turns}");
            // The other one is told, but where half of a pair was only unlinked.
            if let Ok(one) = base.bufferevent(ids[1 - who]) {
                one.abort();
            }
            base.settle().unwrap();
        }
    });
}
