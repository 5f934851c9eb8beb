//! What `docs/calls.md` says of each place is what the calls answer there (D16).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    os::unix::net::UnixStream,
    sync::{Arc, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use bufferevent::{
    BaseHandle, Bufferevent, Callbacks, Context, Direction, Error, Evbuffer, Event, Handle, Interest,
    NoHandler, Pipe, RateLimitGroup, Runtime, TokenBucketConfig, Trigger, UnlockedHandler, lock_both,
    runtime, testing::Census,
};

const PLACES: [&str; 6] = ["thread", "turn", "own", "other", "unlocked", "guard"];

/// After this something that was waited for has not come.
const LIMIT: Duration = Duration::from_secs(60);

/// Each call with its answer: `yes`, or the name of what came instead.
type Answers = Vec<(&'static str, &'static str)>;

/// What is called in each place, with the bufferevent to call it on, and another one.
type Calls = dyn Fn(&Handle, &Handle) -> Answers + Send + Sync;

/// A runtime that runs, and what was started on it.
struct Stage {
    runtime: Runtime,
    home: BaseHandle,
    peers: Vec<UnixStream>,
    worker: Option<JoinHandle<runtime::Result<()>>>,
}

impl Stage {
    fn new() -> Self {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let running = runtime.clone();
        let worker = Some(thread::spawn(move || running.run()));
        Self { home: runtime.bases()[0].clone(), runtime, peers: Vec::new(), worker }
    }

    fn socket(&mut self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.peers.push(theirs);
        ours
    }

    /// One that has run and has nothing to do.
    fn idle(&mut self) -> Handle {
        let (told, heard) = sync_channel(1);
        let handler = Callbacks::new().on_event(move |_: &mut Context<'_>, _| {
            let _ = told.try_send(());
        });
        let builder = Bufferevent::socket(self.socket()).handler(handler).threadsafe();
        let handle = builder.start(&mut self.home.clone()).unwrap();
        wake(&handle);
        heard.recv_timeout(LIMIT).unwrap();
        drop(handle.lock().unwrap());
        handle
    }

    /// Makes the calls in a place, and answers what they did.
    fn ask(&mut self, place: &str, calls: &Arc<Calls>) -> Answers {
        let (idle, spare) = (self.idle(), self.idle());
        let (calls, (told, heard)) = (Arc::clone(calls), sync_channel(1));
        match place {
            "thread" => return calls(&idle, &spare),
            "guard" => {
                let held = self.idle();
                let _guard = held.lock().unwrap();
                return calls(&idle, &spare);
            }
            "turn" => self.home.post(move |_| told.send(calls(&idle, &spare)).unwrap()).unwrap(),
            "unlocked" => {
                let own_spare = self.idle();
                let asking = Asking(move |own: &Handle| {
                    let others = calls(&idle, &spare);
                    assert_eq!(calls(own, &own_spare), others, "the same of its own and of others");
                    told.send(others).unwrap();
                });
                let builder = Bufferevent::socket(self.socket()).threadsafe().unlocked(asking);
                wake(&builder.start(&mut self.home.clone()).unwrap());
            }
            _ => {
                let is_own = place == "own";
                let handler = Callbacks::new().on_event(move |cx: &mut Context<'_>, _: Event| {
                    let own = cx.handle().unwrap();
                    told.send(calls(if is_own { &own } else { &idle }, &spare)).unwrap();
                });
                let builder = Bufferevent::socket(self.socket()).handler(handler).threadsafe();
                wake(&builder.start(&mut self.home.clone()).unwrap());
            }
        }
        heard.recv_timeout(LIMIT).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.runtime.stop();
        let ended = self.worker.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(Ok(())))), "{ended:?}");
    }
}

/// Has its event callback run.
fn wake(handle: &Handle) {
    handle.trigger_event(1, Trigger::PLAIN).unwrap();
}

/// Runs a closure in an unlocked callback.
struct Asking<F>(F);

impl<F: FnMut(&Handle) + Send> UnlockedHandler for Asking<F> {
    fn on_event(&mut self, bufferevent: &Handle, _: Event) {
        (self.0)(bufferevent);
    }
}

fn answer<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "yes",
        Err(Error::WouldDeadlock) => "WouldDeadlock",
        Err(error) => panic!("{error}"),
    }
}

/// What the tables of the document say of each call, by place.
fn table() -> BTreeMap<String, Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/calls.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut table = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        // The tables by place have a column for errors and one for tests besides.
        if cells.len() == PLACES.len() + 3 {
            let places: Vec<String> =
                cells[1..=PLACES.len()].iter().map(|cell| cell.replace('`', "")).collect();
            for call in cells[0].split(", ") {
                table.insert(call.replace('`', ""), places.clone());
            }
        }
    }
    table
}

fn check(calls: impl Fn(&Handle, &Handle) -> Answers + Send + Sync + 'static) {
    let (table, mut stage, calls) = (table(), Stage::new(), Arc::new(calls) as Arc<Calls>);
    for (column, place) in PLACES.iter().enumerate() {
        for (call, answered) in stage.ask(place, &calls) {
            let said = &table.get(call).unwrap_or_else(|| panic!("no row for {call}"))[column];
            // Idle bufferevents answer at once where others are waited for.
            let said = if said == "waits" { "yes" } else { said };
            assert_eq!(answered, said, "{call}, {place}");
        }
    }
}

#[test]
fn the_calls_of_a_handle_answer_what_the_table_says() {
    let _census = Census::begin();
    let limit = TokenBucketConfig::new(1_000, 1_000, 1_000, 1_000, None).unwrap();
    let group = RateLimitGroup::new(&limit);
    check(move |handle, spare| {
        // Before anything that makes it run.
        let tried = match handle.try_lock() {
            Ok(None) => "None",
            locked => answer(locked),
        };
        let explained = handle.explain().map_or("None", |_| "yes");
        let mut buffer = Evbuffer::new();
        buffer.add(b"moved").unwrap();
        vec![
            ("Handle::try_lock", tried),
            ("Handle::explain", explained),
            ("Handle::write", answer(handle.write(b"copied"))),
            ("Handle::write_buffer", answer(handle.write_buffer(buffer).map_err(|(error, _)| error))),
            ("Handle::disable", answer(handle.disable(Interest::READ))),
            ("Handle::enable", answer(handle.enable(Interest::READ))),
            ("Handle::trigger", answer(handle.trigger(Interest::READ, Trigger::PLAIN))),
            ("Handle::trigger_event", answer(handle.trigger_event(0, Trigger::PLAIN))),
            ("Handle::set_rate_limit", answer(handle.set_rate_limit(Some(&limit)))),
            ("Handle::join_rate_limit_group", answer(handle.join_rate_limit_group(&group))),
            (
                "Handle::join_rate_limit_group_weighted",
                answer(handle.join_rate_limit_group_weighted(&group, NonZeroU32::MIN)),
            ),
            ("Handle::leave_rate_limit_group", answer(handle.leave_rate_limit_group())),
            ("Handle::set_base", answer(handle.set_base(&handle.base()))),
            ("Handle::shutdown", answer(handle.shutdown(Direction::Write))),
            ("Handle::lock", answer(handle.lock())),
            ("lock_both", answer(lock_both(handle, spare))),
            ("Pipe::join", answer(Pipe::new().join(handle, spare))),
            ("Handle::close_and_wait", {
                let answer = answer(handle.close_and_wait());
                assert!(handle.is_closing(), "it is closed all the same");
                answer
            }),
            ("Handle::close", {
                spare.close();
                "yes"
            }),
            ("Handle::abort", {
                spare.abort();
                "yes"
            }),
        ]
    });
}

#[test]
fn bases_and_runtimes_answer_what_the_table_says() {
    let _census = Census::begin();
    let stage = Stage::new();
    let (other, home) = (stage.runtime.clone(), stage.home.clone());
    check(move |_, _| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let start = Bufferevent::socket(ours).handler(NoHandler).start(&mut home.clone());
        let accept = |_, _: &mut bufferevent::Base| Ok(());
        vec![
            ("BaseHandle::post", answer(home.post(|_| ()).map_err(Error::from))),
            ("Runtime::spawn", answer(other.spawn(|| ()).map_err(Error::from))),
            ("Builder::start", answer(start)),
            ("Runtime::listen", answer(other.listen("127.0.0.1:0", accept).map_err(Error::from))),
            (
                "Runtime::listen_per_base",
                answer(other.listen_per_base("127.0.0.1:0", accept).map_err(Error::from)),
            ),
        ]
    });
}
