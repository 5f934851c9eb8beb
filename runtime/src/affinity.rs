//! May a base, and so what lives in it, change its thread?
//!
//! [`Movable`] bases are claimed by whichever worker is free, so all they own is `Send`. A [`Pinned`] base stays on the
//! thread that made it and accepts anything. The difference is one bound; every method body exists once.

use std::any::Any;

use crate::source::Source;

/// A base that workers may pass among themselves: what it owns is `Send`.
#[derive(Debug)]
pub enum Movable {}

/// A base that stays on one thread: what it owns may be `!Send`.
#[derive(Debug)]
pub enum Pinned {}

/// [`Movable`] or [`Pinned`].
pub trait Affinity: sealed::Sealed + Sized + 'static {
    /// A source as a base of this affinity stores it.
    type Source: Source<Self> + ?Sized;
    /// Whether this is [`Pinned`].
    const PINNED: bool;

    /// Boxes a source that any base may own.
    fn boxed(source: impl Source<Self> + Send) -> Box<Self::Source>;

    /// The source as one that may change its thread; back, if it may not.
    #[doc(hidden)]
    fn movable(source: Box<Self::Source>) -> Result<Box<<Movable as Affinity>::Source>, Box<Self::Source>>;

    /// The source as what it is, to be downcast.
    fn any(source: &mut Self::Source) -> &mut dyn Any;
}

impl Affinity for Movable {
    type Source = dyn Source<Movable> + Send;
    const PINNED: bool = false;

    fn movable(source: Box<Self::Source>) -> Result<Box<Self::Source>, Box<Self::Source>> {
        Ok(source)
    }

    fn boxed(source: impl Source<Self> + Send) -> Box<Self::Source> {
        Box::new(source)
    }

    fn any(source: &mut Self::Source) -> &mut dyn Any {
        source
    }
}

impl Affinity for Pinned {
    type Source = dyn Source<Pinned>;
    const PINNED: bool = true;

    fn movable(source: Box<Self::Source>) -> Result<Box<<Movable as Affinity>::Source>, Box<Self::Source>> {
        Err(source)
    }

    fn boxed(source: impl Source<Self> + Send) -> Box<Self::Source> {
        Box::new(source)
    }

    fn any(source: &mut Self::Source) -> &mut dyn Any {
        source
    }
}

/// A source that a base of affinity `A` may own: any for [`Pinned`], only `Send` ones for [`Movable`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a `Base<{A}>` may own",
    label = "such a base does not take this",
    note = "a `Base<Movable>`, as those of a runtime, takes only what is `Send`, since workers pass such bases among themselves; a `Base<Pinned>` keeps its thread and takes anything"
)]
pub trait IntoSource<A: Affinity> {
    /// Boxes the source.
    fn into_source(self) -> Box<A::Source>;
}

impl<S: Source<Movable> + Send> IntoSource<Movable> for S {
    fn into_source(self) -> Box<<Movable as Affinity>::Source> {
        Box::new(self)
    }
}

impl<S: Source<Pinned>> IntoSource<Pinned> for S {
    fn into_source(self) -> Box<<Pinned as Affinity>::Source> {
        Box::new(self)
    }
}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
    impl Sealed for super::Movable {}
    impl Sealed for super::Pinned {}
}
