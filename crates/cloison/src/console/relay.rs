//! The bytes between the caller's streams and the container's terminal, and the terminal's size.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::{Mode, OFlags, Signal, file, terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::Error;
use super::buffer::{Buffer, Filled};
use super::output::Output;
use super::raw::{RawMode, keep_newlines};

/// How much is still read after the program's end: more than the kernel keeps of a pseudo terminal (64 KiB and a line), less than a
/// process that was left behind could write for ever.
const LAST_OUTPUT: usize = 256 * 1024;

/// Signals that tell of something, and ask nobody to end.
const TIDINGS: [Signal; 4] = [Signal::CHILD, Signal::WINCH, Signal::CONT, Signal::URG];

/// Whether there is still something to relay to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// There is.
    Goes,
    /// The caller's terminal has gone, or nobody reads the output any more. Dropping the relay hangs up the container's terminal.
    HungUp,
}

/// Relays between standard input and output and the master of a terminal. Dropped, it gives the caller's terminal back as it was, and
/// hangs up the container's.
#[derive(Debug)]
pub(crate) struct Relay {
    raw: Option<RawMode>,
    master: OwnedFd,
    /// The other side. As long as we hold it, the master sees no end: not when the program closes its terminal and opens it again, nor
    /// when it hangs it up before, as `systemd` and `agetty` do (vhangup(2)).
    _other_side: Option<OwnedFd>,
    output: Output,
    /// Which of the caller's terminals tells the size.
    window: Option<Window>,
    input_ended: bool,
    to_container: Buffer,
    to_caller: Buffer,
}

impl Relay {
    /// Prepares both terminals. To be called with all signals blocked, and before the program starts.
    pub(crate) fn begin(master: OwnedFd) -> Result<Self, Error> {
        let other_side = terminal::open_terminal(master.as_fd()).map_err(Error::Prepare)?;
        Self::prepare(master, Some(other_side))
    }

    /// The same for a terminal of a container that is not ours: that nobody has its other side open is its end.
    pub(crate) fn of_another(master: OwnedFd) -> Result<Self, Error> {
        Self::prepare(master, None)
    }

    fn prepare(master: OwnedFd, other_side: Option<OwnedFd>) -> Result<Self, Error> {
        rustix::io::ioctl_fionbio(&master, true).map_err(Error::Prepare)?;
        let both = isatty(stdin()) && isatty(stdout());
        if !both {
            let mut mode = tcgetattr(&master).map_err(Error::Prepare)?;
            keep_newlines(&mut mode);
            tcsetattr(&master, OptionalActions::Now, &mode).map_err(Error::Prepare)?;
        }
        let relay = Self {
            raw: RawMode::begin(both)?,
            master,
            _other_side: other_side,
            output: Output::of(stdout()),
            window: Window::of_the_caller(),
            input_ended: false,
            to_container: Buffer::new(),
            to_caller: Buffer::new(),
        };
        // In the background, reading from the terminal stops us, which is right; blocked, the signal would make it an error instead.
        let blocked = signals::set_mask(SignalSet::ALL).map_err(Error::Signals)?;
        signals::set_mask(blocked.without(Signal::TTIN)).map_err(Error::Signals)?;
        if relay.has_no_size() {
            relay.resize();
        }
        Ok(relay)
    }

    /// Waits for a signal or for bytes, for something to be read from `also`, and no longer than `patience`, and moves the bytes. Signals are left to the caller of this.
    pub(crate) fn turn(
        &mut self,
        signals: &SignalFd,
        patience: Option<&Timespec>,
        also: Option<BorrowedFd<'_>>,
    ) -> Result<Flow, Error> {
        let from_input = !self.input_ended && self.to_container.is_empty();
        let to_output = !self.to_caller.is_empty();
        let mut of_master = PollFlags::empty();
        of_master.set(PollFlags::IN, !to_output);
        of_master.set(PollFlags::OUT, !self.to_container.is_empty());
        // What is not to be waited for gives its place to the signals, asked for nothing.
        let watch = |fd, flags: PollFlags| {
            PollFd::from_borrowed_fd(if flags.is_empty() { signals.as_fd() } else { fd }, flags)
        };
        let flag_if = |wanted, flag| if wanted { flag } else { PollFlags::empty() };
        let mut watched = [
            PollFd::new(signals, PollFlags::IN),
            watch(stdin(), flag_if(from_input, PollFlags::IN)),
            watch(self.output.as_fd(), flag_if(to_output, PollFlags::OUT)),
            watch(self.master.as_fd(), of_master),
            watch(also.unwrap_or(signals.as_fd()), flag_if(also.is_some(), PollFlags::IN)),
        ];
        wait(&mut watched, patience)?;
        let [_, input, output, master, _] = watched.map(|fd| fd.revents());

        if master.contains(PollFlags::OUT) {
            self.write_to_container()?;
        }
        if !input.is_empty() && self.read_from_caller()? == Flow::HungUp {
            return Ok(Flow::HungUp);
        }
        if !output.is_empty() && self.write_to_caller() == Flow::HungUp {
            return Ok(Flow::HungUp);
        }
        if !master.is_empty() && self.to_caller.is_empty() {
            return self.read_from_container();
        }
        Ok(Flow::Goes)
    }

    /// The container's terminal gets the size of the caller's, and its programs are told.
    pub(crate) fn resize(&self) {
        // A terminal of no size is one that does not know its size.
        let Some(size) = self.window.as_ref().and_then(Window::size).filter(|size| !is_zero(*size)) else {
            return;
        };
        if let Err(errno) = tcsetwinsize(&self.master, size) {
            log::debug!("the container's terminal keeps its size: {errno}");
        }
    }

    /// After we were stopped and continued: a shell may have used the terminal meanwhile.
    pub(crate) fn resume(&self) {
        self.resize();
        if let Some(Err(error)) = self.raw.as_ref().map(RawMode::resume) {
            log::warn!("{error}");
        }
    }

    /// After the program's end: writes what it has left in its terminal. A signal that would end us ends the waiting for a caller who
    /// does not read.
    pub(crate) fn finish(mut self, signals: &SignalFd) -> Result<(), Error> {
        let mut may_come = LAST_OUTPUT;
        loop {
            if self.to_caller.is_empty() {
                // The kernel brings over all that was written before it says that there is nothing (Linux 4.5).
                match self.to_caller.fill(self.master.as_fd()) {
                    Ok(Filled::Bytes(count)) if count <= may_come => may_come -= count,
                    Ok(_) | Err(Errno::IO) => return Ok(()),
                    Err(errno) => return Err(Error::Read(errno)),
                }
            }
            let mut watched = [
                PollFd::new(signals, PollFlags::IN),
                PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::OUT),
            ];
            wait(&mut watched, None)?;
            let [signalled, writable] = watched.map(|fd| !fd.revents().is_empty());
            if writable && self.write_to_caller() == Flow::HungUp {
                return Ok(());
            }
            if signalled && asked_to_end(signals)? {
                log::debug!("the last output was not written: nobody read it");
                return Ok(());
            }
        }
    }

    fn read_from_caller(&mut self) -> Result<Flow, Error> {
        match self.to_container.fill(stdin()) {
            Ok(Filled::Bytes(_)) => self.write_to_container()?,
            Ok(Filled::Nothing) => {}
            // A raw terminal has no end but its hangup. Any other input just ends: the container's terminal goes on without one.
            Ok(Filled::End) | Err(_) if self.raw.is_some() => return Ok(Flow::HungUp),
            Ok(Filled::End) => self.input_ended = true,
            Err(errno) => {
                log::warn!("standard input cannot be read: {errno}");
                self.input_ended = true;
            }
        }
        Ok(Flow::Goes)
    }

    fn write_to_container(&mut self) -> Result<(), Error> {
        self.to_container.drain(self.master.as_fd(), usize::MAX).map_err(Error::Write)
    }

    fn read_from_container(&mut self) -> Result<Flow, Error> {
        match self.to_caller.fill(self.master.as_fd()) {
            Ok(Filled::Bytes(_)) if self.output.never_waits() => return Ok(self.write_to_caller()),
            Ok(Filled::Bytes(_) | Filled::Nothing) => {}
            Ok(Filled::End) | Err(Errno::IO) => return Ok(Flow::HungUp),
            Err(errno) => return Err(Error::Read(errno)),
        }
        Ok(Flow::Goes)
    }

    fn write_to_caller(&mut self) -> Flow {
        let Err(errno) = self.to_caller.drain(self.output.as_fd(), self.output.at_once()) else {
            return Flow::Goes;
        };
        match errno {
            // As a program that ignores SIGPIPE has it: no trouble worth a word.
            Errno::PIPE | Errno::IO => log::debug!("nobody reads standard output any more: {errno}"),
            errno => log::warn!("standard output takes no more: {errno}"),
        }
        Flow::HungUp
    }

    fn has_no_size(&self) -> bool {
        tcgetwinsize(&self.master).is_ok_and(is_zero)
    }
}

fn is_zero(size: Winsize) -> bool {
    size.ws_col == 0 || size.ws_row == 0
}

fn wait(watched: &mut [PollFd<'_>], patience: Option<&Timespec>) -> Result<(), Error> {
    match poll(watched, patience) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Error::Wait(errno)),
    }
}

fn asked_to_end(signals: &SignalFd) -> Result<bool, Error> {
    while let Some(signal) = signals.read().map_err(Error::Signals)? {
        if !TIDINGS.contains(&signal.signal) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the caller looks at the output: one of the standard streams, else the terminal of the session.
#[derive(Debug)]
pub(crate) enum Window {
    Stream(BorrowedFd<'static>),
    Session(OwnedFd),
}

impl Window {
    pub(crate) fn of_the_caller() -> Option<Self> {
        let streams = [stdout(), stderr(), stdin()];
        let stream = streams.into_iter().find(|stream| isatty(stream)).map(Self::Stream);
        stream.or_else(|| {
            let session = file::open(Path::new("/dev/tty"), OFlags::RDONLY | OFlags::NOCTTY, Mode::empty());
            session.ok().map(Self::Session)
        })
    }

    pub(crate) fn size(&self) -> Option<Winsize> {
        match self {
            Self::Stream(stream) => tcgetwinsize(stream),
            Self::Session(session) => tcgetwinsize(session),
        }
        .ok()
    }
}
