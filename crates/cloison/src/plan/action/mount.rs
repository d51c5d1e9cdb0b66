//! One mount, ready to be made.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use cloison_linux::{MountAttrFlags, MountPropagationFlags};

use crate::plan::mount_options::{Attributes, MountOptions};

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind(PathBuf),
    /// A new instance of a file system.
    FileSystem {
        /// As in `/proc/filesystems`.
        fs_type: String,
        /// What mountinfo shows as its source.
        source: String,
    },
}

impl MountSource {
    /// As the configuration has it, but for a path that was relative to the bundle.
    pub fn name(&self) -> &OsStr {
        match self {
            Self::Bind(path) => path.as_os_str(),
            Self::FileSystem { source, .. } => source.as_ref(),
        }
    }
}

/// One mount, with its options already split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountStep {
    /// Where, inside the root file system; always absolute.
    pub destination: PathBuf,
    /// What.
    pub source: MountSource,
    /// How.
    pub options: MountOptions,
    /// Read-only only after everything inside has been made (tmpfs and `/dev`).
    pub read_only_late: bool,
    /// What of the host's is bound instead, where the kernel does not let a user namespace have one of its own.
    pub or_bind: Option<PathBuf>,
    /// The ids of its source are mapped by the runtime when the init has opened it.
    pub mapped_when_opened: bool,
}

impl MountStep {
    /// True if what of the host's is bound instead may only be read, whatever the options say: a host's `/sys` comes with what is mounted
    /// in it, with cgroups that an ordinary user may have been given (CVE-2023-25809).
    pub fn host_stays_as_it_is(&self) -> bool {
        matches!(&self.source, MountSource::FileSystem { fs_type, .. } if fs_type == "sysfs")
    }
}

impl fmt::Display for MountStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (options, destination) = (&self.options, self.destination.display());
        match &self.source {
            _ if options.remount => write!(f, "remount {destination}")?,
            MountSource::Bind(path) => {
                let recursive = if options.bind == Some(true) { "r" } else { "" };
                write!(f, "{recursive}bind {} on {destination}", path.display())?;
            }
            MountSource::FileSystem { fs_type, .. } => {
                write!(f, "mount {fs_type} on {destination}")?;
                if let Some(path) = &self.or_bind {
                    let how = if self.host_stays_as_it_is() { " read-only" } else { "" };
                    write!(f, " or bind {}{how}", path.display())?;
                }
            }
        }
        attributes(f, "", options.attributes)?;
        attributes(f, "recursively ", options.recursive)?;
        if !options.super_flags.is_empty() {
            write!(f, " {}", options.super_flags.join(","))?;
        }
        if options.old_flags != 0 {
            write!(f, " flags {:#x}", options.old_flags)?;
        }
        options.propagation.iter().try_for_each(|change| write!(f, " {}", propagation(*change)))?;
        if !self.options.data.is_empty() {
            write!(f, " ({})", self.options.data.join(","))?;
        }
        if self.options.copy_up {
            f.write_str(" with a copy of what it covers")?;
        }
        if let Some(label) = &self.options.label {
            write!(f, " with the label {label}")?;
        }
        if self.read_only_late {
            f.write_str(" ro later")?;
        }
        Ok(())
    }
}

fn attributes(f: &mut fmt::Formatter<'_>, how: &str, attributes: Attributes) -> fmt::Result {
    let names = [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, "ro", "rw"),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, "nosuid", "suid"),
        (MountAttrFlags::MOUNT_ATTR_NODEV, "nodev", "dev"),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, "noexec", "exec"),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, "noatime", ""),
        (MountAttrFlags::MOUNT_ATTR_STRICTATIME, "strictatime", ""),
        (MountAttrFlags::MOUNT_ATTR__ATIME, "", "relatime"),
        (MountAttrFlags::MOUNT_ATTR_NODIRATIME, "nodiratime", "diratime"),
        (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow", "symfollow"),
    ];
    // The access-time field is cleared before it is set; relatime is its being clear.
    let has_time = attributes.set.intersects(MountAttrFlags::MOUNT_ATTR__ATIME);
    let field = if has_time { MountAttrFlags::MOUNT_ATTR__ATIME } else { MountAttrFlags::empty() };
    let clear = attributes.clear - field;
    let set = names.iter().filter(|(bit, ..)| attributes.set.contains(*bit)).map(|(_, name, _)| *name);
    let clear = names.iter().filter(|(bit, ..)| clear.contains(*bit)).map(|(.., name)| *name);
    let all: Vec<_> = set.chain(clear).filter(|name| !name.is_empty()).collect();
    if all.is_empty() { Ok(()) } else { write!(f, " {how}{}", all.join(",")) }
}

/// As `config.json` calls it.
pub(super) fn propagation(flags: MountPropagationFlags) -> String {
    let recursive = if flags.contains(MountPropagationFlags::REC) { "r" } else { "" };
    let names = [
        (MountPropagationFlags::SHARED, "shared"),
        (MountPropagationFlags::DOWNSTREAM, "slave"),
        (MountPropagationFlags::PRIVATE, "private"),
        (MountPropagationFlags::UNBINDABLE, "unbindable"),
    ];
    let name = names.iter().find(|(bit, _)| flags.contains(*bit)).map_or("unchanged", |(_, name)| name);
    format!("{recursive}{name}")
}
