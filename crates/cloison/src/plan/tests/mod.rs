//! Plans as data: what a configuration becomes.

use std::path::{Path, PathBuf};

use super::action::MountStep;
use super::*;
use crate::spec::{self, Namespace, NamespaceType, Process};

mod exec;
mod hooks;
mod labels_of_modules;
mod landlock;
mod mounts_and_devices;
mod namespaces_and_ids;
mod process_and_limits;
mod properties;
mod refusals;
mod seccomp;
mod units;
mod whole;

/// The example, but for what it learns from the machine: a terminal, a read-only root, six new namespaces.
fn example() -> Spec {
    use NamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};

    let mut spec = spec::example(false);
    spec.linux.namespaces = [Pid, Network, Ipc, Uts, Mount, Cgroup].map(made).into();
    spec
}

/// The example with a new user namespace that maps all ids.
fn example_with_user_namespace() -> Spec {
    let mut spec = example();
    spec.linux.namespaces.push(made(NamespaceType::User));
    spec.linux.uid_mappings = vec![spec::IdMapping { container_id: 0, host_id: 100_000, size: 65_536 }];
    spec.linux.gid_mappings = vec![spec::IdMapping { container_id: 0, host_id: 200_000, size: 65_536 }];
    spec
}

fn made(kind: NamespaceType) -> Namespace {
    Namespace { kind, path: None }
}

fn joined(kind: NamespaceType) -> Namespace {
    Namespace { kind, path: Some(format!("/run/ns/{}", kind.as_str())) }
}

/// Joins a namespace instead of making it.
fn join(spec: &mut Spec, kind: NamespaceType) {
    leave_out(spec, kind);
    spec.linux.namespaces.push(joined(kind));
}

fn leave_out(spec: &mut Spec, kind: NamespaceType) {
    spec.linux.namespaces.retain(|namespace| namespace.kind != kind);
}

fn options() -> Options {
    Options {
        id: ContainerId::parse("c1").unwrap(),
        bundle: "/bundle".into(),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        takes_streams: false,
    }
}

/// A machine with cgroup v2, of root's.
fn facts() -> HostFacts {
    HostFacts {
        modules: labels::Modules::default(),
        cgroups: CgroupView::Unified("/sys/fs/cgroup/c1".into()),
        own_cgroup: true,
        unit: None,
        privileged: true,
        in_user_namespace: false,
        binds_devices: false,
        groups_denied: false,
        kcore: true,
        resctrl: None,
        hard_limits: Vec::new(),
    }
}

fn plan(spec: &Spec) -> Plan {
    plan_with(spec, &options(), &facts())
}

fn plan_with(spec: &Spec, options: &Options, facts: &HostFacts) -> Plan {
    Plan::new(spec, options, facts).unwrap()
}

/// The host's side as it prints.
fn host(plan: &Plan) -> Vec<String> {
    plan.host.iter().map(ToString::to_string).collect()
}

/// The container's side as it prints.
fn container(plan: &Plan) -> Vec<String> {
    plan.container.iter().map(ToString::to_string).collect()
}

/// What is different on both sides from the plan of the example: `-` is gone, `+` has come.
fn changes(spec: &Spec) -> Vec<String> {
    changes_with(spec, &options(), &facts())
}

fn changes_with(spec: &Spec, options: &Options, facts: &HostFacts) -> Vec<String> {
    difference(&plan(&example()), &plan_with(spec, options, facts))
}

fn difference(old: &Plan, new: &Plan) -> Vec<String> {
    let both = |plan: &Plan| [host(plan), container(plan)].concat();
    let (old, new) = (both(old), both(new));
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{line}"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{line}"));
    gone.chain(come).collect()
}

/// The place of the only step that prints like this.
fn place(plan: &Plan, text: &str) -> usize {
    let lines = container(plan);
    let found: Vec<_> = (0..lines.len()).filter(|at| lines[*at].starts_with(text)).collect();
    assert_eq!(found.len(), 1, "{text:?} in {lines:#?}");
    found[0]
}

fn mount_at<'p>(plan: &'p Plan, destination: &str) -> &'p MountStep {
    let mut mounts = plan.container.iter().filter_map(|step| match &step.action {
        Action::Mount(mount) => Some(&**mount),
        _ => None,
    });
    mounts.find(|mount| mount.destination == Path::new(destination)).expect("a mount")
}
