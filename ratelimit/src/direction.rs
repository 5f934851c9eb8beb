use std::fmt;

/// One direction of a connection: which way bytes go.
///
/// ```
/// use bufferevent_ratelimit::Direction;
///
/// let mut moved = [0; 2];
/// moved[Direction::Write.index()] += 100;
/// assert_eq!(Direction::ALL.map(|direction| moved[direction.index()]), [0, 100]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer, into the input buffer of a bufferevent.
    Read,
    /// To the peer, from the output buffer of a bufferevent.
    Write,
}

impl Direction {
    /// Both, in the order of [`index`](Self::index).
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// Its place in an array with one entry for each.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}
