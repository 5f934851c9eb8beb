//! What must be gone when a world is: the descriptors that were given to it, the handlers, the objects of its bases (F56,
//! F57). Looked at in every test, one beside the other in a process: so each looks at its own only.

use std::{
    fs,
    os::fd::RawFd,
    path::PathBuf,
    sync::{Arc, Weak},
    thread,
};

use bufferevent::{BaseHandle, Bufferevent, Options};

use super::{Actor, Script};

/// What a world was given. The last of its fields, so dropped when all that lived there is.
pub(super) struct Leaks {
    sockets: Vec<(RawFd, PathBuf)>,
    handlers: Vec<Weak<Script>>,
    bases: Vec<BaseHandle>,
}

impl Leaks {
    pub(super) fn of(bases: Vec<BaseHandle>) -> Self {
        Self { sockets: Vec::new(), handlers: Vec::new(), bases }
    }

    /// The socket is to be closed, unless the bufferevent leaves it open.
    pub(super) fn watch_socket(&mut self, bufferevent: &Bufferevent) {
        if let Some(fd) = bufferevent.raw_fd() {
            if bufferevent.options().contains(Options::CLOSE_ON_FREE) {
                self.sockets.extend(identity(fd).map(|identity| (fd, identity)));
            }
        }
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
        for (fd, socket) in &self.sockets {
            assert_ne!(identity(*fd).as_ref(), Some(socket), "descriptor {fd} was not closed");
        }
        let alive = self.handlers.iter().filter(|handler| handler.strong_count() > 0).count();
        assert_eq!(alive, 0, "handlers whose base is gone");
    }
}

/// Which socket the number stands for, if it is open: numbers are used again, sockets' own are not.
fn identity(fd: RawFd) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}
