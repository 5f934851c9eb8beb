//! A server that asks elsewhere who it is: the handshake waits for the answer.
//!
//! OpenSSL asks for the certificate by a callback, in the middle of a handshake. The first time that asks the user, with an
//! [`Answer`] that goes where it may; as long as there is none the handshake is left where it is, and OpenSSL asks again when it
//! goes on.

use std::{ffi::c_int, fmt, sync::OnceLock, task::Waker};

use bufferevent::runtime::Awaited;
use bufferevent_sync::Arc;
use openssl::{
    error::ErrorStack,
    ex_data::Index,
    ssl::{NameType, Ssl, SslContext, SslContextBuilder, SslRef},
};
use openssl_sys::{SSL_AD_ACCESS_DENIED, SSL_AD_UNRECOGNIZED_NAME};

use crate::{Identity, caught::catch, ffi, sni::plain};

/// Where the answer goes that one handshake waits for. From any thread; dropped without one, it refuses.
///
/// ```
/// use std::{collections::HashMap, thread};
/// use bufferevent_ssl::{Acceptor, Identity};
///
/// # let identities = HashMap::from([("example.org".to_owned(), Identity::self_signed(&["example.org"])?)]);
/// let acceptor = Acceptor::builder().lookup(move |name, answer| {
///     let found = name.and_then(|name| identities.get(name)).cloned();
///     // As if it took a while.
///     thread::spawn(move || match found {
///         Some(identity) => answer.give(identity),
///         None => answer.refuse("there is no such server"),
///     });
/// });
/// let acceptor = acceptor.build()?;
/// # Ok::<(), bufferevent_ssl::Error>(())
/// ```
/// # Locks
/// None is held while the connection is woken. Its methods never wait.
pub struct Answer {
    /// `None` once it was given.
    question: Option<Arc<Question>>,
}

impl Answer {
    /// Has the handshake go on with this certificate. Nothing if nobody waits for it any more.
    pub fn give(mut self, identity: Identity) {
        self.say(Said::Identity(identity));
    }

    /// Has the handshake go on with the [certificate for all](crate::AcceptorBuilder::identity) of the acceptor; if it has none,
    /// refuses.
    pub fn give_default(mut self) {
        self.say(Said::Default);
    }

    /// Refuses: the handshake fails with [`ErrorKind::NoIdentity`](crate::ErrorKind::NoIdentity), of which `why` is a part. The
    /// peer is told by an alert, and not why: `unrecognized_name`, or `access_denied` if it asked for none.
    pub fn refuse(mut self, why: impl Into<String>) {
        self.say(Said::Refused(why.into()));
    }

    /// Whether the handshake still waits for it: if not, there is no need to look any further.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.question.as_ref().is_some_and(|question| question.is_wanted())
    }

    fn say(&mut self, said: Said) {
        let Some(question) = self.question.take() else { return };
        if let Ok(Some(waker)) = question.answer(said) {
            waker.wake();
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.say(Said::Refused("the application gave no answer".to_owned()));
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("wanted", &self.is_wanted()).finish()
    }
}

enum Said {
    Identity(Identity),
    Default,
    Refused(String),
}

/// What both ends share.
type Question = Awaited<Said, Waker>;

/// The end that asks. Dropped, it wants the answer no more.
struct Asked(Arc<Question>);

impl Asked {
    fn new() -> (Self, Answer) {
        let question = Arc::new(Question::new());
        (Self(question.clone()), Answer { question: Some(question) })
    }

    fn take(&self) -> Option<Said> {
        self.0.take()
    }

    /// Wakes `waker` when the answer is there: at once, if it is.
    fn wake(&self, waker: &Waker) {
        if let Err(waker) = self.0.wake(waker.clone()) {
            waker.wake();
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let unwanted = self.0.give_up();
        drop(unwanted);
    }
}

/// What one connection has asked.
enum Lookup {
    Asked(Asked),
    Answered,
    Refused(Refusal),
}

/// Why a connection is given no certificate, and what its peer is told of that.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    /// By its number.
    pub(crate) alert: c_int,
}

/// Asks the user who the server is; the argument is the name that the client asks for.
pub(crate) type Ask = Arc<dyn Fn(Option<&str>, Answer) + Send + Sync>;

/// What the connections of a context ask.
struct Source {
    ask: Ask,
    /// Whether a name needs no answer.
    knows: Box<dyn Fn(&str) -> bool + Send + Sync>,
    has_default: bool,
}

/// Has the connections of a context ask, but for names that it `knows`.
pub(crate) fn install(
    context: &mut SslContextBuilder,
    ask: Ask,
    knows: impl Fn(&str) -> bool + Send + Sync + 'static,
    has_default: bool,
) -> Result<(), ErrorStack> {
    of_connection()?;
    context.set_ex_data(of_context()?, Source { ask, knows: Box::new(knows), has_default });
    ffi::set_certificate_callback(context);
    Ok(())
}

/// What becomes of a handshake that needs its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoesOn,
    /// For an answer; where that was a [refusal], for nothing more: OpenSSL would tell the peer of a fault of ours.
    Waits,
    Fails,
}

/// What OpenSSL's callback for the certificate asks. Does not unwind.
pub(crate) fn verdict(ssl: &mut SslRef) -> Verdict {
    catch(Verdict::Fails, || {
        step(ssl).unwrap_or_else(|stack| {
            // Where the failure of the handshake is told, it is told too.
            stack.errors().iter().for_each(openssl::error::Error::put);
            Verdict::Fails
        })
    })
}

fn step(ssl: &mut SslRef) -> Result<Verdict, ErrorStack> {
    let (of_connection, of_context) = (of_connection()?, of_context()?);
    let Some(Source { ask, knows, has_default }) = ssl.ssl_context().ex_data(of_context) else {
        return Ok(Verdict::GoesOn);
    };
    let has_default = *has_default;
    if ssl.ex_data(of_connection).is_none() {
        let name = ssl.servername(NameType::HOST_NAME).map(plain);
        if name.as_deref().is_some_and(knows) {
            return Ok(Verdict::GoesOn);
        }
        let (asked, answer) = Asked::new();
        ask(name.as_deref(), answer);
        ssl.set_ex_data(of_connection, Lookup::Asked(asked));
    }
    let said = match ssl.ex_data(of_connection) {
        Some(Lookup::Asked(asked)) => asked.take(),
        Some(Lookup::Refused(_)) => return Ok(Verdict::Waits),
        _ => return Ok(Verdict::GoesOn),
    };
    let refused = match said {
        None => return Ok(Verdict::Waits),
        Some(Said::Identity(identity)) => {
            identity.install_on(ssl)?;
            None
        }
        Some(Said::Default) if has_default => None,
        Some(Said::Default) => Some("there is no certificate for all".to_owned()),
        Some(Said::Refused(why)) => Some(why),
    };
    let Some(why) = refused else {
        ssl.set_ex_data(of_connection, Lookup::Answered);
        return Ok(Verdict::GoesOn);
    };
    let named = ssl.servername(NameType::HOST_NAME).is_some();
    let alert = if named { SSL_AD_UNRECOGNIZED_NAME } else { SSL_AD_ACCESS_DENIED };
    ssl.set_ex_data(of_connection, Lookup::Refused(Refusal { why, alert }));
    Ok(Verdict::Waits)
}

/// Wakes `waker` when the answer is there that a connection waits for; at once if it is, or if it waits for none.
pub(crate) fn wake(ssl: &SslRef, waker: &Waker) {
    match of_connection().ok().and_then(|index| ssl.ex_data(index)) {
        Some(Lookup::Asked(asked)) => asked.wake(waker),
        _ => waker.wake_by_ref(),
    }
}

/// Why a connection was refused its certificate, if it was.
pub(crate) fn refusal(ssl: &SslRef) -> Option<&Refusal> {
    match ssl.ex_data(of_connection().ok()?) {
        Some(Lookup::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

/// Where a connection has what it asked.
fn of_connection() -> Result<Index<Ssl, Lookup>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Lookup>> = OnceLock::new();
    match INDEX.get() {
        Some(index) => Ok(*index),
        None => {
            let index = Ssl::new_ex_index()?;
            Ok(*INDEX.get_or_init(|| index))
        }
    }
}

/// Where a context has whom to ask.
fn of_context() -> Result<Index<SslContext, Source>, ErrorStack> {
    static INDEX: OnceLock<Index<SslContext, Source>> = OnceLock::new();
    match INDEX.get() {
        Some(index) => Ok(*index),
        None => {
            let index = SslContext::new_ex_index()?;
            Ok(*INDEX.get_or_init(|| index))
        }
    }
}
