//! A kernel that records what it is asked, answers as it was told, and fails on demand.
//!
//! Its descriptors are real ones, each an empty file of its own in memory, so that they can be owned,
//! borrowed and closed; each has a name that tells what it was opened from, and by which it is shown in the
//! record. Nothing of the machine is touched otherwise.
//!
//! ```
//! use cloison_linux::fake::Fake;
//! use cloison_linux::{Errno, Kernel, Mode, OFlags};
//! use std::os::fd::AsFd;
//! use std::path::Path;
//!
//! fn make_dev(kernel: &impl Kernel, root: std::os::fd::BorrowedFd<'_>) -> cloison_linux::Result<()> {
//!     let dev = kernel.open_in_root(root, Path::new("/dev"), OFlags::PATH, Mode::empty())?;
//!     kernel.mkdirat(dev.as_fd(), Path::new("shm"), Mode::from_raw_mode(0o1777))
//! }
//!
//! let kernel = Fake::new();
//! let root = kernel.descriptor("rootfs");
//! make_dev(&kernel, root.as_fd())?;
//! assert_eq!(kernel.calls(), [
//!     r#"open_in_root(rootfs, "/dev", PATH, 0o0)"#,
//!     r#"mkdirat(rootfs/dev, "shm", 0o1777)"#,
//! ]);
//!
//! let kernel = Fake::new();
//! let root = kernel.descriptor("rootfs");
//! kernel.fail_at(1, Errno::PERM);
//! assert_eq!(make_dev(&kernel, root.as_fd()), Err(Errno::PERM));
//! assert_eq!(kernel.open_descriptors(), ["rootfs"]);
//! # Ok::<(), Errno>(())
//! ```

mod kernel;

#[cfg(test)]
mod tests;

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::{FileType, MemfdFlags, Mode, Stat, StatFs};
use rustix::io::Errno;

use crate::Result;
use crate::socket::Message;

/// The recording kernel.
#[derive(Debug, Default)]
pub struct Fake {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    fail_at: HashMap<usize, Errno>,
    fail_on: Vec<(String, Errno)>,
    /// By number, and with the file behind it, since numbers are given again.
    descriptors: BTreeMap<RawFd, (u64, String)>,
    stats: HashMap<String, Stat>,
    file_systems: HashMap<String, u32>,
    links: HashMap<String, PathBuf>,
    contents: HashMap<String, Vec<u8>>,
    entries: HashMap<String, Vec<PathBuf>>,
    messages: VecDeque<Message>,
    working_directory: Option<PathBuf>,
    fs_log: String,
    processes: i32,
    sockets: usize,
    be_child: bool,
    status: i32,
}

impl Fake {
    /// A kernel to which all succeeds: every path can be opened and is an empty directory of root's with mode
    /// 0755.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the call at this place in [`calls`](Self::calls), from 0, fail.
    pub fn fail_at(&self, place: usize, errno: Errno) {
        self.state().fail_at.insert(place, errno);
    }

    /// Lets every call fail whose record begins with `call`: `mount_setattr`, or `mkdirat(rootfs/dev, "shm"`.
    pub fn fail_on(&self, call: &str, errno: Errno) {
        self.state().fail_on.push((call.to_owned(), errno));
    }

    /// What was asked so far, failed calls included, as `verb(arguments)`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// The first words of what was asked: [`calls`](Self::calls) without arguments.
    pub fn verbs(&self) -> Vec<String> {
        let verb = |call: &String| call.split('(').next().unwrap_or_default().to_owned();
        self.state().calls.iter().map(verb).collect()
    }

    /// A descriptor with a name of the test's choice.
    ///
    /// # Panics
    ///
    /// Where the process cannot have one more.
    pub fn descriptor(&self, name: impl Into<String>) -> OwnedFd {
        self.named(name).expect("a descriptor for the fake kernel")
    }

    /// The names of this kernel's descriptors that are still open, by number.
    pub fn open_descriptors(&self) -> Vec<String> {
        let state = self.state();
        let open = |number: RawFd, inode: u64| {
            // SAFETY: the descriptor is looked at during this call alone, and may as well be closed or
            // another's.
            inode_of(unsafe { BorrowedFd::borrow_raw(number) }) == Some(inode)
        };
        let descriptors = state.descriptors.iter().filter(|(number, (inode, _))| open(**number, *inode));
        descriptors.map(|(_, (_, name))| name.clone()).collect()
    }

    /// What `fstat` gives for the descriptor with this name; see [`stat`].
    pub fn set_stat(&self, name: &str, stat: Stat) {
        self.state().stats.insert(name.to_owned(), stat);
    }

    /// The `f_type` that `fstatfs` gives for the descriptor with this name. Without, it is that of tmpfs.
    pub fn set_file_system(&self, name: &str, f_type: u32) {
        self.state().file_systems.insert(name.to_owned(), f_type);
    }

    /// What `readlinkat` gives for the link with this name, `rootfs/dev/fd` say. Without, it is `EINVAL`: no
    /// link.
    pub fn set_link(&self, name: &str, target: impl Into<PathBuf>) {
        self.state().links.insert(name.to_owned(), target.into());
    }

    /// What `read_to_end` gives for the descriptor with this name. Without, it is nothing.
    pub fn set_content(&self, name: &str, content: impl Into<Vec<u8>>) {
        self.state().contents.insert(name.to_owned(), content.into());
    }

    /// What `read_dir` gives for the descriptor with this name. Without, it is nothing.
    pub fn set_entries(&self, name: &str, entries: &[&str]) {
        self.state().entries.insert(name.to_owned(), entries.iter().map(PathBuf::from).collect());
    }

    /// Adds to what `receive` gives. When all is given, it is the end of the stream.
    pub fn push_message(&self, bytes: impl Into<Vec<u8>>, fd: Option<OwnedFd>) {
        self.state().messages.push_back(Message { bytes: bytes.into(), fd });
    }

    /// What `getcwd` gives. Without, it is `/`.
    pub fn set_working_directory(&self, path: impl Into<PathBuf>) {
        self.state().working_directory = Some(path.into());
    }

    /// What `fs_log` gives. Without, it is nothing.
    pub fn set_fs_log(&self, log: &str) {
        log.clone_into(&mut self.state().fs_log);
    }

    /// Lets every `clone3` come back as the child. Without, it comes back in the parent, with a pid that no
    /// process can have.
    pub fn be_child(&self) {
        self.state().be_child = true;
    }

    /// What the programs exit with that `run_command` runs. Without, it is 0.
    pub fn set_status(&self, status: i32) {
        self.state().status = status;
    }

    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Records a call; says whether it shall fail.
    fn call(&self, call: String) -> Result<()> {
        let mut state = self.state();
        let at = state.fail_at.get(&state.calls.len()).copied();
        let on = state.fail_on.iter().find(|(begin, _)| call.starts_with(begin)).map(|(_, errno)| *errno);
        state.calls.push(call);
        at.or(on).map_or(Ok(()), Err)
    }

    fn named(&self, name: impl Into<String>) -> Result<OwnedFd> {
        let fd = rustix::fs::memfd_create(c"cloison-fake", MemfdFlags::CLOEXEC)?;
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        self.state().descriptors.insert(fd.as_raw_fd(), (inode, name.into()));
        Ok(fd)
    }

    /// How a descriptor is shown: by its name, or by its number where it is not this kernel's.
    fn name(&self, fd: BorrowedFd<'_>) -> String {
        let state = self.state();
        match state.descriptors.get(&fd.as_raw_fd()) {
            Some((inode, name)) if inode_of(fd) == Some(*inode) => name.clone(),
            _ => format!("fd {}", fd.as_raw_fd()),
        }
    }
}

fn inode_of(fd: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino)
}

/// A [`Stat`] of a file of root's, for [`Fake::set_stat`]. The device number is that of a device node.
///
/// # Panics
///
/// Where the process cannot open one more file.
pub fn stat(kind: FileType, mode: u32, device: u64) -> Stat {
    let mut stat = blank().and_then(rustix::fs::fstat).expect("a file to start from");
    stat.st_mode = kind.as_raw_mode() | Mode::from_raw_mode(mode).as_raw_mode();
    stat.st_rdev = device;
    stat.st_uid = 0;
    stat.st_gid = 0;
    stat
}

fn statfs() -> Result<StatFs> {
    blank().and_then(rustix::fs::fstatfs)
}

/// The structures of the kernel cannot be made by hand, so that a file lends one.
fn blank() -> Result<OwnedFd> {
    rustix::fs::memfd_create(c"cloison-fake", MemfdFlags::CLOEXEC)
}
