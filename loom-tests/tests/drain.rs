//! Protocol 12: the end of a drain, against what moves between bases and workers behind the looker's back.

#![cfg(loom)]

use bufferevent_runtime::__loom::{Inbox, Park, ParkWord, Population, Sleepers, is_quiet};
use bufferevent_sync::atomic::{AtomicUsize, Ordering};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, EventFd, assert_mutants_die, model};

/// What a base is told.
#[derive(Debug)]
enum Told {
    /// Tell the other base.
    PassOn,
    /// The object that lived here has gone.
    Forget,
}

struct Base {
    population: Population,
    inbox: Inbox<Told>,
}

/// Two bases and the worker of the second; the looker is that of the first. The bases are looked at in their order.
struct Pool {
    bases: [Base; 2],
    park: ParkWord,
    fd: EventFd,
}

impl Default for Pool {
    /// The worker sleeps.
    fn default() -> Self {
        let base = || Base { population: Population::new(), inbox: Inbox::with_capacity(4) };
        let pool = Self { bases: [base(), base()], park: ParkWord::new(), fd: EventFd::new() };
        assert_eq!(pool.park.park(|| false), Park::Sleep);
        pool
    }
}

impl Pool {
    fn is_deserted(&self) -> bool {
        self.bases.iter().all(|base| base.population.is_empty() && base.inbox.is_empty())
    }

    fn is_quiet(&self) -> bool {
        is_quiet(|| self.park.mark(), || self.is_deserted(), || self.park.is_marked())
    }

    fn tell(&self, base: usize, told: Told) {
        self.bases[base].inbox.push(told).expect("it is open, and not full");
    }

    /// The worker takes a message out, does what it says, and sleeps if that was all.
    fn take_one(&self) {
        self.park.woken();
        match self.bases[1].inbox.pop() {
            Some(Told::PassOn) => self.tell(0, Told::PassOn),
            Some(Told::Forget) => self.bases[1].population.leave(),
            None => {}
        }
        assert_eq!(self.park.park(|| false), Park::Sleep);
    }
}

/// A source goes from the second base to the first, in a callback of the worker.
#[test]
fn source_that_moves_is_not_missed() {
    model(Bounds::EXHAUSTIVE, || {
        let pool = Arc::new(Pool::default());
        pool.bases[1].population.enter();
        let worker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                pool.park.woken();
                pool.bases[0].population.enter();
                pool.bases[1].population.leave();
                assert_eq!(pool.park.park(|| false), Park::Sleep);
            })
        };
        assert!(!pool.is_quiet());
        worker.join().expect("no panic");
        assert!(!pool.is_quiet());
        pool.bases[0].population.leave();
        assert!(pool.is_quiet(), "what is over is seen");
    });
}

/// The same where the workers sleep in one place: the worker returns there, or comes for the first time.
#[test]
fn source_that_moves_between_sleepers_is_not_missed() {
    for is_new in [false, true] {
        model(Bounds::EXHAUSTIVE, move || {
            let (pool, sleepers) = (Arc::new(Pool::default()), Arc::new(Sleepers::new()));
            let active = Arc::new(AtomicUsize::new(0));
            pool.bases[1].population.enter();
            if !is_new {
                active.fetch_add(1, Ordering::AcqRel);
                sleepers.announce();
            }
            let worker = {
                let (pool, sleepers, active) =
                    (Arc::clone(&pool), Arc::clone(&sleepers), Arc::clone(&active));
                thread::spawn(move || {
                    match is_new {
                        true => drop(active.fetch_add(1, Ordering::AcqRel)),
                        false => sleepers.returned(),
                    }
                    pool.bases[0].population.enter();
                    pool.bases[1].population.leave();
                    sleepers.announce();
                })
            };
            let all = || active.load(Ordering::Acquire);
            let looks =
                || is_quiet(|| sleepers.mark(all()), || pool.is_deserted(), || sleepers.is_marked(all()));
            assert!(!looks());
            worker.join().expect("no panic");
            assert!(!looks());
            pool.bases[0].population.leave();
            assert!(looks(), "what is over is seen");
        });
    }
}

/// A message becomes another one, for the base that was looked at first.
#[test]
fn message_in_hand_is_not_missed() {
    model(Bounds::EXHAUSTIVE, || {
        let pool = Arc::new(Pool::default());
        pool.tell(1, Told::PassOn);
        let worker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.take_one())
        };
        assert!(!pool.is_quiet());
        worker.join().expect("no panic");
        assert!(!pool.is_quiet());
        assert!(pool.bases[0].inbox.pop().is_some());
        assert!(pool.is_quiet(), "what is over is seen");
    });
}

/// A strand goes from the second base to the first by another thread, which is not looked at.
#[test]
fn strand_that_moves_is_not_missed() {
    model(Bounds::LARGE, || {
        let pool = Arc::new(Pool::default());
        pool.bases[1].population.enter();
        let mover = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                pool.bases[0].population.enter();
                pool.tell(1, Told::Forget);
                if pool.park.notify() {
                    pool.fd.write();
                }
            })
        };
        let worker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                pool.fd.wait();
                pool.take_one();
            })
        };
        assert!(!pool.is_quiet());
        mover.join().expect("no panic");
        worker.join().expect("no panic");
        assert!(!pool.is_quiet());
        pool.bases[0].population.leave();
        assert!(pool.is_quiet(), "what is over is seen");
    });
}

/// One comes while another goes.
#[test]
fn count_is_exact() {
    model(Bounds::EXHAUSTIVE, || {
        let population = Arc::new(Population::new());
        population.enter();
        let other = {
            let population = Arc::clone(&population);
            thread::spawn(move || {
                population.enter();
                population.enter();
            })
        };
        population.leave();
        other.join().expect("no panic");
        assert_eq!(population.len(), 2);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("quiet_looks_once", "source_that_moves_is_not_missed"),
        ("quiet_looks_once", "source_that_moves_between_sleepers_is_not_missed"),
        ("quiet_looks_once", "message_in_hand_is_not_missed"),
        ("quiet_looks_once", "strand_that_moves_is_not_missed"),
        ("population_enter:torn", "count_is_exact"),
        ("population_leave:torn", "count_is_exact"),
        ("population_leave:acquire", "source_that_moves_is_not_missed"),
        ("population_leave:acquire", "source_that_moves_between_sleepers_is_not_missed"),
        ("population_is_empty:relaxed", "source_that_moves_is_not_missed"),
        ("park_mark:torn", "source_that_moves_is_not_missed"),
        ("park_mark:release", "source_that_moves_is_not_missed"),
        ("park_announce:acquire", "source_that_moves_is_not_missed"),
        ("sleepers_mark:torn", "source_that_moves_between_sleepers_is_not_missed"),
        ("sleepers_mark:release", "source_that_moves_between_sleepers_is_not_missed"),
        ("sleepers_announce:acquire", "source_that_moves_between_sleepers_is_not_missed"),
        ("sleepers_announce_keeps_the_mark", "source_that_moves_between_sleepers_is_not_missed"),
        ("inbox_pop:acquire", "message_in_hand_is_not_missed"),
        ("inbox_is_empty:release", "message_in_hand_is_not_missed"),
    ]);
}
