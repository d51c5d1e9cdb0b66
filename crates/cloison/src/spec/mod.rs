//! `config.json`: runtime-spec 1.3 as types, read and checked.
//!
//! A [`Spec`] that comes from [`Spec::load`] or [`Spec::from_slice`] keeps every rule that can be told
//! without asking the machine, so that nobody behind needs to check again. What the machine decides (whether
//! a path is there, whether the kernel can do it) is asked when a plan is made.
//!
//! ```
//! use cloison::spec::Spec;
//!
//! let error = Spec::from_slice(br#"{"ociVersion": "1.3.0", "process": {"args": ["sh"], "cwd": "tmp"}}"#).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "config.json has 2 problems:\n\
//!      /root: root must be specified, with the path of the container's root file system\n\
//!      /process/cwd: Cwd must be an absolute path, not \"tmp\""
//! );
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `process`, `mounts`, `hooks`, `linux`, `resources`, `seccomp` | the sections of `config.json` |
//! | `encoding`, `id_list` | values that several sections use |
//! | `read` | bytes become a [`Spec`], on the fast way |
//! | `diagnose` | the slow way, taken when the fast one fails: finds all problems |
//! | `check` | the rules that types alone do not carry |
//! | `warnings` | what is ignored or deprecated |
//! | `example` | what `cloison spec` writes |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod check;
mod diagnose;
mod encoding;
mod error;
mod example;
mod hooks;
mod id_list;
mod letter_case;
mod linux;
mod mounts;
mod process;
mod read;
mod resources;
mod seccomp;
mod warnings;

pub use check::sysctl_path;
pub use error::{Problem, SIZE_LIMIT, SpecError};
pub use example::example;
pub use hooks::{Hook, Hooks};
pub use id_list::{IdList, InvalidIdList};
pub use linux::{
    Device, DeviceType, IntelRdt, Linux, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode, Namespace,
    NamespaceType, NetDevice, Personality, PersonalityDomain, Propagation, TimeOffset,
};
pub use mounts::{ID_MAP_OPTIONS, IdMapping, MOUNT_OPTIONS, Mount, Root, is_file_system_option};
pub use process::{
    Capabilities, ConsoleSize, CpuAffinity, IoPriority, IoPriorityClass, Process, Rlimit, RlimitType,
    Scheduler, SchedulerFlag, SchedulerPolicy, User,
};
pub use read::read_file;
pub use resources::{
    BlockIo, Cpu, DeviceRule, DeviceRuleType, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma,
    Resources, ThrottleDevice, WeightDevice,
};
pub use seccomp::{
    LISTENER_ANNOTATION, Seccomp, SeccompAction, SeccompArch, SeccompFlag, SeccompOperator, Syscall,
    SyscallArg,
};

use encoding::{is_default, non_empty, objects};

/// The oldest version of runtime-spec that is understood.
pub const OLDEST_VERSION: &str = "1.0.0";
/// The newest version of runtime-spec that is understood whole.
pub const NEWEST_VERSION: &str = "1.3.0";

/// `config.json`, whole
/// ([config.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md)).
///
/// An absent section is an empty one, and an empty text is an absent one. Fields of other systems are kept
/// as they came, and unknown fields are ignored, as the specification demands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Spec {
    /// The version of runtime-spec that it was written for; checked to be 1.x.y.
    pub oci_version: String,
    /// The program; checked to be there.
    #[serde(skip_serializing_if = "is_default")]
    pub process: Process,
    /// The root file system; checked to be there.
    #[serde(skip_serializing_if = "is_default")]
    pub root: Root,
    /// The host name; checked to come with a uts namespace.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The NIS domain name; checked to come with a uts namespace.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Mounts below the root file system, in the order they are made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs that run at points of the container's life.
    #[serde(skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    /// Notes for other programs, and a few for the runtime.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(skip_serializing_if = "is_default")]
    pub linux: Linux,
    /// What only Solaris has, ignored with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solaris: Option<Value>,
    /// What only Windows has, ignored with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Value>,
    /// What only virtual machines have, ignored with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<Value>,
    /// What only z/OS has, ignored with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zos: Option<Value>,
    /// What only FreeBSD has, ignored with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freebsd: Option<Value>,
}

impl Spec {
    /// The text of `config.json`: absent fields left out, indented by tabs, no newline at the end.
    #[expect(clippy::missing_panics_doc, reason = "every key is a string and every number finite")]
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(4096);
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, tabs);
        self.serialize(&mut serializer).expect("a spec is always JSON");
        text
    }
}

objects!(Spec);

#[cfg(test)]
mod tests;
