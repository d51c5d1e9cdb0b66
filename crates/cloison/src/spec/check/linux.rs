//! The rules of `linux.devices`, `netDevices`, `intelRdt` and `memoryPolicy`.

use crate::spec::{Device, DeviceType, IntelRdt, Linux, MemoryPolicy, MemoryPolicyMode, NamespaceType};

use super::{Check, escape, namespaces};

/// The highest device numbers of the kernel: 12 bits and 20 bits.
const HIGHEST_MAJOR: i64 = 0xfff;
const HIGHEST_MINOR: i64 = 0xf_ffff;
/// The longest name of a network device in bytes, `IFNAMSIZ` without the final NUL.
const LONGEST_INTERFACE: usize = 15;

pub(super) fn check(linux: &Linux, check: &mut Check<'_>) {
    for (index, device) in linux.devices.iter().enumerate() {
        device_numbers(device, index, check);
    }
    net_devices(linux, check);
    if let Some(settings) = &linux.intel_rdt {
        intel_rdt(settings, check);
    }
    if let Some(policy) = &linux.memory_policy {
        memory_policy(policy, check);
    }
}

fn device_numbers(device: &Device, index: usize, check: &mut Check<'_>) {
    if device.kind == DeviceType::Fifo {
        return;
    }
    for (field, number, highest) in
        [("major", device.major, HIGHEST_MAJOR), ("minor", device.minor, HIGHEST_MINOR)]
    {
        if !(0..=highest).contains(&number) {
            check.problem(
                format!("/linux/devices/{index}/{field}"),
                format!("found {number}, expected a whole number from 0 to {highest}"),
            );
        }
    }
}

fn net_devices(linux: &Linux, check: &mut Check<'_>) {
    if !linux.net_devices.is_empty() && !namespaces::may_have(linux, NamespaceType::Network, check) {
        check.problem(
            "/linux/netDevices",
            "unable to move network devices without a NET namespace, add {\"type\": \"network\"}",
        );
    }
    for (name, device) in &linux.net_devices {
        let pointer = format!("/linux/netDevices/{}", escape(name));
        let mut refuse = |name: &str, pointer: &str| {
            check.problem(
                pointer,
                format!(
                    "invalid network device name {name:?}, expected 1 to {LONGEST_INTERFACE} bytes without \
                     slashes, colons and spaces"
                ),
            );
        };
        if !is_interface_name(name) {
            refuse(name, &pointer);
        }
        if let Some(inside) = device.name.as_ref().filter(|inside| !is_interface_name(inside)) {
            refuse(inside, &format!("{pointer}/name"));
        }
    }
}

/// As the kernel's `dev_valid_name`.
fn is_interface_name(name: &str) -> bool {
    (1..=LONGEST_INTERFACE).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(['/', ':'])
        && !name.contains(|character: char| character.is_ascii_whitespace() || character == '\u{b}')
}

/// The class is the name of a directory, or `/` for the default one.
fn intel_rdt(settings: &IntelRdt, check: &mut Check<'_>) {
    let named = [("l3CacheSchema", &settings.l3_cache_schema), ("memBwSchema", &settings.mem_bw_schema)];
    let named = named.into_iter().filter_map(|(name, line)| Some((name.to_owned(), line.as_ref()?)));
    let listed = settings.schemata.iter().enumerate().map(|(at, line)| (format!("schemata/{at}"), line));
    for (place, line) in named.chain(listed) {
        let begins = place != "memBwSchema" || line.starts_with("MB:");
        if line.contains('\n') || !begins {
            let expected = if begins { "one line" } else { "MB:…" };
            check.problem(format!("/linux/intelRdt/{place}"), format!("found {line:?}, expected {expected}"));
        }
    }
    let Some(class) = &settings.clos_id else { return };
    if matches!(class.as_str(), "." | "..") || (class != "/" && class.contains('/')) {
        check.problem(
            "/linux/intelRdt/closID",
            format!("invalid intelRdt.ClosID {class:?}, expected the name of a class or \"/\""),
        );
    }
}

/// See `set_mempolicy(2)`.
fn memory_policy(policy: &MemoryPolicy, check: &mut Check<'_>) {
    use MemoryPolicyMode::{Bind, Default, Interleave, Local, Preferred, PreferredMany, WeightedInterleave};

    let pointer = "/linux/memoryPolicy/nodes";
    match (policy.mode, &policy.nodes) {
        (Default | Local, Some(nodes)) => {
            let (mode, count) = (policy.mode, nodes.ids().count());
            check.problem(pointer, format!("{mode} mode requires 0 nodes but got {count}, \"{nodes}\""));
        }
        (Bind | Interleave | WeightedInterleave | PreferredMany, None) if !check.is_hole(pointer) => {
            check.problem(pointer, format!("missing, {} requires at least one node", policy.mode));
        }
        (Default | Local | Preferred | Bind | Interleave | WeightedInterleave | PreferredMany, _) => {}
    }
}
