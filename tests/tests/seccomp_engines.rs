//! The default profiles of Docker, Podman and containerd, as the engines hand them to a runtime.

use cloison_tests::engines::{CAPABILITIES, ENGINES, profile};
use cloison_tests::{Bundle, Sandbox, json, skip_unless};

/// A bundle under each engine's profile, with and without `no_new_privs`, as root and as another user.
fn each<'s>(sandbox: &'s Sandbox, script: &str) -> Vec<(String, Bundle<'s>)> {
    let mut bundles = Vec::new();
    for (engine, json) in ENGINES {
        for (no_new_privileges, uid) in [(true, 0), (false, 0), (true, 1000), (false, 1000)] {
            let name = format!("{engine}, no_new_privs {no_new_privileges}, uid {uid}");
            let bundle = sandbox
                .debian(script)
                .capabilities(&CAPABILITIES)
                .set("/process/noNewPrivileges", no_new_privileges)
                .set("/process/user", json!({"uid": uid, "gid": uid, "additionalGids": [5]}))
                .set("/linux/seccomp", profile(json));
            bundles.push((name, bundle));
        }
    }
    bundles
}

#[test]
fn programs_run_under_the_engines_profiles() {
    skip_unless!(cfg!(target_arch = "x86_64"), "needs an x86-64 machine");
    let sandbox = Sandbox::new();
    let script = "set -e; ls -l / > /dev/null; cp /bin/ls /dev/shm/ls; sort /etc/passwd | head -n1 >/dev/null
        id -G; (sleep 0.01 & wait); grep -c '^Seccomp:.2' /proc/self/status";
    for (name, bundle) in each(&sandbox, script) {
        let output = bundle.run();
        assert!(output.status.success(), "{name}: {}", output.describe());
        assert!(output.stdout.ends_with(" 5\n1\n"), "{name}: {}", output.describe());
    }
}

#[test]
fn what_the_engines_profiles_deny_is_denied() {
    skip_unless!(cfg!(target_arch = "x86_64"), "needs an x86-64 machine");
    let sandbox = Sandbox::new();
    let restricted =
        std::fs::read_to_string("/proc/sys/kernel/dmesg_restrict").is_ok_and(|text| text != "0\n");
    for (name, bundle) in each(&sandbox, "unshare --user true 2>&1; dmesg 2>&1") {
        let output = bundle.run();
        let says = |words| assert!(output.stdout.contains(words), "{name}: {}", output.describe());
        // Podman leaves both to the kernel.
        let podman = name.starts_with("Podman");
        if !podman || restricted {
            says("read kernel buffer failed: Operation not permitted");
        }
        if !podman {
            says("unshare failed: Operation not permitted");
        }
    }
}
