//! What a worker lends to a run. Blocks that reads go into: one per worker at rest, a few pooled.
//!
//! A read lands in the current block. A small one is copied out; a large one keeps the block, and the next read gets a
//! pooled one. So an idle connection owns no memory, and no block is zeroed twice.

/// Bytes of one block.
pub const BLOCK: usize = 64 * 1024;

/// Blocks kept for re-use: 4 MiB per worker at most.
const POOLED: usize = 64;

/// Steps of handshakes in one pass over what is ready: they cost so much that others would come late.
pub const HANDSHAKES_PER_PASS: u32 = 16;

/// A worker's blocks. Every block has length [`BLOCK`] and has been written once, so it is safe to read into.
#[derive(Debug, Default)]
pub struct Scratch {
    current: Box<[u8]>,
    pool: Vec<Box<[u8]>>,
    /// Steps of handshakes that were made in this pass.
    handshakes: u32,
}

impl Scratch {
    /// A pass begins over what is ready.
    #[inline]
    pub(crate) fn begin_pass(&mut self) {
        self.handshakes = 0;
    }

    /// Whether a step of a handshake may be made in this pass, which then counts. If not, it is for the next one.
    #[must_use]
    pub fn takes_handshake(&mut self) -> bool {
        let takes = self.handshakes < HANDSHAKES_PER_PASS;
        self.handshakes += u32::from(takes);
        takes
    }

    /// The block to read into.
    #[inline]
    pub fn block(&mut self) -> &mut [u8] {
        if self.current.is_empty() {
            self.refill();
        }
        &mut self.current
    }

    #[cold]
    fn refill(&mut self) {
        self.current = self.pool.pop().unwrap_or_else(|| vec![0; BLOCK].into_boxed_slice());
    }

    /// Gives the current block away, with what was read into it.
    #[inline]
    pub fn take(&mut self) -> Box<[u8]> {
        self.block();
        std::mem::take(&mut self.current)
    }

    /// Takes a block back. One of another size is dropped, as is one too many.
    #[inline]
    pub fn give(&mut self, block: Box<[u8]>) {
        if block.len() != BLOCK {
            return;
        }
        if self.current.is_empty() {
            self.current = block;
        } else if self.pool.len() < POOLED {
            self.pool.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_given_back_is_used_again() {
        let mut scratch = Scratch::default();
        scratch.block()[0] = 7;
        let block = scratch.take();
        let address = block.as_ptr();
        scratch.give(block);
        assert_eq!(scratch.block().as_ptr(), address);
        scratch.give(vec![0; BLOCK].into_boxed_slice());
        assert_eq!(scratch.pool.len(), 1);
        scratch.give(vec![0; 10].into_boxed_slice());
        assert_eq!(scratch.pool.len(), 1, "a block of another size is dropped");
    }
}
