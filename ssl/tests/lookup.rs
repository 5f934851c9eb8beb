//! A server that looks up elsewhere who it is, and answers later: its handshake waits, and nothing else does (1.2).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{os::unix::net::UnixStream, sync::Arc, task::Waker, thread, time::Duration};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Builder, Context, Event, HANDSHAKE_TIMEOUT, Handler, HandlerAffinity,
    Interest, Pinned, Turned, testing::ManualBase,
};
use bufferevent_ssl::{
    Acceptor, AcceptorBuilder, Answer, Connector, ErrorKind, Evbuffer, HANDSHAKE_BYTES, Identity, Progress,
    Tls,
    openssl::ssl::{SslAlert, SslVersion},
};
use bufferevent_sync::Mutex;
use common::{Census, NAME, Pair, VERSIONS, receive};

/// What is asked, and not answered yet.
#[derive(Clone, Default)]
struct Questions(Arc<Mutex<Vec<Question>>>);

type Question = (Option<String>, Answer);

impl Questions {
    fn put_by(&self, builder: AcceptorBuilder) -> AcceptorBuilder {
        let questions = self.0.clone();
        builder.lookup(move |name, answer| questions.lock().push((name.map(str::to_owned), answer)))
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// The oldest.
    fn take(&self) -> Answer {
        self.0.lock().remove(0).1
    }

    fn names(&self) -> Vec<Option<String>> {
        self.0.lock().iter().map(|(name, _)| name.clone()).collect()
    }
}

/// A certificate, a client that trusts it, and a server that has none and asks.
fn asking(version: SslVersion) -> (Identity, Acceptor, Connector, Questions) {
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let roots = identity.certificate_pem().unwrap();
    let connector = Connector::builder().roots_pem(&roots).unwrap().versions(version, Some(version));
    let questions = Questions::default();
    let acceptor = questions.put_by(Acceptor::builder()).versions(version, Some(version)).build().unwrap();
    (identity, acceptor, connector.build().unwrap(), questions)
}

/// Both sides up to where the server waits.
fn waiting(acceptor: &Acceptor, connector: &Connector) -> Pair {
    let mut pair = Pair::of(acceptor, connector);
    assert_eq!(pair.client.handshake().unwrap(), Progress::Pending);
    pair.reach_server();
    assert_eq!(pair.server.handshake().unwrap(), Progress::Waiting);
    pair
}

#[test]
fn a_handshake_waits_for_the_answer_and_goes_on_with_it() {
    let _census = Census::begin();
    for version in VERSIONS {
        let (identity, acceptor, connector, questions) = asking(version);
        let mut pair = waiting(&acceptor, &connector);
        for _ in 0..3 {
            assert_eq!(pair.server.handshake().unwrap(), Progress::Waiting);
        }
        assert_eq!(questions.names(), [Some(NAME.to_owned())], "asked once");
        let answer = questions.take();
        assert!(answer.is_wanted());
        thread::spawn(move || answer.give(identity)).join().unwrap();
        pair.shake().unwrap();
        // A session that is resumed needs no certificate.
        let _ = receive(&mut pair.client, &mut Evbuffer::new()).unwrap();
        let mut again = Pair::of(&acceptor, &connector);
        again.shake().unwrap();
        assert!(again.server.ssl().unwrap().session_reused());
        assert_eq!(questions.len(), 0);
    }
}

#[test]
fn an_answer_that_is_there_at_once_is_taken_at_once() {
    let _census = Census::begin();
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let roots = identity.certificate_pem().unwrap();
    let connector = Connector::builder().roots_pem(&roots).unwrap().build().unwrap();
    let acceptor =
        Acceptor::builder().lookup(move |_, answer| answer.give(identity.clone())).build().unwrap();
    Pair::of(&acceptor, &connector).shake().unwrap();
}

#[test]
fn names_that_are_known_are_not_asked_for_and_the_rest_may_have_that_of_all() {
    let _census = Census::begin();
    let [all, known] = [NAME, "known.example"].map(|name| Identity::self_signed(&[name]).unwrap());
    let roots = [all.certificate_pem().unwrap(), known.certificate_pem().unwrap()].concat();
    let connector = Connector::builder().roots_pem(&roots).unwrap().build().unwrap();
    let builder = Acceptor::builder().identity(all).identity_for("known.example", known);
    let acceptor = builder.lookup(|_, answer| answer.give_default()).build().unwrap();
    for name in [NAME, "known.example"] {
        let mut pair = Pair::of(&acceptor, &connector);
        pair.client = connector.engine(name).unwrap();
        pair.shake().unwrap();
    }
}

#[test]
fn who_is_refused_learns_why() {
    let _census = Census::begin();
    type Refuse = fn(Answer);
    let refusals: [(Refuse, &str); 3] = [
        (|answer| answer.refuse("there is no such server"), "there is no such server"),
        (drop, "the application gave no answer"),
        (Answer::give_default, "there is no certificate for all"),
    ];
    for version in VERSIONS {
        for (refuse, says) in refusals {
            let (_, acceptor, connector, questions) = asking(version);
            let mut pair = waiting(&acceptor, &connector);
            refuse(questions.take());
            let error = pair.server.handshake().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoIdentity);
            assert!(error.to_string().contains(says), "{error}");
            pair.reach_client();
            // RFC 6066, 3
            assert_eq!(pair.client.handshake().unwrap_err().alert(), Some(SslAlert::UNRECOGNIZED_NAME));
            assert_eq!(pair.server.handshake().unwrap_err().kind(), ErrorKind::Broken);
        }
    }
}

#[test]
fn who_asked_for_no_name_and_is_refused_is_denied() {
    let _census = Census::begin();
    let (_, acceptor, connector, questions) = asking(SslVersion::TLS1_3);
    let mut pair = Pair { client: connector.engine("127.0.0.1").unwrap(), server: acceptor.engine() };
    assert_eq!(pair.client.handshake().unwrap(), Progress::Pending);
    pair.reach_server();
    assert_eq!(pair.server.handshake().unwrap(), Progress::Waiting);
    assert_eq!(questions.names(), [None]);
    questions.take().refuse("not here");
    assert_eq!(pair.server.handshake().unwrap_err().kind(), ErrorKind::NoIdentity);
    pair.reach_client();
    assert_eq!(pair.client.handshake().unwrap_err().alert(), Some(SslAlert::ACCESS_DENIED));
}

#[test]
fn a_panic_of_who_is_asked_fails_that_handshake_alone() {
    let _census = Census::begin();
    // T8
    let acceptor = Acceptor::builder().lookup(|_, _| panic!("on purpose")).build().unwrap();
    let (_, _, connector, _) = asking(SslVersion::TLS1_3);
    let error = Pair::of(&acceptor, &connector).shake().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.to_string().contains("on purpose"));
}

#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let _census = Census::begin();
    for restart in [false, true] {
        let (identity, acceptor, connector, questions) = asking(SslVersion::TLS1_3);
        let mut pair = waiting(&acceptor, &connector);
        let late = questions.take();
        if restart {
            // The next connection has a question of its own.
            pair.server.restart();
            pair.client.restart();
        } else {
            pair = waiting(&acceptor, &connector);
        }
        assert!(!late.is_wanted());
        late.refuse("too late");
        if restart {
            assert_eq!(pair.client.handshake().unwrap(), Progress::Pending);
            pair.reach_server();
            assert_eq!(pair.server.handshake().unwrap(), Progress::Waiting);
        }
        questions.take().give(identity);
        pair.shake().unwrap();
    }
}

#[test]
fn what_arrives_meanwhile_is_bounded() {
    let _census = Census::begin();
    // 1.2: no more is kept before the handshake is over than may be taken for it.
    let (_, acceptor, connector, _questions) = asking(SslVersion::TLS1_3);
    let mut pair = waiting(&acceptor, &connector);
    let mut sent = 0;
    let error = loop {
        pair.server.arrived().add(&[23; 1_000]).unwrap();
        sent += 1_000;
        match pair.server.handshake() {
            Ok(progress) => assert_eq!(progress, Progress::Waiting),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Flood);
    assert!(sent <= HANDSHAKE_BYTES + 1_000);
}

#[test]
fn a_server_needs_a_certificate_or_somebody_to_ask() {
    let _census = Census::begin();
    assert_eq!(Acceptor::builder().build().unwrap_err().kind(), ErrorKind::Configuration);
    let chosen = Acceptor::builder().choose_identity(|_| None).build();
    assert_eq!(chosen.unwrap_err().kind(), ErrorKind::Configuration);
}

// ---- over bufferevents ----

/// What TLS is over, and whether it has a strand of its own.
#[derive(Clone, Copy)]
enum Over {
    Socket,
    Pair,
    Filter,
    Tls,
}

impl Over {
    const ALL: [Self; 4] = [Self::Socket, Self::Pair, Self::Filter, Self::Tls];

    fn ends(self) -> (Builder, Builder) {
        match self {
            Self::Socket => {
                let (one, other) = UnixStream::pair().unwrap();
                (Bufferevent::socket(one), Bufferevent::socket(other))
            }
            Self::Pair => Bufferevent::pair(),
            Self::Filter => {
                let (one, other) = Self::Socket.ends();
                (one.filter(bufferevent::FilterFn::new()), other)
            }
            Self::Tls => {
                let (one, other) = Self::Socket.ends();
                let Pair { server, client } = Pair::new(SslVersion::TLS1_3);
                (one.filter(Tls::new(server)), other.filter(Tls::new(client)))
            }
        }
    }
}

/// What is told of one side, or of both.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl<A: HandlerAffinity> Handler<A> for Told {
    fn on_event(&mut self, _: &mut Context<'_, A>, event: Event) {
        self.0.lock().push(format!("{event:?}"));
    }
}

impl Told {
    fn so_far(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[test]
fn a_bufferevent_waits_and_connects_when_the_answer_comes_from_another_thread() {
    let _census = Census::begin();
    for over in Over::ALL {
        for threadsafe in [false, true] {
            let (identity, acceptor, connector, questions) = asking(SslVersion::TLS1_3);
            let mut base = ManualBase::new().unwrap();
            let (one, other) = over.ends();
            let told = Told::default();
            let server = one.filter(acceptor.accept());
            let configure = |one: &mut Bufferevent| {
                one.enable(Interest::BOTH);
                one.write(b"written before").unwrap();
            };
            let server = server.configure(configure).handler(told.clone());
            if threadsafe {
                server.threadsafe().start(&mut base).unwrap();
            } else {
                server.start(&mut base).unwrap();
            }
            let client = other.filter(connector.connect(NAME).unwrap());
            let client = client.handler(told.clone()).configure(|one| one.enable(Interest::BOTH));
            let client = client.start(&mut base).unwrap();
            base.settle().unwrap();
            assert_eq!((told.len(), questions.len()), (0, 1));
            let answer = questions.take();
            thread::spawn(move || answer.give(identity)).join().unwrap();
            base.settle().unwrap();
            assert_eq!(told.so_far(), ["Connected", "Connected"]);
            assert_eq!(*base.bufferevent(client).unwrap().input(), b"written before");
        }
    }
}

#[test]
fn the_deadline_holds_and_a_late_answer_changes_nothing() {
    let _census = Census::begin();
    let (identity, acceptor, connector, questions) = asking(SslVersion::TLS1_3);
    let mut base = ManualBase::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let (server, client) = (Told::default(), Told::default());
    let start = |builder: Builder, told: &Told, base: &mut ManualBase| {
        builder.handler(told.clone()).configure(|one| one.enable(Interest::BOTH)).start(base).unwrap()
    };
    start(Bufferevent::socket(one).filter(acceptor.accept()), &server, &mut base);
    let patient = connector.connect(NAME).unwrap().handshake_timeout(None);
    start(Bufferevent::socket(other).filter(patient), &client, &mut base);
    base.advance(HANDSHAKE_TIMEOUT - Duration::from_millis(1)).unwrap();
    assert!(server.len() == 0);
    base.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(server.len(), 1);
    questions.take().give(identity);
    base.settle().unwrap();
    assert_eq!((server.len(), client.len()), (1, 0));
}

#[test]
fn a_peer_that_leaves_meanwhile_is_told() {
    let _census = Census::begin();
    let (_, acceptor, connector, questions) = asking(SslVersion::TLS1_3);
    let mut base = ManualBase::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let told = Told::default();
    let server = Bufferevent::socket(one).filter(acceptor.accept());
    server.handler(told.clone()).start(&mut base).unwrap();
    let client = Bufferevent::socket(other).filter(connector.connect(NAME).unwrap());
    let client = client.start(&mut base).unwrap();
    base.settle().unwrap();
    base.bufferevent(client).unwrap().abort();
    base.settle().unwrap();
    assert!(told.so_far()[0].contains("Error"), "{:?}", told.so_far());
    drop(questions.take());
    base.settle().unwrap();
    assert_eq!(told.len(), 1);
}

fn turn(base: &mut Base<Pinned>) {
    while base.turn(Some(Duration::ZERO)).unwrap() == Turned::Ran {}
}

#[test]
fn an_answer_finds_a_connection_that_has_moved_and_nothing_where_it_was_closed() {
    let _census = Census::begin();
    for closed in [false, true] {
        let (identity, acceptor, connector, questions) = asking(SslVersion::TLS1_3);
        let (mut here, mut there) = (Base::<Pinned>::new().unwrap(), Base::<Pinned>::new().unwrap());
        let (one, other) = UnixStream::pair().unwrap();
        let told = Told::default();
        let server = Bufferevent::socket(one).filter(acceptor.accept()).threadsafe();
        let server = server.start(&mut here).unwrap();
        let client = Bufferevent::socket(other).filter(connector.connect(NAME).unwrap());
        client.handler(told.clone()).start(&mut there).unwrap();
        while questions.len() == 0 {
            turn(&mut there);
            turn(&mut here);
        }
        let answer = questions.take();
        if closed {
            server.abort();
            turn(&mut here);
            assert!(!answer.is_wanted());
        } else {
            server.lock().unwrap().set_base(&there.handle().as_movable()).unwrap();
        }
        drop(here);
        answer.give(identity);
        while told.len() == 0 {
            turn(&mut there);
        }
        assert_eq!(told.so_far() == ["Connected"], !closed, "{:?}", told.so_far());
        server.abort();
        turn(&mut there);
    }
}

#[test]
fn an_engine_wakes_whoever_drives_it_at_once_if_there_is_nothing_to_wait_for() {
    let _census = Census::begin();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let (identity, acceptor, connector, questions) = asking(SslVersion::TLS1_3);
    acceptor.engine().wake_when_answered(&waker);
    assert_eq!(woken.count(), 1);
    let pair = waiting(&acceptor, &connector);
    pair.server.wake_when_answered(&waker);
    assert_eq!(woken.count(), 1);
    questions.take().give(identity);
    assert_eq!(woken.count(), 2);
    pair.server.wake_when_answered(&waker);
    assert_eq!(woken.count(), 3, "it is there");
}

#[derive(Default)]
struct Woken(Mutex<usize>);

impl Woken {
    fn count(&self) -> usize {
        *self.0.lock()
    }
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock() += 1;
    }
}
