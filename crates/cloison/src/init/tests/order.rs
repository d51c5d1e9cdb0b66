//! The rules of order that keep a container from the host.

use super::*;
use crate::spec::Mount;

fn calls(spec: &Spec) -> Vec<String> {
    let kernel = kernel();
    let plan = plan(spec);
    // Descriptors that the host's side has opened.
    let sources = plan.host.iter().filter_map(|step| match &step.action {
        crate::plan::HostAction::OpenSource(source) => Some(source.mount),
        _ => None,
    });
    let sources: Vec<_> = sources.map(|at| (at, kernel.descriptor(format!("source {at}")))).collect();
    run(&kernel, &plan, &sources);
    assert!(is_launched(&kernel), "{:#?}", kernel.calls());
    kernel.calls()
}

/// The example with more of everything, with and without a user namespace.
fn examples() -> [Spec; 2] {
    [false, true].map(|user_namespace| {
        let mut spec = example(user_namespace);
        let mount = |destination: &str, kind: &str, options: &[&str]| Mount {
            destination: destination.into(),
            kind: Some(kind.into()),
            source: Some("/data".into()),
            options: options.iter().map(|&option| option.into()).collect(),
            ..Mount::default()
        };
        spec.mounts.push(mount("/data", "none", &["rbind", "ro", "rslave"]));
        spec.mounts.push(mount("/etc", "tmpfs", &["tmpcopyup", "ro"]));
        spec.mounts.push(mount("/data", "none", &["remount", "bind", "nosuid"]));
        spec.mounts.push(mount("/old", "ext4", &["iversion"]));
        spec.linux.sysctl = [("net.core.somaxconn".to_owned(), "256".to_owned())].into();
        spec.process.user.uid = 1000;
        spec
    })
}

fn place(calls: &[String], begin: &str) -> usize {
    calls.iter().position(|call| call.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {calls:#?}"))
}

fn last(calls: &[String], is_it: impl Fn(&str) -> bool) -> usize {
    calls.iter().rposition(|call| is_it(call)).expect("a call")
}

/// A program with labels of both modules.
fn labelled(user_namespace: bool) -> Plan {
    let mut spec = example(user_namespace);
    spec.process.apparmor_profile = Some("p".into());
    spec.process.selinux_label = Some("l".into());
    plan_with(&spec, Modules { apparmor: true, selinux: true, landlock: 0 })
}

#[test]
fn labels_are_written_through_the_hosts_procfs_as_the_last_before_the_launch() {
    for user_namespace in [false, true] {
        let kernel = kernel();
        kernel.set_file_system("/proc", 0x9fa0);
        kernel.set_link("/proc/self", "7");
        kernel.fail_on("open_beneath(/proc, \"7/attr/selinux/exec\"", cloison_linux::Errno::NOENT);
        run(&kernel, &labelled(user_namespace), &[]);
        assert!(is_launched(&kernel));
        let calls = kernel.calls();
        assert!(calls[1].starts_with("open(\"/proc\""), "before anything else: {calls:?}");
        let open = |file: &str| format!("open_beneath(/proc, \"7/attr/{file}\", WRONLY, 0o0)");
        let write = |file: &str, value: &str| format!("write(/proc/7/attr/{file}, {value:?})");
        let end: Vec<_> =
            calls.iter().filter(|call| !call.starts_with("readlinkat(")).rev().skip(1).take(5).collect();
        let expected = [
            write("exec", "l"),
            open("exec"),
            open("selinux/exec"),
            write("apparmor/exec", "exec p"),
            open("apparmor/exec"),
        ];
        assert_eq!(end, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn no_label_is_written_to_what_is_no_procfs_and_none_that_fails_is_passed_over() {
    let elsewhere = kernel();
    let failure = run(&elsewhere, &labelled(false), &[]);
    assert!(failure.to_string().contains("/proc is not a procfs"), "{failure}");
    let kernel = kernel();
    kernel.set_file_system("/proc", 0x9fa0);
    kernel.set_link("/proc/self", "7");
    kernel.fail_on("write(/proc/7/attr/apparmor/exec", cloison_linux::Errno::NOENT);
    let failure = run(&kernel, &labelled(false), &[]);
    assert!(failure.to_string().starts_with("apparmor failed to apply profile"), "{failure}");
    assert!(!is_launched(&kernel));
}

#[test]
fn the_mask_of_the_caller_is_cleared_before_anything_is_made() {
    for spec in examples() {
        let calls = calls(&spec);
        assert_eq!(calls[0], "umask(0o0)");
        assert_eq!(calls.iter().filter(|call| call.starts_with("umask(")).count(), 2);
        assert!(place(&calls, "umask(0o22)") > last(&calls, |call| call.starts_with("symlinkat(")));
    }
}

#[test]
fn paths_of_the_host_are_used_before_its_root_is_dropped_and_never_after() {
    for spec in examples() {
        let calls = calls(&spec);
        let gone = place(&calls, "umount_detach(\".\")");
        let pivot = place(&calls, "pivot_root_here()");
        assert!(pivot < gone && gone - pivot <= 2);
        let (before, after) = calls.split_at(pivot);
        for call in before.iter().filter(|call| call.starts_with("open(")) {
            let of_the_host = [
                "open(\"/bundle/rootfs\"",
                "open(\"/data\"",
                "open(\"/dev/",
                "open(\"/proc/self/fd\", DIRECTORY|PATH",
            ];
            assert!(of_the_host.iter().any(|begin| call.starts_with(begin)), "{call}");
        }
        for call in after {
            // Only the program is known by its path alone, and it is looked at, not opened.
            let is_program = call.starts_with("open(\"/") && call.contains("/sh\", PATH, 0o0)");
            let by_path = ["open(", "mount_propagation(\"/", "umount_detach(\"/", "move_root("];
            assert!(is_program || !by_path.iter().any(|begin| call.starts_with(begin)), "{call}");
        }
        let programs: Vec<_> = after.iter().filter(|call| call.starts_with("open(")).collect();
        assert_eq!(programs.len(), 6, "{programs:#?}");
    }
}

/// What resolves a path inside of the image does so below a descriptor, and everything else takes a single name.
#[test]
fn paths_of_the_image_are_resolved_below_its_root() {
    for spec in examples() {
        let calls = calls(&spec);
        let inside = |call: &&String| call.starts_with("open_in_root(") || call.starts_with("open_beneath(");
        assert!(calls.iter().filter(inside).count() > 25);
        for call in calls.iter().filter(inside) {
            let dir = call.split_once('(').unwrap().1.split(", ").next().unwrap();
            let known = [ROOT, "mount of proc", "mount of sysfs"].iter().any(|root| dir.starts_with(root));
            assert!(known, "{call}");
        }
        for call in
            calls.iter().filter(|call| ["mkdirat(", "mknodat("].iter().any(|verb| call.starts_with(verb)))
        {
            let name = call.split('"').nth(1).unwrap();
            assert!(!name.contains('/') && !name.is_empty() && name != "..", "{call}");
        }
        let symlinks = calls.iter().filter(|call| call.starts_with("symlinkat("));
        assert!(symlinks.into_iter().all(|call| !call.rsplit('"').nth(1).unwrap().contains('/')));
    }
}

#[test]
fn namespaces_and_the_session_come_before_any_mount() {
    for spec in examples() {
        let calls = calls(&spec);
        let first_mount = place(&calls, "mount_propagation(\"/\"");
        for begin in ["unshare(", "setsid()", "join_session_keyring(", "loopback_up()"] {
            assert!(last(&calls, |call| call.starts_with(begin)) < first_mount, "{begin}");
        }
        assert!(place(&calls, "unshare(cgroup)") < first_mount);
        // Ours must be slaves of the host's before the first one is attached.
        assert!(first_mount < place(&calls, "move_mount("));
    }
}

#[test]
fn paths_are_hidden_and_locked_after_everything_is_mounted() {
    for spec in examples() {
        let calls = calls(&spec);
        let mounted = last(&calls, |call| {
            call.starts_with("move_mount(mount of ")
                && !call.contains("mount of proc/")
                && !call.contains("mount of sysfs/")
                || call.starts_with("mount(")
                || call.starts_with("remount(")
        });
        let pivot = place(&calls, "pivot_root_here()");
        let read_only = place(&calls, "move_mount(tree of mount of proc/sys, mount of proc/sys)");
        let masked = place(&calls, &format!("move_mount(tree of {ROOT}/dev/null, mount of proc/kcore)"));
        assert!(mounted < pivot && pivot < read_only && read_only < masked);
        // The sysctls are written through a procfs of our own, before /proc/sys is locked, and through nothing of the image's.
        let sysctl = place(&calls, "open_beneath(mount of proc, \"sys/net/core/somaxconn\"");
        assert!(pivot < sysctl && sysctl < read_only);
    }
}

#[test]
fn the_root_and_late_mounts_are_read_only_after_everything_in_them_is_made() {
    for spec in examples() {
        let calls = calls(&spec);
        let made = last(&calls, |call| {
            ["mkdirat(", "mknodat(", "symlinkat("].iter().any(|verb| call.starts_with(verb))
                || call.contains("CREAT")
        });
        let root = place(&calls, &format!("mount_setattr({ROOT}, alone, +RDONLY"));
        let late = last(&calls, |call| call.starts_with("mount_setattr(mount of tmpfs, alone, +RDONLY"));
        assert!(made < late && late < root, "{made} {late} {root}");
    }
}

#[test]
fn the_launch_is_last_and_knows_who_the_program_runs_as() {
    for spec in examples() {
        let calls = calls(&spec);
        assert_eq!(place(&calls, "launch("), calls.len() - 1);
        assert!(calls.last().unwrap().contains("become user 1000"));
        // The working directory is entered after the last change of the root, and checked.
        let checked = place(&calls, "getcwd()");
        assert!(calls[checked - 1].starts_with("fchdir("));
        assert!(last(&calls, |call| call.starts_with("fchdir(")) == checked - 1);
    }
}

/// The cgroup namespace's root is the cgroup that its maker is in.
#[test]
fn a_v1_cgroup_is_entered_before_its_namespace_is_made() {
    let mut plan = plan(&example(false));
    let step = crate::plan::Step { action: crate::plan::Action::JoinCgroup, origin: "runtime".into() };
    plan.container.insert(0, step);
    let kernel = kernel();
    let [channel, one, two] = ["channel", "tasks 1", "tasks 2"].map(|name| kernel.descriptor(name));
    let tasks = [one.as_fd(), two.as_fd()];
    let inherited = Inheritance {
        channel: channel.as_fd(),
        cgroup: &tasks,
        sources: &[],
        start: None,
        streams: None,
        held_root: None,
        pad: None,
        hook_outputs: [None, None],
        container: None,
    };
    birth(&kernel, &plan, &inherited);
    assert_eq!(kernel.calls()[1..4], ["write(tasks 1, \"0\")", "write(tasks 2, \"0\")", "unshare(cgroup)"]);
}

/// As root of the user namespace it might not go there.
#[test]
fn sources_are_opened_before_the_init_becomes_root_of_its_user_namespace() {
    let [_, spec] = examples();
    let calls = calls(&spec);
    let opened = place(&calls, "open(\"/data\"");
    assert!(opened < place(&calls, "become_ids("), "{calls:#?}");
    let mounted = format!(", {ROOT}/data)");
    assert!(calls.iter().any(|call| call.starts_with("move_mount(") && call.ends_with(&mounted)));
}
