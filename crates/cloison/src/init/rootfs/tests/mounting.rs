//! One mount, on a kernel that records.

use std::path::PathBuf;

use cloison_linux::fake::{Fake, stat};

use super::*;
use crate::init::error::Error;
use crate::plan::action::{MountSource, MountStep};
use crate::plan::mount_options::MountOptions;

const PROC_SUPER_MAGIC: u32 = 0x9fa0;

fn file_system(fs_type: &str, destination: &str, options: &[&str]) -> MountStep {
    let source = MountSource::FileSystem { fs_type: fs_type.into(), source: fs_type.into() };
    let options = MountOptions::parse(options);
    MountStep {
        destination: destination.into(),
        source,
        options,
        read_only_late: false,
        or_bind: None,
        mapped_when_opened: false,
    }
}

fn bind(destination: &str, options: &[&str]) -> MountStep {
    let source = MountSource::Bind(PathBuf::from("/data"));
    MountStep { source, ..file_system("none", destination, &[&["bind"], options].concat()) }
}

fn mount(kernel: &Fake, step: &MountStep) -> Result<mount::Mounted, Error> {
    mount_prepared(kernel, step, None)
}

fn mount_prepared(kernel: &Fake, step: &MountStep, tree: Option<&OwnedFd>) -> Result<mount::Mounted, Error> {
    let root = Root::new(kernel, kernel.descriptor("root"));
    mount::mount(kernel, &root, step, tree.map(AsFd::as_fd), None)
}

fn calls_of(step: &MountStep) -> Vec<String> {
    let kernel = Fake::new();
    mount(&kernel, step).unwrap();
    let looks = ["fstat(", "fstatfs(", "open_in_root("];
    kernel.calls().into_iter().filter(|call| !looks.iter().any(|look| call.starts_with(look))).collect()
}

#[test]
fn a_file_system_is_made_detached_and_moved_onto_a_descriptor() {
    assert_eq!(
        calls_of(&file_system(
            "ext4",
            "/mnt",
            &["ro", "nosuid", "sync", "data=ordered", "discard", "rro", "rslave"]
        )),
        [
            r#"fsopen("ext4")"#,
            r#"fsconfig_string(ext4, "source", "ext4")"#,
            r#"fsconfig_flag(ext4, "sync")"#,
            r#"fsconfig_flag(ext4, "ro")"#,
            r#"fsconfig_string(ext4, "data", "ordered")"#,
            r#"fsconfig_flag(ext4, "discard")"#,
            "fsconfig_create(ext4)",
            "fsmount(ext4, 0, RDONLY|NOSUID)",
            "mount_setattr(mount of ext4, recursive, +RDONLY, -0, same propagation, no idmap)",
            "move_mount(mount of ext4, root/mnt)",
            "mount_setattr(mount of ext4, recursive, +0, -0, DOWNSTREAM, no idmap)",
        ]
    );
}

/// Before Linux 5.12.
#[test]
fn without_mount_setattr_a_mount_is_attached_first_and_then_gets_all_that_it_should() {
    let kernel = Fake::new();
    kernel.fail_on("mount_setattr", Errno::NOSYS);
    mount(&kernel, &bind("/mnt", &["ro", "nodev", "rnosuid", "rslave"])).unwrap();
    let calls = kernel.calls();
    let begun = calls.iter().position(|call| call.starts_with("move_mount")).unwrap();
    let made: Vec<&str> =
        calls[begun..].iter().map(String::as_str).filter(|call| !call.starts_with("mount_setattr")).collect();
    assert_eq!(
        made,
        [
            "move_mount(tree of /data, root/mnt)",
            "remount_attributes(tree of /data, alone, +RDONLY|NODEV, -NOSUID|NOEXEC|NOSYMFOLLOW, same propagation)",
            "remount_attributes(tree of /data, recursive, +NOSUID, -0, same propagation)",
            "remount_attributes(tree of /data, recursive, +0, -0, DOWNSTREAM)",
        ]
    );
}

/// Before Linux 5.14 `mount_setattr(2)` does not know it, nor does `fsmount(2)`.
#[test]
fn what_newer_calls_do_not_know_is_asked_of_the_older_one() {
    let kernel = Fake::new();
    kernel.fail_on("mount_setattr", Errno::INVAL);
    kernel.fail_on("fsmount(tmpfs, 0, NOSUID|NOSYMFOLLOW)", Errno::INVAL);
    mount(&kernel, &file_system("tmpfs", "/mnt", &["nosuid", "nosymfollow"])).unwrap();
    let last = "remount_attributes(mount of tmpfs, alone, +NOSYMFOLLOW, -0, same propagation)";
    assert_eq!(kernel.calls().last().unwrap(), last, "{:#?}", kernel.calls());
}

#[test]
fn the_hosts_sysfs_is_bound_read_only_whatever_was_asked() {
    let kernel = Fake::new();
    kernel.fail_on("fsconfig_create(sysfs)", Errno::PERM);
    let step = MountStep { or_bind: Some("/sys".into()), ..file_system("sysfs", "/sys", &["nosuid"]) };
    mount(&kernel, &step).unwrap();
    let set = "mount_setattr(tree of /sys, recursive, +RDONLY|NOSUID, -0, same propagation, no idmap)";
    assert!(kernel.calls().iter().any(|call| call == set), "{:#?}", kernel.calls());
}

/// Before Linux 5.12, by mount(2), which cannot be told of a mount in a directory that is closed to an ordinary user.
#[test]
fn of_the_hosts_sysfs_what_cannot_be_reached_is_covered() {
    let kernel = Fake::new();
    kernel.fail_on("fsconfig_create(sysfs)", Errno::PERM);
    kernel.fail_on("mount_setattr", Errno::NOSYS);
    let table = "20 1 0:20 / /sys rw - sysfs sysfs rw\n\
                 21 20 0:7 / /sys/kernel/debug rw - debugfs debugfs rw\n\
                 22 21 0:8 / /sys/kernel/debug/tracing rw - tracefs tracefs rw\n\
                 23 20 0:9 / /sys/closed/inner/place rw - tmpfs tmpfs rw\n";
    kernel.set_content("/proc/self/mountinfo", table);
    let directory = stat(FileType::Directory, 0o700, 0);
    for place in ["kernel/debug", "closed"] {
        kernel.set_stat(&format!("tree of /sys/{place}"), directory);
    }
    for closed in ["closed/inner", "closed/inner/place"] {
        kernel.fail_on(&format!("open_in_root(tree of /sys, {closed:?}"), Errno::ACCESS);
    }
    let step = MountStep { or_bind: Some("/sys".into()), ..file_system("sysfs", "/sys", &[]) };
    mount(&kernel, &step).unwrap();
    let calls = kernel.calls();
    let set = "remount_attributes(tree of /sys, reachable, +RDONLY, -0, same propagation)";
    assert!(calls.iter().any(|call| call == set), "{calls:#?}");
    let covered: Vec<_> =
        calls.iter().filter_map(|call| call.strip_suffix(')')?.split_once(", tree of /sys/")).collect();
    let covered: Vec<_> =
        covered.into_iter().filter(|(call, _)| call.starts_with("move_mount(")).map(|(_, at)| at).collect();
    assert_eq!(covered, ["closed", "kernel/debug"], "{calls:#?}");
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers_unless_it_is_told_another() {
    let kernel = Fake::new();
    kernel.set_stat("root/var", stat(FileType::Directory, 0o1770, 0));
    mount(&kernel, &file_system("tmpfs", "/var", &["mode=700"])).unwrap();
    let modes: Vec<_> = kernel.calls().into_iter().filter(|call| call.contains("\"mode\"")).collect();
    assert_eq!(
        modes,
        [r#"fsconfig_string(tmpfs, "mode", "1770")"#, r#"fsconfig_string(tmpfs, "mode", "700")"#],
        "the last one counts"
    );
    let kernel = Fake::new();
    kernel.fail_at(0, Errno::NOENT);
    mount(&kernel, &file_system("tmpfs", "/var", &[])).unwrap();
    assert!(!kernel.calls().iter().any(|call| call.contains("\"mode\"")), "there was nothing");
}

#[test]
fn a_bind_mount_has_the_attributes_that_were_asked_for_and_no_others() {
    let calls = calls_of(&bind("/mnt", &["ro"]));
    let inherited = "-NOSUID|NODEV|NOEXEC|NOSYMFOLLOW";
    assert_eq!(
        calls,
        [
            r#"open("/data", PATH, 0o0)"#,
            "open_tree(/data, OPEN_TREE_CLONE)",
            &format!("mount_setattr(tree of /data, alone, +RDONLY, {inherited}, same propagation, no idmap)"),
            "move_mount(tree of /data, root/mnt)",
        ]
    );
    assert!(
        !calls_of(&bind("/mnt", &[])).iter().any(|call| call.starts_with("mount_setattr")),
        "none asked, none changed"
    );
    assert!(
        calls_of(&bind("/mnt", &["rbind"]))
            .contains(&"open_tree(/data, OPEN_TREE_CLONE|AT_RECURSIVE)".into())
    );
}

#[test]
fn attributes_that_are_locked_stay_unless_they_were_named() {
    let kernel = Fake::new();
    kernel.fail_on("mount_setattr(tree of /data, alone, +RDONLY, -NOSUID|NODEV|NOEXEC", Errno::PERM);
    mount(&kernel, &bind("/mnt", &["ro"])).unwrap();
    let last = kernel.calls().into_iter().rfind(|call| call.starts_with("mount_setattr")).unwrap();
    let expected = "mount_setattr(tree of /data, alone, +RDONLY, -NOSYMFOLLOW, same propagation, no idmap)";
    assert_eq!(last, expected, "which no mount has locked");
    let kernel = Fake::new();
    kernel.fail_on("mount_setattr", Errno::PERM);
    assert_eq!(mount(&kernel, &bind("/mnt", &["dev"])).unwrap_err().errno(), Some(Errno::PERM));
    assert!(!kernel.verbs().contains(&"move_mount".to_owned()));
}

#[test]
fn a_bind_mount_has_no_options_of_a_file_system() {
    let error = mount(&Fake::new(), &bind("/mnt", &["size=1"])).unwrap_err();
    assert!(
        error.to_string().starts_with("bind mounts cannot have any filesystem-specific options applied"),
        "{error}"
    );
}

#[test]
fn a_directory_does_not_fit_onto_a_file_and_the_error_says_so() {
    let kernel = Fake::new();
    kernel.set_stat("root/mnt", stat(FileType::RegularFile, 0o644, 0));
    kernel.fail_on("move_mount", Errno::INVAL);
    assert_eq!(mount(&kernel, &bind("/mnt", &[])).unwrap_err().errno(), Some(Errno::NOTDIR));
    let kernel = Fake::new();
    kernel.fail_on("move_mount", Errno::INVAL);
    let error = mount(&kernel, &bind("/mnt", &[])).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL), "what else it may be");
}

#[test]
fn a_missing_mount_point_of_a_file_is_a_file() {
    let kernel = Fake::new();
    kernel.set_stat("/data", stat(FileType::RegularFile, 0o644, 0));
    kernel.fail_on(r#"open_in_root(root, "/etc/hosts", PATH"#, Errno::NOENT);
    mount(&kernel, &bind("/etc/hosts", &[])).unwrap();
    assert!(
        kernel.calls().contains(&r#"open_in_root(root/etc, "hosts", CREATE|EXCL|NOFOLLOW, 0o644)"#.into()),
        "{:#?}",
        kernel.calls()
    );
}

#[test]
fn what_was_opened_by_the_host_is_mounted_and_not_its_path() {
    let kernel = Fake::new();
    let tree = kernel.descriptor("source");
    mount_prepared(&kernel, &bind("/mnt", &[]), Some(&tree)).unwrap();
    let verbs = kernel.verbs();
    assert!(!verbs.contains(&"open".to_owned()) && !verbs.contains(&"open_tree".to_owned()), "{verbs:?}");
    assert_eq!(verbs.last().unwrap(), "move_mount");
}

#[test]
fn proc_and_sysfs_go_onto_real_directories_alone() {
    for fs_type in ["proc", "sysfs"] {
        for errno in [Errno::LOOP, Errno::NOTDIR] {
            let kernel = Fake::new();
            kernel.fail_at(0, errno);
            let error = mount(&kernel, &file_system(fs_type, "/x", &[])).unwrap_err();
            assert!(error.to_string().contains("must be mounted on ordinary directory"), "{error}");
            assert_eq!(kernel.calls(), [r#"open_in_root(root, "/x", DIRECTORY|NOFOLLOW|PATH, 0o0)"#]);
        }
    }
}

/// What looks like the procfs must be one (CVE-2019-16884).
#[test]
fn nothing_else_covers_proc_by_whatever_path() {
    let kernel = Fake::new();
    let error = mount(&kernel, &file_system("tmpfs", "/proc", &[])).unwrap_err();
    assert_eq!(error.to_string(), r#""/proc" cannot be mounted because it is not of type proc"#);

    let kernel = Fake::new();
    let mut top = stat(FileType::Directory, 0o555, 0);
    top.st_ino = 1;
    kernel.set_stat("root/link", top);
    kernel.set_file_system("root/link", PROC_SUPER_MAGIC);
    let error = mount(&kernel, &bind("/link", &[])).unwrap_err();
    assert_eq!(error.to_string(), r#""/link" cannot be mounted because it is not of type proc"#);
}

#[test]
fn a_procfs_of_the_host_may_be_bound_on_proc_whoever_opened_it() {
    let kernel = Fake::new();
    kernel.set_file_system("/data", PROC_SUPER_MAGIC);
    mount(&kernel, &bind("/proc", &[])).unwrap();
    let kernel = Fake::new();
    kernel.set_file_system("source", PROC_SUPER_MAGIC);
    let tree = kernel.descriptor("source");
    mount_prepared(&kernel, &bind("/proc", &[]), Some(&tree)).unwrap();
    let kernel = Fake::new();
    let tree = kernel.descriptor("source");
    assert!(mount_prepared(&kernel, &bind("/proc", &[]), Some(&tree)).is_err(), "it is none");
}

#[test]
fn in_proc_only_what_lxcfs_shows_is_mounted() {
    let mounted = |path: &str| {
        let kernel = Fake::new();
        kernel.set_file_system(&format!("root{path}"), PROC_SUPER_MAGIC);
        mount(&kernel, &bind(path, &[])).is_ok()
    };
    assert!(mounted("/proc/cpuinfo") && mounted("/proc/sys/crypto/fips_enabled"));
    for path in ["/proc/self/attr", "/proc/sys", "/proc/cpuinfo/x", "/link", "/proc/1/exe"] {
        assert!(!mounted(path), "{path}");
    }
}

#[test]
fn nothing_is_mounted_on_the_root_itself() {
    let kernel = Fake::new();
    let top = stat(FileType::Directory, 0o755, 0);
    kernel.set_stat("root", top);
    kernel.set_stat("root/link-to-root", top);
    for path in ["/", "/link-to-root"] {
        let error = mount(&kernel, &file_system("tmpfs", path, &[])).unwrap_err();
        assert!(error.to_string().contains("on the top of the root file system"), "{error}");
    }
}

#[test]
fn a_copy_is_made_before_the_mount_is_seen_or_read_only() {
    let kernel = Fake::new();
    kernel.set_entries("root/etc", &["link"]);
    kernel.set_stat("root/etc/link", stat(FileType::Symlink, 0o777, 0));
    kernel.set_link("root/etc/link", "/x");
    mount(&kernel, &file_system("tmpfs", "/etc", &["tmpcopyup", "rro"])).unwrap();
    let calls = kernel.calls();
    let place = |begin: &str| calls.iter().position(|call| call.starts_with(begin)).expect(begin);
    let copied = place(r#"symlinkat("/x", mount of tmpfs, "link")"#);
    let locked = place("mount_setattr(mount of tmpfs, recursive, +RDONLY");
    assert!(copied < locked && locked < place("move_mount("), "{calls:#?}");
}

#[test]
fn what_fsconfig_cannot_say_goes_the_old_way() {
    let long = format!("lowerdir={}", "/x:".repeat(100));
    for option in ["iversion", "silent", long.as_str()] {
        let kernel = Fake::new();
        mount(&kernel, &file_system("overlay", "/mnt", &["nodev", "rro", "slave", option])).unwrap();
        let calls = kernel.calls();
        assert!(!kernel.verbs().contains(&"fsopen".to_owned()));
        let at = calls
            .iter()
            .position(|call| call.starts_with("mount(\"overlay\", root/mnt, \"overlay\""))
            .unwrap();
        assert_eq!(
            calls[at + 1..],
            [
                r#"open_in_root(root, "/mnt", PATH, 0o0)"#,
                "mount_setattr(root/mnt, recursive, +RDONLY, -0, same propagation, no idmap)",
                "mount_setattr(root/mnt, alone, +0, -0, DOWNSTREAM, no idmap)",
            ]
        );
    }
    let copying = file_system("tmpfs", "/mnt", &["tmpcopyup", "iversion"]);
    assert!(matches!(mount(&Fake::new(), &copying), Err(Error::Refused(_))));
}

#[test]
fn a_remount_changes_what_is_there() {
    let kernel = Fake::new();
    mount(&kernel, &bind("/mnt", &["remount", "ro", "nodev", "rnoexec", "private"])).unwrap();
    assert_eq!(
        kernel.calls(),
        [
            r#"open_in_root(root, "/mnt", PATH, 0o0)"#,
            r#"remount(root/mnt, BIND|NODEV|RDONLY, "")"#,
            "mount_setattr(root/mnt, recursive, +NOEXEC, -0, same propagation, no idmap)",
            "mount_setattr(root/mnt, alone, +0, -0, PRIVATE, no idmap)",
        ]
    );
}

#[test]
fn a_mount_that_is_read_only_later_is_kept() {
    let step = MountStep { read_only_late: true, ..file_system("tmpfs", "/dev", &[]) };
    assert!(mount(&Fake::new(), &step).unwrap().late_read_only.is_some());
    assert!(mount(&Fake::new(), &file_system("tmpfs", "/dev", &[])).unwrap().late_read_only.is_none());
}
