//! Protocol 7: what a runner leaves for a later run comes in exactly one, whatever happens between.

#![cfg(loom)]

use bufferevent_runtime::__loom::Reasons;
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, Strand, Tally, assert_mutants_die, model};

/// A strand whose first run defers one callback.
#[derive(Default)]
struct Deferring {
    strand: Strand,
    deferred: Exclusive,
    ran: Tally,
    delivered: Tally,
}

impl Deferring {
    fn callback(&self, reasons: Reasons) -> Reasons {
        let mail = self.strand.word.take(Reasons::MAIL);
        self.strand.delivered.set(mail.bits());
        assert!(Reasons::MAIL.contains(mail), "took {mail:?}");
        if reasons.contains(Reasons::DEFERRED) {
            self.deferred.read();
            self.delivered.add(1);
        }
        if self.ran.add(1) > 1 {
            return Reasons::EMPTY;
        }
        assert!(!reasons.contains(Reasons::DEFERRED), "delivered before it was deferred");
        self.deferred.write();
        Reasons::DEFERRED
    }

    fn run(&self) {
        self.strand.run_locked(|reasons| self.callback(reasons));
    }

    fn assert_delivered_once(&self) {
        self.strand.drain(|reasons| self.callback(reasons));
        self.strand.assert_idle();
        assert_eq!(self.delivered.get(), 1, "deferred once, delivered once");
    }
}

#[test]
fn deferred_is_delivered_once_among_posts() {
    model(Bounds::LARGE, || {
        let deferring = Arc::new(Deferring::default());
        let _ = deferring.strand.post(Reasons::READABLE);
        let posters: Vec<_> = [Reasons::MAIL, Reasons::TIMER]
            .into_iter()
            .map(|reason| {
                let deferring = Arc::clone(&deferring);
                thread::spawn(move || {
                    let _ = deferring.strand.post(reason);
                    deferring.run();
                })
            })
            .collect();
        deferring.run();
        for poster in posters {
            poster.join().expect("no panic");
        }
        deferring.assert_delivered_once();
        let all = Reasons::READABLE | Reasons::MAIL | Reasons::TIMER | Reasons::DEFERRED;
        assert_eq!(deferring.strand.delivered.get(), all.bits());
    });
}

#[test]
fn deferred_is_delivered_once_among_hand_overs() {
    model(Bounds::LARGE, || {
        let deferring = Arc::new(Deferring::default());
        let _ = deferring.strand.post(Reasons::READABLE);
        let guard = {
            let deferring = Arc::clone(&deferring);
            thread::spawn(move || {
                if deferring.strand.lock.try_lock() {
                    deferring.strand.drop_guard(Reasons::GUARD);
                }
            })
        };
        let poster = {
            let deferring = Arc::clone(&deferring);
            thread::spawn(move || {
                let _ = deferring.strand.post(Reasons::MAIL);
            })
        };
        deferring.run();
        deferring.run();
        guard.join().expect("no panic");
        poster.join().expect("no panic");
        deferring.assert_delivered_once();
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("strand_finish:torn", "deferred_is_delivered_once_among_posts"),
        ("strand_finish_drops_left", "deferred_is_delivered_once_among_posts"),
        ("strand_finish_drops_left", "deferred_is_delivered_once_among_hand_overs"),
        ("strand_begin:torn", "deferred_is_delivered_once_among_posts"),
        ("strand_take:torn", "deferred_is_delivered_once_among_posts"),
        ("strand_take_takes_all", "deferred_is_delivered_once_among_posts"),
        ("strand_post:torn", "deferred_is_delivered_once_among_posts"),
        ("strand_contend_drops_reasons", "deferred_is_delivered_once_among_hand_overs"),
        ("strand_contend:torn", "deferred_is_delivered_once_among_hand_overs"),
        ("strand_release:torn", "deferred_is_delivered_once_among_hand_overs"),
    ]);
}
