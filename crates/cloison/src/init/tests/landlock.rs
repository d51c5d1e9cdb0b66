//! Rights that are given up, on a fake kernel.

use cloison_linux::Errno;

use super::*;

const RULES: &str =
    r#"{"paths": {"/etc/passwd": ["read"], "/usr": ["read"]}, "restrict": ["read"], "bind_tcp": [80]}"#;

fn restricted() -> Plan {
    let mut spec = example(false);
    spec.annotations.insert("org.cloison.landlock".to_owned(), RULES.to_owned());
    plan_with(&spec, Modules { landlock: 6, ..Modules::default() })
}

#[test]
fn rights_are_given_up_right_before_the_launch_by_paths_inside_the_root() {
    let kernel = kernel();
    run(&kernel, &restricted(), &[]);
    let calls = kernel.calls();
    let first = calls.iter().position(|call| call.starts_with("landlock_ruleset")).unwrap();
    assert_eq!(
        calls[first..calls.len() - 1],
        [
            "landlock_ruleset(READ_FILE|READ_DIR, BIND_TCP, 0)".to_owned(),
            format!("open_without_links({ROOT}, \"/etc/passwd\", PATH, 0o0)"),
            format!("fstat({ROOT}/etc/passwd)"),
            // A file is no directory.
            format!("landlock_allow_beneath(ruleset, {ROOT}/etc/passwd, READ_FILE)"),
            format!("open_without_links({ROOT}, \"/usr\", PATH, 0o0)"),
            format!("fstat({ROOT}/usr)"),
            format!("landlock_allow_beneath(ruleset, {ROOT}/usr, READ_FILE|READ_DIR)"),
            "landlock_allow_port(ruleset, 80, BIND_TCP)".to_owned(),
            "landlock_restrict_self(ruleset)".to_owned(),
        ]
    );
    assert!(is_launched(&kernel));
}

#[test]
fn nothing_is_launched_with_more_rights_than_were_asked_for() {
    for (call, said) in [
        ("landlock_ruleset", "making a Landlock ruleset"),
        ("landlock_allow_beneath", "allowing by Landlock what is done to /etc/passwd"),
        ("landlock_allow_port", "allowing the port 80 by Landlock"),
        ("landlock_restrict_self", "restricting the program by Landlock"),
    ] {
        let kernel = kernel();
        kernel.fail_on(call, Errno::PERM);
        let failure = run(&kernel, &restricted(), &[]);
        assert!(failure.to_string().starts_with(said), "{failure}");
        assert!(failure.to_string().contains("/annotations/org.cloison.landlock"), "{failure}");
        assert!(!is_launched(&kernel));
    }
}
