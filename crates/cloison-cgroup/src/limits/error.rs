//! Why a limit cannot be set.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::resources::{Limit, SwapError};

/// Why a limit cannot be set; each variant is a sentence that names the field of `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// A value that its file could not take, and that systemd has to be told in another form.
    #[error("/linux/resources/{field}: invalid value {value:?}")]
    Invalid {
        /// The field below `linux.resources`: `cpu/cpus`.
        field: String,
        /// What was asked for.
        value: String,
    },

    /// A limit's value was not accepted by its file.
    #[error("/linux/resources/{field}: cannot write {value:?} to {} ({controller} controller)", path.display())]
    Refused {
        /// The field below `linux.resources`: `memory/limit`.
        field: String,
        /// The controller.
        controller: String,
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why.
        source: Errno,
    },

    /// The controller that a limit needs does not act on the cgroup.
    #[error(
        "/linux/resources/{field} needs {file} of the {controller} controller, which is not available: {why}"
    )]
    NoController {
        /// The field below `linux.resources`.
        field: String,
        /// The controller.
        controller: String,
        /// The file that it would have.
        file: String,
        /// What is missing.
        why: &'static str,
    },

    /// The controller is there, but cannot limit this.
    #[error("/linux/resources/{field}: the {controller} controller of this kernel has no {file} in {}", path.display())]
    NoFile {
        /// The field below `linux.resources`.
        field: String,
        /// The controller.
        controller: String,
        /// The file that is missing.
        file: String,
        /// The cgroup's directory.
        path: PathBuf,
    },

    /// A limit that cgroup v2 does not have.
    #[error("/linux/resources/{field}: cgroup v2 has no such limit, only v1")]
    LegacyOnly {
        /// The field below `linux.resources`.
        field: &'static str,
    },

    /// `unified` on v1.
    #[error("/linux/resources/unified/{name}: invalid configuration: cannot use unified on cgroup v1")]
    UnifiedOnLegacy {
        /// The first of the files.
        name: String,
    },

    /// A key of `unified` that is not the name of a file with a limit.
    #[error("/linux/resources/unified: unified resource {name:?} {why}")]
    UnifiedName {
        /// The key.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },

    /// A size of huge pages that is none, and could be a path.
    #[error("/linux/resources/hugepageLimits/{index}/pageSize: {size:?} is not a size of huge pages")]
    PageSize {
        /// Which of the limits.
        index: usize,
        /// What should be a size.
        size: String,
    },

    /// A limit of memory below what cannot be given back.
    #[error(
        "/linux/resources/{field}: unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})"
    )]
    MemoryInUse {
        /// The field below `linux.resources`.
        field: String,
        /// What was asked for, in bytes.
        limit: String,
        /// What is used, in bytes.
        usage: u64,
        /// The most that was used, in bytes.
        peak: u64,
    },

    /// A limit of memory below what is used, which `checkBeforeUpdate` forbids.
    #[error("/linux/resources/memory: rejecting {what} {limit} <= usage {usage}")]
    LessThanUsed {
        /// `memory limit` or `memory+swap limit`.
        what: &'static str,
        /// What was asked for, in bytes.
        limit: u64,
        /// What is used, in bytes.
        usage: u64,
    },

    /// Limits of memory and swap that do not go together.
    #[error("/linux/resources/memory/swap: {source} (swap {}, limit {})", or_unset(*swap), or_unset(*limit))]
    Swap {
        /// What is wrong.
        #[source]
        source: SwapError,
        /// Memory and swap together.
        swap: Option<Limit>,
        /// Memory.
        limit: Option<Limit>,
    },

    /// The kernel took a value and made another one of it.
    #[error(
        "/linux/resources/{field}: {value} is out of range, the kernel made it {kept} in {}", path.display()
    )]
    NotKept {
        /// The field below `linux.resources`.
        field: String,
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What the file says.
        kept: String,
    },
}

impl LimitError {
    /// The kernel's error number, when it was the kernel that refused.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { source, .. } => Some(*source),
            _ => None,
        }
    }
}

fn or_unset(limit: Option<Limit>) -> String {
    limit.map_or_else(|| "not set".to_owned(), |limit| limit.to_string())
}
