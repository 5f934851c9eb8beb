//! The site: a server for each tenant, all of them below one limit.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bufferevent::{
    Bufferevent, Direction, Event, RateLimitGroup, Runtime, TokenBucketConfig, ratelimit::RATE_LIMIT_MAX,
};
use bufferevent_ssl::Acceptor;

use super::promise::{Promise, Reached};
use crate::{
    failure::Failure,
    running::Running,
    server::{How, Service, Source, Terms},
};

/// How often what a group may move is added.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// Ticks of a second, and of what a group may keep: half a second's worth, so that a busy machine loses nothing of it.
const TICKS_PER_SECOND: u64 = 50;
const BURST_TICKS: u64 = 25;

/// The tenants' servers on free ports of the loopback interface, which speak TLS.
#[derive(Debug)]
pub(super) struct Site {
    running: Running,
    /// Before the first group was made.
    since: Instant,
    /// When all connections stood, and what each had received by then.
    stood: (Instant, Vec<u64>),
    /// The tenants, and the site last.
    groups: [(Promise, RateLimitGroup); 4],
    addresses: [SocketAddr; 3],
}

impl Site {
    /// Serves on `bases` bases, each with a worker of its own.
    pub(super) fn start(promises: [Promise; 4], bases: usize, tls: &Acceptor) -> Result<Self, Failure> {
        let runtime = Runtime::builder().workers(bases).bases(bases).build().map_err(Failure::runtime)?;
        let since = Instant::now();
        let [gold, silver, bronze, site] = promises;
        let all = RateLimitGroup::new(&config(site.most)?);
        let tenant = |promise: Promise| {
            let group =
                all.child(&config(promise.most)?).map_err(|why| Failure::of("cannot make a group", why))?;
            Ok::<_, Failure>((listen(&runtime, &group, tls)?, (promise, group)))
        };
        let (gold, silver, bronze) = (tenant(gold)?, tenant(silver)?, tenant(bronze)?);
        let addresses = [gold.0, silver.0, bronze.0];
        let groups = [gold.1, silver.1, bronze.1, (site, all)];
        let stood = (since, Vec::new());
        Ok(Self { running: Running::start(runtime, "bev-site")?, since, stood, groups, addresses })
    }

    /// Of the tenants.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.into_iter()
    }

    /// All connections stand, having received so much each: from now on each wants all it can get.
    pub(super) fn all_stand(&mut self, received: Vec<u64>) {
        self.stood = (Instant::now(), received);
    }

    /// What each has got so far, where connection n, which belongs to tenant n modulo 3, has received `received[n]`.
    pub(super) fn reached(&self, received: &[u64]) -> [Reached; 4] {
        let tenants = self.addresses.len();
        let (stood, before) = &self.stood;
        let mut number = 0;
        self.groups.each_ref().map(|(promise, group)| {
            let since = received.iter().zip(before).map(|(now, then)| now - then);
            let shares = since.skip(number).step_by(tenants);
            let shares = if number < tenants { shares.collect() } else { Vec::new() };
            number += 1;
            let bytes = group.total(Direction::Write);
            let (elapsed, wanted) = (self.since.elapsed(), stood.elapsed());
            Reached { promise: *promise, elapsed, wanted, bytes, shares }
        })
    }

    /// Lifts all limits, so that nobody waits for what was measured already.
    pub(super) fn lift(&self) -> Result<(), Failure> {
        let unlimited = config(RATE_LIMIT_MAX)?;
        self.groups.iter().for_each(|(_, group)| group.set_config(&unlimited));
        Ok(())
    }

    pub(super) fn finish(self, grace: Duration) -> Result<(), Failure> {
        self.running.finish(grace)
    }
}

/// A limit of what is written, in bytes per second.
fn config(most: u64) -> Result<TokenBucketConfig, Failure> {
    let rate = most / TICKS_PER_SECOND;
    let burst = rate * BURST_TICKS;
    TokenBucketConfig::new(RATE_LIMIT_MAX, RATE_LIMIT_MAX, rate, burst, Some(TICK))
        .map_err(|why| Failure::of("cannot limit the rate", why))
}

/// Serves a source whose connections are in `group`; any worker may run them.
fn listen(runtime: &Runtime, group: &RateLimitGroup, tls: &Acceptor) -> Result<SocketAddr, Failure> {
    let (source, group) = (Source::new(), group.clone());
    let terms = Terms::unlimited(How::Threadsafe { defer: false }, tls.clone());
    let listening = runtime.listen("127.0.0.1:0", move |connection, base| {
        let member = Member { source: source.clone(), group: group.clone() };
        terms.start(member, connection, base)
    });
    let listener = listening.map_err(|why| Failure::of("cannot listen on 127.0.0.1:0", why))?;
    listener.local_addr().ok_or_else(|| Failure::Failed("no loopback address".to_owned()))
}

/// A source that is a member of a group.
struct Member {
    source: Source,
    group: RateLimitGroup,
}

impl Service for Member {
    const FILLS_ROOM: bool = true;

    fn begin(&mut self, connection: &mut Bufferevent) {
        let joined = connection.join_rate_limit_group(&self.group);
        debug_assert!(joined.is_ok(), "it has no clock of its own yet, and has not ended");
        self.source.begin(connection);
    }

    fn input(&mut self, connection: &mut Bufferevent) {
        self.source.input(connection);
    }

    fn room(&mut self, connection: &mut Bufferevent) {
        self.source.room(connection);
    }

    fn event(&mut self, connection: &mut Bufferevent, event: &Event) {
        self.source.event(connection, event);
    }
}
