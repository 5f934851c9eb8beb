//! How full the memory is, in stages. Pure.

/// What a [`MemoryLimit`](crate::MemoryLimit) does just now. Each stage does what those before it do, too.
///
/// A stage begins at so much of the limit, and ends 5 % of it below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum MemoryStage {
    /// Nothing is held back.
    #[default]
    Calm,
    /// From 80 %: who holds more than a fair share is not read from.
    Reading,
    /// From 90 %: listeners under the connection limit accept nobody.
    Accepting,
    /// From 95 %: who holds memory and has moved no byte for a while is ended, the longest idle first.
    Critical,
}

const STAGES: [MemoryStage; 4] =
    [MemoryStage::Calm, MemoryStage::Reading, MemoryStage::Accepting, MemoryStage::Critical];

/// Per cent at which the stages begin.
const BEGIN: [usize; 3] = [80, 90, 95];

/// Per cent below its beginning where a stage ends.
const HYSTERESIS: usize = 5;

/// Where stages begin and end, in bytes.
#[derive(Debug)]
pub(super) struct Marks {
    begin: [usize; 3],
    end: [usize; 3],
}

impl Marks {
    pub(super) fn of(limit: usize) -> Self {
        // A limit of a few bytes has marks too.
        let part = |percent: usize| (limit as u128 * percent as u128 / 100).max(1) as usize;
        Self { begin: BEGIN.map(part), end: BEGIN.map(|percent| part(percent - HYSTERESIS)) }
    }

    /// What may be held before anything is held back.
    pub(super) fn calm(&self) -> usize {
        self.begin[0]
    }

    /// What may be held when the last stage has ended.
    pub(super) fn bearable(&self) -> usize {
        self.end[2] - 1
    }

    /// Whether the way from `old` to `new` crosses a mark: only then may the stage change.
    pub(super) fn are_crossed(&self, old: usize, new: usize) -> bool {
        passed(&self.begin, old) != passed(&self.begin, new)
            || passed(&self.end, old) != passed(&self.end, new)
    }

    /// The stage after `stage`, when `held` bytes are held.
    pub(super) fn stage(&self, stage: MemoryStage, held: usize) -> MemoryStage {
        let (begun, not_ended) = (passed(&self.begin, held), passed(&self.end, held));
        STAGES[(stage as usize).clamp(begun, not_ended)]
    }
}

fn passed(marks: &[usize; 3], held: usize) -> usize {
    marks.iter().filter(|mark| held >= **mark).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stages_begin_and_end_at_their_marks() {
        let marks = Marks::of(1_000);
        let mut stage = MemoryStage::Calm;
        let mut at = |held| {
            stage = marks.stage(stage, held);
            stage
        };
        use MemoryStage::{Accepting, Calm, Critical, Reading};
        assert_eq!(
            [at(799), at(800), at(899), at(900), at(949), at(950)],
            [Calm, Reading, Reading, Accepting, Accepting, Critical]
        );
        assert_eq!(
            [at(900), at(899), at(850), at(849), at(750), at(749)],
            [Critical, Accepting, Accepting, Reading, Reading, Calm]
        );
        assert_eq!([at(usize::MAX), at(0)], [Critical, Calm]);
    }

    proptest! {
        /// Whatever the way: between begin and end of a stage it stays as it was, outside it is what the bytes say, and
        /// who moves without crossing a mark need not ask.
        #[test]
        fn a_stage_follows_from_where_it_was_and_what_is_held(
            limit in 1usize..10_000,
            walk in prop::collection::vec(0usize..12_000, 1..50),
        ) {
            let marks = Marks::of(limit);
            let (mut held, mut stage) = (0, marks.stage(MemoryStage::Calm, 0));
            for next in walk {
                let after = marks.stage(stage, next);
                for (number, (begin, end)) in marks.begin.iter().zip(&marks.end).enumerate() {
                    let level = STAGES[number + 1];
                    prop_assert_eq!(after >= level, next >= *begin || next >= *end && stage >= level);
                }
                prop_assert!(after == stage || marks.are_crossed(held, next));
                (held, stage) = (next, after);
            }
        }
    }
}
