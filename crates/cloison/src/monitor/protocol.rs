//! What the monitor and its clients say to each other: packets of a `SOCK_SEQPACKET` socket, whose first byte says what the others are.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::termios::Winsize;

/// How many bytes of a stream go in one packet: four times what a pseudo terminal gives at once.
pub(crate) const PIECE: usize = 16 * 1024;

/// The longest packet.
pub(crate) const PACKET: usize = 1 + PIECE;

/// One of the container's two streams. A terminal has the first one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
}

impl Stream {
    /// Its name in a log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        }
    }

    /// Its place in a pair.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Output => 0,
            Self::Error => 1,
        }
    }

    /// The first byte of a packet with bytes of this stream.
    pub(crate) fn tag(self) -> u8 {
        match self {
            Self::Output => b'o',
            Self::Error => b'e',
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// The container's output from now on; and whether input will come.
    Attach {
        /// It will.
        input: bool,
    },
    /// The exit code alone.
    Wait,
    /// Bytes for standard input.
    Input(&'a [u8]),
    /// There will be no more of them.
    EndOfInput,
    /// The size of the terminal: columns, rows.
    Resize(u16, u16),
}

impl<'a> Request<'a> {
    /// Reads a packet; none if it is no request.
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet {
            [b'A', input @ (0 | 1)] => Some(Self::Attach { input: *input == 1 }),
            [b'W'] => Some(Self::Wait),
            [b'I', bytes @ ..] => Some(Self::Input(bytes)),
            [b'E'] => Some(Self::EndOfInput),
            [b'R', a, b, c, d] => {
                Some(Self::Resize(u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])))
            }
            _ => None,
        }
    }

    /// The packet.
    pub(crate) fn packet(self) -> Vec<u8> {
        match self {
            Self::Attach { input } => vec![b'A', u8::from(input)],
            Self::Wait => vec![b'W'],
            Self::Input(bytes) => [b"I", bytes].concat(),
            Self::EndOfInput => vec![b'E'],
            Self::Resize(columns, rows) => [b"R", &columns.to_le_bytes()[..], &rows.to_le_bytes()].concat(),
        }
    }

    /// The request for a window of this size.
    pub(crate) fn resize(size: Winsize) -> Self {
        Self::Resize(size.ws_col, size.ws_row)
    }
}

/// What the monitor answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// To [`Request::Attach`] and [`Request::Resize`]: whether the container has a terminal.
    Done {
        /// It has.
        terminal: bool,
    },
    /// Bytes of a stream.
    Bytes(Stream, &'a [u8]),
    /// The container has ended with this code. The last packet.
    Ended(u8),
}

impl<'a> Answer<'a> {
    /// Reads a packet; none if it is no answer.
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet {
            [b'D', terminal @ (0 | 1)] => Some(Self::Done { terminal: *terminal == 1 }),
            [b'o', bytes @ ..] => Some(Self::Bytes(Stream::Output, bytes)),
            [b'e', bytes @ ..] => Some(Self::Bytes(Stream::Error, bytes)),
            [b'X', code] => Some(Self::Ended(*code)),
            _ => None,
        }
    }

    /// The packet of an answer without bytes of a stream, which are sent from where they lie.
    pub(crate) fn short_packet(self) -> [u8; 2] {
        match self {
            Self::Done { terminal } => [b'D', u8::from(terminal)],
            Self::Ended(code) => [b'X', code],
            Self::Bytes(stream, _) => [stream.tag(), 0],
        }
    }
}

/// Sends a packet, and never waits on a socket that is non-blocking: `EAGAIN`.
pub(crate) fn put(socket: BorrowedFd<'_>, packet: &[u8]) -> Result<(), Errno> {
    let sent = retry_on_intr(|| send(socket, packet, SendFlags::NOSIGNAL))?;
    if sent == packet.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// Receives a packet; no bytes at the end of the connection.
pub(crate) fn take(socket: BorrowedFd<'_>, packet: &mut [u8]) -> Result<usize, Errno> {
    // A longer packet than any of ours is cut off, and then no request.
    match retry_on_intr(|| recv(socket, &mut *packet, RecvFlags::empty())) {
        Ok((count, _)) => Ok(count),
        Err(Errno::CONNRESET | Errno::PIPE) => Ok(0),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_read_as_they_were_written() {
        let requests = [
            Request::Attach { input: true },
            Request::Attach { input: false },
            Request::Wait,
            Request::Input(b""),
            Request::Input(b"\0A"),
            Request::EndOfInput,
            Request::Resize(80, 0x1234),
        ];
        for request in requests {
            assert_eq!(Request::parse(&request.packet()), Some(request));
        }
        for answer in [Answer::Done { terminal: true }, Answer::Done { terminal: false }, Answer::Ended(137)]
        {
            assert_eq!(Answer::parse(&answer.short_packet()), Some(answer));
        }
        assert_eq!(Answer::parse(b"oabc"), Some(Answer::Bytes(Stream::Output, b"abc")));
        assert_eq!(Answer::parse(b"e"), Some(Answer::Bytes(Stream::Error, b"")));
    }

    #[test]
    fn what_is_no_packet_of_ours_is_none() {
        for packet in [&b""[..], b"A", b"A\x02", b"W1", b"R123", b"R12345", b"E!", b"?"] {
            assert_eq!(Request::parse(packet), None, "{packet:?}");
        }
        for packet in [&b""[..], b"D", b"X", b"X12", b"?"] {
            assert_eq!(Answer::parse(packet), None, "{packet:?}");
        }
    }
}
