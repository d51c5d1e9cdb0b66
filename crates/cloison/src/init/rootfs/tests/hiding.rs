//! Masked and read-only paths.

use std::path::PathBuf;

use cloison_linux::fake::{Fake, stat};
use cloison_linux::makedev;

use super::*;
use crate::init::error::Error;
use crate::plan::action::Masks;

fn mask(kernel: &Fake, paths: &[&str]) -> Result<(), Error> {
    let root = Root::new(kernel, kernel.descriptor("root"));
    hide::mask(kernel, &root, &Masks { paths: paths.iter().map(PathBuf::from).collect(), label: None })
}

/// A kernel on which these paths are files.
fn with_files(paths: &[&str]) -> Fake {
    let kernel = Fake::new();
    let null = stat(FileType::CharacterDevice, 0o666, makedev(1, 3));
    kernel.set_stat("root/dev/null", null);
    kernel.set_stat("tree of root/dev/null", null);
    for path in paths {
        kernel.set_stat(&format!("root{path}"), stat(FileType::RegularFile, 0o444, 0));
    }
    kernel
}

fn moved(kernel: &Fake) -> Vec<String> {
    kernel.calls().into_iter().filter(|call| call.starts_with("move_mount(")).collect()
}

#[test]
fn directories_share_one_empty_file_system_and_files_one_device() {
    let kernel = with_files(&["/file", "/other-file"]);
    mask(&kernel, &["/file", "/dir", "/other-dir", "/other-file", "/dir"]).unwrap();
    assert_eq!(
        moved(&kernel),
        [
            "move_mount(tree of root/dev/null, root/file)",
            "move_mount(mount of tmpfs, root/dir)",
            "move_mount(tree of mount of tmpfs, root/other-dir)",
            "move_mount(tree of root/dev/null, root/other-file)",
        ],
        "and each path is masked once"
    );
    let count = |text: &str| kernel.calls().iter().filter(|call| call.contains(text)).count();
    assert_eq!((count("fsopen("), count("\"/dev/null\"")), (1, 1));
    assert_eq!(count("fsmount(tmpfs, 0, RDONLY)"), 1);
    assert_eq!(count("fsconfig_flag(tmpfs, \"ro\")"), 1);
}

#[test]
fn what_is_not_there_needs_no_mask() {
    for errno in [Errno::NOENT, Errno::NOTDIR] {
        let kernel = with_files(&[]);
        kernel.fail_on(r#"open_in_root(root, "/gone""#, errno);
        mask(&kernel, &["/gone", "/dir"]).unwrap();
        assert_eq!(moved(&kernel), ["move_mount(mount of tmpfs, root/dir)"]);
    }
    let kernel = with_files(&[]);
    kernel.fail_on(r#"open_in_root(root, "/secret""#, Errno::ACCESS);
    let error = mask(&kernel, &["/secret"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "masking /secret: permission denied",
        "but what cannot be seen is not left open"
    );
}

#[test]
fn a_file_is_never_masked_by_something_that_has_taken_the_null_devices_name() {
    for other in [stat(FileType::CharacterDevice, 0o666, makedev(1, 5)), stat(FileType::Symlink, 0o777, 0)] {
        let kernel = with_files(&["/file"]);
        kernel.set_stat("root/dev/null", other);
        let error = mask(&kernel, &["/file"]).unwrap_err();
        assert!(error.to_string().contains("/dev/null is invalid"), "{error}");
        assert_eq!(moved(&kernel), [""; 0]);
    }
}

#[test]
fn kernels_that_refuse_one_inode_get_two() {
    let kernel = with_files(&[]);
    kernel.fail_on(r#"fsconfig_string(tmpfs, "nr_inodes", "1")"#, Errno::INVAL);
    mask(&kernel, &["/dir"]).unwrap();
    assert!(kernel.calls().contains(&r#"fsconfig_string(tmpfs, "nr_inodes", "2")"#.into()));
}

#[test]
fn a_read_only_path_is_bound_onto_itself_before_it_is_seen() {
    let kernel = Fake::new();
    let root = Root::new(&kernel, kernel.descriptor("root"));
    hide::read_only(&kernel, &root, Path::new("/proc/sys")).unwrap();
    assert_eq!(
        kernel.calls(),
        [
            r#"open_in_root(root, "/proc/sys", PATH, 0o0)"#,
            "open_tree(root/proc/sys, OPEN_TREE_CLONE|AT_RECURSIVE)",
            "mount_setattr(tree of root/proc/sys, alone, +RDONLY, -0, same propagation, no idmap)",
            "move_mount(tree of root/proc/sys, root/proc/sys)",
        ]
    );
    let kernel = Fake::new();
    kernel.fail_on("mount_setattr", Errno::NOSYS);
    hide::read_only(&kernel, &Root::new(&kernel, kernel.descriptor("root")), Path::new("/proc/sys")).unwrap();
    let last = "remount_attributes(tree of root/proc/sys, alone, +RDONLY, -0, same propagation)";
    assert_eq!(kernel.calls().last().unwrap(), last, "before Linux 5.12, on the mount that is attached");
    let kernel = Fake::new();
    kernel.fail_at(0, Errno::NOENT);
    hide::read_only(&kernel, &Root::new(&kernel, kernel.descriptor("root")), Path::new("/gone")).unwrap();
    assert_eq!(kernel.calls().len(), 1);
}

/// Whoever shares the root file system can move the directory that is covered, with the procfs on it.
#[test]
fn what_is_in_the_procfs_is_hidden_in_the_one_that_was_mounted() {
    let kernel = with_files(&[]);
    kernel.set_stat("procfs/kcore", stat(FileType::RegularFile, 0o400, 0));
    let mut root = Root::new(&kernel, kernel.descriptor("root"));
    root.mounted(Path::new("/proc"), Some(kernel.descriptor("procfs").into()));
    let paths = vec!["/proc/kcore".into(), "/proc/acpi".into()];
    hide::mask(&kernel, &root, &Masks { paths, label: Some("l:c1,c2".into()) }).unwrap();
    assert!(kernel.calls().contains(&r#"fsconfig_string(tmpfs, "context", "l:c1,c2")"#.to_owned()));
    hide::read_only(&kernel, &root, Path::new("/proc/sys")).unwrap();
    let expected = [
        "move_mount(tree of root/dev/null, procfs/kcore)",
        "move_mount(mount of tmpfs, procfs/acpi)",
        "move_mount(tree of procfs/sys, procfs/sys)",
    ];
    assert_eq!(moved(&kernel), expected);
}

#[test]
fn paths_that_are_not_the_procfss_own_are_looked_up_from_the_root() {
    let kernel = with_files(&[]);
    kernel.fail_on(r#"open_in_root(procfs, "fs/link""#, Errno::NOENT);
    let mut root = Root::new(&kernel, kernel.descriptor("root"));
    root.mounted(Path::new("/proc"), Some(kernel.descriptor("procfs").into()));
    for path in ["/proc", "/process", "/proc/../etc", "/proc/fs/link"] {
        hide::read_only(&kernel, &root, Path::new(path)).unwrap();
        assert!(moved(&kernel).last().unwrap().ends_with(&format!("root{path})")), "{path}");
    }
    root.mounted(Path::new("/proc"), None);
    hide::read_only(&kernel, &root, Path::new("/proc/sys")).unwrap();
    assert!(moved(&kernel).last().unwrap().ends_with("root/proc/sys)"), "it is covered by something else");
}
