//! User namespaces made and joined as root.

use std::fs;

use cloison_tests::{Bundle, Rootfs, Sandbox, json, needs_idmapped_mounts, only_for, only_root, runc_lacks};

/// The first host id of the mapping.
const FIRST: u32 = 100_000;

fn mapped<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    let rootfs = Rootfs::busybox().owned_by(FIRST, FIRST);
    sandbox.bundle(rootfs).args(["sh", "-c", script]).user_namespace(FIRST)
}

#[test]
fn ids_are_mapped() {
    let sandbox = Sandbox::new();
    let output = mapped(&sandbox, "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g").run();
    let lines: Vec<Vec<&str>> = output.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["0", "100000", "65536"]);
    assert_eq!(lines[1], ["0", "100000", "65536"]);
    assert_eq!((lines[2][0], lines[3][0]), ("0", "0"));
}

#[test]
fn the_host_sees_the_mapped_id() {
    let sandbox = Sandbox::new();
    let container = mapped(&sandbox, "sleep 1000").start();
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert_eq!(uid, "Uid:\t100000\t100000\t100000\t100000");
    container.end();
}

#[test]
fn another_user_inside_is_another_user_outside() {
    let sandbox = Sandbox::new();
    let bundle = mapped(&sandbox, "id -u; id -g; id -G")
        .set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 6]}));
    assert_eq!(bundle.run().ok(), "1000\n1000\n1000 5 6\n");
}

#[test]
fn several_ranges_are_mapped() {
    let sandbox = Sandbox::new();
    let ranges = json!([
        {"containerID": 0, "hostID": FIRST, "size": 1000},
        {"containerID": 1000, "hostID": 161_500, "size": 1},
        {"containerID": 1001, "hostID": 101_000, "size": 60000}
    ]);
    let bundle = mapped(&sandbox, "cat /proc/self/uid_map")
        .set("/linux/uidMappings", ranges.clone())
        .set("/linux/gidMappings", ranges);
    assert_eq!(bundle.run().ok().lines().count(), 3);
}

#[test]
fn default_devices_work_in_a_user_namespace() {
    let sandbox = Sandbox::new();
    let script = "for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done; \
                  echo x > /dev/null && head -c 3 /dev/zero | wc -c";
    assert_eq!(mapped(&sandbox, script).run().ok(), "null\nzero\nfull\nrandom\nurandom\ntty\n3\n");
}

#[test]
fn standard_streams_can_be_opened_again_by_the_mapped_root() {
    let sandbox = Sandbox::new();
    // An engine gives the streams to the container's root beforehand.
    let path = sandbox.file("stdout", "");
    std::os::unix::fs::chown(&path, Some(FIRST), Some(FIRST)).unwrap();
    let bundle = mapped(&sandbox, "echo again >> /proc/self/fd/1; echo more >> /dev/stdout");
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command
        .stdout(fs::File::options().append(true).open(&path).unwrap())
        .stderr(std::process::Stdio::inherit());
    sandbox.spawn_with_own_stdio(command).wait().ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), "again\nmore\n");
}

#[test]
fn a_user_namespace_is_joined_by_its_path() {
    let sandbox = Sandbox::new();
    join(&sandbox, |bundle| bundle);
}

#[test]
fn the_mappings_of_a_joined_user_namespace_need_not_be_told() {
    runc_lacks!("1.2: the mappings of a joined user namespace");
    let sandbox = Sandbox::new();
    join(&sandbox, |bundle| bundle.without("/linux/uidMappings").without("/linux/gidMappings"));
}

fn join<'s>(sandbox: &'s Sandbox, change: impl FnOnce(Bundle<'s>) -> Bundle<'s>) {
    let first = mapped(sandbox, "sleep 1000").start();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
    let bundle = mapped(sandbox, "readlink /proc/self/ns/user; id -u; readlink /proc/self/ns/net")
        .namespace("user", Some(&path("user")))
        .namespace("network", Some(&path("net")));
    let output = change(bundle).run();
    let lines: Vec<&str> = output.ok().lines().collect();
    assert_eq!(lines[0], fs::read_link(path("user")).unwrap().to_str().unwrap());
    assert_eq!(lines[1], "0");
    assert_eq!(lines[2], fs::read_link(path("net")).unwrap().to_str().unwrap());
    first.end();
}

#[test]
fn all_namespaces_of_a_container_but_its_mounts_are_joined() {
    let sandbox = Sandbox::new();
    let first = mapped(&sandbox, "sleep 1000").namespace("cgroup", None).start();
    let kinds = [
        ("user", "user"),
        ("pid", "pid"),
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("cgroup", "cgroup"),
    ];
    let path = |file: &str| format!("/proc/{}/ns/{file}", first.pid());
    let bundle =
        kinds.iter().fold(mapped(&sandbox, "readlink /proc/self/ns/cgroup"), |bundle, (kind, file)| {
            bundle.namespace(kind, Some(&path(file)))
        });
    let output = bundle.run();
    assert_eq!(output.ok().trim(), fs::read_link(path("cgroup")).unwrap().to_str().unwrap());
    first.end();
}

#[test]
fn a_source_is_idmapped_like_the_user_namespace_that_is_joined() {
    needs_idmapped_mounts!();
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    fs::write(volume.join("file"), "").unwrap();
    std::os::unix::fs::chown(volume.join("file"), Some(5), Some(6)).unwrap();
    let first = mapped(&sandbox, "sleep 1000").start();
    let bundle = mapped(&sandbox, "stat -c '%u %g' /mnt/file")
        .namespace("user", Some(&format!("/proc/{}/ns/user", first.pid())))
        .without("/linux/uidMappings")
        .without("/linux/gidMappings")
        .push(
            "/mounts",
            json!({"destination": "/mnt", "source": volume.to_str().unwrap(), "options": ["bind", "idmap"]}),
        );
    assert_eq!(bundle.run().ok(), "5 6\n");
    first.end();
}

#[test]
fn a_user_namespace_without_mappings_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").namespace("user", None);
    let bundle = bundle.without("/linux/uidMappings").without("/linux/gidMappings");
    assert_eq!(bundle.run().code(), 1);
}

#[test]
fn mappings_without_a_user_namespace_are_refused() {
    runc_lacks!("1.2: the check of mappings without a user namespace");
    let sandbox = Sandbox::new();
    let mapping = json!([{"containerID": 0, "hostID": FIRST, "size": 10}]);
    let bundle = sandbox.busybox("true").without_namespace("user");
    let bundle = bundle.set("/linux/uidMappings", mapping.clone()).set("/linux/gidMappings", mapping);
    bundle.run().refused_saying(&["mapping", "user"]);
}

#[test]
fn a_user_that_is_not_mapped_is_refused() {
    let sandbox = Sandbox::new();
    for user in [json!({"uid": 70000, "gid": 0}), json!({"uid": 0, "gid": 70000})] {
        let output = mapped(&sandbox, "true").set("/process/user", user).run();
        assert_eq!(output.code(), 1, "{}", output.describe());
    }
}

#[test]
fn a_new_user_namespace_with_the_network_of_another_container() {
    only_root!("rights over the network of another container, but together with its user namespace");
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().start();
    let network = format!("/proc/{}/ns/net", first.pid());
    let theirs = fs::read_link(&network).unwrap();
    // A sysfs shows the devices of a network that must be the mounter's own.
    let bundle = sandbox.busybox("readlink /proc/self/ns/net; id -u").user_namespace(100_000);
    let bundle = bundle.namespace("network", Some(&network)).edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
    });
    let output = bundle.run();
    assert_eq!(output.ok(), format!("{}\n0\n", theirs.display()), "{}", output.describe());
    first.end();
}

#[test]
fn an_error_of_the_init_before_its_ids_are_mapped_is_told() {
    only_for!(Cloison, "runc does not enter the namespace in time to fail there");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").user_namespace(100_000);
    let bundle = bundle.namespace("mount", Some("/proc/self/ns/mnt"));
    bundle.run().refused_saying(&["mnt namespace", "/proc/self/ns/mnt"]);
}
