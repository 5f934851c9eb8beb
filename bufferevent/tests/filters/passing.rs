//! What passes through filters, up and down.

use bufferevent::{
    BaseExt, Bufferevent, FilterCall, FilterError, FilterFn, FilterStatus,
    testing::{Census, ManualBase, Wire},
};

use crate::seen::Seen;

/// Adds `by` to each byte.
fn shift(call: &mut FilterCall<'_>, by: u8) -> Result<FilterStatus, FilterError> {
    let n = call.source.len().min(call.room());
    let bytes: Vec<u8> = call.source.take_bytes(n)?.iter().map(|byte| byte.wrapping_add(by)).collect();
    call.destination.add(&bytes)?;
    Ok(FilterStatus::Ok)
}

fn shifting(by: u8) -> impl bufferevent::Filter {
    FilterFn::new()
        .on_input(move |call| shift(call, 0u8.wrapping_sub(by)))
        .on_output(move |call| shift(call, by))
}

#[test]
fn what_is_written_passes_down_and_what_arrives_passes_up() {
    // F-01, F-02, F-03, F-05
    let _census = Census::begin();
    let (mut base, wire, seen) = (ManualBase::new().unwrap(), Wire::new(), Seen::default());
    let builder = Bufferevent::scripted(&wire).filter(shifting(1)).filter(shifting(2)).handler(seen.clone());
    let id = builder.configure(|top| drop(top.write(b"abc"))).start(&mut base).unwrap();
    wire.deliver(b"DEF");
    base.settle().unwrap();
    assert_eq!(wire.written(), b"def");
    assert_eq!(seen.data(), b"ABC");
    wire.end();
    base.settle().unwrap();
    assert_eq!(seen.events(), ["Eof"]);
    base.bufferevent(id).unwrap().write(b"xyz").unwrap();
    base.settle().unwrap();
    assert_eq!(wire.written(), b"def\x7b\x7c\x7d");
    base.bufferevent(id).unwrap().close();
    base.settle().unwrap();
    assert!(wire.is_closed());
}
