//! A close before the connection stands (D15): what was written is still sent.

use std::{
    io::Read,
    net::{Shutdown, TcpListener},
    time::Duration,
};

use bufferevent::{Base, Bufferevent, Callbacks, Event, Pinned, Turned, testing::Census};

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
