//! What the filters of the suite do to the bytes, and what undoes it at the peer.

use std::{io, sync::Arc};

use bufferevent::{Filter, FilterCall, FilterError, FilterStatus};

use super::End;

/// As many bytes are changed by words, at once: these are megabytes, in a build that is not optimized.
const BLOCK: usize = 1024;
const WORD: usize = size_of::<u128>();

/// Changes each byte by where it is in the stream, so that one that is lost, doubled or late spoils all behind it. Done
/// twice it undoes itself.
#[derive(Clone, Debug)]
pub(super) struct Code {
    /// The key of all layers, for a block from anywhere in their common period.
    key: Arc<[u8]>,
    at: usize,
}

impl Code {
    pub(super) fn new(periods: &'static [usize]) -> Self {
        let key = |at| periods.iter().fold(0, |key, period| key ^ (at % period) as u8);
        let period = periods.iter().product::<usize>();
        Self { key: (0..period + BLOCK).map(key).collect(), at: 0 }
    }

    /// Changes the next bytes of the stream.
    fn apply(&mut self, bytes: &mut [u8]) {
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
    fn applied(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes[..bytes.len().min(64 * 1024)].to_vec();
        self.clone().apply(&mut bytes);
        bytes
    }

    /// The next bytes have been passed on as they are now.
    fn skip(&mut self, count: usize) {
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

/// An end that speaks to such filters.
pub(super) struct InCode {
    end: Box<dyn End>,
    sent: Code,
    received: Code,
}

impl InCode {
    pub(super) fn new(end: Box<dyn End>, code: Code) -> Self {
        Self { end, sent: code.clone(), received: code }
    }
}

impl End for InCode {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let sent = self.end.write(&self.sent.applied(from))?;
        self.sent.skip(sent);
        Ok(sent)
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.end.read(to)?;
        self.received.apply(&mut to[..n]);
        Ok(n)
    }

    fn shutdown_write(&mut self) {
        self.end.shutdown_write();
    }

    fn reset(&mut self) {
        self.end.reset();
    }

    fn cut_short(&mut self) {
        self.end.cut_short();
    }

    fn is_readable(&mut self) -> bool {
        self.end.is_readable()
    }

    fn is_ended(&mut self) -> bool {
        self.end.is_ended()
    }

    fn turn(&mut self) {
        self.end.turn();
    }
}
