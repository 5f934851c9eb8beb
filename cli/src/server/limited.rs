//! A connection that is ended when nothing has moved on it for too long, or when it has lasted too long, and that moves
//! no more than it may.

use std::time::Duration;

use bufferevent::{Bufferevent, Direction, Event, Interest};

use super::{Rates, Service};

/// How long a connection may last; `None` for ever.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TimeLimits {
    /// Without a byte that moves, in either direction.
    pub(crate) idle: Option<Duration>,
    /// In all.
    pub(crate) lifetime: Option<Duration>,
}

/// A service within limits.
#[derive(Debug)]
pub(crate) struct Limited<S> {
    service: S,
    limits: TimeLimits,
    rates: Option<Rates>,
}

impl<S> Limited<S> {
    pub(crate) fn new(service: S, limits: TimeLimits, rates: Option<Rates>) -> Self {
        Self { service, limits, rates }
    }
}

impl<S: Service> Service for Limited<S> {
    const FILLS_ROOM: bool = S::FILLS_ROOM;

    fn begin(&mut self, connection: &mut Bufferevent) {
        connection.set_timeouts(self.limits.idle, self.limits.idle);
        connection.set_lifetime(self.limits.lifetime);
        if let Some(rates) = &self.rates {
            rates.admit(connection);
        }
        self.service.begin(connection);
    }

    fn input(&mut self, connection: &mut Bufferevent) {
        self.service.input(connection);
    }

    fn room(&mut self, connection: &mut Bufferevent) {
        self.service.room(connection);
    }

    fn event(&mut self, connection: &mut Bufferevent, event: &Event) {
        match event {
            // While there is output, the timeout of writing tells whether anything moves.
            Event::Timeout(Direction::Read) if !connection.output().is_empty() => {
                connection.enable(Interest::READ);
            }
            Event::Timeout(_) => connection.close(),
            event => self.service.event(connection, event),
        }
    }

    fn drain(&mut self, connection: &mut Bufferevent) {
        self.service.drain(connection);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bufferevent::{
        RateLimitGroup, TokenBucketConfig,
        testing::{ManualBase, Wire},
    };

    use super::*;
    use crate::server::{Echo, Served, Sink, Source};

    const SECOND: Duration = Duration::from_secs(1);
    const IDLE: TimeLimits = TimeLimits { idle: Some(Duration::from_secs(10)), lifetime: None };

    /// The longest that a close takes of a peer that does nothing any more.
    const CLOSING: Duration = Duration::from_secs(60);

    fn serve(base: &mut ManualBase, wire: &Wire, service: impl Service, limits: TimeLimits) {
        let mut service = Limited::new(service, limits, None);
        Bufferevent::scripted(wire)
            .configure(|connection| service.begin(connection))
            .handler(Served::new(service, None))
            .start(base)
            .unwrap();
        base.settle().unwrap();
    }

    fn advance(base: &mut ManualBase, time: Duration) {
        base.advance(time).unwrap();
    }

    fn is_idle_when_nothing_is_said(service: impl Service) {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        serve(&mut base, &wire, service, IDLE);
        advance(&mut base, 9 * SECOND);
        wire.deliver(b"once more");
        advance(&mut base, 9 * SECOND);
        assert!(!wire.is_shut_down());
        advance(&mut base, 2 * SECOND);
        assert!(wire.is_shut_down());
        advance(&mut base, CLOSING);
        assert!(wire.is_closed());
    }

    #[test]
    fn a_peer_that_says_nothing_is_idle() {
        is_idle_when_nothing_is_said(Echo::default());
        is_idle_when_nothing_is_said(Sink);
    }

    #[test]
    fn a_peer_that_only_reads_is_not_idle_until_it_stops() {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        wire.set_room(0);
        serve(&mut base, &wire, Source::new(), IDLE);
        for _ in 0..10 {
            advance(&mut base, 9 * SECOND);
            assert!(!wire.is_closed());
            wire.set_room(1);
            base.settle().unwrap();
        }
        assert_eq!(wire.written().len(), 10);
        advance(&mut base, IDLE.idle.unwrap() + CLOSING);
        assert!(wire.is_closed());
    }

    /// A service under limits of its own, or of a group.
    struct Slow<S> {
        service: S,
        limits: fn(&mut Bufferevent, &RateLimitGroup, &TokenBucketConfig),
        group: RateLimitGroup,
    }

    /// Four bytes a minute in each direction.
    fn four_a_minute() -> TokenBucketConfig {
        TokenBucketConfig::new(4, 4, 4, 4, Some(60 * SECOND)).unwrap()
    }

    impl<S> Slow<S> {
        fn own(service: S, base: &ManualBase) -> Self {
            Self {
                limits: |connection, _, config| connection.set_rate_limit(Some(config)),
                ..Self::shared(service, base)
            }
        }

        fn shared(service: S, base: &ManualBase) -> Self {
            let group = RateLimitGroup::with_clock(&four_a_minute(), base.handle().clock().clone());
            Self {
                service,
                limits: |connection, group, _| connection.join_rate_limit_group(group).unwrap(),
                group,
            }
        }
    }

    impl<S: Service> Service for Slow<S> {
        const FILLS_ROOM: bool = S::FILLS_ROOM;

        fn begin(&mut self, connection: &mut Bufferevent) {
            (self.limits)(connection, &self.group, &four_a_minute());
            self.service.begin(connection);
        }

        fn input(&mut self, connection: &mut Bufferevent) {
            self.service.input(connection);
        }

        fn room(&mut self, connection: &mut Bufferevent) {
            self.service.room(connection);
        }
    }

    // C-31, D6: the timeout of a suspended direction stands still.
    #[test]
    fn who_is_held_by_a_rate_limit_is_not_idle() {
        for slow in [Slow::own, Slow::shared] {
            let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
            let service = slow(Echo::default(), &base);
            wire.deliver(b"held back by its limit");
            serve(&mut base, &wire, service, IDLE);
            for minute in 1..=5 {
                assert_eq!(wire.written().len(), 4 * minute);
                advance(&mut base, 59 * SECOND);
                assert!(!wire.is_shut_down(), "in minute {minute}");
                advance(&mut base, SECOND);
            }
            assert_eq!(wire.written(), b"held back by its limit");
            advance(&mut base, IDLE.idle.unwrap());
            assert!(wire.is_shut_down(), "with its limit not used up it is idle again");
        }
    }

    #[test]
    fn who_is_sent_to_within_a_rate_limit_is_not_idle() {
        for slow in [Slow::own, Slow::shared] {
            let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
            let service = slow(Source::new(), &base);
            serve(&mut base, &wire, service, IDLE);
            for minute in 1..=5 {
                assert_eq!(wire.written().len(), 4 * minute);
                advance(&mut base, 60 * SECOND);
                assert!(!wire.is_shut_down(), "in minute {minute}");
            }
        }
    }

    #[test]
    fn a_lifetime_ends_what_is_busy_too() {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        serve(&mut base, &wire, Echo::default(), TimeLimits { lifetime: Some(60 * SECOND), ..IDLE });
        for _ in 0..12 {
            assert!(!wire.is_shut_down());
            wire.deliver(b"busy");
            advance(&mut base, 5 * SECOND);
        }
        assert!(wire.is_shut_down());
        assert_eq!(wire.written(), b"busy".repeat(12));
    }

    #[test]
    fn without_limits_a_connection_lasts() {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        serve(&mut base, &wire, Echo::default(), TimeLimits::default());
        advance(&mut base, Duration::from_secs(24 * 60 * 60));
        wire.deliver(b"still here");
        base.settle().unwrap();
        assert_eq!(wire.written(), b"still here");
    }
}
