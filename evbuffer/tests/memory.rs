//! What the buffer owns, and that it does not copy what it says it does not.

use bufferevent_evbuffer::transport::Transport;
use bufferevent_evbuffer::{Chunks, Cursor, End, Error, Evbuffer, Reservation};
use bytes::Bytes;

fn address(buffer: &Evbuffer) -> *const u8 {
    buffer.chunks().next().expect("some bytes").as_ptr()
}

#[test]
fn buffer_is_small_and_crosses_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Evbuffer>();
    shared::<Chunks<'_>>();
    shared::<Cursor<'_>>();
    shared::<Reservation<'_>>();
    shared::<Error>();
    if cfg!(target_pointer_width = "64") {
        assert!(size_of::<Evbuffer>() <= 96);
    }
}

#[test]
fn new_buffer_and_shrunk_buffer_own_no_memory() {
    let mut buffer = Evbuffer::new();
    assert_eq!(buffer.allocated(), 0);
    for _ in 0..10 {
        buffer.add(&[1; 70_000]).unwrap();
        buffer.add_bytes("x").unwrap();
    }
    buffer.drain(usize::MAX).unwrap();
    assert!(buffer.allocated() > 0, "a drained block is kept");
    buffer.shrink();
    assert_eq!(buffer.allocated(), 0);
    buffer.add(b"again").unwrap();
    buffer.shrink();
    assert_eq!(buffer, "again");
}

#[test]
fn drained_block_serves_the_next_bytes() {
    let mut buffer = Evbuffer::new();
    buffer.add(&[1; 64]).unwrap();
    let first = address(&buffer);
    for _ in 0..100 {
        buffer.drain(64).unwrap();
        buffer.add(&[1; 64]).unwrap();
        assert_eq!(address(&buffer), first);
    }
}

/// A queue that never runs empty does not allocate for ever either.
#[test]
fn steady_queue_stays_in_its_block() {
    let mut buffer = Evbuffer::from(&[1; 40]);
    for _ in 0..1000 {
        buffer.add(&[1; 64]).unwrap();
        buffer.drain(64).unwrap();
    }
    assert!(buffer.allocated() <= 512, "{buffer:?}");
}

#[test]
fn moving_buffers_moves_the_memory() {
    let mut one = Evbuffer::from(vec![1; 1000]);
    let at = address(&one);
    let mut two = Evbuffer::new();
    two.append(&mut one).unwrap();
    assert_eq!(address(&two), at);
    one.prepend_buffer(&mut two).unwrap();
    assert_eq!(address(&one), at);
    let mut three = Evbuffer::from(b"x");
    three.append(&mut one).unwrap();
    assert_eq!(three.chunks().nth(1).unwrap().as_ptr(), at);
}

#[test]
fn cut_through_a_large_segment_copies_neither_side() {
    let mut from = Evbuffer::from(vec![1; 20_000]);
    let at = address(&from);
    let mut to = Evbuffer::new();
    from.move_to(&mut to, 10_000).unwrap();
    assert_eq!(address(&to), at);
    assert_eq!(address(&from), at.wrapping_add(10_000));
}

#[test]
fn cut_near_the_end_of_a_segment_copies_the_small_side() {
    let mut from = Evbuffer::from(vec![1; 20_000]);
    let at = address(&from);
    let mut to = Evbuffer::new();
    from.move_to(&mut to, 19_900).unwrap();
    assert_eq!(address(&to), at);
    assert_eq!((from.len(), to.len()), (100, 19_900));
    assert_eq!((from.allocated(), to.allocated()), (256, 20_000), "the block is not shared");
    from.debug_validate();
}

#[test]
fn bytes_go_in_and_out_without_copying() {
    let page = Bytes::from(vec![1; 4096]);
    let mut buffer = Evbuffer::new();
    buffer.add_bytes(page.clone()).unwrap();
    assert_eq!(buffer.take_bytes(10).unwrap().as_ptr(), page.as_ptr());
    assert_eq!(buffer.take_chunk().unwrap().unwrap().as_ptr(), page[10..].as_ptr());

    let mut buffer = Evbuffer::from(vec![2; 8192]);
    let at = address(&buffer);
    assert_eq!(buffer.take_bytes(5000).unwrap().as_ptr(), at);
    assert_eq!(buffer.take_bytes(3192).unwrap().as_ptr(), at.wrapping_add(5000));
    buffer.debug_validate();
}

#[test]
fn small_piece_of_a_block_does_not_pin_it() {
    let mut buffer = Evbuffer::from(vec![2; 60_000]);
    let at = address(&buffer);
    assert_ne!(buffer.take_bytes(2000).unwrap().as_ptr(), at);
    assert_eq!(address(&buffer), at.wrapping_add(2000), "and the block stays writable");
}

#[test]
fn small_piece_is_copied_even_if_it_is_most_of_the_block() {
    let mut buffer = Evbuffer::from(vec![2; 1000]);
    let at = address(&buffer);
    assert_ne!(buffer.take_bytes(900).unwrap().as_ptr(), at);
    assert_eq!(address(&buffer), at.wrapping_add(900));
}

/// B-05: the first bytes leave room on both sides.
#[test]
fn bytes_prepended_to_an_empty_buffer_leave_room_on_both_sides() {
    let mut buffer = Evbuffer::new();
    for _ in 0..3 {
        buffer.prepend(&[1; 20]).unwrap();
        buffer.add(&[2; 20]).unwrap();
    }
    assert_eq!((buffer.chunks().len(), buffer.allocated()), (1, 256));
}

#[test]
fn pullup_uses_the_room_behind_the_first_segment() {
    let mut buffer = Evbuffer::new();
    buffer.add(&[1; 100]).unwrap();
    buffer.add_bytes(vec![2; 50]).unwrap();
    let at = address(&buffer);
    buffer.pullup(120).unwrap();
    assert_eq!(address(&buffer), at);
    assert_eq!(buffer.contiguous_len(), 120);
    buffer.debug_validate();
}

#[test]
fn block_becomes_a_segment_and_comes_back() {
    let block = vec![7; 16_384].into_boxed_slice();
    let at = block.as_ptr();
    let mut buffer = Evbuffer::new();
    buffer.append_block(block, 10_000).unwrap();
    assert_eq!((address(&buffer), buffer.len()), (at, 10_000));
    assert_eq!(buffer.reclaim(), None, "it is in use");
    buffer.fill(&[8; 6384]).unwrap();
    assert_eq!(buffer.chunks().len(), 1, "the rest of the block was room");
    Transport::consume(&mut buffer, 16_384);
    let block = buffer.reclaim().unwrap();
    assert_eq!((block.as_ptr(), block.len()), (at, 16_384));
    assert_eq!(buffer.reclaim(), None);
    assert_eq!(buffer.allocated(), 0);
}

#[test]
fn drained_block_before_others_is_kept_as_the_spare() {
    let mut buffer = Evbuffer::new();
    buffer.append_block(vec![1; 16_384].into_boxed_slice(), 16_384).unwrap();
    buffer.append_block(vec![2; 16_384].into_boxed_slice(), 16_384).unwrap();
    buffer.append_block(vec![3; 16_384].into_boxed_slice(), 16_384).unwrap();
    let at = address(&buffer);
    buffer.consume(40_000);
    let block = buffer.reclaim().unwrap();
    assert_eq!(block.as_ptr(), at);
    assert_eq!(buffer.reclaim(), None);
    buffer.consume(40_000);
    assert!(buffer.reclaim().is_some());
    assert_eq!(buffer.reclaim(), None);
}

#[test]
fn small_blocks_are_not_given_back() {
    let mut buffer = Evbuffer::new();
    buffer.append_block(vec![1; 16_383].into_boxed_slice(), 100).unwrap();
    buffer.consume(100);
    assert_eq!(buffer.reclaim(), None);
    assert_eq!(buffer.allocated(), 16_383, "but kept");
}

#[test]
fn huge_blocks_are_freed_when_drained() {
    let mut buffer = Evbuffer::from(vec![1; 1_000_000]);
    buffer.add_bytes("x").unwrap();
    buffer.drain(1_000_000).unwrap();
    assert_eq!(buffer.allocated(), 1);
    let mut buffer = Evbuffer::from(vec![1; 1_000_000]);
    buffer.drain(usize::MAX).unwrap();
    assert_eq!(buffer.allocated(), 0);
}

#[test]
fn block_that_holds_too_little_is_refused_and_comes_back() {
    let mut buffer = Evbuffer::new();
    let (error, block) = buffer.append_block(vec![1; 10].into_boxed_slice(), 11).unwrap_err();
    assert_eq!(error, Error::OutOfRange { position: 11, len: 10 });
    assert_eq!(*block, [1; 10]);
    buffer.append_block(block, 0).unwrap();
    assert_eq!((buffer.len(), buffer.allocated()), (0, 10));
}

#[test]
fn failed_pullup_and_expand_keep_everything() {
    let mut buffer = Evbuffer::from(b"kept");
    assert!(buffer.pullup(5).is_err());
    assert!(buffer.expand(usize::MAX - 100).is_err());
    assert_eq!(buffer, "kept");
    buffer.debug_validate();
}

#[test]
fn a_settled_buffer_holds_no_more_than_its_data_needs() {
    let mut input = Evbuffer::new();
    input.set_settled();
    let mut pool = Vec::new();
    for (filled, kept) in [(0, 0), (100, 256), (10_000, 16 * 1024), (40_000, 64 * 1024)] {
        input.append_block(vec![7; 64 * 1024].into_boxed_slice(), filled).unwrap();
        input.settle(&mut |block| pool.push(block.len()));
        assert_eq!((input.len(), input.allocated()), (filled, kept));
        input.debug_validate();
        Transport::consume(&mut input, filled);
        input.settle(&mut |block| pool.push(block.len()));
        assert_eq!(input.allocated(), 0);
    }
    // Three large blocks that held little; the packed 16 KiB one; the last that was drained.
    assert_eq!(pool, [64 * 1024, 64 * 1024, 64 * 1024, 16 * 1024, 64 * 1024]);
}

#[test]
fn a_block_that_was_drained_while_it_was_lent_comes_back_to_be_pooled() {
    let mut input = Evbuffer::new();
    input.set_settled();
    for blocks in 1..=2 {
        let (mut lent, mut pool) = (Evbuffer::new(), Vec::new());
        lent.set_settled();
        for _ in 0..blocks {
            input.append_block(vec![7; 64 * 1024].into_boxed_slice(), 60_000).unwrap();
        }
        input.lend(&mut lent, usize::MAX);
        lent.drain(usize::MAX).unwrap();
        input.take_back(&mut lent);
        input.debug_validate();
        lent.debug_validate();
        input.settle(&mut |block| pool.push(block.len()));
        assert_eq!((pool, input.allocated()), (vec![64 * 1024; blocks], 0));
    }
}

#[test]
fn a_buffer_that_is_lent_itself_comes_back_as_it_was() {
    let mut buffer = Evbuffer::from(b"lent");
    buffer.freeze(End::Front);
    buffer.freeze(End::Back);
    buffer.set_limit(Some(100));
    let loan = buffer.begin_loan(10);
    assert_eq!((buffer.limit(), buffer.drain(4)), (Some(10), Ok(4)));
    buffer.add(b"taken").unwrap();
    assert!(buffer.add(b"too much").is_err());
    buffer.observe(|_, _| unreachable!("it is not called once the buffer is back"));
    buffer.end_loan(loan);
    assert_eq!((buffer.limit(), buffer.is_plain()), (Some(100), true));
    assert!(buffer.add(b"x").is_err() && buffer.drain(1).is_err());
    assert_eq!(buffer.consume(5), 5);
}

#[test]
fn little_data_leaves_a_settled_buffer_in_a_block_of_its_size() {
    let (mut input, mut output, mut foreign) = (Evbuffer::new(), Evbuffer::new(), Evbuffer::new());
    input.set_settled();
    output.set_settled();
    input.append_block(vec![7; 64 * 1024].into_boxed_slice(), 100).unwrap();
    output.append(&mut input).unwrap();
    assert_eq!(output.allocated(), 64 * 1024, "between settled buffers the block itself moves");
    foreign.append(&mut output).unwrap();
    assert_eq!((foreign.len(), foreign.allocated()), (100, 256));
    assert_eq!(output.allocated(), 64 * 1024, "the block stays to be pooled");
    foreign.debug_validate();
    output.debug_validate();
}
