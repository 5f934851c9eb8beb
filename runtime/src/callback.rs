//! How long callbacks take, and who is told of one that blocks.

use std::{fmt, rc::Rc, sync::Arc, time::Duration};

use crate::{
    affinity::Affinity,
    base::{BaseHandle, shared::BaseShared},
    clock::Time,
    lane::{self, Lane},
    protocol::CallbackMark,
    selector::Token,
    slots::Key,
    task::isolate,
};

/// A usual time after which a callback counts as blocked.
pub const BLOCKED_AFTER: Duration = Duration::from_millis(100);

/// What kind of callback it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallbackKind {
    /// Data has come.
    Read,
    /// There is room for more.
    Write,
    /// Something else happened.
    Event,
    /// A drain has begun.
    Drain,
    /// A buffer has changed.
    Observer,
    /// A filter is to change what passes.
    Filter,
    /// A timer is due: of `after` and `every`, not the timeout of a bufferevent.
    Timer,
    /// A listener has accepted, or could not: its callbacks, and its filter.
    Accept,
    /// A closure that was posted to the base.
    Post,
    /// A plain event, on a descriptor or activated.
    Plain,
    /// A signal has come.
    Signal,
}

impl CallbackKind {
    const ALL: [Self; 11] = [
        Self::Read,
        Self::Write,
        Self::Event,
        Self::Drain,
        Self::Observer,
        Self::Filter,
        Self::Timer,
        Self::Accept,
        Self::Post,
        Self::Plain,
        Self::Signal,
    ];
}

/// A callback that keeps its worker for too long.
///
/// # Libevent
/// None: a callback that blocks there holds up its base in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocked {
    /// The base it lives on, as [`BaseHandle::id`] tells.
    pub base: u64,
    /// Whose callback it is. What was posted is nobody's, and this names nothing.
    pub key: Key,
    /// Which one.
    pub kind: CallbackKind,
    /// How long it has run so far.
    pub elapsed: Duration,
    /// Whether it still runs, as far as can be seen.
    pub running: bool,
}

/// Who is told, and after how long.
#[derive(Clone)]
pub(crate) struct OnBlocked {
    after: Duration,
    hook: Arc<dyn Fn(&Blocked) + Send + Sync>,
}

impl OnBlocked {
    pub(crate) fn new(after: Duration, hook: impl Fn(&Blocked) + Send + Sync + 'static) -> Self {
        Self { after: after.max(LEAST), hook: Arc::new(hook) }
    }

    /// Claims what `mark` shows, if it lasts too long, and answers what to tell; `count` counts it on the base of this
    /// number, and answers the base's id.
    pub(crate) fn look(
        &self,
        mark: &CallbackMark,
        now: Time,
        count: impl FnOnce(usize) -> u64,
    ) -> Option<Blocked> {
        let number = mark.look();
        let running = Running::of(number)?;
        let elapsed = now.since(running.began);
        if elapsed < self.after {
            return None;
        }
        let key = Key::from_token(Token(mark.claim(number)?));
        Some(Blocked { base: count(running.base), key, kind: running.kind, elapsed, running: true })
    }

    /// Tells of it. With nothing held.
    pub(crate) fn tell(&self, blocked: &Blocked) {
        isolate(|| (self.hook)(blocked));
    }
}

/// A callback in one number: microseconds at which it began, number of its base, kind.
///
/// | bits 63..14             | bits 13..4 | bits 3..0 |
/// |-------------------------|------------|-----------|
/// | microseconds (35 years) | base       | kind + 1  |
struct Running {
    began: Time,
    base: usize,
    kind: CallbackKind,
}

impl Running {
    fn number(&self) -> u64 {
        (self.began.as_nanos() / 1_000) << 14 | (self.base as u64 & 0x3ff) << 4 | (self.kind as u64 + 1)
    }

    fn of(number: u64) -> Option<Self> {
        let kind = *CallbackKind::ALL.get(usize::try_from(number & 15).ok()?.checked_sub(1)?)?;
        let began = Time::from_nanos((number >> 14) * 1_000);
        Some(Self { began, base: (number >> 4 & 0x3ff) as usize, kind })
    }
}

/// A callback that runs, from [`BaseHandle::callback_begins`] to the drop of this.
#[must_use = "the callback ends when this is dropped"]
pub struct InCallback {
    shared: Arc<BaseShared>,
    lane: Option<Rc<Lane>>,
    began: Time,
    number: u64,
    key: Key,
    kind: CallbackKind,
}

impl BaseShared {
    /// A callback begins: noted if somebody wants to know.
    #[inline]
    pub(crate) fn callback_begins(self: &Arc<Self>, key: Key, kind: CallbackKind) -> Option<InCallback> {
        if self.times_callbacks { Some(InCallback::begin(self, key, kind)) } else { None }
    }
}

impl InCallback {
    #[cold]
    fn begin(shared: &Arc<BaseShared>, key: Key, kind: CallbackKind) -> Self {
        let began = shared.clock.now();
        let number = Running { began, base: shared.index, kind }.number();
        let lane = lane::current(shared.pool);
        if let Some(mark) = lane.as_ref().and_then(|lane| lane.mark.as_ref()) {
            mark.begin(number, key.token().0);
        }
        Self { shared: Arc::clone(shared), lane, began, number, key, kind }
    }

    fn mark(&self) -> Option<&CallbackMark> {
        self.lane.as_ref()?.mark.as_deref()
    }
}

impl Drop for InCallback {
    fn drop(&mut self) {
        let shared = &self.shared;
        let elapsed = shared.clock.now().since(self.began);
        if shared.trace {
            shared.counters.callback_times.add(elapsed);
        }
        match &shared.on_blocked {
            Some(on_blocked) if elapsed >= on_blocked.after => {
                if self.mark().is_some_and(|mark| mark.claim(self.number).is_none()) {
                    return;
                }
                shared.counters.blocked.add(1);
                let on_blocked = on_blocked.clone();
                let (key, kind) = (self.key, self.kind);
                let blocked = Blocked { base: shared.id, key, kind, elapsed, running: false };
                // Not here: the strand may be held.
                shared.spawn_here(Box::new(move || on_blocked.tell(&blocked)));
            }
            _ => {
                if let Some(mark) = self.mark() {
                    mark.end();
                }
            }
        }
    }
}

impl<A: Affinity> BaseHandle<A> {
    /// Whether [`callback_begins`](Self::callback_begins) answers anything.
    #[inline]
    pub fn times_callbacks(&self) -> bool {
        self.shared.times_callbacks
    }

    /// A callback of the object `key` begins on this thread; it ends when the answer is dropped. `None` if nobody wants to
    /// know: neither [`on_blocked`](crate::Builder::on_blocked) nor [`trace`](crate::Builder::trace) was asked for.
    ///
    /// For crates that call handlers. Callbacks of one thread do not nest.
    #[inline]
    pub fn callback_begins(&self, key: Key, kind: CallbackKind) -> Option<InCallback> {
        self.shared.callback_begins(key, kind)
    }
}

/// Callbacks shorter than this are nobody's business: a watcher looks as often.
const LEAST: Duration = Duration::from_millis(1);

impl fmt::Debug for OnBlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnBlocked").field("after", &self.after).finish_non_exhaustive()
    }
}

impl fmt::Debug for InCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InCallback").field("key", &self.key).field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_callback_is_one_number_and_back() {
        for kind in CallbackKind::ALL {
            for (nanos, base) in [(0, 0), (1_000, 1), (86_400_000_000_000 * 365 * 35, 1_023)] {
                let running = Running { began: Time::from_nanos(nanos), base, kind };
                let back = Running::of(running.number()).map(|back| (back.began, back.base, back.kind));
                assert_eq!(back, Some((running.began, base, kind)));
            }
        }
        assert!(Running::of(0).is_none());
    }

    #[test]
    fn what_lasts_too_long_is_claimed_and_nothing_else() {
        let on_blocked = OnBlocked::new(Duration::from_millis(100), |_| {});
        let mark = CallbackMark::new();
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let number = Running { began: at(5), base: 3, kind: CallbackKind::Event }.number();
        mark.begin(number, 7);
        let base = |number| number as u64 + 10;
        assert_eq!(on_blocked.look(&mark, at(104), base), None);
        let blocked = on_blocked.look(&mark, at(106), base).expect("it lasts too long");
        assert_eq!((blocked.base, blocked.kind), (13, CallbackKind::Event));
        assert_eq!((blocked.elapsed.as_millis(), blocked.running), (101, true));
        assert_eq!((blocked.key.token(), on_blocked.look(&mark, at(300), base)), (Token(7), None));
    }
}
