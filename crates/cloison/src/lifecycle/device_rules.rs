//! Which devices a container may use, as far as the runtime may decide that.

use cloison_cgroup::{Cgroup, DeviceRule};

use super::Error;

/// The inode of `/proc/PID/ns/user` for the machine's own user namespace, `PROC_USER_INIT_INO`.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Applies the rules. A runtime that is not the machine's root may not, and its containers need it less: nobody makes device nodes
/// in a user namespace (mknod(2)), and those that are there open to whom they open outside.
pub(super) fn apply(cgroup: &dyn Cgroup, rules: &[DeviceRule]) -> Result<(), Error> {
    match cgroup.apply_devices(rules) {
        Err(error) if error.is_permission() && !is_root_of_the_machine() => {
            log::debug!("{error}; the container may use the devices that its user may");
            Ok(())
        }
        applied => Ok(applied?),
    }
}

pub(super) fn is_root_of_the_machine() -> bool {
    rustix::process::geteuid().is_root()
        && rustix::fs::stat("/proc/self/ns/user")
            .map_or(true, |namespace| namespace.st_ino == INITIAL_USER_NAMESPACE)
}
