//! What hears of a connection before the pipe does.

use std::sync::Arc;

use bufferevent::{BaseHandle, Bufferevent, Closing, Context, Event, Handle, Handler, UnlockedHandler};

use super::{Front, Line, Side};
use crate::failures::Client;

/// The handler of a bufferevent from its start until it is joined. An end is told to the pipe again, a failure is not: so it ends
/// the connection, which then cannot be joined.
#[derive(Debug)]
pub(super) struct Early {
    line: Arc<Line>,
    side: Side,
}

impl Early {
    pub(super) fn of_client(line: &Arc<Line>, client: Client) -> Self {
        Self { line: Arc::clone(line), side: Side::Client(client) }
    }

    pub(super) fn of_upstream(line: &Arc<Line>) -> Self {
        Self { line: Arc::clone(line), side: Side::Upstream }
    }

    /// How it is to be closed, if it is. Who has a connection that stands, and gets nothing, is to know that this is no answer.
    fn event(
        &self,
        event: &Event,
        base: &BaseHandle,
        own: impl FnOnce() -> Option<Front>,
    ) -> Option<Closing> {
        match (event, self.side) {
            (Event::Error { direction: None, cause }, side) => {
                self.line.never_stood(side, cause);
                self.line.failed_by(side, cause);
                Some(Closing::default())
            }
            (Event::Error { direction: Some(_), cause }, side) => {
                self.line.failed_by(side, cause);
                Some(Closing::CUT_SHORT)
            }
            // A callback cannot join its own bufferevent.
            (Event::Connected, Side::Client(client)) => {
                let line = Arc::clone(&self.line);
                let joins =
                    own().is_some_and(|front| base.post(move |base| line.join(client, front, base)).is_ok());
                (!joins).then_some(Closing::CUT_SHORT)
            }
            _ => None,
        }
    }
}

impl Handler for Early {
    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        let own = || cx.handle().map(Front::Shared).or_else(|| cx.id().map(Front::Confined));
        if let Some(how) = self.event(&event, &cx.base_handle(), own) {
            Bufferevent::close_with(cx, how);
        }
    }
}

impl UnlockedHandler for Early {
    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        if let Some(how) =
            self.event(&event, &bufferevent.base(), || Some(Front::Shared(bufferevent.clone())))
        {
            bufferevent.close_with(how);
        }
    }
}
