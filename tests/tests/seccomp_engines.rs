//! The default profiles of Docker, Podman and containerd, as the engines hand them to a runtime.

use cloison_tests::{Bundle, Sandbox, Value, json, skip_unless};

const ENGINES: [(&str, &str); 3] = [
    ("Docker", include_str!("../../crates/cloison-seccomp-oracle/profiles/docker.json")),
    ("Podman", include_str!("../../crates/cloison-seccomp-oracle/profiles/podman.json")),
    ("containerd", include_str!("../../crates/cloison-seccomp-oracle/profiles/containerd.json")),
];

/// What an engine gives nearly every container.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What is left of an engine's profile when the engine has worked out what is for this machine and these capabilities.
fn profile(json: &str) -> Value {
    let mut profile: Value = serde_json::from_str(json).expect("a profile");
    let says =
        |list: &Value, word: &str| list.as_array().is_some_and(|list| list.iter().any(|one| one == word));
    let all = |list: &Value| {
        list.as_array()
            .is_none_or(|list| list.iter().all(|one| CAPABILITIES.iter().any(|known| one == known)))
    };
    let any = |list: &Value| CAPABILITIES.iter().any(|known| says(list, known));
    let for_us = |rule: &Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let arches = &includes["arches"];
        let here = arches.as_array().is_none_or(|arches| arches.is_empty() || says(&json!(arches), "amd64"));
        here && all(&includes["caps"]) && !any(&excludes["caps"]) && !says(&excludes["arches"], "amd64")
    };
    let rules: Vec<Value> =
        profile["syscalls"].as_array().expect("rules").iter().filter(|rule| for_us(rule)).cloned().collect();
    json!({
        "defaultAction": profile["defaultAction"].take(),
        "defaultErrnoRet": profile["defaultErrnoRet"].take(),
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}

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
    for (name, bundle) in each(&sandbox, "unshare --user true 2>&1; dmesg 2>&1") {
        let output = bundle.run();
        let says = |words| assert!(output.stdout.contains(words), "{name}: {}", output.describe());
        says("read kernel buffer failed: Operation not permitted");
        // Podman leaves it to the kernel.
        if !name.starts_with("Podman") {
            says("unshare failed: Operation not permitted");
        }
    }
}
