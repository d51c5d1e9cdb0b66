//! Files of one directory: written whole or not at all, read whole, and removed with all that is below.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

/// How many bytes of a file are read: far more than any configuration has.
const MAX_FILE: usize = 256 << 20;

/// Writes `bytes` to a temporary name and renames that to `name`: who opens `name` finds all of the old or all of the new bytes.
///
/// The caller must have the directory locked: the temporary name is always the same, so that an interrupted write leaves at most
/// one file behind, which the next write takes over.
pub(super) fn replace(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = format!("{name}.new");
    let written =
        write_new(dir, &temporary, bytes).and_then(|()| rustix::fs::renameat(dir, &temporary, dir, name));
    if written.is_err()
        && let Err(errno) = absent_is_fine(rustix::fs::unlinkat(dir, &temporary, AtFlags::empty()))
    {
        log::debug!("{temporary} stays behind, and the next write takes it over: {errno}");
    }
    written
}

/// All bytes of a regular file that nobody writes to any more, as [`replace`] leaves it: there, fewer bytes than were asked for
/// are the last ones.
///
/// # Errors
/// `EFBIG` for more than [`MAX_FILE`] bytes.
pub(super) fn read(dir: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>> {
    // What somebody else has put there may be a pipe, which is empty then.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let room = bytes.capacity() - bytes.len();
        match rustix::io::read(&file, spare_capacity(&mut bytes)) {
            Ok(length) if length < room => return Ok(bytes),
            Ok(_) if bytes.len() > MAX_FILE => return Err(Errno::FBIG),
            Ok(_) => bytes.reserve(bytes.len()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Removes all that is in a directory but the file `last`, at most `depth` directories down. What is gone already is no error, so
/// that a removal which was interrupted can be repeated. Symbolic links are removed, not followed.
///
/// # Errors
/// `ELOOP` if the tree is deeper than `depth`.
pub(super) fn remove_entries(dir: BorrowedFd<'_>, last: Option<&str>, depth: u32) -> Result<()> {
    for (name, kind) in entries(dir)? {
        if last.is_some_and(|last| name == last) {
            continue;
        }
        let flags = if kind == FileType::Directory {
            let below = depth.checked_sub(1).ok_or(Errno::LOOP)?;
            remove_entries(open_dir(dir, &name)?.as_fd(), None, below)?;
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        absent_is_fine(rustix::fs::unlinkat(dir, &name, flags))?;
    }
    Ok(())
}

/// Turns `ENOENT` into success.
pub(super) fn absent_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// A directory for reading; `ENOTDIR` if the name is something else, and be it a symbolic link to a directory.
pub(super) fn open_dir(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The names in a directory and what they are, without `.` and `..`.
pub(super) fn entries(dir: BorrowedFd<'_>) -> Result<Vec<(OsString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::new(open_dir(dir, c".")?)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say it in the directory.
            FileType::Unknown => match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            kind => kind,
        };
        found.push((OsString::from_vec(name.to_bytes().to_vec()), kind));
    }
    Ok(found)
}

fn write_new(dir: BorrowedFd<'_>, name: &str, mut bytes: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary_name() {
        let dir = TempDir::new().unwrap();
        let fd = File::open(dir.path()).unwrap();
        for bytes in [vec![b'a'; 100_000], Vec::new(), vec![b'b'; 4096], b"short".to_vec()] {
            replace(fd.as_fd(), "file", &bytes).unwrap();
            assert_eq!(read(fd.as_fd(), "file").unwrap(), bytes);
            assert_eq!(entries(fd.as_fd()).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_pipe_or_an_endless_file_in_place_of_a_file_keeps_nobody() {
        let dir = TempDir::new().unwrap();
        let fd = File::open(dir.path()).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(&fd, "pipe", FileType::Fifo, mode, 0).unwrap();
        assert_eq!(read(fd.as_fd(), "pipe"), Ok(Vec::new()));
        File::create(dir.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(fd.as_fd(), "huge"), Err(Errno::FBIG));
    }

    #[test]
    fn what_an_interrupted_write_left_is_taken_over() {
        let dir = TempDir::new().unwrap();
        let fd = File::open(dir.path()).unwrap();
        fs::write(dir.path().join("file.new"), "much longer than what comes now").unwrap();
        replace(fd.as_fd(), "file", b"now").unwrap();
        assert_eq!(read(fd.as_fd(), "file").unwrap(), b"now");
        assert!(!dir.path().join("file.new").exists());
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let dir = TempDir::new().unwrap();
        let fd = File::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("file")).unwrap(); // a file cannot be renamed over a directory
        assert_eq!(replace(fd.as_fd(), "file", b"x"), Err(Errno::ISDIR));
        assert_eq!(entries(fd.as_fd()).unwrap(), [("file".into(), FileType::Directory)]);
    }

    #[test]
    fn a_tree_is_removed_but_not_what_its_symbolic_links_lead_to() {
        let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(other.path().join("kept"), "").unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        fs::write(dir.path().join("a/b/file"), "").unwrap();
        fs::write(dir.path().join("last"), "").unwrap();
        std::os::unix::fs::symlink(other.path(), dir.path().join("a/link")).unwrap();
        remove_entries(File::open(dir.path()).unwrap().as_fd(), Some("last"), 3).unwrap();
        let left = entries(File::open(dir.path()).unwrap().as_fd()).unwrap();
        assert_eq!(left, [("last".into(), FileType::RegularFile)]);
        assert!(other.path().join("kept").exists());
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused() {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        assert_eq!(remove_entries(File::open(dir.path()).unwrap().as_fd(), None, 2), Err(Errno::LOOP));
    }
}
