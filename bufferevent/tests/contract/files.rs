//! B-21, B-27, K-09: ranges of files in the output.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    sync::Arc,
};

use bufferevent::{
    Builder, Direction, Error, Evbuffer, Interest, Room,
    evbuffer::{Error as BufferError, FileSegment},
    testing::Census,
};
use bufferevent_sync::Mutex;

use crate::harness::{Call, each, each_of, pattern};

/// A file without a name, to be read and written, that holds `data`.
pub(crate) fn file_of(data: &[u8]) -> File {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(format!("bufferevent-test-{process}-{thread:?}"));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(data).unwrap();
    file
}

#[test]
fn a_range_of_one_file_is_sent_to_many_between_bytes_in_memory() {
    // B-21, B-27
    let _census = Census::begin();
    let data = pattern(300_000);
    let segment = FileSegment::new(file_of(&data), 1000..).unwrap();
    let expected = [b"head", &data[1000..], b"middle", &data[2000..2010], b"tail"].concat();
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        let (segment, len) = (segment.clone(), expected.len());
        world
            .with(&conn, move |b| {
                b.write(b"head").unwrap();
                b.output().add_file_segment(segment.clone()).unwrap();
                b.write(b"middle").unwrap();
                let mut end = Evbuffer::new();
                end.add_file_segment(segment.slice(1000..1010).unwrap()).unwrap();
                end.add(b"tail").unwrap();
                b.write_buffer(&mut end).unwrap();
                assert_eq!(b.output().len(), len);
            })
            .unwrap();
        assert!(world.receive(&mut peer, len) == expected);
        world.until_called(&conn, Call::Write, 1);
        world.with(&conn, |b| assert_eq!((b.output().len(), b.output().unloaded()), (0, 0))).unwrap();
    });
}

#[test]
fn a_file_passes_the_cap_and_counts_for_the_marks() {
    // D8: the cap bounds memory
    let _census = Census::begin();
    let data = pattern(200_000);
    let segment = FileSegment::new(file_of(&data), ..).unwrap();
    each(|config| {
        let mut world = config.world();
        let marks = |builder: Builder| builder.caps(None, Some(100)).write_watermark(0, Some(1000));
        let (conn, mut peer) = config.start_with(&mut world, marks, |_, _| {});
        let segment = segment.clone();
        world
            .with(&conn, move |b| {
                assert_eq!(b.write(b"in memory").unwrap(), Room::Some);
                let mut file = Evbuffer::new();
                file.add_file_segment(segment).unwrap();
                assert_eq!(b.write_buffer(&mut file).unwrap(), Room::Full);
                let refused = b.write(&[0; 92]).unwrap_err();
                assert!(matches!(refused, Error::OutputFull { more: 92, queued: 9, cap: 100 }));
                b.write(&[b'.'; 91]).unwrap();
            })
            .unwrap();
        let got = world.receive(&mut peer, 9 + data.len() + 91);
        assert!(got[9..][..data.len()] == data);
        world.until_called(&conn, Call::Drained, 1);
    });
}

#[test]
fn no_write_of_a_file_moves_more_than_its_limit() {
    // K-09, D11: libevent sends the whole file whatever the limit
    let _census = Census::begin();
    let data = pattern(30_000);
    let segment = FileSegment::new(file_of(&data), ..).unwrap();
    each(|config| {
        let mut world = config.world();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let watch = Arc::clone(&sent);
        let set_up = move |builder: Builder| {
            builder.configure(move |b| {
                b.set_max_single_write(1000);
                b.output().observe(move |_, change| {
                    watch.lock().extend((change.removed > 0).then_some(change.removed));
                });
            })
        };
        let (conn, mut peer) = config.start_with(&mut world, set_up, |_, _| {});
        let segment = segment.clone();
        world.with(&conn, |b| b.output().add_file_segment(segment).unwrap()).unwrap();
        assert!(world.receive(&mut peer, data.len()) == data);
        world.until("all to be told", || sent.lock().iter().sum::<usize>() == data.len());
        assert!(sent.lock().iter().all(|&n| n <= 1000), "{:?}", sent.lock());
    });
}

#[test]
fn a_file_that_becomes_shorter_is_an_error_of_its_connection_alone() {
    // F65
    let _census = Census::begin();
    let data = pattern(400_000);
    each(|config| {
        let mut world = config.world();
        let (other, mut other_peer) = config.start(&mut world);
        let (conn, mut peer) = config.start(&mut world);
        let file = Arc::new(file_of(&data));
        let segment = FileSegment::new(Arc::clone(&file), ..).unwrap();
        world
            .with(&conn, move |b| {
                b.write(b"head").unwrap();
                b.output().add_file_segment(segment).unwrap();
                b.write(b"tail").unwrap();
                file.set_len(250_000).unwrap();
            })
            .unwrap();
        assert!(world.receive(&mut peer, 250_004) == [b"head", &data[..250_000]].concat());
        world.until_called(&conn, Call::Failed(Some(Direction::Write)), 1);
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::UnexpectedEof));
        world
            .with(&conn, |b| {
                assert_eq!((b.enabled(), b.output().len()), (Interest::READ, 150_004));
                // Again, when it is tried again.
                b.enable(Interest::WRITE);
            })
            .unwrap();
        world.until_called(&conn, Call::Failed(Some(Direction::Write)), 2);
        world.settle();
        assert!(!peer.is_readable(), "no byte is made up");
        world.send(&mut other_peer, b"alive");
        world.until_called(&other, Call::Read, 1);
    });
}

#[test]
fn a_close_sends_files_and_tells_what_could_not_be_read() {
    // D15
    let _census = Census::begin();
    let data = pattern(200_000);
    for len in [data.len(), 120_000] {
        each(|config| {
            let mut world = config.world();
            let (conn, mut peer) = config.start_with(&mut world, |b| b.report_close(), |_, _| {});
            let file = Arc::new(file_of(&data));
            let open = Arc::downgrade(&file);
            let segment = FileSegment::new(Arc::clone(&file), ..).unwrap();
            world
                .with(&conn, move |b| {
                    b.output().add_file_segment(segment).unwrap();
                    file.set_len(len as u64).unwrap();
                    b.close();
                })
                .unwrap();
            let mut got = Vec::new();
            // Over a pair what is cut short has no end.
            world.until("the end", || peer.read_some(usize::MAX, &mut got).unwrap_or(true));
            assert!(got == data[..len], "{} of {len}", got.len());
            drop(peer);
            world.until_called(&conn, Call::Closed, 1);
            assert_eq!(conn.log.closed().unwrap().unsent, data.len() - len);
            world.until_gone(&conn);
            world.until("the file to be closed", || open.strong_count() == 0);
        });
    }
}

#[test]
fn a_file_goes_by_mail_too() {
    // a handle never waits; what is mailed is bounded by its memory
    let _census = Census::begin();
    let data = pattern(150_000);
    let segment = FileSegment::new(file_of(&data), ..).unwrap();
    each_of(
        |set| set.is_shared(),
        |config| {
            let mut world = config.world();
            let (conn, mut peer) = config.start_with(&mut world, |b| b.caps(None, Some(10)), |_, _| {});
            {
                let _busy = conn.handle().lock().unwrap();
                let mut file = Evbuffer::from(b"12345678");
                file.add_file_segment(segment.clone()).unwrap();
                conn.handle().write_buffer(file).unwrap();
                let refused = conn.handle().write(b"901").unwrap_err();
                assert!(matches!(refused, Error::OutputFull { more: 3, queued: 8, cap: 10 }));
            }
            assert!(world.receive(&mut peer, 8 + data.len())[8..] == data);
        },
    );
}

#[test]
fn input_that_a_user_put_a_file_into_is_read_as_it_is() {
    // B-21: the connection only adds behind it
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start(&mut world);
        let mut front = Evbuffer::new();
        front.add_file_segment(FileSegment::new(file_of(b"of a file, "), ..).unwrap()).unwrap();
        world.with(&conn, move |b| b.input().prepend_buffer(&mut front).unwrap()).unwrap();
        world.send(&mut peer, b"received");
        world.until_input(&conn, 19);
        world
            .with(&conn, |b| {
                let not_loaded = BufferError::NotLoaded { loaded: 0, requested: 4 };
                assert!(matches!(b.read(&mut [0; 4]), Err(Error::Buffer(error)) if error == not_loaded));
                b.input().load(usize::MAX).unwrap();
                assert_eq!(*b.input(), "of a file, received");
            })
            .unwrap();
    });
}
