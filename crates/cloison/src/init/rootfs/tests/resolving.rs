//! Making what is missing, through whatever the image has put in the way.

use super::*;

fn directory(image: &(TempDir, Root<'_>), path: &str) -> Result<String, Errno> {
    image.1.make_directory(Path::new(path)).map(|fd| shown(&image.0, &fd))
}

fn file(image: &(TempDir, Root<'_>), path: &str) -> Result<String, Errno> {
    image.1.make_file(Path::new(path)).map(|fd| shown(&image.0, &fd))
}

#[test]
fn missing_directories_are_made_with_their_parents() {
    let image = image();
    assert_eq!(directory(&image, "/a/b/c").unwrap(), "a/b/c");
    assert_eq!(directory(&image, "/a/b/c").unwrap(), "a/b/c", "and found again");
    assert_eq!(directory(&image, "/").unwrap(), "");
    assert!(fs::metadata(image.0.path().join("a/b")).unwrap().mode() & 0o700 == 0o700);
}

#[test]
fn links_never_lead_out_of_the_image() {
    let image = image();
    let path = image.0.path();
    fs::create_dir(path.join("etc")).unwrap();
    symlink("/etc", path.join("absolute")).unwrap();
    symlink("../../../../etc", path.join("relative")).unwrap();
    assert_eq!(directory(&image, "/absolute/new").unwrap(), "etc/new");
    assert_eq!(directory(&image, "/relative/newer").unwrap(), "etc/newer");
    assert_eq!(file(&image, "/absolute/passwd").unwrap(), "etc/passwd");
    assert_eq!(directory(&image, "/../../tmp-of-nobody").unwrap(), "tmp-of-nobody");
}

#[test]
fn a_link_without_a_target_gets_its_target_inside() {
    let image = image();
    let path = image.0.path();
    symlink("/var/lib/data", path.join("absolute")).unwrap();
    symlink("../../up", path.join("relative")).unwrap();
    symlink("absolute/deeper", path.join("chain")).unwrap();
    assert_eq!(directory(&image, "/chain/x").unwrap(), "var/lib/data/deeper/x");
    assert_eq!(directory(&image, "/relative").unwrap(), "up");
    symlink("/run/resolv.conf", path.join("resolv.conf")).unwrap();
    symlink("resolv.conf", path.join("other.conf")).unwrap();
    assert_eq!(file(&image, "/other.conf").unwrap(), "run/resolv.conf");
    assert!(fs::metadata(path.join("run/resolv.conf")).unwrap().is_file());
}

/// `..` of a link's target begins where the link really is.
#[test]
fn a_relative_target_begins_where_the_link_is_and_not_where_its_path_says() {
    let image = image();
    let path = image.0.path();
    fs::create_dir_all(path.join("x/y")).unwrap();
    fs::create_dir_all(path.join("a")).unwrap();
    symlink("/x/y", path.join("a/b")).unwrap();
    symlink("../target", path.join("x/y/link")).unwrap();
    assert_eq!(directory(&image, "/a/b/link").unwrap(), "x/target");
    symlink("../file", path.join("x/y/to-file")).unwrap();
    assert_eq!(file(&image, "/a/b/to-file").unwrap(), "x/file");
    assert!(!path.join("a/target").exists() && !path.join("a/file").exists());
}

#[test]
fn a_target_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt as _;

    let image = image();
    let name = std::ffi::OsStr::from_bytes(b"n\xff");
    symlink(name, image.0.path().join("link")).unwrap();
    image.1.make_directory(Path::new("/link")).unwrap();
    assert!(image.0.path().join(name).is_dir());
}

#[test]
fn links_in_a_circle_are_an_error_and_not_for_ever() {
    let image = image();
    symlink("b", image.0.path().join("a")).unwrap();
    symlink("a", image.0.path().join("b")).unwrap();
    assert_eq!(directory(&image, "/a").unwrap_err(), Errno::LOOP);
    assert_eq!(directory(&image, "/a/x").unwrap_err(), Errno::LOOP);
    assert_eq!(file(&image, "/b").unwrap_err(), Errno::LOOP);
}

/// Each link leads to a name below the next, so that the kernel never sees a circle.
#[test]
fn links_without_targets_are_followed_forty_times() {
    let image = image();
    for at in 0..60 {
        symlink(format!("/{}", at + 1), image.0.path().join(at.to_string())).unwrap();
    }
    assert_eq!(directory(&image, "/50").unwrap(), "60");
    fs::remove_dir(image.0.path().join("60")).unwrap();
    assert_eq!(directory(&image, "/0").unwrap_err(), Errno::LOOP);
    assert_eq!(file(&image, "/0").unwrap_err(), Errno::LOOP);
}

#[test]
fn a_file_in_the_way_is_not_gone_through() {
    let image = image();
    fs::write(image.0.path().join("file"), "kept").unwrap();
    assert_eq!(directory(&image, "/file").unwrap_err(), Errno::NOTDIR);
    assert_eq!(directory(&image, "/file/x").unwrap_err(), Errno::NOTDIR);
    symlink("file/x", image.0.path().join("link")).unwrap();
    assert_eq!(directory(&image, "/link").unwrap_err(), Errno::NOTDIR);
    assert_eq!(file(&image, "/file").unwrap(), "file");
    assert_eq!(fs::read(image.0.path().join("file")).unwrap(), b"kept");
}

#[test]
fn links_of_proc_are_not_followed() {
    let root = Root::new(&Linux, fs::File::open("/").unwrap().into());
    for path in ["/proc/self/root", "/proc/self/cwd", "/proc/self/exe"] {
        assert_eq!(root.open(Path::new(path), OFlags::PATH).unwrap_err(), Errno::LOOP, "{path}");
    }
    assert_eq!(root.make_directory(Path::new("/proc/self/cwd/x")).unwrap_err(), Errno::LOOP);
}

/// Somebody swaps a directory for a link out of the image and back, as fast as they can.
#[test]
fn a_race_never_leads_out_of_the_image() {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, RenameFlags};

    let outside = TempDir::new().unwrap();
    let image = image();
    let (way, link) = (image.0.path().join("way"), image.0.path().join("link"));
    fs::create_dir(&way).unwrap();
    symlink(outside.path(), &link).unwrap();
    let over = AtomicBool::new(false);
    let swapped = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut rounds = 0_u32;
            while !over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &way, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                rounds += 1;
            }
            rounds
        });
        for round in 0..300 {
            let path = PathBuf::from(format!("/way/{round}/deeper"));
            // It may fail, and what it makes may lie behind the link: where the image itself has the path of the outside.
            if let Ok(fd) = image.1.make_directory(&path) {
                shown(&image.0, &fd);
            }
        }
        over.store(true, Ordering::Relaxed);
        swapper.join().unwrap()
    });
    assert!(swapped > 0);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

/// What another process puts in place between the look and the making counts.
#[test]
fn what_has_come_in_between_is_taken_if_it_is_a_directory() {
    use cloison_linux::fake::Fake;

    let kernel = Fake::new();
    let root = Root::new(&kernel, kernel.descriptor("root"));
    kernel.fail_at(0, Errno::NOENT);
    kernel.fail_on("mkdirat(root, \"a\"", Errno::EXIST);
    root.make_directory(Path::new("/a")).unwrap();
    assert_eq!(
        kernel.calls()[2..],
        [r#"mkdirat(root, "a", 0o755)"#, r#"open_in_root(root, "a", DIRECTORY|NOFOLLOW|PATH, 0o0)"#]
    );
}
