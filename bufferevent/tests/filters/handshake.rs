//! Filters that exchange something with the peer first, answer it, end the input, and have limits count below.

use std::{io, time::Duration};

use bufferevent::{
    Bufferevent, CONNECT_TIMEOUT, Direction, Error, Evbuffer, Filter, FilterCall, FilterError, FilterStatus,
    FlushMode, HANDSHAKE_TIMEOUT, Handshake, Interest, TokenBucketConfig,
    testing::{Census, Wire},
};

use crate::seen::{Seen, Sim};

/// Says a word, and wants to hear another. Then it answers each `?` by a `!`, and a `.` is the end.
#[derive(Default)]
struct Greeter {
    called: usize,
    finished: usize,
}

impl Filter for Greeter {
    fn has_handshake(&self) -> bool {
        true
    }

    fn counts_below(&self) -> bool {
        true
    }

    fn restart(&mut self) {
        self.called = 0;
    }

    fn handshake(&mut self, call: &mut FilterCall<'_>) -> Result<Handshake, FilterError> {
        self.called += 1;
        if self.called == 1 {
            call.reply().add(b"hello")?;
        }
        if call.source.len() < 2 {
            return Ok(Handshake::Pending);
        }
        match &call.source.take_bytes(2)?[..] {
            b"hi" => Ok(Handshake::Done),
            _ => {
                call.destination.add(b"go away")?;
                Err("no greeting".into())
            }
        }
    }

    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let len = call.source.len();
        for byte in call.source.take_bytes(len)? {
            match byte {
                b'?' => call.reply().add(b"!")?,
                b'.' => return Ok(FilterStatus::End),
                byte => call.destination.add(&[byte])?,
            };
        }
        Ok(FilterStatus::Ok)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        assert!(self.called > 0, "the handshake comes first");
        if call.mode() == FlushMode::Finished && call.source.is_empty() {
            self.finished += 1;
            call.destination.add(b"bye")?;
        }
        call.pass()
    }
}

fn start(shared: bool, wire: &Wire, seen: &Seen) -> Sim {
    let builder = Bufferevent::scripted(wire).filter(Greeter::default()).report_close();
    let mut sim = Sim::start(shared, builder, seen);
    sim.settle();
    sim
}

#[test]
fn the_connection_stands_when_the_handshake_is_done_and_what_was_written_before_follows() {
    let _census = Census::begin();
    // T-06, T-07: whatever is enabled; what arrives with the last of it is the first input
    for shared in [false, true] {
        for connecting in [false, true] {
            let wire = if connecting { Wire::connecting() } else { Wire::new() };
            let seen = Seen::default();
            let mut sim = start(shared, &wire, &seen);
            sim.with(|top| top.write(b"data").map(drop)).unwrap().unwrap();
            sim.with(|top| top.disable(Interest::READ)).unwrap();
            sim.settle();
            if connecting {
                assert_eq!(wire.written(), b"");
                wire.connect();
                sim.settle();
            }
            assert_eq!((wire.written(), seen.events()), (b"hello".to_vec(), vec![]));
            wire.deliver(b"h");
            sim.settle();
            assert!(seen.events().is_empty());
            wire.deliver(b"i and more");
            sim.settle();
            assert_eq!(
                (wire.written(), seen.events()),
                (b"hellodata".to_vec(), vec!["Connected".to_owned()])
            );
            assert_eq!(seen.data(), b"");
            sim.with(|top| top.enable(Interest::READ)).unwrap();
            sim.settle();
            assert_eq!(seen.data(), b" and more");
            assert_eq!(
                sim.with(|top| top.filter_mut::<Greeter>().map(|greeter| greeter.called)).unwrap(),
                Some(3)
            );
        }
    }
}

#[test]
fn a_handshake_that_fails_fails_the_connect_and_what_it_said_last_is_sent() {
    let _census = Census::begin();
    // T-08, D5
    for shared in [false, true] {
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim = start(shared, &wire, &seen);
        sim.with(|top| top.write(b"data").map(drop)).unwrap().unwrap();
        wire.deliver(b"no");
        sim.settle();
        assert_eq!(wire.written(), b"hellogo away");
        let events = seen.events();
        assert!(
            events[0].starts_with("Error { direction: None") && events[0].contains("no greeting"),
            "{events:?}"
        );
        sim.with(|top| top.close()).unwrap();
        sim.settle();
        wire.end();
        sim.settle();
        assert_eq!((seen.events().len(), seen.events()[1].as_str()), (2, "Closed false 4"));
        assert_eq!(wire.written(), b"hellogo away");
    }
}

#[test]
fn an_end_an_error_or_too_long_a_time_within_the_handshake_fails_it_once() {
    let _census = Census::begin();
    // T-08, T-09, D5
    type Happens = fn(&mut Sim, &Wire);
    let cases: [(&str, Happens); 3] = [
        ("UnexpectedEof", |_, wire| wire.end()),
        ("ConnectionReset", |_, wire| wire.reset()),
        ("TimeLimit(Handshake)", |sim, _| sim.base.advance(HANDSHAKE_TIMEOUT).map(drop).unwrap()),
    ];
    for (cause, happens) in cases {
        let (wire, seen) = (Wire::new(), Seen::default());
        let mut sim = start(false, &wire, &seen);
        sim.base.advance(HANDSHAKE_TIMEOUT - Duration::from_millis(1)).unwrap();
        assert!(seen.events().is_empty());
        happens(&mut sim, &wire);
        sim.settle();
        sim.base.advance(HANDSHAKE_TIMEOUT).unwrap();
        let events = seen.events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].starts_with("Error { direction: None") && events[0].contains(cause), "{events:?}");
        assert_eq!(
            sim.with(|top| top.enabled()).unwrap(),
            Interest::NONE,
            "D10: an error stops its directions"
        );
    }
}

#[test]
fn what_does_not_connect_in_time_has_no_handshake_that_is_late() {
    let _census = Census::begin();
    // K-11: it is told which of the two took too long
    let (wire, seen) = (Wire::connecting(), Seen::default());
    let mut sim = start(false, &wire, &seen);
    sim.base.advance(CONNECT_TIMEOUT).unwrap();
    assert_eq!(seen.events().len(), 1);
    assert!(seen.events()[0].contains("TimeLimit(Connect)"), "{:?}", seen.events());
}

/// Owes an answer to each byte that it hears, or is asked for from above, and gives as much of that as there is room for.
#[derive(Default)]
struct Patient {
    owes: Evbuffer,
}

impl Filter for Patient {
    fn holds(&self) -> Interest {
        if self.owes.is_empty() { Interest::NONE } else { Interest::WRITE }
    }

    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let len = call.source.len();
        self.owes.add(&vec![b'!'; len])?;
        call.source.drain(len)?;
        let room = call.reply().room();
        self.owes.move_to(call.reply(), room)?;
        Ok(FilterStatus::Ok)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let room = call.destination.room();
        self.owes.move_to(call.destination, room)?;
        call.pass()
    }
}

fn patient(shared: bool, wire: &Wire) -> Sim {
    let builder = Bufferevent::scripted(wire).filter(Patient::default());
    let builder = builder.configure(|top| top.enable(Interest::BOTH));
    let mut sim = Sim::start(shared, builder, &Seen::default());
    sim.settle();
    sim
}

#[test]
fn a_reply_without_room_goes_when_there_is_some_though_nothing_is_written() {
    let _census = Census::begin();
    for shared in [false, true] {
        let wire = Wire::new();
        let mut sim = patient(shared, &wire);
        wire.set_room(0);
        sim.with(|top| top.underlying_mut().unwrap().set_output_cap(Some(2))).unwrap();
        wire.deliver(b"?????");
        sim.settle();
        assert_eq!(wire.written(), b"");
        wire.set_room(100);
        sim.settle();
        assert_eq!(wire.written(), b"!!!!!");
    }
}

#[test]
fn what_a_filter_is_made_to_hold_from_above_goes_at_once() {
    let _census = Census::begin();
    for shared in [false, true] {
        let wire = Wire::new();
        let mut sim = patient(shared, &wire);
        sim.with(|top| top.filter_mut::<Patient>().unwrap().owes.add(b"now").unwrap()).unwrap();
        sim.settle();
        assert_eq!(wire.written(), b"now");
    }
}

#[test]
fn a_close_within_the_handshake_sends_what_was_written_once_that_is_done_and_else_ends() {
    let _census = Census::begin();
    // D15, T-19
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = start(false, &wire, &seen);
    sim.with(|top| top.write(b"data").map(|_| top.close())).unwrap().unwrap();
    sim.settle();
    wire.deliver(b"hi");
    sim.settle();
    assert_eq!(wire.written(), b"hellodatabye");
    assert!(wire.is_shut_down());
    wire.end();
    sim.settle();
    assert_eq!(seen.events(), ["Closed true 0"]);

    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = start(false, &wire, &seen);
    sim.with(|top| top.close()).unwrap();
    wire.end();
    sim.settle();
    assert_eq!((wire.written(), sim.is_gone()), (b"hello".to_vec(), true));

    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = start(false, &wire, &seen);
    sim.with(|top| top.write(b"data").map(|_| top.close())).unwrap().unwrap();
    wire.deliver(b"no");
    wire.end();
    sim.settle();
    assert_eq!((seen.events(), sim.is_gone()), (vec!["Closed false 4".to_owned()], true));
    assert!(format!("{:?}", seen.closed().cause).contains("no greeting"));
}

#[test]
fn a_filter_answers_the_peer_itself_and_ends_the_input_before_what_is_below_ends() {
    let _census = Census::begin();
    // T-13, T-16: also while nothing may be written above; writing goes on after the end
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = start(false, &wire, &seen);
    wire.deliver(b"hi");
    sim.settle();
    sim.with(|top| top.disable(Interest::WRITE)).unwrap();
    wire.deliver(b"a?b?.c");
    sim.settle();
    assert_eq!((wire.written(), seen.data()), (b"hello!!".to_vec(), b"ab".to_vec()));
    assert_eq!(seen.events(), ["Connected", "Eof"]);
    sim.with(|top| top.enable(Interest::WRITE)).unwrap();
    sim.with(|top| top.write(b"still").map(drop)).unwrap().unwrap();
    wire.end();
    sim.settle();
    assert_eq!(wire.written(), b"hello!!still");
    assert_eq!(seen.events(), ["Connected", "Eof"]);
}

#[test]
fn a_new_connection_is_greeted_anew() {
    let _census = Census::begin();
    // T-24
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };
    let seen = Seen::default();
    let mut sim = Sim::start(false, Bufferevent::detached().filter(Greeter::default()), &seen);
    for round in 1..=2 {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        sim.with(|top| top.set_fd(ours).map(drop)).unwrap().unwrap();
        theirs.write_all(b"hi").unwrap();
        sim.settle();
        let mut heard = [0; 5];
        theirs.read_exact(&mut heard).unwrap();
        assert_eq!((&heard, seen.events().len()), (b"hello", round));
    }
    assert_eq!(seen.events(), ["Connected", "Connected"]);
}

#[test]
fn a_filter_whose_restart_panics_ends_its_bufferevent() {
    let _census = Census::begin();
    // F19
    struct Bomb;
    impl Filter for Bomb {
        fn restart(&mut self) {
            panic!("restart");
        }
    }
    let (wire, seen) = (Wire::new(), Seen::default());
    let mut sim = Sim::start(false, Bufferevent::scripted(&wire).filter(Bomb), &seen);
    sim.settle();
    let _ = sim.with(|top| top.take_fd());
    sim.settle();
    assert!(sim.is_gone());
}

#[test]
fn limits_that_count_below_are_set_there() {
    let _census = Census::begin();
    // D14, R-19: through two filters
    let (wire, seen) = (Wire::new(), Seen::default());
    let builder = Bufferevent::scripted(&wire).filter(Greeter::default()).filter(Greeter::default());
    let mut sim = Sim::start(false, builder, &seen);
    let config = TokenBucketConfig::new(1_000, 1_000, 7, 7, None).unwrap();
    sim.with(|top| top.set_rate_limit(Some(&config))).unwrap();
    sim.settle();
    assert_eq!(wire.written(), b"hello");
    wire.deliver(b"hi");
    sim.settle();
    assert_eq!(wire.written(), b"hellohe", "what both filters say counts");
    let level = |sim: &mut Sim| sim.with(|top| top.rate_limit_level(Direction::Write)).unwrap();
    assert_eq!(level(&mut sim), Some(0));
    let below =
        sim.with(|top| top.underlying().and_then(|lower| lower.underlying()).unwrap().rate_limit().cloned());
    assert_eq!(below.unwrap(), Some(config));
    sim.with(|top| top.decrement_rate_limit(Direction::Write, -3)).unwrap().unwrap();
    sim.settle();
    assert_eq!(wire.written(), b"hellohello");
    sim.with(|top| top.set_rate_limit(None)).unwrap();
    assert_eq!(level(&mut sim), None);
    let refused = sim.with(|top| top.decrement_rate_limit(Direction::Read, 1)).unwrap();
    assert!(matches!(refused, Err(Error::NoRateLimit)), "{:?}", io::Error::other(format!("{refused:?}")));
}
