//! The real kernel, asked through the trait, in namespaces of its own: as root, or as anybody where user
//! namespaces are allowed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cloison_linux::launch::{self, Launch, LaunchProgram, LaunchStep};
use cloison_linux::mount::MountAttr;
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Ending, Fork, wait_pidfd};
use cloison_linux::remount::Reach;
use cloison_linux::{
    Errno, FsMountFlags, Kernel, Linux, Mode, MountAttrFlags, MountFlags, MountPropagationFlags, OFlags,
    OpenTreeFlags, Resource, Rlimit,
};

/// Runs `body` in a child with new namespaces, and fails with its words if it fails.
fn inside(namespaces: NamespaceFlags, body: impl FnOnce() -> Result<(), String>) {
    let user = if is_root() { NamespaceFlags::empty() } else { NamespaceFlags::USER };
    let (ours, theirs) = Linux.socketpair().unwrap();
    let request = CloneRequest { namespaces: namespaces | user, cgroup: None, as_sibling: false };
    match Linux.clone3(&request) {
        Ok(Fork::Child) => {
            let mapped = Linux.receive(theirs.as_fd()).map(drop).map_err(|error| error.to_string());
            let error = mapped.and_then(|()| body()).err();
            if let Some(error) = &error {
                Linux.send(theirs.as_fd(), error.as_bytes(), None).unwrap();
            }
            std::process::exit(error.is_some().into())
        }
        Ok(Fork::Parent { pid, pidfd }) => {
            drop(theirs);
            if request.namespaces.contains(NamespaceFlags::USER) {
                map_to_root(pid.as_raw_pid());
            }
            Linux.send(ours.as_fd(), b"mapped", None).unwrap();
            let said = Linux.receive(ours.as_fd()).unwrap();
            assert_eq!(String::from_utf8_lossy(&said.bytes), "");
            assert_eq!(wait_pidfd(pidfd.as_fd()).unwrap(), Ending::Exited(0));
        }
        Err(error @ (Errno::PERM | Errno::NOSPC)) => eprintln!("skipped: no namespaces here: {error}"),
        Err(error) => panic!("clone3: {error}"),
    }
}

/// Makes the caller's ids root's in the user namespace of a child.
fn map_to_root(pid: i32) {
    let identity = cloison_linux::process::identity().unwrap();
    let (uids, gids) = (format!("0 {} 1", identity.uid), format!("0 {} 1", identity.gid));
    for (file, content) in [("setgroups", "deny"), ("uid_map", &uids), ("gid_map", &gids)] {
        std::fs::write(format!("/proc/{pid}/{file}"), content).unwrap();
    }
}

fn is_root() -> bool {
    cloison_linux::process::identity().unwrap().uid == 0
}

/// Says which call failed.
fn at<T>(what: &str, result: cloison_linux::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn check(right: bool, what: &str) -> Result<(), String> {
    if right { Ok(()) } else { Err(what.to_owned()) }
}

/// A tmpfs of this mount namespace alone, as a detached mount.
fn tmpfs(attributes: MountAttrFlags) -> Result<OwnedFd, String> {
    at(
        "propagation",
        Linux.mount_propagation(Path::new("/"), MountPropagationFlags::PRIVATE | MountPropagationFlags::REC),
    )?;
    let fs = at("fsopen", Linux.fsopen("tmpfs"))?;
    at("size", Linux.fsconfig_string(fs.as_fd(), "size", "64k"))?;
    at("create", Linux.fsconfig_create(fs.as_fd()))?;
    at("fsmount", Linux.fsmount(fs.as_fd(), FsMountFlags::empty(), attributes))
}

#[test]
fn detached_mount_is_attached_changed_and_entered() {
    inside(NamespaceFlags::MOUNT, || {
        let mount = tmpfs(MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        let root = mount.as_fd();
        at("mkdirat", Linux.mkdirat(root, Path::new("inner"), Mode::from_raw_mode(0o755)))?;
        let target = at("open", Linux.open(Path::new("/mnt"), OFlags::PATH, Mode::empty()))?;
        at("move_mount", Linux.move_mount(root, target.as_fd()))?;

        let inner = at("open", Linux.open_in_root(root, Path::new("inner"), OFlags::PATH, Mode::empty()))?;
        let tree = at("open_tree", Linux.open_tree(inner.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE))?;
        let attr = MountAttr {
            set: MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOATIME,
            propagation: Some(MountPropagationFlags::PRIVATE),
            ..MountAttr::default()
        };
        match Linux.mount_setattr(tree.as_fd(), true, &attr) {
            Err(Errno::NOSYS) => {
                eprintln!("skipped: the attributes of a clone: needs mount_setattr(2), Linux 5.12");
            }
            set => {
                at("mount_setattr", set)?;
                let refused = Linux.mkdirat(tree.as_fd(), Path::new("x"), Mode::from_raw_mode(0o755));
                check(refused == Err(Errno::ROFS), "the clone is read-only")?;
            }
        }

        at("fchdir", Linux.fchdir(root))?;
        at("pivot_root", Linux.pivot_root_here())?;
        at("umount", Linux.umount_detach(Path::new(".")))?;
        at("chdir", Linux.fchdir(root))?;
        check(at("getcwd", Linux.getcwd())? == Path::new("/"), "we are at the root")?;
        check(Path::new("/inner").is_dir() && !Path::new("/proc").exists(), "the old root is gone")
    });
}

#[test]
fn attributes_are_changed_without_mount_setattr() {
    inside(NamespaceFlags::MOUNT, || {
        let mount = tmpfs(MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        let root = mount.as_fd();
        let mode = Mode::from_raw_mode(0o755);
        at("mkdirat", Linux.mkdirat(root, Path::new("in side"), mode))?;
        let read_only = MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        let detached = Linux.remount_attributes(root, Reach::Alone, &read_only);
        check(detached == Err(Errno::INVAL), "a detached mount is refused")?;
        let target = at("open", Linux.open(Path::new("/mnt"), OFlags::PATH, Mode::empty()))?;
        at("move_mount", Linux.move_mount(root, target.as_fd()))?;
        let inner = tmpfs(MountAttrFlags::empty())?;
        let place = at("open", Linux.open_in_root(root, Path::new("in side"), OFlags::PATH, Mode::empty()))?;
        at("move_mount", Linux.move_mount(inner.as_fd(), place.as_fd()))?;

        let writable = |fd, name: &str| Linux.mkdirat(fd, Path::new(name), mode);
        at("remount", Linux.remount_attributes(root, Reach::Alone, &read_only))?;
        check(writable(root, "x") == Err(Errno::ROFS), "it is read-only")?;
        check(writable(inner.as_fd(), "x").is_ok(), "what is below it is not")?;
        let options = |point: &str| {
            let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            let line = table.lines().find(|line| line.split(' ').nth(4) == Some(point)).unwrap().to_owned();
            line.split(' ').nth(5).unwrap().to_owned()
        };
        check(options("/mnt") == "ro,nosuid,relatime", &options("/mnt"))?;
        at("remount", Linux.remount_attributes(root, Reach::Recursive, &read_only))?;
        check(writable(inner.as_fd(), "y") == Err(Errno::ROFS), "what is below it is, too")?;
        let noatime = MountAttr {
            set: MountAttrFlags::MOUNT_ATTR_NOATIME,
            clear: MountAttrFlags::MOUNT_ATTR_RDONLY,
            propagation: Some(MountPropagationFlags::SHARED),
            ..MountAttr::default()
        };
        at("remount", Linux.remount_attributes(root, Reach::Recursive, &noatime))?;
        check(writable(inner.as_fd(), "y").is_ok(), "no longer")?;
        check(options("/mnt") == "rw,nosuid,noatime", &options("/mnt"))?;
        check(options(r"/mnt/in\040side") == "rw,noatime", &options(r"/mnt/in\040side"))?;

        // A file, whose mount has no directory to stand in.
        let create = OFlags::CREATE | OFlags::RDWR;
        let file = at("file", Linux.open(Path::new("/mnt/file"), create, mode))?;
        let tree = at("open_tree", Linux.open_tree(file.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE))?;
        at("move_mount", Linux.move_mount(tree.as_fd(), file.as_fd()))?;
        let here = at("getcwd", Linux.getcwd())?;
        at("remount", Linux.remount_attributes(tree.as_fd(), Reach::Alone, &read_only))?;
        check(at("getcwd", Linux.getcwd())? == here, "the working directory is what it was")?;
        check(
            Linux.open(Path::new("/mnt/file"), OFlags::RDWR, mode).err() == Some(Errno::ROFS),
            "the file is read-only",
        )?;

        let cover = tmpfs(MountAttrFlags::empty())?;
        let place = at("open", Linux.open(Path::new("/mnt/in side"), OFlags::PATH, Mode::empty()))?;
        at("move_mount", Linux.move_mount(cover.as_fd(), place.as_fd()))?;
        let covered = Linux.remount_attributes(root, Reach::Recursive, &read_only);
        check(covered == Err(Errno::BUSY), "a mount that nobody can reach is told of")
    });
}

#[test]
fn mounts_in_a_directory_that_is_closed_are_told_of_or_left_if_that_is_said() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    inside(NamespaceFlags::MOUNT, || {
        let open = |path: &str| at("open", Linux.open(Path::new(path), OFlags::PATH, Mode::empty()));
        let mounted = |path: &str| {
            let mount = tmpfs(MountAttrFlags::empty())?;
            at("move_mount", Linux.move_mount(mount.as_fd(), open(path)?.as_fd()))?;
            Ok::<_, String>(mount)
        };
        let mode = Mode::from_raw_mode(0o700);
        let root = mounted("/mnt")?;
        at("mkdirat", Linux.mkdirat(root.as_fd(), Path::new("closed"), mode))?;
        let closed = mounted("/mnt/closed")?;
        at("chmod", rustix::fs::chmodat(rustix::fs::CWD, "/mnt/closed", mode, rustix::fs::AtFlags::empty()))?;
        at("mkdirat", Linux.mkdirat(closed.as_fd(), Path::new("inner"), mode))?;
        let inner = mounted("/mnt/closed/inner")?;

        let read_only = MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        Linux.set_fs_ids(4242, 4242);
        let told = Linux.remount_attributes(root.as_fd(), Reach::Recursive, &read_only);
        let left = Linux.remount_attributes(root.as_fd(), Reach::Reachable, &read_only);
        Linux.set_fs_ids(0, 0);
        check(told == Err(Errno::ACCESS), &format!("the closed directory is told of: {told:?}"))?;
        at("remount", left)?;
        let writable = |fd: &OwnedFd| Linux.mkdirat(fd.as_fd(), Path::new("x"), mode);
        check(writable(&root) == Err(Errno::ROFS), "it is read-only")?;
        check(writable(&closed) == Err(Errno::ROFS), "so is what can be reached")?;
        check(writable(&inner).is_ok(), "what cannot is as it was")
    });
}

#[test]
fn old_calls_mount_and_remount_by_descriptor() {
    inside(NamespaceFlags::MOUNT, || {
        drop(tmpfs(MountAttrFlags::empty())?);
        let open =
            || at("open", Linux.open(Path::new("/mnt"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()));
        at("mount", Linux.mount("none", open()?.as_fd(), "tmpfs", MountFlags::NODEV, "size=64k,mode=700"))?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
        at("remount", Linux.remount(open()?.as_fd(), flags, ""))?;
        let refused = Linux.mkdirat(open()?.as_fd(), Path::new("x"), Mode::from_raw_mode(0o755));
        check(refused == Err(Errno::ROFS), "it is read-only")
    });
}

#[test]
fn kernel_tells_why_a_file_system_is_not_made() {
    inside(NamespaceFlags::MOUNT, || {
        let fs = at("fsopen", Linux.fsopen("tmpfs"))?;
        let refused = Linux.fsconfig_string(fs.as_fd(), "no-such-option", "1");
        check(refused == Err(Errno::INVAL), "the option is refused")?;
        let log = Linux.fs_log(fs.as_fd());
        check(log.contains("no-such-option") && !log.starts_with("e "), &log)?;
        check(Linux.fs_log(fs.as_fd()).is_empty(), "the log is read once")
    });
}

#[test]
fn loopback_comes_up() {
    inside(NamespaceFlags::NETWORK, || {
        let listen =
            || std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.connect("127.0.0.1:9"));
        check(listen().is_err(), "there is no way to loopback yet")?;
        at("loopback_up", Linux.loopback_up())?;
        listen().map_err(|error| error.to_string())
    });
}

#[test]
fn names_of_the_machine_are_set() {
    inside(NamespaceFlags::UTS, || {
        at("sethostname", Linux.sethostname("box"))?;
        at("setdomainname", Linux.setdomainname("example"))?;
        let read = |name| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        check(read("hostname") == "box\n" && read("domainname") == "example\n", "both are told")
    });
}

#[test]
fn session_keyring_is_new_and_its_permissions_are_widened() {
    inside(NamespaceFlags::empty(), || match Linux.join_session_keyring(c"_ses.cloison-test") {
        Err(error @ (Errno::NOSYS | Errno::DQUOT)) => {
            eprintln!("skipped: no keyrings here: {error}");
            Ok(())
        }
        joined => {
            let serial = at("join", joined)?;
            // The owner's right to search, which a process needs to find it in its session.
            at("permissions", Linux.keyring_permissions(serial, 0xffff_ffff, 0x0008_0000))?;
            let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
            let line =
                keys.lines().find(|line| line.starts_with(&format!("{serial:08x}"))).unwrap_or_default();
            check(line.contains("_ses.cloison-test"), &format!("the keyring is in {keys}"))?;
            let permissions =
                line.split_whitespace().nth(4).and_then(|field| u32::from_str_radix(field, 16).ok());
            check(permissions.is_some_and(|bits| bits & 0x0008_0000 != 0), line)
        }
    });
}

#[test]
fn ids_are_taken_and_groups_left() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    inside(NamespaceFlags::empty(), || {
        at("become_ids", Linux.become_ids(12, 34, true))?;
        let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
        let has = |line| status.lines().any(|found| found == line);
        check(has("Uid:\t12\t12\t12\t12") && has("Gid:\t34\t34\t34\t34") && has("Groups:\t "), &status)
    });
}

#[test]
fn file_identity_is_taken_and_given_back() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    inside(NamespaceFlags::empty(), || {
        let shadow = || Linux.open(Path::new("/etc/shadow"), OFlags::RDONLY, Mode::empty()).map(drop);
        at("as root", shadow())?;
        Linux.set_fs_ids(4242, 4242);
        check(shadow() == Err(Errno::ACCESS), "another user may not read it")?;
        Linux.set_fs_ids(0, 0);
        at("as root again", shadow())
    });
}

#[test]
fn nothing_is_left_open_for_the_program_and_its_limits_hold() {
    inside(NamespaceFlags::empty(), || {
        let (ours, theirs) = at("socketpair", Linux.socketpair())?;
        for number in [7, 42, 1000] {
            at("dup_onto", Linux.dup_onto(ours.as_fd(), number))?;
        }
        let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: false };
        match at("clone3", Linux.clone3(&request))? {
            Fork::Child => {
                let _ = Linux.dup_onto(theirs.as_fd(), 1);
                let limit = Rlimit { current: Some(77), maximum: Some(78) };
                let program = LaunchProgram { candidates: vec![c"/bin/sh".to_owned()] };
                let script = c"echo /proc/self/fd/* $(ulimit -Sn) $(ulimit -Hn)".to_owned();
                let errno = Linux.launch(Launch {
                    early: Vec::new(),
                    steps: vec![LaunchStep::CloseFrom(3), LaunchStep::Limit(Resource::Nofile, limit)],
                    program,
                    args: vec![c"sh".to_owned(), c"-c".to_owned(), script],
                    env: vec![],
                    report: Some(theirs),
                    handshake: None,
                    wait: None,
                    pad: None,
                });
                std::process::exit(errno.raw_os_error())
            }
            Fork::Parent { pidfd, .. } => {
                let said = at("receive", Linux.receive(ours.as_fd()))?;
                let said = String::from_utf8_lossy(&said.bytes).into_owned();
                at("wait", wait_pidfd(pidfd.as_fd()))?;
                // The shell itself opens /proc/self/fd while it looks there.
                let open: Vec<_> = said.split_whitespace().filter(|word| word.starts_with("/proc")).collect();
                check(open.len() <= 4 && !said.contains("/42") && !said.contains("/1000"), &said)?;
                check(said.contains(" 77 78"), &said)
            }
        }
    });
}

#[test]
fn switch_works_in_a_user_namespace_of_an_unprivileged_user() {
    if !launch::exe_switch_supported() {
        eprintln!("skipped: the executable cannot be switched here");
        return;
    }
    let pad = launch::prepare_pad().unwrap();
    inside(NamespaceFlags::USER | NamespaceFlags::PID, || {
        let program = LaunchProgram { candidates: vec![c"/bin/true".to_owned()] };
        let args = vec![c"true".to_owned()];
        let (report, handshake, wait) = (None, None, None);
        let env = vec![];
        let launch = Launch {
            early: vec![],
            steps: vec![],
            program,
            args,
            env,
            report,
            handshake,
            wait,
            pad: Some(pad),
        };
        at("launch", Err(Linux.launch(launch)))
    });
}
