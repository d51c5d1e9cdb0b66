//! The default profiles of Docker, Podman and containerd, as the engines hand them to a runtime.

use cloison_tests::engines::{CAPABILITIES, ENGINES, profile};
use cloison_tests::{Output, Sandbox, json, skip_unless};

/// Runs a script under each engine's profile, with and without `no_new_privs`, as root and as another user, one after the other in one
/// root file system: an ordinary user's takes long to make.
fn each(script: &str, mut look: impl FnMut(&str, &Output)) {
    let sandbox = Sandbox::new();
    let mut bundle = sandbox.debian(script).capabilities(&CAPABILITIES);
    for (engine, json) in ENGINES {
        for (no_new_privileges, uid) in [(true, 0), (false, 0), (true, 1000), (false, 1000)] {
            bundle = bundle
                .set("/process/noNewPrivileges", no_new_privileges)
                .set("/process/user", json!({"uid": uid, "gid": uid, "additionalGids": [5]}))
                .set("/linux/seccomp", profile(json));
            look(&format!("{engine}, no_new_privs {no_new_privileges}, uid {uid}"), &bundle.run());
        }
    }
}

#[test]
fn programs_run_under_the_engines_profiles() {
    skip_unless!(cfg!(target_arch = "x86_64"), "needs an x86-64 machine");
    let script = "set -e; ls -l / > /dev/null; cp /bin/ls /dev/shm/ls; sort /etc/passwd | head -n1 >/dev/null
        id -G; (sleep 0.01 & wait); grep -c '^Seccomp:.2' /proc/self/status";
    each(script, |name, output| {
        assert!(output.status.success(), "{name}: {}", output.describe());
        assert!(output.stdout.ends_with(" 5\n1\n"), "{name}: {}", output.describe());
    });
}

#[test]
fn what_the_engines_profiles_deny_is_denied() {
    skip_unless!(cfg!(target_arch = "x86_64"), "needs an x86-64 machine");
    let restricted =
        std::fs::read_to_string("/proc/sys/kernel/dmesg_restrict").is_ok_and(|text| text != "0\n");
    each("unshare --user true 2>&1; dmesg 2>&1", |name, output| {
        let says = |words| assert!(output.stdout.contains(words), "{name}: {}", output.describe());
        // Podman leaves both to the kernel.
        let podman = name.starts_with("Podman");
        if !podman || restricted {
            says("read kernel buffer failed: Operation not permitted");
        }
        if !podman {
            says("unshare failed: Operation not permitted");
        }
    });
}
