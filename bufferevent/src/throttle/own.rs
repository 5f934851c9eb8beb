//! The limit of a single bufferevent.

use bufferevent_ratelimit::{TokenBucket, TokenBucketConfig};
use bufferevent_runtime::Time;

use super::group::{nanos, time};
use crate::interest::Direction;

/// A bucket for each direction.
#[derive(Debug)]
pub(crate) struct Own {
    config: TokenBucketConfig,
    flows: [Flow; 2],
}

#[derive(Debug)]
struct Flow {
    bucket: TokenBucket,
    /// It is suspended until then.
    until: Option<Time>,
}

impl Own {
    pub(super) fn new(config: &TokenBucketConfig, now: Time) -> Self {
        let flow = |direction| {
            let bucket = TokenBucket::new(config, direction, nanos(now));
            Flow { bucket, until: None }
        };
        Self { config: config.clone(), flows: Direction::ALL.map(flow) }
    }

    /// Goes on with another configuration: of what is there only what is above the new burst is lost.
    pub(super) fn replace(&mut self, config: &TokenBucketConfig, now: Time) {
        self.config = config.clone();
        for direction in Direction::ALL {
            self.flow(direction).bucket.replace(config, direction, nanos(now));
            self.look(direction, now);
        }
    }

    /// Its time was another's until now: ticks begin anew, the levels stay.
    pub(super) fn begin(&mut self, now: Time) {
        let new = Self::new(&self.config, now);
        for (direction, Flow { mut bucket, .. }) in Direction::ALL.into_iter().zip(new.flows) {
            let level = self.flow(direction).bucket.level(bufferevent_ratelimit::Nanos::default());
            let spent = bucket.level(nanos(now)).saturating_sub(level);
            bucket.decrement(spent, nanos(now));
            *self.flow(direction) = Flow { bucket, until: None };
        }
    }

    fn flow(&mut self, direction: Direction) -> &mut Flow {
        &mut self.flows[direction.index()]
    }

    pub(crate) fn config(&self) -> &TokenBucketConfig {
        &self.config
    }

    /// Bytes that may move; negative for a debt.
    pub(crate) fn level(&self, direction: Direction, now: Time) -> i64 {
        self.flows[direction.index()].bucket.clone().level(nanos(now))
    }

    pub(super) fn refill_at(&self, direction: Direction) -> Option<Time> {
        self.flows[direction.index()].until
    }

    /// Bytes that may move; none suspends the direction.
    pub(super) fn available(&mut self, direction: Direction, now: Time) -> u64 {
        self.look(direction, now);
        self.flow(direction).bucket.available(nanos(now))
    }

    /// Counts bytes that have moved.
    pub(super) fn charge(&mut self, direction: Direction, bytes: u64, now: Time) {
        self.flow(direction).bucket.charge(bytes, nanos(now));
        self.look(direction, now);
    }

    pub(super) fn withdraw(&mut self, direction: Direction) {
        self.flow(direction).until = None;
    }

    /// Takes `bytes` out, or puts them in if negative.
    pub(crate) fn decrement(&mut self, direction: Direction, bytes: i64, now: Time) {
        self.flow(direction).bucket.decrement(bytes, nanos(now));
        self.look(direction, now);
    }

    /// Suspends the direction or lets it go on, as the level says.
    fn look(&mut self, direction: Direction, now: Time) {
        let Flow { bucket, until } = self.flow(direction);
        let at = bucket.next(nanos(now));
        *until = (at > nanos(now)).then(|| time(at));
    }
}
