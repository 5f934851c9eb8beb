//! Why the program ends without success, and with which exit code.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

/// What is told on one line of stderr.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments make no sense: exit code 2.
    Usage(String),
    /// The system or the peer did not do its part: exit code 1.
    Failed(String),
}

impl Failure {
    /// A failure of `what`.
    pub(crate) fn of(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {why}"))
    }

    /// Tells it, and answers the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Failed(text) => (text, 1),
        };
        // Without a stderr there is nobody to tell.
        let _ = writeln!(io::stderr(), "error: {text}");
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<bufferevent::Error> for Failure {
    fn from(error: bufferevent::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<bufferevent::runtime::Error> for Failure {
    /// What the builder refuses was asked for by an argument.
    fn from(error: bufferevent::runtime::Error) -> Self {
        use bufferevent::runtime::Error;
        match error {
            Error::InvalidWorkers { .. } | Error::InvalidBases { .. } | Error::Unsupported(_) => {
                Self::Usage(error.to_string())
            }
            other => Self::Failed(other.to_string()),
        }
    }
}
