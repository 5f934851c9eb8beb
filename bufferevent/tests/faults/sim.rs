//! A manual base, and on it bufferevents of every option set over scripted transports.

use std::time::Duration;

use bufferevent::{
    BaseExt, Bufferevent, Builder, Error, Result,
    testing::{ManualBase, Wire},
};

use crate::harness::{Actor, Call, Conn, Cx, Set, Who, launch};

pub(crate) struct Sim {
    pub(crate) base: ManualBase,
}

impl Sim {
    pub(crate) fn new() -> Self {
        Self { base: ManualBase::new().unwrap() }
    }

    /// Starts a bufferevent with these options over a wire.
    pub(crate) fn start(
        &mut self,
        set: Set,
        wire: &Wire,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> Conn {
        self.start_with(set, Bufferevent::scripted(wire), script)
    }

    pub(crate) fn start_with(
        &mut self,
        set: Set,
        builder: Builder,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> Conn {
        launch(set, builder, Actor::alone(script), &mut self.base, None).unwrap()
    }

    /// Runs `f` on the bufferevent, from outside of its callbacks.
    pub(crate) fn with<R>(&mut self, conn: &Conn, f: impl FnOnce(&mut Bufferevent) -> R) -> Result<R> {
        match &conn.who {
            Who::Shared(handle) => Ok(f(&mut handle.lock()?)),
            Who::Confined(id) => self.base.bufferevent(*id).map(f),
        }
    }

    pub(crate) fn is_gone(&mut self, conn: &Conn) -> bool {
        matches!(self.with(conn, |_| ()), Err(Error::Closed))
    }

    pub(crate) fn settle(&mut self) {
        self.base.settle().unwrap();
    }

    pub(crate) fn advance(&mut self, duration: Duration) {
        self.base.advance(duration).unwrap();
    }
}

/// Sends back what comes, and closes at the end.
pub(crate) fn echo(cx: &mut Cx<'_, '_>, call: &Call) {
    match call {
        Call::Read => {
            let (input, output) = cx.buffers();
            // Refused past the cap: it stays until the output has drained.
            let _ = output.append(input);
        }
        Call::Eof | Call::Failed(_) => cx.close(),
        _ => {}
    }
}
