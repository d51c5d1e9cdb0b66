//! The quick way to a layout: look where distributions mount cgroups, and read `mountinfo` only if they are not there.

use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, stat, statfs};
use rustix::io::Errno;

use super::{Hierarchy, Layout, below_mount, mountinfo, read};
use crate::error::Result;
use crate::procfs::{Membership, memberships};

/// Where every distribution mounts its cgroups.
const DEFAULT: &str = "/sys/fs/cgroup";
/// `CGROUP_SUPER_MAGIC` of statfs(2): a v1 hierarchy.
const V1_MAGIC: FsWord = 0x0027_e0eb;
/// `CGROUP2_SUPER_MAGIC` of statfs(2).
const V2_MAGIC: FsWord = 0x6367_7270;
/// `TMPFS_MAGIC` of statfs(2): what v1 hierarchies are mounted in.
const TMPFS_MAGIC: FsWord = 0x0102_1994;

/// Finds the layout; our own cgroup on v2 only when `own_wanted`.
pub(super) fn detect(own_wanted: bool) -> Result<Layout> {
    let magic = file_system(Path::new(DEFAULT));
    if magic == V2_MAGIC && !own_wanted {
        return Ok(Layout::Unified { mount: PathBuf::from(DEFAULT), own: None });
    }
    let self_cgroup = read("/proc/self/cgroup")?;
    let eyes = Eyes { file_system: &file_system, is_whole: &is_whole };
    match layout(magic, &memberships(&self_cgroup), &eyes) {
        Some(layout) => Ok(layout),
        None => Ok(Layout::parse(mountinfo()?, &self_cgroup)),
    }
}

/// How the machine is looked at.
struct Eyes<'a> {
    /// The type of the file system at a path, 0 when nothing is there.
    file_system: &'a dyn Fn(&Path) -> FsWord,
    /// Whether the mount at a path shows the whole of its hierarchy.
    is_whole: &'a dyn Fn(&Path) -> bool,
}

/// The layout, if everything that we are a member of is mounted at its usual place.
fn layout(default: FsWord, memberships: &[Membership<'_>], eyes: &Eyes<'_>) -> Option<Layout> {
    match default {
        V2_MAGIC => {
            let mount = PathBuf::from(DEFAULT);
            let own = memberships.iter().find(|membership| membership.is_unified())?;
            let own = own_below(&mount, own.path, eyes)?;
            Some(Layout::Unified { mount, own: Some(own) })
        }
        TMPFS_MAGIC => {
            let mut hierarchies = Vec::with_capacity(memberships.len());
            for membership in memberships.iter().filter(|membership| !membership.is_unified()) {
                hierarchies.push(hierarchy(membership, eyes)?);
            }
            let unified = Path::new(DEFAULT).join("unified");
            let unified = ((eyes.file_system)(&unified) == V2_MAGIC).then_some(unified);
            (!hierarchies.is_empty()).then_some(Layout::Legacy { hierarchies, unified })
        }
        _ => None,
    }
}

fn hierarchy(membership: &Membership<'_>, eyes: &Eyes<'_>) -> Option<Hierarchy> {
    let name = membership.controllers.join(",");
    // A directory in the tmpfs whose file system is a cgroup one can only be a mount point.
    let mount = Path::new(DEFAULT).join(name.strip_prefix("name=").unwrap_or(&name));
    if (eyes.file_system)(&mount) != V1_MAGIC {
        return None;
    }
    let own = own_below(&mount, membership.path, eyes)?;
    let controllers = membership.controllers.iter().map(ToString::to_string).collect();
    Some(Hierarchy { controllers, mount, own })
}

/// Our own cgroup below a mount. A process in the root of its cgroup namespace sees `/`, which is below whatever part
/// of the hierarchy is mounted; for others the whole must be there, or `mountinfo` has to say which part is.
fn own_below(mount: &Path, path: &str, eyes: &Eyes<'_>) -> Option<PathBuf> {
    if path == "/" {
        return Some(PathBuf::new());
    }
    (eyes.is_whole)(mount).then(|| below_mount("/", path))?
}

fn file_system(path: &Path) -> FsWord {
    statfs(path).map_or_else(
        |error| {
            if error != Errno::NOENT {
                log::debug!("statfs {}: {error}; taken for no cgroup mount", path.display());
            }
            0
        },
        |found| found.f_type,
    )
}

/// The root of a kernfs is the first node that it makes, so its number is 1.
fn is_whole(path: &Path) -> bool {
    stat(path).is_ok_and(|found| found.st_ino == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELF_CGROUP: &str = "12:memory:/\n4:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n";

    fn look(default: FsWord, self_cgroup: &str, mounts: &[(&str, FsWord)], whole: bool) -> Option<Layout> {
        let file_system = |path: &Path| {
            mounts
                .iter()
                .find(|(name, _)| Path::new(DEFAULT).join(name) == path)
                .map_or(0, |(_, magic)| *magic)
        };
        let eyes = Eyes { file_system: &file_system, is_whole: &|_| whole };
        layout(default, &memberships(self_cgroup), &eyes)
    }

    #[test]
    fn hierarchies_at_their_usual_places_need_no_mountinfo() {
        let mounts =
            [("memory", V1_MAGIC), ("cpu,cpuacct", V1_MAGIC), ("systemd", V1_MAGIC), ("unified", V2_MAGIC)];
        let Some(Layout::Legacy { hierarchies, unified }) = look(TMPFS_MAGIC, SELF_CGROUP, &mounts, true)
        else {
            panic!("no quick layout");
        };
        assert_eq!(unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(hierarchies[1].mount, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(hierarchies[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(hierarchies[2].mount, PathBuf::from("/sys/fs/cgroup/systemd"));
        assert_eq!(hierarchies[2].own, PathBuf::from("init.scope"));
    }

    #[test]
    fn a_hierarchy_elsewhere_sends_us_to_mountinfo() {
        let mounts = [("memory", V1_MAGIC), ("systemd", V1_MAGIC)];
        assert_eq!(look(TMPFS_MAGIC, SELF_CGROUP, &mounts, true), None);
    }

    #[test]
    fn a_plain_directory_is_not_taken_for_a_mount() {
        let mounts = [("memory", V1_MAGIC), ("cpu,cpuacct", TMPFS_MAGIC), ("systemd", V1_MAGIC)];
        assert_eq!(look(TMPFS_MAGIC, SELF_CGROUP, &mounts, true), None);
    }

    #[test]
    fn a_mounted_part_of_a_hierarchy_sends_us_to_mountinfo() {
        assert_eq!(look(V2_MAGIC, "0::/docker/abc\n", &[], false), None);
        assert_eq!(
            look(V2_MAGIC, "0::/docker/abc\n", &[], true),
            Some(Layout::Unified { mount: DEFAULT.into(), own: Some("docker/abc".into()) })
        );
    }

    #[test]
    fn in_a_cgroup_namespace_the_mount_is_our_own() {
        assert_eq!(
            look(V2_MAGIC, "0::/\n", &[], false),
            Some(Layout::Unified { mount: DEFAULT.into(), own: Some(PathBuf::new()) })
        );
    }

    #[test]
    fn this_machine_looks_the_same_both_ways() {
        let quick = detect(true).unwrap();
        let slow = Layout::parse(mountinfo().unwrap(), &read("/proc/self/cgroup").unwrap());
        assert_eq!(quick, slow);
    }
}
