//! What is told on stderr while the program goes on.

use std::{
    fmt,
    io::{self, Write as _},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Tells what has happened. It went as it should.
pub(crate) fn tell(what: impl fmt::Display) {
    line(format_args!("notice: {what}"));
}

/// Writes a line, unless nobody reads what was written before: no connection, and no signal, is to wait for that.
pub(crate) fn line(text: impl fmt::Display) {
    let mut stderr = io::stderr();
    if takes_a_line(&stderr) {
        // Without a stderr there is nobody to tell.
        let _ = writeln!(stderr, "{text}");
    }
}

/// Whether a write would not have to wait: a pipe says so while it has room for a page.
fn takes_a_line(stderr: &io::Stderr) -> bool {
    let mut stderr = [PollFd::new(stderr, PollFlags::OUT)];
    poll(&mut stderr, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
