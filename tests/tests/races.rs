//! Known holes of this kind of program that are races: an enemy who shares a volume, or the root file system, exchanges what is in
//! it while a container is made. How often each is tried is said by `CLOISON_RACE_ROUNDS`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use cloison_tests::race::race;
use cloison_tests::{Bundle, Rootfs, Sandbox, json, only_for, runc_lacks};
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A volume with a directory `a` and a link `b` to a directory of the host.
struct Volume {
    outside: PathBuf,
}

impl Volume {
    fn new(sandbox: &Sandbox) -> Self {
        Self { outside: sandbox.directory("outside") }
    }

    fn rootfs(&self) -> Rootfs {
        let target = self.outside.clone();
        Rootfs::hostile(move |root| {
            fs::create_dir_all(root.join("vol/a")).unwrap();
            symlink(&target, root.join("vol/b")).unwrap();
        })
    }

    /// Makes containers while `a` and `b` are exchanged; none may make anything outside.
    fn race(&self, sandbox: &Sandbox, bundle: &Bundle<'_>) {
        let volume = bundle.rootfs().join("vol");
        race(sandbox, bundle, &volume.join("a"), &volume.join("b"), |output| {
            let made: Vec<_> =
                fs::read_dir(&self.outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(made.is_empty(), "made on the host: {made:?}: {}", output.describe());
        });
    }
}

/// Without the mounts on and below `/dev`.
fn without_dev(bundle: Bundle<'_>) -> Bundle<'_> {
    bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    })
}

/// Each path of the root file system that the script finds something wrong with.
fn complaints(output: &cloison_tests::Output, wrong: &[&str]) {
    for wrong in wrong {
        assert!(!output.stdout.contains(wrong), "{}", output.describe());
    }
}

#[test]
fn cve_2021_30465_a_mount_destination_exchanged_meanwhile_stays_inside() {
    runc_lacks!("1.2: directories made through a descriptor, CVE-2024-45310");
    let sandbox = Sandbox::new();
    let volume = Volume::new(&sandbox);
    let bundle = sandbox.bundle(volume.rootfs()).args(["true"]).writable();
    let bundle = bundle.mount("tmpfs", "tmpfs", "/vol/a/deep", &["size=64k"]).mount(
        "tmpfs",
        "tmpfs",
        "/vol/a/deeper/still",
        &["size=64k"],
    );
    volume.race(&sandbox, &bundle);
}

#[test]
fn cve_2024_45310_a_file_to_bind_on_is_made_inside_only() {
    runc_lacks!("1.2: files made through a descriptor, CVE-2024-45310");
    let sandbox = Sandbox::new();
    let volume = Volume::new(&sandbox);
    let file = sandbox.file("source", "of the engine");
    let bundle = sandbox.bundle(volume.rootfs()).args(["true"]).writable();
    let bundle = bundle.mount("bind", &file, "/vol/a/file", &["bind"]).mount(
        "bind",
        &file,
        "/vol/a/deep/file",
        &["bind"],
    );
    volume.race(&sandbox, &bundle);
}

#[test]
fn cve_2024_21626_a_working_directory_exchanged_meanwhile_is_inside() {
    runc_lacks!("1.2: directories made through a descriptor");
    let sandbox = Sandbox::new();
    let volume = Volume::new(&sandbox);
    let bundle = sandbox.bundle(volume.rootfs()).args(["true"]).writable().set("/process/cwd", "/vol/a/made");
    volume.race(&sandbox, &bundle);
}

#[test]
fn a_device_whose_directory_is_exchanged_meanwhile_is_made_inside() {
    runc_lacks!("1.5: devices made through a descriptor");
    let sandbox = Sandbox::new();
    let volume = Volume::new(&sandbox);
    let devices = json!([
        {"path": "/vol/a/x", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 7},
        {"path": "/vol/a/deep/y", "type": "p"},
    ]);
    let bundle = sandbox.bundle(volume.rootfs()).args(["true"]).writable().set("/linux/devices", devices);
    volume.race(&sandbox, &bundle);
}

#[test]
fn cve_2026_41579_dev_exchanged_for_a_link_meanwhile_makes_nothing_outside() {
    runc_lacks!("1.5: links in /dev made through a descriptor");
    let sandbox = Sandbox::new();
    let volume = Volume::new(&sandbox);
    let target = volume.outside.clone();
    let rootfs = Rootfs::hostile(move |root| symlink(&target, root.join("link")).unwrap());
    let bundle = without_dev(sandbox.bundle(rootfs).args(["true"]).writable());
    let root = bundle.rootfs();
    race(&sandbox, &bundle, &root.join("dev"), &root.join("link"), |output| {
        let made = fs::read_dir(&volume.outside).unwrap().count();
        assert_eq!(made, 0, "made on the host: {}", output.describe());
    });
}

#[test]
fn cve_2019_19921_proc_exchanged_for_a_link_meanwhile_covers_nothing_else() {
    // Also CVE-2023-27561 and CVE-2023-28642.
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| {
        fs::create_dir(root.join("fake")).unwrap();
        symlink("/fake", root.join("link")).unwrap();
    });
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", "[ -e /fake/self/attr ] && echo covered; true"]);
    let root = bundle.rootfs();
    race(&sandbox, &bundle, &root.join("proc"), &root.join("link"), |output| {
        complaints(output, &["covered"]);
    });
}

#[test]
fn cve_2025_52881_a_sysctl_is_not_written_to_what_takes_the_place_of_proc() {
    runc_lacks!("1.2.8: sysctls written through a procfs of its own");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| {
        for place in ["proc", "other"] {
            fs::create_dir_all(root.join(place).join("sys/net/ipv4")).unwrap();
            fs::write(root.join(place).join("sys/net/ipv4/ip_forward"), "").unwrap();
        }
    });
    let bundle = sandbox
        .bundle(rootfs)
        .args(["true"])
        .writable()
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    let root = bundle.rootfs();
    race(&sandbox, &bundle, &root.join("proc"), &root.join("other"), |output| {
        for place in ["proc", "other"] {
            // The path that is there at this moment; the other one is looked at in another round.
            let planted = fs::read_to_string(root.join(place).join("sys/net/ipv4/ip_forward")).unwrap();
            assert_eq!(planted, "", "{}", output.describe());
        }
    });
}

#[test]
fn a_procfs_that_is_moved_away_meanwhile_is_masked_and_read_only_all_the_same() {
    only_for!(Cloison, "runc looks such paths up from the root");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| {
        fs::create_dir_all(root.join("other/sys")).unwrap();
        fs::write(root.join("other/kcore"), "").unwrap();
        fs::write(root.join("other/keys"), "").unwrap();
    });
    let probe = "for p in /proc /other; do [ -e $p/self/mounts ] || continue
        (: > $p/sys/vm/drop_caches) && echo writable
        [ -n \"$(head -c 1 $p/keys)\" ] && echo unmasked
        done; true";
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", probe]).writable();
    let root = bundle.rootfs();
    race(&sandbox, &bundle, &root.join("proc"), &root.join("other"), |output| {
        complaints(output, &["writable", "unmasked"]);
    });
}

/// A root file system whose `/dev` is bound from a directory of the enemy's, who has put a link to a file of the image beside each thing
/// that a runtime looks for.
fn with_planted_dev<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    let rootfs = Rootfs::hostile(|root| {
        let planted = root.join("planted");
        fs::create_dir_all(planted.join("pts")).unwrap();
        symlink("pts/ptmx", planted.join("ptmx")).unwrap();
        let null = rustix::fs::makedev(1, 3);
        mknodat(CWD, planted.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), null)
            .unwrap();
        fs::write(planted.join("console"), "").unwrap();
        fs::write(root.join("secret"), "a secret").unwrap();
        fs::write(root.join("precious"), "of the image").unwrap();
        symlink("/precious", planted.join("link")).unwrap();
    });
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", script]).writable();
    let planted = bundle.rootfs().join("planted");
    without_dev(bundle).mount("bind", planted, "/dev", &["rbind", "rw"]).mount(
        "devpts",
        "devpts",
        "/dev/pts",
        &["newinstance", "ptmxmode=0666"],
    )
}

#[test]
fn cve_2025_31133_null_exchanged_for_a_link_meanwhile_masks_nothing_by_it() {
    runc_lacks!("1.2: masked paths are bound from a verified /dev/null");
    let sandbox = Sandbox::new();
    let bundle = with_planted_dev(&sandbox, "cat /secret").set("/linux/maskedPaths", json!(["/secret"]));
    let planted = bundle.rootfs().join("planted");
    assert!(fs::metadata(planted.join("null")).unwrap().file_type().is_char_device());
    race(&sandbox, &bundle, &planted.join("null"), &planted.join("link"), |output| {
        complaints(output, &["of the image", "a secret"]);
    });
}

#[test]
fn cve_2025_52565_console_exchanged_for_a_link_meanwhile_covers_nothing_by_it() {
    runc_lacks!("1.2.8: /dev/console is bound by a descriptor");
    let sandbox = Sandbox::new();
    let bundle = with_planted_dev(&sandbox, "[ -c /precious ] && echo covered; cat /precious")
        .set("/process/terminal", true);
    let planted = bundle.rootfs().join("planted");
    race(&sandbox, &bundle, &planted.join("console"), &planted.join("link"), |output| {
        complaints(output, &["covered"]);
    });
}

#[test]
fn a_copied_file_that_becomes_a_link_meanwhile_is_not_followed() {
    let sandbox = Sandbox::new();
    let outside = sandbox.file("outside", "of the host");
    let rootfs = Rootfs::hostile(move |root| {
        fs::create_dir(root.join("covered")).unwrap();
        fs::write(root.join("covered/file"), "of the image").unwrap();
        symlink(&outside, root.join("covered/link")).unwrap();
    });
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", "cat /covered/* 2>/dev/null; true"]);
    let bundle = bundle.mount("tmpfs", "tmpfs", "/covered", &["tmpcopyup"]);
    let covered = bundle.rootfs().join("covered");
    race(&sandbox, &bundle, &covered.join("file"), &covered.join("link"), |output| {
        complaints(output, &["of the host"]);
    });
}

/// One that never says anything would keep the runtime for ever if it were opened and read.
#[test]
fn a_passwd_that_becomes_a_pipe_meanwhile_is_not_waited_for() {
    only_for!(Cloison, "runc opens what it finds");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| pipe(&root.join("etc/pipe")));
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", "echo $HOME"]);
    let etc = bundle.rootfs().join("etc");
    race(&sandbox, &bundle, &etc.join("passwd"), &etc.join("pipe"), |output| {
        assert!(["/\n", "/root\n"].contains(&output.ok()), "{}", output.describe());
    });
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}
