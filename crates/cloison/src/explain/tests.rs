//! Profiles in words.

use tempfile::TempDir;

use super::*;

const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "syscalls": [
        {"names": ["read", "openat", "mkdir"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mkdir"], "action": "SCMP_ACT_KILL"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
            "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_GE"}]}
    ]
}"#;

fn explained(profile: &str, call: Option<&str>) -> Result<String, String> {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("profile.json");
    std::fs::write(&path, profile).unwrap();
    explain_file(&path, call).map_err(|error| error.to_string())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_is_explained_for_each_architecture() {
    assert_eq!(
        explained(PROFILE, Some("clone")).unwrap(),
        "SCMP_ARCH_X86_64 clone (56)
    SCMP_ACT_ALLOW if arg0 & 0x7e020000 == 0x0  [/syscalls/2]
    otherwise SCMP_ACT_ERRNO 1 (operation not permitted)  [/defaultAction]
SCMP_ARCH_X86 clone (120)
    SCMP_ACT_ALLOW if arg0 & 0x7e020000 == 0x0  [/syscalls/2]
    otherwise SCMP_ACT_ERRNO 1 (operation not permitted)  [/defaultAction]
"
    );
    assert_eq!(
        explained(PROFILE, Some("socket")).unwrap(),
        "SCMP_ARCH_X86_64 socket (41)
    SCMP_ACT_ERRNO 22 (invalid argument) if arg0 == 0x10 and arg2 >= 0x9  [/syscalls/3]
    otherwise SCMP_ACT_ERRNO 1 (operation not permitted)  [/defaultAction]
SCMP_ARCH_X86 socket (359)
    SCMP_ACT_ERRNO 22 (invalid argument) if arg0 == 0x10 and arg2 >= 0x9  [/syscalls/3]
    otherwise SCMP_ACT_ERRNO 1 (operation not permitted)  [/defaultAction]
SCMP_ARCH_X86 socket (102, socketcall 1)
    SCMP_ACT_ERRNO 22 (invalid argument) if arg2 >= 0x9  [/syscalls/3]
    otherwise SCMP_ACT_ERRNO 1 (operation not permitted)  [/defaultAction]
"
    );
    let text = explained(PROFILE, Some("mkdir")).unwrap();
    assert!(text.starts_with("SCMP_ARCH_X86_64 mkdir (83)\n    SCMP_ACT_ALLOW  [/syscalls/0]\n"), "{text}");
    assert!(text.contains("    (never decides: SCMP_ACT_KILL [/syscalls/1])\n"), "{text}");
    let text = explained(PROFILE, Some("openat2")).unwrap();
    assert!(text.contains("fails with ENOSYS") && text.contains("of which openat is the newest"), "{text}");
}

#[test]
fn all_calls_are_explained_in_groups() {
    let text = explained(PROFILE, None).unwrap();
    let native = Architecture::NATIVE.map_or("", Architecture::name);
    assert!(text.starts_with(&format!("{native}\n")), "{text}");
    assert!(
        text.contains("    SCMP_ACT_ALLOW  [/syscalls/0]\n        3 calls: mkdir openat read\n"),
        "{text}"
    );
    assert!(text.contains("\n        1 calls: clone\n"), "{text}");
}

#[test]
fn a_configuration_is_read_for_its_profile() {
    let mut spec = spec::example(false);
    let told = |spec: &Spec| explained(std::str::from_utf8(&spec.to_json()).unwrap(), Some("read"));
    assert_eq!(told(&spec).unwrap(), "no filter: all calls are made\n");
    spec.linux.seccomp = Some(serde_json::from_str(PROFILE).unwrap());
    assert!(told(&spec).unwrap().contains("SCMP_ACT_ALLOW  [/linux/seccomp/syscalls/0]\n"));
}

#[test]
fn what_is_no_profile_is_refused_in_words() {
    let says = |profile: &str, call: &str, words: &str| {
        let error = explained(profile, Some(call)).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    says("[", "read", "not a seccomp profile");
    says(r#"{"defaultAction": "SCMP_ACT_NO"}"#, "read", "not a seccomp profile");
    says(PROFILE, "frobnicate", "no architecture has a system call \"frobnicate\"");
    says(r#"{"defaultAction": "SCMP_ACT_ERRNO", "archMap": []}"#, "read", "explain the config.json");
}
