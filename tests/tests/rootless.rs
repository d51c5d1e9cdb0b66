//! Containers of an ordinary user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;

use cloison_tests::host;
use cloison_tests::user::{self, ID, User};
use cloison_tests::{Kind, Sandbox, caller, json, only_for, runc_lacks, runtime, skip_unless, until};
use rustix::mount::MountFlags;

#[test]
fn an_ordinary_user_is_root_of_a_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let output =
        user.run(&user.root_only("id -u; id -g; cat /proc/self/setgroups; tr -s ' ' < /proc/self/uid_map"));
    assert_eq!(output.ok(), format!("0\n0\ndeny\n 0 {ID} 1\n"));
}

#[test]
fn the_configuration_that_is_written_for_an_ordinary_user_runs_from_his_runtime_directory() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let mut bundle = user.bundle("");
    chown(bundle.dir(), Some(ID), Some(ID)).unwrap();
    user.does(&["spec", "--rootless", "--bundle", bundle.dir().to_str().unwrap()]).ok();
    let env = bundle.spec["process"]["env"].clone();
    bundle.spec = serde_json::from_slice(&fs::read(bundle.dir().join("config.json")).unwrap()).unwrap();
    bundle.spec["process"]["env"] = env;
    let bundle = bundle.set("/process/terminal", false).args(["id", "-u"]);
    assert_eq!(user.run(&bundle).ok(), "0\n");
    let name = if runtime::kind() == Kind::Cloison { "cloison" } else { "runc" };
    let mode = fs::metadata(user.directory().join(name)).unwrap().permissions().mode();
    assert_eq!(mode & 0o1077, 0o1000, "sticky, and nobody else's: {mode:o}");
}

#[test]
fn a_user_namespace_is_made_for_an_ordinary_user_whose_configuration_has_none() {
    only_for!(Cloison, "others refuse");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let output = user.run(&user.bundle("id -u; ls /dev/pts; tr -s ' ' < /proc/self/uid_map"));
    assert_eq!(output.ok(), format!("0\nptmx\n 0 {ID} 1\n"));
    assert!(output.stderr.contains("a user namespace is made"), "{}", output.stderr);
}

#[test]
fn another_process_and_hooks_run_where_the_user_namespace_is_not_in_the_configuration() {
    only_for!(Cloison, "others refuse");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "id -u > /tmp/hook"]}]);
    let bundle = user.bundle("sleep 1000").writable().set("/hooks/startContainer", hook);
    let container = user.start(&bundle);
    let script = "id -u; cat /tmp/hook; tr -s ' ' < /proc/self/uid_map";
    let expected = format!("0\n0\n 0 {ID} 1\n");
    assert_eq!(user.does(&["exec", &container.id, "sh", "-c", script]).ok(), expected);
    container.end();
}

#[test]
fn another_process_runs_in_an_ordinary_users_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("sleep 1000");
    let container = user.start(&bundle);
    assert_eq!(
        user.does(&["exec", &container.id, "sh", "-c", "id -u; echo $$"]).ok().lines().next(),
        Some("0")
    );
    container.end();
}

#[test]
fn processes_run_and_hooks_enter_before_the_program_of_an_ordinary_users_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "id -u > /tmp/hook"]}]);
    let bundle = user.root_only("cat /tmp/hook /tmp/exec").writable().set("/hooks/startContainer", hook);
    bundle.write();
    let id = sandbox.new_id();
    let out = sandbox.file("out", "");
    let mut create = user.command(&["create", "--bundle", bundle.dir().to_str().unwrap(), &id]);
    create.stdout(fs::File::options().append(true).open(&out).unwrap());
    sandbox.spawn_with_own_stdio(create).wait().ok();
    user.does(&["exec", &id, "sh", "-c", "id -u > /tmp/exec"]).ok();
    user.does(&["start", &id]).ok();
    until("the program has ended", || user.does(&["state", &id]).json()["status"] == "stopped");
    assert_eq!(fs::read_to_string(out).unwrap(), "0\n0\n");
    user.does(&["delete", &id]).ok();
}

#[test]
fn a_container_that_nothing_ends_for_certain_is_warned_about() {
    runc_lacks!("1.2: the warning");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("true").without_namespace("pid").edit(|spec| {
        spec["mounts"][0] =
            json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
    });
    let output = user.run(&bundle);
    output.ok();
    assert!(output.stderr.contains("Such configuration is strongly discouraged"), "{}", output.describe());
}

#[test]
fn exec_without_a_pid_namespace_has_the_containers_null_device() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("exec sleep 1000").without_namespace("pid").edit(|spec| {
        spec["mounts"][0] =
            json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
    });
    let container = user.start(&bundle);
    let mut exec = user.command(&["exec", &container.id, "echo", "here"]);
    exec.stdin(std::process::Stdio::null());
    assert_eq!(sandbox.finish(exec).ok(), "here\n");
    container.end();
}

#[test]
fn a_cgroup_that_is_asked_for_and_not_permitted_is_refused_with_what_to_do() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("true").set("/linux/cgroupsPath", format!("/{}", sandbox.name()));
    let output = user.run(&bundle);
    output.refused_saying(&["unable to apply cgroup configuration", "permission denied"]);
    if runtime::kind() == Kind::Cloison {
        assert!(output.stderr.contains("systemd-run --user --scope"), "{}", output.describe());
    }
}

#[test]
fn a_machine_without_room_for_user_namespaces_is_told_with_the_setting() {
    only_for!(Cloison, "the hint");
    let sandbox = Sandbox::new();
    skip_unless!(!sandbox.uses_systemd(), "the root of a user namespace has no systemd");
    let bundle = user::with_maps(sandbox.busybox("true"), &[(0, 0, 1)]);
    bundle.write();
    let run = bundle.run_command(&[]);
    // The setting is each user namespace's own.
    let script = format!("echo 0 > /proc/sys/user/max_user_namespaces && exec {}", caller::line_of(&run));
    let mut command = caller::command(&sandbox, "unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", &script]);
    sandbox.finish(command).refused_saying(&["no space left", "sysctl -w user.max_user_namespaces=15000"]);
}

#[test]
fn groups_that_the_kernel_denies_are_refused() {
    only_for!(Cloison, "others tell the errno");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("true").set("/process/user/additionalGids", json!([0]));
    user.run(&bundle).refused_saying(&["/process/user/additionalGids", "newgidmap"]);
}

#[test]
fn the_groups_of_terminals_are_left_to_their_openers_where_the_group_is_not_mapped() {
    only_for!(Cloison, "others hand the option to the kernel, which refuses");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("grep devpts /proc/mounts").push("/mounts/2/options", "gid=5");
    let output = user.run(&bundle);
    assert!(!output.ok().contains("gid=5"), "{}", output.describe());
    assert!(output.stderr.contains("/mounts/2/options: gid=5 is left out"), "{}", output.describe());
}

#[test]
fn what_the_kernel_does_not_let_a_user_mount_is_bound_from_the_host() {
    only_for!(Cloison, "runc tells the errno");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let script = "echo $$; cut -d' ' -f2,3,4 /proc/mounts | grep -E '^/(proc|sys) '; ls /sys; touch /sys/new";
    let bundle = user.root_only(script).without_namespace("pid").without_namespace("network");
    let output = user.run(&bundle);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("/proc proc ")), "{}", output.describe());
    let sys = lines.iter().find(|line| line.starts_with("/sys sysfs ")).expect("a sysfs");
    assert!(host::unlabelled(sys).contains("ro,nosuid,nodev,noexec"), "{sys}");
    assert!(lines.contains(&"kernel"), "{}", output.describe());
    assert!(output.stderr.contains("Read-only file system"), "{}", output.describe());
}

/// CVE-2023-25809: some of them may be the user's own.
#[test]
fn the_hosts_cgroups_are_not_seen_in_a_sysfs_of_the_hosts() {
    only_for!(Cloison, "runc tells the errno");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let script = "ls /sys/fs/cgroup; grep -c ' /sys/.* /sys/' /proc/self/mountinfo; test -d /sys/fs/cgroup && echo empty";
    let bundle = user.root_only(script).without_namespace("network").edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    });
    let output = user.run(&bundle);
    assert!(output.stderr.contains("the host's /sys is bound"), "{}", output.describe());
    assert_eq!(output.stdout.lines().next_back(), Some("empty"), "{}", output.describe());
    assert_eq!(output.stdout.lines().count(), 2, "the directory is empty: {}", output.describe());
}

#[test]
fn the_message_queues_of_the_host_are_seen_where_the_ipc_namespace_is_shared() {
    only_for!(Cloison, "runc tells the errno");
    skip_unless!(host::knows_filesystem("mqueue"), "needs POSIX message queues (CONFIG_POSIX_MQUEUE)");
    let sandbox = Sandbox::new();
    // Not every machine has them mounted.
    let dev = sandbox.directory("dev");
    sandbox.mount("tmpfs", &dev, "tmpfs", MountFlags::empty(), "mode=755");
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        fs::write(dev.join(name), "").unwrap();
        sandbox.mount(&format!("/dev/{name}"), &dev.join(name), "", MountFlags::BIND, "");
    }
    fs::create_dir(dev.join("mqueue")).unwrap();
    sandbox.mount("mqueue", &dev.join("mqueue"), "mqueue", MountFlags::empty(), "");
    fs::write(dev.join("mqueue/of-the-host"), "").unwrap();
    let user = User::new(&sandbox).seeing(dev.clone(), "/dev");
    let script = "grep ' /dev/mqueue ' /proc/mounts | cut -d' ' -f3,4; ls /dev/mqueue";
    let bundle = user.root_only(script).without_namespace("ipc").edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("a list");
        assert!(mounts.iter().any(|mount| mount["type"] == "mqueue"), "`spec` has one");
    });
    let output = user.run(&bundle);
    fs::remove_file(dev.join("mqueue/of-the-host")).unwrap();
    assert!(output.stderr.contains("the host's /dev/mqueue is bound instead"), "{}", output.describe());
    let shown: Vec<&str> = output.ok().lines().collect();
    assert!(host::unlabelled(shown[0]).starts_with("mqueue rw,nosuid,nodev,noexec"), "{}", output.describe());
    assert_eq!(shown[1..], ["of-the-host"], "{}", output.describe());
}

#[test]
fn restrictions_of_a_mount_of_the_hosts_are_kept_when_it_is_bound() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let source = sandbox.directory("source");
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    sandbox.mount("tmpfs", &source, "tmpfs", flags, "mode=755");
    let bundle = user.root_only("grep ' /mnt ' /proc/mounts | cut -d' ' -f4");
    let output = user.run(&bundle.mount("none", &source, "/mnt", &["rbind", "noexec"]));
    assert!(host::unlabelled(output.ok()).starts_with("ro,nosuid,nodev,noexec"), "{}", output.describe());
}

#[test]
fn an_ordinary_user_mounts_an_overlay() {
    skip_unless!(host::knows_filesystem("overlay"), "needs overlayfs");
    skip_unless!(host::kernel() >= (5, 11), "needs overlay in user namespaces (Linux 5.11)");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let layers = ["lower", "upper", "work"].map(|name| {
        let path = user.directory().join(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(ID), Some(ID)).unwrap();
        path.to_str().unwrap().to_owned()
    });
    fs::write(format!("{}/below", layers[0]), "").unwrap();
    let [lower, upper, work] = &layers;
    let options = [format!("lowerdir={lower}"), format!("upperdir={upper}"), format!("workdir={work}")];
    let options: Vec<_> = options.iter().map(String::as_str).chain(["userxattr"]).collect();
    let bundle = user.root_only("touch /mnt/above; ls /mnt").mount("overlay", "overlay", "/mnt", &options);
    assert_eq!(user.run(&bundle).ok(), "above\nbelow\n");
    assert!(fs::exists(format!("{upper}/above")).unwrap());
}

#[test]
fn a_procfs_of_other_processes_is_not_bound() {
    only_for!(Cloison, "the words");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let first = user.start(&user.root_only("sleep 1000"));
    // The host's would show other numbers than those of the namespace that is joined.
    let bundle = user.root_only("cat /proc/1/cmdline").namespace("pid", Some(&first.namespace("pid")));
    user.run(&bundle).refused_saying(&["pid namespace"]);
    first.end();
}

#[test]
fn sysctls_are_set_where_the_users_container_is_in_the_pid_namespace_of_the_host() {
    only_for!(Cloison, "others cannot mount /proc there");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let key = "net.ipv4.ip_unprivileged_port_start";
    let bundle = user
        .root_only("cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
        .without_namespace("pid")
        .set("/linux/sysctl", json!({key: "77"}));
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert_eq!(user.run(&bundle).line(), "77");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap(), before);
}

/// As under Podman of an ordinary user: the runtime is root of a user namespace that its containers share, and that does not own its PID namespace.
#[test]
fn a_runtime_in_a_user_namespace_joins_the_namespaces_of_another_container_there() {
    only_for!(Cloison, "others cannot join the user namespace that they are in");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = |script: &str| {
        let bundle = user.root_only(script).without_namespace("user");
        bundle.without("/linux/uidMappings").without("/linux/gidMappings")
    };
    let place = user.directory().join("first").to_str().unwrap().to_owned();
    let first = bundle("sleep 1000");
    let pid = bundle("readlink /proc/self/ns/pid").namespace("pid", Some(&format!("{place}/ns/pid")));
    let both = bundle("readlink /proc/self/ns/pid; readlink /proc/self/ns/user")
        .namespace("pid", Some(&format!("{place}/ns/pid")))
        .namespace("user", Some(&format!("{place}/ns/user")));
    let mut command = sandbox.bare_command("unshare");
    let script = r#"runtime=$1 place=$2 first=$3
        "$runtime" run --detach --bundle "$4" "$first" > /dev/null
        ln -s "/proc/$("$runtime" state "$first" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')" "$place"
        readlink "$place/ns/pid" "$place/ns/user"
        "$runtime" run --bundle "$5" "$first-pid"
        "$runtime" run --bundle "$6" "$first-both"
        "$runtime" delete --force "$first""#;
    command.uid(ID).gid(ID).args(["--user", "--map-root-user", "sh", "-ec", script, "sh"]);
    command.arg(user.binary()).args([place, sandbox.new_id()]);
    for bundle in [&first, &pid, &both] {
        bundle.write();
        command.arg(bundle.dir());
    }
    command.env("XDG_RUNTIME_DIR", user.directory());
    let output = sandbox.finish(command);
    let lines: Vec<_> = output.ok().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 5, "{}", output.describe());
    assert_eq!(lines[2..], [&lines[0], &lines[0], &lines[1]].map(Clone::clone), "{}", output.describe());
}

#[test]
fn clocks_are_set_off_in_a_time_namespace_of_the_users() {
    runc_lacks!("1.2: time namespaces");
    skip_unless!(fs::exists("/proc/self/ns/time").unwrap(), "needs time namespaces (CONFIG_TIME_NS)");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user
        .root_only("cut -d. -f1 /proc/uptime; sleep 1000")
        .namespace("time", None)
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000_000, "nanosecs": 0}}));
    let container = user.start(&bundle);
    let inside = user.does(&[
        "exec",
        &container.id,
        "sh",
        "-c",
        "cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time",
    ]);
    let mut lines = inside.ok().lines();
    assert!(lines.next().unwrap().parse::<u64>().unwrap() > 1_000_000_000, "{}", inside.describe());
    let namespace = fs::read_link(container.namespace("time")).unwrap();
    assert_eq!(lines.next(), namespace.to_str());
    container.end();
}

#[test]
fn namespaces_of_a_users_container_are_joined_by_another_of_the_same_user() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let first = user.start(&user.root_only("sleep 1000"));
    let kinds = [("user", "user"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net")];
    let bundle = user.root_only(
        "for kind in user pid ipc uts net; do readlink /proc/self/ns/$kind; done; cat /proc/1/comm",
    );
    let bundle = kinds
        .iter()
        .fold(bundle, |bundle, (kind, file)| bundle.namespace(kind, Some(&first.namespace(file))));
    let output = user.run(&bundle);
    let links =
        kinds.map(|(_, file)| fs::read_link(first.namespace(file)).unwrap().to_str().unwrap().to_owned());
    assert_eq!(output.ok(), format!("{}\nsleep\n", links.join("\n")));
    first.end();
}

#[test]
fn an_oom_score_is_set_where_the_user_namespace_is_joined() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let first = user.start(&user.root_only("sleep 1000"));
    let bundle = user.root_only("cat /proc/self/oom_score_adj").set("/process/oomScoreAdj", 555);
    let bundle = bundle.namespace("user", Some(&first.namespace("user")));
    // Whoever is the quicker of the runtime and the first process.
    for _ in 0..10 {
        assert_eq!(user.run(&bundle).ok(), "555\n");
    }
    first.end();
}

#[test]
fn groups_that_the_joined_user_namespace_denies_are_refused_by_name() {
    only_for!(Cloison, "others tell the errno");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let first = user.start(&user.root_only("sleep 1000"));
    let bundle = user.root_only("true").namespace("user", Some(&first.namespace("user")));
    let bundle = bundle.without("/linux/uidMappings").without("/linux/gidMappings");
    user.run(&bundle.set("/process/user/additionalGids", json!([0])))
        .refused_saying(&["/process/user/additionalGids", "newgidmap"]);
    first.end();
}

#[test]
fn an_idmapped_mount_is_refused_and_it_is_told_who_may_have_one() {
    only_for!(Cloison, "others tell the errno");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let source = sandbox.directory("source");
    let ids = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let bundle = user.root_only("true").mount("none", &source, "/mnt", &["bind"]).edit(|spec| {
        let mount =
            spec["mounts"].as_array_mut().and_then(|mounts| mounts.last_mut()).expect("it is the last");
        mount["uidMappings"] = ids.clone();
        mount["gidMappings"] = ids;
    });
    user.run(&bundle).refused_saying(&["/mounts/", "CAP_SYS_ADMIN", "ordinary user"]);
}

macro_rules! needs_programs {
    () => {
        skip_unless!(
            fs::exists("/usr/bin/newuidmap").unwrap() && fs::exists("/etc/subuid").unwrap(),
            "needs newuidmap (package uidmap) and an /etc/subuid"
        );
    };
}

#[test]
fn ranges_are_mapped_by_newuidmap_and_newgidmap() {
    needs_programs!();
    let sandbox = Sandbox::new();
    let user = User::with_ranges(&sandbox);
    let script = "tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map; cat /proc/self/setgroups; \
                  id -u; id -g; grep devpts /proc/mounts | grep -o 'gid=[0-9]*'";
    let bundle = user
        .ranges(script)
        .push("/mounts/2/options", "gid=5")
        .set("/process/user", json!({"uid": 33, "gid": 34}));
    let maps = format!(" 0 {ID} 1\n 1 200000 65535\n");
    assert_eq!(user.run(&bundle).ok(), format!("{maps}{maps}allow\n33\n34\ngid=200004\n"));
}

#[test]
fn supplementary_groups_are_had_in_a_container_with_ranges() {
    needs_programs!();
    only_for!(Cloison, "runc refuses them in any rootless container");
    let sandbox = Sandbox::new();
    let user = User::with_ranges(&sandbox);
    let bundle =
        user.ranges("id -G").set("/process/user", json!({"uid": 33, "gid": 34, "additionalGids": [5, 6]}));
    assert_eq!(user.run(&bundle).ok(), "34 5 6\n");
    let container = user.start(&user.ranges("sleep 1000"));
    let output = user.does(&["exec", "--user", "33:34", "--additional-gids", "5", &container.id, "id", "-G"]);
    assert_eq!(output.ok(), "34 5\n");
    container.end();
}

#[test]
fn other_users_run_processes_in_a_container_with_ranges() {
    needs_programs!();
    let sandbox = Sandbox::new();
    let user = User::with_ranges(&sandbox);
    let container = user.start(&user.ranges("sleep 1000"));
    let output = user.does(&["exec", "--user", "33:34", &container.id, "sh", "-c", "id -u; id -g"]);
    assert_eq!(output.ok(), "33\n34\n");
    container.end();
}

#[test]
fn without_newuidmap_an_error_says_what_to_install_and_one_id_still_works() {
    needs_programs!();
    only_for!(Cloison, "the words");
    let sandbox = Sandbox::new();
    let user = User::with_ranges(&sandbox).without_programs();
    user.run(&user.ranges("true")).refused_saying(&["newuidmap", "apt install uidmap"]);
    assert_eq!(user.run(&user.root_only("id -u")).ok(), "0\n");
}

#[test]
fn ids_outside_of_the_users_ranges_are_refused() {
    needs_programs!();
    only_for!(Cloison, "others tell the program's words only");
    let sandbox = Sandbox::new();
    let user = User::with_ranges(&sandbox);
    let output = user.run(&user.mapped("true", &[(0, ID, 1), (1, 300_000, 1000)]));
    output.refused_saying(&["newuidmap", "/etc/subuid"]);
}

#[test]
fn ids_that_a_user_may_not_map_are_refused_with_the_file_that_says_so() {
    only_for!(Cloison, "others tell the program's words only");
    skip_unless!(fs::exists("/usr/bin/newuidmap").unwrap(), "needs newuidmap");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let output = user.run(&user.mapped("true", &[(0, ID, 1), (1, 100_000, 1000)]));
    output.refused_saying(&["newuidmap", "/etc/subuid"]);
}
