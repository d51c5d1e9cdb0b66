//! Devices, links, the null device and the terminal.

use cloison_linux::fake::{Fake, stat};
use cloison_linux::makedev;

use super::device::Way;
use super::*;
use crate::init::error::Error;
use crate::plan::action::Device;

fn fuse() -> Device {
    Device {
        path: "/dev/fuse".into(),
        kind: FileType::CharacterDevice,
        major: 10,
        minor: 229,
        mode: 0o640,
        uid: 0,
        gid: 0,
        asked: true,
    }
}

fn make(kernel: &Fake, device: &Device, way: Way) -> Result<(), Error> {
    let root = Root::new(kernel, kernel.descriptor("root"));
    device::device(kernel, &root, &mut device::Directory::default(), device, way)
}

const BOUND: [&str; 4] = [
    r#"open("/dev/fuse", PATH, 0o0)"#,
    r#"open_in_root(root/dev, "fuse", CREATE|EXCL|NOFOLLOW, 0o0)"#,
    "open_tree(/dev/fuse, OPEN_TREE_CLONE)",
    "move_mount(tree of /dev/fuse, root/dev/fuse)",
];

#[test]
fn a_device_is_made_in_its_directory() {
    let kernel = Fake::new();
    make(&kernel, &fuse(), Way::Either).unwrap();
    assert_eq!(
        kernel.calls(),
        [
            r#"open_in_root(root, "/dev", DIRECTORY|PATH, 0o0)"#,
            r#"mknodat(root/dev, "fuse", CharacterDevice, 0o640, 10:229)"#
        ]
    );
}

#[test]
fn a_device_that_may_not_be_made_is_bound() {
    let kernel = Fake::new();
    kernel.fail_on("mknodat", Errno::PERM);
    make(&kernel, &fuse(), Way::Either).unwrap();
    assert_eq!(kernel.calls()[2..], BOUND);
    let kernel = Fake::new();
    make(&kernel, &fuse(), Way::Bind).unwrap();
    assert_eq!(kernel.calls()[1..], BOUND);
    let kernel = Fake::new();
    kernel.fail_on("mknodat", Errno::PERM);
    make(&kernel, &fuse(), Way::Node).unwrap_err();
    assert_eq!(kernel.verbs(), ["open_in_root", "mknodat"], "the mount would stay");
}

#[test]
fn the_same_device_that_is_there_already_stays() {
    let kernel = Fake::new();
    kernel.fail_on("mknodat", Errno::EXIST);
    kernel.set_stat("root/dev/fuse", stat(FileType::CharacterDevice, 0o600, makedev(10, 229)));
    make(&kernel, &Device { uid: 5, ..fuse() }, Way::Either).unwrap();
    assert_eq!(
        kernel.verbs(),
        ["open_in_root", "mknodat", "open_in_root", "fstat"],
        "nor is its owner changed"
    );
    assert_eq!(
        kernel.calls()[2],
        r#"open_in_root(root/dev, "fuse", NOFOLLOW|PATH, 0o0)"#,
        "nor is it opened"
    );
    let kernel = Fake::new();
    kernel.fail_on("mknodat", Errno::NOSPC);
    let error = make(&kernel, &fuse(), Way::Either).unwrap_err();
    assert_eq!(error.to_string(), "making the device /dev/fuse: no space left on device");
}

/// config-linux.md, "Devices".
#[test]
fn something_else_in_the_place_of_a_device_is_refused() {
    for (kind, number) in [
        (FileType::RegularFile, 0),
        (FileType::Symlink, 0),
        (FileType::BlockDevice, makedev(10, 229)),
        (FileType::CharacterDevice, makedev(10, 130)),
    ] {
        let kernel = Fake::new();
        kernel.fail_on("mknodat", Errno::EXIST);
        kernel.set_stat("root/dev/fuse", stat(kind, 0o666, number));
        let error = make(&kernel, &fuse(), Way::Either).unwrap_err();
        assert_eq!(error.to_string(), "making the device /dev/fuse: something else is there");
        make(&kernel, &Device { asked: false, ..fuse() }, Way::Either).unwrap();
    }
}

/// An image may have a device node there, and to open one can do something: start a watchdog, rewind a tape.
#[test]
fn what_is_covered_by_a_bound_device_is_not_opened_and_no_link() {
    let kernel = Fake::new();
    kernel.fail_on(r#"open_in_root(root/dev, "fuse", CREATE"#, Errno::EXIST);
    kernel.set_stat("root/dev/fuse", stat(FileType::CharacterDevice, 0o666, makedev(10, 130)));
    make(&kernel, &fuse(), Way::Bind).unwrap();
    assert_eq!(kernel.calls()[3], r#"open_in_root(root/dev, "fuse", NOFOLLOW|PATH, 0o0)"#);
    assert_eq!(kernel.verbs().last().unwrap(), "move_mount");

    let kernel = Fake::new();
    kernel.fail_on(r#"open_in_root(root/dev, "fuse", CREATE"#, Errno::EXIST);
    kernel.set_stat("root/dev/fuse", stat(FileType::Symlink, 0o777, 0));
    assert_eq!(make(&kernel, &fuse(), Way::Bind).unwrap_err().errno(), Some(Errno::LOOP));
    assert!(!kernel.verbs().contains(&"move_mount".to_owned()));
}

#[test]
fn only_the_node_that_was_made_changes_its_owner() {
    let owned = Device { uid: 5, gid: 6, ..fuse() };
    let kernel = Fake::new();
    kernel.set_stat("root/dev/fuse", stat(FileType::CharacterDevice, 0o640, makedev(10, 229)));
    make(&kernel, &owned, Way::Either).unwrap();
    assert_eq!(kernel.calls().last().unwrap(), "fchown(root/dev/fuse, 5, 6)");
    for other in [
        stat(FileType::CharacterDevice, 0o640, makedev(1, 1)),
        stat(FileType::BlockDevice, 0o640, makedev(10, 229)),
        stat(FileType::Symlink, 0o777, 0),
    ] {
        let kernel = Fake::new();
        kernel.set_stat("root/dev/fuse", other);
        assert_eq!(make(&kernel, &owned, Way::Either).unwrap_err().errno(), Some(Errno::NODEV));
        assert!(!kernel.verbs().contains(&"fchown".to_owned()));
    }
}

fn link(kernel: &Fake, replace: bool) -> Result<(), Error> {
    let root = Root::new(kernel, kernel.descriptor("root"));
    let (target, path) = (Path::new("pts/ptmx"), Path::new("/dev/ptmx"));
    device::link(kernel, &root, &mut device::Directory::default(), target, path, replace)
}

#[test]
fn a_link_replaces_what_is_there_only_if_it_shall() {
    let kernel = Fake::new();
    kernel.fail_on("symlinkat", Errno::EXIST);
    link(&kernel, false).unwrap();
    assert_eq!(kernel.verbs(), ["open_in_root", "symlinkat"]);
    let kernel = Fake::new();
    kernel.fail_on("unlinkat", Errno::NOENT);
    link(&kernel, true).unwrap();
    assert_eq!(
        kernel.calls()[1..],
        [r#"unlinkat(root/dev, "ptmx", file)"#, r#"symlinkat("pts/ptmx", root/dev, "ptmx")"#]
    );
    let kernel = Fake::new();
    kernel.fail_on("unlinkat", Errno::ISDIR);
    assert_eq!(link(&kernel, true).unwrap_err().errno(), Some(Errno::ISDIR));
}

#[test]
fn devices_of_one_directory_look_for_it_once() {
    let kernel = Fake::new();
    let root = Root::new(&kernel, kernel.descriptor("root"));
    let mut directory = device::Directory::default();
    for path in ["/dev/a", "/dev/b", "/dev/sub/c", "/dev/d"] {
        let device = Device { path: path.into(), ..fuse() };
        device::device(&kernel, &root, &mut directory, &device, Way::Either).unwrap();
    }
    let opened: Vec<_> = kernel.calls().into_iter().filter(|call| call.starts_with("open_in_root")).collect();
    assert_eq!(opened.len(), 3, "{opened:#?}");
}

#[test]
fn streams_on_the_null_device_become_the_containers() {
    let kernel = Fake::new();
    let null = stat(FileType::CharacterDevice, 0o666, makedev(1, 3));
    for name in ["fd 0", "fd 2", "root/dev/null"] {
        kernel.set_stat(name, null);
    }
    let root = root_with_descriptors(&kernel);
    device::reopen_null(&kernel, &root).unwrap();
    let calls = kernel.calls();
    let place = |call: &str| calls.iter().position(|known| known.starts_with(call)).expect(call);
    let looked = place(r#"open_in_root(root, "/dev/null", NOFOLLOW|PATH, 0o0)"#);
    let order = [looked, place("fstat(root/dev/null)"), place("reopen(/proc/self/fd, root/dev/null, RDWR)")];
    assert!(order.is_sorted(), "{calls:#?}");
    let put: Vec<_> = calls.iter().filter(|call| call.starts_with("dup_onto")).collect();
    assert_eq!(put, ["dup_onto(root/dev/null, 0)", "dup_onto(root/dev/null, 2)"]);
    assert_eq!(calls.iter().filter(|call| call.contains("\"/dev/null\"")).count(), 1, "opened once");
}

#[test]
fn a_null_device_that_is_something_else_is_refused() {
    for other in [
        stat(FileType::CharacterDevice, 0o666, makedev(1, 5)),
        stat(FileType::BlockDevice, 0o666, makedev(1, 3)),
        stat(FileType::RegularFile, 0o666, makedev(1, 3)),
    ] {
        let kernel = Fake::new();
        kernel.set_stat("fd 1", stat(FileType::CharacterDevice, 0o666, makedev(1, 3)));
        kernel.set_stat("root/dev/null", other);
        let root = root_with_descriptors(&kernel);
        let error = device::reopen_null(&kernel, &root).unwrap_err();
        assert_eq!(error.to_string(), "container's /dev/null is invalid: not the null device");
        assert!(!kernel.verbs().iter().any(|verb| verb == "dup_onto" || verb == "reopen"));
    }
}

fn terminal(kernel: &Fake) -> Result<(), Error> {
    let root = root_with_descriptors(kernel);
    let channel = kernel.descriptor("channel");
    console::terminal(kernel, &root, channel.as_fd(), Some((80, 25)), 1000, true)
}

fn with_multiplexer(kind: FileType, number: u64) -> Fake {
    let kernel = Fake::new();
    kernel.set_stat("root/dev/ptmx", stat(kind, 0o666, number));
    kernel
}

#[test]
fn a_terminal_is_opened_from_its_master_and_handed_over() {
    let kernel = with_multiplexer(FileType::CharacterDevice, makedev(5, 2));
    terminal(&kernel).unwrap();
    let calls = kernel.calls();
    let place = |call: &str| {
        calls.iter().position(|known| known == call).unwrap_or_else(|| panic!("{call}: {calls:#?}"))
    };
    let order = [
        "open_terminal(root/dev/ptmx)",
        "set_window_size(terminal of root/dev/ptmx, 80, 25)",
        "move_mount(tree of terminal of root/dev/ptmx, root/dev/console)",
        "fchown(terminal of root/dev/ptmx, 1000, 0)",
        r#"send(channel, "t", root/dev/ptmx)"#,
        "set_controlling_terminal(terminal of root/dev/ptmx)",
        "dup_onto(terminal of root/dev/ptmx, 0)",
        "dup_onto(terminal of root/dev/ptmx, 1)",
        "dup_onto(terminal of root/dev/ptmx, 2)",
    ];
    assert!(order.map(place).is_sorted(), "{calls:#?}");
}

/// Behind the name may be anything of the image's (CVE-2025-52565).
#[test]
fn a_multiplexer_that_is_none_is_refused() {
    for kernel in [
        with_multiplexer(FileType::BlockDevice, makedev(5, 2)),
        with_multiplexer(FileType::CharacterDevice, makedev(10, 130)),
        Fake::new(),
    ] {
        let error = terminal(&kernel).unwrap_err();
        assert!(error.to_string().contains("multiplexer"), "{error}");
        assert!(!kernel.verbs().iter().any(|verb| verb == "open_terminal" || verb == "reopen"));
    }
}

#[test]
fn a_console_that_is_a_link_is_refused() {
    let kernel = with_multiplexer(FileType::CharacterDevice, makedev(5, 2));
    kernel.fail_on(r#"open_in_root(root/dev, "console", CREATE"#, Errno::EXIST);
    kernel.set_stat("root/dev/console", stat(FileType::Symlink, 0o777, 0));
    assert_eq!(terminal(&kernel).unwrap_err().to_string(), "/dev/console is a symbolic link");
}
