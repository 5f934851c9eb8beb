//! With the feature `test-util`: what a test must give back.

use std::{
    fmt, fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Looks whether all that was made since is gone again: descriptors of the process, bases and bufferevents.
///
/// A test holds one from its first line, so that it is dropped last. Tests of one program run side by side, and what is
/// open is the process's: so it is looked at when the last census of all that are under way ends, and with
/// `--test-threads=1` at the end of each test. Pipes do not count: a sanitizer has some, the library none. Where the system
/// does not list descriptors, only objects do.
///
/// ```
/// use bufferevent_runtime::{Base, Census, Pinned};
///
/// let _census = Census::begin();
/// let base = Base::<Pinned>::new()?;
/// drop(base); // else the census would panic
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
/// # Panics
/// When it is dropped, if something is left a second later (threads that nobody waits for may be ending still).
#[must_use = "it is over when it is dropped"]
#[derive(Debug)]
pub struct Census(());

/// The censuses that are under way, in all threads. Not held while anything of a test runs.
static UNDER_WAY: Mutex<UnderWay> =
    Mutex::new(UnderWay { count: 0, names: Vec::new(), before: Holding::NOTHING, left_open: 0 });

struct UnderWay {
    count: usize,
    /// Of the threads, as the test program calls them after its tests.
    names: Vec<String>,
    before: Holding,
    /// Descriptors that stay open on purpose.
    left_open: usize,
}

/// How long threads that nobody waits for may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

impl Census {
    /// Begins. From here on nobody may leave anything behind.
    pub fn begin() -> Self {
        let mut under_way = UNDER_WAY.lock();
        if under_way.count == 0 {
            under_way.before = Holding::now();
            under_way.names.clear();
            under_way.left_open = 0;
        }
        under_way.count += 1;
        let name = thread::current().name().unwrap_or("a thread without a name").to_owned();
        if !under_way.names.contains(&name) {
            under_way.names.push(name);
        }
        Self(())
    }

    /// Expects the test that runs to leave so many descriptors open: those of bufferevents without CLOSE_ON_FREE, which
    /// nobody owns any more.
    pub fn leave_open(descriptors: usize) {
        UNDER_WAY.lock().left_open += descriptors;
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        let mut under_way = UNDER_WAY.lock();
        under_way.count -= 1;
        if under_way.count > 0 || thread::panicking() {
            return;
        }
        let until = Instant::now() + PATIENCE;
        let mut left = Holding::now().beyond(&under_way.before);
        while !left.is_nothing_but(under_way.left_open) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
            left = Holding::now().beyond(&under_way.before);
        }
        let (names, left_open) = (std::mem::take(&mut under_way.names), under_way.left_open);
        drop(under_way);
        assert!(left.is_nothing_but(left_open), "left behind by one of {names:?}: {left:?}");
    }
}

/// What the process holds.
#[derive(Debug)]
struct Holding {
    /// What each descriptor stands for.
    descriptors: Vec<PathBuf>,
    bases: usize,
    bufferevents: usize,
}

impl Holding {
    const NOTHING: Self = Self { descriptors: Vec::new(), bases: 0, bufferevents: 0 };

    fn now() -> Self {
        let links = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
        let counts = |target: &PathBuf| !target.to_string_lossy().starts_with("pipe:");
        Self {
            descriptors: targets.filter(counts).collect(),
            bases: BASES.now(),
            bufferevents: BUFFEREVENTS.now(),
        }
    }

    /// What there is now and was not before.
    fn beyond(mut self, before: &Self) -> Self {
        for known in &before.descriptors {
            if let Some(same) = self.descriptors.iter().position(|open| open == known) {
                self.descriptors.swap_remove(same);
            }
        }
        self.bases = self.bases.saturating_sub(before.bases);
        self.bufferevents = self.bufferevents.saturating_sub(before.bufferevents);
        self
    }

    fn is_nothing_but(&self, descriptors: usize) -> bool {
        self.descriptors.len() == descriptors && self.bases == 0 && self.bufferevents == 0
    }
}

/// How many objects of one kind live in this process.
struct Count(AtomicUsize);

static BASES: Count = Count(AtomicUsize::new(0));
static BUFFEREVENTS: Count = Count(AtomicUsize::new(0));

impl Count {
    fn now(&self) -> usize {
        // ORDER: Acquire, pairs with the RMWs of `Live`: what an object had closed before it went is closed here too.
        self.0.load(Ordering::Acquire)
    }
}

/// Counts the object that owns it, until that is dropped.
pub struct Live(&'static Count);

impl Live {
    /// A base: the part of it that lives for as long as anybody has a handle of it.
    pub(crate) fn base() -> Self {
        Self::of(&BASES)
    }

    /// A bufferevent.
    pub fn bufferevent() -> Self {
        Self::of(&BUFFEREVENTS)
    }

    fn of(count: &'static Count) -> Self {
        // ORDER: AcqRel, pairs with the load in `Count::now`.
        count.0.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // ORDER: AcqRel, pairs with the load in `Count::now`.
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_not_left_behind_and_each_is_counted_once() {
        let holding = |descriptors: &[&str], bases, bufferevents| Holding {
            descriptors: descriptors.iter().map(PathBuf::from).collect(),
            bases,
            bufferevents,
        };
        let before = holding(&["socket:[1]", "anon_inode:[eventpoll]"], 1, 5);
        assert!(holding(&["anon_inode:[eventpoll]"], 1, 3).beyond(&before).is_nothing_but(0));
        let now = holding(&["anon_inode:[eventpoll]", "anon_inode:[eventpoll]", "socket:[2]"], 2, 5);
        let left = now.beyond(&before);
        assert_eq!((left.bases, left.bufferevents), (1, 0));
        assert_eq!(left.descriptors, ["socket:[2]", "anon_inode:[eventpoll]"].map(PathBuf::from));
    }
}
