//! A close before the connection stands (D15): what was written is still sent.

use std::{
    io::{ErrorKind, Read},
    net::{Shutdown, TcpListener},
    time::Duration,
};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Callbacks, Closing, Event, NoHandler, Pinned, Target, Turned,
    testing::Census,
};

#[test]
fn output_written_before_the_connection_stood_is_sent_after_a_close() {
    let _census = Census::begin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut base = Base::<Pinned>::new().unwrap();
    Bufferevent::connect(listener.local_addr().unwrap())
        .handler(
            Callbacks::<Pinned>::new()
                .on_event(|_, event| panic!("nothing is told after a close: {event:?}")),
        )
        .configure(|bufferevent| {
            bufferevent.write(b"hello").unwrap();
        })
        .start(&mut base)
        .map(|id| bufferevent::BaseExt::bufferevent(&mut base, id).unwrap().close())
        .unwrap();
    let peer = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        text
    });
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(peer.join().unwrap(), "hello");
    assert_eq!(base.counters().panics.get(), 0);
}

#[test]
fn close_with_nothing_written_gives_the_connect_up() {
    let _census = Census::begin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (told, heard) = std::sync::mpsc::sync_channel(8);
    let mut base = Base::<Pinned>::new().unwrap();
    let id = Bufferevent::connect(listener.local_addr().unwrap())
        .report_close()
        .handler(Callbacks::<Pinned>::new().on_event(move |_, event| {
            told.send(matches!(event, Event::Closed(_))).unwrap();
        }))
        .start(&mut base)
        .unwrap();
    bufferevent::BaseExt::bufferevent(&mut base, id).unwrap().close();
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(heard.iter().collect::<Vec<_>>(), [true]);
}

/// The system says that it stands before anybody has looked.
#[test]
fn a_close_that_is_cut_short_resets_a_connection_that_stands_unseen() {
    let _census = Census::begin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut base = Base::<Pinned>::new().unwrap();
    let raced = Target::host("127.0.0.1", address.port()).unwrap();
    for connect in [Bufferevent::connect(address), Bufferevent::connect_target(raced)] {
        let id = connect.handler(NoHandler).start(&mut base).unwrap();
        let mut peer = loop {
            listener.set_nonblocking(true).unwrap();
            match listener.accept() {
                Ok((peer, _)) => break peer,
                // A race begins in the first run.
                Err(_) => base.turn(Some(Duration::ZERO)).unwrap(),
            };
        };
        base.bufferevent(id).unwrap().close_with(Closing::CUT_SHORT);
        assert_eq!(base.run().unwrap(), Turned::Empty);
        peer.set_nonblocking(false).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(peer.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
