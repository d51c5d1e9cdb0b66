//! What a connection does with a bus that answers, that stalls, that closes, and that lies.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::testing::{FakeBus, LONG, Peer, SHORT, connect, listen};
use super::*;

fn stop(bus: &mut Bus) -> Result<Vec<Value>, BusError> {
    bus.call("StopUnit", Some("a.scope"), vec![Value::text("a.scope"), Value::text("replace")])
}

/// The text of the error without the socket's path, and how long it took.
fn failing<T: std::fmt::Debug>(done: impl FnOnce() -> Result<T, BusError>) -> (String, Duration) {
    let start = Instant::now();
    let error = done().unwrap_err();
    let text = error.to_string().replace(&error.bus, "BUS");
    (text, start.elapsed())
}

fn within(took: Duration, deadline: Duration) {
    assert!(took >= deadline, "gave up after {took:?}");
    assert!(took < deadline + Duration::from_secs(20), "still waited after {took:?}");
}

#[test]
fn a_broker_is_greeted_and_a_call_answered() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        let call = peer.receive().unwrap();
        peer.answer(&call, vec![Value::Path("/job/1".into())]);
        call
    });
    let mut bus = fake.connect(LONG).unwrap();
    assert_eq!(stop(&mut bus).unwrap(), [Value::Path("/job/1".into())]);
    let call = fake.join();
    assert_eq!(call.destination.as_deref(), Some("org.freedesktop.systemd1"));
    assert_eq!(call.path.as_deref(), Some("/org/freedesktop/systemd1"));
    assert_eq!(call.interface.as_deref(), Some("org.freedesktop.systemd1.Manager"));
    assert_eq!((call.member.as_deref(), call.body.len()), (Some("StopUnit"), 2));
}

#[test]
fn systemds_own_socket_gets_no_hello_and_no_destination() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome();
        let call = peer.receive().unwrap();
        peer.answer(&call, vec![]);
        call
    });
    let mut bus = fake.connect_directly(LONG).unwrap();
    bus.watch_jobs("a.scope").unwrap();
    stop(&mut bus).unwrap();
    let call = fake.join();
    assert_eq!((call.member.as_deref(), call.destination), (Some("StopUnit"), None));
}

#[test]
fn the_first_message_waits_until_the_greeting_has_been_read() {
    let fake = FakeBus::new(|mut peer: Peer| {
        // What systemd reads at once must not hold a message.
        let mut bytes = [0; 4096];
        let count = std::io::Read::read(&mut peer.0, &mut bytes).unwrap();
        peer.say("DATA\r\nOK 0123\r\n");
        peer.receive();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    });
    let mut bus = fake.connect_directly(LONG).unwrap();
    assert!(stop(&mut bus).is_err());
    assert_eq!(fake.join(), "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
}

#[test]
fn who_is_not_believed_is_told_so() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.line();
        peer.say("REJECTED EXTERNAL\r\n");
    });
    let (text, _) = failing(|| fake.connect(LONG));
    let expected = r#"systemd (BUS): connecting: the bus does not let us in, it says "REJECTED EXTERNAL""#;
    assert_eq!(text, expected);
    fake.join();
}

#[test]
fn nobody_is_waited_for_longer_than_the_deadline_while_greeting() {
    type Serve = fn(Peer);
    let stalls: [Serve; 3] = [
        |mut peer| peer.stall(),
        |mut peer| {
            peer.line();
            peer.say("OK half a li");
            peer.stall();
        },
        |mut peer| {
            peer.welcome();
            peer.stall();
        },
    ];
    for stall in stalls {
        let fake = FakeBus::new(stall);
        let (text, took) = failing(|| fake.connect(SHORT));
        assert_eq!(text, "systemd (BUS): connecting: no answer within 0.3 s");
        within(took, SHORT.connect);
        fake.join();
    }
}

#[test]
fn a_bus_that_accepts_nobody_is_not_waited_for_longer_than_the_deadline() {
    let (listener, path) = listen();
    rustix::net::listen(&listener, 0).unwrap();
    // connect(2) hangs once the queue is full.
    let mut waiting = Vec::new();
    while waiting.len() < 8 {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        if rustix::net::connect(&socket, &SocketAddrUnix::new(&*path).unwrap()).is_err() {
            break;
        }
        waiting.push(socket);
    }
    assert!(waiting.len() < 8, "the queue is never full");
    let (text, took) = failing(|| connect(&path, false, SHORT));
    assert_eq!(text, "systemd (BUS): connecting: no answer within 0.3 s");
    within(took, SHORT.connect);
}

#[test]
fn a_bus_that_is_not_there_is_named_with_the_errno() {
    let error = connect("/nonexistent/bus".as_ref(), false, LONG).unwrap_err().to_string();
    assert!(error.starts_with("systemd (/nonexistent/bus): connecting: connect: No such file"), "{error}");
    let error = Bus::connect_to(Whose::User, Vec::new(), LONG).unwrap_err().to_string();
    assert!(error.starts_with("systemd (of the user): connecting: there is no address of a bus"), "{error}");
}

#[test]
fn of_two_sockets_the_one_that_works_is_taken() {
    let fake = FakeBus::new(|mut peer: Peer| peer.welcome());
    let absent = Address { socket: Socket::File("/nonexistent".into()), direct: true };
    let there = Address { socket: Socket::File(fake.path.to_path_buf()), direct: true };
    let bus = Bus::connect_to(Whose::System, vec![absent, there.clone()], LONG).unwrap();
    assert_eq!(bus.address, there);
    fake.join();
}

#[test]
fn a_call_that_is_not_answered_is_named_with_its_unit_at_the_deadline() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        peer.stall();
    });
    let mut bus = fake.connect(SHORT).unwrap();
    let (text, took) = failing(|| stop(&mut bus));
    assert_eq!(text, "systemd (BUS): StopUnit of a.scope: no answer within 0.4 s");
    within(took, SHORT.call);
    drop(bus);
    fake.join();
}

#[test]
fn a_bus_that_only_chatters_is_not_listened_to_for_ever() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        let signal = Message { serial: 9, ..Message::new(Kind::Signal) }.encode();
        while std::io::Write::write_all(&mut peer.0, &signal).is_ok() {}
    });
    let mut bus = fake.connect(SHORT).unwrap();
    let (text, took) = failing(|| stop(&mut bus));
    assert_eq!(text, "systemd (BUS): StopUnit of a.scope: no answer within 0.4 s");
    within(took, SHORT.call);
    drop(bus);
    fake.join();
}

#[test]
fn a_bus_that_takes_nothing_is_not_written_to_for_ever() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let address = Address { socket: Socket::Abstract(b"pair".to_vec()), direct: true };
    let mut bus = Bus {
        socket: ours.into(),
        address,
        deadlines: SHORT,
        last_serial: 0,
        unread: Vec::new(),
        signals: VecDeque::new(),
    };
    let (text, took) =
        failing(|| bus.call("SetUnitProperties", Some("a.scope"), vec![Value::Text("x".repeat(16 << 20))]));
    assert_eq!(text, "systemd (BUS): SetUnitProperties of a.scope: no answer within 0.4 s");
    within(took, SHORT.call);
    drop(theirs);
}

#[test]
fn a_bus_that_closes_is_told_as_that() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        peer.receive();
    });
    let mut bus = fake.connect(LONG).unwrap();
    let (text, _) = failing(|| stop(&mut bus));
    assert_eq!(text, "systemd (BUS): StopUnit of a.scope: the connection was closed");
    fake.join();
}

#[test]
fn what_is_no_message_is_told_as_that() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        peer.say("HTTP/1.1 400 Bad Request\r\n");
        peer.stall();
    });
    let mut bus = fake.connect(LONG).unwrap();
    let (text, _) = failing(|| stop(&mut bus));
    assert_eq!(text, "systemd (BUS): StopUnit of a.scope: the answer is something that is no message");
    drop(bus);
    fake.join();
}

#[test]
fn an_error_is_told_in_systemds_words_and_found_by_its_name() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        let call = peer.receive().unwrap();
        peer.refuse(&call, "org.freedesktop.systemd1.NoSuchUnit", "Unit a.scope not loaded.");
    });
    let mut bus = fake.connect(LONG).unwrap();
    let error = stop(&mut bus).unwrap_err();
    assert!(error.is("NoSuchUnit") && !error.is("Unit"));
    let expected = "StopUnit of a.scope: Unit a.scope not loaded. (org.freedesktop.systemd1.NoSuchUnit)";
    assert!(error.to_string().ends_with(expected), "{error}");
    fake.join();
}

#[test]
fn the_end_of_the_job_is_waited_for_and_others_are_not_taken_for_it() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        let watch = peer.receive().unwrap();
        let call = peer.receive().unwrap();
        // Sooner than the answer.
        peer.job_removed("/job/1", "a.scope", "canceled");
        peer.answer(&call, vec![Value::Path("/job/2".into())]);
        peer.job_removed("/job/3", "a.scope", "failed");
        peer.job_removed("/job/2", "a.scope", "done");
        watch
    });
    let mut bus = fake.connect(LONG).unwrap();
    bus.watch_jobs("a.scope").unwrap();
    stop(&mut bus).unwrap();
    assert_eq!(bus.wait_for_job("StopUnit", "a.scope", "/job/2").unwrap(), "done");
    let watch = fake.join();
    assert_eq!((watch.member.as_deref(), watch.wants_reply), (Some("AddMatch"), false));
    assert!(watch.body[0].to_string().contains("member='JobRemoved',arg2='a.scope'"), "{watch:?}");
}

#[test]
fn a_job_without_end_is_told_as_that_at_its_deadline() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        peer.stall();
    });
    let mut bus = fake.connect(SHORT).unwrap();
    let (text, took) = failing(|| bus.wait_for_job("StopUnit", "a.scope", "/job/2"));
    assert_eq!(text, "systemd (BUS): StopUnit of a.scope: the job has not ended within 0.5 s");
    within(took, SHORT.job);
    drop(bus);
    fake.join();
}
