//! Device nodes and the links in `/dev`.

use cloison_tests::{Rootfs, Sandbox, json, only_for, only_root, runc_lacks};

#[test]
fn default_devices_are_there() {
    only_root!("device nodes of his own: the host's are bound");
    let sandbox = Sandbox::new();
    let output = sandbox
        .busybox(
            "for d in null zero full random urandom tty; do stat -c '%n %a %t:%T %u %g %F' /dev/$d; done",
        )
        .run();
    let expected = "/dev/null 666 1:3 0 0 character special file\n\
                    /dev/zero 666 1:5 0 0 character special file\n\
                    /dev/full 666 1:7 0 0 character special file\n\
                    /dev/random 666 1:8 0 0 character special file\n\
                    /dev/urandom 666 1:9 0 0 character special file\n\
                    /dev/tty 666 5:0 0 0 character special file\n";
    assert_eq!(output.ok(), expected);
}

#[test]
fn default_links_are_there() {
    let sandbox = Sandbox::new();
    let output =
        sandbox.busybox("for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; ls /dev").run();
    assert!(
        output
            .ok()
            .starts_with("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n"),
        "{}",
        output.stdout
    );
    let listed: Vec<&str> = output.stdout.lines().skip(5).filter(|name| *name != "core").collect();
    let expected = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    assert_eq!(listed, expected, "and nothing else");
}

#[test]
fn default_devices_work() {
    let sandbox = Sandbox::new();
    let script = "echo x > /dev/null; cat /dev/null | wc -c; head -c 5 /dev/zero | wc -c; \
                  head -c 5 /dev/urandom | wc -c; echo x > /dev/full || echo full";
    assert_eq!(
        sandbox.busybox(script).run().ok().split_whitespace().collect::<Vec<_>>(),
        ["0", "5", "5", "full"]
    );
}

#[test]
fn devices_of_each_type_are_made_with_owner_and_mode() {
    only_root!("device nodes of his own: the host's are bound");
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("for d in char block fifo deep/er/unbuffered; do stat -c '%a %t:%T %u %g %F' /dev/$d; done")
        .set(
            "/linux/devices",
            json!([
                {"path": "/dev/char", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 5},
                {"path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600, "uid": 0, "gid": 6},
                {"path": "/dev/fifo", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 1},
                {"path": "/dev/deep/er/unbuffered", "type": "u", "major": 1, "minor": 5, "fileMode": 0o666},
            ]),
        );
    let output = bundle.run();
    let expected = "640 1:3 1000 5 character special file\n\
                    600 7:c8 0 6 block special file\n\
                    622 0:0 1 1 fifo\n\
                    666 1:5 0 0 character special file\n";
    assert_eq!(output.ok(), expected);
}

#[test]
fn a_device_may_replace_a_default_one() {
    only_root!("device nodes of his own: the host's are bound");
    let sandbox = Sandbox::new();
    let devices = json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 7, "gid": 8}]);
    let bundle = sandbox.busybox("stat -c '%a %u %g' /dev/null").set("/linux/devices", devices);
    // The rule for the default device goes with it.
    let bundle = bundle.push("/linux/resources/devices", json!({"allow": true, "access": "rwm"}));
    assert_eq!(bundle.capabilities(&["CAP_DAC_OVERRIDE"]).run().line(), "600 7 8");
}

#[test]
fn a_device_outside_dev_is_made_too() {
    only_root!("device nodes of his own: the host's are bound");
    let sandbox = Sandbox::new();
    let devices = json!([{"path": "/etc/nothing", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0}]);
    let bundle = sandbox.busybox("stat -c %t:%T /etc/nothing").writable().set("/linux/devices", devices);
    assert_eq!(bundle.run().line(), "1:3");
}

#[test]
fn something_else_in_the_place_of_a_device_is_refused() {
    only_root!("device nodes of his own: the host's are bound");
    only_for!(Cloison, "runc leaves what is there, without a word");
    let sandbox = Sandbox::new();
    let devices = json!([{"path": "/etc/nothing", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
    let rootfs =
        || Rootfs::busybox().with(|root| std::fs::write(root.join("etc/nothing"), "something").unwrap());
    let bundle = sandbox.bundle(rootfs()).args(["true"]).writable().set("/linux/devices", devices);
    bundle.run().refused_saying(&["/etc/nothing", "something else is there"]);
    let file = bundle.rootfs().join("etc/nothing");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "something");
    // The same device is what was asked for.
    std::fs::remove_file(&file).unwrap();
    bundle.run().ok();
    bundle.run().ok();
}

#[test]
fn an_unknown_device_type_is_refused() {
    let sandbox = Sandbox::new();
    let devices = json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]);
    assert_eq!(sandbox.busybox("true").set("/linux/devices", devices).run().code(), 1);
}

#[test]
fn console_is_not_there_without_a_terminal() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.busybox("ls /dev/console 2>/dev/null | wc -l").run().line(), "0");
}

#[test]
fn kcore_is_linked_only_when_the_host_has_it() {
    runc_lacks!("1.0: the link to /proc/kcore");
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("if test -e /proc/kcore; then readlink /dev/core; else echo none; fi").run();
    assert!(["/proc/kcore", "none"].contains(&output.line()), "{}", output.describe());
}

#[test]
fn nothing_is_made_in_dev_when_it_is_bound_from_elsewhere() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("ls /dev | wc -l; ls -ld /dev/null | cut -c1");
    let bundle = bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(
            json!({"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind", "rslave"]}),
        );
    });
    let before = std::fs::read_dir("/dev").unwrap().count();
    let output = bundle.run();
    assert_eq!(output.ok().lines().nth(1), Some("c"));
    assert_eq!(std::fs::read_dir("/dev").unwrap().count(), before, "the host's own /dev is as it was");
}

/// However the place is written: what is bound there is somebody else's.
#[test]
fn nothing_is_made_in_a_bound_dev_however_its_place_is_written() {
    only_for!(Cloison, "runc makes devices in what is bound at a path of the host's, and has no warning");
    let sandbox = Sandbox::new();
    let dev = sandbox.directory("dev");
    for place in ["/dev", "dev", "/x/../dev/", "a path of the host's"] {
        let pipe = |path: &str| json!({"path": path, "type": "p"});
        // A file is masked by /dev/null, which is not there.
        let bundle = sandbox.busybox("ls -A /dev; ls /elsewhere").writable().without("/linux/maskedPaths");
        let bundle =
            bundle.push("/linux/devices", pipe("/dev/pipe")).push("/linux/devices", pipe("/elsewhere"));
        let on_host = bundle.rootfs().join("dev");
        let place = if place.contains(' ') { on_host.to_str().unwrap() } else { place };
        let bundle = bundle.edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
            mounts.push(json!({"destination": place, "type": "bind", "source": dev, "options": ["bind"]}));
        });
        let output = bundle.run();
        assert_eq!(output.ok(), "/elsewhere\n", "{place}");
        assert!(output.stderr.contains("/linux/devices/0: not made"), "{place}: {}", output.stderr);
        // Whose standard input is the host's null device.
        let container = bundle.args(["sleep", "1000"]).start();
        container.exec(["true"]).ok();
        container.end();
        assert_eq!(std::fs::read_dir(&dev).unwrap().count(), 0, "{place}");
    }
}
