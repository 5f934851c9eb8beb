//! What a program that starts others need not fear. A test program of its own: it looks at all descriptors there are.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    cell::RefCell, collections::BTreeSet, net::TcpStream, os::unix::net::UnixStream, rc::Rc, time::Duration,
};

use bufferevent_runtime::{Accepted, Base, Census, Clock, Listener, Pinned, Runtime, SelectorKind, What};

const CLOSE_ON_EXEC: u32 = 0o2_000_000;

fn descriptors() -> BTreeSet<String> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Whether a descriptor is closed when another program begins; `None` if it is gone meanwhile.
fn closes(number: &str) -> Option<bool> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    Some(u32::from_str_radix(flags, 8).unwrap() & CLOSE_ON_EXEC != 0)
}

#[test]
fn no_descriptor_of_the_library_is_left_to_a_program_that_is_started() {
    // F62, E-18: what `fork` alone does is not supported; what follows it usually, another program, gets nothing of ours.
    let _census = Census::begin();
    let before = descriptors();
    let kept = Rc::new(RefCell::new(Vec::<Accepted>::new()));
    let mut bases = Vec::new();
    for kind in [SelectorKind::Best, SelectorKind::Portable] {
        let mut base = Base::<Pinned>::with_selector(kind.make().unwrap(), Clock::monotonic()).unwrap();
        base.nest().unwrap();
        base.signal(signal_hook::consts::SIGUSR2, |_, _| {}).unwrap();
        base.event(UnixStream::pair().unwrap().0, What::READ, |_, _| {}).unwrap();
        let mine = Rc::clone(&kept);
        let on_accept = move |connection, _: &mut Base<Pinned>| {
            mine.borrow_mut().push(connection);
            Ok(())
        };
        let handle = Listener::bind("127.0.0.1:0").unwrap().start(&mut base, on_accept).unwrap();
        let _peer = TcpStream::connect(handle.local_addr().unwrap()).unwrap();
        common::eventually("it is accepted", || {
            base.turn(Some(Duration::from_millis(20))).unwrap();
            kept.borrow().len() > bases.len()
        });
        bases.push(base);
    }
    let path = std::env::temp_dir().join(format!("bufferevent-exec-{}", std::process::id()));
    let unix = Listener::bind_unix(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let runtime = Runtime::builder().workers(1).bases(3).build().unwrap();
    let ours: Vec<_> = descriptors().difference(&before).cloned().collect();
    assert!(ours.len() > 20, "{ours:?}");
    let left: Vec<_> = ours.iter().filter(|number| closes(number) == Some(false)).collect();
    assert!(left.is_empty(), "{left:?}");
    drop((runtime, unix));
}
