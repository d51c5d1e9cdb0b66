//! Changing a container's directory, one command at a time.

use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};

use cloison_linux::lock::ofd_write_lock;
use cloison_linux::socket::listen_at;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, chmodat, flock, mkdirat, mknodat, openat, unlinkat,
};
use rustix::io::Errno;

use super::error::{Error, io};
use super::record::State;
use super::view::{Status, View};
use super::{CONFIG, CREATED, MONITOR, NOTIFY, START, STATE, files};

/// How many directories deep we remove what is in a container's directory. We ourselves make none in it.
pub(super) const MAX_DEPTH: u32 = 16;

/// How often the directory is emptied when something new is in it each time: somebody from outside writes there.
const ATTEMPTS: u32 = 8;

/// The directory of a container, locked: no other command changes it until this value is dropped.
///
/// A process made by `clone3(2)` has the lock too (`flock(2)`: it belongs to the open file description). Dropping this value unlocks
/// for both, so a child must never drop its copy; it has [`leave_to_parent`](Self::leave_to_parent).
#[derive(Debug)]
pub struct Container {
    view: View,
    unlock: bool,
}

impl Container {
    /// `view` must have been locked.
    pub(super) fn new(view: View) -> Self {
        Self { view, unlock: true }
    }

    /// The last state that was saved.
    ///
    /// # Errors
    /// [`Error::Unfinished`] where there is none: nobody else is at work here.
    pub fn load(&self) -> Result<State, Error> {
        self.read_state()?.ok_or_else(|| Error::Unfinished { path: self.path() })
    }

    /// Where the container is in its life, according to `state` and to the kernel.
    ///
    /// Nobody else is at work here, so that a container without a first process is one whose creation was interrupted: stopped.
    pub fn status(&self, state: &State) -> Result<Status, Error> {
        Ok(self.status_of_init(state)?.unwrap_or(Status::Stopped))
    }

    /// Replaces `state.json`: readers find the old state or the new one.
    pub fn save(&self, state: &State) -> Result<(), Error> {
        let path = self.path().join(STATE);
        let bytes =
            serde_json::to_vec(state).map_err(|source| Error::Unwritable { path: path.clone(), source })?;
        files::replace(self.as_fd(), STATE, &bytes).map_err(io("write", path))
    }

    /// Keeps the container's configuration, byte for byte, as [`View::load_config`] gives it back.
    pub fn save_config(&self, bytes: &[u8]) -> Result<(), Error> {
        files::replace(self.as_fd(), CONFIG, bytes).map_err(io("write", self.path().join(CONFIG)))
    }

    /// Makes the mark by which the kernel tells "created" from "running": a FIFO with a write lock that belongs to the open file
    /// description (`F_OFD_SETLK`, `fcntl_locking(2)`).
    ///
    /// The descriptor is for the first process alone, which keeps it until its `execve(2)` closes it (it is close-on-exec). The
    /// caller must close its own after `clone3(2)`.
    pub fn mark_created(&self) -> Result<OwnedFd, Error> {
        // Open for both, a FIFO does not wait for its other end (fifo(7)).
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let ours_alone = Mode::RUSR | Mode::WUSR;
        match mknodat(self.as_fd(), CREATED, FileType::Fifo, ours_alone, 0) {
            // Of a creation that was interrupted.
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
        .and_then(|()| openat(self.as_fd(), CREATED, flags, Mode::empty()))
        .and_then(|file| ofd_write_lock(file.as_fd()).map(|()| file))
        .map_err(io("lock", self.path().join(CREATED)))
    }

    /// Makes the socket on which the first process waits for `start`, and listens on it.
    pub fn listen_start(&self) -> Result<OwnedFd, Error> {
        listen_at(self.as_fd(), START).map_err(io("listen on", self.path().join(START)))
    }

    /// Makes the directory that the container will find the socket of a service manager in (mode 0755, whatever the umask is).
    pub(crate) fn make_notify_directory(&self) -> Result<(), Error> {
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        mkdirat(self.as_fd(), NOTIFY, mode)
            .and_then(|()| chmodat(self.as_fd(), NOTIFY, mode, AtFlags::empty()))
            .map_err(io("make", self.path().join(NOTIFY)))
    }

    /// Makes the socket of the container's monitor, and listens on it.
    pub(crate) fn listen_monitor(&self) -> Result<OwnedFd, Error> {
        listen_at(self.as_fd(), MONITOR).map_err(io("listen on", self.path().join(MONITOR)))
    }

    /// Removes the directory, whatever is in it. `state.json` goes last, so that a removal which is interrupted leaves a container
    /// that can be deleted again.
    pub fn remove(self) -> Result<(), Error> {
        let mut result = self.remove_once();
        for _ in 1..ATTEMPTS {
            if result != Err(Errno::NOTEMPTY) {
                break;
            }
            result = self.remove_once();
        }
        match result {
            Err(Errno::LOOP) => Err(Error::TooDeep { path: self.path(), depth: MAX_DEPTH }),
            result => result.map_err(io("remove", self.path())),
        }
    }

    /// What a child does with the copy that it got from `clone3(2)`: closes the directory, and leaves it locked by its parent.
    ///
    /// A first process that did not, and whose parent was killed, would keep the container locked for as long as it waits for `start`.
    pub fn leave_to_parent(mut self) {
        self.unlock = false;
    }

    fn remove_once(&self) -> Result<(), Errno> {
        files::remove_entries(self.as_fd(), Some(STATE), MAX_DEPTH)?;
        files::absent_is_fine(unlinkat(self.as_fd(), STATE, AtFlags::empty()))?;
        files::absent_is_fine(unlinkat(&self.root.dir, self.id().as_str(), AtFlags::REMOVEDIR))
    }
}

impl Deref for Container {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.unlock
            && let Err(errno) = flock(&self.view.dir, FlockOperation::Unlock)
        {
            log::debug!("the lock on {} ends with its last descriptor: {errno}", self.path().display());
        }
    }
}
