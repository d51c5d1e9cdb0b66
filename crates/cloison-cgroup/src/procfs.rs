//! What `/proc/self/cgroup` and `/proc/self/mountinfo` say, as data.

use std::path::PathBuf;

use cloison_linux::mountinfo::{self, Mount};

/// One line of `/proc/PID/cgroup` (cgroups(7)): a hierarchy and the process's place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership<'a> {
    /// `cpu`, `memory`, `name=systemd`; nothing for the v2 hierarchy.
    pub(crate) controllers: Vec<&'a str>,
    /// The process's cgroup, seen from the root of its cgroup namespace.
    pub(crate) path: &'a str,
}

impl Membership<'_> {
    /// Whether this is the v2 hierarchy's line, `0::/…`.
    pub(crate) fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// Parses `/proc/self/cgroup`; lines of another form are left out.
pub(crate) fn memberships(text: &str) -> Vec<Membership<'_>> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let controllers = controllers.split(',').filter(|name| !name.is_empty()).collect();
            Some(Membership { controllers, path })
        })
        .collect()
}

/// One mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    /// Which directory of the hierarchy is mounted, seen from the root of the cgroup namespace.
    pub(crate) root: String,
    /// Where it is mounted.
    pub(crate) mount_point: PathBuf,
    /// Whether it is the v2 hierarchy.
    pub(crate) unified: bool,
    /// The options of the super block, which name a v1 hierarchy's controllers.
    options: String,
}

impl CgroupMount {
    /// Whether this is the v1 hierarchy that `controller` (`cpu`, `name=systemd`) is attached to.
    pub(crate) fn has(&self, controller: &str) -> bool {
        !self.unified && self.options.split(',').any(|option| option == controller)
    }
}

/// The cgroup mounts of a `mountinfo` table, in its order. One whose mount point is no text is left out.
pub(crate) fn cgroup_mounts(table: &[u8]) -> Vec<CgroupMount> {
    let of_cgroups = |mount: Mount| {
        let unified = match mount.fs_type.as_str() {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        // A record is text, and could not say where such a cgroup is.
        mount.point.to_str()?;
        let root = mount.root.to_string_lossy().into_owned();
        Some(CgroupMount { root, mount_point: mount.point, unified, options: mount.options })
    };
    mountinfo::parse(table).filter_map(of_cgroups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_with_a_space_is_unescaped() {
        let line =
            r"40 31 0:37 /a\134b /mnt/my\040groups rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct";
        let mounts = cgroup_mounts(line.as_bytes());
        assert_eq!(mounts[0].mount_point, PathBuf::from("/mnt/my groups"));
        assert_eq!(mounts[0].root, r"/a\b");
        assert!(mounts[0].has("cpuacct") && !mounts[0].has("cpuset"));
    }

    #[test]
    fn other_file_systems_are_left_out() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                    23 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        assert_eq!(cgroup_mounts(text.as_bytes()), []);
    }

    #[test]
    fn a_mount_point_that_no_record_can_hold_is_left_out() {
        let text = b"40 31 0:37 / /mnt/\xff rw - cgroup cgroup rw,cpu\n41 31 0:37 / /mnt/cpu rw - cgroup cgroup rw,cpu\n";
        let points: Vec<_> = cgroup_mounts(text).into_iter().map(|mount| mount.mount_point).collect();
        assert_eq!(points, [PathBuf::from("/mnt/cpu")]);
    }

    #[test]
    fn a_cgroup_path_may_hold_colons() {
        let lines = memberships("3:name=systemd:/a:b:c\n0::/x\n");
        assert_eq!(lines[0].path, "/a:b:c");
        assert_eq!(lines[0].controllers, ["name=systemd"]);
        assert!(lines[1].is_unified() && !lines[0].is_unified());
    }
}
