//! The `root` and `mounts` sections
//! ([config.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#mounts)).

use serde::{Deserialize, Serialize};

use super::encoding::{is_default, non_empty, objects};

/// `root`: the container's root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct Root {
    /// Its directory, absolute or relative to the bundle; checked not to be empty.
    pub path: String,
    /// Whether it is made read-only before the program starts.
    #[serde(skip_serializing_if = "is_default")]
    pub readonly: bool,
}

/// One entry of `mounts`; they are made in the order they are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Mount {
    /// Where it is mounted inside of the container; a relative path counts from `/`, with a warning.
    pub destination: String,
    /// The file system's type; checked to be there unless it is a bind mount, a remount or a propagation.
    #[serde(rename = "type", deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A device, a name, or for bind mounts a path, absolute or relative to the bundle.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Options as in fstab(5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// User ids of an id-mapped mount; checked to come with `gidMappings` and on bind mounts only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of an id-mapped mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

impl Mount {
    /// Whether it shows a part of the host's tree: `bind` or `rbind` is among its options.
    pub fn is_bind(&self) -> bool {
        self.has_option("bind") || self.has_option("rbind")
    }

    /// Whether it is to be id-mapped, by its options or by mappings of its own.
    pub fn is_id_mapped(&self) -> bool {
        self.has_option("idmap") || self.has_option("ridmap") || self.has_mappings()
    }

    /// Whether it brings mappings of its own instead of taking the user namespace's.
    pub fn has_mappings(&self) -> bool {
        !self.uid_mappings.is_empty() || !self.gid_mappings.is_empty()
    }

    /// Whether an option is listed, word for word.
    pub fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|listed| listed == option)
    }
}

/// One row of a user namespace's or of a mount's id map (`user_namespaces(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct IdMapping {
    /// The first id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The first id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many ids; checked not to be 0 and not to run over the end of the ids.
    pub size: u32,
}

impl IdMapping {
    /// The id outside of one inside, if this row maps it.
    pub fn host_id_of(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.container_id)?;
        if offset < self.size { self.host_id.checked_add(offset) } else { None }
    }
}

/// The mount options that mean the same for every file system, in alphabetical order.
///
/// These are what `features` lists as `mountOptions`. `idmap` and `ridmap`, which it lists elsewhere, are in
/// [`ID_MAP_OPTIONS`]. All other options are the file system's own.
pub const MOUNT_OPTIONS: [&str; 60] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// The options that ask for an id-mapped mount, of the top mount alone or of all below it too.
pub const ID_MAP_OPTIONS: [&str; 2] = ["idmap", "ridmap"];

/// Whether an option is the file system's own, and so is handed to it as it is.
pub fn is_file_system_option(option: &str) -> bool {
    MOUNT_OPTIONS.binary_search(&option).is_err() && !ID_MAP_OPTIONS.contains(&option)
}

objects!(Root, Mount, IdMapping);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_sorted_so_that_each_is_found() {
        assert!(MOUNT_OPTIONS.is_sorted());
        assert!(MOUNT_OPTIONS.iter().chain(&ID_MAP_OPTIONS).all(|option| !is_file_system_option(option)));
        assert!(is_file_system_option("size=64k"));
        assert!(is_file_system_option("idmap=uids=0-1-10"));
    }

    #[test]
    fn an_id_outside_of_a_row_is_not_mapped() {
        let row = IdMapping { container_id: 10, host_id: 1000, size: 5 };
        assert_eq!(row.host_id_of(9), None);
        assert_eq!(row.host_id_of(10), Some(1000));
        assert_eq!(row.host_id_of(14), Some(1004));
        assert_eq!(row.host_id_of(15), None);
    }
}
