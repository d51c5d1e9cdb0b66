//! A bus that does what a test tells it to.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempPath;

use super::address::{Address, Socket};
use super::message::FIXED;
use super::{Bus, BusError, Deadlines, Kind, Message, Whose};
use crate::systemd::value::Value;

/// Deadlines that a test waits for.
pub(crate) const SHORT: Deadlines = Deadlines {
    connect: Duration::from_millis(300),
    call: Duration::from_millis(400),
    job: Duration::from_millis(500),
};

/// Deadlines that no test reaches.
pub(crate) const LONG: Deadlines =
    Deadlines { connect: Duration::from_mins(1), call: Duration::from_mins(1), job: Duration::from_mins(1) };

/// Gives what the caller's file descriptors do not last longer than.
pub(crate) struct FakeBus<T> {
    pub(crate) path: TempPath,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> FakeBus<T> {
    /// Has `serve` talk to whoever connects first.
    pub(crate) fn new(serve: impl FnOnce(Peer) -> T + Send + 'static) -> Self {
        let (listener, path) = listen();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            serve(Peer(stream))
        });
        Self { path, thread }
    }

    pub(crate) fn connect(&self, deadlines: Deadlines) -> Result<Bus, BusError> {
        connect(&self.path, false, deadlines)
    }

    pub(crate) fn connect_directly(&self, deadlines: Deadlines) -> Result<Bus, BusError> {
        connect(&self.path, true, deadlines)
    }

    pub(crate) fn join(self) -> T {
        self.thread.join().unwrap()
    }
}

/// A socket that nobody else has, which goes away with its path.
pub(crate) fn listen() -> (UnixListener, TempPath) {
    tempfile::Builder::new().make(|path| UnixListener::bind(path)).unwrap().into_parts()
}

pub(crate) fn connect(path: &std::path::Path, direct: bool, deadlines: Deadlines) -> Result<Bus, BusError> {
    Bus::connect_to(Whose::System, vec![Address { socket: Socket::File(path.into()), direct }], deadlines)
}

/// Who has connected.
pub(crate) struct Peer(pub(crate) UnixStream);

impl Peer {
    pub(crate) fn say(&mut self, line: &str) {
        self.0.write_all(line.as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            if self.0.read(&mut byte).unwrap() == 0 {
                break;
            }
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// The greeting up to the first message.
    pub(crate) fn welcome(&mut self) {
        for line in ["\0AUTH EXTERNAL\r\n", "DATA\r\n", "BEGIN\r\n"] {
            assert_eq!(self.line(), line);
        }
        self.say("DATA\r\nOK 0123\r\n");
    }

    /// The greeting of a broker.
    pub(crate) fn welcome_as_broker(&mut self) {
        self.welcome();
        let hello = self.receive().unwrap();
        assert_eq!(hello.member.as_deref(), Some("Hello"));
        self.answer(&hello, vec![Value::text(":1.7")]);
    }

    /// None when the other side has gone.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        let mut start = [0; FIXED];
        self.0.read_exact(&mut start).ok()?;
        let mut bytes = start.to_vec();
        bytes.resize(Message::length(&start).unwrap(), 0);
        self.0.read_exact(&mut bytes[FIXED..]).ok()?;
        Some(Message::decode(&bytes).unwrap())
    }

    pub(crate) fn answer(&mut self, call: &Message, body: Vec<Value>) {
        let answer = Message { reply_to: Some(call.serial), body, serial: 1, ..Message::new(Kind::Return) };
        self.0.write_all(&answer.encode()).unwrap();
    }

    pub(crate) fn refuse(&mut self, call: &Message, name: &str, text: &str) {
        let answer = Message {
            reply_to: Some(call.serial),
            serial: 1,
            error: Some(name.to_owned()),
            body: vec![Value::text(text)],
            ..Message::new(Kind::Error)
        };
        self.0.write_all(&answer.encode()).unwrap();
    }

    pub(crate) fn job_removed(&mut self, job: &str, unit: &str, result: &str) {
        let body = vec![Value::U32(1), Value::Path(job.into()), Value::text(unit), Value::text(result)];
        let signal = Message {
            serial: 1,
            path: Some("/org/freedesktop/systemd1".into()),
            interface: Some("org.freedesktop.systemd1.Manager".into()),
            member: Some("JobRemoved".into()),
            body,
            ..Message::new(Kind::Signal)
        };
        self.0.write_all(&signal.encode()).unwrap();
    }

    /// Says nothing until the other side has gone.
    pub(crate) fn stall(&mut self) {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
    }
}
