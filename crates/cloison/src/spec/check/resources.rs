//! The rules of `linux.resources`, which `update` shares. What a limit may be is the kernel's to say.

use crate::spec::{BlockIo, DeviceRule, Resources, ThrottleDevice};

use super::{Check, escape};

pub(super) fn check(resources: &Resources, at: &str, check: &mut Check<'_>) {
    for (index, rule) in resources.devices.iter().enumerate() {
        access(rule, &format!("{at}/devices/{index}/access"), check);
    }
    if let Some(swappiness) = resources.memory.swappiness.filter(|&swappiness| swappiness > 100) {
        check.problem(
            format!("{at}/memory/swappiness"),
            format!("found {swappiness}, expected a whole number from 0 to 100"),
        );
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        page_size(&limit.page_size, &format!("{at}/hugepageLimits/{index}/pageSize"), check);
    }
    block_io(&resources.block_io, &format!("{at}/blockIO"), check);
    for name in resources.unified.keys() {
        unified(name, &format!("{at}/unified/{}", escape(name)), check);
    }
}

fn access(rule: &DeviceRule, pointer: &str, check: &mut Check<'_>) {
    if rule.access.is_empty() && !check.is_hole(pointer) {
        check.problem(pointer, "device access field cannot be empty, expected any of r, w and m");
    }
    // Others beside them are ignored with a warning, as the reference implementation does.
    if !rule.access.is_empty() && !rule.access.contains(['r', 'w', 'm']) {
        check.problem(pointer, format!("found {:?}, expected any of r, w and m", rule.access));
    }
}

/// It becomes part of a file's name.
fn page_size(size: &str, pointer: &str, check: &mut Check<'_>) {
    let digits = size.trim_end_matches(|letter: char| letter.is_ascii_uppercase());
    let is_size = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && ["KB", "MB", "GB"].contains(&&size[digits.len()..]);
    if !is_size && !check.is_hole(pointer) {
        check.problem(pointer, format!("found {size:?}, expected a size of huge pages like 2MB or 1GB"));
    }
}

fn block_io(io: &BlockIo, at: &str, check: &mut Check<'_>) {
    let weights = io.weight_device.iter().map(|entry| (entry.major, entry.minor)).collect();
    let throttles = |list: &[ThrottleDevice]| list.iter().map(|entry| (entry.major, entry.minor)).collect();
    let lists: [(&str, Vec<(i64, i64)>); 5] = [
        ("weightDevice", weights),
        ("throttleReadBpsDevice", throttles(&io.throttle_read_bps_device)),
        ("throttleWriteBpsDevice", throttles(&io.throttle_write_bps_device)),
        ("throttleReadIOPSDevice", throttles(&io.throttle_read_iops_device)),
        ("throttleWriteIOPSDevice", throttles(&io.throttle_write_iops_device)),
    ];
    for (name, list) in lists {
        for (index, (major, minor)) in list.into_iter().enumerate() {
            for (part, number) in [("major", major), ("minor", minor)] {
                if u32::try_from(number).is_err() {
                    let pointer = format!("{at}/{name}/{index}/{part}");
                    check.problem(pointer, format!("found {number}, expected the number of a device"));
                }
            }
        }
    }
}

/// The name is one of a file in the cgroup's own directory.
fn unified(name: &str, pointer: &str, check: &mut Check<'_>) {
    if name.contains('/') {
        check.problem(pointer, format!("unified resource {name:?} must be a file name (no slashes)"));
    } else if name
        .split_once('.')
        .is_none_or(|(controller, parameter)| controller.is_empty() || parameter.is_empty())
    {
        check.problem(pointer, format!("unified resource {name:?} must be in the form CONTROLLER.PARAMETER"));
    }
}
