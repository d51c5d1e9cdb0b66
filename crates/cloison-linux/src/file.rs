//! Files: opened below a root and never outside of it, made by single names, read with a bound.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, RawDir, ResolveFlags, Uid, XattrFlags};
use rustix::io::{Errno, FdFlags, retry_on_intr};

use crate::Result;
use crate::raw::syscall;

/// How often a lookup that raced with a rename or a mount is tried again before `EAGAIN` is given back.
const LOOKUP_ATTEMPTS: usize = 128;

/// `/proc/self/fd/<fd>`: what a descriptor refers to, as a path. The `/proc` must be the host's.
pub fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// `openat(2)` of a path of the host, relative to the working directory. Never for a path that an image can
/// influence.
pub fn open(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, mode))
}

/// `openat2(2)` with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS` (Linux 5.6): `path` as a process whose root is
/// `root` would see it.
///
/// No component, symbolic link or race leads out of `root`. The kernel gives `EAGAIN` when a lookup with `..`
/// raced with a rename somewhere on the machine; it is then tried again, up to a bound, so that an enemy who
/// renames all the time stops nothing but his own container.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    resolve(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// The same with `RESOLVE_NO_SYMLINKS`: `ELOOP` where a symbolic link is on the way, or at its end.
pub fn open_without_links(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    resolve(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// `openat2(2)` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV` (Linux
/// 5.6): for a procfs or cgroupfs whose every component must be the kernel's own. `EXDEV` where something is
/// mounted over it, `ELOOP` at a link.
pub fn open_beneath(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let own_files_only = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    resolve(dir, path, flags, mode, own_files_only)
}

fn resolve(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> Result<OwnedFd> {
    let mut attempts = 1;
    loop {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, how) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if attempts < LOOKUP_ATTEMPTS => attempts += 1,
            done => return done,
        }
    }
}

/// Opens anew what `fd` refers to, with other flags, through `/proc/self/fd` (which must be the host's).
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    open(Path::new(&proc_path(fd)), flags, Mode::empty())
}

/// The same as [`reopen`], through a descriptor of `/proc/self/fd` itself: also where another root has another `/proc` by now.
pub fn reopen_through(descriptors: BorrowedFd<'_>, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    let name = fd.as_raw_fd().to_string();
    retry_on_intr(|| rustix::fs::openat(descriptors, &name, flags | OFlags::CLOEXEC, Mode::empty()))
}

/// `fchownat(2)` with `AT_EMPTY_PATH`: the owner of what `fd` refers to, also where that is a symbolic link.
pub fn fchown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)
}

/// `fchmod(2)`, or `chmod(2)` of `/proc/self/fd/<fd>` for an `O_PATH` descriptor.
pub fn fchmod(fd: BorrowedFd<'_>, mode: Mode) -> Result<()> {
    match rustix::fs::fchmod(fd, mode) {
        Err(Errno::BADF) => rustix::fs::chmodat(CWD, proc_path(fd), mode, AtFlags::empty()),
        done => done,
    }
}

/// `setxattr(2)` of the label that `SELinux` knows of what `fd` refers to, through `/proc/self/fd` (which must be the host's): an
/// `O_PATH` descriptor, as `fsmount(2)` gives it, takes no `fsetxattr(2)`. `EOPNOTSUPP` without `SELinux`.
pub fn set_label(fd: BorrowedFd<'_>, label: &str) -> Result<()> {
    rustix::fs::setxattr(proc_path(fd), c"security.selinux", label.as_bytes(), XattrFlags::empty())
}

/// `unlinkat(2)` of a single name.
pub fn unlinkat(dir: BorrowedFd<'_>, name: &Path, directory: bool) -> Result<()> {
    rustix::fs::unlinkat(dir, name, if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() })
}

/// `readlinkat(2)`; an empty `name` reads the link that `dir` itself refers to (Linux 2.6.39).
pub fn readlinkat(dir: BorrowedFd<'_>, name: &Path) -> Result<PathBuf> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(target.into_bytes()).into())
}

/// `getcwd(2)` as the kernel says it: `(unreachable)…` when the directory is outside of the root.
pub fn getcwd() -> Result<PathBuf> {
    let path = rustix::process::getcwd(Vec::new())?;
    Ok(std::ffi::OsString::from_vec(path.into_bytes()).into())
}

/// One `write(2)` of all of `bytes`; a short write is `EIO`, since the files of procfs and cgroupfs take a
/// value at once or not at all.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    let written = retry_on_intr(|| rustix::io::write(fd, bytes))?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Reads to the end, at most `limit` bytes; `EFBIG` where there are more.
pub fn read_to_end(fd: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>> {
    const CHUNK: usize = 8192;
    let mut bytes = Vec::new();
    loop {
        bytes.reserve(CHUNK);
        let read = retry_on_intr(|| rustix::io::read(fd, rustix::buffer::spare_capacity(&mut bytes)))?;
        if bytes.len() > limit {
            return Err(Errno::FBIG);
        }
        if read == 0 {
            return Ok(bytes);
        }
    }
}

/// The names in a directory, without `.` and `..`.
pub fn read_dir(fd: BorrowedFd<'_>) -> Result<Vec<PathBuf>> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(fd, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).into());
        }
    }
    Ok(names)
}

/// `close_range(2)` with `CLOSE_RANGE_CLOEXEC` from `first` on (Linux 5.11), or one `fcntl(2)` for each in
/// `/proc/self/fd`.
pub fn cloexec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let range = [first as usize, u32::MAX as usize, CLOSE_RANGE_CLOEXEC];
    // SAFETY: the call takes numbers alone, and closes nothing with this flag.
    match unsafe { syscall(libc::SYS_close_range, range) } {
        Ok(_) => Ok(()),
        // Before 5.9 there is no such call, before 5.11 no such flag.
        Err(Errno::NOSYS | Errno::INVAL) => cloexec_each_from(first),
        Err(error) => Err(error),
    }
}

/// Closes all descriptors from `first` on that came with the caller's own `execve(2)`, or were made to outlive the next one: those
/// that are not close-on-exec. None of this crate's are.
///
/// Nobody may own one of them as a value.
pub fn close_inherited(first: u32) -> Result<()> {
    let dir = open(Path::new("/proc/self/fd"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    for name in read_dir(dir.as_fd())? {
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if number >= first && is_inherited(number)? {
            // SAFETY: the call takes a number alone. What is not close-on-exec was opened by nobody of this process, so that no value
            // owns it.
            unsafe { syscall(libc::SYS_close, [number as usize]) }?;
        }
    }
    Ok(())
}

fn cloexec_each_from(first: u32) -> Result<()> {
    let dir = open(Path::new("/proc/self/fd"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    for name in read_dir(dir.as_fd())? {
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if number >= first {
            let arguments = [number as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize];
            // SAFETY: the call takes numbers alone; the descriptor has just been listed.
            unsafe { syscall(libc::SYS_fcntl, arguments) }?;
        }
    }
    Ok(())
}

/// Whether there is a descriptor of this number that `execve(2)` leaves open. Those of this crate never are.
pub fn is_inherited(number: u32) -> Result<bool> {
    // SAFETY: the call takes numbers alone, and only looks.
    match unsafe { syscall(libc::SYS_fcntl, [number as usize, libc::F_GETFD as usize]) } {
        Ok(flags) => Ok(flags & libc::FD_CLOEXEC as usize == 0),
        Err(Errno::BADF) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// `dup3(2)` onto a number, without close-on-exec. What had the number before is closed.
pub fn dup_onto(fd: BorrowedFd<'_>, number: u32) -> Result<()> {
    if fd.as_raw_fd().unsigned_abs() == number {
        // dup3 refuses this, and the flag would stay.
        return rustix::io::fcntl_setfd(fd, FdFlags::empty());
    }
    // SAFETY: the call takes numbers alone. Whose descriptor the number was is the caller's to know, as with
    // a process's standard streams, which are what this is for.
    unsafe { syscall(libc::SYS_dup3, [fd.as_raw_fd() as usize, number as usize, 0]) }?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
