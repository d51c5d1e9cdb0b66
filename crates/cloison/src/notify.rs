//! The socket of a service manager (`sd_notify(3)`), for a program in a container.
//!
//! ```text
//!  service manager                 runtime                                     container
//!  $NOTIFY_SOCKET ◀── READY, … ──  <root>/<id>/notify/notify.sock  ◀── bind ── /run/notify/notify.sock
//! ```
//!
//! Only where `NOTIFY_SOCKET` is set for the runtime, and as `runc` has it: `create` makes the directory and `start` the socket; `start` and a detached
//! `run` stay until the program is ready, or has ended; a `run` in the foreground, and a monitor, pass on what comes for as long as they live.
//!
//! A container that is restored has been ready before, and will not say it again: `restore` says it.
//!
//! What comes is a container's word, so only what tells of the service goes on: `READY`, `STATUS` and their like. `MAINPID` is replaced, for a number
//! inside says nothing outside. Descriptors for the manager's keeping (`FDSTORE`) do not go on; that of a `BARRIER` does.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cloison_linux::{Mode, OFlags, Pid, file, socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::errno::Text;
use crate::spec::{Mount, Spec};
use crate::state::{self, View};

/// Where the container finds the socket's directory.
const INSIDE: &str = "/run/notify";

/// The socket's name.
const SOCKET: &str = "notify.sock";

/// The longest message that a service manager reads (systemd's `NOTIFY_BUFFER_MAX`).
const LONGEST: usize = 4096;

/// How many messages are passed on before something else has its turn.
const AT_ONCE: usize = 16;

/// How long the service manager may take to have read all: as systemd's own programs wait.
const BARRIER_PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// What a service may tell of itself (`sd_notify(3)`).
const ALLOWED: [&[u8]; 9] = [
    b"READY",
    b"RELOADING",
    b"STOPPING",
    b"MONOTONIC_USEC",
    b"STATUS",
    b"ERRNO",
    b"BUSERROR",
    b"WATCHDOG",
    b"EXTEND_TIMEOUT_USEC",
];

/// Why a service manager is not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket in the container's directory could not be made or found.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The service manager's socket cannot be reached.
    #[error("the service manager's socket {path:?} (NOTIFY_SOCKET): {}", Text(*.errno))]
    Manager {
        /// What `NOTIFY_SOCKET` says.
        path: OsString,
        /// Why not.
        errno: Errno,
    },
    /// Waiting failed.
    #[error("waiting for the container to be ready: {}", Text(*.0))]
    Wait(Errno),
}

/// The service manager's socket, if the runtime has one.
pub(crate) fn manager() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Lets the container find the socket that will be in this directory.
pub(crate) fn prepare(spec: &mut Spec, directory: &Path) {
    spec.mounts.push(Mount {
        destination: INSIDE.to_owned(),
        source: Some(directory.to_string_lossy().into_owned()),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    spec.process.env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
}

/// Passes on what a container tells.
#[derive(Debug)]
pub(crate) struct Notify {
    inside: OwnedFd,
    outside: OwnedFd,
    /// What the manager is to take for the service.
    main: Pid,
    is_ready: bool,
}

impl AsFd for Notify {
    /// Readable when something has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }
}

impl Notify {
    /// Makes the socket of a container that was made with a place for it; none where there is none, or no service manager.
    pub(crate) fn open(view: &View, main: Pid) -> Result<Option<Self>, Error> {
        let Some(path) = manager() else { return Ok(None) };
        let Some(inside) = view.listen_notify(SOCKET)? else {
            log::debug!("the container was made without a place for a service manager's socket");
            return Ok(None);
        };
        let outside = connect(&path).map_err(|errno| Error::Manager { path, errno })?;
        Ok(Some(Self { inside, outside, main, is_ready: false }))
    }

    /// Passes on what has come, and never waits.
    pub(crate) fn pass_on(&mut self) {
        for _ in 0..AT_ONCE {
            match socket::receive(self.inside.as_fd()) {
                Ok(message) if message.bytes.len() <= LONGEST => {
                    self.tell(&message.bytes, message.fd.as_ref());
                }
                Ok(_) | Err(Errno::MSGSIZE) => log::debug!("a message for the service manager is too long"),
                Err(Errno::AGAIN) => return,
                Err(errno) => return log::warn!("the container cannot tell the service manager: {errno}"),
            }
        }
    }

    /// Passes on what comes until the program is ready, and the manager knows; or until it has ended.
    pub(crate) fn until_ready(mut self, first: BorrowedFd<'_>) -> Result<(), Error> {
        loop {
            let mut fds =
                [PollFd::new(&self.inside, PollFlags::IN), PollFd::from_borrowed_fd(first, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::Wait(errno)),
            }
            let has_ended = !fds[1].revents().is_empty();
            self.pass_on();
            if self.is_ready {
                // Whose message it was, the manager can only tell while we are there.
                return self.barrier();
            }
            if has_ended {
                return Ok(());
            }
        }
    }

    /// Tells the manager that the program is ready, for one that has said so before it was dumped and will not say it again.
    pub(crate) fn tell_that_it_goes_on(&mut self) {
        self.tell(b"READY=1", None);
    }

    /// The same, and waits until the manager knows.
    pub(crate) fn until_told_that_it_goes_on(mut self) -> Result<(), Error> {
        self.tell_that_it_goes_on();
        self.barrier()
    }

    fn tell(&mut self, message: &[u8], fd: Option<&OwnedFd>) {
        if message.trim_ascii_end() == b"BARRIER=1" {
            return match fd {
                Some(fd) => self.send(b"BARRIER=1", Some(fd.as_fd())),
                None => log::debug!("a barrier without its descriptor"),
            };
        }
        let told = translate(message, self.main);
        self.is_ready |= told.is_ready;
        if !told.bytes.is_empty() {
            self.send(&told.bytes, None);
        }
    }

    fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) {
        if let Err(errno) = socket::send(self.outside.as_fd(), bytes, fd) {
            log::warn!("the service manager was not told: {errno}");
        }
    }

    /// Waits until the manager has read all that was told.
    fn barrier(&self) -> Result<(), Error> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(Error::Wait)?;
        self.send(b"BARRIER=1", Some(theirs.as_fd()));
        drop(theirs);
        match poll(&mut [PollFd::new(&ours, PollFlags::empty())], Some(&BARRIER_PATIENCE)) {
            Ok(0) => log::warn!("the service manager has not read its socket within 30 s"),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::Wait(errno)),
        }
        Ok(())
    }
}

/// What goes on of a message.
struct Told {
    bytes: Vec<u8>,
    is_ready: bool,
}

fn translate(message: &[u8], main: Pid) -> Told {
    let mut lines: Vec<&[u8]> = Vec::new();
    let (mut is_ready, mut names_main) = (false, false);
    for line in message.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        if name == b"MAINPID" {
            names_main = true;
        } else if name.len() < line.len() && ALLOWED.contains(&name) {
            is_ready |= line == b"READY=1";
            lines.push(line);
        } else {
            log::debug!("not for the service manager: {}", String::from_utf8_lossy(name));
        }
    }
    let main = format!("MAINPID={}", main.as_raw_nonzero());
    if is_ready || names_main {
        lines.push(main.as_bytes());
    }
    Told { bytes: lines.join(&b'\n'), is_ready }
}

fn connect(path: &OsString) -> Result<OwnedFd, Errno> {
    match path.as_bytes() {
        [b'@', name @ ..] => socket::connect_datagrams_abstract(name),
        [b'/', ..] => {
            let place = file::open(Path::new(path), OFlags::PATH, Mode::empty())?;
            socket::connect_datagrams(place.as_fd())
        }
        // vsock and others are for virtual machines.
        _ => Err(Errno::AFNOSUPPORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> (String, bool) {
        let told = translate(message.as_bytes(), Pid::from_raw(42).unwrap());
        (String::from_utf8(told.bytes).unwrap(), told.is_ready)
    }

    #[test]
    fn ready_goes_on_with_the_number_that_the_process_has_outside() {
        assert_eq!(told("READY=1"), ("READY=1\nMAINPID=42".into(), true));
        assert_eq!(told("READY=1\nMAINPID=1\nSTATUS=up\n"), ("READY=1\nSTATUS=up\nMAINPID=42".into(), true));
        assert_eq!(told("MAINPID=7"), ("MAINPID=42".into(), false));
        assert_eq!(told("READY=0"), ("READY=0".into(), false));
    }

    #[test]
    fn what_tells_of_the_service_goes_on_and_nothing_else() {
        let all = "STATUS=a=b\nRELOADING=1\nMONOTONIC_USEC=5\nSTOPPING=1\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=9\nERRNO=2";
        assert_eq!(told(all), (all.into(), false));
        for not in
            ["FDSTORE=1\nFDNAME=x", "NOTIFYACCESS=all", "READY", "", "\n\n", "BARRIER=1\nX=1", "ready=1"]
        {
            assert_eq!(told(not), (String::new(), false), "{not}");
        }
    }
}
