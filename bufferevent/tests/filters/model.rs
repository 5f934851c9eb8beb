//! Stacks of filters that keep, expand, shrink and hesitate at random, against the plain transformation of the bytes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bufferevent::{
    Bufferevent, Filter, FilterCall, FilterError, FilterStatus, FlushMode, Interest, Rate, TokenBucketConfig,
    testing::{Census, Wire},
};
use bufferevent_sync::atomic::{AtomicUsize, Ordering::Relaxed};
use proptest::prelude::*;

use crate::seen::{Dropped, Seen, Sim};

/// What a filter makes of the bytes it is given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Each byte as it is.
    Same,
    /// Down each byte twice, up every second byte.
    Double,
    /// Down every byte and its complement at the end; up the first half of what came.
    Late,
}

/// Works as it likes: takes some, gives some, and says anything that it may say.
struct Moody {
    down: Codec,
    up: Codec,
}

/// One direction of it.
struct Codec {
    kind: Kind,
    up: bool,
    /// Taken, and not yet worked on.
    taken: Vec<u8>,
    /// To be given.
    made: VecDeque<u8>,
    seed: u64,
}

impl Codec {
    fn new(kind: Kind, up: bool, seed: u64) -> Self {
        Self { kind, up, taken: Vec::new(), made: VecDeque::new(), seed }
    }

    fn random(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % below.max(1)
    }

    fn work(&mut self, last: bool) {
        match (self.kind, self.up) {
            (Kind::Same, _) => self.made.extend(self.taken.drain(..)),
            (Kind::Double, false) => self.made.extend(self.taken.drain(..).flat_map(|byte| [byte, byte])),
            (Kind::Double, true) => {
                let pairs = self.taken.len() / 2 * 2;
                self.made.extend(self.taken.drain(..pairs).step_by(2));
            }
            // Gives nothing before the end.
            (Kind::Late, false) if last => {
                let complements: Vec<u8> = self.taken.iter().map(|byte| !byte).collect();
                self.made.extend(self.taken.drain(..).chain(complements));
            }
            (Kind::Late, true) if last => {
                let half = self.taken.len() / 2;
                self.made.extend(self.taken.drain(..).take(half));
            }
            (Kind::Late, _) => {}
        }
    }

    fn call(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        assert!(call.limit() > 0);
        let last = call.mode() == FlushMode::Finished;
        let pressed = call.mode() != FlushMode::Normal;
        let there = call.source.len();
        if !pressed && self.random(6) == 0 {
            return Ok(FilterStatus::NeedMore);
        }
        let taken = if pressed { there } else { self.random(there + 1) };
        self.taken.extend_from_slice(&call.source.take_bytes(taken)?);
        self.work(last);
        let room = call.room();
        let given = self.made.len().min(if pressed { room } else { 1 + self.random(room) });
        let bytes: Vec<u8> = self.made.drain(..given).collect();
        call.destination.add(&bytes)?;
        let says_so = call.source.is_empty() && self.random(2) == 0 && (!pressed || self.made.is_empty());
        Ok(if says_so { FilterStatus::NeedMore } else { FilterStatus::Ok })
    }
}

impl Filter for Moody {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.up.call(call)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.down.call(call)
    }
}

/// What goes down through all of them, the last of the list being on top.
fn sent(kinds: &[Kind], data: &[u8]) -> Vec<u8> {
    kinds.iter().rev().fold(data.to_vec(), |data, kind| match kind {
        Kind::Same => data,
        Kind::Double => data.iter().flat_map(|byte| [*byte, *byte]).collect(),
        Kind::Late => data.iter().copied().chain(data.iter().map(|byte| !byte)).collect(),
    })
}

#[derive(Debug, Clone)]
enum Op {
    Write(usize),
    Arrive(usize),
    Room(usize),
    Switch(bool, Interest, bool),
    Marks(bool, usize, usize),
    Flush(Interest, FlushMode),
    Leave(usize),
    Settle,
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let directions = prop::sample::select(vec![Interest::READ, Interest::WRITE, Interest::BOTH]);
    prop_oneof![
        4 => (1usize..3_000).prop_map(Op::Write),
        4 => (1usize..3_000).prop_map(Op::Arrive),
        2 => (0usize..2_000).prop_map(Op::Room),
        2 => (any::<bool>(), directions.clone(), any::<bool>()).prop_map(|(above, which, on)| Op::Switch(above, which, on)),
        2 => (any::<bool>(), 1usize..500, 0usize..500).prop_map(|(above, low, more)| Op::Marks(above, low, more)),
        1 => (directions, prop::sample::select(vec![FlushMode::Normal, FlushMode::Flush]))
            .prop_map(|(which, mode)| Op::Flush(which, mode)),
        1 => (0usize..300).prop_map(Op::Leave),
        6 => Just(Op::Settle),
        2 => (1u64..50).prop_map(Op::Pass),
    ]
}

/// The layer that an operation is for.
fn layer(top: &mut Bufferevent, above: bool) -> &mut Bufferevent {
    if above || top.underlying().is_none() { top } else { top.underlying_mut().unwrap() }
}

fn numbers(from: &mut u8, n: usize) -> Vec<u8> {
    (0..n)
        .map(|_| {
            *from = from.wrapping_mul(5).wrapping_add(3);
            *from
        })
        .collect()
}

fn run(kinds: &[Kind], seed: u64, ops: &[Op], shared: bool, limited: bool) {
    let (wire, seen, drops) = (Wire::new(), Seen::default(), Arc::new(AtomicUsize::new(0)));
    let mut builder = Bufferevent::scripted(&wire);
    let limit = TokenBucketConfig::per_second(
        Rate::new(50_000).ok(),
        Rate::new(50_000).ok(),
        Some(Duration::from_millis(10)),
    )
    .unwrap();
    for (at, kind) in kinds.iter().enumerate() {
        let seed = seed ^ (at as u64 * 77);
        let moody = Moody { down: Codec::new(*kind, false, seed), up: Codec::new(*kind, true, !seed) };
        builder = builder.filter(Dropped(moody, Arc::clone(&drops)));
        if limited {
            builder = builder.rate_limit(&limit);
        }
    }
    let mut sim = Sim::start(shared, builder.report_close(), &seen);
    let (mut one, mut two) = (1, 2);
    let (mut written, mut arrived, mut delivered) = (Vec::new(), Vec::new(), 0);
    for op in ops {
        match op.clone() {
            Op::Write(n) => {
                let data = numbers(&mut one, n);
                sim.with(|top| top.write(&data)).unwrap().unwrap();
                written.extend(data);
            }
            Op::Arrive(n) => arrived.extend(numbers(&mut two, n)),
            Op::Room(n) => wire.set_room(n),
            Op::Switch(above, which, on) => sim
                .with(|top| {
                    let layer = layer(top, above);
                    if on { layer.enable(which) } else { layer.disable(which) }
                })
                .unwrap(),
            Op::Marks(above, low, more) => sim
                .with(|top| {
                    let layer = layer(top, above);
                    layer.set_read_watermark(low, Some(low + more)).unwrap();
                    layer.set_write_watermark(low, Some(low + more)).unwrap();
                })
                .unwrap(),
            Op::Flush(which, mode) => drop(sim.with(|top| top.flush(which, mode)).unwrap().unwrap()),
            Op::Leave(n) => seen.leave(n),
            Op::Settle => sim.settle(),
            Op::Pass(millis) => drop(sim.base.advance(Duration::from_millis(millis)).unwrap()),
        }
        // What arrives is what the filters make on the other side of it, bit by bit where that is possible.
        let streams = kinds.iter().all(|kind| *kind != Kind::Late);
        if streams && matches!(op, Op::Arrive(_)) {
            let all = sent(kinds, &arrived);
            // No more pieces than a base turns while it settles.
            let piece = 1 + all.len() / 10_000 + delivered % 700;
            wire.deliver_in(&all[delivered..], piece);
            delivered = all.len();
        }
    }
    // The way is free: all arrives, in order, and then the end.
    let all = sent(kinds, &arrived);
    wire.deliver(&all[delivered..]);
    wire.end();
    wire.set_room(usize::MAX);
    seen.leave(0);
    sim.with(free).unwrap();
    sim.settle();
    sim.base.advance(Duration::from_secs(10)).unwrap();
    sim.with(|top| seen.take(top)).unwrap();
    sim.base.advance(Duration::from_secs(10)).unwrap();
    assert!(seen.data() == arrived, "{} of {}; {:?}", seen.data().len(), arrived.len(), seen.events());
    let eofs = seen.events().iter().filter(|event| *event == "Eof").count();
    assert_eq!(eofs, 1, "{:?}", seen.events());
    // All goes out, in order, and then the close is clean.
    sim.with(|top| top.close()).unwrap();
    sim.base.advance(Duration::from_secs(20)).unwrap();
    assert!(
        wire.written() == sent(kinds, &written),
        "{} of {}",
        wire.written().len(),
        sent(kinds, &written).len()
    );
    assert_eq!(
        seen.events().last().unwrap(),
        "Closed true 0",
        "{:?}",
        sim.with(|top| top.explain().to_string())
    );
    assert!(wire.is_closed() && sim.is_gone());
    drop(sim);
    assert_eq!(drops.load(Relaxed), kinds.len(), "each filter once");
}

/// Frees the way through all layers.
fn free(top: &mut Bufferevent) {
    let mut layer = Some(top);
    while let Some(this) = layer {
        this.set_read_watermark(0, None).unwrap();
        this.set_write_watermark(0, Some(100_000)).unwrap();
        this.set_rate_limit(None);
        this.enable(Interest::BOTH);
        layer = this.underlying_mut();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// F-02 to F-05, F-09, F-16, D10, D11, D15: whatever the filters do, the bytes are exact, nothing is stuck, nothing spins.
    #[test]
    fn whatever_filters_do_all_bytes_pass_in_order_and_nothing_spins(
        kinds in prop::collection::vec(prop::sample::select(vec![Kind::Same, Kind::Double, Kind::Late]), 1..4),
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 0..40),
        shared in any::<bool>(),
        limited in any::<bool>(),
    ) {
        let _census = Census::begin();
        run(&kinds, seed, &ops, shared, limited);
    }
}
