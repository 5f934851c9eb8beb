//! TLS bufferevents where two things meet: a flush and a session, another connection and what waits for the one before, an engine
//! from elsewhere and what it holds, bounds smaller than a record.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    cell::RefCell,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::Duration,
};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Callbacks, Context, Direction, Evbuffer, Event, FlushMode,
    HANDSHAKE_TIMEOUT, Id, Interest, Pinned, Trigger,
    runtime::Time,
    testing::{Census, ManualBase},
};
use bufferevent_ssl::{
    Acceptor, Connector, DangerousConnector, Defaults, Engine, Identity, Progress, RECORDS_PER_CALL, Tls,
    openssl::ssl::{SslAcceptor, SslConnector, SslMethod, SslVersion},
};
use bufferevent_sync::Mutex;

const NAME: &str = "example.org";

struct World {
    acceptor: Acceptor,
    connector: Connector,
    base: ManualBase,
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let identity = Identity::self_signed(&[NAME]).unwrap();
        let roots = identity.certificate_pem().unwrap();
        let connector = Connector::builder().roots_pem(&roots).unwrap().build().unwrap();
        let acceptor = Acceptor::builder().identity(identity).build().unwrap();
        Self { acceptor, connector, base: ManualBase::new().unwrap(), told: Arc::default() }
    }

    /// Starts one whose input is read by the test.
    fn start(&mut self, builder: Builder) -> Id {
        let told = Arc::clone(&self.told);
        let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
            told.lock().push(format!("{event:?}"));
        });
        let builder = builder.handler(handler).configure(|one| one.enable(Interest::BOTH));
        builder.start(&mut self.base).unwrap()
    }

    fn server(&mut self, socket: UnixStream) -> Id {
        let tls = self.acceptor.accept();
        self.start(Bufferevent::socket(socket).filter(tls))
    }

    fn client(&mut self, socket: UnixStream) -> Id {
        let tls = self.connector.connect(NAME).unwrap();
        self.start(Bufferevent::socket(socket).filter(tls))
    }

    fn at(&mut self, id: Id) -> &mut Bufferevent {
        self.base.bufferevent(id).unwrap()
    }

    fn write(&mut self, id: Id, data: &[u8]) {
        self.at(id).write(data).unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        self.base.settle().unwrap();
    }

    fn heard(&mut self, id: Id) -> Vec<u8> {
        let input = self.at(id).input();
        let len = input.len();
        input.take_bytes(len).unwrap().to_vec()
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().drain(..).collect()
    }
}

#[test]
fn a_handshake_takes_no_longer_than_the_defaults_say() {
    // T-09, F38: from when the connection stands, whatever the peer sends meanwhile; by default, and as it was set
    let _census = Census::begin();
    assert!(Defaults.to_string().contains(&format!("{HANDSHAKE_TIMEOUT:?}")));
    let (set, just) = (Duration::from_secs(3), Duration::from_millis(1));
    for (timeout, after) in [(None, HANDSHAKE_TIMEOUT), (Some(Some(set)), set)] {
        for is_server in [false, true] {
            let mut world = World::new();
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let tls =
                if is_server { world.acceptor.accept() } else { world.connector.connect(NAME).unwrap() };
            let tls = if let Some(after) = timeout { tls.handshake_timeout(after) } else { tls };
            world.start(Bufferevent::socket(ours).filter(tls));
            world.settle();
            for _ in 0..4 {
                // Part of a record that is never whole.
                peer.write_all(&[22]).unwrap();
                world.base.advance((after - just) / 4).unwrap();
            }
            assert_eq!(world.told(), Vec::<String>::new());
            world.base.advance(2 * just).unwrap();
            let told = world.told();
            assert!(told.len() == 1 && told[0].contains("TimeLimit(Handshake)"), "{told:?}");
        }
    }
}

#[test]
fn a_flush_ends_no_session() {
    // T-25, C-32, X-57: also one that says that nothing follows
    let _census = Census::begin();
    let mut world = World::new();
    let (one, other) = UnixStream::pair().unwrap();
    let (server, client) = (world.server(one), world.client(other));
    world.settle();
    for id in [server, client] {
        for mode in [FlushMode::Normal, FlushMode::Flush, FlushMode::Finished] {
            world.at(id).write(b"a").unwrap();
            world.at(id).flush(Interest::BOTH, mode).unwrap();
            world.settle();
        }
    }
    world.write(server, b"b");
    world.write(client, b"b");
    assert_eq!((world.heard(server), world.heard(client)), (b"aaab".to_vec(), b"aaab".to_vec()));
    assert_eq!(world.told(), ["Connected", "Connected"]);
}

#[test]
fn another_connection_begins_without_what_waited_for_the_one_before() {
    // T-24
    let _census = Census::begin();
    let mut world = World::new();
    let (silent, first) = UnixStream::pair().unwrap();
    let (one, second) = UnixStream::pair().unwrap();
    let silent = world.server(silent);
    let client = world.client(first);
    world.settle();
    world.at(silent).disable(Interest::READ);
    world.write(client, &[7; 2_000_000]);
    assert!(!world.at(client).underlying_mut().unwrap().output().is_empty(), "records wait");
    let server = world.server(one);
    drop(world.at(client).set_fd(second).unwrap());
    world.settle();
    assert_eq!(world.told(), ["Connected", "Connected", "Connected", "Connected", "Drained"]);
    world.write(client, b"again");
    assert!(world.heard(server).ends_with(b"again"));
}

#[test]
fn another_connection_begins_without_what_a_peer_sent_that_speaks_no_tls() {
    // T-24, T-08
    let _census = Census::begin();
    let mut world = World::new();
    let (mut talker, first) = UnixStream::pair().unwrap();
    let client = world.client(first);
    talker.write_all(&[b'x'; 1_000]).unwrap();
    world.settle();
    assert!(world.told()[0].starts_with("Error"));
    let (one, second) = UnixStream::pair().unwrap();
    let server = world.server(one);
    drop(world.at(client).set_fd(second).unwrap());
    world.at(client).enable(Interest::BOTH);
    world.write(client, b"again");
    assert_eq!(world.told(), ["Connected", "Connected"]);
    assert_eq!(world.heard(server), b"again");
}

fn carry(from: &mut Engine, to: &mut Engine) {
    to.arrived().append(from.to_send()).unwrap();
}

#[test]
fn an_engine_from_elsewhere_gives_what_it_holds() {
    // T-03, D19: data that has arrived, data inside OpenSSL, and what is to be sent
    let _census = Census::begin();
    let mut world = World::new();
    let (mut server, mut client) = (world.acceptor.engine(), world.connector.engine(NAME).unwrap());
    let _ = client.handshake().unwrap();
    carry(&mut client, &mut server);
    let _ = server.handshake().unwrap();
    carry(&mut server, &mut client);
    assert_eq!(client.handshake().unwrap(), Progress::Done);
    carry(&mut client, &mut server);
    assert_eq!(server.handshake().unwrap(), Progress::Done);
    client.send(&mut Evbuffer::from(b"one, two"), usize::MAX).unwrap();
    client.send(&mut Evbuffer::from(b" and three"), usize::MAX).unwrap();
    carry(&mut client, &mut server);
    let mut begun = Evbuffer::new();
    let _ = server.receive(&mut begun, 3, Time::ZERO).unwrap();
    assert_eq!(begun, b"one");
    server.send(&mut Evbuffer::from(b"hello"), usize::MAX).unwrap();

    let (one, other) = UnixStream::pair().unwrap();
    let server = world.start(Bufferevent::socket(one).filter(Tls::new(server)));
    let client = world.start(Bufferevent::socket(other).filter(Tls::new(client)));
    world.settle();
    assert_eq!(world.heard(server), b", two and three");
    assert_eq!(world.heard(client), b"hello");
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn an_engine_from_elsewhere_gives_more_records_than_one_call_takes() {
    // T-03, D19: no byte arrives any more that would tell of them
    let _census = Census::begin();
    let mut world = World::new();
    let (mut server, mut client) = (world.acceptor.engine(), world.connector.engine(NAME).unwrap());
    while client.handshake().unwrap() == Progress::Pending || server.handshake().unwrap() == Progress::Pending
    {
        carry(&mut client, &mut server);
        let _ = server.handshake().unwrap();
        carry(&mut server, &mut client);
    }
    let count = 3 * RECORDS_PER_CALL;
    for _ in 0..count {
        client.send(&mut Evbuffer::from(b"x"), usize::MAX).unwrap();
    }
    carry(&mut client, &mut server);

    let (one, _other) = UnixStream::pair().unwrap();
    let server = world.start(Bufferevent::socket(one).filter(Tls::new(server)));
    world.settle();
    assert_eq!(world.heard(server).len(), count);
}

#[test]
fn a_handshake_is_made_through_a_buffer_smaller_than_its_messages() {
    // F-11, T-07
    let _census = Census::begin();
    let mut world = World::new();
    let (one, other) = UnixStream::pair().unwrap();
    let (server, client) = (world.server(one), world.client(other));
    for id in [server, client] {
        world.at(id).underlying_mut().unwrap().set_output_cap(Some(100));
    }
    world.settle();
    assert_eq!(world.told(), ["Connected", "Connected"]);
    world.write(client, &[1; 5_000]);
    assert_eq!(world.heard(server).len(), 5_000);
}

/// A server and a client, each on a base of its own, with contexts that let them shake hands again.
fn who_may_shake_hands_again() -> [(World, Id); 2] {
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let version = Some(SslVersion::TLS1_2);
    let mut server = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    server.set_certificate(identity.certificate()).unwrap();
    server.set_private_key(identity.key()).unwrap();
    server.set_max_proto_version(version).unwrap();
    let server = Acceptor::from_context(server.build().into_context()).accept();
    let client = SslConnector::builder(SslMethod::tls_client()).unwrap().build().into_context();
    let client = DangerousConnector::new(Connector::from_context(client)).connect(None).unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    [(one, server), (other, client)].map(|(socket, tls)| {
        let mut world = World::new();
        let id = world.start(Bufferevent::socket(socket).filter(tls));
        (world, id)
    })
}

#[test]
fn who_writes_during_another_handshake_waits_for_it() {
    // T-12, T-13, T-21
    let _census = Census::begin();
    let mut both = who_may_shake_hands_again();
    let settle = |both: &mut [(World, Id); 2]| {
        for _ in 0..5 {
            both.iter_mut().for_each(|(world, _)| world.settle());
        }
    };
    settle(&mut both);
    let [(server, server_id), (client, client_id)] = &mut both;
    server.at(*server_id).filter_mut::<Tls>().unwrap().engine().unwrap().renegotiate().unwrap();
    server.write(*server_id, b"from before");
    client.settle();
    client.write(*client_id, b"and during");
    settle(&mut both);
    let [(server, server_id), (client, client_id)] = &mut both;
    assert_eq!(server.heard(*server_id), b"and during");
    assert_eq!(client.heard(*client_id), b"from before");
}

/// A client and a server whose handshake is over.
fn open(world: &World) -> (Engine, Engine) {
    let (mut client, mut server) = (world.connector.engine(NAME).unwrap(), world.acceptor.engine());
    while client.handshake().unwrap() != Progress::Done || server.handshake().unwrap() != Progress::Done {
        carry(&mut client, &mut server);
        let _ = server.handshake().unwrap();
        carry(&mut server, &mut client);
    }
    (client, server)
}

#[test]
fn a_change_of_keys_asked_for_in_a_callback_goes_at_once() {
    // T-21
    let _census = Census::begin();
    let mut world = World::new();
    let (client, mut server) = open(&world);
    let (socket, mut peer) = UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    let asks = Callbacks::<Pinned>::new().on_event(|cx: &mut Context<'_, Pinned>, event| {
        assert!(matches!(event, Event::User(1)), "{event:?}");
        cx.filter_mut::<Tls>().unwrap().engine().unwrap().update_key(true).unwrap();
    });
    let builder = Bufferevent::socket(socket).filter(Tls::new(client)).handler(asks);
    let id = builder.start(&mut world.base).unwrap();
    world.settle();
    let mut sent = [0; 1_000];
    assert!(peer.read(&mut sent).is_err(), "nothing yet");
    world.at(id).trigger_event(1, Trigger::PLAIN);
    world.settle();
    let n = peer.read(&mut sent).unwrap();
    server.arrived().add(&sent[..n]).unwrap();
    let _ = server.receive(&mut Evbuffer::new(), 100, Time::ZERO).unwrap();
    server.send(&mut Evbuffer::from(b"x"), 100).unwrap();
    assert_eq!(
        server.to_send().len(),
        27 + 23,
        "it was asked to change its own, and says so before a byte of data"
    );
}

#[test]
fn who_has_ended_its_side_hears_a_peer_that_asks_for_other_keys_to_the_end() {
    // T-21: the answer would come behind our end
    let _census = Census::begin();
    let mut world = World::new();
    let (one, other) = UnixStream::pair().unwrap();
    let (server, client) = (world.server(one), world.client(other));
    world.settle();
    world.at(client).shutdown(Direction::Write).unwrap();
    world.settle();
    assert_eq!(world.told(), ["Connected", "Connected", "Eof"]);
    for _ in 0..2 {
        world.at(server).filter_mut::<Tls>().unwrap().engine().unwrap().update_key(true).unwrap();
        world.write(server, b"an answer, ");
    }
    world.at(server).shutdown(Direction::Write).unwrap();
    world.settle();
    assert_eq!(world.heard(client), b"an answer, an answer, ");
    assert_eq!(world.told(), ["Eof"]);
}

#[test]
fn a_connection_that_the_end_of_its_thread_closes_tells_its_end() {
    // A thread drops first what came last: of what it keeps for TLS nothing is left by then.
    thread_local!(static WORLD: RefCell<Option<World>> = const { RefCell::new(None) });
    let _census = Census::begin();
    let talk = || {
        WORLD.set(Some(World::new()));
        WORLD.with_borrow_mut(|world| {
            let world = world.as_mut().unwrap();
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let (id, mut client) = (world.server(ours), world.connector.engine(NAME).unwrap());
            while client.handshake().unwrap() == Progress::Pending {
                client.to_send().write_to(&mut peer, usize::MAX).unwrap();
                world.settle();
                client.arrived().read_from(&mut peer, usize::MAX).unwrap();
            }
            client.to_send().write_to(&mut peer, usize::MAX).unwrap();
            world.settle();
            world.at(id).write(b"last words").unwrap();
            (client, peer)
        })
    };
    let (mut client, mut peer) = thread::spawn(talk).join().unwrap();
    while client.arrived().read_from(&mut peer, usize::MAX).unwrap() > 0 {}
    let mut into = Evbuffer::new();
    let received = client.receive(&mut into, usize::MAX, Time::ZERO).unwrap();
    assert_eq!(into, b"last words");
    assert!(received.ended);
}
