//! What the filters of the suite do to the bytes, and what undoes it at the peer.

use std::{borrow::Cow, sync::Arc};

use bufferevent::{Filter, FilterCall, FilterError, FilterStatus};

/// As many bytes are changed by words, at once: these are megabytes, in a build that is not optimized.
const BLOCK: usize = 1024;
const WORD: usize = size_of::<u128>();

/// Changes each byte by where it is in the stream, so that one that is lost, doubled or late spoils all behind it. Done
/// twice it undoes itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    /// The period of the key of each layer.
    periods: &'static [usize],
    /// The key of all layers, for a block from anywhere in their common period.
    key: Arc<[u8]>,
    at: usize,
}

impl Code {
    pub(crate) fn new(periods: &'static [usize]) -> Self {
        let key = |at| periods.iter().fold(0, |key, period| key ^ (at % period) as u8);
        let period = periods.iter().product::<usize>();
        Self { periods, key: (0..period + BLOCK).map(key).collect(), at: 0 }
    }

    /// Changes the next bytes of the stream.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        if self.periods.is_empty() {
            return;
        }
        let period = self.key.len() - BLOCK;
        for block in bytes.chunks_mut(BLOCK) {
            let key = &self.key[self.at % period..][..block.len()];
            let mut words = block.chunks_exact_mut(WORD);
            for (word, key) in words.by_ref().zip(key.chunks_exact(WORD)) {
                let [a, b] = [&*word, key].map(|bytes| u128::from_ne_bytes(bytes.try_into().unwrap()));
                word.copy_from_slice(&(a ^ b).to_ne_bytes());
            }
            let rest = words.into_remainder();
            for (byte, key) in rest.iter_mut().zip(key.chunks_exact(WORD).remainder()) {
                *byte ^= key;
            }
            self.at += key.len();
        }
    }

    /// What the next bytes of the stream become, or the first of them; they are still next then.
    pub(crate) fn applied<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.periods.is_empty() {
            return bytes.into();
        }
        let mut bytes = bytes[..bytes.len().min(64 * 1024)].to_vec();
        self.clone().apply(&mut bytes);
        bytes.into()
    }

    /// The next bytes have been passed on as they are now.
    pub(crate) fn skip(&mut self, count: usize) {
        self.at += count;
    }
}

/// A filter that changes what passes, each way by a code of its own.
pub(super) struct Coded {
    up: Code,
    down: Code,
}

impl Coded {
    pub(super) fn new(periods: &'static [usize]) -> Self {
        let code = Code::new(periods);
        Self { up: code.clone(), down: code }
    }
}

impl Filter for Coded {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        pass(&mut self.up, call)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        pass(&mut self.down, call)
    }
}

fn pass(code: &mut Code, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
    let n = call.source.len().min(call.room());
    let mut bytes = call.source.take_bytes(n)?.to_vec();
    code.apply(&mut bytes);
    call.destination.add(&bytes)?;
    Ok(FilterStatus::Ok)
}
