use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::mount::{FsMountFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::process::Signal;

use super::*;
use crate::kernel::Kernel;
use crate::launch::{Launch, LaunchProgram, LaunchStep};
use crate::mount::MountAttr;
use crate::namespace::NamespaceFlags;
use crate::process::{CloneRequest, Fork};

#[test]
fn descriptors_are_shown_by_what_they_were_opened_from() {
    let kernel = Fake::new();
    let root = kernel.open(Path::new("/bundle/rootfs"), OFlags::PATH, Mode::empty()).unwrap();
    let dev = kernel.open_in_root(root.as_fd(), Path::new("/dev/"), OFlags::PATH, Mode::empty()).unwrap();
    let tree = kernel.open_tree(dev.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE).unwrap();
    let fs = kernel.fsopen("tmpfs").unwrap();
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = kernel.fsmount(fs.as_fd(), FsMountFlags::empty(), attributes).unwrap();
    kernel.move_mount(mount.as_fd(), tree.as_fd()).unwrap();
    assert_eq!(
        kernel.calls(),
        [
            r#"open("/bundle/rootfs", PATH, 0o0)"#,
            r#"open_in_root(/bundle/rootfs, "/dev/", PATH, 0o0)"#,
            "open_tree(/bundle/rootfs/dev, OPEN_TREE_CLONE)",
            r#"fsopen("tmpfs")"#,
            "fsmount(tmpfs, 0, NOSUID|NODEV)",
            "move_mount(mount of tmpfs, tree of /bundle/rootfs/dev)",
        ]
    );
    assert_eq!(kernel.verbs()[5], "move_mount");
}

#[test]
fn foreign_descriptor_is_shown_by_its_number() {
    let kernel = Fake::new();
    let file = std::fs::File::open("/dev/null").unwrap();
    kernel.fchdir(file.as_fd()).unwrap();
    assert_eq!(kernel.calls(), [format!("fchdir(fd {})", file.as_raw_fd())]);
}

#[test]
fn call_at_its_place_fails_and_is_recorded() {
    let kernel = Fake::new();
    kernel.fail_at(1, Errno::NOSPC);
    assert_eq!(kernel.setsid(), Ok(()));
    assert_eq!(kernel.sethostname("box"), Err(Errno::NOSPC));
    assert_eq!(kernel.sethostname("box"), Ok(()));
    assert_eq!(kernel.verbs(), ["setsid", "sethostname", "sethostname"]);
}

#[test]
fn every_call_of_a_kind_fails() {
    let kernel = Fake::new();
    kernel.fail_on("mount_setattr", Errno::NOSYS);
    kernel.fail_on("mkdirat(rootfs, \"dev\"", Errno::EXIST);
    let root = kernel.descriptor("rootfs");
    let attr = MountAttr {
        set: MountAttrFlags::MOUNT_ATTR_RDONLY,
        propagation: Some(MountPropagationFlags::PRIVATE),
        userns: Some(root.as_fd()),
        ..MountAttr::default()
    };
    assert_eq!(kernel.mount_setattr(root.as_fd(), true, &attr), Err(Errno::NOSYS));
    assert_eq!(kernel.calls()[0], "mount_setattr(rootfs, recursive, +RDONLY, -0, PRIVATE, idmap rootfs)");
    let mode = Mode::from_raw_mode(0o755);
    assert_eq!(kernel.mkdirat(root.as_fd(), Path::new("dev"), mode), Err(Errno::EXIST));
    assert_eq!(kernel.mkdirat(root.as_fd(), Path::new("proc"), mode), Ok(()));
}

#[test]
fn closed_descriptor_is_no_longer_open_even_if_its_number_is_used_again() {
    let kernel = Fake::new();
    let kept = kernel.descriptor("kept");
    // The lowest number is given again, but maybe to another thread of the tests, which may close it at any time.
    let _again = loop {
        let closed = kernel.descriptor("closed");
        let number = closed.as_raw_fd();
        drop(closed);
        let again = std::fs::File::open("/dev/null").unwrap();
        if again.as_raw_fd() == number {
            break again;
        }
    };
    assert_eq!(kernel.open_descriptors(), ["kept"]);
    drop(kept);
    assert!(kernel.open_descriptors().is_empty());
}

#[test]
fn answers_are_those_that_were_told() {
    let kernel = Fake::new();
    let root = kernel.descriptor("rootfs");
    kernel.set_link("rootfs/fd", "/proc/self/fd");
    kernel.set_content("rootfs", "content");
    kernel.set_entries("rootfs", &["a", "b"]);
    kernel.set_stat("rootfs", stat(FileType::CharacterDevice, 0o666, rustix::fs::makedev(1, 3)));
    kernel.set_file_system("rootfs", 0x9fa0);
    kernel.set_working_directory("(unreachable)/");
    kernel.set_fs_log("no such option");
    kernel.push_message("mapped", None);

    let fd = root.as_fd();
    assert_eq!(kernel.readlinkat(fd, Path::new("fd")).unwrap(), Path::new("/proc/self/fd"));
    assert_eq!(kernel.readlinkat(fd, Path::new("other")), Err(Errno::INVAL));
    assert_eq!(kernel.read_to_end(fd, 7).unwrap(), b"content");
    assert_eq!(kernel.read_to_end(fd, 6), Err(Errno::FBIG));
    assert_eq!(kernel.read_dir(fd).unwrap(), [Path::new("a"), Path::new("b")]);
    let told = kernel.fstat(fd).unwrap();
    assert_eq!((told.st_mode, rustix::fs::minor(told.st_rdev)), (0o020_666, 3));
    assert_eq!(kernel.fstatfs(fd).unwrap().f_type, 0x9fa0);
    assert_eq!(kernel.getcwd().unwrap(), Path::new("(unreachable)/"));
    assert_eq!(kernel.fs_log(fd), "no such option");
    assert_eq!(kernel.receive(fd).unwrap().bytes, b"mapped");
    assert!(kernel.receive(fd).unwrap().bytes.is_empty());

    let other = kernel.descriptor("other");
    assert_eq!(kernel.fstat(other.as_fd()).unwrap().st_mode, 0o040_755);
}

#[test]
fn child_has_a_pid_that_nobody_can_have() {
    let kernel = Fake::new();
    let request = CloneRequest {
        namespaces: NamespaceFlags::PID | NamespaceFlags::MOUNT,
        cgroup: None,
        as_sibling: false,
    };
    let Fork::Parent { pid, pidfd } = kernel.clone3(&request).unwrap() else {
        panic!("the child was not asked for")
    };
    assert!(pid.as_raw_pid() > 0x40_0000, "Linux gives at most 2^22");
    kernel.pidfd_send_signal(pidfd.as_fd(), Signal::KILL).unwrap();
    assert_eq!(kernel.calls(), ["clone3(pid,mnt, no cgroup, child)", "pidfd_send_signal(pidfd 1, 9)"]);
    kernel.be_child();
    assert!(matches!(kernel.clone3(&request), Ok(Fork::Child)));
}

#[test]
fn launch_is_recorded_with_its_steps() {
    let kernel = Fake::new();
    let launch = Launch {
        early: Vec::new(),
        steps: vec![LaunchStep::SetGid(1), LaunchStep::SetUid(2)],
        program: LaunchProgram { candidates: vec![CString::new("/bin/true").unwrap()] },
        args: Vec::new(),
        env: Vec::new(),
        report: None,
        handshake: None,
        wait: None,
        pad: None,
    };
    assert_eq!(kernel.launch(launch), Errno::CANCELED);
    assert_eq!(kernel.calls(), ["launch(become group 1; become user 2; execute /bin/true)"]);
}
