//! The rate limits of a server, and what they came to.

mod meter;
mod report;

use std::{sync::Arc, time::Instant};

use bufferevent::{Bufferevent, ConfigError, Direction, Rate, RateLimitGroup, TokenBucketConfig};
use bufferevent_sync::Mutex;

use self::{
    meter::{Meter, Moved},
    report::{Flow, Kept, Report},
};
use crate::{args::Serve, failure::Failure, json::Object};

/// The rate limits of a server, each in both directions. A clone is the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What was asked for.
    each: Option<(Rate, TokenBucketConfig)>,
    all: Option<Rate>,
    /// All connections are in it. Where it limits nothing it counts what moves.
    group: RateLimitGroup,
    /// In, out.
    tallies: [Mutex<Tally>; 2],
}

/// What all connections moved in one direction.
#[derive(Debug)]
struct Tally {
    /// Before they were closing.
    bytes: u64,
    /// Within the limit of all.
    all: Option<Meter>,
    /// Within the limits of those that are over.
    each: Moved,
}

const DIRECTIONS: [Direction; 2] = Direction::ALL;

impl Rates {
    /// What the arguments ask for; `None` for no limit.
    pub(crate) fn of(serve: &Serve) -> Result<Option<Self>, Failure> {
        if serve.limit.is_none() && serve.group_limit.is_none() {
            return Ok(None);
        }
        let config = |option, rate| {
            let config = TokenBucketConfig::per_second(rate, rate, Some(serve.tick));
            config.map_err(|why| Failure::Usage(format!("{option}: {}", told(why))))
        };
        let each = |rate| config("--limit", Some(rate)).map(|config| (rate, config));
        let each = serve.limit.map(each).transpose()?;
        let (all, together) = (serve.group_limit, config("--group-limit", serve.group_limit)?);
        let group = RateLimitGroup::new(&together);
        if serve.min_share.is_some() {
            group.set_min_share(serve.min_share);
        }
        let tallies = DIRECTIONS.map(|_| {
            let all = all.map(|_| Meter::new(&together, Instant::now()));
            Mutex::new(Tally { bytes: 0, all, each: Moved::default() })
        });
        Ok(Some(Self { shared: Arc::new(Shared { each, all, group, tallies }) }))
    }

    /// Puts a connection that is not started yet under the limits, and observes what it moves.
    pub(crate) fn admit(&self, connection: &mut Bufferevent) {
        let each = self.shared.each.as_ref().map(|(_, config)| config);
        connection.set_rate_limit(each);
        let joined = connection.join_rate_limit_group(&self.shared.group);
        debug_assert!(joined.is_ok(), "it has no clock of its own yet, and has not ended");
        let [mut came, mut went] = DIRECTIONS.map(|direction| Gauge {
            shared: Arc::clone(&self.shared),
            index: direction as usize,
            each: each.map(|config| Meter::new(config, Instant::now())),
        });
        // Of the input, what is taken out is the service's doing; of the output, what is put in.
        let observe = |wire: &mut Bufferevent| {
            wire.input().observe(move |_, change| came.count(change.added));
            wire.output().observe(move |_, change| went.count(change.removed));
        };
        // Under TLS the limits are of what goes over the wire.
        match connection.underlying_mut() {
            Some(below) => observe(below),
            None => observe(connection),
        }
    }

    /// Tells machines what was promised, and what moved so far, in and out: of all, within the limits of all, and within those of
    /// each.
    pub(crate) fn json(rates: Option<&Self>, object: Object) -> Object {
        let shared = rates.map(|rates| &*rates.shared);
        let rate = |rate: Rate| rate.bytes_per_second();
        let object = object
            .count("limit_bytes_per_second", shared.and_then(|shared| Some(rate(shared.each.as_ref()?.0))))
            .count("group_limit_bytes_per_second", shared.and_then(|shared| Some(rate(shared.all?))))
            .micros("tick_us", shared.map(|shared| shared.group.config().tick()));
        let flows = rates.map(|rates| rates.report().flows);
        let names = ["in", "out"];
        names.iter().enumerate().fold(object, |object, (direction, name)| {
            report::json(object, name, flows.as_ref().map(|flows| &flows[direction]))
        })
    }

    /// What moved so far, and what was promised.
    pub(crate) fn report(&self) -> Report {
        let Shared { each, all, group, tallies } = &*self.shared;
        let flows = DIRECTIONS.map(|direction| {
            let (snapshot, tally) = (group.snapshot(direction), tallies[direction as usize].lock());
            Flow {
                bytes: snapshot.total,
                closing: snapshot.total.saturating_sub(tally.bytes),
                all: tally.all.as_ref().zip(*all).map(|(meter, rate)| Kept { rate, moved: meter.moved() }),
                each: each.as_ref().map(|(rate, _)| Kept { rate: *rate, moved: tally.each }),
                held_back: snapshot.throttled,
            }
        });
        Report { flows }
    }
}

/// Says what to do about a rate that does not fit the tick.
fn told(why: ConfigError) -> String {
    match why {
        ConfigError::RateInexact { rate, tick, .. } => {
            format!("{rate} is no whole number of bytes in a tick of {tick:?}; a longer --tick will do")
        }
        other => other.to_string(),
    }
}

/// Observes one direction of a connection under [`Rates`].
#[derive(Debug)]
struct Gauge {
    shared: Arc<Shared>,
    index: usize,
    each: Option<Meter>,
}

impl Gauge {
    fn count(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let now = Instant::now();
        if let Some(each) = &mut self.each {
            each.count(bytes, now);
        }
        let mut tally = self.shared.tallies[self.index].lock();
        tally.bytes += bytes as u64;
        if let Some(all) = &mut tally.all {
            all.count(bytes, now);
        }
    }
}

/// The connection is over.
impl Drop for Gauge {
    fn drop(&mut self) {
        if let Some(each) = &self.each {
            self.shared.tallies[self.index].lock().each.add(each.moved());
        }
    }
}
