//! What a runtime tells of itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use bufferevent_runtime::{Census, Runtime, Waiter};

#[test]
fn a_snapshot_counts_what_lives_waits_and_ran() {
    let _census = Census::begin();
    let runtime = Runtime::builder().workers(1).bases(2).build().unwrap();
    let snapshot = runtime.explain();
    assert_eq!((snapshot.bases.len(), snapshot.workers.len()), (2, 1));
    assert!(snapshot.bases.iter().all(|base| base.objects == 0 && base.turns == 0));

    let base = runtime.bases()[1].clone();
    let told = Arc::new(Waiter::default());
    let teller = Arc::clone(&told);
    base.post(move |base| {
        base.after(Duration::from_secs(3_600), |_| {});
        teller.wake();
    })
    .unwrap();
    assert_eq!((base.explain().index, base.explain().messages), (1, 1));

    let mine = runtime.clone();
    let running = std::thread::spawn(move || mine.run().unwrap());
    told.wait();
    let snapshot = runtime.explain();
    assert_eq!((snapshot.bases[0].objects, snapshot.bases[1].objects), (0, 1));
    assert!(snapshot.bases[1].turns > 0);
    let text = snapshot.to_string();
    assert!(text.contains("base 1: 1 objects") && text.contains("worker 0: "), "{text}");
    runtime.stop();
    running.join().unwrap();
}
