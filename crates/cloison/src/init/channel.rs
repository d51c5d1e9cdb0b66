//! What the init and the runtime say to each other, over one `SOCK_SEQPACKET` socket. Each message is one packet; its first byte says
//! what it is.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloison_linux::launch;
use cloison_linux::socket::Message;
use cloison_linux::{Errno, Kernel};

/// What the runtime tells the init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToInit {
    /// The id maps are written.
    Mapped,
    /// The state is saved: go on to the program, or wait for `start`.
    Committed,
    /// Start the program.
    Start,
}

impl ToInit {
    const ALL: [Self; 3] = [Self::Mapped, Self::Committed, Self::Start];

    /// What is sent for it.
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Mapped => b'm',
            Self::Committed => b'c',
            Self::Start => b's',
        }
    }

    /// Sends it.
    pub fn send(self, kernel: &dyn Kernel, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        kernel.send(socket, &[self.byte()], None)
    }

    /// Receives one; none at the end of the stream.
    pub fn receive(kernel: &dyn Kernel, socket: BorrowedFd<'_>) -> Result<Option<Self>, Errno> {
        let message = kernel.receive(socket)?;
        let Some(first) = message.bytes.first() else { return Ok(None) };
        Self::ALL.into_iter().find(|message| message.byte() == *first).map(Some).ok_or(Errno::PROTO)
    }
}

/// What the init tells the runtime.
#[derive(Debug)]
pub enum FromInit {
    /// The init's pidfd and its process id as the runtime sees it, from the parent that it needed to join a user namespace.
    Process(i32, OwnedFd),
    /// The master of the container's terminal.
    Terminal(OwnedFd),
    /// Everything is made; only the program is missing.
    Ready,
    /// A step has failed, and the init is gone.
    Failed(Failure),
    /// A step of the launch has failed, and the init is gone.
    LaunchFailed(launch::Failure),
    /// The end of the stream: the program runs, or the init has died.
    End,
}

const PROCESS: u8 = b'p';
const TERMINAL: u8 = b't';
/// Said by the launch.
pub(super) const READY: u8 = b'r';
const FAILED: u8 = b'f';

/// Fills a failure up so that it is never as short as a report of the launch, which has no first byte of its own.
const PADDING: [u8; 4] = [0; 4];

/// Why an init failed: the errno if there is one, and the sentences of the chain of causes, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The errno of the innermost cause.
    pub errno: Option<i32>,
    /// What failed, then why.
    pub causes: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.causes.join(": "))
    }
}

impl std::error::Error for Failure {}

impl FromInit {
    /// Hands over the terminal's master.
    pub fn send_terminal(
        kernel: &dyn Kernel,
        socket: BorrowedFd<'_>,
        master: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        kernel.send(socket, &[TERMINAL], Some(master))
    }

    /// Hands over the init itself.
    pub fn send_process(
        kernel: &dyn Kernel,
        socket: BorrowedFd<'_>,
        pid: i32,
        pidfd: &OwnedFd,
    ) -> Result<(), Errno> {
        let mut bytes = vec![PROCESS];
        bytes.extend(pid.to_le_bytes());
        kernel.send(socket, &bytes, Some(pidfd.as_fd()))
    }

    /// Tells what has failed.
    pub fn send_failure(kernel: &dyn Kernel, socket: BorrowedFd<'_>, failure: &Failure) -> Result<(), Errno> {
        let mut bytes = vec![FAILED];
        bytes.extend(failure.errno.unwrap_or(0).to_le_bytes());
        bytes.extend(PADDING);
        bytes.extend(failure.causes.join("\0").as_bytes());
        kernel.send(socket, &bytes, None)
    }

    /// Receives one message.
    pub fn receive(kernel: &dyn Kernel, socket: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::decode(match kernel.receive(socket) {
            // The init has been killed while something for it was still in the socket.
            Err(Errno::CONNRESET) => return Ok(Self::End),
            done => done?,
        })
    }

    fn decode(message: Message) -> Result<Self, Errno> {
        let Message { bytes, fd } = message;
        if let Some(failure) = launch::Failure::from_bytes(&bytes) {
            return Ok(Self::LaunchFailed(failure));
        }
        let number =
            |bytes: &[u8]| bytes.get(1..5).and_then(|four| four.try_into().ok()).map(i32::from_le_bytes);
        match (bytes.first(), fd) {
            (None, _) => Ok(Self::End),
            (Some(&READY), _) => Ok(Self::Ready),
            (Some(&TERMINAL), Some(fd)) => Ok(Self::Terminal(fd)),
            (Some(&PROCESS), Some(fd)) => Ok(Self::Process(number(&bytes).ok_or(Errno::PROTO)?, fd)),
            (Some(&FAILED), _) => {
                let errno = number(&bytes).ok_or(Errno::PROTO)?;
                let text = bytes.get(5 + PADDING.len()..).unwrap_or_default();
                let text = String::from_utf8_lossy(text).into_owned();
                let causes = text.split('\0').map(str::to_owned).collect();
                Ok(Self::Failed(Failure { errno: (errno != 0).then_some(errno), causes }))
            }
            _ => Err(Errno::PROTO),
        }
    }
}
