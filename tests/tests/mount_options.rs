//! Every mount option of the table, on a file system of its own and on a bind mount.

use cloison_tests::{Kind, Output, Sandbox, caller, only_for, only_root, runc_lacks, runtime};

/// Mounts a tmpfs with these options and returns what `/proc/self/mountinfo` says of it.
fn on_tmpfs(sandbox: &Sandbox, options: &[&str]) -> String {
    let bundle = sandbox.busybox("awk '$5 == \"/mnt\"' /proc/self/mountinfo");
    bundle.mount("tmpfs", "tmpfs", "/mnt", options).run().ok().to_owned()
}

/// The options of one mount, those of the mount and those of the file system.
fn options_of(line: &str) -> Vec<&str> {
    let (mount, filesystem) = line.trim().split_once(" - ").unwrap_or_else(|| panic!("no mount: {line:?}"));
    let of_mount = mount.split(' ').nth(5).unwrap().split(',');
    of_mount.chain(filesystem.split(' ').nth(2).unwrap().split(',')).collect()
}

/// Whether an option changes what an ordinary user may not change of a mount of the host's: when it notes that files were read. The
/// output must be a refusal then (`mount_namespaces(7)`, "Restrictions on mount namespaces").
fn is_locked(option: &str, output: &Output) -> bool {
    let locked = caller::ordinary().is_some() && option.contains("atime");
    if locked {
        output.refused_saying(&["operation not permitted"]);
    }
    locked
}

/// A volume with the access times that mounts have when nothing is said, as those of the host need not be.
fn volume_with_relatime(sandbox: &Sandbox) -> std::path::PathBuf {
    let volume = sandbox.directory("volume");
    sandbox.mount("tmpfs", &volume, "tmpfs", rustix::mount::MountFlags::empty(), "");
    volume
}

#[test]
fn options_that_set_a_flag() {
    let sandbox = Sandbox::new();
    for (option, shown) in [
        ("ro", "ro"),
        ("nosuid", "nosuid"),
        ("nodev", "nodev"),
        ("noexec", "noexec"),
        ("noatime", "noatime"),
        ("nodiratime", "nodiratime"),
        ("relatime", "relatime"),
        ("sync", "sync"),
        ("dirsync", "dirsync"),
        ("mand", "mand"),
        ("nosymfollow", "nosymfollow"),
        ("size=64k", "size=64k"),
    ] {
        if option == "mand" && !caller::may_have_mandatory_locks() {
            continue;
        }
        let line = on_tmpfs(&sandbox, &[option]);
        // Kernels since 5.15 have no mandatory locks.
        if option != "mand" {
            assert!(options_of(&line).contains(&shown), "{option}: {line}");
        }
    }
}

#[test]
fn options_that_clear_a_flag() {
    let sandbox = Sandbox::new();
    for (set, clear) in [
        ("ro", "rw"),
        ("nosuid", "suid"),
        ("nodev", "dev"),
        ("noexec", "exec"),
        ("noatime", "atime"),
        ("nodiratime", "diratime"),
        ("sync", "async"),
        ("nosymfollow", "symfollow"),
    ] {
        let line = on_tmpfs(&sandbox, &[set, clear]);
        assert!(!options_of(&line).contains(&set), "{set},{clear}: {line}");
        let line = on_tmpfs(&sandbox, &[clear, set]);
        assert!(options_of(&line).contains(&set), "the last one wins: {clear},{set}: {line}");
    }
}

#[test]
fn strictatime_is_neither_relatime_nor_noatime() {
    let sandbox = Sandbox::new();
    let line = on_tmpfs(&sandbox, &["strictatime"]);
    let options = options_of(&line);
    assert!(!options.contains(&"relatime") && !options.contains(&"noatime"), "{line}");
}

#[test]
fn options_without_an_effect_that_is_shown_are_taken() {
    let sandbox = Sandbox::new();
    for option in
        ["defaults", "loud", "silent", "norelatime", "nostrictatime", "iversion", "noiversion", "nomand"]
    {
        // Old releases of runc hand it to mount(2) as data.
        if runtime::has_what_runc_has_since("1.2") || option != "defaults" {
            on_tmpfs(&sandbox, &[option]);
        }
    }
}

#[test]
fn lazytime_is_of_the_file_system() {
    runc_lacks!("1.2: lazytime");
    let sandbox = Sandbox::new();
    for (options, is_lazy) in [
        (&["lazytime"][..], true),
        (&["nolazytime"], false),
        (&["lazytime", "nolazytime"], false),
        (&["nolazytime", "lazytime"], true),
    ] {
        let line = on_tmpfs(&sandbox, options);
        assert_eq!(options_of(&line).contains(&"lazytime"), is_lazy, "{options:?}: {line}");
    }
}

#[test]
fn flags_are_set_on_a_bind_mount() {
    let sandbox = Sandbox::new();
    let volume = volume_with_relatime(&sandbox);
    for option in ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"] {
        let bundle = sandbox.busybox("awk '$5 == \"/mnt\"' /proc/self/mountinfo");
        let output = bundle.mount("bind", &volume, "/mnt", &["bind", option]).run();
        if !is_locked(option, &output) {
            assert!(options_of(output.ok()).contains(&option), "{option}: {}", output.stdout);
        }
    }
}

#[test]
fn a_bind_mount_keeps_the_flags_of_its_source() {
    runc_lacks!("1.2: flags of the source that are not named are kept");
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let flags = rustix::mount::MountFlags::NOEXEC | rustix::mount::MountFlags::NODEV;
    sandbox.mount("tmpfs", &volume, "tmpfs", flags, "");
    let bundle = sandbox.busybox("awk '$5 == \"/mnt\"' /proc/self/mountinfo");
    let output = bundle.mount("bind", &volume, "/mnt", &["bind"]).run();
    for flag in ["noexec", "nodev"] {
        assert!(options_of(output.ok()).contains(&flag), "{flag}: {}", output.stdout);
    }
}

#[test]
fn a_bind_mount_that_is_to_be_writable_keeps_none_of_them() {
    only_root!("right to clear what the host's mounts forbid: it is locked");
    runc_lacks!("1.2: flags that are cleared by `rw` alone");
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NODEV
        | rustix::mount::MountFlags::NOEXEC
        | rustix::mount::MountFlags::RDONLY;
    sandbox.mount("tmpfs", &volume, "tmpfs", flags, "");
    let bundle = sandbox.busybox("awk '$5 == \"/mnt\" {print $6}' /proc/self/mountinfo");
    let output = bundle.mount("bind", &volume, "/mnt", &["bind", "rw"]).run();
    assert_eq!(output.line(), "rw,relatime");
}

#[test]
fn a_bind_mount_has_its_sources_access_times_unless_others_are_named() {
    runc_lacks!("1.2: flags of the source that are not named are kept");
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    sandbox.mount("tmpfs", &volume, "tmpfs", rustix::mount::MountFlags::NOATIME, "");
    for (option, shown) in [
        ("atime", "noatime"),
        ("norelatime", "noatime"),
        ("diratime", "noatime"),
        ("relatime", "relatime"),
        ("nodiratime", "relatime"),
    ] {
        let bundle = sandbox.busybox("awk '$5 == \"/mnt\"' /proc/self/mountinfo");
        let output = bundle.mount("bind", &volume, "/mnt", &["bind", option]).run();
        if shown == "relatime" && is_locked(option, &output) {
            continue;
        }
        let options = options_of(output.ok());
        assert!(options.contains(&shown), "{option}: {}", output.stdout);
        assert_eq!(options.contains(&"noatime"), shown == "noatime", "{option}: {}", output.stdout);
    }
}

#[test]
fn a_user_namespace_keeps_the_flags_of_the_source_that_are_locked_and_no_others() {
    runc_lacks!("1.2: flags of the source that are not named are kept");
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let no_links = rustix::mount::MountFlags::from_bits_retain(256);
    sandbox.mount("tmpfs", &volume, "tmpfs", rustix::mount::MountFlags::NOEXEC | no_links, "");
    let bundle = sandbox
        .bundle(cloison_tests::Rootfs::busybox().owned_by(100_000, 100_000))
        .args(["sh", "-c", "awk '$5 == \"/mnt\"' /proc/self/mountinfo"])
        .user_namespace(100_000);
    let output = bundle.mount("bind", &volume, "/mnt", &["bind", "nodev"]).run();
    let options = options_of(output.ok());
    for (flag, is_there) in [("nodev", true), ("noexec", true), ("nosymfollow", false)] {
        assert_eq!(options.contains(&flag), is_there, "{flag}: {}", output.stdout);
    }
}

#[test]
fn recursive_options_reach_the_mounts_below() {
    let sandbox = Sandbox::new();
    let volume = volume_with_relatime(&sandbox);
    let below = sandbox.directory("volume/below");
    sandbox.mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::empty(), "");
    for (option, shown) in [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnodiratime", "nodiratime"),
        ("rnoatime", "noatime"),
        ("rrelatime", "relatime"),
        ("rnosymfollow", "nosymfollow"),
    ] {
        let bundle = sandbox.busybox("awk '$5 == \"/mnt\" || $5 == \"/mnt/below\"' /proc/self/mountinfo");
        let output = bundle.mount("bind", &volume, "/mnt", &["rbind", option]).run();
        if shown != "relatime" && is_locked(option, &output) {
            continue;
        }
        let lines: Vec<&str> = output.ok().lines().collect();
        assert_eq!(lines.len(), 2, "{}", output.stdout);
        for line in lines {
            assert!(options_of(line).contains(&shown), "{option}: {line}");
        }
    }
}

#[test]
fn recursive_options_clear_flags_too() {
    only_root!("right to clear what the host's mounts forbid: it is locked");
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let below = sandbox.directory("volume/below");
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NODEV
        | rustix::mount::MountFlags::NOEXEC
        | rustix::mount::MountFlags::NODIRATIME
        | rustix::mount::MountFlags::RDONLY;
    sandbox.mount("tmpfs", &below, "tmpfs", flags, "");
    for (option, gone) in [
        ("rrw", "ro"),
        ("rsuid", "nosuid"),
        ("rdev", "nodev"),
        ("rexec", "noexec"),
        ("rdiratime", "nodiratime"),
    ] {
        assert!(!shown_below(&sandbox, &volume, option).contains(&gone.to_owned()), "{option}");
    }
}

/// The options of a mount below a volume that is bound with this one option more.
fn shown_below(sandbox: &Sandbox, volume: &std::path::Path, option: &str) -> Vec<String> {
    let bundle = sandbox.busybox("awk '$5 == \"/mnt/below\" {print $6}' /proc/self/mountinfo");
    let output = bundle.mount("bind", volume, "/mnt", &["rbind", option]).run();
    output.line().split(',').map(str::to_owned).collect()
}

#[test]
fn recursive_options_about_access_times_and_links_hold_below_too() {
    only_root!("right to change how the host's mounts note that files were read: it is locked");
    only_for!(
        Cloison,
        "runc does not clear all bits of the access time together, as mount_setattr(2) wants it"
    );
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let below = sandbox.directory("volume/below");
    let no_links = rustix::mount::MountFlags::from_bits_retain(256);
    sandbox.mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::NOATIME | no_links, "");
    for (option, is_there, is_not) in [
        ("ratime", "relatime", "noatime"),
        ("rstrictatime", "rw", "noatime"),
        ("rstrictatime", "rw", "relatime"),
        ("rrelatime", "relatime", "noatime"),
        ("rsymfollow", "noatime", "nosymfollow"),
    ] {
        let shown = shown_below(&sandbox, &volume, option);
        let has = |option: &str| shown.iter().any(|shown| shown == option);
        assert!(has(is_there) && !has(is_not), "{option}: {shown:?}");
    }
}

#[test]
fn the_other_recursive_options_are_taken() {
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    let mut refused = Vec::new();
    for option in ["ratime", "rstrictatime", "rnostrictatime", "rnorelatime", "rsymfollow"] {
        let bundle = sandbox.busybox("echo fine").mount("bind", &volume, "/mnt", &["rbind", option]);
        let output = bundle.run();
        // What is so already may be asked for.
        if output.stdout != "fine\n" && !is_locked(option, &output) {
            refused.push(option);
        }
    }
    if runtime::kind() == Kind::Cloison {
        assert_eq!(refused, [""; 0]);
    } else {
        // mount_setattr(2) wants all access time bits cleared together.
        assert!(
            refused.iter().all(|option| option.contains("atime") || option.contains("relatime")),
            "{refused:?}"
        );
    }
}

#[test]
fn propagation_options_are_shown() {
    let sandbox = Sandbox::new();
    for (option, shown) in [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let line = on_tmpfs(&sandbox, &[option]);
        let tags = line.split(" - ").next().unwrap();
        assert!(tags.contains(shown), "{option}: {line}");
        if shown.is_empty() {
            assert!(!tags.contains("shared:") && !tags.contains("unbindable"), "{option}: {line}");
        }
    }
}

#[test]
fn slave_mounts_have_a_master() {
    let sandbox = Sandbox::new();
    let volume = sandbox.directory("volume");
    sandbox.bind(&volume, &volume);
    rustix::mount::mount_change(&volume, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    for option in ["slave", "rslave"] {
        let bundle = sandbox.busybox("awk '$5 == \"/mnt\"' /proc/self/mountinfo");
        let output = bundle.mount("bind", &volume, "/mnt", &["rbind", option]).run();
        assert!(output.ok().contains("master:"), "{option}: {}", output.stdout);
    }
}

#[test]
fn remount_changes_a_mount_made_before() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("awk '$5 == \"/mnt\"' /proc/self/mountinfo")
        .mount("tmpfs", "tmpfs", "/mnt", &["rw"])
        .mount("tmpfs", "tmpfs", "/mnt", &["remount", "ro"]);
    let output = bundle.run();
    assert!(
        output.ok().lines().count() == 1 && options_of(output.ok()).contains(&"ro"),
        "{}",
        output.describe()
    );
}

#[test]
fn symlinks_are_copied_or_followed_as_asked() {
    only_for!(Cloison, "runc has no copy-symlink, src-nofollow and dest-nofollow");
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("somewhere", sandbox.dir().join("link")).unwrap();
    let bundle = sandbox.busybox("readlink /etc/link").writable();
    let source = sandbox.dir().join("link");
    let output = bundle.mount("bind", &source, "/etc/link", &["bind", "copy-symlink"]).run();
    if output.status.success() {
        assert_eq!(output.stdout, "somewhere\n");
    } else {
        // Not yet: then it is refused by its name.
        output.refused_saying(&["copy-symlink"]);
    }
}
