//! Why the program ends without success, and with which exit code.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use bufferevent::runtime;
use signal_hook::consts::SIGPIPE;

/// What is told on stderr, on one line unless it is the help.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments make no sense: exit code 2.
    Usage(String),
    /// There are no arguments at all: the help, and exit code 2.
    Lost(String),
    /// The system or the peer did not do its part: exit code 1.
    Failed(String),
    /// Nobody reads the output any more: nothing is told, and the exit code is that of a death by SIGPIPE.
    Unheard,
}

impl Failure {
    /// A failure of `what`.
    pub(crate) fn of(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {why}"))
    }

    /// A failure to start a runtime. What the builder refuses was asked for by an argument.
    pub(crate) fn runtime(error: runtime::Error) -> Self {
        use runtime::Error;
        match error {
            Error::InvalidWorkers { .. } | Error::InvalidBases { .. } | Error::Unsupported(_) => {
                Self::Usage(error.to_string())
            }
            other => Self::of("cannot start the runtime", other),
        }
    }

    /// A failure to write to stdout.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unheard,
            _ => Self::of("cannot write to stdout", error),
        }
    }

    /// Tells it, and answers the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match &self {
            Self::Usage(_) => (format!("error: {self}\n"), 2),
            Self::Lost(_) => (self.to_string(), 2),
            Self::Failed(_) => (format!("error: {self}\n"), 1),
            Self::Unheard => return ExitCode::from(128 + SIGPIPE as u8),
        };
        // Without a stderr there is nobody to tell.
        let _ = write!(io::stderr(), "{text}");
        ExitCode::from(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usage(text) | Self::Lost(text) | Self::Failed(text) => text,
            Self::Unheard => "nobody reads the output",
        })
    }
}
