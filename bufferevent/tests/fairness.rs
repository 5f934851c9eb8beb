//! How much one bufferevent may do before others have their turn (F25).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use bufferevent::{
    Bufferevent, Callbacks, Context, Handler, MAX_SINGLE_READ, Pinned, READS_PER_RUN,
    testing::{Census, ManualBase, Wire},
};
use bufferevent_sync::Mutex;

/// What one run reads at most, unless it is told to read less.
const RUN: usize = READS_PER_RUN as usize * MAX_SINGLE_READ;

/// Which one has read how much, in order.
type Log = Arc<Mutex<Vec<(usize, usize)>>>;

fn start(base: &mut ManualBase, number: usize, shared: bool, log: &Log, most: Option<usize>) -> Wire {
    let wire = Wire::new();
    let builder = Bufferevent::scripted(&wire).configure(move |bufferevent| {
        if let Some(most) = most {
            bufferevent.set_max_single_read(most);
        }
    });
    if shared {
        builder.handler(reader(number, log)).threadsafe().start(base).unwrap();
    } else {
        let log = Arc::clone(log);
        let read = move |cx: &mut Context<'_, Pinned>| log.lock().push((number, take(cx.input())));
        builder.handler(Callbacks::new().on_read(read)).start(base).unwrap();
    }
    wire
}

fn reader(number: usize, log: &Log) -> impl Handler + Send + 'static {
    let log = Arc::clone(log);
    Callbacks::new().on_read(move |cx: &mut Context<'_>| log.lock().push((number, take(cx.input()))))
}

fn take(input: &mut bufferevent::Evbuffer) -> usize {
    let n = input.len();
    input.drain(n).unwrap();
    n
}

#[test]
fn one_that_always_has_data_holds_up_no_other() {
    // F25
    let _census = Census::begin();
    for shared in [false, true] {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let hot = start(&mut base, 0, shared, &log, None);
        let others = Vec::from_iter((1..=20).map(|number| start(&mut base, number, shared, &log, None)));
        base.settle().unwrap();
        hot.deliver(&vec![0; 16 << 20]);
        others.iter().for_each(|other| other.deliver(b"a little"));
        base.settle().unwrap();
        let log = log.lock();
        let last = log.iter().rposition(|(number, _)| *number != 0).unwrap();
        let before: usize = log[..last].iter().filter(|(number, _)| *number == 0).map(|(_, n)| n).sum();
        assert!(before <= RUN, "shared {shared}: {before} bytes before the last of the others");
        assert_eq!(log.iter().filter(|(number, _)| *number != 0).count(), 20);
        assert_eq!(log.iter().map(|(_, n)| n).sum::<usize>(), (16 << 20) + 20 * 8);
    }
}

#[test]
fn all_that_always_have_data_read_alike_at_any_moment() {
    // F25: the fairness index is at least 0.95.
    let _census = Census::begin();
    for (shared, most) in [(false, None), (true, None), (false, Some(1_000)), (true, Some(1_000))] {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let each = 32 * most.map_or(RUN, |most| usize::from(READS_PER_RUN) * most);
        let wires = Vec::from_iter((0..10).map(|number| start(&mut base, number, shared, &log, most)));
        base.settle().unwrap();
        wires.iter().for_each(|wire| wire.deliver(&vec![0; each]));
        base.settle().unwrap();
        let mut read = [0; 10];
        for (count, (number, n)) in log.lock().iter().enumerate() {
            read[*number] += n;
            // After three runs of each.
            if count > 3 * 10 * usize::from(READS_PER_RUN) {
                let sum: f64 = read.iter().map(|n| *n as f64).sum();
                let squares: f64 = read.iter().map(|n| (*n as f64).powi(2)).sum();
                assert!(sum * sum / (10.0 * squares) >= 0.95, "after {count}: {read:?}");
            }
        }
        assert_eq!(read, [each; 10]);
    }
}
