//! libevent's own tests of TLS, by their names, over flavours, states, options and versions: two players count to a thousand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Cause, Context, Event, FilterFn, Handler, HandlerAffinity, Id,
    Interest, Runtime,
    evbuffer::Eol,
    testing::{Census, ManualBase, Wire},
};
use bufferevent_ssl::{
    Acceptor, Connector, Engine, Error, Identity, Progress, Tls, openssl::ssl::SslVersion,
};
use bufferevent_sync::Mutex;

/// Where the game ends, as there.
const LAST: u32 = 1_001;
const NAME: &str = "example.org";

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flavour {
    Socket,
    /// Over a filter over a socket.
    Filter,
    /// Over half of a pair.
    Pair,
    /// Over TLS.
    Tls,
}

const FLAVOURS: [Flavour; 4] = [Flavour::Socket, Flavour::Filter, Flavour::Pair, Flavour::Tls];
const VERSIONS: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

/// A server and a client that trusts it.
struct Sides {
    acceptor: Acceptor,
    connector: Connector,
}

impl Sides {
    fn new(version: SslVersion) -> Self {
        let identity = Identity::self_signed(&[NAME]).unwrap();
        let roots = identity.certificate_pem().unwrap();
        let connector = Connector::builder().versions(version, Some(version)).roots_pem(&roots).unwrap();
        let acceptor = Acceptor::builder().versions(version, Some(version)).identity(identity);
        Self { acceptor: acceptor.build().unwrap(), connector: connector.build().unwrap() }
    }

    fn engines(&self) -> [Engine; 2] {
        [self.acceptor.engine(), self.connector.engine(NAME).unwrap()]
    }

    /// Engines whose handshake is over.
    fn open(&self) -> [Engine; 2] {
        let [mut server, mut client] = self.engines();
        let mut rounds = 0;
        while client.handshake().unwrap() == Progress::Pending
            || server.handshake().unwrap() == Progress::Pending
        {
            server.arrived().append(client.to_send()).unwrap();
            let _ = server.handshake().unwrap();
            client.arrived().append(server.to_send()).unwrap();
            rounds += 1;
            assert!(rounds < 10);
        }
        // The tickets of 1.3.
        client.arrived().append(server.to_send()).unwrap();
        [server, client]
    }

    fn over(&self, flavour: Flavour, dirty: bool) -> [Builder; 2] {
        let sockets = || {
            let (one, other) = UnixStream::pair().unwrap();
            [Bufferevent::socket(one), Bufferevent::socket(other)]
        };
        match flavour {
            Flavour::Socket => sockets(),
            Flavour::Filter => sockets().map(|below| below.filter(FilterFn::new())),
            Flavour::Pair => Bufferevent::pair().into(),
            Flavour::Tls => {
                let [server, client] = sockets();
                let outer = [self.acceptor.accept(), self.connector.connect(NAME).unwrap()];
                let [one, other] = outer.map(|tls| tls.allow_dirty_shutdown(dirty));
                [server.filter(one), client.filter(other)]
            }
        }
    }
}

/// What one player was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn count(&self, what: &str) -> usize {
        self.0.lock().iter().filter(|told| *told == what).count()
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// How a player ends the game.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Close,
    /// As libevent frees: nothing is told to the peer.
    Abort,
}

/// Answers each number with the next.
struct Player {
    told: Told,
    end: End,
    /// Says the first number once it is connected.
    serves: bool,
    /// At this number it changes its keys.
    update_at: u32,
    ends: bool,
}

impl<A: HandlerAffinity> Handler<A> for Player {
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        while let Some(line) = cx.input().readln(Eol::Lf).unwrap() {
            let number = std::str::from_utf8(&line).unwrap().parse::<u32>().unwrap() + 1;
            if number > LAST {
                break;
            }
            if number == self.update_at {
                let tls = cx.filter_mut::<Tls>().unwrap();
                tls.engine().unwrap().update_key(true).unwrap();
            }
            self.ends = number == LAST;
            cx.write(format!("{number}\n").as_bytes()).unwrap();
        }
        if self.ends && self.end == End::Close {
            cx.close();
        }
    }

    fn on_write(&mut self, cx: &mut Context<'_, A>) {
        if self.ends && self.end == End::Abort {
            cx.abort();
        }
    }

    fn on_event(&mut self, cx: &mut Context<'_, A>, event: Event) {
        let told = match &event {
            Event::Error { cause: Cause::Filter(error), .. } => {
                format!("{:?}", error.downcast_ref::<Error>().unwrap().kind())
            }
            event => format!("{event:?}"),
        };
        self.told.0.lock().push(told);
        if self.serves && matches!(event, Event::Connected) {
            cx.write(b"1\n").unwrap();
        }
        if event.is_terminal() {
            cx.abort();
        }
    }
}

/// A game to be played.
#[derive(Clone, Copy)]
struct Game {
    flavour: Flavour,
    version: SslVersion,
    end: End,
    dirty: bool,
    /// The handshake is over before it begins.
    open: bool,
    /// The first number is said by who is told that it is connected, not before.
    waits: bool,
    update_at: u32,
}

const GAME: Game = Game {
    flavour: Flavour::Socket,
    version: SslVersion::TLS1_3,
    end: End::Abort,
    dirty: false,
    open: false,
    waits: false,
    update_at: 0,
};

impl Game {
    /// Plays it on one base. What the server and the client were told.
    fn play(self) -> [Vec<String>; 2] {
        let mut base = ManualBase::new().unwrap();
        let sides = Sides::new(self.version);
        let engines = if self.open { sides.open() } else { sides.engines() };
        let told = [Told::default(), Told::default()];
        let players =
            sides.over(self.flavour, self.dirty).into_iter().zip(engines).zip(&told).zip([false, true]);
        let ids = players.map(|(((below, engine), told), is_client)| {
            let tls = Tls::new(engine).allow_dirty_shutdown(self.dirty);
            let player = Player {
                told: told.clone(),
                end: self.end,
                serves: is_client && self.waits,
                update_at: self.update_at,
                ends: false,
            };
            below.filter(tls).handler(player).start(&mut base).unwrap()
        });
        let ids = Vec::from_iter(ids);
        if !self.waits {
            base.bufferevent(ids[1]).unwrap().write(b"1\n").unwrap();
        }
        base.settle().unwrap();
        base.advance(Duration::from_secs(5)).unwrap();
        assert!(ids.iter().all(|id| base.bufferevent(*id).is_err()), "both are gone");
        told.map(|told| told.all())
    }
}

/// What the one that does not end the game is told of its end.
fn ended_by(told: &[Vec<String>; 2]) -> Vec<&str> {
    let last =
        |told: &Vec<String>| told.iter().filter(|told| *told != "Connected").cloned().collect::<Vec<_>>();
    let ends = Vec::from_iter(told.iter().flat_map(last));
    ends.iter()
        .map(|end| match end.as_str() {
            "Eof" => "Eof",
            "Truncated" => "Truncated",
            other => panic!("{other} {told:?}"),
        })
        .collect()
}

/// Over every flavour that hears of an abort: half of a pair is only unlinked by one (D9).
fn each(test: impl Fn(Game)) {
    let hears = |game: &Game| game.end == End::Close || game.flavour != Flavour::Pair;
    each_of(&[End::Abort], |game| {
        if hears(&game) {
            test(game)
        }
    });
}

fn each_of(ends: &[End], test: impl Fn(Game)) {
    for version in VERSIONS {
        for flavour in FLAVOURS {
            for end in ends {
                let _census = Census::begin();
                test(Game { flavour, version, end: *end, ..GAME });
            }
        }
    }
}

fn connected(told: &[Vec<String>; 2]) -> [usize; 2] {
    [0, 1].map(|player| told[player].iter().filter(|told| *told == "Connected").count())
}

// TS-01, TS-02, TS-04: what is written in pieces is always gathered
#[test]
fn regress_ssl_bufferevent_socketpair_and_filter() {
    // T-05, T-07, T-17, T-18, X-60: a free that tells nothing is a truncation, told once, whatever is below
    each(|game| {
        let told = game.play();
        assert_eq!((connected(&told), ended_by(&told)), ([1, 1], vec!["Truncated"]), "{told:?}");
    });
}

// TS-03, TS-05
#[test]
fn regress_ssl_bufferevent_write_after_connect() {
    each(|game| {
        let told = Game { waits: true, ..game }.play();
        assert_eq!((connected(&told), ended_by(&told)), ([1, 1], vec!["Truncated"]), "{told:?}");
    });
}

// TS-06, TS-07: keys are changed; there is no other way to negotiate anew
#[test]
fn regress_ssl_bufferevent_renegotiate() {
    // T-21, X-54: no second Connected
    for flavour in [Flavour::Socket, Flavour::Filter, Flavour::Tls] {
        let _census = Census::begin();
        let told = Game { flavour, update_at: 600, ..GAME }.play();
        assert_eq!((connected(&told), ended_by(&told)), ([1, 1], vec!["Truncated"]), "{told:?}");
    }
}

// TS-08, TS-09
#[test]
fn regress_ssl_bufferevent_startopen() {
    // T-03: nothing is told of a handshake that was over, but of one below
    each(|game| {
        let told = Game { open: true, ..game }.play();
        let below = usize::from(game.flavour == Flavour::Tls);
        assert_eq!((connected(&told), ended_by(&told)), ([below; 2], vec!["Truncated"]), "{told:?}");
    });
}

// TS-10, TS-11, TS-12, TS-13, TS-14, TS-15
#[test]
fn regress_ssl_bufferevent_dirty_shutdown() {
    each(|game| {
        for open in [false, true] {
            let told = Game { dirty: true, open, ..game }.play();
            assert_eq!(ended_by(&told), ["Eof"], "{told:?}");
        }
    });
}

#[test]
fn a_close_tells_the_peer_that_it_is_the_end() {
    // T-16, T-19, X-50, D15
    each_of(&[End::Close], |game| {
        let told = game.play();
        assert_eq!((connected(&told), ended_by(&told)), ([1, 1], vec!["Eof"]), "{told:?}");
    });
}

/// A server and a client that only write down what they are told.
struct Pair {
    base: ManualBase,
    told: [Told; 2],
    ids: [Id; 2],
}

impl Pair {
    fn new(flavour: Flavour, version: SslVersion, set: impl Fn(usize, Builder) -> Builder) -> Self {
        let (mut base, sides) = (ManualBase::new().unwrap(), Sides::new(version));
        let told = [Told::default(), Told::default()];
        let mut started = sides.over(flavour, false).into_iter().zip(sides.engines()).enumerate().map(
            |(at, (below, engine))| {
                let player = Listens { told: told[at].clone() };
                set(at, below.filter(Tls::new(engine))).handler(player).start(&mut base).unwrap()
            },
        );
        let ids = [started.next().unwrap(), started.next().unwrap()];
        drop(started);
        Self { base, told, ids }
    }

    fn at<R>(&mut self, at: usize, f: impl FnOnce(&mut Bufferevent) -> R) -> R {
        f(self.base.bufferevent(self.ids[at]).unwrap())
    }
}

struct Listens {
    told: Told,
}

impl<A: HandlerAffinity> Handler<A> for Listens {
    fn on_event(&mut self, _: &mut Context<'_, A>, event: Event) {
        self.told.0.lock().push(match &event {
            Event::Error { cause: Cause::Filter(error), .. } => {
                format!("{:?}", error.downcast_ref::<Error>().map(Error::kind))
            }
            event => format!("{event:?}"),
        });
    }
}

// TS-16, TS-17, TS-18, TS-19
#[test]
fn regress_ssl_bufferevent_fd() {
    // T-24: the descriptor is that of the socket, and is gone when it was taken
    for flavour in [Flavour::Socket, Flavour::Filter] {
        let _census = Census::begin();
        let mut pair = Pair::new(flavour, SslVersion::TLS1_3, |_, builder| builder);
        pair.base.settle().unwrap();
        assert!(pair.at(0, |server| server.fd().is_some()));
        assert!(pair.at(0, |server| server.take_fd().is_some() && server.fd().is_none()));
        pair.base.settle().unwrap();
        assert_eq!(pair.told[1].count("Some(Truncated)"), 1, "{:?}", pair.told[1].all());
    }
}

// TS-20, TS-21
#[test]
fn regress_ssl_bufferevent_socketpair_timeout() {
    // D6, T-15: once, its direction is disabled, on every type. There a server that is disabled does not shake hands either
    for flavour in FLAVOURS {
        let _census = Census::begin();
        let two_seconds = Some(Duration::from_secs(2));
        let mut pair = Pair::new(flavour, SslVersion::TLS1_3, |at, builder| match at {
            0 => builder.configure(|server| server.disable(Interest::BOTH)),
            _ => builder.timeouts(two_seconds, two_seconds),
        });
        pair.at(1, |client| client.write(b"1\n").map(drop)).unwrap();
        pair.base.settle().unwrap();
        for _ in 0..4 {
            pair.base.advance(Duration::from_secs(2)).unwrap();
        }
        assert_eq!(pair.told[1].all(), ["Connected", "Timeout(Read)"]);
        assert!(pair.at(1, |client| client.enabled()) == Interest::WRITE);
        assert_eq!(pair.told[0].all(), ["Connected"]);
    }
}

/// Takes half a KiB of what has come at a time, and answers by a KiB, until 40 KiB were taken.
struct Eater {
    taken: Arc<Mutex<usize>>,
}

/// What each of the two eats.
const MEAL: usize = 40 * 1024;

impl<A: HandlerAffinity> Handler<A> for Eater {
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        let len = cx.input().len().min(512);
        cx.input().drain(len).unwrap();
        let mut taken = self.taken.lock();
        *taken += len;
        if *taken >= MEAL {
            cx.disable(Interest::READ);
        } else {
            cx.write(&[b'A'; 1_024]).unwrap();
        }
    }
}

// TS-24, TS-25, TS-26, TS-27
#[test]
fn regress_ssl_bufferevent_wm() {
    // T-10, X-51: what waits inside OpenSSL comes though no byte arrives any more, and never past the mark
    for version in VERSIONS {
        for flavour in FLAVOURS {
            for deferred in [false, true] {
                let _census = Census::begin();
                let (mut base, sides) = (ManualBase::new().unwrap(), Sides::new(version));
                let taken = [Arc::default(), Arc::<Mutex<usize>>::default()];
                let mut ids = Vec::new();
                for ((below, engine), taken) in
                    sides.over(flavour, false).into_iter().zip(sides.engines()).zip(&taken)
                {
                    let eater = Eater { taken: Arc::clone(taken) };
                    let builder =
                        below.filter(Tls::new(engine)).read_watermark(0, Some(5 * 1_024)).handler(eater);
                    let builder = if deferred { builder.deferred() } else { builder };
                    ids.push(builder.start(&mut base).unwrap());
                }
                base.bufferevent(ids[0]).unwrap().write(&[b'A'; 1_024]).unwrap();
                base.settle().unwrap();
                assert_eq!(
                    taken.map(|taken| *taken.lock()),
                    [MEAL, MEAL],
                    "{version:?} {flavour:?} {deferred}"
                );
                for id in ids {
                    assert!(base.bufferevent(id).unwrap().input().len() <= 5 * 1_024);
                }
            }
        }
    }
}

// TS-22
#[test]
fn regress_ssl_bufferevent_connect() {
    // T-01, T-07: one Connected for the socket and the handshake together
    let _census = Census::begin();
    let sides = Sides::new(SslVersion::TLS1_3);
    let (acceptor, server, client) = (sides.acceptor.clone(), Told::default(), Told::default());
    let runtime = Runtime::builder().workers(1).bases(1).build().unwrap();
    let told = server.clone();
    let listener = runtime
        .listen("127.0.0.1:0", move |connection, base| {
            let player =
                Player { told: told.clone(), end: End::Close, serves: false, update_at: 0, ends: false };
            Bufferevent::socket(connection).filter(acceptor.accept()).handler(player).start(base)?;
            Ok(())
        })
        .unwrap();
    let player = Player { told: client.clone(), end: End::Close, serves: true, update_at: 0, ends: false };
    let tls = sides.connector.connect(NAME).unwrap();
    let address = listener.local_addr().unwrap();
    let builder = Bufferevent::detached().filter(tls).handler(player);
    let builder = builder.configure(move |client| client.connect_to(address).unwrap());
    builder.start(&mut runtime.bases()[0].clone()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mine = runtime.clone();
    let running = thread::spawn(move || mine.run().unwrap());
    while server.all().len() + client.all().len() < 3 {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    runtime.stop();
    running.join().unwrap();
    let mut all = [server.all(), client.all()];
    assert_eq!(connected(&all), [1, 1]);
    all.iter_mut().for_each(|told| told.retain(|told| told != "Connected"));
    assert_eq!(all.concat(), ["Eof"]);
}

// TS-23
#[test]
fn regress_ssl_bufferevent_connect_sleep() {
    // nothing spins while the other side rests: system calls are counted
    let _census = Census::begin();
    let (mut base, sides, wire) = (ManualBase::new().unwrap(), Sides::new(SslVersion::TLS1_3), Wire::new());
    let told = Told::default();
    let tls = sides.connector.connect(NAME).unwrap();
    let id = Bufferevent::scripted(&wire).filter(tls).handler(Listens { told }).start(&mut base).unwrap();
    base.bufferevent(id).unwrap().write(b"1\n").unwrap();
    base.settle().unwrap();
    for _ in 0..10 {
        base.advance(Duration::from_millis(100)).unwrap();
    }
    assert!(wire.reads() <= 2 && wire.writes() <= 2, "{} reads, {} writes", wire.reads(), wire.writes());
}
