//! The host's list of steps, in order.

use std::path::Path;

use cloison_cgroup::{Property, Resources};
use cloison_linux::namespace::NamespaceFlags;

use super::action::{Action, HostAction, Origin, StartUnit, Step};
use super::namespaces::{self, Namespaces};
use super::{HostFacts, Options, Steps, cgroup_origin, device_rules, hooks, limits, mounts, process};
use crate::resctrl;
use crate::spec::Spec;

/// What the runtime does for a container, from before its first process is there until that waits for the program.
pub(super) fn host_side(
    spec: &Spec,
    options: &Options,
    container: &[Step<Action>],
    namespaces: &Namespaces,
    facts: &HostFacts,
    properties: Vec<Property>,
    rootfs: &Path,
) -> Vec<Step<HostAction>> {
    let mut steps = Steps(Vec::with_capacity(8));
    if mounts::held_by_host(spec, namespaces, facts) {
        steps.push(HostAction::HoldMounts(rootfs.to_owned()), "/root/path");
    }
    let (mut from_the_beginning, before_the_program) = limits::limits(&spec.linux.resources).split();
    let limit = |resources: Resources, steps: &mut Steps<HostAction>| {
        if facts.own_cgroup && !resources.is_empty() {
            steps.push(HostAction::LimitResources(Box::new(resources)), "/linux/resources");
        }
    };
    if facts.own_cgroup && facts.unit.is_none() {
        steps.push(HostAction::MakeCgroup, cgroup_origin(spec));
        mounts::delegate_cgroup(spec, container, namespaces, facts, &mut steps);
        limit(std::mem::take(&mut from_the_beginning), &mut steps);
    }
    hooks::open_outputs(spec, &mut steps);
    // The cgroup's own directory may be one of them.
    mounts::sources(spec, container, true, &mut steps);
    namespaces.clocks_by_host(spec, facts, &mut steps);
    namespaces.join_for_init(facts, &mut steps);
    let joins_user = namespaces.joins(NamespaceFlags::USER);
    if let Some(score) = spec.process.oom_score_adj.filter(|_| joins_user) {
        steps.push(HostAction::LendOomScoreAdj(score), "/process/oomScoreAdj");
    }
    // After what its process inherits.
    if let Some(unit) = &facts.unit {
        let start = StartUnit { unit: unit.clone(), properties };
        steps.push(HostAction::StartUnit(Box::new(start)), cgroup_origin(spec));
        mounts::delegate_cgroup(spec, container, namespaces, facts, &mut steps);
        limit(from_the_beginning, &mut steps);
    }
    let origin = Origin::of_optional(!spec.linux.namespaces.is_empty(), "/linux/namespaces");
    steps.push(HostAction::CloneInit(namespaces.to_clone()), origin);
    // While the init waits for its ids: afterwards it hides itself, and an ordinary user may not write its files any more. One that joins a
    // user namespace waits for none, and has inherited the score.
    if let Some(score) = spec.process.oom_score_adj.filter(|_| !joins_user) {
        steps.push(HostAction::OomScoreAdj(score), "/process/oomScoreAdj");
    }
    if namespaces.new.contains(NamespaceFlags::USER) {
        let (uids, gids) = namespaces::id_maps(spec);
        steps.push(HostAction::WriteIdMaps { uids, gids }, "/linux/uidMappings");
    }
    namespaces.move_devices(spec, &mut steps);
    if let Some(settings) = &spec.linux.intel_rdt {
        let request = resctrl::Request::of(settings);
        steps.push(HostAction::JoinResctrl(Box::new(request)), "/linux/intelRdt");
    }
    for (index, (resource, limit)) in process::limits(spec).into_iter().enumerate() {
        let wanted = limit.maximum.unwrap_or(u64::MAX);
        if facts.hard_limits.iter().any(|(known, hard)| *known == resource && *hard < wanted) {
            steps.push(HostAction::RaiseLimit(resource, wanted), Origin::index("/process/rlimits", index));
        }
    }
    let limit_all = |steps: &mut Steps<HostAction>| {
        // systemd writes the limits that it knows into the files again when it is told of devices.
        let (first, last) = match facts.unit {
            None => (before_the_program, Resources::default()),
            Some(_) => (Resources::default(), before_the_program),
        };
        limit(first, steps);
        if facts.own_cgroup {
            let asked = !spec.linux.resources.devices.is_empty();
            let origin = if asked { "/linux/resources/devices" } else { "runtime" };
            steps.push(HostAction::LimitDevices(device_rules::device_rules(spec)), origin);
        }
        limit(last, steps);
    };
    mounts::sources(spec, container, false, &mut steps);
    if let Some(waits) = hooks::init_waits(spec) {
        hooks::host_side(spec, options, waits, &mut steps, limit_all);
        steps.push(HostAction::AwaitInit, "runtime");
    } else {
        steps.push(HostAction::AwaitInit, "runtime");
        // Now the init is as small as it gets, and the program has not begun.
        limit_all(&mut steps);
    }
    steps.0
}
