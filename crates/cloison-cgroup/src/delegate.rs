//! Giving a v2 cgroup to a user
//! ([cgroup-v2, "Delegation"](https://docs.kernel.org/admin-guide/cgroup-v2.html#delegation)).

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Uid, chownat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::{open_directory, read_whole};

/// Where the kernel lists the files that go with a cgroup (Linux 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// What cgroups(7) names where there is no list.
const USUAL: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

/// Makes `uid` the owner of the cgroup at `directory` and of the files by which it is used, and not of its limits.
pub(crate) fn delegate(directory: &Path, uid: u32) -> Result<()> {
    let list = read_whole(Path::new(LIST)).unwrap_or_else(|error| {
        log::debug!("{LIST}: {error}; taking those of cgroups(7)");
        USUAL.to_owned()
    });
    give(directory, uid, &list)
}

/// The same with this list of files.
fn give(directory: &Path, uid: u32, list: &str) -> Result<()> {
    let error = |file: &str, source| Error::Delegate { path: directory.join(file), uid, source };
    let owner = Some(Uid::from_raw(uid));
    let descriptor = open_directory(directory).map_err(|errno| error("", errno))?;
    // The directory last: before, its new owner cannot put anything in the place of a file.
    for file in list.lines().filter(|file| !file.contains('/')) {
        match chownat(&descriptor, file, owner, None, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => {}
            // Files of controllers that the cgroup does not have.
            Err(Errno::NOENT) => log::debug!("no {file} in {}", directory.display()),
            Err(errno) => return Err(error(file, errno)),
        }
    }
    chownat(CWD, directory, owner, None, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| error("", errno))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use tempfile::TempDir;

    use super::*;

    /// A directory with these files.
    fn directory(files: &[&str]) -> TempDir {
        let directory = TempDir::new().unwrap();
        for file in files {
            fs::write(directory.path().join(file), "").unwrap();
        }
        directory
    }

    /// Who may give files away is root; anybody may give them to themselves.
    fn somebody() -> u32 {
        let own = rustix::process::geteuid();
        if own.is_root() { 4321 } else { own.as_raw() }
    }

    #[test]
    fn files_that_are_not_there_are_passed_over() {
        let directory = directory(&["cgroup.procs", "memory.max"]);
        give(directory.path(), somebody(), "cgroup.procs\nmemory.oom.group\n../cgroup.procs\n").unwrap();
        let owner = |file: &str| fs::metadata(directory.path().join(file)).unwrap().uid();
        let owners = ["", "cgroup.procs", "memory.max"].map(owner);
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(owners, [somebody(), somebody(), own]);
    }

    #[test]
    fn without_a_list_the_three_usual_files_are_given() {
        let files = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "memory.max"];
        let directory = directory(&files);
        give(directory.path(), somebody(), USUAL).unwrap();
        let owners = files.map(|file| fs::metadata(directory.path().join(file)).unwrap().uid());
        let (somebody, own) = (somebody(), rustix::process::geteuid().as_raw());
        assert_eq!(owners, [somebody, somebody, somebody, own]);
    }
}
