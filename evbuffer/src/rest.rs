//! What follows the head of a chain: one word while that is nothing, as it nearly always is.

use std::collections::{VecDeque, vec_deque};

use crate::segment::Segment;

/// The segments behind the head. It has no memory before there is one.
#[derive(Default)]
#[allow(clippy::box_collection, reason = "every buffer has one word here, in place of four")]
pub(crate) struct Rest(Option<Box<VecDeque<Segment>>>);

impl Rest {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|segments| segments.is_empty())
    }

    /// Whether it has memory, which [`Rest::default`] has not.
    #[inline]
    pub(crate) fn is_allocated(&self) -> bool {
        self.0.is_some()
    }

    #[inline]
    pub(crate) fn iter(&self) -> vec_deque::Iter<'_, Segment> {
        self.0.as_ref().map(|segments| segments.iter()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> vec_deque::IterMut<'_, Segment> {
        self.0.as_mut().map(|segments| segments.iter_mut()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn back_mut(&mut self) -> Option<&mut Segment> {
        self.0.as_mut()?.back_mut()
    }

    pub(crate) fn push_back(&mut self, segment: Segment) {
        self.0.get_or_insert_default().push_back(segment);
    }

    pub(crate) fn push_front(&mut self, segment: Segment) {
        self.0.get_or_insert_default().push_front(segment);
    }

    /// Puts one before that at `index`, or behind the last.
    pub(crate) fn insert(&mut self, index: usize, segment: Segment) {
        self.0.get_or_insert_default().insert(index, segment);
    }

    #[inline]
    pub(crate) fn pop_back(&mut self) -> Option<Segment> {
        self.0.as_mut()?.pop_back()
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Segment> {
        self.0.as_mut()?.pop_front()
    }

    /// Moves all of `other` to the back.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if let Some(others) = &mut other.0 {
            self.0.get_or_insert_default().append(others);
        }
    }
}
