//! The directory of all containers.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cloison_linux::lock::{lock_directory, try_lock_directory};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::container::Container;
use super::error::{Error, io};
use super::view::View;
use super::{STATE, files};
use crate::id::ContainerId;

/// The root directory: one directory below it for each container.
#[derive(Debug, Clone)]
pub struct Store {
    root: Rc<Root>,
}

/// The root directory's descriptor, and its name for messages.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) dir: OwnedFd,
}

impl Store {
    /// The store at `root`, which must be there.
    ///
    /// # Errors
    /// [`Error::NoRoot`] if it is not.
    pub fn at(root: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, root, flags, Mode::empty()) {
            Ok(dir) => Ok(Self { root: Rc::new(Root { path: root.into(), dir }) }),
            Err(Errno::NOENT) => Err(Error::NoRoot { path: root.into() }),
            Err(errno) => Err(io("open", root)(errno)),
        }
    }

    /// The store at `root`, which is made if it is not there: with all directories that lead to it, for its owner alone (0700).
    ///
    /// Below `$XDG_RUNTIME_DIR` it gets the sticky bit, which keeps it from being pruned (XDG Base Directory Specification).
    pub fn make(root: &Path) -> Result<Self, Error> {
        match Self::at(root) {
            Err(Error::NoRoot { .. }) => {}
            other => return other,
        }
        let failed = |action: &'static str| {
            move |error: std::io::Error| io(action, root)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(failed("make the state directory"))?;
        if is_below(root, std::env::var_os("XDG_RUNTIME_DIR").as_deref()) {
            fs::set_permissions(root, Permissions::from_mode(0o1700))
                .map_err(failed("set the sticky bit of"))?;
        }
        Self::at(root)
    }

    /// Makes the directory of a new container (mode 0711 less the umask), empty and locked. Of any number of callers, one gets it.
    ///
    /// # Errors
    /// [`Error::Exist`] if there is a directory of this name.
    pub fn create(&self, id: &ContainerId) -> Result<Container, Error> {
        loop {
            match mkdirat(&self.root.dir, id.as_str(), Mode::from_raw_mode(0o711)) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Err(Error::Exist { path: self.path_of(id) }),
                Err(errno) => return Err(io("make", self.path_of(id))(errno)),
            }
            // Before it was locked somebody may have deleted the directory, and somebody else have made another.
            let opened = self.open(id).and_then(|container| Ok((is_empty(&container)?, container)));
            match opened {
                Ok((true, container)) => return Ok(container),
                Ok((false, container)) => return Err(Error::Exist { path: container.path() }),
                Err(Error::NotExist { .. }) => {}
                Err(error) => {
                    self.take_back(id);
                    return Err(error);
                }
            }
        }
    }

    /// Removes the directory of a container that could not be locked (too many open files, say), while nobody else has put anything
    /// into it.
    fn take_back(&self, id: &ContainerId) {
        if let Err(errno) = unlinkat(&self.root.dir, id.as_str(), AtFlags::REMOVEDIR) {
            log::debug!("{} stays behind: {errno}", self.path_of(id).display());
        }
    }

    /// The container of this name, for changing. Waits while another command changes it.
    ///
    /// # Errors
    /// [`Error::NotExist`] if there is none, or if there is none any more when the lock is had.
    pub fn open(&self, id: &ContainerId) -> Result<Container, Error> {
        loop {
            let view = self.open_unlocked(id)?;
            lock_directory(view.as_fd()).map_err(io("lock", view.path()))?;
            if view.is_current()? {
                return Ok(Container::new(view));
            }
        }
    }

    /// The same as [`open`](Self::open), but none where another command is changing the container.
    pub fn try_open(&self, id: &ContainerId) -> Result<Option<Container>, Error> {
        loop {
            let view = self.open_unlocked(id)?;
            if !try_lock_directory(view.as_fd()).map_err(io("lock", view.path()))? {
                return Ok(None);
            }
            if view.is_current()? {
                return Ok(Some(Container::new(view)));
            }
        }
    }

    /// The container of this name, for reading. Never waits, so that a hook can ask about the container that is being created.
    ///
    /// # Errors
    /// [`Error::NotExist`] if there is none.
    pub fn open_unlocked(&self, id: &ContainerId) -> Result<View, Error> {
        match files::open_dir(self.root.dir.as_fd(), id.as_str()) {
            Ok(dir) => Ok(View { root: Rc::clone(&self.root), id: id.clone(), dir }),
            // An id may be longer than a name can be.
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Err(Error::NotExist { path: self.path_of(id) }),
            Err(errno) => Err(io("open", self.path_of(id))(errno)),
        }
    }

    /// The names of all directories below the root, sorted by their bytes.
    pub fn list(&self) -> Result<Vec<OsString>, Error> {
        let entries = files::entries(self.root.dir.as_fd()).map_err(io("read", &*self.root.path))?;
        let directories = entries.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
        let mut names: Vec<_> = directories.map(|(name, _)| name).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn path_of(&self, id: &ContainerId) -> PathBuf {
        self.root.path.join(id.as_str())
    }
}

/// Nobody has saved a state in the directory.
fn is_empty(container: &Container) -> Result<bool, Error> {
    match statat(container.as_fd(), STATE, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(false),
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(io("stat", container.path().join(STATE))(errno)),
    }
}

fn is_below(path: &Path, directory: Option<&OsStr>) -> bool {
    directory.is_some_and(|directory| !directory.is_empty() && path.starts_with(directory))
}
