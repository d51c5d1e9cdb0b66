//! The monitor's loop.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use cloison_linux::process::{self, Ending};
use cloison_linux::signals::SignalFd;
use cloison_linux::{Pid, Signal, memory};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::clients::{Clients, PATIENCE};
use super::deadline::{Countdown, Deadline, TIMED_OUT, until};
use super::protocol::{Answer, PACKET, Request, Stream, take};
use super::streams::{Read, Streams};
use super::{Error, LogFile};
use crate::notify::Notify;
use crate::state::{Exit, Timestamp, View};

/// How much is still read after the end of the first process: more than a pipe holds that was made larger, less than a process that was left
/// behind could write for ever.
const LAST_OUTPUT: usize = 2 << 20;

/// How long nothing happens before the monitor makes itself as small as it can.
const QUIET: Duration = Duration::from_secs(1);

/// What the monitor was given to keep.
#[derive(Debug)]
pub(crate) struct Charge {
    /// The container's first process, our child.
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) streams: Streams,
    pub(crate) log: Option<LogFile>,
    pub(crate) listener: OwnedFd,
    pub(crate) deadline: Option<Deadline>,
    /// The container's directory, for the exit code.
    pub(crate) view: View,
    /// What the container tells a service manager.
    pub(crate) notify: Option<Notify>,
    /// All signals are blocked, and come here.
    pub(crate) signals: SignalFd,
}

/// Keeps a container until it has ended, all that it wrote has been given on, and its exit code is known to all who wait for it.
pub(crate) fn serve(charge: Charge) -> Result<(), Error> {
    Monitor::new(charge).run()
}

struct Monitor {
    charge: Charge,
    countdown: Countdown,
    clients: Clients,
    /// The piece of output that is under way: a packet, with its tag.
    piece: Box<[u8]>,
    /// Its length; 0 for none.
    length: usize,
    /// Which stream is read first, so that neither starves the other.
    first: Stream,
    /// What a client sent: a packet, of which `from..to` is still to be written.
    typed: Box<[u8]>,
    from: usize,
    to: usize,
    /// Its standard input is closed as soon as what was typed is written.
    input_ends: bool,
    ending: Option<(Ending, Timestamp)>,
    may_come: usize,
    /// The container is being deleted: nobody is waited for any more.
    hurry: bool,
    /// Nothing has happened since the monitor has made itself small.
    rests: bool,
}

/// Whose descriptor was watched.
#[derive(Clone, Copy)]
enum Watched {
    Signals,
    Listener,
    Output(Stream),
    Input,
    Notify,
    Client(usize),
}

impl Monitor {
    fn new(charge: Charge) -> Self {
        Self {
            countdown: Countdown::start(charge.deadline),
            charge,
            clients: Clients::default(),
            piece: vec![0; PACKET].into_boxed_slice(),
            length: 0,
            first: Stream::Output,
            typed: vec![0; PACKET].into_boxed_slice(),
            from: 0,
            to: 0,
            input_ends: false,
            ending: None,
            may_come: LAST_OUTPUT,
            hurry: false,
            rests: false,
        }
    }

    fn run(mut self) -> Result<(), Error> {
        // Most of the runtime was only needed to make the container.
        self.rest();
        // The container may have ended before its signal could be read.
        self.reap()?;
        while self.ending.is_none() || self.length > 0 || !self.charge.streams.have_ended() {
            self.turn()?;
        }
        self.tell_the_end()
    }

    fn turn(&mut self) -> Result<(), Error> {
        if self.ending.is_some() && self.length == 0 {
            // Without waiting: what is not there now will not come.
            self.read_the_rest();
            return Ok(());
        }
        let ready = self.wait()?;
        for (whose, what) in ready {
            match whose {
                Watched::Signals => self.read_signals()?,
                Watched::Listener => self.clients.let_in(self.charge.listener.as_fd()),
                Watched::Output(stream) if self.length == 0 => {
                    self.read(stream);
                }
                Watched::Input => self.write_input(),
                Watched::Notify => self.pass_on(),
                Watched::Client(number) => self.hear(number, what),
                Watched::Output(_) => {}
            }
        }
        if self.ending.is_none() {
            self.countdown.act(self.charge.pidfd.as_fd());
        }
        if self.length > 0 {
            self.give();
        }
        self.clients.forget();
        self.end_input_if_nobody_types();
        Ok(())
    }

    /// Waits for anything that can be dealt with now.
    fn wait(&mut self) -> Result<Vec<(Watched, PollFlags)>, Error> {
        let mut watched = Vec::with_capacity(8 + self.clients.all.len());
        let streams = &self.charge.streams;
        watched.push((Watched::Signals, self.charge.signals.as_fd(), PollFlags::IN));
        watched.push((Watched::Listener, self.charge.listener.as_fd(), PollFlags::IN));
        if self.length == 0 {
            let other = if self.first == Stream::Output { Stream::Error } else { Stream::Output };
            for stream in [self.first, other] {
                watched.extend(streams.output(stream).map(|fd| (Watched::Output(stream), fd, PollFlags::IN)));
            }
        }
        watched.extend(
            self.charge.notify.as_ref().map(|notify| (Watched::Notify, notify.as_fd(), PollFlags::IN)),
        );
        let is_full = self.from < self.to;
        if is_full {
            watched.extend(streams.input().map(|fd| (Watched::Input, fd, PollFlags::OUT)));
        }
        for (number, peer) in self.clients.all.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !is_full);
            flags.set(PollFlags::OUT, self.length > 0 && peer.owes());
            // Whoever has hung up says so again and again; what it sent before is read when there is room.
            if !(flags.is_empty() && peer.hung_up) {
                watched.push((Watched::Client(number), peer.as_fd(), flags));
            }
        }
        let mut fds: Vec<_> = watched
            .iter()
            .map(|(_, fd, flags): &(Watched, BorrowedFd<'_>, _)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let countdown = self.countdown.next().filter(|_| self.ending.is_none());
        let deadlines = [countdown, self.clients.next_deadline(self.patience())];
        let quiet = (!self.rests).then(|| Instant::now() + QUIET);
        let timeout = deadlines.into_iter().chain([quiet]).flatten().min().map(until);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::Wait(errno)),
        }
        let answers = watched.iter().zip(&fds).map(|((whose, ..), fd)| (*whose, fd.revents()));
        let answers: Vec<_> = answers.filter(|(_, what)| !what.is_empty()).collect();
        drop(fds);
        self.rests &= answers.is_empty();
        if quiet.is_some_and(|quiet| Instant::now() >= quiet) && answers.is_empty() {
            self.rest();
        }
        Ok(answers)
    }

    /// Makes the monitor small.
    fn rest(&mut self) {
        if let Err(errno) = memory::give_back() {
            log::debug!("the monitor is larger than it need be: {errno}");
        }
        self.rests = true;
    }

    fn patience(&self) -> Duration {
        if self.hurry { Duration::ZERO } else { PATIENCE }
    }

    fn read_signals(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.charge.signals.read().map_err(Error::Signals)? {
            match signal.signal {
                Signal::CHILD => self.reap()?,
                // From `delete`. Others who want to end the monitor want to end the container first.
                Signal::TERM => self.hurry = true,
                signal => log::debug!("signal {} is nothing to a monitor", signal.as_raw()),
            }
        }
        Ok(())
    }

    /// Reaps the container's first process, and all orphans that were given to us.
    fn reap(&mut self) -> Result<(), Error> {
        loop {
            match process::reap() {
                Ok(Some((pid, ending))) if pid == self.charge.pid => {
                    self.ending = Some((ending, Timestamp::now()));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(Error::Wait(errno)),
            }
        }
    }

    /// Reads a piece of a stream, keeps it in the log, and begins to give it to all who are attached.
    fn read(&mut self, stream: Stream) -> Read {
        let read = self.charge.streams.read(stream, &mut self.piece[1..]);
        if let Read::Bytes(count) = read {
            self.piece[0] = stream.tag();
            self.length = 1 + count;
            self.first = if stream == Stream::Output { Stream::Error } else { Stream::Output };
            if let Some(log) = &mut self.charge.log {
                log.keep(stream, &self.piece[1..=count]);
            }
            self.clients.owe_output();
        }
        read
    }

    fn pass_on(&mut self) {
        if let Some(notify) = &mut self.charge.notify {
            notify.pass_on();
        }
    }

    fn give(&mut self) {
        let patience = self.patience();
        self.clients.give(&self.piece[..self.length], patience);
        if self.clients.all_have_it() {
            self.length = 0;
        }
    }

    /// After the end: what is still in the pipes, or in the terminal.
    fn read_the_rest(&mut self) {
        for stream in [Stream::Output, Stream::Error] {
            match self.read(stream) {
                Read::Bytes(count) if count <= self.may_come => {
                    self.may_come -= count;
                    self.give();
                    return;
                }
                Read::Bytes(_) | Read::Nothing => self.charge.streams.close_output(stream),
                Read::End => {}
            }
        }
    }

    fn write_input(&mut self) {
        self.from += self.charge.streams.write(&self.typed[self.from..self.to]);
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }

    fn end_input_if_nobody_types(&mut self) {
        if self.input_ends && self.from == self.to {
            self.input_ends = false;
            if !self.clients.have_input() {
                self.charge.streams.end_input();
            }
        }
    }

    /// Deals with one packet of a client.
    fn hear(&mut self, number: usize, what: PollFlags) {
        let Some(peer) = self.clients.all.get_mut(number) else { return };
        if what.intersects(PollFlags::HUP | PollFlags::ERR) {
            peer.hung_up = true;
        }
        if self.from < self.to || !what.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        let count = match take(peer.as_fd(), &mut self.typed) {
            Ok(count) => count,
            Err(Errno::AGAIN) => return,
            Err(errno) => {
                log::debug!("a client has gone: {errno}");
                0
            }
        };
        if count == 0 {
            return peer.drop_it();
        }
        let terminal = self.charge.streams.is_terminal();
        match Request::parse(&self.typed[..count]) {
            Some(Request::Attach { input }) => {
                peer.attach(input);
                peer.answer(Answer::Done { terminal });
            }
            Some(Request::Wait) => peer.wait(),
            Some(Request::Input(_)) if peer.may_send_input() => {
                (self.from, self.to) = (1, count);
                self.write_input();
            }
            Some(Request::EndOfInput) => {
                peer.end_input();
                self.input_ends = true;
            }
            Some(Request::Resize(columns, rows)) => {
                self.charge.streams.resize(columns, rows);
                if !peer.is_attached() {
                    peer.answer(Answer::Done { terminal });
                }
            }
            Some(Request::Input(_)) | None => {
                log::debug!("dropped a client that does not follow the protocol");
                peer.drop_it();
            }
        }
    }

    /// The code is in the state directory before anybody hears of it.
    fn tell_the_end(mut self) -> Result<(), Error> {
        let Some((ending, time)) = self.ending.take() else { return Ok(()) };
        self.pass_on();
        if let Some(log) = &mut self.charge.log {
            log.finish();
        }
        let timed_out = self.countdown.has_run_out();
        let code = u8::try_from(ending.exit_code()).unwrap_or(u8::MAX);
        let signal = match ending {
            Ending::Killed(signal) => Some(signal),
            Ending::Exited(_) => None,
        };
        let code = if timed_out { TIMED_OUT } else { code };
        let exit = Exit { code, signal, timed_out, time };
        if let Err(error) = self.charge.view.save_exit(&exit) {
            log::warn!("the exit code is not kept: {error}");
        }
        // Those at the door ask for nothing but this.
        while readable(self.charge.listener.as_fd()) {
            self.clients.let_in(self.charge.listener.as_fd());
        }
        for number in 0..self.clients.all.len() {
            (self.from, self.to) = (0, 0);
            self.hear(number, PollFlags::IN);
        }
        self.clients.owe_code();
        let packet = Answer::Ended(code).short_packet();
        loop {
            let patience = self.patience();
            self.clients.give(&packet, patience);
            if self.clients.all_have_it() {
                return Ok(());
            }
            self.wait_for_the_slow()?;
            self.read_signals()?;
        }
    }

    /// Nothing is heard any more, only given.
    fn wait_for_the_slow(&self) -> Result<(), Error> {
        let slow = self.clients.all.iter().filter(|peer| peer.owes());
        let mut fds: Vec<_> = slow.map(|peer| PollFd::new(peer, PollFlags::OUT)).collect();
        fds.push(PollFd::new(&self.charge.signals, PollFlags::IN));
        let timeout = self.clients.next_deadline(self.patience()).map(until);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::Wait(errno)),
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&Timespec::default()))
        .is_ok_and(|count| count > 0)
}
