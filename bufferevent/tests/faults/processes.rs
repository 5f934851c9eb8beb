//! What ends a process: F6. Seen from outside, in a child that runs one test alone.

use std::{
    env,
    io::{IoSlice, Write as _},
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    process::{Command, ExitStatus},
    sync::Arc,
};

use bufferevent::{Bufferevent, Direction, Interest, testing::Census};
use rustix::process::Signal;

use crate::harness::{Actor, Call, SETS, Shape, World, unix_pair};

/// Runs the test `name` again in a child, which finds `what` in the environment.
fn child(name: &str, what: &str) -> ExitStatus {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", name]).env(WHAT, what).output().unwrap().status
}

const WHAT: &str = "BUFFEREVENT_TEST_CHILD";

/// From now on SIGPIPE ends this process, as it does where no Rust `main` has had it ignored.
fn let_sigpipe_kill() {
    signal_hook::flag::register_conditional_default(signal_hook::consts::SIGPIPE, Arc::new(true.into()))
        .unwrap();
}

#[test]
fn a_write_to_a_peer_that_is_gone_raises_no_sigpipe() {
    // F6, K-07
    let _census = Census::begin();
    const NAME: &str = "processes::a_write_to_a_peer_that_is_gone_raises_no_sigpipe";
    match env::var(WHAT).as_deref() {
        Err(_) => {
            let killed = child(NAME, "vectored write of the standard library");
            assert_eq!(killed.signal(), Some(Signal::PIPE.as_raw()), "it would be noticed here");
            let survived = child(NAME, "bufferevents");
            assert_eq!(survived.code(), Some(0), "{survived:?}");
        }
        Ok("bufferevents") => {
            let_sigpipe_kill();
            for set in SETS {
                // One piece goes out by another system call than several.
                for pieces in [1, 5] {
                    let mut world = World::new(Shape::Pinned, Default::default(), Default::default());
                    let (ours, peer) = unix_pair();
                    let actor = Actor::new(&world, |_, _| {});
                    let builder = Bufferevent::socket(ours).enable(Interest::WRITE);
                    let conn = world.start(set, builder, actor).unwrap();
                    drop(peer);
                    let written = world.with(&conn, move |bufferevent| {
                        for _ in 0..pieces {
                            bufferevent.output().add_bytes(vec![1; 100]).unwrap();
                        }
                    });
                    written.unwrap();
                    world.until_called(&conn, Call::Failed(Some(Direction::Write)), 1);
                    assert_eq!(conn.log.cause(), Some(std::io::ErrorKind::BrokenPipe));
                }
            }
        }
        Ok(_) => {
            let_sigpipe_kill();
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            drop(theirs);
            let _killed = ours.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")]);
        }
    }
}
