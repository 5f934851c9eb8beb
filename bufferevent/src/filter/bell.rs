//! How a filter is called again without a byte: by a [`Waker`], from any thread.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Wake, Waker},
};

use bufferevent_runtime::{BaseHandle, Key};
use bufferevent_sync::Leaf;

use crate::bufferevent::Home;

/// The bell of one layer. It hangs where its bufferevent lives, and nowhere once that is gone.
///
/// * B1 No ring is lost: it is noted before it looks for the place, and who lives at another place has that noted before the
///   run that comes there looks for a ring.
/// * B2 Rings until the next look are one.
#[derive(Default)]
struct Bell {
    synced: Leaf<Synced>,
}

/// Leaf lock.
#[derive(Default)]
struct Synced {
    rung: bool,
    place: Option<(BaseHandle, Key)>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let place = {
            let mut synced = self.synced.lock();
            if mem::replace(&mut synced.rung, true) { None } else { synced.place.clone() }
        };
        if let Some((base, key)) = place {
            base.wake(key);
        }
    }
}

/// The owner of a bell, which is made for the first who wants to ring it. Dropped, it takes the bell down: who rings then wakes
/// nobody, and keeps no base.
#[derive(Default)]
pub(super) struct Belfry(Option<Arc<Bell>>);

impl Belfry {
    /// What rings the bell, of a bufferevent that lives at `home`.
    pub(super) fn waker(&mut self, home: Option<&Home>) -> Waker {
        if self.0.is_none() {
            self.0 = Some(Arc::default());
            self.hang_at(home);
        }
        Waker::from(self.0.clone().unwrap_or_default())
    }

    /// It lives there from now on. What was rung at another place is seen by the next look.
    pub(super) fn hang_at(&self, home: Option<&Home>) {
        if let Some(bell) = &self.0 {
            let place = home.map(|home| (home.base.clone(), home.key));
            let before = mem::replace(&mut bell.synced.lock().place, place);
            drop(before);
        }
    }

    /// Whether it was rung since the last look.
    pub(super) fn was_rung(&self) -> bool {
        self.0.as_ref().is_some_and(|bell| mem::take(&mut bell.synced.lock().rung))
    }
}

impl Drop for Belfry {
    fn drop(&mut self) {
        self.hang_at(None);
    }
}

impl fmt::Debug for Belfry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Belfry").field(&self.0.is_some()).finish()
    }
}
