//! Where the demo is shown: a table that is drawn again and again on a terminal, plain lines elsewhere.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Stdout, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;

/// How often the table is drawn on a terminal.
const REDRAW: Duration = Duration::from_millis(250);

/// How often a plain line is written.
const LINE: Duration = Duration::from_secs(1);

/// The demo's output.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    /// On a terminal: what is drawn again.
    live: Option<ProgressBar>,
    /// When the next interval ends.
    next: Duration,
    has_heading: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let out = io::stdout();
        let live = out.is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
            match ProgressStyle::with_template("{msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        let mut screen = Self { out, live, next: Duration::ZERO, has_heading: false };
        screen.next = screen.interval();
        screen
    }

    /// Writes a line that stays.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::output)
    }

    /// Whether an interval has ended `elapsed` after the begin.
    pub(super) fn is_due(&self, elapsed: Duration) -> bool {
        elapsed >= self.next
    }

    /// Shows what an interval that ended at `at` brought: what is `live` on a terminal, a line below a heading elsewhere.
    pub(super) fn show(
        &mut self,
        at: Duration,
        heading: impl Display,
        line: impl Display,
        live: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        while self.next <= at {
            self.next += self.interval();
        }
        if let Some(bar) = &self.live {
            bar.set_message(live());
            return Ok(());
        }
        if !std::mem::replace(&mut self.has_heading, true) {
            self.line(heading)?;
        }
        self.line(line)
    }

    /// Ends the drawing: what follows are lines that stay.
    pub(super) fn settle(&mut self) -> Result<(), Failure> {
        match &self.live {
            Some(live) => {
                live.finish_and_clear();
                Ok(())
            }
            None => self.line(""),
        }
    }

    fn interval(&self) -> Duration {
        if self.live.is_some() { REDRAW } else { LINE }
    }
}
