//! Ranges of files that filters are given: what becomes of one that was cut short.

use std::{fs, io, sync::Arc};

use bufferevent::{
    Bufferevent, Cause, Evbuffer, Filter, FilterCall, FilterError, FilterFn, FilterStatus, FlushMode,
    Interest, evbuffer::FileSegment, testing::Census, testing::Wire,
};

use crate::seen::{Seen, Sim};

/// The first `there` bytes of a file are there still, of those that were put into the output.
fn write_cut_short(bufferevent: &mut Bufferevent, len: usize, there: usize) {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(format!("bufferevent-filters-{process}-{thread:?}"));
    fs::write(&path, vec![b'f'; len]).unwrap();
    let file = Arc::new(fs::File::options().read(true).write(true).open(&path).unwrap());
    fs::remove_file(&path).unwrap();
    bufferevent.output().add_file_segment(FileSegment::new(Arc::clone(&file), ..).unwrap()).unwrap();
    file.set_len(there as u64).unwrap();
}

/// Sends pieces of a thousand bytes, and a mark at the end.
fn thousands() -> impl Filter {
    FilterFn::new().on_output(|call: &mut FilterCall<'_>| -> Result<FilterStatus, FilterError> {
        let whole = call.source.len() / 1_000 * 1_000;
        call.source.move_to(call.destination, whole)?;
        if call.mode() == FlushMode::Finished {
            call.destination.add(b".")?;
        }
        Ok(FilterStatus::NeedMore)
    })
}

/// Takes all at once, and gives it three times, as far as it may.
fn hoarding() -> impl Filter {
    let mut hoard = Evbuffer::new();
    FilterFn::new().on_output(move |call: &mut FilterCall<'_>| -> Result<FilterStatus, FilterError> {
        let n = call.source.len();
        for byte in call.source.take_bytes(n)? {
            hoard.add(&[byte; 3])?;
        }
        hoard.move_to(call.destination, call.room())?;
        Ok(FilterStatus::Ok)
    })
}

#[test]
fn a_file_that_was_cut_short_is_an_error_though_the_filter_waits_for_more_of_it() {
    // B-21, D10, F65
    let _census = Census::begin();
    for flushes in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).filter(thousands());
        let mut sim = Sim::start(true, builder.report_close(), &seen);
        sim.with(move |top| {
            write_cut_short(top, 5_000, 2_500);
            if flushes {
                top.flush(Interest::WRITE, FlushMode::Finished).unwrap();
            }
        })
        .unwrap();
        sim.settle();
        assert_eq!(wire.written(), [b'f'; 2_000]);
        assert_eq!(seen.events().len(), 1);
        assert!(
            seen.events()[0].contains("direction: Some(Write), cause: File(Ended"),
            "{:?}",
            seen.events()
        );
        assert_eq!(sim.with(|top| (top.enabled(), top.output().len())).unwrap(), (Interest::READ, 3_000));
        // Again, when it is tried again.
        sim.with(|top| top.enable(Interest::WRITE)).unwrap();
        sim.settle();
        assert_eq!(seen.events().len(), 2);
    }
}

#[test]
fn a_close_tells_that_a_file_was_cut_short_and_not_the_filter_that_nothing_follows() {
    // D15: half a stream must not look like a whole one
    let _census = Census::begin();
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim =
            Sim::start(shared, Bufferevent::scripted(&wire).filter(thousands()).report_close(), &seen);
        sim.with(|top| {
            write_cut_short(top, 5_000, 2_500);
            top.close();
        })
        .unwrap();
        wire.end();
        sim.settle();
        assert!(sim.is_gone(), "no time has passed");
        assert_eq!(wire.written(), [b'f'; 2_000]);
        let closed = seen.closed();
        assert_eq!((closed.clean, closed.unsent), (false, 3_000));
        assert_eq!(closed.cause.as_ref().map(Cause::kind), Some(io::ErrorKind::UnexpectedEof));
    }
}

#[test]
fn what_a_filter_has_taken_of_a_file_that_was_cut_short_is_sent_first() {
    // D10, D15
    let _census = Census::begin();
    for closes in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let builder = Bufferevent::scripted(&wire).write_watermark(0, Some(100)).filter(hoarding());
        let mut sim = Sim::start(false, builder.report_close(), &seen);
        sim.with(|top| {
            write_cut_short(top, 5_000, 2_500);
            if closes {
                top.close();
            }
        })
        .unwrap();
        wire.end();
        sim.settle();
        assert_eq!(wire.written().len(), 7_500, "{closes}");
        assert_eq!(sim.is_gone(), closes);
    }
}
