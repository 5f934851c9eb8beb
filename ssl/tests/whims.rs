//! Two sides that do at random what a user may at any time, over everything that TLS can be over: no byte is lost, doubled or out
//! of order, nothing hangs or spins, and nothing is told but what is so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{os::unix::net::UnixStream, sync::Arc, time::Duration};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Callbacks, Context, Direction, Event, FilterFn, FlushMode, Id,
    Interest, Pinned, TokenBucketConfig,
    runtime::Random,
    testing::{Census, ManualBase, Seed},
};
use bufferevent_ssl::{Acceptor, Connector, Identity};
use bufferevent_sync::Mutex;

const NAME: &str = "example.org";
const TICK: Duration = Duration::from_millis(100);

/// One side: what it has written and read, and what it was told.
struct Side {
    id: Id,
    written: Vec<u8>,
    read: Vec<u8>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Side {
    fn start(base: &mut ManualBase, builder: Builder) -> Self {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let tell = Arc::clone(&told);
        let handler =
            Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event: Event| {
                tell.lock().push(format!("{event:?}"))
            });
        let builder = builder.handler(handler).configure(|one| one.enable(Interest::BOTH));
        Self { id: builder.start(base).unwrap(), written: Vec::new(), read: Vec::new(), told }
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

/// A conversation, at the end of which one or both shut down what they send.
fn converse(makers: &(Acceptor, Connector), random: &mut Random) {
    let (acceptor, connector) = makers;
    let mut base = ManualBase::new().unwrap();
    let flavour = random.below(5);
    let [one, other] = below(flavour, makers);
    let mut sides = [
        Side::start(&mut base, one.filter(acceptor.accept())),
        Side::start(&mut base, other.filter(connector.connect(NAME).unwrap())),
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
