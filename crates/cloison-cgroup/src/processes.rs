//! Which processes are in a cgroup and below it.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;

use crate::error::Result;
use crate::files::read_whole_at;
use crate::tree;

/// The processes of the cgroup at `top` and of all below it, by ascending pid; none when it is not there.
///
/// Processes of a pid namespace that cannot be seen from ours have no pid here and are left out.
pub(crate) fn pids(top: &Path) -> Result<Vec<i32>> {
    let mut pids = raw(top)?;
    let all = pids.len();
    pids.retain(|pid| *pid > 0);
    if pids.len() < all {
        let unseen = all - pids.len();
        log::debug!("{unseen} process(es) in {} are not visible from this pid namespace", top.display());
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// The same as the kernel lists them: in no order, with a 0 for each process that our pid namespace cannot see.
pub(crate) fn raw(top: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    tree::visit(top, |directory| list(directory, &mut pids))?;
    Ok(pids)
}

fn list(directory: BorrowedFd<'_>, pids: &mut Vec<i32>) -> Result<(), Errno> {
    let text = match read_whole_at(directory, Path::new("cgroup.procs")) {
        // A threaded cgroup (v2) holds threads of processes that are listed further up.
        Err(Errno::OPNOTSUPP) => read_whole_at(directory, Path::new("cgroup.threads"))?,
        text => text?,
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    Ok(())
}
