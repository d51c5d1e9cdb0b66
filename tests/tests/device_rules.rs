//! Which devices a container may use: `linux.resources.devices`.

use cloison_tests::host::{CgroupLayout, cgroup_layout, has_file};
use cloison_tests::{Bundle, Sandbox, json, only_for, only_root, skip_unless};
use serde_json::Value;

/// Nodes of the test's own, so that it depends on no path: name, type, major, minor. `kmsg` is allowed by no default, `loop` is a
/// block device, and the minor numbers of `zero` and `null` are of the defaults.
const NODES: [(&str, &str, u32, u32); 4] =
    [("kmsg", "c", 1, 11), ("loop", "b", 7, 0), ("zero", "c", 1, 5), ("null", "c", 1, 3)];

/// A container that tries things with `/dev/t-NAME` and prints what it could do.
fn bundle<'s>(sandbox: &'s Sandbox, rules: Value, script: &str) -> Bundle<'s> {
    let devices: Vec<Value> = NODES
        .iter()
        .map(|(name, kind, major, minor)| {
            json!({"path": format!("/dev/t-{name}"), "type": kind, "major": major, "minor": minor,
                   "fileMode": 0o666, "uid": 0, "gid": 0})
        })
        .collect();
    let capabilities = ["CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"];
    sandbox
        .busybox(&format!(
            "r() {{ ( : < /dev/t-$1 ) 2>/dev/null && echo r $1; }}; w() {{ ( : > /dev/t-$1 ) 2>/dev/null && echo w $1; }}; \
             b() {{ ( : <> /dev/t-$1 ) 2>/dev/null && echo rw $1; }}; \
             m() {{ mknod /dev/x $1 $2 $3 2>/dev/null && echo m $1 $2:$3 && rm /dev/x; }}; {script}; true"
        ))
        .set("/linux/devices", devices)
        .set("/linux/resources/devices", rules)
        .capabilities(&capabilities)
}

/// What the container could do, one thing a line.
fn able(rules: Value, script: &str) -> Vec<String> {
    let sandbox = Sandbox::new();
    bundle(&sandbox, rules, script).run().ok().lines().map(str::to_owned).collect()
}

const TRY_ALL: &str = "r kmsg; w kmsg; b kmsg; r zero; w zero; b zero; b null; m c 1 11; m b 7 0";
const DEFAULT: [&str; 6] = ["r zero", "w zero", "rw zero", "rw null", "m c 1:11", "m b 7:0"];

#[test]
fn by_default_only_what_every_container_has_may_be_used() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    let denied = json!([{"allow": false, "access": "rwm"}]);
    assert_eq!(able(denied, &format!("{TRY_ALL}; r loop")), DEFAULT);
}

#[test]
fn without_rules_nothing_else_may_be_used_either() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    assert_eq!(able(json!([]), &format!("{TRY_ALL}; r loop")), DEFAULT);
    assert_eq!(able(Value::Null, TRY_ALL), DEFAULT, "null is no rules");
}

#[test]
fn default_devices_cannot_be_taken_away() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    let rules = json!([
        {"allow": true, "access": "rwm"},
        {"allow": false, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        {"allow": false, "type": "c", "access": "m"},
    ]);
    assert_eq!(able(rules, TRY_ALL), DEFAULT);
}

#[test]
fn each_kind_of_access_is_allowed_by_itself() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    let allow = |access: &str| {
        let rule = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": access});
        able(json!([{"allow": false, "access": "rwm"}, rule]), "r kmsg; w kmsg; b kmsg")
    };
    assert_eq!(allow("r"), ["r kmsg"]);
    assert_eq!(allow("w"), ["w kmsg"]);
    assert_eq!(allow("rw"), ["r kmsg", "w kmsg", "rw kmsg"]);
    assert_eq!(allow("mwr"), ["r kmsg", "w kmsg", "rw kmsg"]);
    assert_eq!(allow("m"), [""; 0]);
}

#[test]
fn wildcards_stand_for_every_number() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    let allow = |major: Value, minor: Value| {
        let rule = json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rw"});
        able(json!([rule]), "r kmsg; r loop")
    };
    assert_eq!(allow(json!(1), json!(-1)), ["r kmsg"]);
    assert_eq!(allow(json!(-1), json!(11)), ["r kmsg"]);
    assert_eq!(allow(json!(-1), json!(-1)), ["r kmsg"]);
    assert_eq!(allow(json!(1), Value::Null), ["r kmsg"]);
    assert_eq!(allow(json!(2), json!(11)), [""; 0]);
}

#[test]
fn a_block_device_is_not_the_character_device_of_its_number() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    skip_unless!(has_file("/dev/loop0"), "needs loop devices");
    let allow = |kind: &str| {
        let rule = json!({"allow": true, "type": kind, "major": 7, "minor": 0, "access": "rw"});
        able(json!([rule]), "r loop")
    };
    assert_eq!(allow("b"), ["r loop"]);
    assert_eq!(allow("c"), [""; 0]);
}

#[test]
fn everything_may_be_allowed() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    for rule in
        [json!({"allow": true, "access": "rwm"}), json!({"allow": true, "type": "a", "access": "rwm"})]
    {
        let all = [&["r kmsg", "w kmsg", "rw kmsg"], &DEFAULT[..]].concat();
        assert_eq!(able(json!([{"allow": false, "access": "rwm"}, rule]), TRY_ALL), all);
    }
}

#[test]
fn the_last_rule_wins() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    let kmsg = |allow: bool| json!({"allow": allow, "type": "c", "major": 1, "minor": 11, "access": "rw"});
    assert_eq!(able(json!([kmsg(true), kmsg(false)]), "r kmsg"), [""; 0]);
    assert_eq!(able(json!([kmsg(false), kmsg(true)]), "r kmsg"), ["r kmsg"]);
    assert_eq!(able(json!([kmsg(true), {"allow": false, "access": "rwm"}]), "r kmsg"), [""; 0]);
}

#[test]
fn some_devices_may_be_denied_to_whom_everything_is_allowed() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    let rules = json!([
        {"allow": true, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rw"},
    ]);
    assert_eq!(able(rules, TRY_ALL), DEFAULT);
}

#[test]
fn reading_and_writing_at_once_is_denied_where_writing_is() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    only_for!(Cloison, "runc's program lets the two together pass on v2");
    let rules = json!([
        {"allow": true, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "w"},
    ]);
    assert_eq!(able(rules, "r kmsg; w kmsg; b kmsg"), ["r kmsg"]);
}

#[test]
fn a_hole_in_a_range_holds_or_is_refused_by_name() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    only_for!(Cloison, "runc refuses it everywhere, and says it differently");
    let sandbox = Sandbox::new();
    let rules = json!([
        {"allow": true, "type": "c", "major": 1, "access": "rw"},
        {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "w"},
    ]);
    let output = bundle(&sandbox, rules, "r kmsg; w kmsg; r zero").run();
    match cgroup_layout() {
        CgroupLayout::V2 => assert_eq!(output.ok(), "r kmsg\nr zero\n"),
        CgroupLayout::V1 => output.refused_saying(&["cgroup v1 cannot express", "deny c 1:11 w"]),
    }
}

#[test]
fn a_file_system_is_mounted_from_a_device_that_the_container_may_not_use() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    skip_unless!(
        has_file("/usr/sbin/mkfs.ext4") && has_file("/dev/loop0"),
        "needs mkfs.ext4 and loop devices"
    );
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("ls /mnt; ( : < /dev/disk ) 2>/dev/null || echo denied");
    let image = bundle.dir().join("image");
    std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    shell(&format!("/usr/sbin/mkfs.ext4 -q {}", image.display()));
    let Some(device) = LoopDevice::of(&image) else {
        return cloison_tests::skip::report("needs a free loop device");
    };
    let minor: u32 = device.0.trim_start_matches("/dev/loop").parse().unwrap();
    std::fs::create_dir_all(bundle.rootfs().join("mnt")).unwrap();
    let node = json!({"path": "/dev/disk", "type": "b", "major": 7, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0});
    let output = bundle.mount("ext4", &device.0, "/mnt", &["ro"]).push("/linux/devices", node).run();
    assert_eq!(output.ok(), "lost+found\ndenied\n");
}

#[test]
fn rules_hold_for_who_is_started_later_in_the_cgroup() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    let sandbox = Sandbox::new();
    let container = bundle(&sandbox, json!([]), "sleep 1000").start();
    let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let (hierarchy, mount) = match cgroup_layout() {
        CgroupLayout::V2 => ("0::", "/sys/fs/cgroup"),
        CgroupLayout::V1 => (":devices:", "/sys/fs/cgroup/devices"),
    };
    let path = cgroups.lines().find_map(|line| line.split_once(hierarchy)).unwrap().1;
    let output = shell(&format!(
        "echo 0 > {mount}{path}/cgroup.procs && exec 3>/dev/null && ( : < /dev/zero ) && echo zero; \
         mknod {0} c 1 11 && {{ ( : < {0} ) 2>&3 || echo denied; }}; rm {0}",
        sandbox.dir().join("kmsg").display()
    ));
    assert_eq!(output, "zero\ndenied\n");
    container.end();
}

#[test]
fn a_container_in_a_user_namespace_keeps_its_default_devices() {
    let sandbox = Sandbox::new();
    let bundle =
        sandbox.busybox("head -c 3 /dev/zero | wc -c; echo x > /dev/null && echo ok").user_namespace(100_000);
    assert_eq!(bundle.run().ok(), "3\nok\n");
}

fn shell(script: &str) -> String {
    let output = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A loop device that is given back.
struct LoopDevice(String);

impl LoopDevice {
    fn of(image: &std::path::Path) -> Option<Self> {
        let output = std::process::Command::new("losetup").args(["-f", "--show"]).arg(image).output().ok()?;
        output.status.success().then(|| Self(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        shell(&format!("losetup -d {}", self.0));
    }
}
