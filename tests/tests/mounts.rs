//! The root file system and every type of mount.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use cloison_tests::{
    Bundle, Kind, Rootfs, Sandbox, caller, host, json, needs_idmapped_mounts, only_for, only_root,
    runc_lacks, runtime, skip_unless,
};

/// The words after the mount point in a line of `mount`: type and options.
fn mounted(output: &str, target: &str) -> String {
    let needle = format!(" on {target} type ");
    let line = output.lines().rev().find_map(|line| line.split_once(&needle));
    host::unlabelled(line.unwrap_or_else(|| panic!("no {target}:\n{output}")).1)
}

#[test]
fn the_root_is_read_only_when_it_says_so() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("touch /x 2>&1; touch /tmp/x 2>&1; mount | grep ' on / '").run();
    assert_eq!(output.ok().matches("Read-only file system").count(), 2, "{}", output.describe());
    assert!(mounted(&output.stdout, "/").contains("(ro"), "{}", output.stdout);
}

#[test]
fn the_root_is_writable_when_it_says_so() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("touch /x && ls /x").writable();
    assert_eq!(bundle.run().ok(), "/x\n");
    assert!(bundle.rootfs().join("x").exists());
}

#[test]
fn the_old_root_is_not_to_be_seen() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("cat /proc/self/mountinfo; echo; cd ..; cd ../..; ls").run();
    assert!(!output.ok().contains(" /proc/sys/fs"), "{}", output.stdout);
    let (table, listing) = output.stdout.split_once("\n\n").unwrap();
    assert_eq!(table.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count(), 1, "{table}");
    assert!(listing.contains("bin") && !listing.contains("boot"), "{listing}");
}

#[test]
fn the_default_mounts_are_as_the_specification_says() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("mount").run();
    let table = output.ok();
    assert_eq!(mounted(table, "/proc"), "proc (rw,relatime)");
    assert!(mounted(table, "/dev").starts_with("tmpfs (rw,nosuid"), "{table}");
    assert!(mounted(table, "/dev").contains("size=65536k,mode=755"), "{table}");
    assert!(
        mounted(table, "/dev/pts")
            // The kernel tells of the host's group.
            .starts_with(&format!(
                "devpts (rw,nosuid,noexec,relatime,gid={},mode=620,ptmxmode=666",
                caller::outside(5)
            ))
    );
    assert!(
        mounted(table, "/dev/shm").starts_with("tmpfs (rw,nosuid,nodev,noexec,relatime,size=65536k"),
        "{table}"
    );
    assert_eq!(mounted(table, "/dev/mqueue"), "mqueue (rw,nosuid,nodev,noexec,relatime)");
    assert_eq!(mounted(table, "/sys"), "sysfs (ro,nosuid,nodev,noexec,relatime)");
}

#[test]
fn a_directory_is_bound() {
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    fs::write(volume.join("file"), "from the host").unwrap();
    let bundle = sandbox.busybox("cat /data/deep/file; touch /data/deep/new").writable();
    let bundle = bundle.mount("bind", &volume, "/data/deep", &["bind", "rw"]);
    assert_eq!(bundle.run().ok(), "from the host");
    assert!(volume.join("new").exists());
    assert!(bundle.rootfs().join("data/deep").is_dir(), "the mount point is made");
}

#[test]
fn a_file_is_bound() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("resolv.conf", "nameserver 192.0.2.1\n");
    let bundle = sandbox.busybox("cat /etc/a/resolv.conf; echo >> /etc/a/resolv.conf").writable();
    let output = bundle.mount("none", &file, "/etc/a/resolv.conf", &["bind", "ro"]).run();
    assert!(output.stdout.starts_with("nameserver 192.0.2.1\n"), "{}", output.describe());
    assert!(output.stderr.contains("Read-only file system"), "{}", output.describe());
}

#[test]
fn a_directory_on_a_file_or_the_other_way_round_is_refused_in_the_words_that_engines_look_for() {
    let sandbox = Sandbox::new();
    for (source, target) in [("/etc", "/etc/passwd"), ("/etc/passwd", "/etc")] {
        let bundle = sandbox.busybox("true").mount("bind", source, target, &["rbind"]);
        bundle.run().refused_saying(&["not a directory", target]);
    }
}

#[test]
fn a_relative_bind_source_is_looked_up_in_the_bundle() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat /mnt/file").mount("bind", "volume", "/mnt", &["bind"]);
    fs::create_dir(bundle.dir().join("volume")).unwrap();
    fs::write(bundle.dir().join("volume/file"), "mine").unwrap();
    assert_eq!(bundle.run().ok(), "mine");
}

#[test]
fn rbind_takes_the_mounts_below_along_and_bind_does_not() {
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let below = sandbox.directory("volume/below");
    sandbox.mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::empty(), "");
    fs::write(below.join("file"), "").unwrap();
    for (option, files) in [("rbind", "1\n"), ("bind", "0\n")] {
        let bundle = sandbox.busybox("ls /mnt/below | wc -l").mount("bind", &volume, "/mnt", &[option]);
        let output = bundle.run();
        if option == "bind" && caller::ordinary().is_some() {
            // The kernel gives nobody a look below a mount of the host's who has only a user namespace.
            output.refused_saying(&["binding", "invalid argument"]);
            continue;
        }
        assert_eq!(output.ok(), files, "{option}");
    }
}

#[test]
fn a_missing_bind_source_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").mount("bind", "/no/such/source", "/mnt", &["bind"]);
    bundle.run().refused_saying(&["/no/such/source"]);
}

#[test]
fn tmpfs_has_its_size_and_mode() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("stat -c %a /fresh; grep ' /fresh ' /proc/mounts; touch /fresh/x && ls /fresh")
        .writable();
    let output = bundle.mount("tmpfs", "tmpfs", "/fresh", &["size=1024k", "mode=710", "noexec"]).run();
    let lines: Vec<&str> = output.ok().lines().collect();
    assert_eq!(lines[0], "710");
    assert!(lines[1].contains("noexec") && lines[1].contains("size=1024k"), "{lines:?}");
    assert_eq!(lines[2], "x");
}

#[test]
fn tmpfs_without_mode_takes_the_mode_of_what_it_covers() {
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::busybox().with(|root| {
        fs::create_dir(root.join("covered")).unwrap();
        fs::set_permissions(root.join("covered"), fs::Permissions::from_mode(0o751)).unwrap();
    });
    let bundle = sandbox.bundle(rootfs).args(["stat", "-c", "%a", "/covered"]);
    assert_eq!(bundle.mount("tmpfs", "tmpfs", "/covered", &[]).run().line(), "751");
}

#[test]
fn tmpcopyup_fills_the_tmpfs_with_what_it_covers() {
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::busybox().with(|root| {
        let covered = root.join("covered");
        fs::create_dir_all(covered.join("deep/er")).unwrap();
        fs::write(covered.join("deep/file"), "content").unwrap();
        fs::set_permissions(covered.join("deep/file"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(covered.join("deep/file"), Some(1000), Some(5)).unwrap();
        symlink("deep/file", covered.join("link")).unwrap();
        fs::hard_link(covered.join("deep/file"), covered.join("hard")).unwrap();
    });
    let script = "cd /covered; cat deep/file; echo; stat -c '%a %u %g' deep/file; readlink link; cat hard; echo; \
                  touch new && ls; stat -f -c %T .";
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", script]).capabilities(&["CAP_DAC_OVERRIDE"]);
    let bundle = bundle.mount("tmpfs", "tmpfs", "/covered", &["rw", "tmpcopyup"]);
    assert_eq!(bundle.run().ok(), "content\n640 1000 5\ndeep/file\ncontent\ndeep\nhard\nlink\nnew\ntmpfs\n");
    assert!(!bundle.rootfs().join("covered/new").exists());
}

#[test]
fn proc_shows_the_containers_processes() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("cat /proc/1/comm; stat -f -c %t /proc").run();
    assert_eq!(output.ok(), "sh\n9fa0\n");
}

#[test]
fn sysfs_is_that_of_the_network_namespace() {
    let sandbox = Sandbox::new();
    // The kernel gives a new network namespace its fallback devices, and none of the host's cards.
    let output = sandbox.busybox("ls /sys/class/net").run();
    assert!(output.ok().lines().any(|name| name == "lo"), "{}", output.describe());
    assert!(
        !output.ok().lines().any(|name| name.starts_with("eth") || name.starts_with("en")),
        "{}",
        output.describe()
    );
}

#[test]
fn devpts_is_an_instance_of_its_own() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("ls /dev/pts; readlink /dev/ptmx").run();
    assert_eq!(output.ok(), "ptmx\npts/ptmx\n");
}

#[test]
fn mqueue_is_that_of_the_ipc_namespace() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("touch /dev/mqueue/queue && ls /dev/mqueue").run();
    assert_eq!(output.ok(), "queue\n");
}

#[test]
fn cgroup_v1_hierarchies_are_seen_read_only_from_the_containers_own_group() {
    skip_unless!(host::cgroup_layout() == host::CgroupLayout::V1, "needs cgroup v1 hierarchies");
    let sandbox = Sandbox::new();
    for namespace in [false, true] {
        let mut bundle = sandbox.busybox(
            "mount | grep cgroup; cat /sys/fs/cgroup/pids/cgroup.procs; mkdir /sys/fs/cgroup/pids/x 2>&1",
        );
        if namespace {
            bundle = bundle.namespace("cgroup", None);
        }
        let output = bundle.run();
        let table = &output.stdout;
        assert_eq!(
            mounted(table, "/sys/fs/cgroup/pids"),
            "cgroup (ro,nosuid,nodev,noexec,relatime,pids)",
            "{table}"
        );
        assert!(mounted(table, "/sys/fs/cgroup").starts_with("tmpfs ("), "{table}");
        assert!(table.lines().any(|line| line == "1"), "our own group, with us in it: {table}");
        assert!(table.contains("Read-only file system"), "{table}");
    }
}

#[test]
fn cgroup_v2_is_mounted_as_it_is() {
    skip_unless!(host::cgroup_layout() == host::CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("mount; cat /sys/fs/cgroup/cgroup.procs").namespace("cgroup", None).run();
    assert!(mounted(output.ok(), "/sys/fs/cgroup").starts_with("cgroup2 (ro,nosuid,nodev,noexec,relatime"));
    assert!(output.stdout.lines().any(|line| line == "1"), "{}", output.stdout);
}

#[test]
fn overlay_takes_its_directories_as_data_options() {
    skip_unless!(host::knows_filesystem("overlay"), "needs overlayfs");
    skip_unless!(
        caller::ordinary().is_none() || host::kernel() >= (5, 11),
        "needs overlays in user namespaces, Linux 5.11"
    );
    let sandbox = Sandbox::new();
    let scratch = sandbox.directory("scratch");
    sandbox.mount("tmpfs", &scratch, "tmpfs", rustix::mount::MountFlags::empty(), "");
    for name in ["lower", "upper", "work"] {
        sandbox.directory(&format!("scratch/{name}"));
    }
    fs::write(scratch.join("lower/below"), "").unwrap();
    let options =
        ["lower", "upper", "work"].map(|name| format!("{name}dir={}", scratch.join(name).display()));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let bundle = sandbox.busybox("touch /mnt/above; ls /mnt").mount("overlay", "overlay", "/mnt", &options);
    assert_eq!(bundle.run().ok(), "above\nbelow\n");
    assert!(scratch.join("upper/above").exists());
}

#[test]
fn mounts_are_made_in_their_order() {
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let bundle = sandbox
        .busybox("grep -c ' /mnt' /proc/mounts; ls -d /mnt/inner /mnt/inner/deeper")
        .mount("tmpfs", "tmpfs", "/mnt", &[])
        .mount("bind", &volume, "/mnt/inner", &["bind"])
        .mount("tmpfs", "tmpfs", "/mnt/inner/deeper", &[]);
    assert_eq!(bundle.run().ok(), "3\n/mnt/inner\n/mnt/inner/deeper\n");
    // Not in the order of their names: what is mounted later covers what was mounted below it.
    let empty = sandbox.directory("empty");
    let bundle = sandbox.busybox("ls -A /mnt; echo listed").mount("tmpfs", "tmpfs", "/mnt/inner", &[]).mount(
        "bind",
        &empty,
        "/mnt",
        &["bind"],
    );
    assert_eq!(bundle.run().ok(), "listed\n");
}

#[test]
fn a_mount_point_behind_links_is_found_inside_the_root() {
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::busybox().with(|root| {
        fs::create_dir_all(root.join("real/place")).unwrap();
        symlink("/real", root.join("absolute")).unwrap();
        symlink("../../../../real", root.join("mnt/many")).unwrap();
    });
    let bundle = sandbox
        .bundle(rootfs)
        .args(["sh", "-c", "ls -d /real/place/one /real/place/two"])
        .mount("tmpfs", "tmpfs", "/real/place", &[])
        .mount("tmpfs", "tmpfs", "/absolute/place/one", &[])
        .mount("tmpfs", "tmpfs", "/mnt/many/place/two", &[]);
    assert_eq!(bundle.run().ok(), "/real/place/one\n/real/place/two\n");
}

#[test]
fn nothing_of_the_container_is_mounted_on_the_host() {
    let sandbox = Sandbox::new();
    let shared = sandbox.directory("shared");
    sandbox.bind(&shared, &shared);
    rustix::mount::mount_change(&shared, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let bundle = sandbox.busybox("sleep 1000").mount("bind", &shared, "/mnt", &["rbind", "rslave"]);
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let container = bundle.start();
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(before.matches(sandbox.name()).count(), after.matches(sandbox.name()).count());
    container.end();
}

#[test]
fn propagation_reaches_the_container_as_asked() {
    let sandbox = Sandbox::new();
    for (option, seen) in [("rshared", true), ("rslave", true), ("rprivate", false)] {
        let volume = sandbox.directory(option);
        sandbox.bind(&volume, &volume);
        rustix::mount::mount_change(&volume, rustix::mount::MountPropagationFlags::SHARED).unwrap();
        let below = sandbox.directory(&format!("{option}/below"));
        let bundle = sandbox
            .busybox("echo ready; while ! test -e /mnt/stop; do sleep 0.02; done; grep -c ' /mnt/below ' /proc/mounts")
            .set("/linux/rootfsPropagation", "rslave")
            .mount("bind", &volume, "/mnt", &["rbind", option]);
        let container = bundle.run_detached();
        container.until_prints("ready");
        let pid = container.pid();
        sandbox.mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::empty(), "");
        fs::write(volume.join("stop"), "").unwrap();
        let expected = if seen { "ready\n1\n" } else { "ready\n0\n" };
        sandbox.wait_for_orphan(pid);
        assert_eq!(container.stdout(), expected, "{option}");
        container.delete().ok();
    }
}

#[test]
fn what_the_container_mounts_in_a_shared_volume_is_on_the_host_too() {
    only_root!("mounts that the host receives: those of a user namespace receive the host's");
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    sandbox.bind(&volume, &volume);
    rustix::mount::mount_change(&volume, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let inner = sandbox.directory("volume/inner");
    let bundle = sandbox
        .busybox("mount -t tmpfs inner /mnt/inner && touch /mnt/inner/made && echo ready; while ! test -e /mnt/stop; do sleep 0.02; done; umount /mnt/inner")
        // As Kubernetes' `Bidirectional` asks for it.
        .set("/linux/rootfsPropagation", "rshared")
        .mount("bind", &volume, "/mnt", &["rbind", "rshared", "rw"])
        .capabilities(&["CAP_SYS_ADMIN"]);
    let container = bundle.run_detached();
    container.until_prints("ready");
    let pid = container.pid();
    let seen = inner.join("made").exists();
    fs::write(volume.join("stop"), "").unwrap();
    sandbox.wait_for_orphan(pid);
    container.delete().ok();
    assert!(seen, "the mount is not on the host");
    assert!(!inner.join("made").exists(), "the mount is still on the host");
}

#[test]
fn root_propagation_is_set() {
    runc_lacks!("1.2: the propagation of the root is set after pivot_root");
    let sandbox = Sandbox::new();
    for (value, expected) in [("private", ""), ("shared", "shared:"), ("unbindable", "unbindable")] {
        let bundle =
            sandbox.busybox("grep ' / / ' /proc/self/mountinfo; awk '$5 == \"/\"' /proc/self/mountinfo");
        let output = bundle.set("/linux/rootfsPropagation", value).run();
        let line = output.ok().lines().last().unwrap();
        assert!(line.contains(expected), "{value}: {line}");
        if value == "private" {
            assert!(!line.contains("shared:") && !line.contains("master:"), "{line}");
        }
    }
}

#[test]
fn an_unknown_root_propagation_is_refused() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").set("/linux/rootfsPropagation", "sideways").run();
    output.refused_saying(&["sideways"]);
}

/// An idmapped mount on /mnt: root's files are those of uid 1000 and gid 2000.
fn mapped(volume: &std::path::Path, options: [&str; 2]) -> serde_json::Value {
    json!({
        "destination": "/mnt", "type": "bind", "source": volume.to_str().unwrap(), "options": options,
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1000}],
        "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 1000}],
    })
}

#[test]
fn idmapped_mounts_show_mapped_owners() {
    needs_idmapped_mounts!();
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    fs::write(volume.join("file"), "").unwrap();
    std::os::unix::fs::chown(volume.join("file"), Some(5), Some(6)).unwrap();
    let mount = mapped(&volume, ["bind", "idmap"]);
    let output = sandbox.busybox("stat -c '%u %g' /mnt/file").push("/mounts", mount).run();
    assert_eq!(output.ok(), "1005 2006\n", "{}", output.describe());
}

#[test]
fn ridmap_maps_the_mounts_below_too_and_idmap_does_not() {
    needs_idmapped_mounts!();
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    // A tmpfs would take id maps since Linux 6.3 only.
    let (below, other) = (sandbox.directory("volume/below"), sandbox.directory("other"));
    let file = other.join("file");
    fs::write(&file, "").unwrap();
    std::os::unix::fs::chown(&file, Some(5), Some(6)).unwrap();
    sandbox.bind(&other, &below);
    for (option, owner) in [("idmap", "5 6\n"), ("ridmap", "1005 2006\n")] {
        let mount = mapped(&volume, ["rbind", option]);
        let bundle = sandbox.busybox("stat -c '%u %g' /mnt/below/file").push("/mounts", mount);
        assert_eq!(bundle.run().ok(), owner, "{option}");
    }
}

#[test]
fn idmapped_mounts_in_a_user_namespace_show_the_hosts_owner_as_ours() {
    needs_idmapped_mounts!();
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    fs::write(volume.join("file"), "").unwrap();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = sandbox
        .bundle(Rootfs::busybox().owned_by(100_000, 100_000))
        .args(["sh", "-c", "stat -c '%u %g' /mnt/file; touch /mnt/new"])
        .user_namespace(100_000)
        .push(
            "/mounts",
            json!({
                "destination": "/mnt", "type": "bind", "source": volume.to_str().unwrap(), "options": ["bind"],
                "uidMappings": mapping, "gidMappings": mapping,
            }),
        );
    assert_eq!(bundle.run().ok(), "0 0\n");
    assert_eq!(volume.join("new").metadata().unwrap().uid(), 0, "what it made belongs to the host's root");
}

/// A tree that is made by mounts, then bound as a whole by the path that it has for the host.
fn bound_again<'s>(sandbox: &'s Sandbox, bundle: Bundle<'s>, mappings: &serde_json::Value) -> Bundle<'s> {
    let volume = sandbox.directory("volume");
    for (name, owner) in [("outer", 5), ("outer/inner", 6)] {
        fs::create_dir(volume.join(name)).unwrap();
        fs::write(volume.join(name).join("file"), name).unwrap();
        let owner = if mappings.is_null() { caller::outside(owner) } else { owner };
        std::os::unix::fs::chown(volume.join(name).join("file"), Some(owner), Some(owner)).unwrap();
    }
    let rootfs = bundle.rootfs().to_str().unwrap().to_owned();
    let mount = |source: &str, destination: &str| json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rprivate"]});
    let mut again = mount(&format!("{rootfs}/mnt"), &format!("{rootfs}/again"));
    if !mappings.is_null() {
        again["uidMappings"] = mappings.clone();
        again["gidMappings"] = mappings.clone();
    }
    let volume = volume.to_str().unwrap();
    bundle
        .args(["sh", "-c", "cat /again/inner/file; stat -c ' %u %g' /again/file"])
        .push("/mounts", mount(&format!("{volume}/outer"), "/mnt"))
        .push("/mounts", mount(&format!("{volume}/outer"), &format!("{rootfs}/mnt/inner")))
        .push("/mounts", again)
}

#[test]
fn a_bind_source_may_be_what_was_mounted_in_the_container_before() {
    let sandbox = Sandbox::new();
    let bundle = bound_again(&sandbox, sandbox.busybox(""), &json!(null));
    assert_eq!(bundle.run().ok(), "outer 5 5\n");
}

#[test]
fn an_idmapped_source_may_be_what_was_mounted_in_the_container_before() {
    needs_idmapped_mounts!();
    let sandbox = Sandbox::new();
    let mappings = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
    let bundle = bound_again(&sandbox, sandbox.busybox(""), &mappings);
    assert_eq!(bundle.run().ok(), "outer 1005 1005\n");
}

#[test]
fn an_idmapped_source_may_be_what_was_mounted_in_a_container_with_a_user_namespace_before() {
    needs_idmapped_mounts!();
    let sandbox = Sandbox::new();
    let mappings = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = sandbox.bundle(Rootfs::busybox().owned_by(100_000, 100_000)).user_namespace(100_000);
    let bundle = bound_again(&sandbox, bundle, &mappings);
    assert_eq!(bundle.run().ok(), "outer 5 5\n");
}

#[test]
fn data_options_on_a_bind_mount_are_refused() {
    runc_lacks!("1.2: the check of data options on bind mounts");
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let bundle = sandbox.busybox("true").mount("bind", &volume, "/mnt", &["bind", "size=5"]);
    bundle.run().refused_saying(&["size=5"]);
}

#[test]
fn an_unknown_filesystem_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").mount("nonsensefs", "none", "/mnt", &[]).run();
    output.refused_saying(&["/mnt", "no such device"]);
    if runtime::kind() == Kind::Cloison {
        output.refused_saying(&["nonsensefs"]);
    }
}

#[test]
fn an_invalid_data_option_is_refused_with_the_kernels_reason() {
    only_for!(Cloison, "runc only has the errno of mount(2)");
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").mount("tmpfs", "tmpfs", "/mnt", &["nonsense=5"]).run();
    output.refused_saying(&["/mnt", "nonsense"]);
}

#[test]
fn a_device_from_the_host_is_bound() {
    let sandbox = Sandbox::new();
    let bundle =
        sandbox.busybox("head -c 2 /dev/bound | wc -c").mount("bind", "/dev/zero", "/dev/bound", &["bind"]);
    let bundle = bundle.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(bundle.run().line(), "2");
}
