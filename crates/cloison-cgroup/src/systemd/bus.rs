//! A connection to systemd over D-Bus on which nothing is waited for without a deadline: not for the connection itself, which
//! hangs in connect(2) when nobody accepts it, nor for the greeting, an answer, or the end of a job.

mod address;
mod error;
mod message;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, send, socket_with};

pub(crate) use address::Whose;
use address::{Address, Socket};
pub use error::{BusError, Why};
use message::FIXED;
pub(crate) use message::{Kind, Message};

use super::value::Value;

/// The broker itself.
const BROKER: &str = "org.freedesktop.DBus";
/// systemd's object, and what it can do.
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The longest line of the greeting; those that are sent have some 40 bytes.
const MAX_LINE: usize = 1024;
/// The pause before connecting again to a socket whose queue of connections is full.
const PAUSE: Duration = Duration::from_millis(20);

/// How long is waited for systemd. What takes longer is an error that says what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// For a connection, with the greeting.
    pub(crate) connect: Duration,
    /// For the answer to a call.
    pub(crate) call: Duration,
    /// For the end of a job, from when it was accepted.
    pub(crate) job: Duration,
}

impl Default for Deadlines {
    /// 10 s for a connection, 25 s for an answer (what `sd_bus_call(3)` has), 30 s for a job (what runc has). A busy systemd that
    /// reloads thousands of units does not answer for seconds.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), call: Duration::from_secs(25), job: Duration::from_secs(30) }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Bus {
    socket: OwnedFd,
    address: Address,
    deadlines: Deadlines,
    last_serial: u32,
    unread: Vec<u8>,
    signals: VecDeque<Message>,
}

/// What is waited for, and until when.
#[derive(Debug, Clone, Copy)]
struct Limit {
    until: Instant,
    patience: Duration,
}

impl Limit {
    fn of(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, patience }
    }

    /// Waits until the socket is ready for it.
    fn wait(self, socket: &OwnedFd, what: PollFlags) -> Result<(), Why> {
        loop {
            let left = self.left()?;
            let timeout = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(socket, what)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(Why::Socket(errno)),
            }
        }
    }

    fn left(self) -> Result<Duration, Why> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Why::Timeout(self.patience)) } else { Ok(left) }
    }
}

impl Bus {
    /// Connects to the first of the places where systemd may be that takes us.
    pub(crate) fn connect(whose: Whose, deadlines: Deadlines) -> Result<Self, BusError> {
        let root = rustix::process::geteuid().is_root();
        Self::connect_to(whose, address::candidates(whose, root, |name| std::env::var_os(name)), deadlines)
    }

    fn connect_to(whose: Whose, candidates: Vec<Address>, deadlines: Deadlines) -> Result<Self, BusError> {
        let error = |why, address: Option<&Address>| BusError {
            call: "connecting".to_owned(),
            unit: None,
            bus: address.map_or_else(|| whose.to_string(), Address::to_string),
            why,
        };
        let limit = Limit::of(deadlines.connect);
        let mut last = error(Why::NoAddress, None);
        for address in candidates {
            match Self::open(&address, deadlines, limit) {
                Ok(bus) => return Ok(bus),
                Err(why) => {
                    log::debug!("systemd cannot be reached by {address}: {why}");
                    last = error(why, Some(&address));
                }
            }
        }
        Err(last)
    }

    fn open(address: &Address, deadlines: Deadlines, limit: Limit) -> Result<Self, Why> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(Why::Socket)?;
        let name = match &address.socket {
            Socket::File(path) => SocketAddrUnix::new(path.as_path()),
            Socket::Abstract(name) => SocketAddrUnix::new_abstract_name(name),
        };
        let name = name.map_err(Why::Connect)?;
        // EAGAIN: more are waiting to be accepted than there is room for, and poll(2) does not tell when there is.
        while let Err(errno) = rustix::net::connect(&socket, &name) {
            if errno != Errno::AGAIN {
                return Err(Why::Connect(errno));
            }
            std::thread::sleep(PAUSE.min(limit.left()?));
        }
        let mut bus = Self {
            socket,
            address: address.clone(),
            deadlines,
            last_serial: 0,
            unread: Vec::new(),
            signals: VecDeque::new(),
        };
        bus.greet(limit)?;
        if !address.direct {
            bus.ask(limit, Self::to_broker("Hello", Vec::new()))?;
        }
        Ok(bus)
    }

    /// Lets the kernel say who we are, which in a user namespace we do not know ourselves
    /// ([specification](https://dbus.freedesktop.org/doc/dbus-specification.html#auth-protocol)).
    ///
    /// All in one piece, as `sd-bus` does it: systemd, when it reads `BEGIN` together with the first message, forgets that it has
    /// read that message, and waits for more.
    fn greet(&mut self, limit: Limit) -> Result<(), Why> {
        self.send(limit, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut answer = self.line(limit)?;
        if answer.starts_with("DATA") {
            answer = self.line(limit)?;
        }
        if answer.starts_with("OK") { Ok(()) } else { Err(Why::Rejected(answer)) }
    }

    /// A line of the greeting.
    fn line(&mut self, limit: Limit) -> Result<String, Why> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.unread.len() > MAX_LINE {
                return Err(Why::Protocol("a line of the greeting without end"));
            }
            self.read_some(limit)?;
        }
    }

    /// Calls a method of systemd's manager and gives the answer's values.
    pub(crate) fn call(
        &mut self,
        call: &'static str,
        unit: Option<&str>,
        arguments: Vec<Value>,
    ) -> Result<Vec<Value>, BusError> {
        let message = self.to_systemd(OBJECT, MANAGER, call);
        let answer = self.ask(Limit::of(self.deadlines.call), Message { body: arguments, ..message });
        answer.map_err(|why| self.error(call, unit, why))
    }

    /// What a property of an object of systemd is.
    pub(crate) fn property(
        &mut self,
        unit: Option<&str>,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<Value, BusError> {
        let message = self.to_systemd(path, "org.freedesktop.DBus.Properties", "Get");
        let body = vec![Value::text(interface), Value::text(name)];
        let answer = self.ask(Limit::of(self.deadlines.call), Message { body, ..message });
        match answer.as_deref() {
            Ok([Value::Variant(value)]) => Ok((**value).clone()),
            Ok(_) => Err(self.error(name, unit, Why::Protocol("a property that is no variant"))),
            Err(why) => Err(self.error(name, unit, why.clone())),
        }
    }

    /// What a property of systemd itself is.
    pub(crate) fn manager_property(&mut self, name: &str) -> Result<Value, BusError> {
        self.property(None, OBJECT, MANAGER, name)
    }

    /// The same as [`Bus::call`], for a method whose answer is a job.
    pub(crate) fn call_for_job(
        &mut self,
        call: &'static str,
        unit: &str,
        arguments: Vec<Value>,
    ) -> Result<String, BusError> {
        match self.call(call, Some(unit), arguments)?.into_iter().next() {
            Some(Value::Path(job)) => Ok(job),
            _ => Err(self.error(call, Some(unit), Why::Protocol("no job"))),
        }
    }

    /// Has a unit stopped and forgotten without waiting for that: for one whose start has failed, or was not answered.
    pub(crate) fn post_stop(&mut self, unit: &str) {
        let stop = vec![Value::text(unit), Value::text("replace")];
        for (call, body) in [("StopUnit", stop), ("ResetFailedUnit", vec![Value::text(unit)])] {
            let message = self.to_systemd(OBJECT, MANAGER, call);
            let limit = Limit::of(PAUSE);
            if let Err(why) = self.post(limit, Message { body, wants_reply: false, ..message }) {
                log::debug!("{}; it ends with its last process", self.error(call, Some(unit), why));
            }
        }
    }

    /// Asks to be told when a job of `unit` ends; to be called before the job is made.
    pub(crate) fn watch_jobs(&mut self, unit: &str) -> Result<(), BusError> {
        // systemd itself tells everybody who is connected to it.
        if self.address.direct {
            return Ok(());
        }
        let rule = format!(
            "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',\
             member='JobRemoved',arg2='{unit}'"
        );
        let message = Self::to_broker("AddMatch", vec![Value::Text(rule)]);
        let sent = self.post(Limit::of(self.deadlines.call), Message { wants_reply: false, ..message });
        sent.map(drop).map_err(|why| self.error("AddMatch", Some(unit), why))
    }

    /// Waits for the end of a job and gives its result: `done`, `failed`, `timeout` and so on.
    pub(crate) fn wait_for_job(
        &mut self,
        call: &'static str,
        unit: &str,
        job: &str,
    ) -> Result<String, BusError> {
        let limit = Limit::of(self.deadlines.job);
        loop {
            let signal = match self.signals.pop_front() {
                Some(signal) => signal,
                None => match self.receive(limit) {
                    Ok(message) if message.kind == Kind::Signal => message,
                    Ok(_) => continue,
                    Err(Why::Timeout(patience)) => {
                        return Err(self.error(call, Some(unit), Why::Job(patience)));
                    }
                    Err(why) => return Err(self.error(call, Some(unit), why)),
                },
            };
            if signal.member.as_deref() == Some("JobRemoved")
                && let [_, Value::Path(path), _, Value::Text(result)] = &signal.body[..]
                && path == job
            {
                return Ok(result.clone());
            }
        }
    }

    /// What is wrong with an answer that was received.
    pub(crate) fn error(&self, call: &str, unit: Option<&str>, why: Why) -> BusError {
        BusError { call: call.to_owned(), unit: unit.map(str::to_owned), bus: self.address.to_string(), why }
    }

    fn to_systemd(&self, path: &str, interface: &str, member: &str) -> Message {
        Message {
            destination: (!self.address.direct).then(|| "org.freedesktop.systemd1".to_owned()),
            path: Some(path.to_owned()),
            interface: Some(interface.to_owned()),
            member: Some(member.to_owned()),
            ..Message::new(Kind::Call)
        }
    }

    fn to_broker(member: &str, body: Vec<Value>) -> Message {
        Message {
            destination: Some(BROKER.to_owned()),
            path: Some("/org/freedesktop/DBus".to_owned()),
            interface: Some(BROKER.to_owned()),
            member: Some(member.to_owned()),
            body,
            ..Message::new(Kind::Call)
        }
    }

    /// Sends a call and waits for its answer; signals that come first are kept.
    fn ask(&mut self, limit: Limit, message: Message) -> Result<Vec<Value>, Why> {
        let serial = self.post(limit, message)?;
        loop {
            let message = self.receive(limit)?;
            match message.kind {
                Kind::Return if message.reply_to == Some(serial) => return Ok(message.body),
                Kind::Error if message.reply_to == Some(serial) => {
                    let text = match message.body.into_iter().next() {
                        Some(Value::Text(text)) => text,
                        _ => String::new(),
                    };
                    return Err(Why::Refused { name: message.error.unwrap_or_default(), text });
                }
                Kind::Signal => self.signals.push_back(message),
                Kind::Return | Kind::Error | Kind::Call => {}
            }
        }
    }

    fn post(&mut self, limit: Limit, mut message: Message) -> Result<u32, Why> {
        self.last_serial += 1;
        message.serial = self.last_serial;
        self.send(limit, &message.encode())?;
        Ok(message.serial)
    }

    fn send(&mut self, limit: Limit, mut bytes: &[u8]) -> Result<(), Why> {
        while !bytes.is_empty() {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => limit.wait(&self.socket, PollFlags::OUT)?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Why::Closed),
                Err(errno) => return Err(Why::Socket(errno)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, limit: Limit) -> Result<Message, Why> {
        loop {
            if let Some(start) = self.unread.first_chunk::<FIXED>() {
                let length = Message::length(start).ok_or(Why::Protocol("something that is no message"))?;
                if self.unread.len() >= length {
                    let bytes: Vec<u8> = self.unread.drain(..length).collect();
                    return Message::decode(&bytes).ok_or(Why::Protocol("a message with false lengths"));
                }
            }
            self.read_some(limit)?;
        }
    }

    fn read_some(&mut self, limit: Limit) -> Result<(), Why> {
        let mut bytes = [0; 4096];
        loop {
            match read(&self.socket, &mut bytes) {
                Ok(0) | Err(Errno::CONNRESET) => return Err(Why::Closed),
                Ok(count) => {
                    self.unread.extend_from_slice(&bytes[..count]);
                    // A sender who never pauses must not keep us longer than one who is silent.
                    return limit.left().map(drop);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => limit.wait(&self.socket, PollFlags::IN)?,
                Err(errno) => return Err(Why::Socket(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
