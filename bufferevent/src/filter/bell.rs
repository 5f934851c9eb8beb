//! How a filter is called again without a byte: by a [`Waker`], from any thread.

use std::{
    fmt,
    sync::Arc,
    task::{Wake, Waker},
};

use bufferevent_runtime::{BaseHandle, Bell, Key};

use crate::bufferevent::Home;

/// The bell of one layer. It hangs where its bufferevent lives, and nowhere once that is gone.
#[derive(Default)]
struct Rope(Bell<(BaseHandle, Key)>);

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some((base, key)) = self.0.ring() {
            base.wake(key);
        }
    }
}

/// The owner of a bell, which is made for the first who wants to ring it. Dropped, it takes the bell down: who rings then wakes
/// nobody, and keeps no base.
#[derive(Default)]
pub(super) struct Belfry(Option<Arc<Rope>>);

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
        if let Some(Rope(bell)) = self.0.as_deref() {
            bell.hang_at(home.map(|home| (home.base.clone(), home.key)));
        }
    }

    /// Whether it was rung since the last look.
    pub(super) fn was_rung(&self) -> bool {
        self.0.as_ref().is_some_and(|rope| rope.0.was_rung())
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
