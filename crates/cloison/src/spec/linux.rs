//! The `linux` section
//! ([config-linux.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::encoding::{is_default, named, non_empty, objects};
use super::id_list::IdList;
use super::mounts::IdMapping;
use super::resources::Resources;
use super::seccomp::Seccomp;

/// `linux`: namespaces, cgroup, devices and the kernel's other means of keeping a container in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Linux {
    /// User ids of a new user namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a new user namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters by name, with `.` or `/` between the parts; see [`sysctl_path`](super::sysctl_path).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// The cgroup's limits.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// The cgroup's path, or `slice:prefix:name` under systemd.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub cgroups_path: Option<String>,
    /// The namespaces that are made or joined; checked to name each type once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    /// Device nodes besides the default ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Network devices that are moved into the container, by their name on the host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// The system call filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// How mounts of the root file system spread.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<Propagation>,
    /// Paths that are hidden inside of the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    /// Paths that are read-only inside of the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
    /// The `SELinux` label of mounts.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub mount_label: Option<String>,
    /// Cache and memory bandwidth (resctrl).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// The NUMA policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
    /// The execution domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// The clocks of a new time namespace, by name; checked to be `monotonic` and `boottime` only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
}

impl Linux {
    /// The entry of a namespace type, if the container has its own or joins one.
    pub fn namespace(&self, kind: NamespaceType) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// Whether the container gets a namespace of a type, new or joined, instead of the runtime's own.
    pub fn has_namespace(&self, kind: NamespaceType) -> bool {
        self.namespace(kind).is_some()
    }

    /// Whether a new namespace of a type is made.
    pub fn makes_namespace(&self, kind: NamespaceType) -> bool {
        self.namespace(kind).is_some_and(|namespace| namespace.path.is_none())
    }
}

/// One entry of `linux.namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Namespace {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: NamespaceType,
    /// The file of an existing namespace to join, checked to be absolute; absent makes a new one.
    #[serde(default, deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

named! {
    /// The kinds of namespaces(7).
    "a namespace"
    pub enum NamespaceType {
        /// Process ids.
        Pid = "pid",
        /// Network devices, addresses, ports.
        Network = "network",
        /// Mounts.
        Mount = "mount",
        /// System V IPC and POSIX message queues.
        Ipc = "ipc",
        /// Host and domain name.
        Uts = "uts",
        /// User and group ids.
        User = "user",
        /// The root of the cgroup tree.
        Cgroup = "cgroup",
        /// The monotonic and boot clocks (since Linux 5.6).
        Time = "time",
    }
}

named! {
    /// How mounts spread between mount namespaces (`mount_namespaces(7)`).
    "a propagation"
    pub enum Propagation {
        /// In neither direction.
        Private = "private",
        /// In both directions.
        Shared = "shared",
        /// Only into the container.
        Slave = "slave",
        /// Private, and cannot be bind mounted.
        Unbindable = "unbindable",
        /// In neither direction, with all mounts below.
        RecursivePrivate = "rprivate",
        /// In both directions, with all mounts below.
        RecursiveShared = "rshared",
        /// Only into the container, with all mounts below.
        RecursiveSlave = "rslave",
        /// Private and not to be bind mounted, with all mounts below.
        RecursiveUnbindable = "runbindable",
    }
}

impl Propagation {
    /// Whether it is for all mounts below too.
    pub const fn is_recursive(self) -> bool {
        matches!(
            self,
            Self::RecursivePrivate | Self::RecursiveShared | Self::RecursiveSlave | Self::RecursiveUnbindable
        )
    }
}

/// One entry of `linux.devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Device {
    /// Where the node is inside of the container; empty makes none, with a warning.
    #[serde(default)]
    pub path: String,
    /// Which kind of node.
    #[serde(rename = "type")]
    pub kind: DeviceType,
    /// The major number.
    #[serde(default)]
    pub major: i64,
    /// The minor number.
    #[serde(default)]
    pub minor: i64,
    /// The permission bits, see [`Device::mode`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// The owner as seen from inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The group as seen from inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

impl Device {
    /// The permission bits without the file's type, which some engines write along; 0666 when none are given.
    pub fn mode(&self) -> u32 {
        self.file_mode.map_or(0o666, |mode| mode & 0o7777)
    }
}

named! {
    /// The kinds of nodes that mknod(1) makes.
    "a kind of device"
    pub enum DeviceType {
        /// A character device.
        Character = "c",
        /// A block device.
        Block = "b",
        /// A character device, by its older name.
        Unbuffered = "u",
        /// A FIFO.
        Fifo = "p",
    }
}

/// One entry of `linux.netDevices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct NetDevice {
    /// The device's name inside of the container; absent keeps its name.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `linux.intelRdt`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct IntelRdt {
    /// The class of service; `/` is the default one, absent is one of the container's own.
    #[serde(rename = "closID", deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub clos_id: Option<String>,
    /// Lines of the `schemata` file, written last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// The line about the third-level cache, `L3:…`.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// The line about memory bandwidth, `MB:…`.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// Whether the container gets a monitoring group of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub enable_monitoring: bool,
}

/// `linux.memoryPolicy`: the arguments of `set_mempolicy(2)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct MemoryPolicy {
    /// The mode.
    pub mode: MemoryPolicyMode,
    /// The nodes; checked to be there for the modes that need them, and only for those.
    #[serde(default, deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub nodes: Option<IdList>,
    /// Flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<MemoryPolicyFlag>,
}

named! {
    /// The modes of `set_mempolicy(2)`.
    "a memory policy's mode"
    pub enum MemoryPolicyMode {
        /// The system's default.
        Default = "MPOL_DEFAULT",
        /// Only these nodes.
        Bind = "MPOL_BIND",
        /// These nodes in turn.
        Interleave = "MPOL_INTERLEAVE",
        /// These nodes in turn by weight (since Linux 6.9).
        WeightedInterleave = "MPOL_WEIGHTED_INTERLEAVE",
        /// This node first.
        Preferred = "MPOL_PREFERRED",
        /// These nodes first (since Linux 5.15).
        PreferredMany = "MPOL_PREFERRED_MANY",
        /// The CPU's own node.
        Local = "MPOL_LOCAL",
    }
}

impl MemoryPolicyMode {
    /// The number that `set_mempolicy(2)` takes.
    pub const fn number(self) -> i32 {
        match self {
            Self::Default => 0,
            Self::Preferred => 1,
            Self::Bind => 2,
            Self::Interleave => 3,
            Self::Local => 4,
            Self::PreferredMany => 5,
            Self::WeightedInterleave => 6,
        }
    }
}

named! {
    /// The flags of `set_mempolicy(2)`.
    "a memory policy's flag"
    pub enum MemoryPolicyFlag {
        /// Pages follow the tasks (since Linux 5.12).
        NumaBalancing = "MPOL_F_NUMA_BALANCING",
        /// Nodes are counted within the allowed ones.
        RelativeNodes = "MPOL_F_RELATIVE_NODES",
        /// Nodes are not counted anew when the allowed ones change.
        StaticNodes = "MPOL_F_STATIC_NODES",
    }
}

impl MemoryPolicyFlag {
    /// The bit that is added to the mode.
    pub const fn bit(self) -> i32 {
        match self {
            Self::StaticNodes => 1 << 15,
            Self::RelativeNodes => 1 << 14,
            Self::NumaBalancing => 1 << 13,
        }
    }
}

/// `linux.personality`: the argument of personality(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Personality {
    /// The execution domain.
    pub domain: PersonalityDomain,
    /// Further flags: none is defined yet, so all are ignored with a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

named! {
    /// The execution domains.
    "an execution domain"
    pub enum PersonalityDomain {
        /// The machine's own.
        Linux = "LINUX",
        /// uname(2) tells of a 32-bit machine.
        Linux32 = "LINUX32",
    }
}

impl PersonalityDomain {
    /// The number that personality(2) takes.
    pub const fn number(self) -> u32 {
        match self {
            Self::Linux => 0,
            Self::Linux32 => 8,
        }
    }
}

/// One entry of `linux.timeOffsets`: how much later a clock is in the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct TimeOffset {
    /// Seconds, which may be negative.
    #[serde(skip_serializing_if = "is_default")]
    pub secs: i64,
    /// Nanoseconds on top; checked to be less than a second.
    #[serde(skip_serializing_if = "is_default")]
    pub nanosecs: u32,
}

objects!(Linux, Namespace, Device, NetDevice, IntelRdt, MemoryPolicy, Personality, TimeOffset);
