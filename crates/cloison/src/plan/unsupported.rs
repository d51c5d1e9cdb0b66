//! What this machine cannot do: refused by name, because a container would be less than was asked for.
//!
//! What does not hold is a lie, so it is refused.

use super::HostFacts;
use crate::spec::{Problem, Spec};

/// Everything in the configuration that is refused. The first words of each are those of `runc`.
pub fn check(spec: &Spec, facts: &HostFacts) -> Vec<Problem> {
    let mut refused = Vec::new();
    let mut refuse = |is_there: bool, pointer: &str, message: &str| {
        if is_there {
            refused.push(Problem { pointer: pointer.to_owned(), message: message.to_owned() });
        }
    };
    if let Some(settings) = &spec.linux.intel_rdt {
        refuse(
            facts.resctrl.is_none(),
            "/linux/intelRdt",
            "intelRdt is specified in config, but Intel RDT is not enabled: no resctrl file system is mounted; where the processor and the \
             kernel have it (CONFIG_X86_CPU_RESCTRL), `mount -t resctrl resctrl /sys/fs/resctrl` mounts it",
        );
        let can = facts.resctrl.unwrap_or(super::ResctrlFacts { cache: true, bandwidth: true });
        refuse(
            settings.l3_cache_schema.is_some() && !can.cache,
            "/linux/intelRdt/l3CacheSchema",
            "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled: there is no info/L3",
        );
        refuse(
            settings.mem_bw_schema.is_some() && !can.bandwidth,
            "/linux/intelRdt/memBwSchema",
            "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled: there is no info/MB",
        );
    }
    refused
}
