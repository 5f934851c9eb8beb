//! One question and its answer: the two ends of [`AnswerWord`].

use std::{fmt, net::SocketAddr, sync::Arc};

use bufferevent_runtime::{AnswerWord, Answered, BaseHandle, Cancelled, Key};
use bufferevent_sync::Leaf;

use super::{Answer, LookupError, Query, Resolve};
use crate::handler::isolate;

/// What both ends share.
struct Question {
    word: AnswerWord,
    synced: Leaf<Synced>,
}

/// Leaf lock.
struct Synced {
    /// Whose it is, the word says.
    answer: Option<Answer>,
    /// Who asks, and on which base; gone when nobody does any more, so that a lookup that hangs keeps no base.
    asker: Option<(BaseHandle, Key)>,
}

/// The asking end. Dropped, it cancels.
pub(crate) struct Lookup {
    question: Arc<Question>,
    /// Who looks is not to go before it has answered.
    _resolver: Arc<dyn Resolve>,
}

impl Lookup {
    /// Asks; the object `key` of `base` is woken when the answer is there.
    pub(crate) fn begin(resolver: Arc<dyn Resolve>, query: Query, base: &BaseHandle, key: Key) -> Self {
        let synced = Leaf::new(Synced { answer: None, asker: Some((base.clone(), key)) });
        let question = Arc::new(Question { word: AnswerWord::new(), synced });
        let reply = Reply { question: Some(Arc::clone(&question)) };
        // A reply that a panic drops says that there is no answer.
        isolate(base.counters(), || resolver.resolve(query, reply));
        Self { question, _resolver: resolver }
    }

    /// Has the answer wake another object. One that is there already wakes nobody any more: look for it after this.
    pub(crate) fn set_asker(&self, base: &BaseHandle, key: Key) {
        self.question.synced.lock().asker = Some((base.clone(), key));
    }

    /// The answer, once it is there.
    pub(crate) fn take(&mut self) -> Option<Answer> {
        if !self.question.word.is_answered() {
            return None;
        }
        self.question.synced.lock().answer.take()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let cancelled = self.question.word.cancel();
        let mut synced = self.question.synced.lock();
        let asker = synced.asker.take();
        let unread = if cancelled == Cancelled::Owns { synced.answer.take() } else { None };
        drop(synced);
        drop((asker, unread));
    }
}

/// The answering end of a lookup. Dropped unsent, it answers [`LookupError::NoAnswer`].
///
/// ```
/// use bufferevent::{LookupError, Query, Reply, Resolve};
///
/// struct Nobody;
///
/// impl Resolve for Nobody {
///     fn resolve(&self, _query: Query, reply: Reply) {
///         std::thread::spawn(move || reply.send(Err(LookupError::NotFound)));
///     }
/// }
/// ```
pub struct Reply {
    /// `None` once the answer is sent.
    question: Option<Arc<Question>>,
}

impl Reply {
    /// Sends the answer: addresses in the order in which to try them, whose ports do not matter, or why there is none.
    /// Nothing if nobody waits for it any more.
    ///
    /// From any thread; never waits, and calls nobody back.
    pub fn send(mut self, answer: Result<Vec<SocketAddr>, LookupError>) {
        self.answer(answer);
    }

    /// Whether nobody waits for the answer any more: there is no need to look for one.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.question.as_ref().is_none_or(|question| question.word.is_cancelled())
    }

    fn answer(&mut self, answer: Answer) {
        let Some(question) = self.question.take() else { return };
        question.synced.lock().answer = Some(answer);
        match question.word.answer() {
            Answered::Tell => question.wake(),
            Answered::Discard => {
                let unwanted = question.synced.lock().answer.take();
                drop(unwanted);
            }
        }
    }
}

impl Question {
    fn wake(&self) {
        let asker = self.synced.lock().asker.clone();
        if let Some((base, key)) = asker {
            base.wake(key);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.answer(Err(LookupError::NoAnswer));
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.question.as_ref().map(|question| &question.word)).finish()
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lookup").field(&self.question.word).finish()
    }
}
