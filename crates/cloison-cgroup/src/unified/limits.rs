//! Which v2 file gets which limit ([cgroup-v2](https://docs.kernel.org/admin-guide/cgroup-v2.html)).

use std::path::Path;

use super::Unified;
use crate::error::Result;
use crate::files::read_value;
use crate::limits::{LimitError, Place, Setting};
use crate::resources::{BlockIo, Cpu, Limit, Memory, Resources, Throttle, hugepages, rdma};

/// Files of every cgroup by which it is used, not limited.
const NOT_LIMITS: [&str; 4] = ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze"];

/// What has to be written, in groups of what depends on each other. A few values depend on those that `directory` has.
pub(crate) fn settings(resources: &Resources, directory: &Path) -> Result<Vec<Vec<Setting>>> {
    refuse_what_only_v1_has(resources)?;
    let mut groups = Vec::new();
    if let Some(limit) = resources.pids {
        groups.push(vec![Setting::new("pids/limit", "pids", "pids.max", limit)]);
    }
    memory(&resources.memory, directory, &mut groups)?;
    block_io(&resources.block_io, &mut groups);
    cpu(&resources.cpu, directory, &mut groups);
    for (field, file, limit) in hugepages(resources)? {
        let own = Setting::new(field.clone(), "hugetlb", format!("{file}.max"), limit);
        let reserved = Setting::new(field, "hugetlb", format!("{file}.rsvd.max"), limit);
        groups.extend([own, reserved.if_there()].map(|setting| vec![setting]));
    }
    groups.extend(rdma(resources).map(|setting| vec![setting]));
    groups.push(unified(resources)?);
    Ok(groups)
}

fn refuse_what_only_v1_has(resources: &Resources) -> Result<()> {
    let (memory, cpu, io) = (&resources.memory, &resources.cpu, &resources.block_io);
    let table = [
        ("memory/swappiness", memory.swappiness.is_some()),
        ("memory/disableOOMKiller", memory.disable_oom_killer == Some(true)),
        ("cpu/realtimeRuntime", cpu.realtime_runtime.is_some()),
        ("cpu/realtimePeriod", cpu.realtime_period.is_some()),
        ("blockIO/leafWeight", io.leaf_weight.is_some()),
        ("blockIO/weightDevice", io.weight_device.iter().any(|entry| entry.leaf_weight.is_some())),
        ("network/classID", resources.network.class_id.is_some()),
        ("network/priorities", !resources.network.priorities.is_empty()),
    ];
    match table.into_iter().find(|(_, is_there)| *is_there) {
        Some((field, _)) => Err(LimitError::LegacyOnly { field }.into()),
        None => Ok(()),
    }
}

fn memory(memory: &Memory, directory: &Path, groups: &mut Vec<Vec<Setting>>) -> Result<()> {
    if memory.check_before_update == Some(true) {
        refuse_less_than_used(memory, directory)?;
    }
    let swap = memory.swap_alone().map_err(|source| LimitError::Swap {
        source,
        swap: memory.swap,
        limit: memory.limit,
    })?;
    if let Some(swap) = swap {
        let setting = Setting::new("memory/swap", "memory", "memory.swap.max", swap);
        // The kernel may count no swap: then there is none for cgroups, which is a limit as good as 0, or none.
        let holds_anyway = matches!(swap, Limit::Max | Limit::At(0));
        groups.push(vec![if holds_anyway { setting.if_there() } else { setting }]);
    }
    if let Some(limit) = memory.limit {
        groups.push(vec![Setting::new("memory/limit", "memory", "memory.max", limit)]);
    }
    if let Some(low) = memory.reservation {
        groups.push(vec![Setting::new("memory/reservation", "memory", "memory.low", low)]);
    }
    Ok(())
}

/// v1 refuses it by itself, once it could not reclaim enough; v2 reclaims and then kills.
fn refuse_less_than_used(memory: &Memory, directory: &Path) -> Result<()> {
    let file = directory.join("memory.current");
    let usage = match read_value(&file).map(|text| text.parse::<u64>()) {
        Ok(Ok(usage)) => usage,
        other => {
            // Nothing is in a cgroup that has no such file.
            log::debug!("cannot compare with {}: {other:?}", file.display());
            return Ok(());
        }
    };
    let sizes = [("memory+swap limit", memory.swap), ("memory limit", memory.limit)];
    match sizes.into_iter().find(|(_, limit)| limit.is_some_and(|limit| limit <= Limit::At(usage))) {
        Some((what, Some(Limit::At(limit)))) => Err(LimitError::LessThanUsed { what, limit, usage }.into()),
        _ => Ok(()),
    }
}

fn cpu(cpu: &Cpu, directory: &Path, groups: &mut Vec<Vec<Setting>>) {
    // An idle cgroup has no weight, so which of the two goes first depends on which way it goes.
    let weight = cpu.weight().map(|weight| Setting::new("cpu/shares", "cpu", "cpu.weight", weight));
    let idle = cpu.idle.map(|idle| {
        let setting = Setting::new("cpu/idle", "cpu", "cpu.idle", idle);
        if idle == 0 { setting.if_there() } else { setting }
    });
    groups.push(weight.into_iter().chain(idle).collect());
    let burst = cpu.burst.map(|burst| {
        let setting = Setting::new("cpu/burst", "cpu", "cpu.max.burst", burst);
        if burst == 0 { setting.if_there() } else { setting }
    });
    let max = match (cpu.quota, cpu.period) {
        (None, None) => None,
        // The kernel keeps the period that is there.
        (Some(quota), None) => Some(Setting::new("cpu/quota", "cpu", "cpu.max", quota)),
        (Some(quota), Some(period)) => {
            Some(Setting::new("cpu/quota", "cpu", "cpu.max", format!("{quota} {period}")))
        }
        (None, Some(period)) => {
            let now = read_value(&directory.join("cpu.max")).unwrap_or_default();
            let quota = now.split(' ').next().filter(|quota| !quota.is_empty()).unwrap_or("max");
            Some(Setting::new("cpu/period", "cpu", "cpu.max", format!("{quota} {period}")))
        }
    };
    groups.push(burst.into_iter().chain(max).collect());
    for (field, file, list) in
        [("cpu/cpus", "cpuset.cpus", &cpu.cpus), ("cpu/mems", "cpuset.mems", &cpu.mems)]
    {
        groups.extend(list.iter().map(|list| vec![Setting::new(field, "cpuset", file, list)]));
    }
}

fn block_io(io: &BlockIo, groups: &mut Vec<Vec<Setting>>) {
    // The first is for devices with BFQ, whose scale is that of the configuration; the second for those with the
    // cost model.
    let mut weight = |field: String, key: &str, share: u16| {
        let line =
            |weight: u64| if key == "default" { weight.to_string() } else { format!("{key} {weight}") };
        let (bfq, cost) = (line(share.into()), line(BlockIo::io_weight(share)));
        let otherwise = if key == "default" { "100" } else { "default" };
        let setting = Setting::new(field.clone(), "io", "io.bfq.weight", bfq).or("io.weight", &cost);
        let second = Setting::new(field, "io", "io.weight", cost).if_there();
        groups.extend([setting, second].map(|setting| vec![setting.keyed(key, otherwise)]));
    };
    if let Some(share) = io.weight {
        weight("blockIO/weight".to_owned(), "default", share);
    }
    for (index, entry) in io.weight_device.iter().enumerate() {
        if let Some(share) = entry.weight {
            weight(format!("blockIO/weightDevice/{index}/weight"), &entry.device.to_string(), share);
        }
    }
    let mut throttles = |list: &[Throttle], name: &str, what: &str| {
        for (index, entry) in list.iter().enumerate() {
            let field = format!("blockIO/{name}/{index}");
            let value = format!("{} {what}={}", entry.device, entry.rate);
            let setting = Setting::new(field, "io", "io.max", value);
            groups.push(vec![setting.keyed(entry.device, "rbps=max wbps=max riops=max wiops=max")]);
        }
    };
    throttles(&io.read_bps, "throttleReadBpsDevice", "rbps");
    throttles(&io.write_bps, "throttleWriteBpsDevice", "wbps");
    throttles(&io.read_iops, "throttleReadIOPSDevice", "riops");
    throttles(&io.write_iops, "throttleWriteIOPSDevice", "wiops");
}

/// The names become files of the cgroup's directory, so they may lead nowhere else.
fn unified(resources: &Resources) -> Result<Vec<Setting>> {
    let settings = resources.unified.iter().map(|(name, value)| {
        let refuse = |why| Err(LimitError::UnifiedName { name: name.clone(), why }.into());
        if name.contains('/') {
            return refuse("must be a file name (no slashes)");
        }
        let controller = match name.split_once('.') {
            Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty() => controller,
            _ => return refuse("must be in the form CONTROLLER.PARAMETER"),
        };
        if name.contains('\0') || NOT_LIMITS.contains(&name.as_str()) {
            return refuse("is not a limit");
        }
        let field = format!("unified/{name}");
        Ok(Setting::new(field, controller.to_owned(), name.clone(), value))
    });
    settings.collect()
}

impl Place for Unified {
    fn directory(&self, _controller: &str) -> std::result::Result<&Path, &'static str> {
        Ok(&self.directory)
    }

    fn lacks(&self, controller: &str) -> Option<&'static str> {
        // What every cgroup has without a controller.
        if matches!(controller, "cgroup" | "irq") {
            return None;
        }
        let lists = |text: &str| text.split_whitespace().any(|name| name == controller);
        let read = |directory: &Path, file: &str| read_value(&directory.join(file)).unwrap_or_default();
        if lists(&read(&self.directory, "cgroup.controllers")) {
            return None;
        }
        if !lists(&read(&self.mount, "cgroup.controllers")) {
            return Some("the kernel does not have it in this hierarchy");
        }
        if read(&self.directory, "cgroup.type").starts_with("threaded") {
            return Some("a threaded cgroup cannot have it");
        }
        Some("the cgroups above do not hand it down")
    }
}
