//! The program: its directory, its home, its file, and the launch.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cloison_linux::launch::{Handshake, Launch, LaunchProgram, Wait};
use cloison_linux::schedule::SchedAttr;
use cloison_linux::{Errno, FileType, Kernel, Mode, OFlags};

use super::channel::{self, ToInit};
use super::create::{Inheritance, Start};
use super::error::{Doing, Error};
use super::rootfs::{Root, is_null};
use crate::plan::Program;

/// How much of the image's `/etc/passwd` is read: far more than any real one has, far less than what would hurt.
const MAX_PASSWD: usize = 4 << 20;

/// Enters the working directory.
///
/// It is opened without following links that only a procfs has, so that no descriptor of ours can be meant by it, and checked to be
/// inside the root afterwards (CVE-2024-21626). Where root may not enter, as on a network file system, the container's user tries.
pub(super) fn working_directory(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    path: &Path,
    uid: u32,
    gid: u32,
) -> Result<(), Error> {
    let doing = || format!("chdir to cwd ({:?}) set in config.json failed", path.to_string_lossy());
    let enter = || {
        let directory = root.open(path, OFlags::PATH | OFlags::DIRECTORY)?;
        kernel.fchdir(directory.as_fd())
    };
    match enter() {
        Err(Errno::ACCESS | Errno::PERM) => {
            kernel.set_fs_ids(uid, gid);
            let entered = enter();
            kernel.set_fs_ids(0, 0);
            entered.doing(doing)?;
        }
        done => done.doing(doing)?,
    }
    let current = kernel.getcwd().doing(doing)?;
    if current.is_absolute() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "current working directory {} is outside of container mount namespace root -- possible container breakout detected",
        current.display()
    )))
}

/// Every CPU that the cgroup allows. Nothing is lost where that is not allowed: the program may then use those that the runtime may.
pub(super) fn reset_affinity(kernel: &dyn Kernel) {
    if let Err(errno) = kernel.reset_affinity() {
        log::debug!("the CPU affinity stays as it is: {errno}");
    }
}

/// The CPU scheduler's settings. The kernel has one errno for a right that is missing, and for CPUs that are: a deadline is a promise
/// about all of them (`sched_setattr(2)`).
pub(super) fn scheduler(kernel: &dyn Kernel, attr: &SchedAttr) -> Result<(), Error> {
    const SCHED_DEADLINE: u32 = 6;
    kernel.sched_setattr(attr).doing(|| match attr.policy {
        SCHED_DEADLINE => {
            "sched_setattr (with SCHED_DEADLINE, a process scheduler can't be used together with AllowedCPUs)"
        }
        _ => "sched_setattr",
    })
}

/// The standard streams belong to the user, who could not open them again (`/dev/stdout`) otherwise. Not the null device, which
/// everybody shares, and not where the kernel or the file system has another opinion.
pub(super) fn own_streams(kernel: &dyn Kernel, uid: u32) -> Result<(), Error> {
    for stream in streams() {
        let Ok(stat) = kernel.fstat(stream) else { continue };
        if stat.st_uid == uid || is_null(&stat) {
            continue;
        }
        match kernel.fchown(stream, uid, stat.st_gid) {
            Ok(()) => {}
            Err(errno @ (Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::OPNOTSUPP)) => {
                log::debug!("a standard stream keeps its owner: {errno}");
            }
            Err(errno) => return Err(errno).doing(|| format!("giving a standard stream to uid {uid}")),
        }
    }
    Ok(())
}

/// The standard streams that are open.
pub(super) fn streams() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

/// `HOME=` with the directory that the container's `/etc/passwd` has for this user, or `/`.
pub(super) fn home(kernel: &dyn Kernel, root: &Root<'_>, uid: u32) -> CString {
    let found = passwd(kernel, root).ok().and_then(|text| home_in(&text, uid));
    let home = found.unwrap_or_else(|| b"/".to_vec());
    CString::new([b"HOME=", home.as_slice()].concat()).unwrap_or_else(|_| c"HOME=/".to_owned())
}

/// Only a regular file is opened and read: a device could do something at once (a watchdog, a tape), anything else could keep us for
/// ever.
fn passwd(kernel: &dyn Kernel, root: &Root<'_>) -> Result<Vec<u8>, Errno> {
    let seen = root.open(Path::new("/etc/passwd"), OFlags::PATH)?;
    if FileType::from_raw_mode(kernel.fstat(seen.as_fd())?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let file = root.reopen(seen.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK)?;
    kernel.read_to_end(file.as_fd(), MAX_PASSWD)
}

/// The sixth field of the first line whose third is `uid` (passwd(5)).
pub(super) fn home_in(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    let uid = uid.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let is_it = fields.next()? == uid.as_bytes();
        let home = fields.nth(2)?;
        (is_it && !home.is_empty()).then(|| home.to_vec())
    })
}

/// The environment with these entries in place of others of the same names, or added.
pub(super) fn environment(env: &[CString], own: Vec<CString>) -> Vec<CString> {
    let name = |entry: &CString| entry.as_bytes().split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    let names: Vec<_> = own.iter().map(name).collect();
    let others = env.iter().filter(|entry| !names.contains(&name(entry)));
    others.cloned().chain(own).collect()
}

/// The paths that `execve` will try.
///
/// A name without a slash is looked for in `PATH`. What is missing is left out here, so that a missing program fails `create` and not
/// `start`; who may execute what is there is decided by `execve` itself, as the container's user.
pub(super) fn find(kernel: &dyn Kernel, program: &Program) -> Result<Vec<CString>, Error> {
    let name = program.path.as_ref().or(program.args.first()).map_or(c"", CString::as_c_str);
    if name.to_bytes().contains(&b'/') {
        check(kernel, name).map_err(|errno| match (path(name).to_owned(), errno) {
            (path, Errno::ISDIR) => Error::ProgramIsDirectory { path },
            (path, errno) => Error::Program { path, errno },
        })?;
        return Ok(vec![name.to_owned()]);
    }
    let directories =
        program.env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH=")).unwrap_or_default();
    let mut worst = None;
    let mut candidates = Vec::new();
    // An empty or relative entry would mean the working directory, which the image chooses.
    for directory in directories.split(|byte| *byte == b':').filter(|directory| directory.starts_with(b"/")) {
        let Ok(candidate) = CString::new([directory, b"/", name.to_bytes()].concat()) else { continue };
        match check(kernel, &candidate) {
            Ok(()) => candidates.push(candidate),
            Err(errno) if errno == Errno::ACCESS => worst = Some((candidate, errno)),
            Err(_) => {}
        }
    }
    match worst {
        _ if !candidates.is_empty() => Ok(candidates),
        Some((candidate, errno)) => Err(Error::Program { path: path(&candidate).to_owned(), errno }),
        None => Err(Error::NotInPath { name: name.to_string_lossy().into_owned() }),
    }
}

fn path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// A file that somebody may execute: `EISDIR`, `EACCES` and the errno of the search otherwise.
fn check(kernel: &dyn Kernel, name: &CStr) -> Result<(), Errno> {
    let file = kernel.open(&PathBuf::from(path(name)), OFlags::PATH, Mode::empty())?;
    let stat = kernel.fstat(file.as_fd())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Err(Errno::ISDIR),
        FileType::RegularFile if stat.st_mode & 0o111 != 0 => Ok(()),
        _ => Err(Errno::ACCESS),
    }
}

/// The launch of the plan's program.
pub(super) fn launch(
    program: &Program,
    candidates: Vec<CString>,
    env: Vec<CString>,
    inherited: &Inheritance<'_>,
) -> Result<Launch, Error> {
    let own = |fd: BorrowedFd<'_>| -> Result<OwnedFd, Error> {
        let copy = fd.try_clone_to_owned();
        copy.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .doing(|| "preparing the launch")
    };
    let wait = |start: Start<'_>| -> Result<Wait, Error> {
        let (listener, keep) = (own(start.listener)?, vec![own(start.mark)?]);
        let (close_from, be_seen) = (program.first_closed(), program.seen_waiting);
        Ok(Wait { listener, hear: ToInit::Start.byte(), keep, close_from, be_seen })
    };
    let (early, steps) = match inherited.start {
        Some(_) => program.launch_steps_around_wait(),
        None => (Vec::new(), program.launch_steps()),
    };
    Ok(Launch {
        early,
        steps,
        program: LaunchProgram { candidates },
        args: program.args.clone(),
        env,
        report: Some(own(inherited.channel)?),
        handshake: Some(Handshake { say: channel::READY, hear: ToInit::Committed.byte() }),
        wait: inherited.start.map(wait).transpose()?,
        pad: inherited.pad.map(own).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use cloison_linux::fake::{Fake, stat};

    use super::*;
    use crate::plan::process::Capabilities;

    fn program(args: &[&str], env: &[&str]) -> Program {
        let strings = |list: &[&str]| list.iter().map(|&text| CString::new(text).unwrap()).collect();
        Program {
            path: None,
            args: strings(args),
            env: strings(env),
            uid: 0,
            gid: 0,
            seen_waiting: false,
            seen_listening: false,
            groups: Some(Vec::new()),
            capabilities: Capabilities::default(),
            no_new_privileges: false,
            seccomp: None,
            limits: Vec::new(),
            preserve_fds: 0,
        }
    }

    /// A kernel with only these files.
    fn with_files(files: &[(&str, FileType, u32)]) -> Fake {
        let kernel = Fake::new();
        for (path, kind, mode) in files {
            kernel.set_stat(path, stat(*kind, *mode, 0));
        }
        kernel
    }

    fn found(kernel: &Fake, args: &[&str], env: &[&str]) -> Result<Vec<String>, String> {
        let text = |candidate: CString| candidate.into_string().unwrap();
        let found = find(kernel, &program(args, env)).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(text).collect())
    }

    const FILE: FileType = FileType::RegularFile;

    #[test]
    fn a_name_is_looked_for_in_each_directory_of_path_in_order() {
        let kernel = with_files(&[("/a/sh", FILE, 0o755), ("/c/sh", FILE, 0o001)]);
        assert_eq!(
            found(&kernel, &["sh", "-c"], &["PATH=/a:/b:/c"]),
            Ok(vec!["/a/sh".into(), "/c/sh".into()])
        );
        let opened: Vec<_> = kernel.calls().into_iter().filter(|call| call.starts_with("open(")).collect();
        assert!(opened.iter().all(|call| call.contains(", PATH, ")), "looked at, and not opened: {opened:?}");
    }

    #[test]
    fn empty_and_relative_directories_of_path_are_passed_over() {
        let kernel = with_files(&[("/a/sh", FILE, 0o755)]);
        assert_eq!(found(&kernel, &["sh"], &["PATH=:.:bin:/a:"]), Ok(vec!["/a/sh".into()]));
        assert_eq!(kernel.verbs(), ["open", "fstat"]);
        for env in [&[][..], &["PATH="], &["PATHS=/a", "XPATH=/a"]] {
            let error = found(&kernel, &["sh"], env).unwrap_err();
            assert_eq!(error, r#"exec: "sh": executable file not found in $PATH"#);
        }
    }

    #[test]
    fn a_file_that_nobody_may_execute_is_told_only_if_there_is_no_other() {
        let files = [("/a/sh", FILE, 0o644), ("/b/sh", FILE, 0o755), ("/c/sh", FileType::Directory, 0o755)];
        let kernel = with_files(&files);
        assert_eq!(found(&kernel, &["sh"], &["PATH=/a:/b"]), Ok(vec!["/b/sh".into()]));
        assert_eq!(found(&kernel, &["sh"], &["PATH=/a"]), Err(r#"exec: "/a/sh": permission denied"#.into()));
        assert_eq!(
            found(&kernel, &["sh"], &["PATH=/c"]),
            Err(r#"exec: "sh": executable file not found in $PATH"#.into()),
            "a directory is none"
        );
    }

    #[test]
    fn a_name_with_a_slash_is_taken_as_it_is() {
        let kernel =
            with_files(&[("./sh", FILE, 0o755), ("/data", FILE, 0o644), ("/fifo", FileType::Fifo, 0o777)]);
        assert_eq!(found(&kernel, &["./sh"], &["PATH=/a"]), Ok(vec!["./sh".into()]));
        assert_eq!(found(&kernel, &["/data"], &[]), Err(r#"exec: "/data": permission denied"#.into()));
        assert_eq!(found(&kernel, &["/fifo"], &[]), Err(r#"exec: "/fifo": permission denied"#.into()));
        assert_eq!(
            found(&kernel, &["/dir/"], &[]),
            Err(r#"exec: "/dir/": is a directory: permission denied"#.into())
        );
        kernel.fail_on("open(\"/gone\"", Errno::NOENT);
        assert_eq!(
            found(&kernel, &["/gone"], &[]),
            Err(r#"exec: "/gone": no such file or directory"#.into())
        );
    }

    fn root_with_descriptors(kernel: &Fake) -> Root<'_> {
        kernel.set_file_system("/proc/self/fd", 0x9fa0);
        let mut root = Root::new(kernel, kernel.descriptor("root"));
        root.keep_descriptors().unwrap();
        root
    }

    #[test]
    fn home_is_read_from_a_regular_file_alone() {
        let passwd = "x:x:7:7::/home/x:/bin/sh\n";
        for (kind, expected) in
            [(FILE, c"HOME=/home/x"), (FileType::Fifo, c"HOME=/"), (FileType::CharacterDevice, c"HOME=/")]
        {
            let kernel = with_files(&[("root/etc/passwd", kind, 0o644)]);
            kernel.set_content("root/etc/passwd", passwd);
            let root = root_with_descriptors(&kernel);
            assert_eq!(home(&kernel, &root, 7).as_c_str(), expected, "{kind:?}");
            let opened = kernel.calls().iter().any(|call| call.starts_with("reopen("));
            assert_eq!(opened, kind == FILE, "a device can do something as soon as it is opened");
        }
        let kernel = Fake::new();
        kernel.fail_on("open_in_root", Errno::NOENT);
        let root = Root::new(&kernel, kernel.descriptor("root"));
        assert_eq!(home(&kernel, &root, 7).as_c_str(), c"HOME=/");
    }

    #[test]
    fn a_home_that_cannot_be_in_an_environment_is_the_root() {
        let kernel = with_files(&[("root/etc/passwd", FILE, 0o644)]);
        kernel.set_content("root/etc/passwd", "x:x:7:7::/a\0b:\n");
        let root = root_with_descriptors(&kernel);
        assert_eq!(home(&kernel, &root, 7).as_c_str(), c"HOME=/");
    }

    #[test]
    fn where_root_may_not_enter_the_user_tries() {
        let kernel = Fake::new();
        kernel.fail_at(0, Errno::ACCESS);
        let root = Root::new(&kernel, kernel.descriptor("root"));
        working_directory(&kernel, &root, Path::new("/home/x"), 7, 8).unwrap();
        let open = r#"open_in_root(root, "/home/x", DIRECTORY|PATH, 0o0)"#;
        let calls = [open, "set_fs_ids(7, 8)", open, "fchdir(root/home/x)", "set_fs_ids(0, 0)", "getcwd()"];
        assert_eq!(kernel.calls(), calls);

        let kernel = Fake::new();
        kernel.fail_on("fchdir", Errno::ACCESS);
        let root = Root::new(&kernel, kernel.descriptor("root"));
        let error = working_directory(&kernel, &root, Path::new("/home/x"), 7, 8).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"chdir to cwd ("/home/x") set in config.json failed: permission denied"#
        );
        assert_eq!(kernel.calls().last().unwrap(), "set_fs_ids(0, 0)", "and is root again");
    }

    #[test]
    fn streams_change_their_owner_but_for_the_null_device() {
        let kernel = Fake::new();
        kernel.set_stat("fd 0", stat(FileType::CharacterDevice, 0o666, cloison_linux::makedev(1, 3)));
        let mut own = stat(FileType::Fifo, 0o600, 0);
        own.st_uid = 7;
        kernel.set_stat("fd 1", own);
        kernel.fail_on("fchown(fd 2", Errno::ROFS);
        own_streams(&kernel, 7).unwrap();
        assert_eq!(kernel.calls().into_iter().filter(|call| call.starts_with("fchown")).count(), 1);
        let kernel = Fake::new();
        kernel.fail_on("fchown(fd 1", Errno::IO);
        assert!(own_streams(&kernel, 7).is_err());
    }

    #[test]
    fn home_is_the_sixth_field_of_the_first_line_with_the_uid() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbroken\na:x:7:7::/a:/bin/sh\nb:x:7:7::/b:\n";
        assert_eq!(home_in(passwd, 7).as_deref(), Some(&b"/a"[..]));
        assert_eq!(home_in(passwd, 8), None);
    }

    #[test]
    fn an_empty_home_is_no_home() {
        assert_eq!(home_in(b"x:x:5:5:::/bin/sh\n", 5), None);
        let env = environment(&[c"HOME=".to_owned(), c"A=1".to_owned()], vec![c"HOME=/x".to_owned()]);
        assert_eq!(env, [c"A=1".to_owned(), c"HOME=/x".to_owned()]);
    }
}
