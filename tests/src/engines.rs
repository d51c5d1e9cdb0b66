//! The default seccomp profiles of Docker, Podman and containerd, as the engines hand them to a runtime on x86-64.

use serde_json::{Value, json};

/// The engines, and their default profiles.
pub const ENGINES: [(&str, &str); 3] = [
    ("Docker", include_str!("../../crates/cloison-seccomp-oracle/profiles/docker.json")),
    ("Podman", include_str!("../../crates/cloison-seccomp-oracle/profiles/podman.json")),
    ("containerd", include_str!("../../crates/cloison-seccomp-oracle/profiles/containerd.json")),
];

/// What an engine gives nearly every container.
pub const CAPABILITIES: [&str; 14] = [
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
pub fn profile(json: &str) -> Value {
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
