//! Whatever `cgroupsPath` says, and however cgroups are mounted, a container's cgroup lies below a mount, and is not the mount.
#![no_main]

use std::path::{Component, Path};

use cloison_cgroup::{CgroupPath, Layout, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Option<&str>, &str, &[u8])| {
    let (id, path, self_cgroup, mountinfo) = input;
    let Ok(path) = CgroupPath::new(path, id) else { return };
    assert!(is_plain(path.below()) && path.below().components().next().is_some(), "{path:?}");
    for layout in [Layout::parse(mountinfo, self_cgroup), v2(), hybrid()] {
        let Ok(record) = layout.place(&path) else { continue };
        let mounts: Vec<&Path> = match &layout {
            Layout::Absent => Vec::new(),
            Layout::Unified { mount, .. } => vec![mount],
            Layout::Legacy { hierarchies, unified } => hierarchies
                .iter()
                .map(|hierarchy| hierarchy.mount.as_path())
                .chain(unified.as_deref())
                .collect(),
        };
        for directory in record.paths().values() {
            let below = |mount: &&Path| {
                directory
                    .strip_prefix(mount)
                    .is_ok_and(|rest| is_plain(rest) && rest.components().next().is_some())
            };
            assert!(mounts.iter().any(below), "{} is below none of {mounts:?}", directory.display());
        }
        let json = serde_json::to_string(&record).expect("it has a form");
        assert_eq!(serde_json::from_str::<Record>(&json).ok(), Some(record), "{json}");
    }
});

fn is_plain(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_)))
}

fn v2() -> Layout {
    Layout::parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/user.slice/session\n")
}

fn hybrid() -> Layout {
    let mounts = "31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                  33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    Layout::parse(mounts, "4:memory:/a/b\n0::/\n")
}
