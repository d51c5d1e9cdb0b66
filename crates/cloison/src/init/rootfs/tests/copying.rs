//! `tmpcopyup`, on the real kernel.

use super::*;

#[test]
fn a_copy_has_the_files_with_their_kinds_modes_and_owners() {
    // As a birth does.
    Linux.umask(0);
    let image = image();
    let from = image.0.path().join("etc");
    fs::create_dir_all(from.join("dir/deeper")).unwrap();
    fs::write(from.join("dir/deeper/file"), "content").unwrap();
    fs::write(from.join("secret"), "s").unwrap();
    symlink("/nowhere", from.join("link")).unwrap();
    let etc = fs::File::open(&from).unwrap();
    Linux.mknodat(etc.as_fd(), Path::new("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let modes = [
        ("secret", 0o4711),
        ("dir", 0o2775),
        ("dir/deeper", 0o1777),
        ("dir/deeper/file", 0o640),
        ("", 0o751),
    ];
    for (path, mode) in modes {
        std::os::unix::fs::chown(from.join(path), Some(12), Some(34)).unwrap();
        fs::set_permissions(from.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();

    let copy = TempDir::new().unwrap();
    let to = fs::File::open(copy.path()).unwrap();
    copy_up::copy_up(&Linux, &image.1, Path::new("/etc"), to.as_fd()).unwrap();
    for (path, mode) in modes.iter().filter(|(path, _)| !path.is_empty()) {
        let made = fs::symlink_metadata(copy.path().join(path)).unwrap();
        assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (*mode, 12, 34), "{path}");
    }
    assert_eq!((to.metadata().unwrap().uid(), to.metadata().unwrap().gid()), (12, 34));
    assert_eq!(fs::read(copy.path().join("dir/deeper/file")).unwrap(), b"content");
    assert_eq!(fs::read_link(copy.path().join("link")).unwrap(), Path::new("/nowhere"));
    assert!(fs::symlink_metadata(copy.path().join("fifo")).unwrap().file_type().is_fifo());
    assert!(!copy.path().join("socket").exists());
}

#[test]
fn directories_that_are_too_deep_are_an_error() {
    let image = image();
    let mut path = image.0.path().join("etc");
    for _ in 0..130 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    let copy = TempDir::new().unwrap();
    let to = fs::File::open(copy.path()).unwrap();
    let error = copy_up::copy_up(&Linux, &image.1, Path::new("/etc"), to.as_fd()).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::LOOP));
}
