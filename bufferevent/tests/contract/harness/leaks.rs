//! What must be gone when a world is: its handlers, and the objects of its bases (F57). What is the process's, descriptors
//! and all that lives, is counted by the [`Census`](bufferevent::testing::Census) of each test (F56).

use std::{
    sync::{Arc, Weak},
    thread,
};

use bufferevent::BaseHandle;

use super::{Actor, actor::Script};

/// What a world was given. The last of its fields, so dropped when all that lived there is.
pub(super) struct Leaks {
    handlers: Vec<Weak<Script>>,
    bases: Vec<BaseHandle>,
}

impl Leaks {
    pub(super) fn of(bases: Vec<BaseHandle>) -> Self {
        Self { handlers: Vec::new(), bases }
    }

    pub(super) fn watch_handler(&mut self, actor: &Actor) {
        self.handlers.push(Arc::downgrade(&actor.script));
    }
}

impl Drop for Leaks {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        for base in &self.bases {
            assert_eq!(base.objects(), 0, "objects of a base that is gone");
        }
        let alive = self.handlers.iter().filter(|handler| handler.strong_count() > 0).count();
        assert_eq!(alive, 0, "handlers whose base is gone");
    }
}
