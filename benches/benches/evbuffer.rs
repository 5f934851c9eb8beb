//! Adding to a buffer, moving it and taking from it.
//!
//! Guards against a small message that costs more than its copy: an allocation for each, a segment for each, a chain
//! that is walked; against a move that copies; against a reference that allocates. Ids are
//! `evbuffer/OPERATION_BYTES/WHO`, all per operation; `vec` and `bytes` are what one would use without a buffer.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use bufferevent_evbuffer::Evbuffer;
use bytes::{Buf as _, Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    add_and_drain(&mut criterion);
    add_batched(&mut criterion);
    move_whole(&mut criterion);
    reference(&mut criterion);
    criterion.final_summary();
}

fn add_and_drain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evbuffer");
    group.bench_function(BenchmarkId::new("add_drain_64", "evbuffer"), |bencher| {
        let mut buffer = Evbuffer::new();
        bencher.iter(|| {
            buffer.add(black_box(&SMALL)).expect("no limit");
            buffer.drain(black_box(SMALL.len())).expect("not frozen")
        });
    });
    group.bench_function(BenchmarkId::new("add_drain_64", "vec"), |bencher| {
        let mut buffer = Vec::new();
        bencher.iter(|| {
            buffer.extend_from_slice(black_box(&SMALL));
            buffer.drain(..black_box(SMALL.len())).len()
        });
    });
    group.bench_function(BenchmarkId::new("add_drain_64", "bytes"), |bencher| {
        let mut buffer = BytesMut::new();
        bencher.iter(|| {
            buffer.extend_from_slice(black_box(&SMALL));
            buffer.advance(black_box(SMALL.len()));
        });
    });
}

/// 64 additions, then one drain of all.
fn add_batched(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evbuffer");
    group.bench_function(BenchmarkId::new("add_batched_64", "evbuffer"), |bencher| {
        let mut buffer = Evbuffer::new();
        bencher.iter_custom(|count| {
            let start = Instant::now();
            for number in 0..count {
                buffer.add(black_box(&SMALL)).expect("no limit");
                if number % BATCH == BATCH - 1 {
                    buffer.drain(black_box(usize::MAX)).expect("not frozen");
                }
            }
            start.elapsed()
        });
    });
    group.bench_function(BenchmarkId::new("add_batched_64", "vec"), |bencher| {
        let mut buffer = Vec::new();
        bencher.iter_custom(|count| {
            let start = Instant::now();
            for number in 0..count {
                buffer.extend_from_slice(black_box(&SMALL));
                if number % BATCH == BATCH - 1 {
                    black_box(&mut buffer).clear();
                }
            }
            start.elapsed()
        });
    });
    group.bench_function(BenchmarkId::new("add_batched_64", "bytes"), |bencher| {
        let mut buffer = BytesMut::new();
        bencher.iter_custom(|count| {
            let start = Instant::now();
            for number in 0..count {
                buffer.extend_from_slice(black_box(&SMALL));
                if number % BATCH == BATCH - 1 {
                    buffer.advance(black_box(buffer.len()));
                }
            }
            start.elapsed()
        });
    });
}

/// All of one buffer to the back of an empty one, there and back.
fn move_whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evbuffer");
    group.bench_function(BenchmarkId::new("move_4096", "evbuffer"), |bencher| {
        let (mut one, mut other) = (Evbuffer::from(vec![7; LARGE]), Evbuffer::new());
        bencher.iter_custom(|count| {
            let start = Instant::now();
            for _ in 0..count.div_ceil(2) {
                black_box(&mut other).append(&mut one).expect("no limit");
                black_box(&mut one).append(&mut other).expect("no limit");
            }
            start.elapsed()
        });
    });
    group.bench_function(BenchmarkId::new("move_4096", "bytes"), |bencher| {
        let (mut one, mut other) = (BytesMut::zeroed(LARGE), BytesMut::new());
        bencher.iter_custom(|count| {
            let start = Instant::now();
            for _ in 0..count.div_ceil(2) {
                black_box(&mut other).unsplit(one.split());
                black_box(&mut one).unsplit(other.split());
            }
            start.elapsed()
        });
    });
}

/// A reference to memory that others share in, added and drained.
fn reference(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evbuffer");
    let page = Bytes::from(vec![7; LARGE]);
    let _also_held = page.clone();
    group.bench_function(BenchmarkId::new("reference_4096", "evbuffer"), |bencher| {
        let mut buffer = Evbuffer::new();
        bencher.iter(|| {
            buffer.add_bytes(black_box(&page).clone()).expect("no limit");
            buffer.drain(black_box(LARGE)).expect("not frozen")
        });
    });
    group.bench_function(BenchmarkId::new("reference_4096", "queue"), |bencher| {
        let mut queue = VecDeque::new();
        bencher.iter(|| {
            queue.push_back(black_box(&page).clone());
            queue.pop_front()
        });
    });
}

const SMALL: [u8; 64] = [7; 64];
const LARGE: usize = 4096;
const BATCH: u64 = 64;
