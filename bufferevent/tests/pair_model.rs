//! A pair against a model of it: whatever either half is told, in any order and by pieces of any size, the same bytes are in
//! the same places, and the same writes, flushes and ends are answered and told.
//!
//! The model counts: a byte is known by its place in what was written. After each operation the base is turned until
//! nothing is left to do, and then both must agree on everything that can be seen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use bufferevent::{
    BaseExt as _, Bufferevent, Callbacks, Direction, Error, Event, Handle, Id, Interest, Room,
    testing::{Census, ManualBase},
};
use bufferevent_sync::atomic::{AtomicUsize, Ordering::SeqCst};
use proptest::prelude::*;

/// What a way holds at most ([`bufferevent::Defaults`]).
const QUEUE: usize = 64 * 1024;
/// The most output, and where it is full.
const CAP: usize = 150_000;
const HIGH: usize = 100_000;

/// What one half is told.
#[derive(Debug, Clone, Copy)]
enum Op {
    Write(usize),
    Drain(usize),
    Enable(Interest),
    Disable(Interest),
    ReadMark(Option<usize>),
    Shutdown(Direction),
    Close,
    Abort,
}

// ---- the model ----

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Draining,
    Gone,
}

/// One half.
#[derive(Debug)]
struct Side {
    state: State,
    on: Interest,
    high: Option<usize>,
    input: usize,
    output: usize,
    /// Directions that were shut down.
    shut: Interest,
    ends: usize,
    /// An end that waits until the input that the output had no room for was told again.
    owed: bool,
}

/// What one half has put and the other has not taken.
#[derive(Debug, Default)]
struct Way {
    queue: usize,
    ended: bool,
    refused: bool,
}

/// Two halves, and the way out of each.
#[derive(Debug)]
struct Model {
    sides: [Side; 2],
    ways: [Way; 2],
}

/// What a write is answered.
#[derive(Debug, PartialEq, Eq)]
enum Wrote {
    Some,
    Full,
    Refused(&'static str),
}

impl Model {
    fn new() -> Self {
        let side = || Side {
            state: State::Open,
            on: Interest::BOTH,
            high: None,
            input: 0,
            output: 0,
            shut: Interest::NONE,
            ends: 0,
            owed: false,
        };
        Self { sides: [side(), side()], ways: [Way::default(), Way::default()] }
    }

    fn write(&mut self, at: usize, len: usize) -> Wrote {
        let (side, way) = (&mut self.sides[at], &self.ways[at]);
        let refused = match () {
            () if side.state != State::Open => "closed",
            () if side.shut.contains(Interest::WRITE) => "shut down",
            () if way.refused => "unlinked",
            () if len > CAP => "too large",
            () if len > CAP - side.output => "full",
            () => {
                side.output += len;
                return if side.output >= HIGH { Wrote::Full } else { Wrote::Some };
            }
        };
        Wrote::Refused(refused)
    }

    fn apply(&mut self, at: usize, op: Op) {
        let side = &mut self.sides[at];
        if side.state == State::Gone || side.state == State::Draining && !matches!(op, Op::Abort) {
            return;
        }
        match op {
            Op::Write(_) => unreachable!("it has an answer"),
            Op::Drain(len) => side.input -= len.min(side.input),
            Op::Enable(on) if side.shut.contains(Interest::READ) => {
                side.on = side.on | on.difference(Interest::READ);
            }
            Op::Enable(on) => side.on = side.on | on,
            Op::Disable(off) => side.on = side.on.difference(off),
            Op::ReadMark(high) => side.high = high,
            Op::Shutdown(direction) => {
                side.shut = side.shut | direction.into();
                if direction == Direction::Read {
                    side.on = side.on.difference(Interest::READ);
                    side.owed = false;
                }
            }
            Op::Close => side.state = State::Draining,
            Op::Abort => self.leave(at),
        }
    }

    /// It is gone: nothing more is put into its way, and what was put for it is dropped.
    fn leave(&mut self, at: usize) {
        self.sides[at].state = State::Gone;
        self.refuse(1 - at);
    }

    fn refuse(&mut self, way: usize) {
        self.ways[way] = Way { queue: 0, refused: true, ended: self.ways[way].ended };
    }

    /// All that happens by itself.
    fn settle(&mut self) {
        while (0..2).any(|at| self.sends(at) || self.ends_its_way(at) || self.takes(at)) {}
    }

    fn sends(&mut self, at: usize) -> bool {
        let (side, way) = (&mut self.sides[at], &mut self.ways[at]);
        let may = match side.state {
            State::Open => side.on.contains(Interest::WRITE),
            State::Draining => true,
            State::Gone => false,
        };
        let most = if may && !way.refused { side.output.min(QUEUE - way.queue) } else { 0 };
        side.output -= most;
        way.queue += most;
        most > 0
    }

    fn ends_its_way(&mut self, at: usize) -> bool {
        let (side, way) = (&self.sides[at], &self.ways[at]);
        match side.state {
            State::Draining if side.output == 0 => {
                self.ways[at].ended = true;
                self.leave(at);
            }
            State::Draining if way.refused => self.leave(at),
            State::Open if side.shut.contains(Interest::READ) && !self.ways[1 - at].refused => {
                self.refuse(1 - at);
            }
            State::Open if side.shut.contains(Interest::WRITE) && side.output == 0 && !way.ended => {
                self.ways[at].ended = true;
            }
            _ => return false,
        }
        true
    }

    fn takes(&mut self, at: usize) -> bool {
        let (side, way) = (&mut self.sides[at], &mut self.ways[1 - at]);
        if side.state != State::Open || !side.on.contains(Interest::READ) {
            return false;
        }
        let room = side.high.map_or(usize::MAX, |high| high.saturating_sub(side.input));
        let most = way.queue.min(room);
        way.queue -= most;
        side.input += most;
        let ends = way.queue == 0 && way.ended && room > 0;
        if ends {
            side.on = side.on.difference(Interest::READ);
            side.owed = true;
        }
        ends || most > 0
    }

    /// The end was told, or may wait.
    fn tell_end(&mut self, at: usize, ends: usize) {
        let side = &mut self.sides[at];
        if side.state != State::Open {
            return;
        }
        if side.owed && ends > side.ends {
            (side.ends, side.owed) = (side.ends + 1, false);
        }
        assert_eq!(ends, side.ends, "ends that were told");
        let may_wait = side.output > 0 && side.on.contains(Interest::WRITE) && side.input > 0;
        assert!(!side.owed || may_wait, "an end is owed");
    }
}

// ---- the pair ----

/// How a half is reached.
enum Name {
    Confined(Id),
    Shared(Handle),
}

/// One half of a real pair.
struct Half {
    name: Name,
    ends: Arc<AtomicUsize>,
    written: usize,
    drained: usize,
}

struct Pair {
    base: ManualBase,
    halves: [Half; 2],
}

/// The bytes that a half writes, from a place in them on.
fn bytes(at: usize, from: usize, len: usize) -> Vec<u8> {
    let turn: Vec<u8> = (0..251).map(|place| ((from + place) % 251) as u8 ^ (at as u8 * 128)).collect();
    turn.iter().copied().cycle().take(len).collect()
}

impl Pair {
    fn new(shared: bool) -> Self {
        let mut base = ManualBase::new().unwrap();
        let halves = <[_; 2]>::from(Bufferevent::pair()).map(|half| {
            let ends = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&ends);
            let half = half.configure(|half| {
                half.set_output_cap(Some(CAP));
                half.set_write_watermark(0, Some(HIGH)).unwrap();
            });
            let tell = move |event: Event| {
                count.fetch_add(usize::from(matches!(event, Event::Eof)), SeqCst);
            };
            let name = if shared {
                let handler = Callbacks::new().on_event(move |_, event| tell(event));
                Name::Shared(half.threadsafe().handler(handler).start(&mut base).unwrap())
            } else {
                let handler = Callbacks::new().on_event(move |_, event| tell(event));
                Name::Confined(half.handler(handler).start(&mut base).unwrap())
            };
            Half { name, ends, written: 0, drained: 0 }
        });
        Self { base, halves }
    }

    /// Runs `f` on a half, unless that is gone.
    fn with<R>(&mut self, at: usize, f: impl FnOnce(&mut Bufferevent) -> R) -> Option<R> {
        match &self.halves[at].name {
            Name::Confined(id) => self.base.bufferevent(*id).ok().map(f),
            Name::Shared(handle) => handle.lock().ok().map(|mut half| f(&mut half)),
        }
    }

    fn write(&mut self, at: usize, len: usize) -> Wrote {
        let data = bytes(at, self.halves[at].written, len);
        let written = self.with(at, |half| half.write(&data)).unwrap_or(Err(Error::Closed));
        let refused = match written {
            Ok(room) => {
                self.halves[at].written += len;
                return if room == Room::Full { Wrote::Full } else { Wrote::Some };
            }
            Err(Error::Closed) => "closed",
            Err(Error::ShutDown) => "shut down",
            Err(Error::Unlinked) => "unlinked",
            Err(Error::TooLarge { .. }) => "too large",
            Err(Error::OutputFull { .. }) => "full",
            Err(other) => panic!("{other}"),
        };
        Wrote::Refused(refused)
    }

    fn drain(&mut self, at: usize, most: usize) {
        let drained = self.halves[at].drained;
        let taken = self.with(at, |half| {
            let mut got = vec![0; if half.is_closing() { 0 } else { most.min(half.input().len()) }];
            half.read(&mut got).unwrap();
            got
        });
        if let Some(got) = taken {
            assert!(
                got == bytes(1 - at, drained, got.len()),
                "other bytes than were written, or in another order"
            );
            self.halves[at].drained += got.len();
        }
    }

    fn apply(&mut self, at: usize, op: Op) {
        match op {
            Op::Write(_) => unreachable!("it has an answer"),
            Op::Drain(most) => self.drain(at, most),
            Op::Enable(on) => drop(self.with(at, |half| half.enable(on))),
            Op::Disable(off) => drop(self.with(at, |half| half.disable(off))),
            Op::ReadMark(high) => drop(self.with(at, |half| half.set_read_watermark(0, high).unwrap())),
            Op::Shutdown(direction) => drop(self.with(at, |half| drop(half.shutdown(direction)))),
            Op::Close => drop(self.with(at, Bufferevent::close)),
            Op::Abort => drop(self.with(at, Bufferevent::abort)),
        }
    }

    /// Both must agree.
    fn compare(&mut self, model: &mut Model) {
        for at in 0..2 {
            let seen = self.with(at, |half| match half.is_closing() {
                false => (State::Open, half.input().len(), half.output().len(), half.enabled()),
                true => (State::Draining, 0, half.output().len(), Interest::WRITE),
            });
            let side = &model.sides[at];
            let expected = match side.state {
                State::Open => Some((State::Open, side.input, side.output, side.on)),
                State::Draining => Some((State::Draining, 0, side.output, Interest::WRITE)),
                State::Gone => None,
            };
            assert_eq!(seen, expected, "half {at}");
            model.tell_end(at, self.halves[at].ends.load(SeqCst));
        }
    }
}

// ---- both ----

fn check(shared: bool, plan: &[(usize, Op)]) {
    let (mut pair, mut model) = (Pair::new(shared), Model::new());
    pair.base.settle().unwrap();
    for (step, &(at, op)) in plan.iter().enumerate() {
        if let Op::Write(len) = op {
            assert_eq!(pair.write(at, len), model.write(at, len), "step {step}");
        } else {
            pair.apply(at, op);
            model.apply(at, op);
        }
        pair.base.settle().unwrap();
        model.settle();
        pair.compare(&mut model);
    }
    // What is in the inputs is what was written.
    for at in 0..2 {
        pair.drain(at, usize::MAX);
    }
}

fn op() -> impl Strategy<Value = Op> {
    let size = || prop_oneof![0_usize..20, 1_usize..5_000, 50_000_usize..160_000];
    let interest = || prop::sample::select(vec![Interest::READ, Interest::WRITE, Interest::BOTH]);
    let mark = prop_oneof![Just(None), (1_usize..100).prop_map(Some), (1_usize..100_000).prop_map(Some)];
    prop_oneof![
        10 => size().prop_map(Op::Write),
        8 => size().prop_map(Op::Drain),
        4 => interest().prop_map(Op::Enable),
        4 => interest().prop_map(Op::Disable),
        3 => mark.prop_map(Op::ReadMark),
        1 => prop::sample::select(vec![Direction::Read, Direction::Write]).prop_map(Op::Shutdown),
        1 => Just(Op::Close),
        1 => Just(Op::Abort),
    ]
}

proptest! {
    #[test]
    fn whatever_both_halves_are_told_a_pair_does_what_its_model_does(
        shared in any::<bool>(),
        plan in prop::collection::vec((0_usize..2, op()), 1..60),
    ) {
        let _census = Census::begin();
        check(shared, &plan);
    }
}
