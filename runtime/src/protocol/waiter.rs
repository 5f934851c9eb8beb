use bufferevent_sync::{Condvar, Mutex, mutant};

/// Where threads sleep until one event, which happens once: the shell of [`Lifecycle`](super::Lifecycle).
///
/// The mutex is a leaf. `woken` is set under it, so a `wake` between the look and the sleep is not missed.
#[derive(Debug, Default)]
pub struct Waiter {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl Waiter {
    /// The event has not happened.
    #[must_use]
    pub fn new() -> Self {
        Self { woken: Mutex::new(false), condvar: Condvar::new() }
    }

    /// Sleeps until [`wake`](Self::wake) was called; returns at once if it was.
    pub fn wait(&self) {
        let mut woken = self.woken.lock();
        while !*woken {
            self.condvar.wait(&mut woken);
        }
    }

    /// The event happens: lets all waiters go, present and future.
    pub fn wake(&self) {
        if !mutant::is("waiter_wakes_without_a_trace") {
            *self.woken.lock() = true;
        }
        if mutant::is("waiter_wakes_one") {
            self.condvar.notify_one();
        } else {
            self.condvar.notify_all();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use bufferevent_sync::{Arc, thread};

    use super::*;

    #[test]
    fn all_waiters_are_let_go() {
        let waiter = Arc::new(Waiter::new());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let waiter = Arc::clone(&waiter);
                thread::spawn(move || waiter.wait())
            })
            .collect();
        waiter.wake();
        for thread in threads {
            thread.join().expect("the waiter returned");
        }
        waiter.wait();
    }
}
