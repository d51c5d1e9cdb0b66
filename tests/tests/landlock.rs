//! Landlock by the annotation `org.cloison.landlock`: rights that nobody in the container has, its root included.

use std::fs;
use std::os::unix::fs::symlink;

use cloison_linux::landlock;
use cloison_tests::{Bundle, Output, Rootfs, Sandbox, Value, host, json, only_for, skip_unless};

/// Ends the test where the kernel cannot restrict so much.
macro_rules! needs_landlock {
    ($version:literal) => {
        only_for!(Cloison, "no other runtime has it");
        let needs =
            concat!("needs version ", stringify!($version), " of Landlock in the kernel, and lsm=landlock");
        skip_unless!(landlock::abi() >= $version, "{needs}");
    };
}

/// What a shell needs to run: its file, and the places that it looks at.
fn restricted<'s>(sandbox: &'s Sandbox, script: &str, rules: &Value) -> Bundle<'s> {
    sandbox.busybox(script).writable().set("/annotations", json!({"org.cloison.landlock": rules.to_string()}))
}

/// Reading and executing everywhere, writing in `/tmp`.
fn read_only() -> Value {
    json!({"paths": {"/": ["read", "execute"], "/tmp": ["write"], "/dev": ["write_file", "truncate"]}})
}

/// Tells of each thing that the root of the container tries.
const TRY: &str = "(echo a > /tmp/made) && echo tmp; (echo a > /etc/made) 2>/dev/null || echo denied; \
    rm /etc/passwd 2>/dev/null || echo kept; (: > /etc/group) 2>/dev/null || echo whole; cat /etc/group | head -n 1";

const TRIED: &str = "tmp\ndenied\nkept\nwhole\nroot:x:0:\n";

#[test]
fn what_no_rule_allows_is_denied_to_the_root_of_the_container() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    for no_new_privileges in [true, false] {
        let bundle =
            restricted(&sandbox, TRY, &read_only()).set("/process/noNewPrivileges", no_new_privileges);
        assert_eq!(bundle.run().ok(), TRIED);
        assert!(bundle.rootfs().join("etc/passwd").exists());
    }
}

#[test]
fn rules_hold_for_another_user_and_in_a_user_namespace() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = restricted(&sandbox, "cat /etc/group | head -n 1; cat /tmp/x", &read_only())
        .set("/process/user", user);
    let output = bundle.capabilities(&[]).run();
    assert_eq!(output.stdout, "root:x:0:\n", "{}", output.describe());
    let script = format!("{TRY}; (echo > /run/x) 2>/dev/null || echo denied");
    let rootfs = Rootfs::busybox().owned_by(100_000, 100_000);
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", &script]).writable().user_namespace(100_000);
    let bundle = bundle.set("/annotations", json!({"org.cloison.landlock": read_only().to_string()}));
    assert_eq!(bundle.run().ok(), format!("{TRIED}denied\n"));
}

#[test]
fn a_file_that_may_not_be_executed_is_not_the_program() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let output = restricted(&sandbox, "echo run", &json!({"paths": {"/": ["read"]}})).run();
    output.refused_saying(&["exec", "permission denied"]);
    assert_eq!(output.stdout, "");
}

#[test]
fn a_process_that_joins_is_under_the_same_rules() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let bundle = restricted(&sandbox, "", &read_only()).args(["sleep", "1000"]);
    let container = bundle.start();
    assert_eq!(container.exec_script(&[], TRY).ok(), TRIED);
    let other = container.exec_script(&["--user", "1000:1000"], "(echo > /tmp/x) && echo tmp; cat /root/x");
    assert_eq!(other.stdout, "tmp\n", "{}", other.describe());
    let rule = "cat /proc/1/root/etc/group > /dev/null && echo looked into";
    let looked = container.exec_script(&[], rule);
    assert_ne!(
        looked.stdout,
        "looked into\n",
        "another process's rules are not its own: {}",
        looked.describe()
    );
    container.end();
}

#[test]
fn a_start_container_hook_is_under_the_rules() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo > /etc/made"]}]);
    let bundle =
        restricted(&sandbox, "echo run", &read_only()).set("/hooks", json!({"startContainer": hook}));
    let output = bundle.run();
    output.refused_saying(&["error running startContainer hook"]);
    assert!(!bundle.rootfs().join("etc/made").exists());
}

/// Links of an image: each by its place and where it leads.
type Links = &'static [(&'static str, &'static str)];

/// What a busybox does under these rules in an image with links.
fn with_links(sandbox: &Sandbox, links: Links, script: &str, rules: &Value) -> Output {
    let rootfs = Rootfs::hostile(move |root| {
        for (place, target) in links {
            let place = root.join(place);
            if place.is_dir() {
                fs::remove_dir(&place).unwrap();
            }
            symlink(target, place).unwrap();
        }
    });
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", script]).writable();
    bundle.set("/annotations", json!({"org.cloison.landlock": rules.to_string()})).run()
}

#[test]
fn reading_leads_through_the_links_of_the_image_and_never_out_of_it() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let rules = json!({"paths": {"/bin": ["read"], "/door": ["read"]}, "restrict": ["read"]});
    let links = &[("var/seen", "nowhere"), ("door", "/../../../../var")];
    let output = with_links(&sandbox, links, "echo /var/*; cat /etc/group || echo denied", &rules);
    assert!(output.ok().contains("/var/seen"), "{}", output.describe());
    assert!(output.stdout.ends_with("\ndenied\n"), "{}", output.describe());
}

#[test]
fn a_link_of_the_image_widens_no_rule_to_where_it_leads() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let script = "echo pwned > /etc/secret; echo run";
    let write = json!({"paths": {"/": ["read", "execute"], "/dev": ["write_file"], "/tmp": ["write"]}});
    let below = json!({"paths": {"/": ["read", "execute"], "/door/tmp": ["write_file"]}});
    let above = |path: &str| json!({"paths": {path: ["read", "execute"]}});
    let (door, inner) = (above("/door"), above("/var/door"));
    let tried: [(Links, &Value, [&str; 2]); 6] = [
        (&[("tmp", "/")], &write, ["/tmp", "a link is there"]),
        (&[("tmp", "etc")], &write, ["/tmp", "a link is there"]),
        (&[("door", "/")], &below, ["/door/tmp", "a link is there"]),
        (&[("door", "/")], &door, ["/door", "above it"]),
        (&[("var/door", "..")], &inner, ["/var/door", "above it"]),
        (&[("var/door", "/var/.")], &inner, ["/var/door", "above it"]),
    ];
    for (links, rules, said) in tried {
        let output = with_links(&sandbox, links, script, rules);
        output.refused_saying(&said);
        assert_eq!(output.stdout, "", "{links:?}");
    }
}

#[test]
fn ports_that_no_rule_allows_are_denied() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let script = "for port in 80 81; do timeout 5 nc -l -p $port -e true 2>&1 < /dev/null & pid=$!; \
        sleep 0.2; echo | timeout 5 nc 127.0.0.1 $port 2>&1; wait $pid; echo $port $?; done";
    let output = restricted(&sandbox, script, &json!({"bind_tcp": [80]})).run();
    assert!(output.stdout.contains("80 0\n"), "{}", output.describe());
    assert!(output.stdout.to_lowercase().contains("permission denied"), "{}", output.describe());
    let output = restricted(&sandbox, "nc 127.0.0.1 80", &json!({"connect_tcp": []})).run();
    assert!(output.stderr.to_lowercase().contains("permission denied"), "{}", output.describe());
}

#[test]
fn signals_reach_only_those_under_the_same_rules() {
    needs_landlock!(6);
    let sandbox = Sandbox::new();
    let container = restricted(&sandbox, "", &json!({"scoped": ["signal"]})).args(["sleep", "1000"]).start();
    let script = "kill -0 1 2>/dev/null || echo not the first; sleep 10 & kill $! && echo its own";
    assert_eq!(container.exec_script(&[], script).ok(), "not the first\nits own\n");
    container.end();
}

#[test]
fn what_is_asked_for_and_cannot_be_had_is_refused_by_name() {
    only_for!(Cloison, "no other runtime has it");
    let sandbox = Sandbox::new();
    let place = "/annotations/org.cloison.landlock";
    for (rules, said) in [
        (json!({"paths": {"/": ["raed"]}}), "\"raed\" is unknown, there are read, write, execute"),
        (json!({"paths": {"tmp": ["read"]}}), "\"tmp\" is no absolute path"),
        (json!({"path": {}}), "unknown field `path`"),
        (json!({}), "it restricts nothing"),
        (
            json!({"scoped": ["everything"]}),
            "\"everything\" is unknown, there are abstract_unix_socket, signal",
        ),
        (json!("read"), "docs/landlock.md"),
    ] {
        let output = restricted(&sandbox, "echo run", &rules).run();
        output.refused_saying(&[place, said]);
        assert_eq!(output.stdout, "");
    }
    let version = landlock::abi();
    if version == 0 {
        restricted(&sandbox, "echo run", &read_only())
            .run()
            .refused_saying(&[place, "Landlock is not supported"]);
    } else if version < 5 {
        restricted(&sandbox, "echo run", &read_only()).run().refused_saying(&[
            place,
            "cannot restrict",
            "ioctl_dev",
        ]);
    } else {
        let rules = json!({"paths": {"/": ["read", "execute"], "/not/there": ["write"]}});
        restricted(&sandbox, "echo run", &rules)
            .run()
            .refused_saying(&["/not/there", "not there in the container"]);
    }
}

#[test]
fn a_restricted_container_is_not_checkpointed_since_it_would_wake_without_rules() {
    needs_landlock!(5);
    let sandbox = Sandbox::new();
    let bundle = restricted(&sandbox, "", &read_only()).args(["sleep", "1000"]);
    let container = bundle.start();
    let images = sandbox.directory("images");
    let mut command = sandbox.command(["checkpoint", "--image-path"]);
    command.arg(&images).arg(container.id());
    sandbox.finish(command).refused_saying(&["org.cloison.landlock", "cannot be checkpointed"]);
    assert_eq!(container.status(), "running");
    container.end();
    let mut command = sandbox.command(["restore", "--image-path"]);
    command.arg(&images).arg("--bundle").arg(bundle.dir()).arg(sandbox.new_id());
    sandbox.finish(command).refused_saying(&["org.cloison.landlock"]);
}

#[test]
fn the_plan_shows_what_is_restricted_and_features_the_version() {
    only_for!(Cloison, "no other runtime has it");
    let sandbox = Sandbox::new();
    let features = sandbox.cloison(["features"]).json();
    assert_eq!(features["annotations"]["run.oci.cloison.landlock.abi"], landlock::abi().to_string());
    skip_unless!(
        landlock::abi() >= 1 && host::kernel() >= (5, 13),
        "needs Landlock in the kernel, and lsm=landlock"
    );
    let rules = json!({"paths": {"/": ["read"]}, "restrict": ["read", "write_file"]});
    let bundle = restricted(&sandbox, "", &rules);
    bundle.write();
    let mut command = sandbox.command(["plan"]);
    command.arg(bundle.dir());
    let plan = sandbox.finish(command);
    let line = "restrict by Landlock write_file,read_file,read_dir; allow / read_file,read_dir  [/annotations/org.cloison.landlock]";
    assert!(plan.ok().contains(line), "{}", plan.describe());
}
