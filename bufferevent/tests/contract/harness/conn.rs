//! What was started, and how it is reached.

use bufferevent::{BaseExt as _, BaseHandle, Builder, Evbuffer, Handle, Id, IntoHandler, Place, Result};

use super::{Actor, Log, Set};

/// A started bufferevent.
#[derive(Clone)]
pub(crate) struct Conn {
    pub(crate) who: Who,
    pub(crate) log: Log,
    /// The base that a runtime put it on.
    pub(super) home: Option<BaseHandle>,
}

#[derive(Clone, Debug)]
pub(crate) enum Who {
    Confined(Id),
    Shared(Handle),
}

impl Conn {
    /// One that was started elsewhere.
    #[allow(dead_code, reason = "for the suite of moves")]
    pub(crate) fn of(who: Who, log: &Log) -> Self {
        Self { who, log: log.clone(), home: None }
    }

    /// The handle of a THREADSAFE one.
    pub(crate) fn handle(&self) -> &Handle {
        match &self.who {
            Who::Shared(handle) => handle,
            Who::Confined(_) => panic!("a confined bufferevent has no handle"),
        }
    }
}

impl Conn {
    /// Writes from a callback of another: to a confined one of a runtime by a post to its base.
    #[allow(dead_code, reason = "for the suite of issues")]
    pub(crate) fn write(&self, mut data: Evbuffer) {
        match (&self.who, &self.home) {
            (Who::Shared(handle), _) => {
                handle.write_buffer(data).unwrap();
            }
            (Who::Confined(id), Some(home)) => {
                let id = *id;
                home.post(move |base| {
                    base.bufferevent(id).unwrap().write_buffer(&mut data).unwrap();
                })
                .unwrap();
            }
            (Who::Confined(_), None) => unreachable!("its base is not a runtime's"),
        }
    }
}

/// Starts a bufferevent of these options.
pub(crate) fn launch<P: Place>(
    set: Set,
    builder: Builder,
    actor: Actor,
    place: &mut P,
    home: Option<BaseHandle>,
) -> Result<Conn>
where
    Actor: IntoHandler<P::Affinity>,
{
    let log = actor.log.clone();
    let who = match set {
        Set::Confined => Who::Confined(builder.handler(actor).start(place)?),
        Set::ConfinedDefer => Who::Confined(builder.handler(actor).deferred().start(place)?),
        Set::Shared => Who::Shared(builder.handler(actor).threadsafe().start(place)?),
        Set::SharedDefer => Who::Shared(builder.handler(actor).threadsafe().deferred().start(place)?),
        Set::SharedUnlock => Who::Shared(builder.threadsafe().unlocked(actor).start(place)?),
    };
    Ok(Conn { who, log, home })
}
