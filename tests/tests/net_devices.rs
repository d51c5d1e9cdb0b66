//! Network devices that are moved into a container.
//!
//! The runtime runs in a network namespace of the test's own, where the devices are made: the machine's network is not touched.

use std::fs;

use cloison_tests::{
    Bundle, Output, Sandbox, append_command, caller, json, only_for, only_root, runc_lacks, skip_unless,
};

/// A pair of connected devices, which nearly every kernel can make.
const MAKE: &str = "ip link add out type veth peer name peer";

/// Whether this machine can make one in a network namespace of its own.
fn can_make_devices() -> bool {
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "sh", "-c", MAKE]);
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs a container from a network that a shell script prepares, and looks at it afterwards by another one.
fn run_from(sandbox: &Sandbox, bundle: &Bundle<'_>, before: &str, after: &str) -> Output {
    bundle.write();
    let run = bundle.run_command(&[]);
    let script = format!("set -e\n{MAKE}\n{before}\nset +e\n\"$@\"\nended=$?\n{after}\nexit $ended");
    let mut command = sandbox.bare_command("unshare");
    command.args(["--net", "sh", "-c", &script, "sh"]);
    append_command(&mut command, &run);
    sandbox.finish(command)
}

fn bundle<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    sandbox.busybox(script).set("/linux/netDevices", json!({"out": {}}))
}

macro_rules! needs_devices {
    () => {
        runc_lacks!("1.4: linux.netDevices");
        skip_unless!(can_make_devices(), "needs ip(8) and a kernel that makes veth devices (CONFIG_VETH)");
    };
}

#[test]
fn a_device_is_moved_and_brought_up() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    let sandbox = Sandbox::new();
    let output = run_from(&sandbox, &bundle(&sandbox, "ip link show out"), "", "");
    assert!(output.ok().contains("UP"), "{}", output.describe());
}

#[test]
fn a_device_is_renamed_and_keeps_what_it_is_known_by() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    let sandbox = Sandbox::new();
    let bundle = bundle(&sandbox, "ip addr show inside").set("/linux/netDevices/out/name", "inside");
    let before = "ip link set out mtu 1789 address 02:11:22:33:44:55
        ip addr add 169.254.169.77/32 dev out
        ip addr add 10.9.8.7/24 brd 10.9.8.255 dev out label out:1
        ip addr add 127.0.0.33/32 scope host dev out
        ip link set out up";
    let output = run_from(&sandbox, &bundle, before, "");
    let shown = output.ok();
    for kept in ["mtu 1789", "02:11:22:33:44:55", "169.254.169.77/32", "10.9.8.7/24 brd 10.9.8.255"] {
        assert!(shown.contains(kept), "{kept} in {}", output.describe());
    }
    assert!(!shown.contains("127.0.0.33"), "not one of global scope: {shown}");
}

#[test]
fn addresses_of_ipv6_are_kept_which_a_device_loses_when_it_is_taken_down() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    only_for!(Cloison, "runc reads them too late");
    let sandbox = Sandbox::new();
    let before = "ip -6 addr add fd00::7/64 dev out nodad; ip link set out up";
    let output = run_from(&sandbox, &bundle(&sandbox, "ip addr show out"), before, "");
    assert!(output.ok().contains("fd00::7/64"), "{}", output.describe());
}

#[test]
fn a_template_gives_a_device_a_name_that_no_other_has() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    only_for!(Cloison, "runc looks for the template afterwards, as if it were the name");
    let sandbox = Sandbox::new();
    let devices = json!({"out": {"name": "eth%d"}, "peer": {"name": "eth%d"}});
    let bundle = bundle(&sandbox, "ls /sys/class/net").set("/linux/netDevices", devices);
    assert_eq!(run_from(&sandbox, &bundle, "", "").ok(), "eth0\neth1\nlo\n");
}

#[test]
fn a_device_goes_into_a_network_that_is_joined_and_stays_there() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    let sandbox = Sandbox::new();
    let other = sandbox.sleeper().start();
    let network = format!("/proc/{}/ns/net", other.pid());
    let bundle = bundle(&sandbox, "ip link show out").namespace("network", Some(&network));
    let after = format!("nsenter --net={network} ip link del out");
    let output = run_from(&sandbox, &bundle, "", &after);
    assert!(output.ok().contains("UP"), "{}", output.describe());
    assert!(!output.stderr.contains("Cannot find device"), "{}", output.describe());
    other.end();
}

#[test]
fn a_device_is_moved_into_a_container_with_a_user_namespace() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    let sandbox = Sandbox::new();
    let rootfs = cloison_tests::Rootfs::busybox().owned_by(100_000, 100_000);
    let bundle = sandbox.bundle(rootfs).args(["ip", "link", "show", "inside"]).user_namespace(100_000);
    let bundle = bundle.set("/linux/netDevices", json!({"out": {"name": "inside"}}));
    assert!(run_from(&sandbox, &bundle, "", "").ok().contains("UP"));
}

#[test]
fn root_of_a_user_namespace_moves_devices_of_its_own_network() {
    needs_devices!();
    only_for!(Cloison, "runc refuses devices for all but root of the machine");
    let sandbox = Sandbox::new();
    let bundle = bundle(&sandbox, "ip link show out");
    let bundle =
        bundle.user_namespace(0).set("/linux/uidMappings/0/size", 1).set("/linux/gidMappings/0/size", 1);
    let bundle = bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        for mount in mounts.iter_mut() {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    });
    bundle.write();
    let mut run = sandbox.command(["--cgroup-manager", "disabled", "run", "--no-new-keyring", "--bundle"]);
    run.arg(bundle.dir()).arg(sandbox.new_id());
    let script = format!("{MAKE} && exec {}", caller::line_of(&run));
    let mut command = caller::command(&sandbox, "unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]);
    let output = sandbox.finish(command);
    assert!(output.ok().contains("UP"), "{}", output.describe());
}

#[test]
fn sysctls_of_a_device_are_written_once_it_is_there() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    let sandbox = Sandbox::new();
    let bundle = bundle(&sandbox, "cat /proc/sys/net/ipv4/conf/out/forwarding")
        .set("/linux/sysctl", json!({"net.ipv4.conf.out.forwarding": "1"}));
    assert_eq!(run_from(&sandbox, &bundle, "", "").ok(), "1\n");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    needs_devices!();
    let sandbox = Sandbox::new();
    let bundle = bundle(&sandbox, "true").set("/linux/netDevices", json!({"nowhere0": {}}));
    run_from(&sandbox, &bundle, "", "").refused_saying(&["nowhere0"]);
}

#[test]
fn a_name_that_another_device_has_there_is_refused_and_the_device_stays_as_it_was() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    only_for!(Cloison, "others leave the device down");
    let sandbox = Sandbox::new();
    let bundle = bundle(&sandbox, "true").set("/linux/netDevices/out/name", "lo");
    let before = "ip addr add 10.9.8.7/24 dev out; ip link set out up";
    let output = run_from(&sandbox, &bundle, before, "ip addr show out");
    output.refused_saying(&["out", "\"lo\"", "exists", "/linux/netDevices/out"]);
    assert!(output.stdout.contains(",UP") && output.stdout.contains("10.9.8.7/24"), "{}", output.describe());
}

#[test]
fn a_device_comes_back_from_a_container_that_fails_to_be_made() {
    needs_devices!();
    only_for!(Cloison, "with others it is gone");
    let sandbox = Sandbox::new();
    let bundle =
        bundle(&sandbox, "true").args(["/no/such/program"]).set("/linux/netDevices/out/name", "inside");
    let before = "ip addr add 10.9.8.7/24 dev out; ip -6 addr add fd00::7/64 dev out; ip link set out up";
    let output = run_from(&sandbox, &bundle, before, "ip addr show out");
    assert_eq!(output.code(), 1, "{}", output.describe());
    for kept in [",UP", "10.9.8.7/24", "fd00::7/64"] {
        assert!(output.stdout.contains(kept), "{kept} in {}", output.describe());
    }
}

/// A container that joins the network of another fails to be made, once somebody has run a script in that network. Gives what the network
/// that the device came from has in the end.
fn after_a_trick(trick: &str) -> Output {
    let sandbox = Sandbox::new();
    let other = sandbox.sleeper().start();
    let network = format!("/proc/{}/ns/net", other.pid());
    let script = format!(
        "peer=$(ip -o link show peer | cut -d: -f1); nsenter --net={network} sh -ec '{trick}' -- $peer >&2; exit 1"
    );
    let bundle = bundle(&sandbox, "true").namespace("network", Some(&network)).push(
        "/hooks/createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}),
    );
    let before = "ip link set out address 02:11:22:33:44:55
        ip addr add 10.9.8.7/24 dev out; ip link set out up";
    let output = run_from(&sandbox, &bundle, before, "echo FOUND; ip addr show");
    other.end();
    output
}

#[test]
fn a_device_that_was_renamed_in_a_joined_network_comes_back_and_not_the_one_that_has_its_name() {
    needs_devices!();
    only_for!(Cloison, "with others it is gone");
    let output = after_a_trick(
        "ip link set out down; ip link set out name away; ip link add out type veth peer name trap",
    );
    assert_eq!(output.code(), 1, "{}", output.describe());
    for kept in ["02:11:22:33:44:55", "10.9.8.7/24", "out@peer"] {
        assert!(output.stdout.contains(kept), "{kept} in {}", output.describe());
    }
}

#[test]
fn a_device_that_takes_the_place_of_one_that_was_moved_does_not_come_to_the_host() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    only_for!(Cloison, "with others it is gone");
    let output = after_a_trick(
        "index=$(ip -o link show out | cut -d: -f1)
        ip link del out
        ip link add out index $index address 02:11:22:33:44:55 type veth peer name trap index $1
        ip link set out up; ip link set trap up",
    );
    assert_eq!(output.code(), 1, "{}", output.describe());
    assert!(output.stderr.contains("was sent back"), "{}", output.describe());
    let (_, found) = output.stdout.split_once("FOUND").unwrap();
    for foreign in ["02:11:22:33:44:55", "10.9.8.7", "out"] {
        assert!(!found.contains(foreign), "{foreign} in {}", output.describe());
    }
}

#[test]
fn a_device_of_a_kind_that_cannot_be_moved_is_refused_with_the_reason() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    only_for!(Cloison, "others tell the errno");
    let sandbox = Sandbox::new();
    let bridge = std::process::Command::new("unshare")
        .args(["--net", "ip", "link", "add", "bridge0", "type", "bridge"])
        .output()
        .is_ok_and(|output| output.status.success());
    skip_unless!(bridge, "needs a kernel that makes bridges (CONFIG_BRIDGE)");
    let bundle = bundle(&sandbox, "true").set("/linux/netDevices", json!({"bridge0": {}}));
    let output = run_from(&sandbox, &bundle, "ip link add bridge0 type bridge", "");
    output.refused_saying(&["bridge0", "stay in the network", "/linux/netDevices/bridge0"]);
}

#[test]
fn a_device_is_there_when_hooks_run() {
    only_root!("network devices to give: those of the host are root's");
    needs_devices!();
    let sandbox = Sandbox::new();
    let seen = sandbox.dir().join("seen");
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter --net=/proc/$pid/ns/net ip link show out > {}",
        seen.display()
    );
    let bundle = bundle(&sandbox, "true")
        .push("/hooks/createRuntime", json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}));
    run_from(&sandbox, &bundle, "", "").ok();
    assert!(fs::read_to_string(&seen).unwrap().contains("UP"));
}
