//! What happens while the program goes on, told on stderr.

use std::{
    fmt,
    io::{self, Write as _},
};

/// Tells what has happened. It went as it should.
pub(crate) fn tell(what: impl fmt::Display) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "notice: {what}");
}
