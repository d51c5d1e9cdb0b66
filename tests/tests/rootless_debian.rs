//! A whole distribution in an ordinary user's container, and a terminal to it.

use std::fs;

use cloison_tests::user::{FIRST, ID, User, with_maps};
use cloison_tests::{Bundle, Rootfs, Sandbox, Screen, json, skip_unless};

/// What Docker gives, as far as package managers need it.
const CAPABILITIES: [&str; 6] =
    ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETGID", "CAP_SETUID"];

/// Of the bundles that the machine's tests start from, one without a network.
fn debian<'s>(sandbox: &'s Sandbox, rootfs: Rootfs, rows: &[(u32, u32, u32)], script: &str) -> Bundle<'s> {
    with_maps(sandbox.bundle(rootfs), rows)
        .args(["sh", "-c", script])
        .writable()
        .set("/process/noNewPrivileges", false)
        .set(
            "/process/capabilities",
            json!({"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES}),
        )
}

/// What keeps packages from coming, in the words of apt and of the C library.
const NO_NETWORK: [&str; 4] =
    ["Temporary failure resolving", "Could not resolve", "Network is unreachable", "Could not connect"];

/// What it would say of a user that may not do what a package manager does.
const NO_RIGHTS: [&str; 7] = [
    "Permission denied",
    "Operation not permitted",
    "setgroups",
    "seteuid",
    "setegid",
    "chown",
    "Read-only file system",
];

fn wants_a_network_only(user: &User<'_>, bundle: &Bundle<'_>) {
    let output = user.run(bundle);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(NO_NETWORK.iter().any(|words| said.contains(words)), "{}", output.describe());
    for words in NO_RIGHTS {
        assert!(!said.contains(words), "{words} in {}", output.describe());
    }
}

#[test]
fn a_package_manager_wants_nothing_but_a_network_with_one_id() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    // There is no other user that apt could work as.
    let script = "apt-get -o APT::Sandbox::User=root update";
    let rootfs = Rootfs::debian().owned_by(ID, ID);
    wants_a_network_only(&user, &debian(&sandbox, rootfs, &[(0, ID, 1)], script));
}

#[test]
fn a_package_manager_wants_nothing_but_a_network_with_ranges() {
    skip_unless!(
        fs::exists("/usr/bin/newuidmap").unwrap() && fs::exists("/etc/subuid").unwrap(),
        "needs newuidmap (package uidmap) and an /etc/subuid"
    );
    let sandbox = Sandbox::new();
    let user = User::with_ranges(&sandbox);
    let rootfs = Rootfs::debian().owned_by_ranges(ID, FIRST);
    let rows = [(0, ID, 1), (1, FIRST, 65_535)];
    wants_a_network_only(&user, &debian(&sandbox, rootfs, &rows, "apt-get update"));
}

#[test]
fn an_ordinary_user_works_at_a_terminal_of_the_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("").args(["sh"]).set("/process/terminal", true);
    bundle.write();
    let screen = Screen::sized(91, 27);
    let id = sandbox.new_id();
    let log = user.directory().join("log");
    let run = user.command(&[
        "--log",
        log.to_str().unwrap(),
        "run",
        "--bundle",
        bundle.dir().to_str().unwrap(),
        &id,
    ]);
    let run = screen.spawn(&sandbox, run);
    screen.until_shows("# ");
    screen.types("tty; id -u; stty size; echo en''d\n");
    screen.until_shows("end");
    let shown = screen.shown();
    for words in ["/dev/pts/0\n", "\n0\n", "27 91"] {
        assert!(shown.contains(words), "{words:?} in {shown:?}");
    }
    screen.types("exit 5\n");
    assert_eq!(screen.end(run).code(), 5);
}

#[test]
fn an_ordinary_users_process_is_killed_and_the_container_deleted() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let container = user.start(&user.root_only("trap 'exit 3' TERM; while :; do sleep 0.1; done"));
    cloison_tests::until("it has ended", || {
        // Again and again: the first process of a PID namespace does not get a signal before it has a handler.
        user.does(&["kill", &container.id, "TERM"]);
        user.does(&["state", &container.id]).json()["status"] == "stopped"
    });
    user.does(&["delete", &container.id]).ok();
    assert!(user.does(&["list", "-q"]).ok().is_empty());
}
