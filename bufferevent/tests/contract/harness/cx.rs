//! What a script is given.

use bufferevent::{
    BaseExt as _, BaseHandle, Bufferevent, Builder, Context, Guard, Handle, Id, Pinned, Result,
};

use super::{Actor, Conn, Log, Set, Who, launch};

/// A callback's view of its bufferevent, to which it derefs: a context, or a guard in an unlocked callback.
pub(crate) struct Cx<'a, 'b> {
    view: View<'a, 'b>,
    pub(super) log: Option<Log>,
}

pub(super) enum View<'a, 'b> {
    Pinned(&'a mut Context<'b, Pinned>),
    Movable(&'a mut Context<'b>),
    Guard(&'a mut Guard<'b>, &'b Handle),
}

impl<'a, 'b> Cx<'a, 'b> {
    pub(super) fn new(view: View<'a, 'b>) -> Self {
        Self { view, log: None }
    }

    /// The log of the handler that is running.
    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    /// Moves the input to the log.
    pub(crate) fn take(&mut self) {
        let bytes = self.input().to_vec();
        self.input().drain(bytes.len()).unwrap();
        self.log().synced.lock().data.extend(bytes);
    }

    /// Replaces the handler.
    pub(crate) fn replace(&mut self, actor: Actor) {
        match &mut self.view {
            View::Pinned(cx) => cx.set_handler(actor),
            View::Movable(cx) => cx.set_handler(actor),
            View::Guard(guard, _) => guard.set_unlocked_handler(actor).unwrap(),
        }
    }

    /// This bufferevent's own handle, where a context has one.
    pub(crate) fn handle(&self) -> Option<Handle> {
        match &self.view {
            View::Movable(cx) => cx.handle(),
            View::Pinned(_) | View::Guard(..) => None,
        }
    }

    /// Closes another bufferevent of the same world.
    pub(crate) fn close_other(&mut self, other: &Conn) {
        match (&mut self.view, &other.who) {
            (_, Who::Shared(handle)) => handle.close(),
            (View::Pinned(cx), Who::Confined(id)) => cx.get(*id).unwrap().close(),
            (View::Movable(cx), Who::Confined(id)) => match cx.get(*id) {
                Ok(other) => other.close(),
                // It lives on another base.
                Err(_) => {
                    let (id, base) = (*id, other.home.as_ref().unwrap());
                    base.post(move |base| base.bufferevent(id).unwrap().close()).unwrap();
                }
            },
            (View::Guard(..), Who::Confined(_)) => unreachable!("all of a test are of one set"),
        }
    }

    /// Aborts another bufferevent of the same hand-driven base.
    #[allow(dead_code, reason = "for the suite of faults")]
    pub(crate) fn abort_other(&mut self, other: &Conn) {
        match (&mut self.view, &other.who) {
            (_, Who::Shared(handle)) => handle.abort(),
            (View::Pinned(cx), Who::Confined(id)) => cx.get(*id).unwrap().abort(),
            (View::Movable(cx), Who::Confined(id)) => cx.get(*id).unwrap().abort(),
            (View::Guard(..), Who::Confined(_)) => unreachable!("all of a test are of one set"),
        }
    }

    /// Moves it to another base.
    #[allow(dead_code, reason = "for the suite of moves")]
    pub(crate) fn set_base(&mut self, base: &BaseHandle) -> Result<()> {
        match &mut self.view {
            View::Pinned(_) => unreachable!("what is pinned does not move"),
            View::Movable(cx) => cx.set_base(base),
            View::Guard(guard, _) => guard.set_base(base),
        }
    }

    /// Its name, if it is confined.
    #[allow(dead_code, reason = "for the suite of moves")]
    pub(crate) fn id(&self) -> Option<Id> {
        match &self.view {
            View::Pinned(cx) => cx.id(),
            View::Movable(cx) => cx.id(),
            View::Guard(..) => None,
        }
    }

    /// Ends the loop of the base.
    pub(crate) fn stop_base(&mut self, now: bool) {
        match &mut self.view {
            View::Pinned(cx) => stop(&cx.base_handle(), now),
            View::Movable(cx) => stop(&cx.base_handle(), now),
            View::Guard(_, handle) => stop(&handle.base(), now),
        }
    }

    /// The base.
    pub(crate) fn base_id(&self) -> u64 {
        match &self.view {
            View::Pinned(cx) => cx.base_handle().id(),
            View::Movable(cx) => cx.base_handle().id(),
            View::Guard(_, handle) => handle.base().id(),
        }
    }

    /// Starts another bufferevent on the base of this one, where a context can.
    pub(crate) fn start(&mut self, set: Set, builder: Builder, actor: Actor) -> Option<Result<Conn>> {
        match &mut self.view {
            View::Pinned(cx) => Some(launch(set, builder, actor, *cx, None)),
            View::Movable(cx) => {
                let home = cx.base_handle();
                Some(launch(set, builder, actor, *cx, Some(home)))
            }
            View::Guard(..) => None,
        }
    }
}

impl std::ops::Deref for Cx<'_, '_> {
    type Target = Bufferevent;

    fn deref(&self) -> &Bufferevent {
        match &self.view {
            View::Pinned(cx) => cx,
            View::Movable(cx) => cx,
            View::Guard(guard, _) => guard,
        }
    }
}

impl std::ops::DerefMut for Cx<'_, '_> {
    fn deref_mut(&mut self) -> &mut Bufferevent {
        match &mut self.view {
            View::Pinned(cx) => cx,
            View::Movable(cx) => cx,
            View::Guard(guard, _) => guard,
        }
    }
}

fn stop<A: bufferevent::runtime::Affinity>(base: &BaseHandle<A>, now: bool) {
    if now { base.break_now() } else { base.exit() }
}
