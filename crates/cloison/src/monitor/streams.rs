//! A container's standard streams as its keeper has them: the other ends of three pipes, or the master of a terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloison_linux::terminal;
use rustix::fs::{Gid, Uid, fchown};
use rustix::io::{Errno, ioctl_fionbio, read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Error;
use super::protocol::Stream;

/// The container's ends of three pipes: standard input, output and error.
#[derive(Debug)]
pub(crate) struct Ends([OwnedFd; 3]);

impl Ends {
    /// In the order of their numbers.
    pub(crate) fn as_fds(&self) -> [BorrowedFd<'_>; 3] {
        self.0.each_ref().map(AsFd::as_fd)
    }
}

/// The keeper's side.
#[derive(Debug)]
pub(crate) struct Streams {
    /// None once it is closed.
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
    /// The terminal's other side. As long as we hold it the master sees no end, whatever programs do with their terminal.
    other_side: Option<OwnedFd>,
}

/// What a reading gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing at the moment.
    Nothing,
    /// Nothing any more.
    End,
}

impl Streams {
    /// Three pipes. The container's ends belong to `owner`, who could not open them again (`/dev/stdout`) otherwise. An ordinary user can
    /// give nothing away: then the init does so, for whom the pipes are root's, in the container's user namespace.
    pub(crate) fn pipes(owner: Option<u32>) -> Result<(Self, Ends), Error> {
        let make = || pipe_with(PipeFlags::CLOEXEC).map_err(Error::Streams);
        let ((their_input, input), (output, their_output), (errors, their_errors)) =
            (make()?, make()?, make()?);
        for ours in [&input, &output, &errors] {
            ioctl_fionbio(ours, true).map_err(Error::Streams)?;
        }
        let ends = Ends([their_input, their_output, their_errors]);
        if let Some(uid) = owner {
            for end in ends.as_fds() {
                match fchown(end, Some(Uid::from_raw(uid)), None::<Gid>) {
                    Err(Errno::PERM) => log::debug!("the init gives the streams to uid {uid}"),
                    given => given.map_err(Error::Streams)?,
                }
            }
        }
        Ok((Self { input: Some(input), outputs: [Some(output), Some(errors)], other_side: None }, ends))
    }

    /// A terminal.
    pub(crate) fn terminal(master: OwnedFd) -> Result<Self, Error> {
        ioctl_fionbio(&master, true).map_err(Error::Streams)?;
        let other_side = Some(terminal::open_terminal(master.as_fd()).map_err(Error::Streams)?);
        let input = Some(
            master
                .try_clone()
                .map_err(|error| Error::Streams(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?,
        );
        Ok(Self { input, outputs: [Some(master), None], other_side })
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.other_side.is_some()
    }

    /// Where to write to; none once it is closed.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(AsFd::as_fd)
    }

    /// Where to read from; none once it has ended.
    pub(super) fn output(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        self.outputs[stream.index()].as_ref().map(AsFd::as_fd)
    }

    pub(super) fn have_ended(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// Reads once. After the end, or an error, there is nothing to be read any more.
    pub(super) fn read(&mut self, stream: Stream, bytes: &mut [u8]) -> Read {
        let Some(source) = &self.outputs[stream.index()] else { return Read::End };
        match retry_on_intr(|| read(source, &mut *bytes)) {
            Ok(count) if count > 0 => return Read::Bytes(count),
            Err(Errno::AGAIN) => return Read::Nothing,
            Ok(_) => {}
            // EIO: the terminal was hung up.
            Err(errno) => log::debug!("{} ends: {errno}", stream.name()),
        }
        self.outputs[stream.index()] = None;
        Read::End
    }

    /// Whatever may still come is nobody's business.
    pub(super) fn close_output(&mut self, stream: Stream) {
        self.outputs[stream.index()] = None;
    }

    /// Writes once; how many bytes were taken. What nobody will read any more counts as taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(input) = &self.input else { return bytes.len() };
        match retry_on_intr(|| write(input, bytes)) {
            Ok(count) => count,
            Err(Errno::AGAIN) => 0,
            Err(errno) => {
                log::debug!("the container takes no more input: {errno}");
                self.input = None;
                bytes.len()
            }
        }
    }

    /// The program sees the end of its standard input. A terminal has none but the key for it.
    pub(super) fn end_input(&mut self) {
        if !self.is_terminal() {
            self.input = None;
        }
    }

    /// A terminal of no size is one that does not know its size, and changes nothing.
    pub(super) fn resize(&self, columns: u16, rows: u16) {
        let (Some(_), Some(master)) = (&self.other_side, &self.outputs[0]) else { return };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        if columns > 0
            && rows > 0
            && let Err(errno) = tcsetwinsize(master, size)
        {
            log::debug!("the container's terminal keeps its size: {errno}");
        }
    }
}
