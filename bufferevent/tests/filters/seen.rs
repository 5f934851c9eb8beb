//! A handler that writes down what it is told.

use std::sync::Arc;

use bufferevent::{Context, Event, Handler, Pinned};
use bufferevent_sync::Mutex;

/// Keeps what it reads in a list that the test looks into.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<(Vec<u8>, Vec<String>)>>);

impl Handler<Pinned> for Seen {
    fn on_read(&mut self, cx: &mut Context<'_, Pinned>) {
        let data = cx.input().to_vec();
        cx.input().drain(usize::MAX).unwrap();
        self.0.lock().0.extend(data);
    }

    fn on_event(&mut self, _: &mut Context<'_, Pinned>, event: Event) {
        self.0.lock().1.push(format!("{event:?}"));
    }
}

impl Seen {
    pub(crate) fn data(&self) -> Vec<u8> {
        self.0.lock().0.clone()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.0.lock().1.clone()
    }
}
