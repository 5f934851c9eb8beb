//! What hears of a failure before the pipe does.

use std::sync::Arc;

use bufferevent::{Bufferevent, Context, Event, Handle, Handler, UnlockedHandler};

use super::{Line, Side};

/// The handler of a THREADSAFE bufferevent from its start until it is joined: another worker may run it by then. An end is told to
/// the pipe again, a failure is not: so it ends the connection, which then cannot be joined.
#[derive(Debug)]
pub(super) struct Early {
    line: Arc<Line>,
    side: Side,
}

impl Early {
    pub(super) fn of(line: &Arc<Line>, side: Side) -> Self {
        Self { line: Arc::clone(line), side }
    }

    fn event(&self, event: &Event, close: impl FnOnce()) {
        let Event::Error { cause, .. } = event else { return };
        self.line.failed_by(self.side, cause);
        close();
    }
}

impl Handler for Early {
    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        self.event(&event, || Bufferevent::close(cx));
    }
}

impl UnlockedHandler for Early {
    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        self.event(&event, || bufferevent.close());
    }
}
