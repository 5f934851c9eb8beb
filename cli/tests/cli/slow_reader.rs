//! Much data for one who reads slowly: the proxy holds the sender up, and not the data.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::Duration,
};

use bufferevent_sync::atomic::{AtomicUsize, Ordering};

use crate::{
    peers::{Between, Peer, Speaks},
    proxy::LOCKINGS,
    servers::pattern,
};

const BLOCK: usize = 1 << 20;

/// What the proxy may hold of a connection, and what its allocator keeps: of each side the marks of its layers, and the mail between
/// two that are THREADSAFE. However much is passed.
const BOUND: usize = 16 << 20;

/// Sends so many blocks; the reader reads nothing until nothing goes any more, and then pauses after each. Answers what the proxy
/// had in memory before, and the most that it had.
fn pass(through: &Between, down: bool, blocks: usize, pause: Duration) -> (usize, usize) {
    let block = pattern(BLOCK);
    // What a run needs is there after this.
    let (mut client, mut server) = through.connect();
    client.write_all(&block[..100_000]).unwrap();
    server.read_exact(&mut [0; 100_000]).unwrap();
    drop((client, server));
    let (client, server) = through.connect();
    let (mut sender, mut reader) = if down { (server, client) } else { (client, server) };
    let before = through.proxy.process.resident();
    let sent = AtomicUsize::new(0);
    let most = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            for _ in 0..blocks {
                sender.write_all(&block).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
            sender.end();
            sender
        });
        await_stuck(&sent);
        assert!(sent.load(Ordering::Relaxed) < blocks, "the reader has read nothing");
        let mut most = through.proxy.process.resident();
        let mut came = vec![0; BLOCK];
        for number in 0..blocks {
            reader.read_exact(&mut came).unwrap();
            assert!(came == block, "block {number}");
            most = most.max(through.proxy.process.resident());
            thread::sleep(pause);
        }
        assert_eq!(reader.read(&mut came).unwrap(), 0);
        end_back(&mut sending.join().unwrap(), &mut reader);
        most
    });
    (before, most)
}

/// Waits until nothing has gone for a while.
fn await_stuck(sent: &AtomicUsize) {
    let mut seen = None;
    loop {
        let now = sent.load(Ordering::Relaxed);
        if seen.replace(now) == Some(now) {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn end_back(sender: &mut Peer, reader: &mut Peer) {
    reader.end();
    assert_eq!(sender.read(&mut [0]).unwrap(), 0);
}

/// neither way holds more than the marks and what one run reads.
#[test]
fn a_slow_reader_holds_the_sender_up_and_not_the_memory_of_the_proxy() {
    for locking in [LOCKINGS[0], LOCKINGS[4]] {
        for speaks in Speaks::ALL {
            for down in [true, false] {
                let through = Between::start("slow", speaks, locking);
                let (before, most) = pass(&through, down, 64, Duration::ZERO);
                assert!(
                    most < before + BOUND,
                    "{locking:?}, {speaks:?}, down {down}: {before} bytes, then {most}"
                );
                through.proxy.end();
            }
        }
    }
}

/// The figures of README.md: `cargo test --package bev --test cli -- --ignored --nocapture gigabyte`.
#[test]
#[ignore = "a measurement, of about two minutes on an idle machine"]
fn a_gigabyte_to_a_slow_reader_and_the_memory_it_takes() {
    const MIB: f64 = (1 << 20) as f64;
    println!("1 GiB to a reader of at most 100 MB/s, resident memory of the proxy:");
    for speaks in Speaks::ALL {
        for down in [true, false] {
            let through = Between::start("gigabyte", speaks, &[]);
            let (before, most) = pass(&through, down, 1_024, Duration::from_millis(10));
            let way = if down { "to the client" } else { "to the upstream" };
            println!(
                "  {speaks}, {way}: {:.1} MiB before, {:.1} at most",
                before as f64 / MIB,
                most as f64 / MIB
            );
            assert!(most < before + BOUND, "{speaks:?}, down {down}");
            through.proxy.end();
        }
    }
}
