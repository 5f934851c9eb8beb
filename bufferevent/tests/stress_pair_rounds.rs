//! F21: what answers each other for ever needs neither stack nor memory for it. A process of its own, for its memory is
//! looked at.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{ptr, sync::Arc, time::Duration};

use bufferevent::{Base, Bufferevent, Builder, Context, Handler, Movable, runtime::Clock, testing::Census};
use bufferevent_sync::Mutex;

/// Rounds after which all that is kept is there.
const WARM: usize = 10_000;

/// What the read callbacks saw.
#[derive(Debug)]
struct Seen {
    rounds: usize,
    most: usize,
    /// Where their stacks were: the lowest and the highest.
    stack: (usize, usize),
    /// Pages in memory when it was warm.
    pages: usize,
}

/// Sends back what arrives.
struct Echo(Arc<Mutex<Seen>>);

impl Handler for Echo {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let here = ptr::from_ref(&cx).addr();
        let mut seen = self.0.lock();
        seen.stack = (seen.stack.0.min(here), seen.stack.1.max(here));
        seen.rounds += 1;
        if seen.rounds == 2 * WARM {
            seen.pages = pages();
        }
        if seen.rounds < 2 * seen.most {
            let (input, output) = cx.buffers();
            output.append(input).unwrap();
        } else {
            cx.close();
        }
    }
}

fn pages() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

fn play(rounds: usize, start: impl FnOnce([Builder; 2], [Echo; 2], &mut Base)) {
    let mut base = Base::<Movable>::with_clock(Clock::monotonic()).unwrap();
    let seen = Arc::new(Mutex::new(Seen { rounds: 0, most: rounds, stack: (usize::MAX, 0), pages: 0 }));
    let (one, other) = Bufferevent::pair();
    let one = one.configure(|half| assert!(half.write(&[7; 64]).is_ok()));
    start([one, other], [Echo(Arc::clone(&seen)), Echo(Arc::clone(&seen))], &mut base);
    while seen.lock().rounds < 2 * rounds {
        base.turn(Some(Duration::ZERO)).unwrap();
    }
    let (more, seen) = (pages(), seen.lock());
    assert!(seen.stack.1 - seen.stack.0 < 16 * 1024, "{seen:?}");
    assert!(more <= seen.pages + 64, "{more} pages, {seen:?}");
}

#[test]
fn stress_a_million_rounds_need_neither_stack_nor_memory() {
    // P-01, F21: half a minute without optimisation, so fewer then
    let _census = Census::begin();
    let rounds = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    play(rounds, |[one, other], [here, there], base| {
        one.handler(here).start(base).unwrap();
        other.handler(there).start(base).unwrap();
    });
    play(rounds, |[one, other], [here, there], base| {
        one.threadsafe().handler(here).start(base).unwrap();
        other.threadsafe().handler(there).start(base).unwrap();
    });
}
