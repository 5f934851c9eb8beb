//! libevent's own tests of pairs, filters and flushes (`test/regress_bufferevent.c`), and those it runs over sockets and
//! pairs alike, under their C names. TB- are their rows in the project's inventory.
//!
//! "Dispatch" in C runs until no events are left. Here a bufferevent lives until it is closed, so a test runs until what
//! it waits for has happened, and then until nothing happens any more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "contract/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves the contract suite too")]
mod harness;
#[path = "contract/kinds.rs"]
mod kinds;

use std::{os::unix::net::UnixStream, sync::Arc};

use bufferevent::{
    Base, Bufferevent, Builder, Direction, FilterCall, FilterError, FilterFn, FilterStatus, FlushMode,
    Handle, Interest, Partner, Pinned, Room,
    runtime::{Clock, SelectorKind},
    testing::Census,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use harness::{Actor, Call, Conn, Cx, Set, Shape, Who, World};

/// What joins the two bufferevents.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    Sockets,
    Pair,
}

impl Over {
    fn open(self) -> [Builder; 2] {
        match self {
            Self::Sockets => {
                UnixStream::pair().map(|(one, other)| [one, other].map(Bufferevent::socket)).unwrap()
            }
            Self::Pair => Bufferevent::pair().into(),
        }
    }
}

fn world() -> World {
    World::new(Shape::Pinned, SelectorKind::Best, Clock::monotonic())
}

fn start(
    world: &mut World,
    builder: Builder,
    script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
) -> Conn {
    let actor = Actor::new(world, script);
    world.start(Set::Confined, builder, actor).unwrap()
}

/// What the C tests write.
fn data() -> Vec<u8> {
    (0..8_333).map(|i| i as u8).collect()
}

/// Stops when all has arrived, as the callbacks of the C tests do.
fn take_all(cx: &mut Cx<'_, '_>, call: &Call) {
    if *call == Call::Read && cx.input().len() == 8_333 {
        cx.take();
        cx.disable(Interest::READ);
    }
}

fn is_partner(world: &mut World, conn: &Conn, other: &Conn) -> bool {
    let Who::Confined(id) = other.who else { unreachable!() };
    world
        .with(conn, move |b| matches!(b.partner(), Some(Partner::Confined(partner)) if partner == id))
        .unwrap()
}

// ---- both alike ----

/// TB-01 to TB-08.
fn bufferevent_over(over: Over, flush: Option<FlushMode>) {
    let mut world = world();
    let [one, other] = over.open();
    let b1 = start(&mut world, one, take_all);
    let b2 = start(&mut world, other, take_all);
    let has_descriptor = world.with(&b1, |b| b.raw_fd().is_some()).unwrap();
    assert_eq!(has_descriptor, over == Over::Sockets);
    assert!(world.with(&b1, |b| b.underlying().is_none()).unwrap());
    assert_eq!(is_partner(&mut world, &b1, &b2), over == Over::Pair);
    assert_eq!(is_partner(&mut world, &b2, &b1), over == Over::Pair);
    world.with(&b1, |b| b.disable(Interest::READ)).unwrap();
    world.with(&b2, |b| b.enable(Interest::READ)).unwrap();
    assert_eq!(world.with(&b1, |b| b.enabled()).unwrap(), Interest::WRITE);
    assert_eq!(world.with(&b2, |b| b.enabled()).unwrap(), Interest::BOTH);
    world.settle();
    world
        .with(&b1, move |b| {
            b.write(&data()).unwrap();
            flush.map(|mode| b.flush(Interest::WRITE, mode).unwrap());
        })
        .unwrap();
    world.until_called(&b1, Call::Write, 1);
    world.until_called(&b2, Call::Read, 1);
    world.settle();
    assert_eq!(b2.log.data(), data());
    assert_eq!((b1.log.calls(), b1.log.entries()[0].output), (vec![Call::Write], 0));
    let ends = over == Over::Pair && flush == Some(FlushMode::Finished);
    assert_eq!(b2.log.calls(), if ends { vec![Call::Read, Call::Eof] } else { vec![Call::Read] });
    world.abort(&b2);
    world.settle();
    assert!(world.with(&b1, |b| b.partner().is_none()).unwrap());
    world.abort(&b1);
    world.until_empty();
}

#[test]
fn bufferevent() {
    let _census = Census::begin();
    bufferevent_over(Over::Sockets, None);
}

#[test]
fn bufferevent_pair() {
    // TB-02
    let _census = Census::begin();
    bufferevent_over(Over::Pair, None);
}

#[test]
fn bufferevent_flush_normal_flush_finished() {
    // TB-03, TB-04, TB-05
    let _census = Census::begin();
    for mode in [FlushMode::Normal, FlushMode::Flush, FlushMode::Finished] {
        bufferevent_over(Over::Sockets, Some(mode));
    }
}

#[test]
fn bufferevent_pair_flush_normal_flush_finished() {
    // TB-06, TB-07, TB-08
    let _census = Census::begin();
    for mode in [FlushMode::Normal, FlushMode::Flush, FlushMode::Finished] {
        bufferevent_over(Over::Pair, Some(mode));
    }
}

/// TB-12, TB-13.
fn watermarks_over(over: Over) {
    let mut world = world();
    let [one, other] = over.open();
    let b1 = start(&mut world, one.enable(Interest::WRITE), |cx, call| match call {
        Call::Drained => {}
        Call::Write => assert!(cx.output().len() <= 100, "{}", cx.output().len()),
        other => panic!("{other:?}"),
    });
    let b2 = start(&mut world, other, |cx, call| {
        assert_eq!(*call, Call::Read);
        let len = cx.input().len();
        assert!((10..=20).contains(&len), "{len}");
        cx.take();
        if cx.log().data_len() == 65_000 {
            cx.disable(Interest::READ);
        }
    });
    assert_eq!(world.with(&b1, |b| b.watermark(Direction::Read)).unwrap(), (0, None));
    assert_eq!(world.with(&b2, |b| b.watermark(Direction::Write)).unwrap().0, 0);
    world.with(&b2, |b| b.set_read_watermark(10, Some(20)).unwrap()).unwrap();
    world.with(&b1, |b| b.set_write_watermark(100, Some(2_000)).unwrap()).unwrap();
    assert_eq!(world.with(&b2, |b| b.watermark(Direction::Read)).unwrap(), (10, Some(20)));
    assert_eq!(world.with(&b1, |b| b.watermark(Direction::Write)).unwrap(), (100, Some(2_000)));
    // Past the high mark: here a write says so, and Drained follows; libevent does neither.
    let room = world.with(&b1, |b| b.write(&[7; 65_000]).unwrap()).unwrap();
    assert_eq!(room, Room::Full);
    let log = b2.log.clone();
    world.until("all to be read", || log.data_len() == 65_000);
    world.settle();
    let empty =
        b1.log.entries().iter().filter(|entry| entry.call == Call::Write && entry.output == 0).count();
    assert_eq!(empty, 1);
    assert_eq!(world.panics(), 0);
}

#[test]
fn bufferevent_watermarks() {
    let _census = Census::begin();
    watermarks_over(Over::Sockets);
}

#[test]
fn bufferevent_pair_watermarks() {
    let _census = Census::begin();
    watermarks_over(Over::Pair);
}

// ---- filters ----

/// Puts an x before each byte.
fn insert(call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
    for byte in call.source.take_bytes(call.source.len())? {
        call.destination.add(&[b'x', byte])?;
    }
    Ok(FilterStatus::Ok)
}

/// Takes the x away, and leaves out what begins with a dash.
fn strip(call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
    let whole = call.source.len() / 2 * 2;
    for cell in call.source.take_bytes(whole)?.chunks(2) {
        match cell {
            [b'-', _] => {}
            [b'x', byte] => call.destination.add(&[*byte])?,
            other => return Err(format!("{other:?} is no cell").into()),
        }
    }
    Ok(if call.source.is_empty() { FilterStatus::Ok } else { FilterStatus::NeedMore })
}

/// TB-14 to TB-17. With `writes` the first call writes to its own bufferevent, which takes a handle here: a filter sees
/// buffers only.
fn filters_over(over: Over, writes: bool) {
    let mut world = world();
    let [one, other] = over.open();
    let calls = Arc::new(AtomicUsize::new(0));
    let own: Arc<Mutex<Option<Handle>>> = Arc::default();
    let output = {
        let (calls, own) = (Arc::clone(&calls), Arc::clone(&own));
        move |call: &mut FilterCall<'_>| {
            if calls.fetch_add(1, Ordering::SeqCst) > 0 {
                return Err("called again".into());
            }
            if let Some(handle) = &*own.lock() {
                handle.write(b"-").unwrap();
                assert_eq!(calls.load(Ordering::SeqCst), 1, "it is not called inside the write");
            }
            insert(call)
        }
    };
    let mut bottom = None;
    let one = one.configure(|b| bottom = b.raw_fd());
    assert_eq!(bottom.is_some(), over == Over::Sockets);
    let b1 = Actor::new(&world, |_, _| {});
    let set = if writes { Set::Shared } else { Set::Confined };
    let b1 = world.start(set, one.filter(FilterFn::new().on_output(output)), b1).unwrap();
    let b2 = start(&mut world, other.filter(FilterFn::new().on_input(strip)), take_all);
    if let Who::Shared(handle) = &b1.who {
        *own.lock() = Some(handle.clone());
    }
    let descriptors = world.with(&b1, |b| {
        (b.raw_fd(), b.underlying().unwrap().raw_fd(), b.underlying().unwrap().underlying().is_none())
    });
    assert_eq!(descriptors.unwrap(), (bottom, bottom, true));
    world.with(&b1, |b| b.disable(Interest::READ)).unwrap();
    world.with(&b2, |b| b.enable(Interest::READ)).unwrap();
    world.with(&b1, |b| b.write(&data()).unwrap()).unwrap();
    world.until_called(&b2, Call::Read, 1);
    let log = b1.log.clone();
    world.until("the last of the other", || !log.calls().is_empty());
    world.settle();
    assert_eq!(b2.log.data(), data());
    assert_eq!(b2.log.count(Call::Read), 1);
    let failed = Call::Failed(Some(Direction::Write));
    // libevent ignores the error (D10), and tells of the write though the dash is left.
    let expected = if writes { (2, vec![failed]) } else { (1, vec![Call::Write]) };
    assert_eq!((calls.load(Ordering::SeqCst), b1.log.calls()), expected);
    own.lock().take();
    world.abort(&b1);
    world.abort(&b2);
    world.until_empty();
}

#[test]
fn bufferevent_filters() {
    // TB-14
    let _census = Census::begin();
    filters_over(Over::Sockets, false);
}

#[test]
fn bufferevent_pair_filters() {
    // TB-15
    let _census = Census::begin();
    filters_over(Over::Pair, false);
}

#[test]
fn bufferevent_filters_disable() {
    // TB-16
    let _census = Census::begin();
    filters_over(Over::Sockets, true);
}

#[test]
fn bufferevent_pair_filters_disable() {
    // TB-17
    let _census = Census::begin();
    filters_over(Over::Pair, true);
}

#[test]
fn bufferevent_socket_filter_inactive() {
    // TB-28: a filter over one without a connection
    let _census = Census::begin();
    drop(Bufferevent::detached().filter(FilterFn::new()).close_on_free(false));
    let mut world = world();
    let filter = start(&mut world, Bufferevent::detached().filter(FilterFn::new()), |_, _| {});
    world.settle();
    world.abort(&filter);
    world.until_empty();
    assert_eq!(filter.log.calls(), []);
}

#[test]
fn bufferevent_filter_data_stuck() {
    // TB-30, #362: what did not fit comes without new input below
    const HEADER: [u8; 20] = [b'h'; 20];
    let _census = Census::begin();
    let mut world = world();
    let marked = |builder: Builder| builder.configure(|b| b.set_read_watermark(0, Some(4_096)).unwrap());
    let [one, other] = Over::Pair.open().map(marked);
    let mut header = Some(HEADER);
    let input = move |call: &mut FilterCall<'_>| {
        if let Some(header) = header.take() {
            call.destination.add(&header)?;
        }
        call.pass()
    };
    let b1 = start(&mut world, one.deferred(), |_, _| {});
    let top = marked(other.filter(FilterFn::new().on_input(input))).deferred();
    let b2 = start(&mut world, top, |cx, call| {
        assert_eq!(*call, Call::Read);
        cx.take();
    });
    world.with(&b1, |b| b.write(&[b'd'; 4_096]).unwrap()).unwrap();
    let log = b2.log.clone();
    world.until("all of it", || log.data_len() == 4_116);
    world.settle();
    assert_eq!(b2.log.data(), [HEADER.to_vec(), vec![b'd'; 4_096]].concat());
    assert!(b2.log.entries().iter().all(|entry| entry.input <= 4_096), "the mark holds");
}

// ---- pairs ----

#[test]
fn bufferevent_pair_flush() {
    // TB-29
    let _census = Census::begin();
    let mut world = world();
    let [one, other] = Over::Pair.open();
    let b1 = start(&mut world, one.enable(Interest::WRITE), |_, _| {});
    let b2 = start(&mut world, other.enable(Interest::READ), |_, _| {});
    world.settle();
    world.with(&b1, |b| b.flush(Interest::WRITE, FlushMode::Finished)).unwrap().unwrap();
    world.settle();
    assert_eq!(b2.log.calls(), [Call::Eof]);
}

#[test]
fn bufferevent_pair_release_lock() {
    // TB-11, P-11: in either order, with the base last
    let _census = Census::begin();
    for first in [0, 1] {
        let mut base = Base::<Pinned>::new().unwrap();
        let handles: [Handle; 2] = Over::Pair
            .open()
            .map(|half| half.threadsafe().handler(Actor::alone(|_, _| {})).start(&mut base).unwrap());
        handles[first].abort();
        handles[1 - first].abort();
        assert!(handles.iter().all(Handle::is_closing));
        drop(base);
        assert!(handles.iter().all(|handle| handle.lock().is_err()));
    }
}
