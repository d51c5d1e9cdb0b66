//! The cgroup of a container, as the host sees it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::container::Container;
use crate::host::{CgroupLayout, cgroup_layout};

/// Where a process is in the hierarchy of a controller, if there is one.
pub fn directory(pid: u32, controller: &str) -> Option<PathBuf> {
    let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process is alive");
    let path = |line: &str| line.splitn(3, ':').nth(2).map(|path| path.trim_start_matches('/').to_owned());
    match cgroup_layout() {
        CgroupLayout::V2 => {
            let line = memberships.lines().find(|line| line.starts_with("0::"))?;
            Some(Path::new("/sys/fs/cgroup").join(path(line)?))
        }
        CgroupLayout::V1 => {
            let has = |line: &&str| {
                line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == controller))
            };
            let line = memberships.lines().find(has)?;
            Some(mount(controller)?.join(path(line)?))
        }
    }
}

/// Where the v1 hierarchy of a controller is mounted.
fn mount(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let line =
        lines.find(|line| line[2] == "cgroup" && line[3].split(',').any(|option| option == controller))?;
    Some(line[1].into())
}

/// Whether cgroups can have this controller here.
pub fn has_controller(name: &str) -> bool {
    match cgroup_layout() {
        CgroupLayout::V2 => fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .expect("it is v2")
            .split_whitespace()
            .any(|controller| controller == if name == "blkio" { "io" } else { name }),
        CgroupLayout::V1 => mount(name).is_some(),
    }
}

/// A file by its names on v1 and on v2.
pub type File<'a> = (&'a str, &'a str);

impl Container<'_> {
    /// The path of a file of its cgroup.
    pub fn cgroup_path(&self, controller: &str, (v1, v2): File<'_>) -> PathBuf {
        let directory = directory(self.pid(), controller).expect("the controller is there");
        directory.join(if cgroup_layout() == CgroupLayout::V1 { v1 } else { v2 })
    }

    /// Whether its cgroup has a file.
    pub fn has_cgroup_file(&self, controller: &str, file: File<'_>) -> bool {
        self.cgroup_path(controller, file).exists()
    }

    /// What a file of its cgroup says.
    #[track_caller]
    pub fn cgroup_file(&self, controller: &str, file: File<'_>) -> String {
        let path = self.cgroup_path(controller, file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim_end().to_owned()
    }

    /// The number after a word in a file of its cgroup.
    #[track_caller]
    pub fn cgroup_number(&self, controller: &str, file: File<'_>, word: File<'_>) -> u64 {
        let word = if cgroup_layout() == CgroupLayout::V1 { word.0 } else { word.1 };
        let text = self.cgroup_file(controller, file);
        let line = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {word} in {text}")).trim().parse().expect("a number")
    }
}
