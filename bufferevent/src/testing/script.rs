//! What a scripted transport answers to each read and write. Pure: it says which readiness arises, the wire posts that.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bufferevent_runtime::{Random, Ready};

use crate::stream::Io;

/// What one read finds, or several where it is bytes that one does not take.
///
/// Each arrives when the one before it was read: the bufferevent is told that it is readable then, as by a socket on
/// which more has come.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadStep {
    /// These bytes, and no more until they are read.
    Bytes(Vec<u8>),
    /// Nothing, though it was said to be readable.
    WouldBlock,
    /// The end of the stream, here and from now on.
    End,
    /// A failure, once.
    Failed(io::Error),
}

/// What one write meets.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteStep {
    /// At most so many bytes are taken; then there is room again.
    Take(usize),
    /// Nothing is taken; then there is room again.
    WouldBlock,
    /// A failure, once.
    Failed(io::Error),
}

/// How far a scripted connect is.
#[derive(Debug)]
pub(super) enum Connect {
    Pending,
    Stands,
    Failed(io::Error),
}

/// The state of one scripted transport.
#[derive(Debug)]
pub(super) struct Script {
    reads: VecDeque<ReadStep>,
    /// Bytes of the first step that were read already.
    taken: usize,
    ended: bool,
    writes: VecDeque<WriteStep>,
    /// Bytes that are still taken.
    room: usize,
    pub(super) written: Vec<u8>,
    pub(super) connect: Connect,
    /// Where what no step says is drawn from.
    pub(super) faults: Option<Random>,
}

impl Script {
    pub(super) fn new(connect: Connect) -> Self {
        Self {
            reads: VecDeque::new(),
            taken: 0,
            ended: false,
            writes: VecDeque::new(),
            room: usize::MAX,
            written: Vec::new(),
            connect,
            faults: None,
        }
    }

    /// What it is ready for before anything has happened.
    pub(super) fn at_first(&self) -> Ready {
        match self.connect {
            Connect::Pending => self.arrived(),
            Connect::Stands | Connect::Failed(_) => Ready::WRITABLE | self.arrived(),
        }
    }

    /// Appends what a later read finds; answers what is ready by that.
    pub(super) fn read_next(&mut self, step: ReadStep) -> Ready {
        self.reads.push_back(step);
        if self.reads.len() == 1 { self.arrived() } else { Ready::NONE }
    }

    pub(super) fn write_next(&mut self, step: WriteStep) {
        self.writes.push_back(step);
    }

    /// Sets how much is taken before there is no more room.
    pub(super) fn set_room(&mut self, bytes: usize) -> Ready {
        let more = bytes > self.room;
        self.room = bytes;
        if more { Ready::WRITABLE } else { Ready::NONE }
    }

    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Answers a read, and what becomes ready by it.
    pub(super) fn receive(&mut self, block: &mut [u8]) -> (Io, Ready) {
        let Some(most) = self.most(block.len()) else {
            return (Io::WouldBlock, if self.reads.is_empty() { Ready::NONE } else { Ready::READABLE });
        };
        if self.ended {
            return (Io::Done(0), Ready::NONE);
        }
        if let Some(ReadStep::Bytes(bytes)) = self.reads.front() {
            let left = &bytes[self.taken..];
            let n = left.len().min(most);
            block[..n].copy_from_slice(&left[..n]);
            if n < left.len() {
                self.taken += n;
                // What is left makes no new edge, unless the read was shorter than it might have been: then it came later.
                let later = n < block.len();
                return (Io::Done(n), if later { Ready::READABLE } else { Ready::NONE });
            }
            return (Io::Done(n), self.step());
        }
        let io = match self.reads.front() {
            None => return (Io::WouldBlock, Ready::NONE),
            Some(ReadStep::End) => {
                self.ended = true;
                return (Io::Done(0), Ready::NONE);
            }
            Some(_) => match self.reads.pop_front() {
                Some(ReadStep::Failed(error)) => Io::of(error),
                _ => Io::WouldBlock,
            },
        };
        (io, self.arrived())
    }

    /// Answers a write, and what becomes ready by it.
    pub(super) fn transmit(&mut self, chunks: &[IoSlice<'_>]) -> (Io, Ready) {
        let offered: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let most = match self.writes.pop_front() {
            Some(WriteStep::Failed(error)) => return (Io::of(error), Ready::NONE),
            Some(WriteStep::Take(most)) => most,
            Some(WriteStep::WouldBlock) => 0,
            None => self.most(offered).unwrap_or(0),
        };
        let n = offered.min(most).min(self.room);
        let mut left = n;
        for chunk in chunks {
            let chunk = &chunk[..chunk.len().min(left)];
            self.written.extend_from_slice(chunk);
            left -= chunk.len();
        }
        if self.room != usize::MAX {
            self.room -= n;
        }
        let again = if n < offered && self.room > 0 { Ready::WRITABLE } else { Ready::NONE };
        (if n == 0 { Io::WouldBlock } else { Io::Done(n) }, again)
    }

    /// Readiness that is not true, now and then.
    pub(super) fn spurious(&mut self) -> Ready {
        const KINDS: [Ready; 3] = [Ready::READABLE, Ready::WRITABLE, Ready::BOTH];
        let drawn = self.faults.as_mut().map(|random| random.below(16));
        drawn.and_then(|drawn| KINDS.get(drawn)).copied().unwrap_or(Ready::NONE)
    }

    /// How many of `all` bytes one call moves; `None`: it would block.
    fn most(&mut self, all: usize) -> Option<usize> {
        match &mut self.faults {
            None => Some(all),
            Some(random) => match random.below(4) {
                0 => None,
                1 => Some(1),
                2 => Some(1 + random.below(all.max(1))),
                _ => Some(all),
            },
        }
    }

    /// The first step is done: the next one arrives.
    fn step(&mut self) -> Ready {
        self.reads.pop_front();
        self.taken = 0;
        self.arrived()
    }

    /// What the step that a read finds next makes ready.
    fn arrived(&self) -> Ready {
        match self.reads.front() {
            None => Ready::NONE,
            Some(ReadStep::Bytes(_) | ReadStep::WouldBlock) => Ready::READABLE,
            Some(ReadStep::End) => Ready::READABLE | Ready::HANGUP,
            Some(ReadStep::Failed(_)) => Ready::BOTH | Ready::ERROR,
        }
    }
}
