//! Reading a container's directory, which never waits for a lock.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use cloison_linux::lock::ofd_lock_held;
use cloison_linux::socket::{bind_datagrams_at, connect_at};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::{Errno, retry_on_intr};
use serde::Serialize;

use super::error::{Error, io};
use super::record::{Exit, State};
use super::store::Root;
use super::{CONFIG, CREATED, EXIT, MONITOR, NOTIFY, START, STATE, files};
use crate::id::ContainerId;

/// Where a container is in its life (runtime-spec, "Runtime and Lifecycle").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// The first process waits for `start`.
    Created,
    /// The first process executes the container's program.
    Running,
    /// The container's cgroup is frozen.
    Paused,
    /// The first process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The directory of a container, for reading. It can change, and go, while one looks at it; each file is whole at any time.
#[derive(Debug)]
pub struct View {
    pub(super) root: Rc<Root>,
    pub(super) id: ContainerId,
    pub(super) dir: OwnedFd,
}

impl View {
    /// The container's name.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory once more, with no lock that this one may have.
    pub fn open_again(&self) -> Result<Self, Error> {
        let dir =
            files::open_dir(self.root.dir.as_fd(), self.id.as_str()).map_err(io("open", self.path()))?;
        Ok(Self { root: Rc::clone(&self.root), id: self.id.clone(), dir })
    }

    /// The container's directory, for messages; files are reached by the descriptor.
    pub fn path(&self) -> PathBuf {
        self.root.path.join(self.id.as_str())
    }

    /// The container's directory.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// One more descriptor of the container's directory.
    pub(crate) fn own_directory(&self) -> Result<OwnedFd, Error> {
        self.dir
            .try_clone()
            .map_err(|error| io("keep", self.path())(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }

    /// The user id that owns the container's directory: who made the container.
    pub fn owner(&self) -> Result<u32, Error> {
        fstat(&self.dir).map(|stat| stat.st_uid).map_err(io("stat", self.path()))
    }

    /// The last state that was saved.
    ///
    /// # Errors
    /// Where there is none, whether that is because the container has gone, is on its way in or out, or was never finished.
    pub fn load(&self) -> Result<State, Error> {
        if let Some(state) = self.read_state()? {
            return Ok(state);
        }
        if self.is_locked_by_another()? {
            return Err(Error::InTransit { path: self.path() });
        }
        // Whoever had the lock may have finished between the two looks.
        match self.read_state()? {
            Some(state) => Ok(state),
            None if self.is_current()? => Err(Error::Unfinished { path: self.path() }),
            None => Err(Error::NotExist { path: self.path() }),
        }
    }

    /// The copy of the container's `config.json`, byte for byte.
    pub fn load_config(&self) -> Result<Vec<u8>, Error> {
        files::read(self.as_fd(), CONFIG).map_err(io("read", self.path().join(CONFIG)))
    }

    /// Where the container is in its life, according to `state` and to the kernel.
    ///
    /// A container whose creation was interrupted, so that nobody is creating it any more, has stopped.
    pub fn status(&self, state: &State) -> Result<Status, Error> {
        match self.status_of_init(state)? {
            Some(status) => Ok(status),
            None if self.is_locked_by_another()? => Ok(Status::Creating),
            None => Ok(Status::Stopped),
        }
    }

    /// Connects to the socket on which the first process waits for `start`.
    pub fn connect_start(&self) -> Result<OwnedFd, Error> {
        connect_at(self.as_fd(), START).map_err(io("connect to", self.path().join(START)))
    }

    /// Makes the socket of this name in the container's directory for what it tells a service manager; none if it was made without.
    pub(crate) fn listen_notify(&self, name: &str) -> Result<Option<OwnedFd>, Error> {
        match files::open_dir(self.as_fd(), NOTIFY) {
            Ok(dir) => bind_datagrams_at(dir.as_fd(), name)
                .map(Some)
                .map_err(io("listen on", self.path().join(NOTIFY).join(name))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(io("open", self.path().join(NOTIFY))(errno)),
        }
    }

    /// Whether the container has a place for a service manager's socket.
    pub(crate) fn has_notify_directory(&self) -> Result<bool, Error> {
        match statat(&self.dir, NOTIFY, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(io("stat", self.path().join(NOTIFY))(errno)),
        }
    }

    /// Connects to the container's monitor; none if it has gone.
    pub(crate) fn connect_monitor(&self) -> Result<Option<OwnedFd>, Error> {
        match connect_at(self.as_fd(), MONITOR) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(errno) => Err(io("connect to", self.path().join(MONITOR))(errno)),
        }
    }

    /// Keeps how the container has ended. For its monitor alone, which has no lock: what it writes nobody else does.
    pub(crate) fn save_exit(&self, exit: &Exit) -> Result<(), Error> {
        let path = self.path().join(EXIT);
        let bytes =
            serde_json::to_vec(exit).map_err(|source| Error::Unwritable { path: path.clone(), source })?;
        files::replace(self.as_fd(), EXIT, &bytes).map_err(io("write", path))
    }

    /// How the container has ended; none if nobody has written it down.
    pub fn load_exit(&self) -> Result<Option<Exit>, Error> {
        let path = self.path().join(EXIT);
        match files::read(self.as_fd(), EXIT) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Damaged { path, source })
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(io("read", path)(errno)),
        }
    }

    /// None while there is no first process.
    pub(super) fn status_of_init(&self, state: &State) -> Result<Option<Status>, Error> {
        let Some(init) = state.init else { return Ok(None) };
        let status = if !init.is_alive()? {
            Status::Stopped
        } else if state.cgroup.cgroup().is_frozen()? {
            Status::Paused
        } else if self.is_waiting_for_start()? {
            Status::Created
        } else {
            Status::Running
        };
        Ok(Some(status))
    }

    /// The path still leads to this directory: nobody has removed it.
    pub(super) fn is_current(&self) -> Result<bool, Error> {
        let named = match statat(&self.root.dir, self.id.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(io("stat", self.path())(errno)),
        };
        let held = fstat(&self.dir).map_err(io("stat", self.path()))?;
        Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino))
    }

    /// None if there is no `state.json`.
    pub(super) fn read_state(&self) -> Result<Option<State>, Error> {
        match files::read(self.as_fd(), STATE) {
            Ok(bytes) => State::parse(&bytes, &self.path().join(STATE)).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(io("read", self.path().join(STATE))(errno)),
        }
    }

    /// A command is at work on the container. Asks with a shared lock, so that two who ask do not take each other for one.
    fn is_locked_by_another(&self) -> Result<bool, Error> {
        match retry_on_intr(|| flock(&self.dir, FlockOperation::NonBlockingLockShared)) {
            Ok(()) => {
                flock(&self.dir, FlockOperation::Unlock).map(|()| false).map_err(io("unlock", self.path()))
            }
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(io("lock", self.path())(errno)),
        }
    }

    /// The first process still has the lock that its `execve(2)` gives up.
    fn is_waiting_for_start(&self) -> Result<bool, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.dir, CREATED, flags, Mode::empty()).and_then(|file| ofd_lock_held(file.as_fd())) {
            Err(Errno::NOENT) => Ok(false),
            other => other.map_err(io("ask for the lock on", self.path().join(CREATED))),
        }
    }
}
