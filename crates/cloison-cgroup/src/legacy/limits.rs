//! Which v1 file gets which limit
//! ([cgroup-v1](https://docs.kernel.org/admin-guide/cgroup-v1/index.html)).

use std::path::Path;

use super::Legacy;
use crate::error::Result;
use crate::limits::{Check, LimitError, Place, Setting};
use crate::resources::{BlockIo, Cpu, Limit, Memory, Network, Resources, Throttle, hugepages, rdma};

/// What has to be written, in groups of what depends on each other.
pub(crate) fn settings(resources: &Resources) -> Result<Vec<Vec<Setting>>> {
    if let Some(name) = resources.unified.keys().next() {
        return Err(LimitError::UnifiedOnLegacy { name: name.clone() }.into());
    }
    let mut groups = Vec::new();
    memory(&resources.memory, &mut groups);
    cpu(&resources.cpu, &mut groups);
    if let Some(limit) = resources.pids {
        groups.push(vec![Setting::new("pids/limit", "pids", "pids.max", limit)]);
    }
    block_io(&resources.block_io, &mut groups);
    for (field, file, limit) in hugepages(resources)? {
        let value = or_minus_one(limit);
        let own = Setting::new(field.clone(), "hugetlb", format!("{file}.limit_in_bytes"), &value);
        let reserved = Setting::new(field, "hugetlb", format!("{file}.rsvd.limit_in_bytes"), value);
        groups.extend([own, reserved.if_there()].map(|setting| vec![setting]));
    }
    network(&resources.network, &mut groups);
    groups.extend(rdma(resources).map(|setting| vec![setting]));
    Ok(groups)
}

fn memory(memory: &Memory, groups: &mut Vec<Vec<Setting>>) {
    let mut sizes = Vec::new();
    if let Some(limit) = memory.limit {
        let setting = Setting::new("memory/limit", "memory", "memory.limit_in_bytes", or_minus_one(limit));
        sizes.push(setting.checked(Check::MemoryInUse));
    }
    let implied = (memory.limit == Some(Limit::Max)).then_some(Limit::Max);
    if let Some(swap) = memory.swap.or(implied) {
        let file = "memory.memsw.limit_in_bytes";
        let setting = Setting::new("memory/swap", "memory", file, or_minus_one(swap));
        // The kernel may count no swap, which then has no limit.
        sizes.push(if swap == Limit::Max { setting.if_there() } else { setting });
    }
    groups.push(sizes);
    if let Some(soft) = memory.reservation {
        let file = "memory.soft_limit_in_bytes";
        groups.push(vec![Setting::new("memory/reservation", "memory", file, or_minus_one(soft))]);
    }
    if let Some(swappiness) = memory.swappiness {
        groups.push(vec![Setting::new("memory/swappiness", "memory", "memory.swappiness", swappiness)]);
    }
    if let Some(disable) = memory.disable_oom_killer {
        let setting =
            Setting::new("memory/disableOOMKiller", "memory", "memory.oom_control", u8::from(disable));
        let setting = setting.unset_after("oom_kill_disable");
        groups.push(vec![if disable { setting } else { setting.if_there() }]);
    }
}

fn cpu(cpu: &Cpu, groups: &mut Vec<Vec<Setting>>) {
    // An idle cgroup has no shares, so which of the two goes first depends on which way it goes.
    let shares = cpu
        .shares
        .map(|shares| Setting::new("cpu/shares", "cpu", "cpu.shares", shares).checked(Check::ReadBack));
    let idle =
        cpu.idle.map(|idle| or_kernels_own(Setting::new("cpu/idle", "cpu", "cpu.idle", idle), idle == 0));
    groups.push(shares.into_iter().chain(idle).collect());
    let period = cpu.period.map(|period| Setting::new("cpu/period", "cpu", "cpu.cfs_period_us", period));
    let burst = cpu
        .burst
        .map(|burst| or_kernels_own(Setting::new("cpu/burst", "cpu", "cpu.cfs_burst_us", burst), burst == 0));
    let quota =
        cpu.quota.map(|quota| Setting::new("cpu/quota", "cpu", "cpu.cfs_quota_us", or_minus_one(quota)));
    groups.push(period.into_iter().chain(burst).chain(quota).collect());
    let period = cpu
        .realtime_period
        .map(|period| Setting::new("cpu/realtimePeriod", "cpu", "cpu.rt_period_us", period));
    let runtime = cpu.realtime_runtime.map(|runtime| {
        Setting::new("cpu/realtimeRuntime", "cpu", "cpu.rt_runtime_us", or_minus_one(runtime))
    });
    groups.push(period.into_iter().chain(runtime).collect());
    // Mounted with `noprefix` (Android), the files go without the controller's name.
    let cpus = cpu
        .cpus
        .as_ref()
        .map(|cpus| Setting::new("cpu/cpus", "cpuset", "cpuset.cpus", cpus).or("cpus", cpus));
    let mems = cpu
        .mems
        .as_ref()
        .map(|mems| Setting::new("cpu/mems", "cpuset", "cpuset.mems", mems).or("mems", mems));
    groups.extend(cpus.into_iter().chain(mems).map(|setting| vec![setting]));
}

/// What is asked for is what a kernel without that file does anyway.
fn or_kernels_own(setting: Setting, is_own: bool) -> Setting {
    if is_own { setting.if_there() } else { setting }
}

fn block_io(io: &BlockIo, groups: &mut Vec<Vec<Setting>>) {
    let mut push = |setting: Setting| groups.push(vec![setting]);
    // CFQ's files went with it in Linux 5.0; BFQ has those of its own name.
    if let Some(weight) = io.weight {
        push(Setting::new("blockIO/weight", "blkio", "blkio.weight", weight).or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = io.leaf_weight {
        push(Setting::new("blockIO/leafWeight", "blkio", "blkio.leaf_weight", weight));
    }
    for (index, entry) in io.weight_device.iter().enumerate() {
        let field = format!("blockIO/weightDevice/{index}");
        if let Some(weight) = entry.weight {
            let value = format!("{} {weight}", entry.device);
            let setting = Setting::new(format!("{field}/weight"), "blkio", "blkio.weight_device", &value);
            push(setting.or("blkio.bfq.weight_device", value).keyed(entry.device, "default"));
        }
        if let Some(weight) = entry.leaf_weight {
            let value = format!("{} {weight}", entry.device);
            let field = format!("{field}/leafWeight");
            let setting = Setting::new(field, "blkio", "blkio.leaf_weight_device", value);
            push(setting.keyed(entry.device, "default"));
        }
    }
    let mut throttles = |list: &[Throttle], name: &str, file: &'static str| {
        for (index, entry) in list.iter().enumerate() {
            let rate = match entry.rate {
                Limit::At(rate) => rate,
                Limit::Max => 0,
            };
            let field = format!("blockIO/{name}/{index}");
            let value = format!("{} {rate}", entry.device);
            push(Setting::new(field, "blkio", file, value).keyed(entry.device, 0));
        }
    };
    throttles(&io.read_bps, "throttleReadBpsDevice", "blkio.throttle.read_bps_device");
    throttles(&io.write_bps, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device");
    throttles(&io.read_iops, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device");
    throttles(&io.write_iops, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device");
}

fn network(network: &Network, groups: &mut Vec<Vec<Setting>>) {
    if let Some(class) = network.class_id {
        groups.push(vec![Setting::new("network/classID", "net_cls", "net_cls.classid", class)]);
    }
    for (index, entry) in network.priorities.iter().enumerate() {
        let value = format!("{} {}", entry.name, entry.priority);
        let field = format!("network/priorities/{index}");
        let setting = Setting::new(field, "net_prio", "net_prio.ifpriomap", value);
        groups.push(vec![setting.keyed(&entry.name, 0)]);
    }
}

/// A v1 file takes -1 for no limit.
fn or_minus_one(limit: Limit) -> String {
    match limit {
        Limit::At(number) => number.to_string(),
        Limit::Max => "-1".to_owned(),
    }
}

impl Place for Legacy {
    fn directory(&self, controller: &str) -> std::result::Result<&Path, &'static str> {
        self.of(controller).ok_or("no hierarchy of it is mounted")
    }

    fn lacks(&self, _controller: &str) -> Option<&'static str> {
        None
    }
}
