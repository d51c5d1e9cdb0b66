//! Landlock by annotation.

use super::*;
use crate::plan::exec::{Asked, ExecFacts, ExecPlan, ProcessFlags};
use crate::plan::labels::Modules;
use crate::plan::landlock::{ANNOTATION, Ruleset};

fn restricted(text: &str) -> Spec {
    let mut spec = example();
    spec.annotations.insert(ANNOTATION.to_owned(), text.to_owned());
    spec
}

fn version(landlock: u32) -> Modules {
    Modules { landlock, ..Modules::default() }
}

/// The words with which it is refused where the interface has this version.
fn refused(text: &str, landlock: u32) -> String {
    let facts = HostFacts { modules: version(landlock), ..facts() };
    let problems = Plan::new(&restricted(text), &options(), &facts).unwrap_err();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(problem.pointer, "/annotations/org.cloison.landlock");
    problem.message.clone()
}

const RULES: &str =
    r#"{"paths": {"/usr": ["read", "execute"], "/": ["read_dir"]}, "bind_tcp": [80], "scoped": ["signal"]}"#;

#[test]
fn rights_are_given_up_as_the_last_before_the_program() {
    let facts = HostFacts { modules: version(6), ..facts() };
    let plan = plan_with(&restricted(RULES), &options(), &facts);
    let last = container(&plan).pop().unwrap();
    assert_eq!(
        last,
        "restrict by Landlock execute,write_file,read_file,read_dir,remove_dir,remove_file,make_char,make_dir,make_reg,make_sock,\
         make_fifo,make_block,make_sym,refer,truncate,ioctl_dev,bind_tcp,signal; allow / read_dir; \
         allow /usr execute,read_file,read_dir; allow bind_tcp 80  [/annotations/org.cloison.landlock]"
    );
    let id = ContainerId::parse("c1").unwrap();
    let flags = ProcessFlags { args: vec!["sh".into()], ..ProcessFlags::default() };
    let facts = ExecFacts { modules: version(6), privileged: true, ..ExecFacts::default() };
    let joining = ExecPlan::new(restricted(RULES), Asked { document: None, flags }, &id, 0, &facts).unwrap();
    assert_eq!(joining.newcomer.last().unwrap().to_string(), last, "a process that joins has the same rules");
}

#[test]
fn what_the_kernel_cannot_restrict_is_refused_by_name() {
    assert!(refused(RULES, 0).starts_with("Landlock is not supported by this kernel"));
    assert!(refused(RULES, 5).starts_with("this kernel cannot restrict signal: that takes version 6 of Landlock (Linux 6.12), and here is version 5"));
    assert!(
        refused(RULES, 2).starts_with("this kernel cannot restrict truncate, ioctl_dev, bind_tcp, signal: ")
    );
    assert!(
        refused(r#"{"connect_tcp": []}"#, 3)
            .contains("connect_tcp: that takes version 4 of Landlock (Linux 6.7)")
    );
    let older =
        restricted(r#"{"paths": {"/": ["read", "execute"]}, "restrict": ["write_file", "make_reg"]}"#);
    let facts = HostFacts { modules: version(1), ..facts() };
    let last = container(&plan_with(&older, &options(), &facts)).pop().unwrap();
    assert!(last.starts_with("restrict by Landlock write_file,make_reg; allow / "), "{last}");
}

#[test]
fn what_is_no_ruleset_is_refused_with_what_is_wrong() {
    for (text, said) in [
        ("", "not as docs/landlock.md has it: EOF"),
        ("[]", "not as docs/landlock.md has it"),
        ("{}", "it restricts nothing"),
        (r#"{"paths": {"/": []}}"#, "paths, \"/\": names no right"),
        (
            r#"{"paths": {"/": ["READ_FILE"]}}"#,
            "paths, \"/\": rights: \"READ_FILE\" is unknown, there are read, write, execute, ",
        ),
        (r#"{"paths": {"/": ["read"], "/": ["write"]}}"#, "\"/\" is there twice"),
        (r#"{"paths": {"a\u0000": ["read"]}}"#, "is no absolute path"),
        (r#"{"paths": {"/a\u0000": ["read"]}}"#, "is no absolute path"),
        (r#"{"restrict": ["all"]}"#, "restrict: rights: \"all\" is unknown"),
        (
            r#"{"scoped": ["SIGNAL"]}"#,
            "scoped: \"SIGNAL\" is unknown, there are abstract_unix_socket, signal",
        ),
        (r#"{"bind_tcp": [65536]}"#, "not as docs/landlock.md has it"),
        (r#"{"bind_udp": [1]}"#, "unknown field `bind_udp`"),
    ] {
        let refused = refused(text, 6);
        assert!(refused.contains(said), "{text}: {refused}");
    }
}

#[test]
fn files_are_free_where_only_the_network_is_restricted() {
    let ruleset = Ruleset::parse(r#"{"connect_tcp": [443]}"#).unwrap();
    assert_eq!(ruleset.to_string(), "restrict by Landlock connect_tcp; allow connect_tcp 443");
    let nothing_is_written = Ruleset::parse(r#"{"restrict": ["write"]}"#).unwrap();
    assert!(nothing_is_written.paths.is_empty());
}
