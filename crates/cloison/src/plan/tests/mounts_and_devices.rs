//! Mounts, propagation, devices, masked paths.

use cloison_linux::{MountAttrFlags, MountPropagationFlags};

use super::*;
use crate::plan::action::MountSource;
use crate::plan::mounts::clean;
use crate::spec::{Device, DeviceType, MOUNT_OPTIONS, Mount, Propagation};

fn mount(destination: &str, kind: Option<&str>, source: Option<&str>, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: kind.map(Into::into),
        source: source.map(Into::into),
        options: options.iter().map(|&option| option.into()).collect(),
        ..Mount::default()
    }
}

/// How the plan of one more mount prints it.
fn printed(mount: Mount) -> String {
    let mut spec = example();
    spec.mounts = vec![mount];
    let lines = container(&plan(&spec));
    lines.into_iter().find(|line| line.ends_with("[/mounts/0]")).expect("a mount")
}

#[test]
fn a_mount_prints_all_that_is_done() {
    for (entry, expected) in [
        (mount("/a", None, Some("/b"), &["rbind", "ro", "rslave"]), "rbind /b on /a ro rslave"),
        (mount("/a", Some("bind"), Some("b"), &["bind"]), "bind /bundle/b on /a"),
        (
            mount("/a", Some("none"), Some("/b"), &["bind", "rro", "nodev"]),
            "bind /b on /a nodev recursively ro",
        ),
        (mount("/a", None, None, &["remount", "ro", "noatime"]), "remount /a ro,noatime"),
        (
            mount("/a", Some("ext4"), Some("/dev/x"), &["sync", "data=ordered"]),
            "mount ext4 on /a sync (data=ordered)",
        ),
        (mount("/a", Some("ext4"), Some("/dev/x"), &["iversion"]), "mount ext4 on /a flags 0x800000"),
        (
            mount("/a", Some("tmpfs"), None, &["tmpcopyup", "ro", "norelatime"]),
            "mount tmpfs on /a relatime with a copy of what it covers ro later",
        ),
    ] {
        assert_eq!(printed(entry), format!("{expected}  [/mounts/0]"));
    }
}

#[test]
fn destinations_are_absolute_and_without_dots() {
    for (destination, expected) in
        [("a/b", "/a/b"), ("/a//b/", "/a/b"), ("/a/../../b/./c", "/b/c"), ("../..", "/"), ("", "/")]
    {
        assert_eq!(clean(destination), PathBuf::from(expected), "{destination:?}");
    }
}

#[test]
fn every_option_that_is_known_to_the_reader_is_one_of_the_plan() {
    let names: Vec<_> = mount_options::names().filter(|name| !spec::ID_MAP_OPTIONS.contains(name)).collect();
    assert_eq!(names, MOUNT_OPTIONS);
}

#[test]
fn a_source_of_a_file_system_is_its_type_if_nothing_is_said() {
    let mut spec = example();
    spec.mounts =
        vec![mount("/a", Some("tmpfs"), Some(""), &[]), mount("/b", Some("tmpfs"), Some("shm"), &[])];
    let plan = plan(&spec);
    let source = |name: &str| MountSource::FileSystem { fs_type: "tmpfs".into(), source: name.into() };
    assert_eq!(mount_at(&plan, "/a").source, source("tmpfs"));
    assert_eq!(mount_at(&plan, "/b").source, source("shm"));
}

#[test]
fn a_tmpfs_and_dev_are_read_only_only_after_everything_is_in_them() {
    let mut spec = example();
    spec.mounts
        .iter_mut()
        .filter(|entry| entry.destination == "/dev")
        .for_each(|entry| entry.options.push("ro".into()));
    spec.mounts.push(mount("/etc", Some("tmpfs"), None, &["ro"]));
    spec.mounts.push(mount("/mnt", Some("ext4"), Some("/dev/x"), &["ro"]));
    let plan = plan(&spec);
    for (path, late) in [("/dev", true), ("/etc", true), ("/mnt", false), ("/sys", false)] {
        let step = mount_at(&plan, path);
        assert_eq!(step.read_only_late, late, "{path}");
        assert_eq!(step.options.attributes.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY), !late, "{path}");
        assert_eq!(step.options.read_only, (!late).then_some(true), "{path}: nor is its super block");
    }
    let late = place(&plan, "make read-only what had to stay writable");
    assert!(late > place(&plan, "terminal") && late > place(&plan, "link /dev/core"));
    assert!(!container(&super::plan(&example())).iter().any(|line| line.contains("had to stay writable")));
}

#[test]
fn propagation_of_the_root_is_as_asked_and_never_shared_with_the_mount_below() {
    use Propagation::{
        Private, RecursivePrivate, RecursiveShared, RecursiveSlave, RecursiveUnbindable, Shared, Slave,
        Unbindable,
    };

    // Asked for; the host's mounts, the mount below the root, the new root; whether unmounting could reach the host.
    for (asked, host, parent, root, guarded) in [
        (None, "rslave", "slave", None, false),
        (Some(Private), "private", "private", None, true),
        (Some(RecursivePrivate), "rprivate", "private", None, false),
        (Some(Slave), "slave", "slave", None, true),
        (Some(RecursiveSlave), "rslave", "slave", None, false),
        (Some(Shared), "shared", "private", Some("shared"), true),
        (Some(RecursiveShared), "rshared", "private", Some("rshared"), true),
        (Some(Unbindable), "unbindable", "private", Some("unbindable"), true),
        (Some(RecursiveUnbindable), "runbindable", "private", Some("runbindable"), true),
    ] {
        let mut spec = example();
        spec.linux.rootfs_propagation = asked;
        let plan = plan(&spec);
        place(&plan, &format!("make the host's mounts {host}  ["));
        place(&plan, &format!("bind the root file system /bundle/rootfs on itself, its parent {parent}  ["));
        let lines = container(&plan);
        let found: Vec<_> =
            lines.iter().filter_map(|line| line.strip_suffix("  [/linux/rootfsPropagation]")).collect();
        let new_root: Vec<_> = root.iter().map(|root| format!("make / {root}")).collect();
        let expected: Vec<_> =
            asked.iter().map(|_| format!("make the host's mounts {host}")).chain(new_root).collect();
        assert_eq!(found, expected, "{asked:?}");
        let guard = plan.container.iter().find_map(|step| match step.action {
            Action::PivotRoot { host_may_be_shared } => Some(host_may_be_shared),
            _ => None,
        });
        assert_eq!(guard, Some(guarded), "{asked:?}");
    }
    let (host, _) = mounts::host_propagation(None);
    assert!(host.contains(MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM));
}

#[test]
fn the_hosts_is_bound_in_user_namespaces_only_and_with_no_option_lost() {
    let or_bind = |spec: &Spec, facts: &HostFacts, destination: &str| {
        mount_at(&plan_with(spec, &options(), facts), destination).or_bind.clone()
    };
    let nested = HostFacts { in_user_namespace: true, ..facts() };
    let mut root = example();
    leave_out(&mut root, NamespaceType::Pid);
    for destination in ["/proc", "/sys"] {
        assert_eq!(or_bind(&root, &facts(), destination), None, "{destination}");
        assert_eq!(or_bind(&root, &nested, destination), Some(destination.into()));
    }
    let mut user = example_with_user_namespace();
    assert_eq!(or_bind(&user, &facts(), "/proc"), None, "it would show other processes");
    leave_out(&mut user, NamespaceType::Pid);
    for (index, destination, option) in [(0, "/proc", "hidepid=invisible"), (5, "/sys", "rrw")] {
        assert_eq!(or_bind(&user, &facts(), destination), Some(destination.into()));
        user.mounts[index].options.push(option.into());
        assert_eq!(or_bind(&user, &facts(), destination), None, "{option}");
    }
    let mut user = example_with_user_namespace();
    leave_out(&mut user, NamespaceType::Ipc);
    assert_eq!(or_bind(&user, &facts(), "/dev/mqueue"), Some("/dev/mqueue".into()));
    user.linux.mount_label = Some("u:r:f:s0:c1,c2".into());
    let labels = HostFacts { modules: labels::Modules { selinux: true, ..facts().modules }, ..facts() };
    assert_eq!(or_bind(&user, &labels, "/dev/mqueue"), None, "its label would be lost");
}

fn legacy() -> HostFacts {
    let hierarchies = [
        ("memory", "/sys/fs/cgroup/memory/c1"),
        ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/c1"),
        ("name=systemd", "/sys/fs/cgroup/systemd/c1"),
        ("name=elogind", "/sys/fs/cgroup/elogind/c1"),
    ];
    let hierarchies = hierarchies.map(|(name, path)| (name.to_owned(), path.into())).into();
    HostFacts { cgroups: CgroupView::Legacy(hierarchies), ..facts() }
}

fn cgroup_mounts(spec: &Spec, facts: &HostFacts) -> Vec<String> {
    let lines = container(&plan_with(spec, &options(), facts));
    lines.iter().filter_map(|line| line.strip_suffix("  [/mounts/6]")).map(str::to_owned).collect()
}

#[test]
fn v1_shows_each_hierarchy_by_its_controllers_or_its_name_in_a_cgroup_namespace() {
    assert_eq!(
        cgroup_mounts(&example(), &legacy()),
        [
            "mount tmpfs on /sys/fs/cgroup nosuid,nodev,noexec (mode=755) ro later",
            "mount cgroup on /sys/fs/cgroup/memory ro,nosuid,nodev,noexec (memory)",
            "mount cgroup on /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec (cpu,cpuacct)",
            "mount cgroup on /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec (none,name=systemd)",
            "mount cgroup on /sys/fs/cgroup/elogind ro,nosuid,nodev,noexec (none,name=elogind)",
            "link /sys/fs/cgroup/cpu -> cpu,cpuacct",
            "link /sys/fs/cgroup/cpuacct -> cpu,cpuacct",
        ]
    );
    let mut recursively = example();
    recursively.mounts[6].options.retain(|option| option != "ro");
    recursively.mounts[6].options.push("rro".to_owned());
    assert_eq!(cgroup_mounts(&recursively, &legacy()), cgroup_mounts(&example(), &legacy()));
}

#[test]
fn v1_without_a_cgroup_namespace_binds_only_the_containers_own_directories() {
    let mut spec = example();
    leave_out(&mut spec, NamespaceType::Cgroup);
    let shown = cgroup_mounts(&spec, &legacy());
    assert_eq!(
        shown[1..5],
        [
            "rbind /sys/fs/cgroup/memory/c1 on /sys/fs/cgroup/memory ro,nosuid,nodev,noexec",
            "rbind /sys/fs/cgroup/cpu,cpuacct/c1 on /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec",
            "rbind /sys/fs/cgroup/systemd/c1 on /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec",
            "rbind /sys/fs/cgroup/elogind/c1 on /sys/fs/cgroup/elogind ro,nosuid,nodev,noexec",
        ]
    );
}

#[test]
fn a_writable_v1_mount_stays_writable() {
    let mut spec = example();
    spec.mounts[6].options.retain(|option| option != "ro");
    let shown = cgroup_mounts(&spec, &legacy());
    assert!(shown.iter().all(|line| !line.contains(" ro")), "{shown:#?}");
}

#[test]
fn without_a_mount_namespace_the_root_is_held_for_what_would_stay_on_it() {
    let held = |spec: &Spec, binds_devices| {
        let plan = plan_with(spec, &options(), &HostFacts { binds_devices, ..facts() });
        let steps = host(&plan);
        let words = plan.warnings.iter().any(|warning| warning.message.contains("are the host's mounts"));
        let held = steps.iter().any(|step| step.contains("/bundle/rootfs"));
        assert_eq!(held, words, "{steps:?}");
        held
    };
    let mut spec = example();
    leave_out(&mut spec, NamespaceType::Mount);
    spec.linux.masked_paths.clear();
    spec.linux.readonly_paths.clear();
    assert!(held(&spec, false));
    spec.mounts.clear();
    (spec.root.readonly, spec.process.terminal) = (false, false);
    assert!(!held(&spec, false), "device nodes are files");
    assert!(held(&spec, true), "devices that are bound are mounts");
    spec.mounts = example().mounts[1..2].to_vec();
    (spec.mounts[0].kind, spec.mounts[0].options) = (None, vec!["bind".to_owned()]);
    let nested = HostFacts { binds_devices: true, ..facts() };
    let steps = |spec: &Spec| container(&plan_with(spec, &options(), &nested));
    assert!(!steps(&spec).iter().any(|step| step.contains("/dev/null")), "the host's are there already");
    spec.mounts.clear();
    let pipe = serde_json::json!({"path": "/dev/pipe", "type": "p"});
    spec.linux.devices = vec![serde_json::from_value(pipe).unwrap()];
    let begin = |begin: &str| steps(&spec).iter().any(|step| step.starts_with(begin));
    assert!(
        begin("bind the host's device /dev/null") && begin("make device /dev/pipe"),
        "{:?}",
        steps(&spec)
    );
    spec.linux.namespaces.push(made(NamespaceType::Mount));
    assert!(
        steps(&spec).iter().any(|step| step.starts_with("make device /dev/null")),
        "as far as the kernel lets it"
    );
}

#[test]
fn v2_is_mounted_or_bound_where_the_kernel_would_refuse_a_mount() {
    let mut spec = example();
    let mounted = ["mount cgroup2 on /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime"];
    assert_eq!(cgroup_mounts(&spec, &facts()), mounted);
    leave_out(&mut spec, NamespaceType::Cgroup);
    let either =
        ["mount cgroup2 on /sys/fs/cgroup or bind /sys/fs/cgroup/c1 ro,nosuid,nodev,noexec,relatime"];
    assert_eq!(cgroup_mounts(&spec, &facts()), mounted);
    let nested = HostFacts { in_user_namespace: true, ..facts() };
    assert_eq!(cgroup_mounts(&spec, &nested), either, "the runtime is root of a user namespace");

    let mut spec = example_with_user_namespace();
    assert_eq!(cgroup_mounts(&spec, &facts()), mounted);
    leave_out(&mut spec, NamespaceType::Cgroup);
    let bound = ["rbind /sys/fs/cgroup/c1 on /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime"];
    assert_eq!(cgroup_mounts(&spec, &facts()), bound);
    spec.mounts[6].options.push("nsdelegate".into());
    assert_eq!(cgroup_mounts(&spec, &facts()), bound, "a bind mount takes no options of a file system");
}

#[test]
fn a_cgroup_mount_on_a_machine_without_cgroups_is_left_to_the_kernel_to_refuse() {
    let facts = HostFacts { cgroups: CgroupView::None, own_cgroup: false, ..facts() };
    assert_eq!(
        cgroup_mounts(&example(), &facts),
        ["mount cgroup on /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime"]
    );
}

fn device(path: &str, kind: DeviceType) -> Device {
    Device {
        path: path.into(),
        kind,
        major: 10,
        minor: 229,
        file_mode: Some(0o4640),
        uid: Some(7),
        gid: None,
    }
}

#[test]
fn devices_are_added_and_override_the_default_ones() {
    let mut spec = example();
    spec.linux.devices = vec![
        device("/dev/fuse", DeviceType::Character),
        device("/dev/./null", DeviceType::Block),
        device("/dev/pipe", DeviceType::Fifo),
        device("/dev//ptmx", DeviceType::Character),
    ];
    let mut changes = changes(&spec);
    changes.retain(|line| !line.contains("limit devices"));
    assert_eq!(
        changes,
        [
            "-make device /dev/null c 1:3 mode 666 owner 0:0  [runtime]",
            "+make device /dev/fuse c 10:229 mode 4640 owner 7:0  [/linux/devices/0]",
            "+make device /dev/null b 10:229 mode 4640 owner 7:0  [/linux/devices/1]",
            "+make device /dev/pipe p 10:229 mode 4640 owner 7:0  [/linux/devices/2]",
        ],
        "the multiplexer of the terminals is the container's own"
    );
}

#[test]
fn nothing_is_made_in_a_dev_that_is_bound() {
    let mut spec = example();
    spec.linux.devices = vec![device("/dev/fuse", DeviceType::Character)];
    spec.mounts = vec![mount("/dev/", Some("bind"), Some("/dev"), &["rbind"])];
    let lines = container(&plan(&spec));
    let made =
        |line: &&String| line.contains("device") || line.contains("link") || line.contains("streams on");
    assert_eq!(lines.iter().filter(made).count(), 0, "{lines:#?}");
    spec.linux.devices.push(device("/opt/fuse", DeviceType::Character));
    let lines = container(&plan(&spec));
    let expected = "make device /opt/fuse c 10:229 mode 4640 owner 7:0  [/linux/devices/1]";
    assert_eq!(lines.iter().filter(made).collect::<Vec<_>>(), [expected]);
}

#[test]
fn pipes_are_made_where_devices_are_bound() {
    let mut spec = example_with_user_namespace();
    spec.linux.devices =
        vec![device("/dev/fuse", DeviceType::Character), device("/dev/pipe", DeviceType::Fifo)];
    let lines = container(&plan(&spec));
    let of = |pointer: &str| lines.iter().find(|line| line.ends_with(pointer)).unwrap();
    assert!(of("[/linux/devices/0]").starts_with("bind "), "{lines:#?}");
    assert!(of("[/linux/devices/1]").starts_with("make device /dev/pipe p"), "{lines:#?}");
}

#[test]
fn paths_are_masked_and_read_only_after_the_root_is_changed_and_all_is_mounted() {
    let plan = plan(&example());
    let last_mount = plan.container.iter().rposition(|step| matches!(step.action, Action::Mount(_))).unwrap();
    let pivot = place(&plan, "pivot_root");
    let read_only = place(&plan, "make /proc/bus read-only");
    assert!(last_mount < pivot && pivot < read_only && read_only < place(&plan, "mask "));
    assert!(place(&plan, "mask ") < place(&plan, "find the program"));
}
