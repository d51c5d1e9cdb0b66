//! Where the tables go: a terminal on which each takes the place of the one before, or anything else, which gets one after the other.
//!
//! No mode of the terminal is changed, no cursor hidden, no other screen taken: there is nothing to be restored, and the last table stays where it
//! was.

use std::env;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use cloison::console::Output;
use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::{Errno, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stdout;
use rustix::termios::tcgetwinsize;

use crate::error::Error;

/// What woke us.
#[derive(Debug)]
pub(super) enum Woken {
    /// The moment has come.
    Time,
    /// The terminal is to be drawn anew.
    Changed,
    /// Nobody reads any more; the code to end with.
    Unread(ExitCode),
    /// A signal that ends us.
    Signal(Signal),
}

/// Standard output, and the signals that are about it.
pub(super) struct Screen {
    signals: SignalFd,
    output: Output,
    terminal: bool,
    /// Tables take each other's place.
    replaces: bool,
    /// How many lines of the last table stand above the cursor.
    drawn: usize,
    /// The size has changed, and with it where the lines are.
    resized: bool,
    /// The first table has been shown.
    begun: bool,
}

impl Screen {
    /// From now on signals that end us, and that we do not ignore, are read by [`wait`](Self::wait).
    pub(super) fn new(tables: bool) -> Result<Self, Error> {
        let terminal = std::io::stdout().is_terminal();
        let replaces = tables && terminal && can_move_cursor();
        let ending = [Signal::INT, Signal::TERM, Signal::HUP];
        let changing = [Signal::WINCH, Signal::CONT];
        let mut wanted = SignalSet::NONE;
        let mut blocked = signals::set_mask(SignalSet::ALL).map_err(Error::Signals)?;
        for signal in ending {
            if !signals::is_ignored(signal).map_err(Error::Signals)? {
                (wanted, blocked) = (wanted.with(signal), blocked.with(signal));
            }
        }
        for signal in changing.into_iter().filter(|_| replaces) {
            (wanted, blocked) = (wanted.with(signal), blocked.with(signal));
        }
        signals::set_mask(blocked).map_err(Error::Signals)?;
        let signals = SignalFd::new(wanted).map_err(Error::Signals)?;
        let output = Output::of(stdout());
        Ok(Self { signals, output, terminal, replaces, drawn: 0, resized: false, begun: false })
    }

    /// How many characters a line may have; none where lines have no end.
    pub(super) fn columns(&self) -> Option<usize> {
        self.terminal.then(|| size().0)
    }

    /// Waits until a moment has come, or something else happens first.
    pub(super) fn wait(&mut self, until: Option<Instant>) -> Result<Woken, Error> {
        loop {
            let timeout = until.map(|until| {
                let left = until.saturating_duration_since(Instant::now());
                let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
                Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() }
            });
            // Nothing is asked of standard output; that it has lost its reader is told all the same.
            let (output, _) = self.poll(PollFlags::empty(), timeout.as_ref())?;
            if let Some(code) = unread(output) {
                return Ok(Woken::Unread(code));
            }
            if let Some(woken) = self.signal()? {
                return Ok(woken);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Woken::Time);
            }
        }
    }

    /// Shows a table's lines. Gives what has interrupted it, if anything has.
    pub(super) fn show(&mut self, mut lines: Vec<String>) -> Result<Option<Woken>, Error> {
        let mut frame = String::new();
        if self.replaces {
            let room = size().1.saturating_sub(1).max(1);
            if lines.len() > room {
                let more = lines.len() - room + 1;
                lines.truncate(room - 1);
                lines.push(format!("\u{2026} and {more} more"));
            }
            if self.resized {
                frame.push_str("\x1b[H\x1b[2J");
            } else if self.drawn > 0 {
                write!(frame, "\r\x1b[{}A", self.drawn).expect("a string takes any text");
            }
            for line in &lines {
                frame.extend(["\x1b[2K", line, "\r\n"]);
            }
            frame.push_str("\x1b[J");
            (self.drawn, self.resized) = (lines.len(), false);
        } else {
            // A blank line tells tables apart; JSON is one line each.
            if self.begun && lines.len() > 1 {
                frame.push('\n');
            }
            for line in &lines {
                frame.extend([line, "\n"]);
            }
        }
        self.begun = true;
        self.write(frame.as_bytes())
    }

    /// Writes without ever waiting in write(2), where a terminal that stands still (Ctrl-S) would keep Ctrl-C from us.
    fn write(&mut self, mut bytes: &[u8]) -> Result<Option<Woken>, Error> {
        while !bytes.is_empty() {
            let (output, signalled) = self.poll(PollFlags::OUT, None)?;
            if !output.is_empty() {
                match rustix::io::write(&self.output, &bytes[..bytes.len().min(self.output.at_once())]) {
                    Ok(written) => bytes = &bytes[written..],
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(Errno::PIPE) => return Ok(unread(PollFlags::ERR).map(Woken::Unread)),
                    Err(Errno::IO) => return Ok(unread(PollFlags::HUP).map(Woken::Unread)),
                    Err(errno) => return Err(Error::Output(errno.into())),
                }
            } else if signalled && let Some(woken @ Woken::Signal(_)) = self.signal()? {
                return Ok(Some(woken));
            }
        }
        Ok(None)
    }

    /// What is ready of standard output, and whether there is a signal.
    fn poll(&self, output: PollFlags, timeout: Option<&Timespec>) -> Result<(PollFlags, bool), Error> {
        let mut descriptors = [PollFd::new(&self.output, output), PollFd::new(&self.signals, PollFlags::IN)];
        match poll(&mut descriptors, timeout) {
            Ok(_) => Ok((descriptors[0].revents(), !descriptors[1].revents().is_empty())),
            Err(Errno::INTR) => Ok((PollFlags::empty(), false)),
            Err(errno) => Err(Error::Output(errno.into())),
        }
    }

    /// The next signal, if there is one.
    fn signal(&mut self) -> Result<Option<Woken>, Error> {
        let Some(info) = self.signals.read().map_err(Error::Signals)? else { return Ok(None) };
        Ok(Some(match info.signal {
            Signal::WINCH => {
                self.resized = true;
                Woken::Changed
            }
            // A shell has written in between, below what was drawn.
            Signal::CONT => {
                self.drawn = 0;
                Woken::Changed
            }
            signal => {
                if self.replaces && signal == Signal::INT {
                    // The terminal has shown ^C where a prompt will stand.
                    self.erase_line();
                }
                Woken::Signal(signal)
            }
        }))
    }

    /// Erases the line of the cursor, if that can be done at once.
    fn erase_line(&self) {
        let ready = self.poll(PollFlags::OUT, Some(&Timespec::default()));
        if ready.is_ok_and(|(output, _)| output == PollFlags::OUT)
            && let Err(errno) = rustix::io::write(&self.output, b"\r\x1b[K")
        {
            log::debug!("the line with ^C stays: {errno}");
        }
    }
}

/// The code to end with when standard output has lost its reader: as a shell tells of a program that `SIGPIPE` or `SIGHUP` has killed.
fn unread(output: PollFlags) -> Option<ExitCode> {
    // A terminal that was hung up has both; a pipe without a reader has an error alone.
    if output.contains(PollFlags::HUP) {
        log::debug!("the terminal has been hung up");
        return Some(ExitCode::from(128 + 1));
    }
    output.contains(PollFlags::ERR).then(|| {
        log::debug!("whoever reads standard output has enough of it");
        ExitCode::from(128 + 13)
    })
}

/// Columns and rows of the terminal; one that does not know has those of old.
fn size() -> (usize, usize) {
    let size = tcgetwinsize(stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// Whether the terminal is one that understands where a cursor is to go.
fn can_move_cursor() -> bool {
    env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}
