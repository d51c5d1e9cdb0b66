use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn opened(directory: &TempDir) -> OwnedFd {
    open(directory.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

#[test]
fn absolute_link_is_resolved_inside_the_root() {
    let scratch = TempDir::new().unwrap();
    fs::create_dir(scratch.path().join("etc")).unwrap();
    fs::write(scratch.path().join("etc/hostname"), "inside").unwrap();
    symlink("/etc/hostname", scratch.path().join("link")).unwrap();
    let root = opened(&scratch);
    let file = open_in_root(root.as_fd(), Path::new("/link"), OFlags::RDONLY, Mode::empty()).unwrap();
    assert_eq!(read_to_end(file.as_fd(), 100).unwrap(), b"inside");
}

#[test]
fn dots_do_not_climb_out_of_the_root() {
    let scratch = TempDir::new().unwrap();
    let root = opened(&scratch);
    let path = Path::new("../../../../../etc/passwd");
    let error = open_in_root(root.as_fd(), path, OFlags::RDONLY, Mode::empty()).unwrap_err();
    assert_eq!(error, Errno::NOENT);
}

#[test]
fn magic_link_is_refused() {
    let root = open(Path::new("/"), OFlags::PATH, Mode::empty()).unwrap();
    let path = Path::new("proc/self/exe");
    let error = open_in_root(root.as_fd(), path, OFlags::RDONLY, Mode::empty()).unwrap_err();
    assert_eq!(error, Errno::LOOP);
}

#[test]
fn link_and_other_mount_are_refused_beneath() {
    let scratch = TempDir::new().unwrap();
    symlink("etc", scratch.path().join("link")).unwrap();
    let dir = opened(&scratch);
    let open_it = |dir: BorrowedFd<'_>, path| open_beneath(dir, Path::new(path), OFlags::PATH, Mode::empty());
    assert_eq!(open_it(dir.as_fd(), "link").unwrap_err(), Errno::LOOP);
    assert_eq!(open_it(dir.as_fd(), "..").unwrap_err(), Errno::XDEV);
    let root = open(Path::new("/"), OFlags::PATH, Mode::empty()).unwrap();
    assert_eq!(open_it(root.as_fd(), "proc/version").unwrap_err(), Errno::XDEV);
}

#[test]
fn a_link_on_the_way_or_at_the_end_is_refused_without_links() {
    let scratch = TempDir::new().unwrap();
    fs::create_dir_all(scratch.path().join("etc/inner")).unwrap();
    symlink("etc", scratch.path().join("link")).unwrap();
    let dir = opened(&scratch);
    let open_it = |path| open_without_links(dir.as_fd(), Path::new(path), OFlags::PATH, Mode::empty());
    for path in ["/", "/etc/inner", "/etc/../../etc"] {
        open_it(path).unwrap();
    }
    for path in ["/link", "/link/inner", "/link/.."] {
        assert_eq!(open_it(path).unwrap_err(), Errno::LOOP, "{path}");
    }
    assert_eq!(open_it("/none").unwrap_err(), Errno::NOENT);
}

#[test]
fn every_descriptor_is_close_on_exec() {
    let dir = open(Path::new("/proc"), OFlags::PATH, Mode::empty()).unwrap();
    let inner = open_in_root(dir.as_fd(), Path::new("version"), OFlags::PATH, Mode::empty()).unwrap();
    let again = reopen(inner.as_fd(), OFlags::RDONLY).unwrap();
    for fd in [&dir, &inner, &again] {
        assert_eq!(rustix::io::fcntl_getfd(fd).unwrap(), FdFlags::CLOEXEC);
    }
}

#[test]
fn mode_of_a_path_descriptor_is_changed() {
    let scratch = TempDir::new().unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    let dir = opened(&scratch);
    let file = open_in_root(dir.as_fd(), Path::new("file"), OFlags::PATH, Mode::empty()).unwrap();
    fchmod(file.as_fd(), Mode::from_raw_mode(0o751)).unwrap();
    assert_eq!(rustix::fs::fstat(&file).unwrap().st_mode & 0o7777, 0o751);
}

#[test]
fn link_behind_a_descriptor_is_read() {
    let scratch = TempDir::new().unwrap();
    symlink("some/where", scratch.path().join("link")).unwrap();
    let dir = opened(&scratch);
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let link = open_in_root(dir.as_fd(), Path::new("link"), flags, Mode::empty()).unwrap();
    assert_eq!(readlinkat(link.as_fd(), Path::new("")).unwrap(), Path::new("some/where"));
}

#[test]
fn file_over_the_limit_is_not_read() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("file");
    fs::write(&path, vec![b'x'; 20_000]).unwrap();
    let read = |limit| read_to_end(open(&path, OFlags::RDONLY, Mode::empty()).unwrap().as_fd(), limit);
    assert_eq!(read(20_000).unwrap().len(), 20_000);
    assert_eq!(read(19_999), Err(Errno::FBIG));
    assert_eq!(read(0), Err(Errno::FBIG));
}

#[test]
fn directory_is_listed_without_dots() {
    let scratch = TempDir::new().unwrap();
    for name in 0..600 {
        fs::write(scratch.path().join(format!("a-rather-long-name-to-fill-the-buffer-{name}")), "").unwrap();
    }
    let dir = open(scratch.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let names = read_dir(dir.as_fd()).unwrap();
    assert_eq!(names.len(), 600);
    assert!(!names.iter().any(|name| name == Path::new("..")));
}

#[test]
fn descriptor_duplicated_onto_itself_loses_close_on_exec() {
    let fd = open(Path::new("/proc"), OFlags::PATH, Mode::empty()).unwrap();
    dup_onto(fd.as_fd(), fd.as_raw_fd().unsigned_abs()).unwrap();
    assert_eq!(rustix::io::fcntl_getfd(&fd).unwrap(), FdFlags::empty());
}

#[test]
fn both_ways_mark_descriptors_close_on_exec() {
    for way in [cloexec_from, cloexec_each_from] {
        let fd = open(Path::new("/proc/version"), OFlags::RDONLY, Mode::empty()).unwrap();
        // A number that no other test of this process comes near.
        let high = rustix::io::fcntl_dupfd_cloexec(&fd, 900).unwrap();
        rustix::io::fcntl_setfd(&high, FdFlags::empty()).unwrap();
        way(900).unwrap();
        assert_eq!(rustix::io::fcntl_getfd(&high).unwrap(), FdFlags::CLOEXEC);
    }
}
