//! Two sides that do at random what a user may at any time, over everything that TLS can be over: no byte is lost, doubled or out
//! of order, nothing hangs or spins, and nothing is told but what is so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{os::unix::net::UnixStream, sync::Arc, time::Duration};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Callbacks, Closed, Closing, Context, Direction, Event, FilterFn,
    FlushMode, Id, Interest, Pinned, TokenBucketConfig,
    runtime::Random,
    testing::{Census, ManualBase, Seed},
};
use bufferevent_ssl::{Acceptor, CloseMode, Connector, Identity};
use bufferevent_sync::Mutex;

const NAME: &str = "example.org";
const TICK: Duration = Duration::from_millis(100);

/// One side: what it has written and read, and what it was told.
struct Side {
    id: Id,
    written: Vec<u8>,
    read: Vec<u8>,
    told: Arc<Mutex<Vec<String>>>,
    closed: Arc<Mutex<Option<Box<Closed>>>>,
}

impl Side {
    fn start(base: &mut ManualBase, builder: Builder) -> Self {
        let (told, closed) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<_>>::default());
        let (tell, keep) = (Arc::clone(&told), Arc::clone(&closed));
        let handler = Callbacks::<Pinned>::new().on_event(
            move |_: &mut Context<'_, Pinned>, event: Event| match event {
                Event::Closed(how) => *keep.lock() = Some(how),
                event => tell.lock().push(format!("{event:?}")),
            },
        );
        let builder = builder.handler(handler).configure(|one| one.enable(Interest::BOTH)).report_close();
        Self { id: builder.start(base).unwrap(), written: Vec::new(), read: Vec::new(), told, closed }
    }

    /// Does something.
    fn act(&mut self, one: &mut Bufferevent, random: &mut Random) {
        let high = 1 + random.below(20_000);
        match random.below(10) {
            0..=2 => {
                let n = [1, 100, 5_000, 17_000, 100_000][random.below(5)];
                let data = Vec::from_iter((0..n).map(|i| (i * 7 + high) as u8));
                if one.write(&data).is_ok() {
                    self.written.extend(data);
                }
            }
            3 => self.take(one, high),
            4 => one.set_read_watermark(0, Some(high)).unwrap(),
            5 => one.disable([Interest::READ, Interest::WRITE, Interest::BOTH][random.below(3)]),
            6 => one.enable(Interest::BOTH),
            7 => {
                let mode = [FlushMode::Normal, FlushMode::Flush, FlushMode::Finished][random.below(3)];
                // Before the connection stands it is refused.
                let _ = one.flush(Interest::BOTH, mode);
            }
            8 => {
                let lower = one.underlying_mut().unwrap();
                match random.below(3) {
                    0 => lower.set_read_watermark(0, Some(high)).unwrap(),
                    1 => lower.set_write_watermark(0, Some(high)).unwrap(),
                    _ => lower.set_output_cap(Some(high + 100)),
                }
            }
            _ => {
                let rate = high as u64;
                let config = TokenBucketConfig::new(rate, 2 * rate, rate, 2 * rate, Some(TICK)).unwrap();
                one.set_rate_limit((random.below(2) == 0).then_some(&config));
            }
        }
    }

    /// Reads at most `n` bytes.
    fn take(&mut self, one: &mut Bufferevent, n: usize) {
        let n = n.min(one.input().len());
        self.read.extend_from_slice(&one.input().take_bytes(n).unwrap());
    }

    fn was_told(&self, what: &str) -> bool {
        self.told.lock().iter().any(|told| told == what)
    }
}

fn below(flavour: usize, (acceptor, connector): &(Acceptor, Connector)) -> [Builder; 2] {
    let over_sockets = |over: fn(Builder) -> Builder| {
        let (one, other) = UnixStream::pair().unwrap();
        [one, other].map(|end| over(Bufferevent::socket(end)))
    };
    let tls = |[one, other]: [Builder; 2]| {
        [one.filter(acceptor.accept()), other.filter(connector.connect(NAME).unwrap())]
    };
    match flavour {
        0 => over_sockets(|socket| socket),
        1 => over_sockets(|socket| socket.filter(FilterFn::new())),
        2 => tls(over_sockets(|socket| socket)),
        3 => tls(Bufferevent::pair().into()),
        _ => Bufferevent::pair().into(),
    }
}

/// A conversation: what carries it, and both sides in the middle of it.
fn talk(
    (acceptor, connector): &(Acceptor, Connector),
    modes: [CloseMode; 2],
    random: &mut Random,
) -> (usize, ManualBase, [Side; 2]) {
    let mut base = ManualBase::new().unwrap();
    let flavour = random.below(5);
    let [one, other] = below(flavour, &(acceptor.clone(), connector.clone()));
    let mut sides = [
        Side::start(&mut base, one.filter(acceptor.accept().close_mode(modes[0]))),
        Side::start(&mut base, other.filter(connector.connect(NAME).unwrap().close_mode(modes[1]))),
    ];
    for _ in 0..random.below(60) {
        let side = &mut sides[random.below(2)];
        side.act(base.bufferevent(side.id).unwrap(), random);
        match random.below(4) {
            0 => drop(base.settle().unwrap()),
            1 => drop(base.turn(Some(Duration::ZERO)).unwrap()),
            2 => drop(base.advance(TICK).unwrap()),
            _ => {}
        }
    }
    (flavour, base, sides)
}

/// A conversation, at the end of which one or both shut down what they send.
fn converse(makers: &(Acceptor, Connector), random: &mut Random) {
    let (flavour, mut base, mut sides) = talk(makers, [CloseMode::default(); 2], random);
    let ends = [[true, false], [false, true], [true, true]][random.below(3)];
    for (side, ends) in sides.iter().zip(ends) {
        let one = base.bufferevent(side.id).unwrap();
        one.set_rate_limit(None);
        one.set_read_watermark(0, Some(50_000)).unwrap();
        one.enable(Interest::BOTH);
        if ends {
            one.shutdown(Direction::Write).unwrap();
        }
    }
    for _ in 0..1_000 {
        base.settle().unwrap();
        for side in &mut sides {
            side.take(base.bufferevent(side.id).unwrap(), usize::MAX);
        }
        if sides[0].read == sides[1].written && sides[1].read == sides[0].written {
            break;
        }
    }
    base.settle().unwrap();
    let [one, other] = &sides;
    for (from, to, ends) in [(one, other, ends[0]), (other, one, ends[1])] {
        assert_eq!(to.read.len(), from.written.len(), "{flavour}");
        assert!(to.read == from.written, "in order");
        let told = to.told.lock().clone();
        let so = |told: &String| ["Connected", "Drained", "Eof"].contains(&told.as_str());
        assert!(told.iter().all(so) && to.was_told("Connected"), "{flavour} {told:?}");
        assert!(!ends || to.was_told("Eof"), "{flavour} {told:?}");
    }
    for side in &sides {
        base.bufferevent(side.id).unwrap().close();
    }
    base.settle().unwrap();
    assert!(sides.iter().all(|side| base.bufferevent(side.id).is_err()), "{flavour}: both are gone");
}

/// A conversation that one side ends in the middle, by any means; the other may read on, and closes when it is told.
fn break_off(makers: &(Acceptor, Connector), random: &mut Random) {
    let any = [CloseMode::Full, CloseMode::Notify, CloseMode::Quiet];
    let modes = [(); 2].map(|()| any[random.below(3)]);
    let (flavour, mut base, mut sides) = talk(makers, modes, random);
    let (ends, reads) = (random.below(2), random.below(4) > 0);
    for side in &sides {
        let one = base.bufferevent(side.id).unwrap();
        one.set_rate_limit(None);
        one.set_read_watermark(0, Some(50_000)).unwrap();
        one.enable(Interest::BOTH);
    }
    let how = random.below(4);
    let one = base.bufferevent(sides[ends].id).unwrap();
    match how {
        0 => one.abort(),
        1 => one.close_with(Closing::CUT_SHORT),
        _ => one.close(),
    }
    let other = 1 - ends;
    for _ in 0..200 {
        match random.below(2) {
            0 => drop(base.settle().unwrap()),
            _ => drop(base.advance(Duration::from_millis(300)).unwrap()),
        }
        let side = &mut sides[other];
        let Ok(one) = base.bufferevent(side.id) else { break };
        if reads {
            side.take(one, usize::MAX);
        }
        if side.was_told("Eof") || side.told.lock().iter().any(|told| told.starts_with("Error")) {
            one.close();
        }
    }
    if let Ok(one) = base.bufferevent(sides[other].id) {
        // It is not told of every end: D9
        one.close();
    }
    base.advance(Duration::from_secs(100)).unwrap();
    base.advance(Duration::from_secs(100)).unwrap();
    let about = format!("{flavour} {modes:?} {how} {reads}");
    let cut = how < 2;
    for (from, to, [mode, to_mode]) in
        [(&sides[0], &sides[1], modes), (&sides[1], &sides[0], [modes[1], modes[0]])]
    {
        let (closed, heard) = (from.closed.lock(), to.closed.lock());
        let (closed, heard) = (closed.as_ref().expect("it has ended"), heard.as_ref().expect("it has ended"));
        let got = to.read.len() + heard.unread.len();
        let sent = from.written.len() - closed.unsent;
        assert!(got <= sent, "{about}: {got} came of {sent}");
        // Over a pair a flush may tell one that is none for good (C-32).
        let told = flavour < 3 && to.was_told("Eof");
        assert!(!told || got == from.written.len(), "{about}: {got} of {} and the end", from.written.len());
        assert!(!closed.clean || closed.unsent == 0 && closed.cause.is_none(), "{about}: {closed:?}");
        // Where the peer's notice is awaited it was sent.
        let silent = to_mode == CloseMode::Quiet || cut && std::ptr::eq(to, &sides[ends]);
        assert!(!(closed.clean && mode == CloseMode::Full && silent), "{about}");
    }
}

#[test]
fn a_close_tells_the_truth_whatever_was_under_way() {
    // D15, 1.6: no more came than was sent, and an end is told behind all of it alone
    let _census = Census::begin();
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let connector = Connector::builder().roots_pem(&identity.certificate_pem().unwrap()).unwrap();
    let sides = (Acceptor::builder().identity(identity).build().unwrap(), connector.build().unwrap());
    for _ in 0..60 {
        let seed = Seed::new().unwrap();
        break_off(&sides, &mut seed.random());
    }
}

#[test]
fn data_comes_whole_whatever_both_sides_do_meanwhile() {
    let _census = Census::begin();
    // T5, C-32, D6, D7, D8, D11
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let connector = Connector::builder().roots_pem(&identity.certificate_pem().unwrap()).unwrap();
    let sides = (Acceptor::builder().identity(identity).build().unwrap(), connector.build().unwrap());
    for _ in 0..40 {
        let seed = Seed::new().unwrap();
        converse(&sides, &mut seed.random());
    }
}
