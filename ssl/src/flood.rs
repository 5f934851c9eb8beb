//! Records that carry no data: how many a peer may send. Pure.
//!
//! A KeyUpdate costs its sender 27 bytes and us 30 us of work and a reply, and OpenSSL takes any number of them.

use std::time::Duration;

use bufferevent::runtime::Time;

use crate::{FLOOD_BURST, FLOOD_IN_A_ROW, FLOOD_PER_SECOND};

/// Counts them: so many in a row, and a rate after a burst.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    in_a_row: u32,
    /// When the last one would have been due, had they come at the rate: that far ahead of the clock is how much of the burst
    /// is used.
    due: Time,
}

impl Flood {
    /// Notes a record with data.
    pub(crate) fn data(&mut self) {
        self.in_a_row = 0;
    }

    /// Notes one without; false if that is one too many.
    #[must_use]
    pub(crate) fn allows(&mut self, now: Time) -> bool {
        self.in_a_row += 1;
        self.due = self.due.max(now).saturating_add(INTERVAL);
        self.in_a_row <= FLOOD_IN_A_ROW && self.due.since(now) <= INTERVAL * FLOOD_BURST
    }
}

const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FLOOD_PER_SECOND);

#[cfg(test)]
mod tests {
    use super::*;

    fn count(flood: &mut Flood, now: Time, with_data: bool) -> u32 {
        (0..1_000)
            .take_while(|_| {
                if with_data {
                    flood.data();
                }
                flood.allows(now)
            })
            .count() as u32
    }

    #[test]
    fn so_many_in_a_row_are_allowed() {
        let mut flood = Flood::default();
        assert_eq!(count(&mut flood, Time::from_nanos(5), false), FLOOD_IN_A_ROW);
    }

    #[test]
    fn data_in_between_leaves_the_burst_and_then_the_rate() {
        let (mut flood, start) = (Flood::default(), Time::from_nanos(1 << 40));
        assert_eq!(count(&mut flood, start, true), FLOOD_BURST);
        // The one that was too many counts as well.
        let later = start.saturating_add(Duration::from_secs(2));
        assert_eq!(u64::from(count(&mut flood, later, true)), 2 * FLOOD_PER_SECOND - 1);
    }
}
