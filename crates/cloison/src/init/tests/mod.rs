//! Births on a fake kernel.

use std::os::fd::{AsFd, OwnedFd};

use cloison_linux::fake::{Fake, stat};
use cloison_linux::{FileType, makedev};

use super::channel::Failure;
use super::create::{Inheritance, Start, birth};
use crate::id::ContainerId;
use crate::plan::labels::Modules;
use crate::plan::{CgroupView, HostFacts, Options, Plan};
use crate::spec::{self, IdMapping, Namespace, NamespaceType, Spec};

mod failures;
mod joining;
mod landlock;
mod order;

/// What a plan of the example mounts its root file system as.
const ROOT: &str = "tree of /bundle/rootfs";

/// The example in seven new namespaces, one of them of users, if asked for.
fn example(user_namespace: bool) -> Spec {
    use NamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};

    let mut spec = spec::example(false);
    let made = |kind| Namespace { kind, path: None };
    spec.linux.namespaces = [Pid, Network, Ipc, Uts, Mount, Cgroup].map(made).into();
    if user_namespace {
        spec.linux.namespaces.push(made(User));
        let row = IdMapping { container_id: 0, host_id: 100_000, size: 65_536 };
        (spec.linux.uid_mappings, spec.linux.gid_mappings) = (vec![row], vec![row]);
    }
    spec
}

fn plan(spec: &Spec) -> Plan {
    plan_with(spec, Modules::default())
}

/// The plan on a machine with these security modules.
fn plan_with(spec: &Spec, modules: Modules) -> Plan {
    let options = Options {
        id: ContainerId::parse("c1").unwrap(),
        bundle: "/bundle".into(),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        takes_streams: false,
    };
    let facts = HostFacts {
        modules,
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
    };
    Plan::new(spec, &options, &facts).unwrap()
}

/// A kernel on which the plan of the example succeeds: an image with `/bin/sh` and `/etc/passwd`, the null device where it belongs, and
/// a file among the masked paths.
fn kernel() -> Fake {
    let kernel = Fake::new();
    kernel.set_file_system("/proc/self/fd", 0x9fa0);
    let null = stat(FileType::CharacterDevice, 0o666, makedev(1, 3));
    kernel.set_stat(&format!("{ROOT}/dev/null"), null);
    kernel.set_stat("mount of proc/kcore", stat(FileType::RegularFile, 0o400, 0));
    kernel.set_stat(&format!("{ROOT}/etc/passwd"), stat(FileType::RegularFile, 0o644, 0));
    kernel.set_content(&format!("{ROOT}/etc/passwd"), "root:x:0:0:root:/home/of/root:/bin/sh\n");
    kernel.set_stat("tree of tree of /bundle/rootfs/dev/null", null);
    kernel.set_stat("/bin/sh", stat(FileType::RegularFile, 0o755, 0));
    let ptmx = stat(FileType::CharacterDevice, 0o666, makedev(5, 2));
    kernel.set_stat(&format!("{ROOT}/dev/ptmx"), ptmx);
    kernel
}

/// Runs the container's side on `kernel`, with the sources of bind mounts and whatever the runtime says first.
fn run(kernel: &Fake, plan: &Plan, sources: &[(usize, OwnedFd)]) -> Failure {
    let [channel, listener, mark] = ["channel", "listener", "mark"].map(|name| kernel.descriptor(name));
    kernel.push_message(*b"m", None);
    let start = Start { listener: listener.as_fd(), mark: mark.as_fd() };
    let inherited = Inheritance {
        channel: channel.as_fd(),
        cgroup: &[],
        sources,
        start: Some(start),
        streams: None,
        held_root: None,
        pad: None,
        hook_outputs: [None, None],
        container: None,
    };
    birth(kernel, plan, &inherited)
}

fn is_launched(kernel: &Fake) -> bool {
    kernel.verbs().iter().any(|verb| verb == "launch")
}
