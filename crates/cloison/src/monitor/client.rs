//! The other side of the monitor: what `attach` does between the caller's streams and the connection.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use cloison_linux::Signal;
use cloison_linux::signals::{self, SignalFd, SignalSet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio, read, retry_on_intr, write};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::isatty;

use super::Error;
use super::keys::{DetachKeys, Watch};
use super::protocol::{Answer, PACKET, PIECE, Request, Stream, put, take};
use crate::console::{Output, RawMode, Window};

/// How the attaching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The container has ended with this code.
    Ended(u8),
    /// The keys for it were typed, or the caller's terminal has gone.
    Detached,
    /// This signal came, or would have come.
    Signalled(Signal),
}

/// A connection to a monitor that has agreed to give the container's output.
#[derive(Debug)]
pub(crate) struct Client {
    socket: OwnedFd,
    terminal: bool,
}

impl Client {
    /// Asks for the output from now on.
    pub(crate) fn attach(socket: OwnedFd, input: bool) -> Result<Self, Error> {
        put(socket.as_fd(), &Request::Attach { input }.packet()).map_err(Error::Connection)?;
        let mut packet = [0; 2];
        let count = take(socket.as_fd(), &mut packet).map_err(Error::Connection)?;
        match Answer::parse(&packet[..count]) {
            Some(Answer::Done { terminal }) => Ok(Self { socket, terminal }),
            None if count == 0 => Err(Error::Dropped),
            _ => Err(Error::Protocol),
        }
    }

    /// The container has a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Relays until the container ends or the caller leaves. To be called with all signals blocked. `forward` gets those that are for the
    /// container; without it, they end the attaching.
    pub(crate) fn relay(
        self,
        signals: &SignalFd,
        keys: &DetachKeys,
        input: bool,
        forward: Option<&dyn Fn(Signal)>,
    ) -> Result<Left, Error> {
        ioctl_fionbio(&self.socket, true).map_err(Error::Connection)?;
        let raw = if self.terminal && input { RawMode::begin(isatty(stdout()))? } else { None };
        // In the background, reading from the terminal stops us, which is right; blocked, the signal would make it an error instead.
        let blocked = signals::set_mask(SignalSet::ALL).map_err(Error::Signals)?;
        signals::set_mask(blocked.without(Signal::TTIN)).map_err(Error::Signals)?;
        let mut relay = Relay {
            keys: raw.as_ref().map(|_| Watch::new(keys)),
            raw,
            window: if self.terminal { Window::of_the_caller() } else { None },
            outputs: [Output::of(stdout()), Output::of(stderr())],
            outgoing: VecDeque::new(),
            has_input: input,
            shown: vec![0; PACKET].into_boxed_slice(),
            from: 0,
            to: 0,
            stream: Stream::Output,
            socket: self.socket,
        };
        relay.resize();
        loop {
            if let Some(left) = relay.turn(signals, forward)? {
                return Ok(left);
            }
        }
    }
}

struct Relay {
    raw: Option<RawMode>,
    keys: Option<Watch>,
    window: Option<Window>,
    outputs: [Output; 2],
    /// Packets for the monitor; input is read only when there are none.
    outgoing: VecDeque<Vec<u8>>,
    has_input: bool,
    /// A packet of the monitor, of which `from..to` is still to be shown.
    shown: Box<[u8]>,
    from: usize,
    to: usize,
    stream: Stream,
    socket: OwnedFd,
}

impl Relay {
    fn turn(&mut self, signals: &SignalFd, forward: Option<&dyn Fn(Signal)>) -> Result<Option<Left>, Error> {
        let (shows, sends) = (self.from < self.to, !self.outgoing.is_empty());
        let mut of_socket = PollFlags::empty();
        of_socket.set(PollFlags::IN, !shows);
        of_socket.set(PollFlags::OUT, sends);
        // What is not to be waited for gives its place to the signals, asked for nothing.
        let watch = |wanted, fd, flags| {
            if wanted {
                PollFd::from_borrowed_fd(fd, flags)
            } else {
                PollFd::new(signals, PollFlags::empty())
            }
        };
        let output = self.outputs[self.stream.index()].as_fd();
        let mut watched = [
            PollFd::new(signals, PollFlags::IN),
            watch(self.has_input && !sends, stdin(), PollFlags::IN),
            watch(shows, output, PollFlags::OUT),
            watch(!of_socket.is_empty(), self.socket.as_fd(), of_socket),
        ];
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::Wait(errno)),
        }
        let [signalled, typed, writable, answered] = watched.map(|fd| fd.revents());
        if !signalled.is_empty()
            && let Some(left) = self.read_signals(signals, forward)?
        {
            return Ok(Some(left));
        }
        if !typed.is_empty()
            && let Some(left) = self.read_input()
        {
            return Ok(Some(left));
        }
        if answered.contains(PollFlags::OUT) {
            self.send()?;
        }
        if !writable.is_empty()
            && let Some(left) = self.show()
        {
            return Ok(Some(left));
        }
        if !shows && !answered.difference(PollFlags::OUT).is_empty() {
            return self.receive();
        }
        Ok(None)
    }

    fn read_signals(
        &mut self,
        signals: &SignalFd,
        forward: Option<&dyn Fn(Signal)>,
    ) -> Result<Option<Left>, Error> {
        while let Some(signal) = signals.read().map_err(Error::Signals)? {
            match (signal.signal, forward) {
                (Signal::CHILD | Signal::URG, _) => {}
                (Signal::WINCH, _) => self.resize(),
                (Signal::CONT, forward) => {
                    if let Some(raw) = &self.raw {
                        raw.resume()?;
                    }
                    self.resize();
                    if let Some(forward) = forward {
                        forward(Signal::CONT);
                    }
                }
                (signal, Some(forward)) if signal != Signal::HUP => forward(signal),
                (signal, _) => return Ok(Some(Left::Signalled(signal))),
            }
        }
        Ok(None)
    }

    fn resize(&mut self) {
        let Some(size) = self.window.as_ref().and_then(Window::size) else { return };
        self.outgoing.push_back(Request::resize(size).packet());
    }

    fn read_input(&mut self) -> Option<Left> {
        // Room for keys that were held back.
        let mut bytes = [0; PIECE - 256];
        match retry_on_intr(|| read(stdin(), &mut bytes)) {
            Ok(count) if count > 0 => {
                let typed = self.keys.as_mut().map(|keys| keys.look(&bytes[..count]));
                let leaves = typed.as_ref().is_some_and(|typed| typed.leaves);
                let typed = typed.map_or_else(|| bytes[..count].to_vec(), |typed| typed.bytes);
                if !typed.is_empty() {
                    self.outgoing.push_back(Request::Input(&typed).packet());
                }
                if leaves {
                    // What was typed before goes before, as far as there is room.
                    if let Err(error) = self.send() {
                        log::debug!("what was typed last is lost: {error}");
                    }
                    return Some(Left::Detached);
                }
            }
            Err(Errno::AGAIN) => {}
            // A raw terminal has no end but its hangup.
            Ok(_) | Err(_) if self.raw.is_some() => return Some(Left::Detached),
            Ok(_) => self.end_input(),
            Err(errno) => {
                log::warn!("standard input cannot be read: {errno}");
                self.end_input();
            }
        }
        None
    }

    fn end_input(&mut self) {
        self.has_input = false;
        self.outgoing.push_back(Request::EndOfInput.packet());
    }

    fn send(&mut self) -> Result<(), Error> {
        while let Some(packet) = self.outgoing.front() {
            match put(self.socket.as_fd(), packet) {
                Ok(()) => drop(self.outgoing.pop_front()),
                Err(Errno::AGAIN) => return Ok(()),
                // The exit code may be there still.
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    self.outgoing.clear();
                    self.has_input = false;
                    return Ok(());
                }
                Err(errno) => return Err(Error::Connection(errno)),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Left>, Error> {
        let count = match take(self.socket.as_fd(), &mut self.shown) {
            Ok(0) => return Err(Error::Dropped),
            Ok(count) => count,
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(Error::Connection(errno)),
        };
        match Answer::parse(&self.shown[..count]) {
            Some(Answer::Bytes(stream, _)) => {
                (self.stream, self.from, self.to) = (stream, 1, count);
                if self.outputs[stream.index()].never_waits() {
                    return Ok(self.show());
                }
                Ok(None)
            }
            Some(Answer::Ended(code)) => Ok(Some(Left::Ended(code))),
            Some(Answer::Done { .. }) | None => Err(Error::Protocol),
        }
    }

    fn show(&mut self) -> Option<Left> {
        let output = &self.outputs[self.stream.index()];
        let to = self.to.min(self.from.saturating_add(output.at_once()));
        match retry_on_intr(|| write(output, &self.shown[self.from..to])) {
            Ok(count) => self.from += count,
            Err(Errno::AGAIN) => {}
            Err(errno) => {
                log::debug!("nobody reads {} any more: {errno}", self.stream.name());
                return Some(Left::Signalled(Signal::PIPE));
            }
        }
        None
    }
}
