//! What server and client do with a connection.

use std::fmt;

/// What server and client do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// The server sends back what it receives.
    Echo,
    /// The server reads and drops.
    Sink,
    /// The server writes without end.
    Source,
    /// Connect, one echo, close.
    Churn,
}

impl Mode {
    /// Reports whether an operation is a request and its reply; otherwise it is one block of a stream.
    pub fn is_request(self) -> bool {
        matches!(self, Self::Echo | Self::Churn)
    }

    /// Returns the mode a server is started in: under churn it only echoes.
    pub fn of_server(self) -> Self {
        if self == Self::Churn { Self::Echo } else { self }
    }

    /// Returns the name as it stands on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Sink => "sink",
            Self::Source => "source",
            Self::Churn => "churn",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}
