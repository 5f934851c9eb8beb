//! Many handshakes at once: how many are under way, how many calls a pass makes, and that none is lost.

use std::{
    io::Write as _,
    num::NonZeroUsize,
    os::unix::net::UnixStream,
    sync::Arc,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use bufferevent::{
    Base, Bufferevent, Filter, FilterCall, FilterError, HANDSHAKE_TIMEOUT, Handshake, Pinned, Runtime,
    Turned,
    runtime::HANDSHAKES_PER_PASS,
    testing::{Census, ManualBase, Wire},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use crate::seen::Seen;

/// Wants to hear two bytes, which the peer says, or a client without being asked.
struct Knock {
    waits: bool,
    begun: Arc<AtomicUsize>,
    called: bool,
}

impl Filter for Knock {
    fn has_handshake(&self) -> bool {
        true
    }

    fn waits_for_peer(&self) -> bool {
        self.waits
    }

    fn handshake(&mut self, call: &mut FilterCall<'_>) -> Result<Handshake, FilterError> {
        if !std::mem::replace(&mut self.called, true) {
            self.begun.fetch_add(1, Relaxed);
        }
        Ok(if call.source.len() < 2 { Handshake::Pending } else { Handshake::Done })
    }
}

/// Connections of one base, by hand.
struct Crowd {
    base: ManualBase,
    wires: Vec<Wire>,
    seen: Vec<Seen>,
    begun: Arc<AtomicUsize>,
    close: Vec<Close>,
}

type Close = Box<dyn Fn(&mut ManualBase)>;

impl Crowd {
    fn new(shared: bool, waits: bool, size: usize, limit: usize) -> Self {
        let base = ManualBase::new().unwrap();
        base.handle().handshakes().set_limit(NonZeroUsize::new(limit).unwrap());
        let mut crowd = Self { base, wires: vec![], seen: vec![], begun: Arc::default(), close: vec![] };
        for _ in 0..size {
            let (wire, seen) = (Wire::new(), Seen::default());
            let knock = Knock { waits, begun: crowd.begun.clone(), called: false };
            let builder = Bufferevent::scripted(&wire).filter(knock).handler(seen.clone());
            crowd.close.push(if shared {
                let handle = builder.threadsafe().start(&mut crowd.base).unwrap();
                Box::new(move |_| handle.abort())
            } else {
                let id = builder.start(&mut crowd.base).unwrap();
                Box::new(move |base| {
                    use bufferevent::BaseExt as _;
                    base.bufferevent(id).unwrap().abort();
                })
            });
            crowd.wires.push(wire);
            crowd.seen.push(seen);
        }
        crowd.base.settle().unwrap();
        crowd
    }

    fn say(&mut self, who: impl IntoIterator<Item = usize>, what: &[u8]) {
        who.into_iter().for_each(|i| self.wires[i].deliver(what));
    }

    fn settle(&mut self) {
        self.base.settle().unwrap();
    }

    fn begun(&self) -> usize {
        self.begun.load(Relaxed)
    }

    fn connected(&self) -> Vec<usize> {
        let stands = |seen: &Seen| seen.events() == ["Connected"];
        (0..self.seen.len()).filter(|&i| stands(&self.seen[i])).collect()
    }

    /// How many are under way, and how many wait.
    fn handshakes(&self) -> (usize, usize) {
        let handle = self.base.handle();
        (handle.handshakes().inside(), handle.handshakes().waiting())
    }
}

#[test]
fn so_many_calls_are_made_in_a_pass_and_the_rest_in_the_next_ones() {
    let _census = Census::begin();
    let per_pass = HANDSHAKES_PER_PASS as usize;
    for shared in [false, true] {
        let mut crowd = Crowd::new(shared, true, 40, 1_000);
        crowd.say(0..40, b"hi");
        for passes in 1..=3 {
            assert_eq!(crowd.connected().len(), (passes - 1) * per_pass);
            let _ = crowd.base.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(crowd.connected().len(), 40);
        assert!(crowd.base.counters().handshakes_put_off.get() >= 24 + 8);
        assert_eq!(crowd.handshakes(), (0, 0));
    }
}

#[test]
fn who_was_put_off_comes_before_who_is_new() {
    // Else a stream of new ones keeps the first waiting until their time is over.
    let _census = Census::begin();
    let per_pass = HANDSHAKES_PER_PASS as usize;
    for shared in [false, true] {
        let mut crowd = Crowd::new(shared, true, 4 * per_pass, 1_000);
        crowd.say(0..2 * per_pass, b"hi");
        for passes in 1..=4 {
            let _ = crowd.base.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(crowd.connected(), (0..passes * per_pass).collect::<Vec<_>>(), "shared: {shared}");
            let new = (passes + 1) * per_pass;
            crowd.say(new..(new + per_pass).min(4 * per_pass), b"hi");
        }
    }
}

#[test]
fn those_past_the_limit_wait_in_order_and_none_is_lost() {
    let _census = Census::begin();
    for shared in [false, true] {
        let mut crowd = Crowd::new(shared, true, 10, 3);
        assert_eq!((crowd.begun(), crowd.handshakes()), (0, (0, 0)), "who says nothing costs nothing");
        for i in 0..10 {
            crowd.say([i], b"h");
            crowd.settle();
        }
        assert_eq!((crowd.begun(), crowd.handshakes()), (3, (3, 7)));
        assert_eq!(crowd.base.counters().handshakes_waited.get(), 7);
        // More of one that waits is not even read.
        let reads = crowd.wires[5].reads();
        crowd.say([5], b"i");
        crowd.settle();
        assert_eq!((crowd.begun(), crowd.wires[5].reads()), (3, reads));
        crowd.say([1], b"i");
        crowd.settle();
        assert_eq!((crowd.begun(), crowd.handshakes()), (4, (3, 6)));
        // One that waits leaves, then one that is under way; the next is the one that said all at once.
        (crowd.close[4])(&mut crowd.base);
        crowd.settle();
        assert_eq!((crowd.begun(), crowd.handshakes()), (4, (3, 5)));
        (crowd.close[0])(&mut crowd.base);
        crowd.settle();
        assert_eq!((crowd.begun(), crowd.connected()), (6, vec![1, 5]));
        assert_eq!(crowd.handshakes(), (3, 3));
        crowd.say([2, 3, 6, 7, 8, 9], b"i");
        crowd.settle();
        assert_eq!((crowd.connected(), crowd.handshakes()), (vec![1, 2, 3, 5, 6, 7, 8, 9], (0, 0)));
    }
}

#[test]
fn one_that_waits_has_no_more_time_than_any_other_and_one_that_fails_makes_room() {
    let _census = Census::begin();
    let mut crowd = Crowd::new(false, true, 3, 1);
    crowd.say([0], b"h");
    crowd.settle();
    crowd.base.advance(HANDSHAKE_TIMEOUT / 2).unwrap();
    crowd.say([1, 2], b"h");
    crowd.settle();
    assert_eq!(crowd.handshakes(), (1, 2));
    crowd.wires[0].end();
    crowd.settle();
    assert_eq!((crowd.begun(), crowd.handshakes()), (2, (1, 1)));
    crowd.base.advance(HANDSHAKE_TIMEOUT / 2).unwrap();
    assert!(crowd.seen.iter().all(|seen| seen.events().len() == 1 && seen.events()[0].starts_with("Error")));
    assert_eq!(crowd.handshakes(), (0, 0));
}

#[test]
fn who_says_the_first_word_is_not_counted() {
    let _census = Census::begin();
    let mut crowd = Crowd::new(false, false, 5, 1);
    assert_eq!((crowd.begun(), crowd.handshakes()), (5, (0, 0)));
    crowd.say(0..5, b"hi");
    crowd.settle();
    assert_eq!(crowd.connected().len(), 5);
}

fn turn(base: &mut Base<Pinned>) {
    while base.turn(Some(Duration::ZERO)).unwrap() == Turned::Ran {}
}

#[test]
fn one_that_waits_and_moves_is_let_in_where_it_is() {
    let _census = Census::begin();
    let (mut here, mut there) = (Base::<Pinned>::new().unwrap(), Base::<Pinned>::new().unwrap());
    here.handle().handshakes().set_limit(NonZeroUsize::MIN);
    let begun = Arc::<AtomicUsize>::default();
    let peers = Mutex::new(Vec::new());
    let [first, second] = [Seen::default(), Seen::default()].map(|seen| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let knock = Knock { waits: true, begun: begun.clone(), called: false };
        let builder = Bufferevent::socket(ours).filter(knock).handler(seen.clone());
        let handle = builder.threadsafe().start(&mut here).unwrap();
        theirs.write_all(b"h").unwrap();
        peers.lock().push(theirs);
        turn(&mut here);
        (handle, seen)
    });
    assert_eq!((begun.load(Relaxed), here.handle().handshakes().waiting()), (1, 1));
    second.0.lock().unwrap().set_base(&there.handle().as_movable()).unwrap();
    turn(&mut there);
    assert_eq!(begun.load(Relaxed), 1);
    for peer in peers.lock().iter_mut() {
        peer.write_all(b"i").unwrap();
    }
    turn(&mut here);
    turn(&mut there);
    assert_eq!(
        (first.1.events(), second.1.events()),
        (vec!["Connected".to_owned()], vec!["Connected".to_owned()])
    );
    for (handle, _) in [first, second] {
        handle.abort();
    }
    turn(&mut here);
    turn(&mut there);
}

/// Two workers, and who has made which call for a handshake.
#[derive(Default)]
struct Workers {
    /// Both wait for these.
    gates: [AtomicBool; 2],
    inside: AtomicUsize,
    home: Mutex<Option<ThreadId>>,
    calls: AtomicUsize,
    stolen: AtomicUsize,
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

/// The first call that is left for the next pass waits until another worker has made one.
struct Dear(Arc<Workers>);

impl Filter for Dear {
    fn has_handshake(&self) -> bool {
        true
    }

    fn waits_for_peer(&self) -> bool {
        true
    }

    fn handshake(&mut self, _: &mut FilterCall<'_>) -> Result<Handshake, FilterError> {
        let workers = &self.0;
        if *workers.home.lock() != Some(thread::current().id()) {
            workers.stolen.fetch_add(1, Relaxed);
        }
        if workers.calls.fetch_add(1, Relaxed) == HANDSHAKES_PER_PASS as usize {
            // The other one has nothing to do from here on.
            workers.gates[1].store(true, Relaxed);
            until("another worker to help", || workers.stolen.load(Relaxed) > 0);
        }
        Ok(Handshake::Done)
    }
}

#[test]
fn what_is_left_for_the_next_pass_is_made_by_a_worker_that_has_nothing_to_do() {
    // 1.2: both workers are busy until all peers have begun; then one has all of them, and the other none
    const PEERS: usize = 40;
    let _census = Census::begin();
    let runtime = Runtime::builder().workers(2).bases(2).build().unwrap();
    let workers = Arc::new(Workers::default());
    let mut bases = runtime.bases().to_vec();
    let seen = Vec::from_iter((0..PEERS).map(|_| Seen::default()));
    let peers = Vec::from_iter(seen.iter().map(|seen| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let builder = Bufferevent::socket(ours).filter(Dear(Arc::clone(&workers)));
        builder.handler(seen.clone()).threadsafe().start(&mut bases[0]).unwrap();
        theirs
    }));
    for (side, base) in bases.iter().enumerate() {
        let workers = Arc::clone(&workers);
        base.post(move |_| {
            if side == 0 {
                *workers.home.lock() = Some(thread::current().id());
            }
            workers.inside.fetch_add(1, Relaxed);
            until("the gate", || workers.gates[side].load(Relaxed));
        })
        .unwrap();
    }
    let running = {
        let runtime = runtime.clone();
        thread::spawn(move || runtime.run())
    };
    until("both to be busy", || workers.inside.load(Relaxed) == 2);
    peers.iter().for_each(|mut peer| peer.write_all(b"hi").unwrap());
    workers.gates[0].store(true, Relaxed);
    until("all to connect", || {
        seen.iter().all(|seen| seen.events().first().is_some_and(|it| it == "Connected"))
    });
    assert!(workers.stolen.load(Relaxed) > 0);
    runtime.stop();
    running.join().unwrap().unwrap();
}
