//! The `linux.resources` section
//! ([config-linux.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#control-groups)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::encoding::{is_default, named, non_empty, objects};

/// `linux.resources`: limits that the container's cgroup gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Resources {
    /// Which devices may be used, in the order the rules are applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: Memory,
    /// Processors.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu: Cpu,
    /// Number of tasks.
    #[serde(skip_serializing_if = "is_default")]
    pub pids: Pids,
    /// Block devices.
    #[serde(rename = "blockIO", skip_serializing_if = "is_default")]
    pub block_io: BlockIo,
    /// Huge pages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Marks of network packets, cgroup v1 only.
    #[serde(skip_serializing_if = "is_default")]
    pub network: Network,
    /// RDMA devices by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of the cgroup v2 directory and what is written to them; checked to be `controller.parameter`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
}

/// One rule of `linux.resources.devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct DeviceRule {
    /// Whether the devices are allowed or denied.
    pub allow: bool,
    /// Which kind of devices; absent means all.
    #[serde(rename = "type", deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub kind: Option<DeviceRuleType>,
    /// The major number; absent or -1 means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// The minor number; absent or -1 means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Any of `r` (read), `w` (write) and `m` (mknod); checked not to be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub access: String,
}

named! {
    /// The kinds of devices of a rule.
    "a kind of device"
    pub enum DeviceRuleType {
        /// Block and character devices.
        All = "a",
        /// Block devices.
        Block = "b",
        /// Character devices.
        Character = "c",
    }
}

/// `linux.resources.memory`. Limits are in bytes, -1 is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Memory {
    /// The hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The soft limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// The limit of memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    /// The kernel's memory, ignored with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<i64>,
    /// TCP buffers, ignored with a warning.
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<i64>,
    /// How readily pages are swapped out, cgroup v1 only; checked to be from 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// Whether tasks wait instead of being killed when memory is out, cgroup v1 only.
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
    /// Whether cgroups below share the limit; always so now, ignored with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_hierarchy: Option<bool>,
    /// Whether `update` refuses a limit below what is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_before_update: Option<bool>,
}

/// `linux.resources.cpu`. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Cpu {
    /// The share of time beside other cgroups, 2 to 262144, 0 is unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// The time in each period; less than 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// The time that may be saved up for bursts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// The period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// The real-time tasks' time in each of their periods, cgroup v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    /// The real-time tasks' period, cgroup v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// The CPUs, as cpuset(7) writes them.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// The memory nodes, as cpuset(7) writes them.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
    /// 1 lets it run only when nobody else wants to (since Linux 5.15).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
}

/// `linux.resources.pids`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct Pids {
    /// The greatest number of tasks; -1 is no limit, and 0 is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// `linux.resources.blockIO`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct BlockIo {
    /// The share beside other cgroups, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The own tasks' share beside cgroups below, cgroup v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    /// Shares by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes a second read, by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes a second written, by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Reads a second, by device.
    #[serde(rename = "throttleReadIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Writes a second, by device.
    #[serde(rename = "throttleWriteIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// One entry of `linux.resources.blockIO.weightDevice`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct WeightDevice {
    /// The device's major number.
    pub major: i64,
    /// The device's minor number.
    pub minor: i64,
    /// The share, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The own tasks' share beside cgroups below, cgroup v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// One entry of `linux.resources.blockIO.throttle…Device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct ThrottleDevice {
    /// The device's major number.
    pub major: i64,
    /// The device's minor number.
    pub minor: i64,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// One entry of `linux.resources.hugepageLimits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct HugepageLimit {
    /// The page's size as the kernel names it: `64KB`, `2MB`, `1GB`. Some write the key as Go's decoder lets them.
    #[serde(alias = "pagesize")]
    pub page_size: String,
    /// The limit in bytes.
    pub limit: u64,
}

/// `linux.resources.network`, cgroup v1 only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct Network {
    /// The class of the packets.
    #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    /// Priorities by interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<InterfacePriority>,
}

/// One entry of `linux.resources.network.priorities`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct InterfacePriority {
    /// The interface's name in the runtime's network namespace.
    pub name: String,
    /// The priority.
    pub priority: u32,
}

/// One entry of `linux.resources.rdma`; absent is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Rdma {
    /// Handles that may be open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u32>,
    /// Objects that may exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u32>,
}

objects!(
    Resources,
    DeviceRule,
    Memory,
    Cpu,
    Pids,
    BlockIo,
    WeightDevice,
    ThrottleDevice,
    HugepageLimit,
    Network,
    InterfacePriority,
    Rdma
);
