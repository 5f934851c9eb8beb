//! The rate limits of a server, and what they came to.

mod presence;

use std::{fmt, sync::Arc, time::Duration};

use bufferevent::{Bufferevent, ConfigError, Direction, Rate, RateLimitGroup, TokenBucketConfig};
use bufferevent_sync::Mutex;

use self::presence::Presence;
use crate::{args::Serve, failure::Failure, units};

/// The rate limits of a server, each in both directions. A clone is the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    promised: Promised,
    each: Option<TokenBucketConfig>,
    /// All connections are in it. Where it limits nothing it counts what moves.
    group: RateLimitGroup,
    presence: Mutex<Presence>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
struct Promised {
    each: Option<Rate>,
    all: Option<Rate>,
}

impl Rates {
    /// What the arguments ask for; `None` for no limit.
    pub(crate) fn of(serve: &Serve) -> Result<Option<Self>, Failure> {
        let promised = Promised { each: serve.limit, all: serve.group_limit };
        if promised.each.is_none() && promised.all.is_none() {
            return Ok(None);
        }
        let config = |option, rate| {
            let config = TokenBucketConfig::per_second(rate, rate, Some(serve.tick));
            config.map_err(|why| Failure::Usage(format!("{option}: {}", told(why))))
        };
        let each = promised.each.map(|rate| config("--limit", Some(rate))).transpose()?;
        let group = RateLimitGroup::new(&config("--group-limit", promised.all)?);
        if serve.min_share.is_some() {
            group.set_min_share(serve.min_share);
        }
        let shared = Shared { promised, each, group, presence: Mutex::default() };
        Ok(Some(Self { shared: Arc::new(shared) }))
    }

    /// Puts a connection that is not started yet under the limits; it counts as present until the answer is dropped.
    pub(crate) fn admit(&self, connection: &mut Bufferevent) -> Present {
        connection.set_rate_limit(self.shared.each.as_ref());
        let joined = connection.join_rate_limit_group(&self.shared.group);
        debug_assert!(joined.is_ok(), "it has no clock of its own yet, and has not ended");
        self.shared.presence.lock().come();
        Present { rates: self.clone() }
    }

    /// What moved so far, and what was promised.
    pub(crate) fn report(&self) -> Report {
        let Shared { promised, group, presence, .. } = &*self.shared;
        let flows = [Direction::Read, Direction::Write].map(|direction| {
            let snapshot = group.snapshot(direction);
            Flow { bytes: snapshot.total, held_back: snapshot.throttled }
        });
        Report { promised: *promised, flows, present: presence.lock().times() }
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

/// A connection under [`Rates`].
#[derive(Debug)]
pub(crate) struct Present {
    rates: Rates,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.rates.shared.presence.lock().go();
    }
}

/// What moved under [`Rates`].
#[derive(Debug)]
pub(crate) struct Report {
    promised: Promised,
    /// In, out.
    flows: [Flow; 2],
    present: presence::Times,
}

#[derive(Debug)]
struct Flow {
    bytes: u64,
    /// How long a connection waited for the others.
    held_back: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promised, flows: [read, write], present } = self;
        let mut line = |name, Flow { bytes, held_back }: &Flow| {
            write!(f, "\n  {name:<3}  {}", units::bytes(*bytes))?;
            let limits = [("all together", promised.all, present.any), ("each", promised.each, present.each)];
            for (whose, promised, time) in limits {
                if let Some(promised) = promised {
                    let reached = *bytes as f64 / time.as_secs_f64().max(1e-9);
                    write!(f, ", {whose} {}/s of {promised}", units::bytes(reached as u64))?;
                }
            }
            if promised.all.is_some() {
                write!(f, ", held back for {}", units::time(*held_back))?;
            }
            Ok(())
        };
        line("in", read)?;
        line("out", write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_told_beside_what_was_promised() {
        let flow = |bytes| Flow { bytes, held_back: Duration::from_millis(4_950) };
        let mut report = Report {
            promised: Promised { each: Rate::new(2_000_000), all: Rate::new(10_000_000) },
            flows: [flow(49_000_000), flow(0)],
            present: presence::Times { any: Duration::from_secs(5), each: Duration::from_secs(28) },
        };
        assert_eq!(
            report.to_string(),
            "\n  in   49.0 MB, all together 9.80 MB/s of 10 MB/s (80 Mbit/s), each 1.75 MB/s of 2 MB/s (16 Mbit/s), \
             held back for 4.95 s\
             \n  out  0 B, all together 0 B/s of 10 MB/s (80 Mbit/s), each 0 B/s of 2 MB/s (16 Mbit/s), held back for 4.95 s"
        );
        report.promised.all = None;
        report.present = presence::Times::default();
        assert!(report.to_string().ends_with("\n  out  0 B, each 0 B/s of 2 MB/s (16 Mbit/s)"), "{report}");
    }
}
