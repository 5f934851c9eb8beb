//! A census is of the whole process: a test program of its own.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bufferevent_runtime::{Base, Census, Pinned};

/// Whether the end of `census` is a panic, and what it says.
fn complaint(census: Census) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(census))).err()?;
    Some(*panic.downcast::<String>().unwrap())
}

#[test]
fn what_is_left_behind_is_told_when_the_last_census_ends() {
    // F56
    let census = Census::begin();
    let file = File::open("/dev/null").unwrap();
    let told = complaint(census).unwrap();
    assert!(told.contains("/dev/null") && told.contains("what_is_left_behind"), "{told}");

    let first = Census::begin();
    let second = Census::begin();
    let base = Base::<Pinned>::new().unwrap();
    let handle = base.handle();
    drop((file, base));
    assert_eq!(complaint(first), None, "there is another");
    let told = complaint(second).unwrap();
    assert!(told.contains("eventpoll") && told.contains("bases: 1"), "a handle keeps the selector: {told}");

    drop(handle);
    assert_eq!(complaint(Census::begin()), None);
}
