//! What holds whatever happens (F22, F23, F8 to F10): random scripts of a transport, times random acts of a handler and of
//! its owner, times option sets.
//!
//! Checked: bytes in and out keep their order and their count; at most one `Connected`; after a close nothing but the one
//! `Closed`; callbacks are serial; caps hold; whenever all is at rest nothing is left undone that might be done; in the end
//! nothing lives.

use std::sync::Arc;

use bufferevent::{
    Bufferevent, Interest, Trigger,
    testing::{Census, Random, Wire},
};
use bufferevent_sync::Mutex;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    harness::{Actor, Call, Cx, SETS, Set, pattern},
    sim::Sim,
};

const INPUT_CAP: usize = 700;
const OUTPUT_CAP: usize = 900;

/// What a callback, or the owner of the bufferevent, does.
#[derive(Clone, Debug)]
enum Act {
    Take(usize),
    Write(usize),
    Enable(Interest),
    Disable(Interest),
    InputMarks(usize, usize),
    OutputMark(usize),
    Trigger(Interest, bool, bool),
    TriggerEvent(u16, bool),
    Replace,
    Close,
    Abort,
}

/// What happens outside, one after the other; all comes to rest after each.
#[derive(Clone, Debug)]
enum Step {
    Deliver(usize, usize),
    Owner(Act),
    Room(usize),
    Spurious(u8),
    Connect,
}

#[derive(Clone, Debug)]
struct Plan {
    set: Set,
    connects: bool,
    /// What disturbs the transport, if anything does.
    faults: Option<u64>,
    /// What each callback does, in turn; none for those that come later but to take the input.
    acts: Vec<Act>,
    steps: Vec<Step>,
    ends: bool,
}

fn interest() -> impl Strategy<Value = Interest> {
    select(vec![Interest::READ, Interest::WRITE, Interest::BOTH])
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..400_usize).prop_map(Act::Take),
        6 => (1..400_usize).prop_map(Act::Write),
        3 => interest().prop_map(Act::Enable),
        2 => interest().prop_map(Act::Disable),
        1 => (0..300_usize, 1..600_usize).prop_map(|(low, more)| Act::InputMarks(low, low + more)),
        1 => (0..300_usize).prop_map(Act::OutputMark),
        2 => (interest(), any::<bool>(), any::<bool>()).prop_map(|(of, force, defer)| Act::Trigger(of, force, defer)),
        2 => (1..8_u16, any::<bool>()).prop_map(|(bits, defer)| Act::TriggerEvent(bits, defer)),
        1 => Just(Act::Replace),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![30 => act(), 1 => Just(Act::Close), 1 => Just(Act::Abort)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..1_500_usize, 1..600_usize).prop_map(|(len, chunk)| Step::Deliver(len, chunk)),
        5 => any_act().prop_map(Step::Owner),
        2 => (0..500_usize).prop_map(Step::Room),
        2 => (0..16_u8).prop_map(Step::Spurious),
        1 => Just(Step::Connect),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let faults = prop_oneof![1 => Just(None), 3 => any::<u64>().prop_map(Some)];
    (select(SETS.to_vec()), any::<bool>(), faults, vec(any_act(), 0..24), vec(step(), 1..24), any::<bool>())
        .prop_map(|(set, connects, faults, acts, steps, ends)| Plan {
            set,
            connects,
            faults,
            acts,
            steps,
            ends,
        })
}

/// What was moved through the bufferevent, by callbacks and by its owner.
#[derive(Default)]
struct Moved {
    taken: Vec<u8>,
    accepted: Vec<u8>,
    acts: std::vec::IntoIter<Act>,
    inside: bool,
    closing: bool,
    broken: Vec<String>,
}

type Shared = Arc<Mutex<Moved>>;

fn perform(act: &Act, bufferevent: &mut Bufferevent, moved: &mut Moved) {
    match *act {
        Act::Take(n) => {
            let mut some = vec![0; n];
            let got = bufferevent.read(&mut some).unwrap();
            moved.taken.extend(&some[..got]);
        }
        Act::Write(n) => {
            let next = pattern(moved.accepted.len() + n).split_off(moved.accepted.len());
            if bufferevent.write(&next).is_ok() {
                moved.accepted.extend(next);
            }
        }
        Act::Enable(of) => bufferevent.enable(of),
        Act::Disable(of) => bufferevent.disable(of),
        Act::InputMarks(low, high) => bufferevent.set_read_watermark(low, Some(high)).unwrap(),
        Act::OutputMark(low) => bufferevent.set_write_watermark(low, Some(low + 100)).unwrap(),
        Act::Trigger(of, ignore, defer) => {
            let how = if ignore { Trigger::IGNORE_WATERMARKS } else { Trigger::PLAIN };
            bufferevent.trigger(of, if defer { how.deferred() } else { how });
        }
        Act::TriggerEvent(bits, defer) => {
            bufferevent.trigger_event(bits, if defer { Trigger::DEFER } else { Trigger::PLAIN });
        }
        Act::Replace => {}
        Act::Close => bufferevent.close(),
        Act::Abort => bufferevent.abort(),
    }
    moved.closing |= matches!(act, Act::Close | Act::Abort);
}

fn on_call(shared: &Shared, cx: &mut Cx<'_, '_>, call: &Call) {
    let mut moved = shared.lock();
    if std::mem::replace(&mut moved.inside, true) {
        moved.broken.push("a callback inside a callback".to_owned());
    }
    if moved.closing && *call != Call::Closed {
        moved.broken.push(format!("{call:?} after a close"));
    }
    if cx.input().len() > INPUT_CAP || cx.output().len() > OUTPUT_CAP {
        let (input, output) = (cx.input().len(), cx.output().len());
        moved.broken.push(format!("past its cap: input {input}, output {output}"));
    }
    let act = match (moved.acts.next(), call) {
        (Some(act), _) => Some(act),
        (None, Call::Read) => Some(Act::Take(usize::from(u16::MAX))),
        (None, _) => None,
    };
    if let Some(act) = act {
        perform(&act, cx, &mut moved);
        if matches!(act, Act::Replace) {
            let (log, shared) = (cx.log().clone(), Arc::clone(shared));
            cx.replace(Actor::heir(&log, 1, move |cx, call| on_call(&shared, cx, call)));
        }
    }
    moved.inside = false;
}

fn check(plan: Plan) {
    let _census = Census::begin();
    let (mut sim, wire) = (Sim::new(), if plan.connects { Wire::connecting() } else { Wire::new() });
    if let Some(seed) = plan.faults {
        wire.disturb(Random::new(seed));
    }
    let shared: Shared = Arc::new(Mutex::new(Moved { acts: plan.acts.into_iter(), ..Moved::default() }));
    let builder = Bufferevent::scripted(&wire).caps(Some(INPUT_CAP), Some(OUTPUT_CAP)).report_close();
    let theirs = Arc::clone(&shared);
    let conn = sim.start_with(plan.set, builder, move |cx, call| on_call(&theirs, cx, call));
    let mut delivered = 0;
    let mut connected = !plan.connects;
    let mut closed = None;
    sim.settle();
    for step in &plan.steps {
        match step {
            Step::Deliver(len, chunk) => {
                let bytes = pattern(delivered + len).split_off(delivered);
                wire.deliver_in(&bytes, *chunk);
                delivered += len;
            }
            Step::Owner(act) => {
                let _ended = sim.with(&conn, |bufferevent| perform(act, bufferevent, &mut shared.lock()));
            }
            Step::Room(bytes) => wire.set_room(*bytes),
            Step::Spurious(bits) => wire.ready(bufferevent::testing::Ready::from_bits(*bits)),
            Step::Connect => {
                wire.connect();
                connected = true;
            }
        }
        sim.settle();
        closed = closed.or_else(|| conn.log.closed());
        let at_rest = sim.with(&conn, |bufferevent| {
            let (_, high) = bufferevent.watermark(bufferevent::Direction::Read);
            let full = bufferevent.input().len() >= high.unwrap_or(INPUT_CAP).min(INPUT_CAP);
            let reads = bufferevent.enabled().contains(Interest::READ) && !full;
            let writes = bufferevent.enabled().contains(Interest::WRITE) && !bufferevent.output().is_empty();
            (bufferevent.is_connected(), reads, writes, bufferevent.input().len())
        });
        let moved = shared.lock();
        assert!(moved.broken.is_empty(), "{:?}", moved.broken);
        if let Ok((true, reads, writes, input)) = at_rest {
            assert!(connected);
            // No byte waits that may be read, and none that may be written.
            assert!(!reads || moved.taken.len() + input == delivered, "{step:?}: input is left");
            assert!(!writes || wire.room() == 0, "{step:?}: output is left");
        }
        assert!(pattern(delivered).starts_with(&moved.taken) && moved.accepted.starts_with(&wire.written()));
    }
    // The end, for those that have not come to theirs.
    if plan.ends {
        wire.connect();
        wire.end();
        wire.set_room(usize::MAX);
        sim.settle();
        let _ = sim.with(&conn, |bufferevent| bufferevent.close());
        sim.advance(std::time::Duration::from_secs(120));
    } else {
        let _ = sim.with(&conn, |bufferevent| bufferevent.abort());
        sim.settle();
        sim.advance(std::time::Duration::from_secs(120));
    }
    let closed = closed.or_else(|| conn.log.closed()).unwrap();
    let moved = shared.lock();
    let calls = conn.log.calls();
    assert!(moved.broken.is_empty(), "{:?}", moved.broken);
    assert!(wire.is_closed() && sim.is_gone(&conn) && sim.base.is_empty());
    assert!(conn.log.count(Call::Connected) <= usize::from(plan.connects), "{calls:?}");
    assert_eq!((conn.log.count(Call::Closed), calls.last()), (1, Some(&Call::Closed)), "{calls:?}");
    // Every byte that was taken from the owner was sent or told as unsent; every byte that came in went to the owner.
    assert_eq!(wire.written().len() + closed.unsent, moved.accepted.len(), "{calls:?}");
    let mut taken = moved.taken.clone();
    taken.extend(closed.unread.to_vec());
    assert!(pattern(delivered).starts_with(&taken), "{calls:?}");
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(500)))]

    #[test]
    fn whatever_happens_nothing_is_lost_doubled_reordered_or_left_undone(plan in plan()) {
        check(plan);
    }
}
