//! Which hierarchies this machine has and where they are mounted.

mod at_default;
mod mounted;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{read_bytes, read_whole};
use crate::legacy::{Directory, Legacy};
use crate::path::{CgroupPath, clean};
use crate::procfs::{cgroup_mounts, memberships};
use crate::record::Record;
use crate::unified::Unified;

/// The cgroup hierarchies of this machine, as far as this process sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// No cgroup file system is mounted.
    Absent,
    /// v2 alone.
    Unified {
        /// Where it is mounted.
        mount: PathBuf,
        /// The runtime's own cgroup below the mount, when it was asked for and is known.
        own: Option<PathBuf>,
    },
    /// v1, with a v2 hierarchy beside it on hybrid machines.
    Legacy {
        /// The v1 hierarchies that are mounted, in the order of `/proc/self/cgroup`.
        hierarchies: Vec<Hierarchy>,
        /// Where the v2 hierarchy of a hybrid machine is mounted.
        unified: Option<PathBuf>,
    },
}

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// The controllers that share it, as `/proc/self/cgroup` writes them: `cpu`, `cpuacct`, `name=systemd`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The runtime's own cgroup below the mount.
    pub own: PathBuf,
}

/// How cgroups are mounted, by the name that people know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No cgroup file system.
    Absent,
    /// v1 hierarchies alone.
    V1,
    /// v1 hierarchies and a v2 one beside them.
    Hybrid,
    /// v2 alone.
    V2,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "none",
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        })
    }
}

impl Layout {
    /// Looks at the machine. Where the hierarchies are mounted as usual, `mountinfo` (which grows with every
    /// container of the machine) is not read.
    ///
    /// # Errors
    /// [`Error::Read`] when `/proc/self/cgroup` or `/proc/self/mountinfo` cannot be read.
    pub fn detect() -> Result<Self> {
        at_default::detect(true)
    }

    /// Looks for no more than it takes to [place](Self::place) `path`: an absolute path on v2 is one `statfs(2)`.
    ///
    /// # Errors
    /// As [`Layout::detect`].
    pub fn detect_for(path: &CgroupPath) -> Result<Self> {
        at_default::detect(path.is_relative())
    }

    /// The layout that `/proc/self/mountinfo` and `/proc/self/cgroup` describe. A mount point that is no text, which no [`Record`] could name, is
    /// passed over.
    #[must_use]
    pub fn parse(mountinfo: impl AsRef<[u8]>, self_cgroup: &str) -> Self {
        mounted::layout(&cgroup_mounts(mountinfo.as_ref()), &memberships(self_cgroup))
    }

    /// How cgroups are mounted, in a word.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Self::Absent => Mode::Absent,
            Self::Unified { .. } => Mode::V2,
            Self::Legacy { unified: None, .. } => Mode::V1,
            Self::Legacy { unified: Some(_), .. } => Mode::Hybrid,
        }
    }

    /// The directories that a container's cgroup at `path` has, as data: nothing is made or looked at.
    ///
    /// # Errors
    /// [`Error::NotMounted`] without any hierarchy, [`Error::OwnCgroupUnknown`] for a relative path on v2 when our
    /// own cgroup is not known.
    pub fn place(&self, path: &CgroupPath) -> Result<Record> {
        match self {
            Self::Absent => Err(Error::NotMounted),
            Self::Unified { mount, own } => place_unified(mount, own.as_deref(), path).map(Record::Unified),
            Self::Legacy { hierarchies, unified } => {
                Ok(Record::Legacy(place_legacy(hierarchies, unified.as_deref(), path)))
            }
        }
    }
}

fn place_unified(mount: &Path, own: Option<&Path>, path: &CgroupPath) -> Result<Unified> {
    let directory = match path {
        CgroupPath::Absolute(below) => mount.join(below),
        CgroupPath::Relative(below) => {
            let own = own.ok_or_else(|| Error::OwnCgroupUnknown(mount.to_owned()))?;
            // Our own cgroup holds our process, so it cannot hand controllers down (the "no internal processes"
            // rule of cgroups(7)); its parent can.
            mount.join(own.parent().unwrap_or(own)).join(below)
        }
    };
    Ok(Unified { mount: mount.to_owned(), directory })
}

fn place_legacy(hierarchies: &[Hierarchy], unified: Option<&Path>, path: &CgroupPath) -> Legacy {
    let mut directories: Vec<Directory> = hierarchies
        .iter()
        .map(|hierarchy| Directory {
            controllers: hierarchy.controllers.clone(),
            path: if path.is_relative() {
                hierarchy.mount.join(&hierarchy.own).join(path.below())
            } else {
                hierarchy.mount.join(path.below())
            },
        })
        .collect();
    // Joined last, the memory cgroup is not charged for what joining the others allocates: the smallest limit under
    // which a container starts is then half as large.
    directories.sort_by_key(|directory| directory.has("memory"));
    // Below the root even for a relative path: that is where runc puts it, so where others look for it.
    Legacy { directories, unified: unified.map(|mount| mount.join(path.below())) }
}

/// The table of our mounts.
pub(crate) fn mountinfo() -> Result<Vec<u8>> {
    let path = Path::new(cloison_linux::mountinfo::PATH);
    read_bytes(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn read(path: &str) -> Result<String> {
    read_whole(Path::new(path)).map_err(|source| Error::Read { path: PathBuf::from(path), source })
}

/// Our own cgroup below a mount: `path` is where we are and `root` what is mounted, both as our cgroup namespace has
/// them. Nothing when the mount does not reach us: then the mount itself is the nearest place to be below.
fn below_mount(root: &str, path: &str) -> Option<PathBuf> {
    // A process outside the namespace's root is shown as `/../..`.
    if path == "/.." || path.starts_with("/../") {
        return None;
    }
    let rest = path.strip_prefix(root.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then(|| clean(rest))
}
