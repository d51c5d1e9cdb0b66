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
