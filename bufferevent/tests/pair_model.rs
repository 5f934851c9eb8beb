//! A pair against a model of it: whatever either half is told, in any order and by pieces of any size, the same bytes are in
//! the same places, and the same writes, flushes and ends are answered and told.
//!
//! The model counts: a byte is known by its place in what was written. After each operation the base is turned until
//! nothing is left to do, and then both must agree on everything that can be seen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use bufferevent::{
    BaseExt as _, Bufferevent, Callbacks, Direction, Error, Event, FlushMode, Flushed, Handle, Id, Interest,
    Room,
    testing::{Census, ManualBase},
};
use bufferevent_sync::Mutex;
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
    Flush(Interest, FlushMode),
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
    told: Told,
    /// What was put is to be taken past the high mark, once reading is on.
    pushed: bool,
    /// Ends that are to be told. They wait until the input that the output had no room for was told again, and those that come
    /// before the first of them is told may be one.
    owed: usize,
    /// None of them was.
    waits: bool,
}

/// What one half has been told of the other's way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    ends: usize,
    cuts: usize,
}

/// What one half has put and the other has not taken.
#[derive(Debug, Default)]
struct Way {
    queue: usize,
    end: End,
    refused: bool,
}

/// What comes behind what was put.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    No,
    /// Of a flush: more may follow.
    Once,
    ForGood,
    /// There was more, which was not sent.
    Cut,
}

impl Way {
    fn end(&mut self, end: End) {
        if matches!(self.end, End::No | End::Once) {
            self.end = end;
        }
    }
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

/// What a flush is answered.
#[derive(Debug, PartialEq, Eq)]
enum Pushed {
    Nothing,
    Produced,
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
            told: Told::default(),
            pushed: false,
            owed: 0,
            waits: false,
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
            Op::Write(_) | Op::Flush(..) => unreachable!("it has an answer"),
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
                    (side.owed, side.waits) = (0, false);
                }
            }
            Op::Close => {
                side.state = State::Draining;
                self.refuse(1 - at);
            }
            Op::Abort => {
                if side.state == State::Draining {
                    self.ways[at].end(End::Cut);
                }
                self.leave(at);
            }
        }
    }

    fn flush(&mut self, at: usize, directions: Interest, mode: FlushMode) -> Pushed {
        let (side, refused) = (&self.sides[at], self.ways[at].refused);
        if side.state != State::Open {
            return Pushed::Refused("closed");
        } else if refused {
            return Pushed::Refused("unlinked");
        }
        let both = |one: Interest, on: Interest| directions.contains(one) && on.contains(one);
        let (reads, writes) = (both(Interest::READ, side.on), both(Interest::WRITE, side.on));
        let (mut moved, queued) = (0, self.ways[1 - at].queue);
        if reads {
            self.take(at, usize::MAX);
            moved += queued;
        }
        if writes {
            let (side, way) = (&mut self.sides[at], &mut self.ways[at]);
            let most = side.output.min(CAP.saturating_sub(way.queue));
            side.output -= most;
            way.queue += most;
            moved += most;
            if mode == FlushMode::Finished {
                way.end(End::Once);
            }
            self.sides[1 - at].pushed = true;
        }
        if moved > 0 { Pushed::Produced } else { Pushed::Nothing }
    }

    /// It is gone: nothing more is put into its way, and what was put for it is dropped.
    fn leave(&mut self, at: usize) {
        self.sides[at].state = State::Gone;
        self.refuse(1 - at);
    }

    fn refuse(&mut self, way: usize) {
        self.ways[way] = Way { queue: 0, refused: true, end: self.ways[way].end };
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
        let most = if may && !way.refused { side.output.min(QUEUE.saturating_sub(way.queue)) } else { 0 };
        side.output -= most;
        way.queue += most;
        most > 0
    }

    fn ends_its_way(&mut self, at: usize) -> bool {
        let (side, way) = (&self.sides[at], &self.ways[at]);
        match side.state {
            State::Draining if side.output == 0 => {
                self.ways[at].end(End::ForGood);
                self.leave(at);
            }
            State::Draining if way.refused => self.leave(at),
            State::Open if side.shut.contains(Interest::READ) && !self.ways[1 - at].refused => {
                self.refuse(1 - at);
            }
            State::Open
                if side.shut.contains(Interest::WRITE) && side.output == 0 && way.end != End::ForGood =>
            {
                self.ways[at].end(End::ForGood);
            }
            _ => return false,
        }
        true
    }

    fn takes(&mut self, at: usize) -> bool {
        let side = &mut self.sides[at];
        if side.state != State::Open || !side.on.contains(Interest::READ) {
            return false;
        }
        let pushed = std::mem::take(&mut side.pushed);
        let room = side.high.filter(|_| !pushed).map_or(usize::MAX, |high| high.saturating_sub(side.input));
        self.take(at, room)
    }

    fn take(&mut self, at: usize, room: usize) -> bool {
        let (side, way) = (&mut self.sides[at], &mut self.ways[1 - at]);
        let most = way.queue.min(room);
        way.queue -= most;
        side.input += most;
        let end = if way.queue == 0 && room > 0 { way.end } else { End::No };
        match end {
            End::No => return most > 0,
            End::Once => way.end = End::No,
            End::ForGood => side.on = side.on.difference(Interest::READ),
            End::Cut => {
                side.on = side.on.difference(Interest::READ);
                side.told.cuts += 1;
                return true;
            }
        }
        side.owed += 1;
        side.waits = true;
        true
    }

    /// The end was told, or may wait.
    fn tell_end(&mut self, at: usize, told: Told) {
        let side = &mut self.sides[at];
        if side.state != State::Open {
            return;
        }
        let more = told.ends.saturating_sub(side.told.ends).min(side.owed);
        if more > 0 {
            side.told.ends += more;
            side.owed -= more;
            side.waits = false;
        }
        assert_eq!(told, side.told, "ends that were told");
        let may_wait = side.output > 0 && side.on.contains(Interest::WRITE) && side.input > 0;
        assert!(!side.waits || may_wait, "an end is owed");
        if !may_wait {
            side.owed = 0;
        }
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
    told: Arc<Mutex<Told>>,
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
            let told = Arc::new(Mutex::new(Told::default()));
            let count = Arc::clone(&told);
            let half = half.configure(|half| {
                half.set_output_cap(Some(CAP));
                half.set_write_watermark(0, Some(HIGH)).unwrap();
            });
            let tell = move |event: Event| {
                let mut told = count.lock();
                told.ends += usize::from(matches!(event, Event::Eof));
                let cut = matches!(event, Event::Error { direction: Some(Direction::Read), .. });
                told.cuts += usize::from(cut);
            };
            let name = if shared {
                let handler = Callbacks::new().on_event(move |_, event| tell(event));
                Name::Shared(half.threadsafe().handler(handler).start(&mut base).unwrap())
            } else {
                let handler = Callbacks::new().on_event(move |_, event| tell(event));
                Name::Confined(half.handler(handler).start(&mut base).unwrap())
            };
            Half { name, told, written: 0, drained: 0 }
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

    fn flush(&mut self, at: usize, directions: Interest, mode: FlushMode) -> Pushed {
        let flushed = self.with(at, |half| half.flush(directions, mode)).unwrap_or(Err(Error::Closed));
        match flushed {
            Ok(Flushed::Nothing) => Pushed::Nothing,
            Ok(Flushed::Produced) => Pushed::Produced,
            Err(Error::Closed) => Pushed::Refused("closed"),
            Err(Error::Unlinked) => Pushed::Refused("unlinked"),
            Err(other) => panic!("{other}"),
        }
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
            Op::Write(_) | Op::Flush(..) => unreachable!("it has an answer"),
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
            let told = *self.halves[at].told.lock();
            model.tell_end(at, told);
        }
    }
}

// ---- both ----

fn check(shared: bool, plan: &[(usize, Op)]) {
    let (mut pair, mut model) = (Pair::new(shared), Model::new());
    pair.base.settle().unwrap();
    for (step, &(at, op)) in plan.iter().enumerate() {
        match op {
            Op::Write(len) => assert_eq!(pair.write(at, len), model.write(at, len), "step {step}"),
            Op::Flush(directions, mode) => {
                assert_eq!(
                    pair.flush(at, directions, mode),
                    model.flush(at, directions, mode),
                    "step {step}"
                );
            }
            op => {
                pair.apply(at, op);
                model.apply(at, op);
            }
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
    let mode = || prop::sample::select(vec![FlushMode::Normal, FlushMode::Flush, FlushMode::Finished]);
    let mark = prop_oneof![Just(None), (1_usize..100).prop_map(Some), (1_usize..100_000).prop_map(Some)];
    prop_oneof![
        10 => size().prop_map(Op::Write),
        8 => size().prop_map(Op::Drain),
        4 => interest().prop_map(Op::Enable),
        4 => interest().prop_map(Op::Disable),
        3 => mark.prop_map(Op::ReadMark),
        1 => prop::sample::select(vec![Direction::Read, Direction::Write]).prop_map(Op::Shutdown),
        4 => (interest(), mode()).prop_map(|(directions, mode)| Op::Flush(directions, mode)),
        1 => Just(Op::Close),
        1 => Just(Op::Abort),
    ]
}

/// What comes behind the end of a flush is a beginning, and has an end of its own.
#[test]
fn the_end_of_a_flush_and_that_of_a_close_are_two() {
    let _census = Census::begin();
    for shared in [false, true] {
        let plan = [
            (1, Op::Disable(Interest::BOTH)),
            (0, Op::Write(50_000)),
            (0, Op::Flush(Interest::WRITE, FlushMode::Finished)),
            // More than the queue holds.
            (0, Op::Write(50_000)),
            (0, Op::Close),
            (1, Op::Enable(Interest::READ)),
        ];
        check(shared, &plan);
    }
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
