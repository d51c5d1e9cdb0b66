//! What the container may use: `linux.resources`, with what its numbers stand for worked out.

use cloison_cgroup::{
    BlockDevice, BlockIo, Cpu, HugepageLimit, InterfacePriority, Limit, Memory, Network, Rdma, Resources,
    Throttle, WeightDevice,
};

use crate::spec::{self, Problem};

/// The limits that a section asks for. Where 0 is no sensible limit it means "not set", as in the types of the reference
/// implementation, which have no other way to say so.
pub(crate) fn limits(resources: &spec::Resources) -> Resources {
    Resources {
        memory: memory(&resources.memory),
        cpu: cpu(&resources.cpu),
        // Nothing could start with 0, and systemd takes none.
        pids: resources
            .pids
            .limit
            .map(|limit| if limit == 0 { Limit::At(1) } else { Limit::of_signed(limit) }),
        block_io: block_io(&resources.block_io),
        hugepages: resources.hugepage_limits.iter().map(hugepages).collect(),
        network: network(&resources.network),
        rdma: resources
            .rdma
            .iter()
            .map(|(name, limits)| {
                let (hca_handles, hca_objects) = (limits.hca_handles, limits.hca_objects);
                (name.clone(), Rdma { hca_handles, hca_objects })
            })
            .collect(),
        unified: resources.unified.clone(),
    }
}

fn unless_zero<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn limit(value: Option<i64>) -> Option<Limit> {
    unless_zero(value).map(Limit::of_signed)
}

fn memory(memory: &spec::Memory) -> Memory {
    Memory {
        limit: limit(memory.limit),
        reservation: limit(memory.reservation),
        swap: limit(memory.swap),
        swappiness: memory.swappiness,
        disable_oom_killer: memory.disable_oom_killer,
        check_before_update: memory.check_before_update,
    }
}

fn cpu(cpu: &spec::Cpu) -> Cpu {
    Cpu {
        shares: unless_zero(cpu.shares),
        quota: limit(cpu.quota),
        period: unless_zero(cpu.period),
        burst: cpu.burst,
        idle: cpu.idle,
        realtime_runtime: limit(cpu.realtime_runtime),
        realtime_period: unless_zero(cpu.realtime_period),
        cpus: cpu.cpus.clone(),
        mems: cpu.mems.clone(),
    }
}

fn block_io(io: &spec::BlockIo) -> BlockIo {
    BlockIo {
        weight: unless_zero(io.weight),
        leaf_weight: unless_zero(io.leaf_weight),
        weight_device: io
            .weight_device
            .iter()
            .map(|entry| WeightDevice {
                device: device(entry.major, entry.minor),
                weight: unless_zero(entry.weight),
                leaf_weight: unless_zero(entry.leaf_weight),
            })
            .collect(),
        read_bps: throttles(&io.throttle_read_bps_device),
        write_bps: throttles(&io.throttle_write_bps_device),
        read_iops: throttles(&io.throttle_read_iops_device),
        write_iops: throttles(&io.throttle_write_iops_device),
    }
}

/// What is no device's number has been refused before; the kernel would refuse it, too.
fn device(major: i64, minor: i64) -> BlockDevice {
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    BlockDevice { major: number(major), minor: number(minor) }
}

fn throttles(list: &[spec::ThrottleDevice]) -> Vec<Throttle> {
    let throttle = |entry: &spec::ThrottleDevice| Throttle {
        device: device(entry.major, entry.minor),
        rate: if entry.rate == 0 { Limit::Max } else { Limit::At(entry.rate) },
    };
    list.iter().map(throttle).collect()
}

fn hugepages(limit: &spec::HugepageLimit) -> HugepageLimit {
    HugepageLimit { page_size: limit.page_size.clone(), limit: Limit::At(limit.limit) }
}

fn network(network: &spec::Network) -> Network {
    let priority = |entry: &spec::InterfacePriority| InterfacePriority {
        name: entry.name.clone(),
        priority: entry.priority,
    };
    Network {
        class_id: unless_zero(network.class_id),
        priorities: network.priorities.iter().map(priority).collect(),
    }
}

/// The sections of limits that nothing will hold, each once.
pub(super) fn unheld(resources: &Resources) -> impl Iterator<Item = Problem> {
    sections(resources).map(|name| Problem {
        pointer: format!("/linux/resources/{name}"),
        message: "ignored without a cgroup of the container's own: nothing is limited".to_owned(),
    })
}

/// The sections that limit something, by their names in `linux.resources`. Without a limit "no limit" holds.
pub(crate) fn limiting(mut resources: Resources) -> Vec<&'static str> {
    let (memory, cpu) = (&mut resources.memory, &mut resources.cpu);
    let limits = [
        &mut memory.limit,
        &mut memory.reservation,
        &mut memory.swap,
        &mut cpu.quota,
        &mut cpu.realtime_runtime,
        &mut resources.pids,
    ];
    for limit in limits {
        limit.take_if(|limit| *limit == Limit::Max);
    }
    sections(&resources).collect()
}

/// The sections that say something.
fn sections(resources: &Resources) -> impl Iterator<Item = &'static str> {
    let none = Resources::default();
    let sections = [
        ("memory", resources.memory != none.memory),
        ("cpu", resources.cpu != none.cpu),
        ("pids", resources.pids != none.pids),
        ("blockIO", resources.block_io != none.block_io),
        ("hugepageLimits", resources.hugepages != none.hugepages),
        ("network", resources.network != none.network),
        ("rdma", resources.rdma != none.rdma),
        ("unified", resources.unified != none.unified),
    ];
    sections.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Resources {
        limits(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn zero_is_not_set_where_it_is_no_limit() {
        let zeros = r#"{
            "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 5, "kernelTCP": 5, "useHierarchy": true},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": ""},
            "blockIO": {"weight": 0, "leafWeight": 0}, "network": {"classID": 0}, "pids": {}
        }"#;
        assert_eq!(of(zeros), Resources::default());
    }

    #[test]
    fn zero_is_a_limit_where_it_is_one() {
        let zeros =
            of(r#"{"memory": {"swappiness": 0, "disableOOMKiller": false}, "cpu": {"burst": 0, "idle": 0},
                "pids": {"limit": 0}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
                "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 0}]}}"#);
        assert_eq!(zeros.memory.swappiness, Some(0));
        assert_eq!(zeros.memory.disable_oom_killer, Some(false));
        assert_eq!((zeros.cpu.burst, zeros.cpu.idle), (Some(0), Some(0)));
        assert_eq!(zeros.pids, Some(Limit::At(1)), "nothing could start");
        assert_eq!(zeros.hugepages[0].limit, Limit::At(0));
        assert_eq!(zeros.block_io.read_bps[0].rate, Limit::Max, "the throttle is taken away");
    }

    #[test]
    fn less_than_zero_is_no_limit() {
        let none = of(r#"{"memory": {"limit": -1, "reservation": -1, "swap": -1}, "pids": {"limit": -1},
                "cpu": {"quota": -1, "realtimeRuntime": -1}}"#);
        let memory = &none.memory;
        let all = [
            memory.limit,
            memory.reservation,
            memory.swap,
            none.pids,
            none.cpu.quota,
            none.cpu.realtime_runtime,
        ];
        assert_eq!(all, [Some(Limit::Max); 6]);
        assert!(limiting(none).is_empty());
    }

    #[test]
    fn what_limits_is_told_by_its_section() {
        let some =
            of(r#"{"memory": {"limit": -1, "swappiness": 5}, "cpu": {"quota": -1}, "pids": {"limit": 7}}"#);
        assert_eq!(limiting(some), ["memory", "pids"]);
        assert!(limiting(Resources::default()).is_empty());
    }
}
