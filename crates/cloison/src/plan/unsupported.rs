//! What is not built yet: refused by name, because a container would be less than was asked for.
//!
//! A limit that does not hold and a hook that does not run are lies, so those are refused.

use crate::spec::{BlockIo, Cpu, Memory, Network, Pids, Problem, Resources, Spec};

/// Everything in the configuration that is refused.
pub fn check(spec: &Spec) -> Vec<Problem> {
    let mut refused = Vec::new();
    let mut refuse = |is_there: bool, pointer: &str, what: &str| {
        if is_there {
            refused.push(problem(pointer, format!("{what} not supported by this version of cloison")));
        }
    };
    for (name, hooks) in spec.hooks.by_name() {
        refuse(!hooks.is_empty(), &format!("/hooks/{name}"), "hooks are");
    }
    let (process, linux) = (&spec.process, &spec.linux);
    refuse(process.apparmor_profile.is_some(), "/process/apparmorProfile", "AppArmor profiles are");
    refuse(process.selinux_label.is_some(), "/process/selinuxLabel", "SELinux labels are");
    refuse(linux.mount_label.is_some(), "/linux/mountLabel", "SELinux labels are");
    refuse(linux.intel_rdt.is_some(), "/linux/intelRdt", "Intel RDT is");
    refuse(!linux.net_devices.is_empty(), "/linux/netDevices", "network devices are");
    for (name, is_there) in limits(&linux.resources) {
        refuse(is_there, &format!("/linux/resources/{name}"), "resource limits are");
    }
    refused
}

fn limits(resources: &Resources) -> [(&'static str, bool); 8] {
    [
        ("memory", resources.memory != Memory::default()),
        ("cpu", resources.cpu != Cpu::default()),
        ("pids", resources.pids != Pids::default()),
        ("blockIO", resources.block_io != BlockIo::default()),
        ("hugepageLimits", !resources.hugepage_limits.is_empty()),
        ("network", resources.network != Network::default()),
        ("rdma", !resources.rdma.is_empty()),
        ("unified", !resources.unified.is_empty()),
    ]
}

fn problem(pointer: &str, message: String) -> Problem {
    Problem { pointer: pointer.to_owned(), message }
}
