//! libevent's tests of connecting by name (`test_bufferevent_connect_hostname` of `test/regress_dns.c`) under their C
//! names, and what lookups leave behind. TD- are rows of the project's inventory.
//!
//! The C tests ask a DNS server of their own: here that is a function on a [`Resolver`]'s threads, which counts its
//! questions. What they ask the system's resolver is asked of it here too; nothing of it leaves the machine.
//!
//! A process of its own, one test at a time: they count descriptors and threads, and run out of descriptors.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "contract/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves the contract suite too")]
mod harness;
#[path = "contract/kinds.rs"]
mod kinds;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::AsRawFd as _,
    path::PathBuf,
    sync::Arc,
};

use bufferevent::{
    Bufferevent, Family, LookupError, Resolver, ResolverExt as _, Runtime, Target, testing::Census,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use harness::{Actor, Call, Config, Conn, Drive, Set, Shape, World, each_once};
use kinds::KINDS;

static ONE_BY_ONE: Mutex<()> = Mutex::new(());

/// A name that the system's resolver refuses without asking anybody: no label may be so long.
fn no_name() -> String {
    "n".repeat(64) + ".example"
}

/// The server of the C tests: it knows one name, and counts what it is asked.
fn server(questions: &Arc<AtomicUsize>) -> Resolver {
    let counted = Arc::clone(questions);
    let function = move |query: &bufferevent::Query| {
        // ORDER: Relaxed; a count that is read when the answers have come.
        counted.fetch_add(1, Ordering::Relaxed);
        match query.name() {
            "nobodaddy.example.com" => Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]),
            _ => Err(LookupError::NotFound),
        }
    };
    Resolver::builder().function(function).build()
}

fn set_resolver(world: &World, resolver: Resolver) {
    match &world.drive {
        Drive::Pinned(base) => base.set_resolver(resolver),
        Drive::Movable(base) => base.set_resolver(resolver),
        Drive::Threads { runtime, .. } => Runtime::set_resolver(runtime, resolver),
    }
}

/// How one of the five ended: connected, or the code of the lookup's error, 0 if the lookup was not at fault.
type Outcome = Result<(), i32>;

/// TD-01 to TD-03: five connects at once; `hints` are what the third adds. `scarce` is called when all is prepared.
/// Answers the outcomes, the questions the server got, and the connections that came.
fn connect_hostname(
    config: Config,
    hints: impl Fn(Target) -> Target,
    scarce: impl FnOnce() -> Option<Shortage>,
) -> ([Outcome; 5], usize, usize) {
    // One of the last round may have been the last to let go of a base, and so close its descriptors late.
    until_no_resolver_thread();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let questions = Arc::new(AtomicUsize::new(0));
    let (mut world, system) = (config.world(), Resolver::system());
    set_resolver(&world, server(&questions));
    let target = |host: &str| hints(Target::host(host, port).unwrap());
    let targets = [
        target("nosuchplace.example.com"),
        target("127.0.0.1"),
        target("nobodaddy.example.com"),
        target("localhost").resolver(system.clone()),
        target(&no_name()).resolver(system.clone()),
    ];
    let conns = targets.map(|target| {
        let actor = Actor::new(&world, |_, _| {});
        (world.start(config.set, Bufferevent::detached(), actor).unwrap(), target)
    });
    world.settle();
    let shortage = scarce();
    let conns = conns.map(|(conn, target)| {
        let told = world.with(&conn, move |b| b.connect_to_target(target).map(|()| b.is_connected()));
        assert!(!told.unwrap().unwrap());
        conn
    });
    for conn in &conns {
        let log = conn.log.clone();
        world.until("an outcome", || log.has(Call::Connected) || log.has(Call::Failed(None)));
    }
    drop(shortage);
    world.settle();
    let outcomes = conns.map(|conn| outcome(&mut world, &conn));
    let accepted = std::iter::from_fn(|| listener.accept().ok()).count();
    // ORDER: Relaxed; see `server`.
    (outcomes, questions.load(Ordering::Relaxed), accepted)
}

fn outcome(world: &mut World, conn: &Conn) -> Outcome {
    let code = world.with(conn, |b| b.lookup_error().map_or(0, |error| error.code().unwrap())).unwrap();
    match conn.log.calls()[..] {
        [Call::Connected] => {
            assert_eq!(code, 0);
            Ok(())
        }
        [Call::Failed(None)] => Err(code),
        ref calls => panic!("exactly one outcome: {calls:?}"),
    }
}

fn check_connected((outcomes, questions, accepted): ([Outcome; 5], usize, usize)) {
    let [nxdomain, numeric, good, localhost, unknown] = outcomes;
    assert_eq!(nxdomain, Err(LookupError::NotFound.code().unwrap()));
    assert_eq!([numeric, good, localhost], [Ok(()); 3]);
    assert!(unknown.is_err_and(|code| code != 0), "what the system's resolver says: {unknown:?}");
    assert_eq!((questions, accepted), (2, 3));
}

#[test]
fn regress_bufferevent_connect_hostname() {
    // TD-01
    let _census = Census::begin();
    let _alone = ONE_BY_ONE.lock();
    each_once(|config| check_connected(connect_hostname(config, |target| target, || None)));
}

#[test]
fn regress_bufferevent_connect_hostname_hints() {
    // TD-03, K-14
    let _census = Census::begin();
    let _alone = ONE_BY_ONE.lock();
    let hints = |target: Target| {
        let target = target.family(Family::V4);
        // On a machine that has the loopback alone, that would leave nothing.
        if has_network() { target.configured_only() } else { target }
    };
    each_once(|config| check_connected(connect_hostname(config, hints, || None)));
}

/// Whether an interface other than the loopback has a route.
fn has_network() -> bool {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    routes.lines().skip(1).any(|route| !route.starts_with("lo"))
}

#[test]
fn regress_bufferevent_connect_hostname_emfile() {
    // TD-02, D-06: the lookups are not at fault
    let _census = Census::begin();
    let _alone = ONE_BY_ONE.lock();
    each_once(|config| {
        let (outcomes, questions, accepted) =
            connect_hostname(config, |target| target, || Some(Shortage::begin()));
        let [nxdomain, numeric, good, localhost, unknown] = outcomes;
        assert_eq!(nxdomain, Err(LookupError::NotFound.code().unwrap()));
        assert_eq!([numeric, good], [Err(0); 2]);
        assert!(localhost.is_err() && unknown.is_err());
        assert_eq!((questions, accepted), (2, 0));
    });
}

/// No descriptor is to be had as long as this lives.
struct Shortage(Rlimit);

impl Shortage {
    fn begin() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let lowest_free = fs::File::open("/dev/null").unwrap().as_raw_fd();
        let none_left = Rlimit { current: Some(lowest_free as u64), maximum: limit.maximum };
        setrlimit(Resource::Nofile, none_left).unwrap();
        Self(limit)
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

// ---- what is left behind ----

/// What is open, but for pipes: a sanitizer talks to its symbolizer through those, and the library makes none.
fn open_descriptors() -> Vec<PathBuf> {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
    let mut open: Vec<_> = targets.filter(|target| !target.to_string_lossy().starts_with("pipe:")).collect();
    open.sort();
    open
}

/// Threads of resolvers in this process.
fn resolver_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "bev-resolver").count()
}

fn until_no_resolver_thread() {
    let deadline = std::time::Instant::now() + harness::LIMIT;
    while resolver_threads() > 0 {
        assert!(std::time::Instant::now() < deadline, "{} threads are left", resolver_threads());
        std::thread::yield_now();
    }
}

#[test]
fn connects_that_are_closed_at_any_moment_leave_nothing_behind() {
    // F63, F16, D-05, X-59, F56
    let _census = Census::begin();
    let _alone = ONE_BY_ONE.lock();
    // In each of 55 configurations.
    const ROUNDS: usize = 50;
    until_no_resolver_thread();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    each_once(|config| {
        let before = open_descriptors();
        {
            let mut world = config.world();
            let asked = AtomicUsize::new(0);
            let resolver = Resolver::builder().threads(3).function(move |query| {
                // ORDER: Relaxed; only makes lookups take differently long.
                let number = asked.fetch_add(1, Ordering::Relaxed);
                (0..number % 7).for_each(|_| std::thread::yield_now());
                let hosts: &[[u8; 4]] = match query.name() {
                    "refused-then-good" => &[[127, 0, 0, 9], [127, 0, 0, 1]],
                    "good" => &[[127, 0, 0, 1]],
                    "refused" => &[[127, 0, 0, 9], [127, 0, 0, 8]],
                    _ => return Err(LookupError::NotFound),
                };
                Ok(hosts.iter().map(|host| SocketAddr::from((*host, 0))).collect())
            });
            set_resolver(&world, resolver.build());
            let mut conns = Vec::new();
            for round in 0..ROUNDS {
                let name = ["good", "refused", "bad", "refused-then-good"][round % 4];
                let actor = Actor::new(&world, |_, _| {});
                let builder = Bufferevent::connect_host(name, port)
                    .configure(|b| drop(b.write(if round % 3 == 0 { b"queued" } else { b"" })))
                    .report_close();
                let conn = world.start(config.set, builder, actor).unwrap();
                (0..round % 4).for_each(|_| world.pump());
                match round % 5 {
                    0 => world.abort(&conn),
                    _ => world.close(&conn),
                }
                conns.push(conn);
                while listener.accept().is_ok() {}
            }
            for conn in &conns {
                world.until("the end", || {
                    while listener.accept().is_ok() {}
                    conn.log.has(Call::Closed)
                });
                let calls = conn.log.calls();
                let outcomes = calls.iter().filter(|call| matches!(call, Call::Connected | Call::Failed(_)));
                assert!(outcomes.count() <= 1 && calls.last() == Some(&Call::Closed), "{calls:?}");
            }
            world.until_empty();
        }
        while listener.accept().is_ok() {}
        until_no_resolver_thread();
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn threads_end_when_they_were_idle_for_a_while() {
    let _census = Census::begin();
    let _alone = ONE_BY_ONE.lock();
    until_no_resolver_thread();
    let resolver = Resolver::builder()
        .idle(std::time::Duration::from_millis(1))
        .function(|_| Err(LookupError::NotFound))
        .build();
    let config =
        Config { kind: KINDS[0], set: Set::Confined, shape: Shape::Pinned, selector: Default::default() };
    let mut world = config.world();
    set_resolver(&world, resolver.clone());
    for _ in 0..3 {
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::connect_host("bad", 80), actor).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        until_no_resolver_thread();
        assert_eq!(resolver.threads(), 0);
    }
}
