//! What the init and the runtime say to each other, over one `SOCK_SEQPACKET` socket. Each message is one packet; its first byte says
//! what it is.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use cloison_linux::launch;
use cloison_linux::socket::Message;
use cloison_linux::{Errno, Kernel};

use crate::plan::seccomp;

/// What the runtime tells the init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToInit {
    /// The process that will start the init is in its cgroup.
    Placed,
    /// The id maps are written, or the ids of the source are mapped.
    Mapped,
    /// The state is saved: go on to the program, or wait for `start`.
    Committed,
    /// The host's side has run its hooks.
    HooksRun,
    /// Start the program.
    Start,
    /// The filter's listener is with the one who answers.
    Listening,
}

impl ToInit {
    const ALL: [Self; 6] =
        [Self::Placed, Self::Mapped, Self::Committed, Self::HooksRun, Self::Start, Self::Listening];

    /// What is sent for it.
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Placed => b'p',
            Self::Mapped => b'm',
            Self::Committed => b'c',
            Self::HooksRun => b'h',
            Self::Start => b's',
            Self::Listening => seccomp::LISTENING,
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
    /// The pidfd of a process that needed another parent than the runtime.
    Process(OwnedFd),
    /// The master of the container's terminal.
    Terminal(OwnedFd),
    /// The mounts are made, and the root is still the host's: the time of the host's hooks.
    Mounted,
    /// The detached source of the plan's mount of this number, whose ids are to be mapped.
    Source(usize, OwnedFd),
    /// Everything is made; only the program is missing.
    Ready,
    /// The number that the init's listener has, of calls that its filter tells of.
    Listener(RawFd),
    /// A step has failed, and the init is gone.
    Failed(Failure),
    /// A step of the launch has failed, and the init is gone.
    LaunchFailed(launch::Failure),
    /// The end of the stream: the program runs, or the init has died.
    End,
}

const PROCESS: u8 = b'p';
const TERMINAL: u8 = b't';
const SOURCE: u8 = b'o';
/// Said by the launch.
pub(super) const READY: u8 = b'r';
const MOUNTED: u8 = b'M';
const FAILED: u8 = b'f';

/// Fills a failure up so that it is never as short as a report of the launch, which has no first byte of its own.
const PADDING: [u8; 4] = [0; 4];

/// The longest text of a failure, in bytes: far more than anybody reads, far less than a packet takes.
const MAX_TEXT: usize = 16 << 10;

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

    /// Hands over the source of a mount, for its ids to be mapped.
    pub fn send_source(
        kernel: &dyn Kernel,
        socket: BorrowedFd<'_>,
        number: usize,
        tree: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let number = i32::try_from(number).map_err(|_| Errno::OVERFLOW)?;
        kernel.send(socket, &[&[SOURCE][..], &number.to_le_bytes()].concat(), Some(tree))
    }

    /// Hands over the calling process, which its parent, who is not the runtime, has made for it: the first thing that it says, or the
    /// runtime would hear the rest before it knows whose word it is.
    pub fn send_self(kernel: &dyn Kernel, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let pidfd = kernel.pidfd_open(kernel.getpid())?;
        kernel.send(socket, &[PROCESS], Some(pidfd.as_fd()))
    }

    /// Tells that it is time for the host's hooks.
    pub fn send_mounted(kernel: &dyn Kernel, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        kernel.send(socket, &[MOUNTED], None)
    }

    /// Tells that all is made. The init says it by the handshake of its launch.
    pub fn send_ready(kernel: &dyn Kernel, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        kernel.send(socket, &[READY], None)
    }

    /// Tells what has failed.
    pub fn send_failure(kernel: &dyn Kernel, socket: BorrowedFd<'_>, failure: &Failure) -> Result<(), Errno> {
        let mut bytes = vec![FAILED];
        bytes.extend(failure.errno.unwrap_or(0).to_le_bytes());
        bytes.extend(PADDING);
        let text = failure.causes.join("\0");
        bytes.extend(text.as_bytes().iter().take(MAX_TEXT));
        kernel.send(socket, &bytes, None)
    }

    /// Receives one message.
    pub fn receive(kernel: &dyn Kernel, socket: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::decode(match kernel.receive(socket) {
            // The init has ended while something for it was still in the socket; what it had said before comes after this.
            Err(Errno::CONNRESET) => match kernel.receive(socket) {
                Err(Errno::CONNRESET) => return Ok(Self::End),
                said => said?,
            },
            done => done?,
        })
    }

    fn decode(message: Message) -> Result<Self, Errno> {
        let Message { bytes, fd } = message;
        if let Some(failure) = launch::Failure::from_bytes(&bytes) {
            return Ok(Self::LaunchFailed(failure));
        }
        // By the launch, too, and of a length that no other message has.
        if let Ok(four) = bytes.as_slice().try_into() {
            return Ok(Self::Listener(RawFd::from_ne_bytes(four)));
        }
        let number =
            |bytes: &[u8]| bytes.get(1..5).and_then(|four| four.try_into().ok()).map(i32::from_le_bytes);
        match (bytes.first(), fd) {
            (None, _) => Ok(Self::End),
            (Some(&READY), _) => Ok(Self::Ready),
            (Some(&MOUNTED), _) => Ok(Self::Mounted),
            (Some(&TERMINAL), Some(fd)) => Ok(Self::Terminal(fd)),
            (Some(&PROCESS), Some(fd)) => Ok(Self::Process(fd)),
            (Some(&SOURCE), Some(fd)) => {
                let mount = number(&bytes).and_then(|number| usize::try_from(number).ok());
                Ok(Self::Source(mount.ok_or(Errno::PROTO)?, fd))
            }
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

#[cfg(test)]
mod tests {
    use cloison_linux::Linux;
    use cloison_linux::fake::Fake;

    use super::*;

    fn socket() -> (OwnedFd, OwnedFd) {
        Linux.socketpair().unwrap()
    }

    fn decode(bytes: &[u8], fd: Option<OwnedFd>) -> Result<FromInit, Errno> {
        FromInit::decode(Message { bytes: bytes.to_vec(), fd })
    }

    fn a_file() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn back(failure: &Failure) -> Failure {
        let (ours, theirs) = socket();
        FromInit::send_failure(&Linux, theirs.as_fd(), failure).unwrap();
        match FromInit::receive(&Linux, ours.as_fd()) {
            Ok(FromInit::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_runtime_says_is_what_the_init_hears() {
        let (ours, theirs) = socket();
        for message in ToInit::ALL {
            message.send(&Linux, ours.as_fd()).unwrap();
            assert_eq!(ToInit::receive(&Linux, theirs.as_fd()), Ok(Some(message)));
        }
        Linux.send(ours.as_fd(), b"x", None).unwrap();
        assert_eq!(ToInit::receive(&Linux, theirs.as_fd()), Err(Errno::PROTO));
        drop(ours);
        assert_eq!(ToInit::receive(&Linux, theirs.as_fd()), Ok(None), "the runtime has gone");
    }

    #[test]
    fn failures_arrive_as_they_were_sent() {
        for errno in [None, Some(1), Some(4095)] {
            for causes in [&["a"][..], &["mounting \u{e9}", "permission denied"], &[""]] {
                let causes = causes.iter().map(|&cause| cause.to_owned()).collect();
                let failure = Failure { errno, causes };
                assert_eq!(back(&failure), failure);
            }
        }
    }

    #[test]
    fn a_failure_that_is_longer_than_any_packet_still_arrives() {
        let failure = Failure { errno: Some(36), causes: vec!["\u{e9}".repeat(1 << 20)] };
        let text = back(&failure).to_string();
        assert!(text.len() >= MAX_TEXT && failure.to_string().starts_with(&text[..MAX_TEXT - 2]));
    }

    #[test]
    fn descriptors_arrive_with_what_they_are() {
        let (ours, theirs) = socket();
        let file = a_file();
        FromInit::send_terminal(&Linux, theirs.as_fd(), file.as_fd()).unwrap();
        assert!(matches!(FromInit::receive(&Linux, ours.as_fd()), Ok(FromInit::Terminal(_))));
        FromInit::send_self(&Linux, theirs.as_fd()).unwrap();
        assert!(matches!(FromInit::receive(&Linux, ours.as_fd()), Ok(FromInit::Process(_))));
        FromInit::send_source(&Linux, theirs.as_fd(), 300, file.as_fd()).unwrap();
        assert!(matches!(FromInit::receive(&Linux, ours.as_fd()), Ok(FromInit::Source(300, _))));
        FromInit::send_ready(&Linux, theirs.as_fd()).unwrap();
        assert!(matches!(FromInit::receive(&Linux, ours.as_fd()), Ok(FromInit::Ready)));
        drop(theirs);
        assert!(matches!(FromInit::receive(&Linux, ours.as_fd()), Ok(FromInit::End)));
    }

    #[test]
    fn four_bytes_are_the_number_of_a_listener() {
        for number in [3, 0x7fff_ffff] {
            match decode(&RawFd::to_ne_bytes(number), None) {
                Ok(FromInit::Listener(told)) => assert_eq!(told, number),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn eight_bytes_are_a_report_of_the_launch_and_a_failure_is_never_as_short() {
        let report = [3_u32.to_le_bytes(), 13_u32.to_le_bytes()].concat();
        match decode(&report, None) {
            Ok(FromInit::LaunchFailed(failure)) => assert_eq!(failure.errno, Errno::ACCESS),
            other => panic!("{other:?}"),
        }
        let kernel = Fake::new();
        let socket = kernel.descriptor("socket");
        let nothing = Failure { errno: None, causes: Vec::new() };
        FromInit::send_failure(&kernel, socket.as_fd(), &nothing).unwrap();
        assert_eq!(kernel.calls(), [r#"send(socket, "f\x00\x00\x00\x00\x00\x00\x00\x00", no descriptor)"#]);
    }

    #[test]
    fn an_init_that_was_killed_has_come_to_its_end() {
        let kernel = Fake::new();
        kernel.fail_on("receive", Errno::CONNRESET);
        let socket = kernel.descriptor("socket");
        assert!(matches!(FromInit::receive(&kernel, socket.as_fd()), Ok(FromInit::End)));
    }

    #[test]
    fn what_nobody_sends_is_a_protocol_error_and_never_a_panic() {
        for bytes in [
            &b"t"[..],
            b"o\x01\0\0\0",
            b"p\x01\x02\x03\x04",
            b"f",
            b"f\x01\x02",
            b"x",
            b"\0",
            b"rest of nothing",
        ] {
            match decode(bytes, None) {
                Err(Errno::PROTO) => {}
                Ok(FromInit::Ready) => assert_eq!(bytes[0], READY),
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
        assert!(matches!(decode(b"x", Some(a_file())), Err(Errno::PROTO)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_bytes_are_a_message_or_a_protocol_error(
            first in proptest::sample::select(b"ptorfmcs\0\xff".to_vec()),
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            has_fd in proptest::prelude::any::<bool>(),
        ) {
            let bytes = [&[first][..], &rest].concat();
            match decode(&bytes, has_fd.then(a_file)) {
                Ok(FromInit::Terminal(_)) => proptest::prop_assert!(has_fd && first == TERMINAL),
                Ok(FromInit::Source(..)) => proptest::prop_assert!(has_fd && first == SOURCE),
                Ok(FromInit::Process(_)) => proptest::prop_assert!(has_fd && first == PROCESS),
                Ok(FromInit::LaunchFailed(_)) => proptest::prop_assert_eq!(bytes.len(), 8),
                Ok(FromInit::Listener(_)) => proptest::prop_assert_eq!(bytes.len(), 4),
                Ok(FromInit::End) => proptest::prop_assert!(false, "there is a message"),
                Ok(FromInit::Ready | FromInit::Mounted | FromInit::Failed(_)) | Err(Errno::PROTO) => {}
                Err(errno) => proptest::prop_assert!(false, "{}", errno),
            }
        }
    }
}
