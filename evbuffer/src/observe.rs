//! Observers: closures that are told how a buffer has changed.

use crate::Evbuffer;
use crate::observers::{Call, Observers, When};

/// Names one observer of a buffer: [`Evbuffer::observe`]. Of no use with another buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(pub(crate) u64);

/// What has happened to a buffer since one of its observers was last called.
/// # Libevent
/// `struct evbuffer_cb_info`.
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
///
/// use bufferevent_evbuffer::Evbuffer;
///
/// let most = Arc::new(AtomicUsize::new(0));
/// let seen = most.clone();
/// let mut buffer = Evbuffer::new();
/// buffer.observe(move |_, change| drop(seen.fetch_max(change.after(), Relaxed)));
/// buffer.add(b"twelve bytes")?;
/// buffer.drain(10)?;
/// assert_eq!(most.load(Relaxed), 12);
/// # Ok::<(), bufferevent_evbuffer::Error>(())
/// ```
#[doc(alias = "evbuffer_cb_info")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The observer that is being called.
    pub observer: ObserverId,
    /// The length then, in bytes.
    pub before: usize,
    /// Bytes put in since.
    pub added: usize,
    /// Bytes taken out since.
    pub removed: usize,
}

impl Change {
    /// The length now, in bytes.
    pub fn after(&self) -> usize {
        self.before.wrapping_add(self.added).wrapping_sub(self.removed)
    }
}

impl Evbuffer {
    /// Calls `observer` after each operation that has changed the length, with what it changed.
    ///
    /// It is called inside that operation, which is complete by then, on the thread of its caller; the last one added
    /// first. It may look at the buffer, change it, add observers and remove any, itself too ([`Change::observer`]). What
    /// it changes is told when all have been called, in a further round, by iteration: an observer is never entered twice.
    /// After [`OBSERVER_ROUNDS`] rounds the rest is told together with the next change.
    ///
    /// It must not put another buffer in the place of this one (`mem::swap`): the observers would go with it. One that
    /// panics is removed, and the panic goes on.
    ///
    /// On a buffer of a bufferevent: what the connection reads or sends is told after that step, before the callback it
    /// causes, with the strand of a THREADSAFE one held; a panic there is one of a callback. Once the bufferevent is closing
    /// nothing is told that it does by itself.
    /// # Libevent
    /// `evbuffer_add_cb`, with `EVBUFFER_CB_NODEFER` where callbacks are deferred.
    /// # Examples
    /// ```
    /// use bufferevent_evbuffer::Evbuffer;
    ///
    /// let mut buffer = Evbuffer::new();
    /// let id = buffer.observe(|buffer, change| {
    ///     if change.added > 0 {
    ///         let _ = buffer.drain(usize::MAX);
    ///     }
    /// });
    /// buffer.add(b"drained at once")?;
    /// assert!(buffer.is_empty());
    /// assert!(buffer.unobserve(id));
    /// buffer.add(b"kept")?;
    /// assert_eq!(buffer, b"kept");
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_add_cb")]
    #[doc(alias = "EVBUFFER_CB_NODEFER")]
    pub fn observe(
        &mut self,
        observer: impl FnMut(&mut Evbuffer, Change) + Send + Sync + 'static,
    ) -> ObserverId {
        self.add_observer(When::AtOnce, Box::new(observer))
    }

    /// Calls `observer` later, once for all that has changed until then: at [`notify_deferred`](Evbuffer::notify_deferred).
    ///
    /// A bufferevent calls that at the end of each of its runs. What a deferred observer changes itself is told at the next
    /// one, which follows.
    /// # Libevent
    /// `evbuffer_defer_callbacks`. Differs: each observer is of one kind or the other, and has sums of its own.
    /// # Examples
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use bufferevent_evbuffer::Evbuffer;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let mut buffer = Evbuffer::new();
    /// buffer.observe_deferred(move |_, change| drop(tell.send((change.before, change.added, change.removed))));
    /// buffer.add(b"one")?;
    /// buffer.add(b"three")?;
    /// buffer.drain(2)?;
    /// buffer.notify_deferred();
    /// assert_eq!(told.try_recv(), Ok((0, 8, 2)));
    /// # Ok::<(), bufferevent_evbuffer::Error>(())
    /// ```
    #[doc(alias = "evbuffer_defer_callbacks")]
    pub fn observe_deferred(
        &mut self,
        observer: impl FnMut(&mut Evbuffer, Change) + Send + Sync + 'static,
    ) -> ObserverId {
        self.add_observer(When::Deferred, Box::new(observer))
    }

    /// Removes an observer, and drops it: at once, or if it is being called, when it returns. False: there is none.
    /// # Libevent
    /// `evbuffer_remove_cb_entry`.
    #[doc(alias = "evbuffer_remove_cb_entry")]
    #[doc(alias = "evbuffer_remove_cb")]
    pub fn unobserve(&mut self, id: ObserverId) -> bool {
        let entry = self.rare.as_mut().and_then(|rare| rare.observers.remove(id));
        entry.is_some()
    }

    /// Switches an observer off or on again; what changes while it is off, or was not told before, it is not told. False:
    /// there is none.
    /// # Libevent
    /// `evbuffer_cb_set_flags`, `evbuffer_cb_clear_flags` with `EVBUFFER_CB_ENABLED`.
    #[doc(alias = "evbuffer_cb_set_flags")]
    #[doc(alias = "evbuffer_cb_clear_flags")]
    pub fn enable_observer(&mut self, id: ObserverId, on: bool) -> bool {
        self.rare.as_mut().is_some_and(|rare| rare.observers.enable(id, on))
    }

    /// Calls the deferred observers that have something to be told. Inside the call of an observer it does nothing.
    #[doc(alias = "evbuffer_defer_callbacks")]
    pub fn notify_deferred(&mut self) {
        if let Some(mut telling) = Telling::begin(self) {
            telling.round(When::Deferred);
            telling.rounds_at_once();
        }
    }

    fn add_observer(&mut self, when: When, call: Call) -> ObserverId {
        let observers = &mut self.rare.get_or_insert_default().observers;
        observers.note(self.len);
        observers.add(when, call)
    }

    /// Ends an operation that may have changed the length: tells the observers.
    #[inline]
    pub(crate) fn changed(&mut self) {
        if self.rare.is_some() {
            self.tell_change();
        }
    }

    #[cold]
    fn tell_change(&mut self) {
        self.note_change();
        self.tell_at_once();
    }

    /// Ends an operation of the owner's: the observers are told later.
    #[inline]
    pub(crate) fn noted(&mut self) {
        if self.rare.is_some() {
            self.note_change();
        }
    }

    #[cold]
    fn note_change(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.observers.note(self.len);
        }
    }

    pub(crate) fn tell_at_once(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.observers.has_news()) {
            if let Some(mut telling) = Telling::begin(self) {
                telling.rounds_at_once();
            }
        }
    }
}

/// Observers are being called: no operation that they make calls any.
struct Telling<'a>(&'a mut Evbuffer);

impl<'a> Telling<'a> {
    /// `None` inside the call of an observer, while the owner holds them back, and where there is none.
    fn begin(buffer: &'a mut Evbuffer) -> Option<Self> {
        let begun =
            !buffer.frozen.is_held() && buffer.rare.as_mut().is_some_and(|rare| rare.observers.begin());
        begun.then(|| Self(buffer))
    }

    fn rounds_at_once(&mut self) {
        for _ in 0..OBSERVER_ROUNDS {
            if !self.round(When::AtOnce) {
                return;
            }
        }
    }

    /// Calls each that has something to be told, once. False: there was none.
    fn round(&mut self, when: When) -> bool {
        let mut last = None;
        while let Some((mut call, change)) =
            self.0.rare.as_mut().and_then(|rare| rare.observers.take_due(when, last))
        {
            call(self.0, change);
            if let Some(rare) = &mut self.0.rare {
                rare.observers.put_back(change.observer, call);
            }
            last = Some(change.observer);
        }
        last.is_some()
    }
}

impl Drop for Telling<'_> {
    /// Also when one has panicked.
    fn drop(&mut self) {
        if let Some(rare) = &mut self.0.rare {
            rare.observers.end();
        }
    }
}

/// How often at most one operation goes through the observers, for what they change themselves.
pub const OBSERVER_ROUNDS: usize = 16;

/// What few buffers have.
impl Rare {
    /// Whether it never had an observer, whose id must not come again, and has no files.
    pub(crate) fn is_idle(&self) -> bool {
        self.unloaded == 0 && self.observers.is_new()
    }
}

#[derive(Default)]
pub(crate) struct Rare {
    pub(crate) observers: Observers,
    /// Bytes of files that are not in memory.
    pub(crate) unloaded: usize,
}
