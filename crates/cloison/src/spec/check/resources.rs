//! The rules of `linux.resources`, which `update` shares. What a limit may be is the kernel's to say.

use crate::spec::{DeviceRule, Resources};

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
    for name in resources.unified.keys() {
        unified(name, &format!("{at}/unified/{}", escape(name)), check);
    }
}

fn access(rule: &DeviceRule, pointer: &str, check: &mut Check<'_>) {
    if rule.access.is_empty() && !check.is_hole(pointer) {
        check.problem(pointer, "device access field cannot be empty, expected any of r, w and m");
    }
    if rule.access.contains(|letter| !matches!(letter, 'r' | 'w' | 'm')) {
        check.problem(pointer, format!("found {:?}, expected any of r, w and m", rule.access));
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
