//! The feature `tracing`: what is told, at which level.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fmt::Write as _, io::Write as _, os::unix::net::UnixStream, sync::Arc};

use bufferevent::{Base, Bufferevent, Callbacks, Pinned, testing::Census};
use bufferevent_sync::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Writes each event down, a line each.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "bufferevent"
    }

    fn event(&self, event: &Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn callbacks_events_ends_and_panics_are_told_and_nothing_of_the_peers_data() {
    let _census = Census::begin();
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let mut base = Base::<Pinned>::new().unwrap();
        let quiet = Callbacks::<Pinned>::new().on_event(|cx, _| cx.close());
        let fatal = Callbacks::<Pinned>::new().on_read(|_| panic!("on purpose"));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        Bufferevent::socket(ours).handler(quiet).start(&mut base).unwrap();
        theirs.write_all(b"secret").unwrap();
        drop(theirs);
        base.run().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        Bufferevent::socket(ours).handler(fatal).start(&mut base).unwrap();
        theirs.write_all(b"secret").unwrap();
        base.run().unwrap();
    });
    let lines = lines.0.lock().clone();
    let count = |level: Level, message: &str| {
        let wanted =
            |line: &&String| line.starts_with(level.as_str()) && line.contains(&format!("message={message}"));
        lines.iter().filter(wanted).count()
    };
    assert_eq!(count(Level::TRACE, "read"), 2, "{lines:#?}");
    assert_eq!(count(Level::DEBUG, "event"), 1, "{lines:#?}");
    assert_eq!(count(Level::DEBUG, "ended"), 2, "{lines:#?}");
    assert_eq!(count(Level::WARN, "a callback panicked"), 1, "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("event=Eof")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("clean=true") && line.contains("read=6")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("secret") || line.contains("115, 101")), "{lines:#?}");
}
