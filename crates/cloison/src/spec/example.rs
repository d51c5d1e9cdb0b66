//! What `cloison spec` writes.

use super::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, NEWEST_VERSION, Namespace, NamespaceType, Process,
    Resources, Rlimit, RlimitType, Root, Spec,
};

/// The file system type of a cgroup v2 mount (statfs(2)).
const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// An ordinary spec: a shell on a terminal over the directory `rootfs`, made for this machine.
///
/// A rootless one maps the caller's own user and group to root and leaves out what needs more.
pub fn example(rootless: bool) -> Spec {
    let is_v2 = rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC);
    let mut spec = rootful(is_v2);
    if rootless {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        make_rootless(&mut spec, uid.as_raw(), gid.as_raw());
    }
    spec
}

fn rootful(has_cgroup_namespace: bool) -> Spec {
    Spec {
        oci_version: NEWEST_VERSION.to_owned(),
        process: process(),
        root: Root { path: "rootfs".to_owned(), readonly: true },
        hostname: Some("cloison".to_owned()),
        mounts: mounts(),
        linux: linux(has_cgroup_namespace),
        ..Spec::default()
    }
}

fn process() -> Process {
    let capabilities = strings(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    Process {
        terminal: true,
        args: strings(&["sh"]),
        env: strings(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]),
        cwd: "/".to_owned(),
        capabilities: Some(Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities,
            ..Capabilities::default()
        }),
        rlimits: vec![Rlimit { kind: RlimitType::Nofile, hard: 1024, soft: 1024 }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn mounts() -> Vec<Mount> {
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

fn linux(has_cgroup_namespace: bool) -> Linux {
    use NamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};

    let mut kinds = vec![Pid, Network, Ipc, Uts, Mount];
    if has_cgroup_namespace {
        kinds.push(Cgroup);
    }
    let deny_all = DeviceRule { access: "rwm".to_owned(), ..DeviceRule::default() };
    Linux {
        resources: Resources { devices: vec![deny_all], ..Resources::default() },
        namespaces: kinds.into_iter().map(|kind| Namespace { kind, path: None }).collect(),
        masked_paths: strings(&[
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
        ]),
        readonly_paths: strings(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
        ..Linux::default()
    }
}

/// One's own user is all that a user namespace may map without help, so no other group can own a terminal,
/// sysfs of a network namespace that is not one's own cannot be mounted, and no cgroup can be limited.
fn make_rootless(spec: &mut Spec, uid: u32, gid: u32) {
    let linux = &mut spec.linux;
    linux.namespaces.retain(|namespace| namespace.kind != NamespaceType::Network);
    linux.namespaces.push(Namespace { kind: NamespaceType::User, path: None });
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
    linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
    linux.resources = Resources::default();
    for entry in &mut spec.mounts {
        if entry.destination == "/sys" {
            *entry = mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
        entry.options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: strings(options),
        ..Mount::default()
    }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}
