//! What is sent by the load and by the source: a stream in which every position tells its byte.

use bufferevent::Evbuffer;
use bytes::Bytes;

/// Bytes after which the pattern repeats: a prime, so that no buffer size, block size or page size divides it, and a
/// piece that is lost, doubled or displaced does not fit where it arrives.
pub(crate) const PERIOD: usize = 65_521;

/// The stream that a source sends to all. An echo gets others, or a source would pass for one.
pub(crate) const SOURCE: usize = 0;

/// Pieces up to this length are copied, longer ones referred to.
const COPY: usize = 1_024;

/// The bytes of one period; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    period: Bytes,
}

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = |_| {
            // xorshift64: any fixed sequence without a short period does.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        Self { period: (0..PERIOD).map(next).collect() }
    }

    /// One period of [`SOURCE`].
    pub(crate) fn period(&self) -> &Bytes {
        &self.period
    }

    /// Stream `number`, at its beginning. Different streams begin at different places.
    pub(crate) fn stream(&self, number: usize) -> Cursor {
        Cursor { period: self.period.clone(), at: number.wrapping_mul(7_919) % PERIOD }
    }
}

/// A position in a stream.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    period: Bytes,
    at: usize,
}

impl Cursor {
    /// Appends the next `n` bytes of the stream to `buffer`; false if it refused some.
    pub(crate) fn fill(&mut self, buffer: &mut Evbuffer, n: usize) -> bool {
        let mut left = n;
        while left > 0 {
            let piece = left.min(PERIOD - self.at);
            let range = self.at..self.at + piece;
            let added = if piece <= COPY {
                buffer.add(&self.period[range])
            } else {
                buffer.add_bytes(self.period.slice(range))
            };
            if added.is_err() {
                return false;
            }
            self.advance(piece);
            left -= piece;
        }
        true
    }

    /// Compares `bytes` with the stream and moves on behind them; answers how many differ.
    pub(crate) fn check(&mut self, mut bytes: &[u8]) -> usize {
        let mut wrong = 0;
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(PERIOD - self.at));
            let expected = &self.period[self.at..self.at + piece.len()];
            if piece != expected {
                wrong += piece.iter().zip(expected).filter(|(is, should)| is != should).count();
            }
            self.advance(piece.len());
            bytes = rest;
        }
        wrong
    }

    fn advance(&mut self, n: usize) {
        self.at = (self.at + n) % PERIOD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: usize, n: usize) -> Vec<u8> {
        let mut buffer = Evbuffer::new();
        assert!(Pattern::new().stream(number).fill(&mut buffer, n));
        buffer.to_vec()
    }

    #[test]
    fn what_is_filled_checks_whatever_the_cuts() {
        let sent = stream(3, 200_000);
        for cut in [1, 7, 64, 65_536, 200_000] {
            let mut cursor = Pattern::new().stream(3);
            assert_eq!(sent.chunks(cut).map(|piece| cursor.check(piece)).sum::<usize>(), 0, "cut {cut}");
        }
    }

    #[test]
    fn a_byte_changed_lost_doubled_or_of_another_stream_is_found() {
        let sent = stream(0, 100_000);
        let wrong = |bytes: &[u8]| Pattern::new().stream(0).check(bytes);
        let mut changed = sent.clone();
        changed[70_000] ^= 1;
        assert_eq!(wrong(&changed), 1);
        let mut lost = sent.clone();
        lost.remove(1_000);
        assert!(wrong(&lost) > 90_000);
        let mut doubled = sent.clone();
        doubled.insert(1_000, sent[1_000]);
        assert!(wrong(&doubled) > 90_000);
        assert!(wrong(&stream(1, 1_000)) > 900);
        let mut displaced = sent[4_096..8_192].to_vec();
        displaced.extend_from_slice(&sent[..4_096]);
        assert!(wrong(&displaced) > 8_000);
    }
}
