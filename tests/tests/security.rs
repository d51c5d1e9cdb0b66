//! Known holes of this kind of program, each a test named after it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use cloison_tests::{
    Bundle, Rootfs, Sandbox, append_command, caller, cgroup, host, json, only_for, runc_lacks, runtime,
};
use rustix::mount::MountFlags;

fn script(root: &Path, name: &str, text: &str) {
    fs::write(root.join(name), text).unwrap();
    fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a command line with descriptors of host directories open, as a leaking engine would.
fn with_leaked_descriptors(sandbox: &Sandbox, command: &Command) -> Command {
    let mut shell = sandbox.bare_command("/bin/bash");
    shell.args(["-c", "exec 3</ 4</etc 7</proc 9</sys/fs/cgroup 20</; exec \"$0\" \"$@\""]);
    append_command(&mut shell, command);
    shell
}

#[test]
fn cve_2024_21626_no_descriptor_of_the_host_is_inherited() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(Rootfs::busybox()).args(["ls", "/proc/self/fd"]);
    bundle.write();
    let output = sandbox.finish(with_leaked_descriptors(&sandbox, &bundle.run_command(&[])));
    // Three streams, and the directory that ls itself has open.
    assert_eq!(output.ok(), "0\n1\n2\n3\n");
}

#[test]
fn cve_2024_21626_the_working_directory_is_never_outside() {
    let sandbox = Sandbox::new();
    for number in 3..=20 {
        let bundle = sandbox.busybox("pwd -P; cat ../../../../etc/hostname; ls ..");
        let bundle = bundle.set("/process/cwd", format!("/proc/self/fd/{number}"));
        bundle.write();
        let output = sandbox.finish(with_leaked_descriptors(&sandbox, &bundle.run_command(&[])));
        assert_eq!(output.code(), 1, "{number}: {}", output.describe());
        assert_eq!(output.stdout, "", "{number}: {}", output.describe());
    }
}

#[test]
fn cve_2024_21626_preserved_descriptors_are_not_a_way_out() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("pwd -P; ls ..").set("/process/cwd", "/proc/self/fd/3");
    bundle.write();
    let output =
        sandbox.finish(with_leaked_descriptors(&sandbox, &bundle.run_command(&["--preserve-fds", "1"])));
    assert_eq!(output.code(), 1, "{}", output.describe());
}

#[test]
fn descriptors_that_nobody_has_handed_in_are_not_preserved() {
    only_for!(Cloison, "runc takes its own descriptors for what was handed in");
    let sandbox = Sandbox::new();
    for count in ["2", "30", "2147483647"] {
        let output = sandbox.busybox("true").run_with(&["--preserve-fds", count]);
        assert_eq!(output.code(), 1, "{}", output.describe());
        assert!(output.stderr.contains("unable to stat preserved-fd"), "{}", output.describe());
    }
}

#[test]
fn sockets_of_a_service_manager_come_before_the_preserved_descriptors() {
    let sandbox = Sandbox::new();
    let [first, second] = ["one", "two"].map(|name| sandbox.file(name, name));
    let bundle =
        sandbox.busybox("cat <&3; cat <&4; echo \" $LISTEN_FDS $LISTEN_PID\"; ls /proc/self/fd | wc -l");
    bundle.write();
    for (pid, preserved, expected) in [("$$", "1", "onetwo 1 1\n6\n"), ("1", "2", "onetwo  \n6\n")] {
        let command = bundle.run_command(&["--preserve-fds", preserved]);
        let mut shell = sandbox.bare_command("/bin/bash");
        let script =
            format!("exec 3<\"$0\" 4<\"$1\" 5</; shift; export LISTEN_FDS=1 LISTEN_PID={pid}; exec \"$@\"");
        shell.args(["-c", &script]).args([&first, &second]);
        append_command(&mut shell, &command);
        assert_eq!(sandbox.finish(shell).ok(), expected);
    }
}

#[test]
fn preserved_descriptors_are_passed_on_and_no_other() {
    let sandbox = Sandbox::new();
    let first = sandbox.file("first", "one");
    let second = sandbox.file("second", "two");
    let bundle = sandbox.busybox("cat <&3; cat <&4; ls /proc/self/fd | wc -l");
    bundle.write();
    let command = bundle.run_command(&["--preserve-fds", "2"]);
    let mut shell = sandbox.bare_command("/bin/bash");
    shell.args(["-c", "exec 3<\"$0\" 4<\"$1\" 5</ 6</etc; shift; exec \"$@\""]).args([&first, &second]);
    append_command(&mut shell, &command);
    // 0, 1, 2, 3, 4 and the directory that ls has open.
    let output = sandbox.finish(shell);
    assert_eq!(output.ok(), "onetwo6\n");
}

#[test]
fn cve_2019_5736_the_runtime_cannot_be_overwritten_from_inside() {
    let sandbox = Sandbox::new();
    let binary = runtime::binary();
    let before = fs::read(binary).unwrap();
    // The container's program is whatever the runtime runs as.
    let rootfs = Rootfs::hostile(|root| script(root, "evil", "#!/proc/self/exe --version\n"));
    let bundle = sandbox.bundle(rootfs).args(["/evil"]).writable();
    // Not a success of ours: the script's interpreter is not the runtime, or it cannot run at all.
    let output = bundle.run();
    // A kernel without CONFIG_CHECKPOINT_RESTORE cannot take the runtime's file from its process: what runs inside is a sealed copy.
    if host::has_file("/proc/sys/kernel/ns_last_pid") {
        assert_ne!(output.code(), 0, "{}", output.describe());
        assert!(!output.stdout.contains(" version "), "the runtime ran inside: {}", output.describe());
    }
    assert!(fs::read(binary).unwrap() == before, "the runtime is as it was");
}

#[test]
fn cve_2019_5736_the_waiting_init_is_not_the_runtimes_own_file() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let link = fs::read_link(format!("/proc/{}/exe", container.pid())).unwrap();
    let attempt = fs::OpenOptions::new().write(true).open(format!("/proc/{}/exe", container.pid()));
    container.delete_force().ok();
    assert_ne!(link, runtime::binary());
    if let Ok(file) = attempt {
        let error = std::io::Write::write(&mut &file, b"x").expect_err("it must be sealed");
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}

/// There is no message whose length could wrap around: the init inherits what it needs as memory.
#[test]
fn cve_2021_43784_more_than_64_kib_of_id_maps_or_path_do_not_map_something_else() {
    let sandbox = Sandbox::new();
    let one = |id: u32| json!({"containerID": id, "hostID": 100_000 + id, "size": 1});
    let mappings = json!((0..6000).map(one).collect::<Vec<_>>());
    let bundle = sandbox.bundle(Rootfs::busybox().owned_by(100_000, 100_000)).args(["id", "-u"]);
    let bundle = bundle.namespace("user", None);
    // The kernel takes 340 lines (user_namespaces(7)).
    let output = bundle.set("/linux/uidMappings", mappings.clone()).set("/linux/gidMappings", mappings).run();
    output.refused();
    let path = format!("/proc/self/{}/ns/net", "x/".repeat(35_000));
    let output = sandbox.busybox("readlink /proc/self/ns/net").namespace("network", Some(&path)).run();
    output.refused();
}

#[test]
fn cve_2019_19921_proc_as_a_symlink_is_refused() {
    // Also CVE-2023-27561 and CVE-2023-28642.
    let sandbox = Sandbox::new();
    for path in ["proc", "sys"] {
        let rootfs = Rootfs::hostile(move |root| {
            fs::remove_dir(root.join(path)).unwrap();
            fs::create_dir_all(root.join("fake")).unwrap();
            symlink("/fake", root.join(path)).unwrap();
        });
        let output = sandbox.bundle(rootfs).args(["true"]).run();
        output.refused_saying(&[path]);
    }
}

#[test]
fn cve_2019_16884_only_procfs_is_mounted_over_proc() {
    let sandbox = Sandbox::new();
    let fake = sandbox.directory("fake");
    let mut places = vec![("bind", "/proc"), ("tmpfs", "/proc"), ("bind", "/proc/self")];
    if runtime::has_what_runc_has_since("1.2") {
        places.push(("tmpfs", "/proc/self/attr"));
    }
    for (kind, destination) in places {
        let bundle = sandbox.busybox("true").mount(
            kind,
            &fake,
            destination,
            if kind == "bind" { &["bind"] } else { &[] },
        );
        let output = bundle.run();
        output.refused_saying(&["/proc"]);
    }
}

#[test]
fn cve_2019_18837_a_mount_destination_through_links_stays_inside() {
    // Also the static form of CVE-2021-30465.
    let sandbox = Sandbox::new();
    let outside = sandbox.directory("outside");
    for target in
        [outside.to_str().unwrap().to_owned(), format!("../../../../../../../..{}", outside.display())]
    {
        let rootfs = Rootfs::hostile(move |root| symlink(&target, root.join("door")).unwrap());
        let bundle =
            sandbox.bundle(rootfs).args(["sh", "-c", "touch /door/deep/x && ls /door/deep"]).writable();
        let output = bundle.mount("tmpfs", "tmpfs", "/door/deep", &[]).run();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{}", output.describe());
        if output.status.success() {
            assert_eq!(output.stdout, "x\n");
        }
    }
}

/// A root file system whose `/dev` is bound from a directory with a `null` of the enemy's.
fn with_planted_null<'s>(sandbox: &'s Sandbox, args: &[&str]) -> Bundle<'s> {
    let rootfs = Rootfs::hostile(|root| {
        fs::create_dir(root.join("planted")).unwrap();
        symlink("/etc/passwd", root.join("planted/null")).unwrap();
        fs::write(root.join("secret"), "a secret").unwrap();
    });
    let bundle = sandbox.bundle(rootfs).args(args.iter().copied());
    let planted = bundle.rootfs().join("planted");
    bundle.writable().edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({
            "destination": "/dev", "type": "bind", "source": planted.to_str().unwrap(), "options": ["rbind", "rw"],
        }));
    })
}

#[test]
fn cve_2025_31133_a_masked_path_is_not_bound_from_the_images_null() {
    runc_lacks!("1.2: masked paths are bound from a verified /dev/null");
    let sandbox = Sandbox::new();
    let output =
        with_planted_null(&sandbox, &["cat", "/secret"]).set("/linux/maskedPaths", json!(["/secret"])).run();
    assert!(!output.stdout.contains("root:x"), "the link was followed: {}", output.describe());
    assert!(!output.stdout.contains("a secret"), "the mask is missing: {}", output.describe());
}

#[test]
fn cve_2026_41579_dev_as_a_symlink_makes_nothing_outside() {
    runc_lacks!("1.5: links in /dev made through a descriptor");
    let sandbox = Sandbox::new();
    let outside = sandbox.directory("outside");
    let target = outside.clone();
    let rootfs = Rootfs::hostile(move |root| {
        fs::remove_dir(root.join("dev")).unwrap();
        symlink(&target, root.join("dev")).unwrap();
    });
    // No mount on /dev: the nodes and links go where /dev leads.
    let bundle = sandbox.bundle(rootfs).args(["true"]).writable().edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    let output = bundle.run();
    let made: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(made.is_empty(), "made on the host: {made:?}: {}", output.describe());
}

#[test]
fn a_device_through_a_link_makes_nothing_outside() {
    let sandbox = Sandbox::new();
    let outside = sandbox.directory("outside");
    let target = outside.clone();
    let rootfs = Rootfs::hostile(move |root| symlink(&target, root.join("door")).unwrap());
    let devices = json!([{"path": "/door/x", "type": "c", "major": 1, "minor": 3}]);
    let output = sandbox.bundle(rootfs).args(["true"]).writable().set("/linux/devices", devices).run();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{}", output.describe());
}

#[test]
fn a_working_directory_through_a_link_makes_nothing_outside() {
    let sandbox = Sandbox::new();
    let outside = sandbox.directory("outside");
    let target = outside.clone();
    let rootfs = Rootfs::hostile(move |root| symlink(&target, root.join("door")).unwrap());
    let bundle = sandbox.bundle(rootfs).args(["pwd"]).writable().set("/process/cwd", "/door/made");
    let output = bundle.run();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{}", output.describe());
}

#[test]
fn passwd_through_a_link_is_not_the_hosts() {
    let sandbox = Sandbox::new();
    let outside = sandbox.file("passwd", "root:x:0:0::/from-the-host:/bin/sh\n");
    let rootfs = Rootfs::hostile(move |root| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        symlink(&outside, root.join("etc/passwd")).unwrap();
    });
    let output = sandbox.bundle(rootfs).args(["sh", "-c", "echo $HOME"]).run();
    assert!(!output.stdout.contains("from-the-host"), "{}", output.describe());
}

#[test]
fn masked_and_readonly_paths_through_links_are_those_inside() {
    let sandbox = Sandbox::new();
    let outside = sandbox.directory("outside");
    let target = outside.clone();
    let rootfs = Rootfs::hostile(move |root| {
        // The same path inside and outside.
        let inside = root.join(target.strip_prefix("/").unwrap());
        fs::create_dir_all(inside.join("masked")).unwrap();
        fs::create_dir_all(inside.join("read-only")).unwrap();
        fs::write(inside.join("masked/secret"), "").unwrap();
        symlink(target.join("masked"), root.join("masked")).unwrap();
        symlink(
            Path::new("/../../..").join(target.strip_prefix("/").unwrap()).join("read-only"),
            root.join("door"),
        )
        .unwrap();
    });
    let script = "ls /masked/; (echo > /door/x) 2>/dev/null || echo denied";
    let bundle = sandbox
        .bundle(rootfs)
        .args(["sh", "-c", script])
        .writable()
        .set("/linux/maskedPaths", json!(["/masked"]))
        .set("/linux/readonlyPaths", json!(["/door"]));
    assert_eq!(bundle.run().ok(), "denied\n");
    fs::write(outside.join("still-writable"), "").unwrap();
}

/// An ordinary user may own the cgroup that the container shows; who is root inside is that user.
#[test]
fn cve_2023_25809_a_cgroup_of_the_users_own_is_read_only_without_a_cgroup_namespace() {
    runc_lacks!("1.2: cgroups of v1 that are read-only");
    let sandbox = Sandbox::new();
    let script = "d=/sys/fs/cgroup/pids; [ -d $d ] || d=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
        stat -c %u $d; mkdir $d/made 2>/dev/null && echo made; (echo 3 > $d/pids.max) 2>/dev/null && echo written; true";
    let bundle = sandbox.bundle(Rootfs::busybox().owned_by(100_000, 100_000)).args(["sh", "-c", script]);
    let container = bundle.user_namespace(100_000).create();
    let pid = container.pid();
    let directory = cgroup::directory(pid, "pids").expect("pids is everywhere");
    for path in [directory.clone(), directory.join("pids.max")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).unwrap();
    }
    container.start().ok();
    assert_eq!(sandbox.wait_for_orphan(pid), 0);
    container.delete().ok();
    assert_eq!(container.stdout(), "0\n");
}

#[test]
fn tmpcopyup_copies_links_and_does_not_follow_them() {
    let sandbox = Sandbox::new();
    let outside = sandbox.directory("outside");
    fs::write(outside.join("secret"), "of the host").unwrap();
    let target = outside.clone();
    let rootfs = Rootfs::hostile(move |root| {
        fs::create_dir(root.join("covered")).unwrap();
        symlink(&target, root.join("covered/link")).unwrap();
    });
    let bundle = sandbox.bundle(rootfs).args([
        "sh",
        "-c",
        "cat /covered/link/secret 2>/dev/null; readlink /covered/link",
    ]);
    let output = bundle.mount("tmpfs", "tmpfs", "/covered", &["tmpcopyup"]).run();
    assert_eq!(output.line(), outside.to_str().unwrap());
}

#[test]
fn the_state_directory_is_closed_to_others() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&sandbox.root().join(container.id())), 0o711);
    let state = mode(&sandbox.root().join(container.id()).join("state.json"));
    assert_eq!(state & 0o022, 0, "nobody else may write it: {state:o}");
    container.delete_force().ok();
}

/// Does `work`, and tells whether somebody has opened the pipe meanwhile. A pipe notices it, as a device does: who opens it to write waits
/// for one who reads.
fn is_opened_during(pipe: &Path, work: impl FnOnce()) -> bool {
    let opened = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            fs::OpenOptions::new().write(true).open(pipe).unwrap();
            opened.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        std::thread::sleep(std::time::Duration::from_millis(20));
        let noticed = opened.load(std::sync::atomic::Ordering::Relaxed);
        drop(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
        while !opened.load(std::sync::atomic::Ordering::Relaxed) {
            // It may have missed the short moment.
            drop(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
        }
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        noticed
    })
}

fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_device_in_place_of_passwd_is_not_opened() {
    only_for!(Cloison, "runc opens what it finds");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        pipe(&root.join("etc/passwd"));
    });
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", "echo $HOME"]);
    bundle.write();
    let opened = is_opened_during(&bundle.rootfs().join("etc/passwd"), || {
        assert_eq!(sandbox.finish(bundle.run_command(&[])).ok(), "/\n");
    });
    assert!(!opened);
}

#[test]
fn a_device_in_place_of_null_is_not_opened() {
    only_for!(Cloison, "runc opens what it finds");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| pipe(&root.join("dev/null")));
    let bundle = sandbox.bundle(rootfs).args(["true"]).edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    bundle.write();
    let opened = is_opened_during(&bundle.rootfs().join("dev/null"), || {
        let output = sandbox.finish(bundle.run_command(&[]));
        if caller::ordinary().is_some() {
            // The host's is bound onto it.
            output.ok();
        } else {
            output.refused_saying(&["/dev/null is invalid"]);
        }
    });
    assert!(!opened);
}

/// What a shell does before it becomes the runtime.
fn after(sandbox: &Sandbox, preparation: &str, command: &Command) -> Command {
    let mut shell = sandbox.bare_command("/bin/bash");
    shell.arg("-c").arg(format!("{preparation}; exec \"$0\" \"$@\""));
    append_command(&mut shell, command);
    shell
}

#[test]
fn nobody_else_can_start_a_container_whatever_the_umask_was() {
    only_for!(Cloison, "runc has a pipe of another kind");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(after(&sandbox, "umask 0", &bundle.create_command(&id, &[]))).ok();
    let mode = fs::metadata(sandbox.root().join(&id).join("start")).unwrap().permissions().mode();
    sandbox.container(&id).delete_force().ok();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_create_under_tight_limits_fails_and_leaves_nothing() {
    only_for!(Cloison, "runc needs more descriptors, and asks for them");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    // One KiB is enough for the message, but not for the state.
    for limit in ["ulimit -f 1", "ulimit -n 4", "ulimit -n 7", "ulimit -n 9"] {
        let id = sandbox.new_id();
        let output = sandbox.finish(after(&sandbox, limit, &bundle.create_command(&id, &[])));
        assert_eq!(output.code(), 1, "{limit}: {}", output.describe());
        assert!(!output.stderr.is_empty(), "{limit}");
        assert!(!sandbox.root().join(&id).exists(), "{limit}");
        sandbox.assert_nothing_left();
    }
}

/// A mount that the host has made read-only or has covered is locked for a user namespace (`mount_namespaces(7)`), but only in a copy
/// that was made for it: a copy of the host's own mount namespace, handed in, would have no locks.
#[test]
fn a_user_namespace_cannot_undo_what_the_host_has_made_read_only_or_covered() {
    let sandbox = Sandbox::new();
    let data = sandbox.directory("data");
    fs::create_dir(data.join("covered")).unwrap();
    fs::write(data.join("covered/secret"), "hidden").unwrap();
    fs::write(data.join("file"), "host").unwrap();
    fs::set_permissions(data.join("file"), fs::Permissions::from_mode(0o666)).unwrap();
    sandbox.bind(&data, &data);
    sandbox.mount("tmpfs", &data.join("covered"), "tmpfs", MountFlags::empty(), "");
    rustix::mount::mount_remount(&data, MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();
    let script = "mount -o remount,bind,rw /data; echo changed > /data/file; umount /data/covered; cat /data/covered/secret; true";
    let bundle = sandbox.bundle(Rootfs::busybox().owned_by(100_000, 100_000)).args(["sh", "-c", script]);
    let mut bundle = bundle.user_namespace(100_000).mount("bind", &data, "/data", &["rbind"]);
    for set in ["bounding", "effective", "permitted"] {
        bundle = bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_SYS_ADMIN"]));
    }
    let output = bundle.run();
    assert!(!output.ok().contains("hidden"), "{}", output.describe());
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "host", "{}", output.describe());
}

/// The root of a user namespace may not enter a directory of another user of the host; the runtime may, and what it binds is there.
#[test]
fn a_source_that_only_the_runtime_can_reach_is_bound_into_a_user_namespace() {
    let sandbox = Sandbox::new();
    let closed = sandbox.directory("closed");
    fs::create_dir(closed.join("data")).unwrap();
    fs::write(closed.join("data/file"), "reached").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let bundle = sandbox.bundle(Rootfs::busybox().owned_by(100_000, 100_000)).args(["cat", "/data/file"]);
    let bundle = bundle.user_namespace(100_000).mount("bind", closed.join("data"), "/data", &["rbind"]);
    assert_eq!(bundle.run().ok(), "reached");
}
