//! The `process` section: what runs in the container and with which rights
//! ([config.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#process)).

use serde::{Deserialize, Serialize};

use super::encoding::{is_default, named, non_empty, objects};
use super::id_list::IdList;

/// `process`: the program, its user and its rights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Process {
    /// Whether the program gets a pseudo-terminal.
    #[serde(skip_serializing_if = "is_default")]
    pub terminal: bool,
    /// The terminal's size in characters, ignored without a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// The user and groups that the program runs as.
    pub user: User,
    /// The program and its arguments; checked to hold at least the program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// A command line for Windows, ignored with a warning.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// `NAME=value` entries; checked to have a name and `=`. The last of a name wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The working directory inside of the container; checked to be absolute.
    pub cwd: String,
    /// The capability sets; when absent, the program has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits; checked to name each resource once and to have soft ≤ hard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Whether execve(2) may never give new privileges (`PR_SET_NO_NEW_PRIVS`).
    #[serde(skip_serializing_if = "is_default")]
    pub no_new_privileges: bool,
    /// The `AppArmor` profile to change to on exec.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// What to write to `/proc/self/oom_score_adj`; checked to be within -1000 to 1000. Absent: left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// The CPU scheduler's settings (`sched_setattr(2)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// The `SELinux` label to run with.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// The I/O priority (`ioprio_set(2)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// The CPUs of processes that join the container later.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "is_default")]
    pub exec_cpu_affinity: CpuAffinity,
}

/// `process.consoleSize`: a terminal's size in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct ConsoleSize {
    /// The number of lines.
    pub height: u64,
    /// The number of columns.
    pub width: u64,
}

/// `process.user`: numeric ids as seen from inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct User {
    /// The user id; checked not to be 4294967295, which the kernel takes for "unchanged".
    pub uid: u32,
    /// The group id; checked like `uid`.
    pub gid: u32,
    /// The file mode creation mask; absent, it is 022.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// The supplementary groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
    /// A user's name for Windows, ignored with a warning.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// `process.capabilities`: names such as `CAP_CHOWN`; unknown ones are ignored with a warning.
///
/// [`Capability::from_name`](cloison_linux::capability::Capability::from_name) knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct Capabilities {
    /// What can ever be gained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    /// What the kernel looks at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// What files with inheritable capabilities may give over execve(2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// What may be made effective.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    /// What is kept over execve(2) of ordinary files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// One entry of `process.rlimits` (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Rlimit {
    /// The resource.
    #[serde(rename = "type")]
    pub kind: RlimitType,
    /// The ceiling of the soft limit, in the resource's own unit.
    #[serde(default)]
    pub hard: u64,
    /// The limit that is enforced, in the resource's own unit.
    #[serde(default)]
    pub soft: u64,
}

named! {
    /// The resources of getrlimit(2).
    "a resource of getrlimit(2)"
    pub enum RlimitType {
        /// Processor time in seconds.
        Cpu = "RLIMIT_CPU",
        /// File size in bytes.
        Fsize = "RLIMIT_FSIZE",
        /// Data segment in bytes.
        Data = "RLIMIT_DATA",
        /// Stack in bytes.
        Stack = "RLIMIT_STACK",
        /// Core file in bytes.
        Core = "RLIMIT_CORE",
        /// Resident set in bytes, not enforced since Linux 2.4.30.
        Rss = "RLIMIT_RSS",
        /// Processes of the user.
        Nproc = "RLIMIT_NPROC",
        /// One more than the highest file descriptor.
        Nofile = "RLIMIT_NOFILE",
        /// Locked memory in bytes.
        Memlock = "RLIMIT_MEMLOCK",
        /// Address space in bytes.
        As = "RLIMIT_AS",
        /// File locks, not enforced since Linux 2.4.25.
        Locks = "RLIMIT_LOCKS",
        /// Queued signals of the user.
        Sigpending = "RLIMIT_SIGPENDING",
        /// POSIX message queues of the user in bytes.
        Msgqueue = "RLIMIT_MSGQUEUE",
        /// 20 minus the lowest nice value.
        Nice = "RLIMIT_NICE",
        /// Real-time priority.
        Rtprio = "RLIMIT_RTPRIO",
        /// Real-time processor time without a blocking call, in microseconds.
        Rttime = "RLIMIT_RTTIME",
    }
}

impl RlimitType {
    /// The number that setrlimit(2) takes on x86, ARM, RISC-V, PowerPC, s390 and `LoongArch`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Cpu => 0,
            Self::Fsize => 1,
            Self::Data => 2,
            Self::Stack => 3,
            Self::Core => 4,
            Self::Rss => 5,
            Self::Nproc => 6,
            Self::Nofile => 7,
            Self::Memlock => 8,
            Self::As => 9,
            Self::Locks => 10,
            Self::Sigpending => 11,
            Self::Msgqueue => 12,
            Self::Nice => 13,
            Self::Rtprio => 14,
            Self::Rttime => 15,
        }
    }
}

/// `process.scheduler`: the arguments of `sched_setattr(2)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Scheduler {
    /// The policy.
    pub policy: SchedulerPolicy,
    /// The nice value of `SCHED_OTHER` and `SCHED_BATCH`; checked to be within -20 to 19.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nice: i32,
    /// The static priority; checked to be 0 but for `SCHED_FIFO` and `SCHED_RR`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<SchedulerFlag>,
    /// Nanoseconds of processor time in each period, `SCHED_DEADLINE` only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub runtime: u64,
    /// Nanoseconds until a period's work must be done, `SCHED_DEADLINE` only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deadline: u64,
    /// The period in nanoseconds, `SCHED_DEADLINE` only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: u64,
}

named! {
    /// The policies of sched(7).
    "a scheduling policy"
    pub enum SchedulerPolicy {
        /// Time sharing, the default.
        Other = "SCHED_OTHER",
        /// Real time, first in, first out.
        Fifo = "SCHED_FIFO",
        /// Real time, round robin.
        RoundRobin = "SCHED_RR",
        /// Batch work.
        Batch = "SCHED_BATCH",
        /// Reserved by the kernel, which refuses it.
        Iso = "SCHED_ISO",
        /// Very low priority.
        Idle = "SCHED_IDLE",
        /// Earliest deadline first.
        Deadline = "SCHED_DEADLINE",
    }
}

impl SchedulerPolicy {
    /// The number that `sched_setattr(2)` takes.
    pub const fn number(self) -> u32 {
        match self {
            Self::Other => 0,
            Self::Fifo => 1,
            Self::RoundRobin => 2,
            Self::Batch => 3,
            Self::Iso => 4,
            Self::Idle => 5,
            Self::Deadline => 6,
        }
    }
}

named! {
    /// The flags of `sched_setattr(2)`.
    "a scheduling flag"
    pub enum SchedulerFlag {
        /// Children get the default policy.
        ResetOnFork = "SCHED_FLAG_RESET_ON_FORK",
        /// Unused bandwidth of other deadline threads may be used.
        Reclaim = "SCHED_FLAG_RECLAIM",
        /// `SIGXCPU` on an overrun.
        DeadlineOverrun = "SCHED_FLAG_DL_OVERRUN",
        /// Leaves the policy as it is (since Linux 5.3).
        KeepPolicy = "SCHED_FLAG_KEEP_POLICY",
        /// Leaves the parameters as they are (since Linux 5.3).
        KeepParams = "SCHED_FLAG_KEEP_PARAMS",
        /// Sets the least utilization (since Linux 5.3).
        UtilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN",
        /// Sets the greatest utilization (since Linux 5.3).
        UtilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX",
    }
}

impl SchedulerFlag {
    /// The bit of `sched_attr.sched_flags`.
    pub const fn bit(self) -> u64 {
        match self {
            Self::ResetOnFork => 0x01,
            Self::Reclaim => 0x02,
            Self::DeadlineOverrun => 0x04,
            Self::KeepPolicy => 0x08,
            Self::KeepParams => 0x10,
            Self::UtilClampMin => 0x20,
            Self::UtilClampMax => 0x40,
        }
    }
}

/// `process.ioPriority`: the arguments of `ioprio_set(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct IoPriority {
    /// The class.
    pub class: IoPriorityClass,
    /// The priority within the class; checked to be from 0, the highest, to 7.
    #[serde(default)]
    pub priority: i64,
}

named! {
    /// The classes of `ioprio_set(2)`.
    "an I/O priority class"
    pub enum IoPriorityClass {
        /// Before all others.
        RealTime = "IOPRIO_CLASS_RT",
        /// The default.
        BestEffort = "IOPRIO_CLASS_BE",
        /// Only when nobody else wants the disk.
        Idle = "IOPRIO_CLASS_IDLE",
    }
}

impl IoPriorityClass {
    /// The number that stands in the upper bits of `ioprio_set(2)`'s argument.
    pub const fn number(self) -> u32 {
        match self {
            Self::RealTime => 1,
            Self::BestEffort => 2,
            Self::Idle => 3,
        }
    }
}

/// `process.execCPUAffinity`: where a process that joins the container may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct CpuAffinity {
    /// The CPUs before it joins the container's cgroup.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub initial: Option<IdList>,
    /// The CPUs after it has joined (`final`); absent leaves that to the kernel.
    #[serde(rename = "final", deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub after_joining: Option<IdList>,
}

objects!(Process, ConsoleSize, User, Capabilities, Rlimit, Scheduler, IoPriority, CpuAffinity);
