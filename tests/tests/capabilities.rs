//! The five capability sets.

use cloison_tests::{Kind, Sandbox, append_command, json, only_root, runc_lacks, runtime};

const CAP_CHOWN: u64 = 1 << 0;
const CAP_KILL: u64 = 1 << 5;
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;
const CAP_NET_RAW: u64 = 1 << 13;

/// The sets in the order of `/proc/self/status`: inheritable, permitted, effective, bounding, ambient.
fn sets(text: &str) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        u64::from_str_radix(line.unwrap_or_else(|| panic!("{name} in {text}")), 16).unwrap()
    })
}

const STATUS: &str = "exec grep Cap /proc/self/status";

#[test]
fn root_gets_what_the_sets_say() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(STATUS).capabilities(&["CAP_CHOWN", "CAP_KILL"]);
    let both = CAP_CHOWN | CAP_KILL;
    assert_eq!(sets(bundle.run().ok()), [0, both, both, both, 0]);
}

#[test]
fn each_set_is_its_own() {
    let sandbox = Sandbox::new();
    let capabilities = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_CHOWN"],
        "ambient": ["CAP_CHOWN"],
    });
    // An execve by a user that is not root computes the sets from the ambient one.
    let bundle = sandbox.busybox(STATUS).set("/process/capabilities", capabilities);
    let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let bounding = CAP_CHOWN | CAP_KILL | CAP_NET_RAW | CAP_NET_BIND_SERVICE;
    assert_eq!(sets(bundle.run().ok()), [CAP_CHOWN, CAP_CHOWN, CAP_CHOWN, bounding, CAP_CHOWN]);
}

#[test]
fn a_user_without_ambient_capabilities_has_none() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(STATUS).capabilities(&["CAP_KILL"]);
    let output = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).run();
    assert_eq!(sets(output.ok()), [0, 0, 0, CAP_KILL, 0]);
}

#[test]
fn an_ambient_capability_that_cannot_be_raised_is_warned_about() {
    runc_lacks!("1.3: a warning of ambient capabilities");
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox(STATUS)
        .capabilities(&["CAP_CHOWN", "CAP_KILL"])
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
        .set("/process/capabilities/ambient", json!(["CAP_KILL", "CAP_CHOWN"]));
    let output = bundle.run();
    let both = CAP_CHOWN | CAP_KILL;
    assert_eq!(sets(output.ok()), [CAP_KILL, both, both, both, CAP_KILL]);
    assert!(output.stderr.contains("can't raise ambient capability CAP_CHOWN: "), "{}", output.describe());
    assert!(!output.stderr.contains("CAP_KILL"), "{}", output.describe());
}

#[test]
fn no_capabilities_means_none() {
    let sandbox = Sandbox::new();
    assert_eq!(sets(sandbox.busybox(STATUS).capabilities(&[]).run().ok()), [0; 5]);
    let output = sandbox.busybox(STATUS).set("/process/capabilities", json!({})).run();
    assert_eq!(sets(output.ok()), [0; 5]);
}

#[test]
fn ambient_capabilities_need_to_be_inheritable() {
    let sandbox = Sandbox::new();
    // The default of older engines: ambient without inheritable. The kernel refuses to raise it, and that is no error.
    let output = sandbox.busybox(STATUS).run();
    assert_eq!(sets(output.ok())[4], 0, "{}", output.describe());
}

#[test]
fn an_unknown_capability_is_a_warning() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(STATUS).capabilities(&["CAP_KILL", "CAP_OF_TOMORROW"]);
    let output = bundle.run();
    assert_eq!(sets(output.ok()), [0, CAP_KILL, CAP_KILL, CAP_KILL, 0]);
    assert!(output.stderr.contains("CAP_OF_TOMORROW"), "{}", output.describe());
}

#[test]
fn every_capability_of_features_can_be_given() {
    let sandbox = Sandbox::new();
    let features = sandbox.cloison(["features"]).json();
    let names: Vec<&str> = features["linux"]["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 41, "{names:?}");
    // We cannot give what we do not have.
    let ours = sets(&std::fs::read_to_string("/proc/self/status").unwrap())[3];
    let given: Vec<&str> = names
        .iter()
        .enumerate()
        .filter(|(number, _)| ours & (1 << number) != 0)
        .map(|(_, name)| *name)
        .collect();
    assert_eq!(sets(sandbox.busybox(STATUS).capabilities(&given).run().ok())[2], ours);
}

/// Where runtime-spec would have a warning: a program that believes that it has a right must not run without.
#[test]
fn what_the_caller_does_not_have_is_refused_by_name() {
    only_root!("capabilities to lack: in a user namespace of his he has them all");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").capabilities(&["CAP_SYSLOG"]);
    bundle.write();
    let mut command = sandbox.bare_command("setpriv");
    command.args(["--bounding-set", "-syslog", "--inh-caps", "-syslog", "--"]);
    let run = bundle.run_command(&[]);
    append_command(&mut command, &run);
    let output = sandbox.finish(command);
    assert_eq!(output.code(), 1, "{}", output.describe());
    if runtime::kind() == Kind::Cloison {
        assert!(output.stderr.contains("CAP_SYSLOG"), "{}", output.describe());
    }
}

#[test]
fn without_the_capability_the_kernel_refuses() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("chown 5 /tmp/x 2>&1; touch /tmp/x; chown 5 /tmp/x 2>&1").writable().run();
    assert!(output.stdout.contains("Operation not permitted"), "{}", output.describe());
    let bundle = sandbox.busybox("touch /tmp/x && chown 5 /tmp/x && stat -c %u /tmp/x").writable();
    assert_eq!(bundle.capabilities(&["CAP_CHOWN"]).run().line(), "5");
}

#[test]
fn a_setuid_program_gains_nothing_without_new_privileges() {
    let sandbox = Sandbox::new();
    let rootfs = || {
        cloison_tests::Rootfs::debian().with(|root| {
            std::fs::copy(root.join("bin/grep"), root.join("bin/setuid-grep")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
            std::fs::set_permissions(root.join("bin/setuid-grep"), mode).unwrap();
        })
    };
    for (no_new_privileges, effective) in [(true, 1000), (false, 0)] {
        let bundle = sandbox
            .bundle(rootfs())
            .args(["setuid-grep", "-E", "^(Uid|Cap)", "/proc/self/status"])
            .capabilities(&["CAP_KILL"])
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let output = bundle.run();
        assert!(output.ok().contains(&format!("Uid:\t1000\t{effective}\t")), "{}", output.stdout);
        assert_eq!(sets(&output.stdout)[2], if no_new_privileges { 0 } else { CAP_KILL });
    }
}
