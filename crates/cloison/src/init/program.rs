//! The program: its directory, its home, its file, and the launch.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cloison_linux::launch::{Handshake, Launch, LaunchProgram, Wait};
use cloison_linux::{Errno, FileType, Kernel, Mode, OFlags};

use super::channel::{self, ToInit};
use super::create::{Inheritance, Start};
use super::error::{Doing, Error};
use super::rootfs::{Root, is_null};
use crate::plan::{Plan, Program};

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

/// Only a regular file is read: anything else could keep us for ever.
fn passwd(kernel: &dyn Kernel, root: &Root<'_>) -> Result<Vec<u8>, Errno> {
    let file = root.open(Path::new("/etc/passwd"), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = kernel.fstat(file.as_fd())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    kernel.read_to_end(file.as_fd(), MAX_PASSWD)
}

/// The sixth field of the first line whose third is `uid` (passwd(5)).
fn home_in(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    let uid = uid.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let is_it = fields.next()? == uid.as_bytes();
        let home = fields.nth(2)?;
        (is_it && !home.is_empty()).then(|| home.to_vec())
    })
}

/// The environment with `home` in place of an empty `HOME`, or added.
pub(super) fn environment(env: &[CString], home: Option<CString>) -> Vec<CString> {
    let Some(home) = home else { return env.to_vec() };
    let others = env.iter().filter(|entry| !entry.as_bytes().starts_with(b"HOME="));
    others.cloned().chain([home]).collect()
}

/// The paths that `execve` will try.
///
/// A name without a slash is looked for in `PATH`. What is missing is left out here, so that a missing program fails `create` and not
/// `start`; who may execute what is there is decided by `execve` itself, as the container's user.
pub(super) fn find(kernel: &dyn Kernel, program: &Program) -> Result<Vec<CString>, Error> {
    let name = program.args.first().map_or(c"", CString::as_c_str);
    if name.to_bytes().contains(&b'/') {
        check(kernel, name).map_err(|errno| Error::Program { path: path(name).to_owned(), errno })?;
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
    plan: &Plan,
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
        let close_from = plan.program.first_closed();
        Ok(Wait { listener, hear: ToInit::Start.byte(), keep, close_from })
    };
    Ok(Launch {
        steps: plan.program.launch_steps(),
        program: LaunchProgram { candidates },
        args: plan.program.args.clone(),
        env,
        report: Some(own(inherited.channel)?),
        handshake: Some(Handshake { say: channel::READY, hear: ToInit::Committed.byte() }),
        wait: inherited.start.map(wait).transpose()?,
        pad: inherited.pad.map(own).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_the_sixth_field_of_the_first_line_with_the_uid() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbroken\na:x:7:7::/a:/bin/sh\nb:x:7:7::/b:\n";
        assert_eq!(home_in(passwd, 7).as_deref(), Some(&b"/a"[..]));
        assert_eq!(home_in(passwd, 8), None);
    }

    #[test]
    fn an_empty_home_is_no_home() {
        assert_eq!(home_in(b"x:x:5:5:::/bin/sh\n", 5), None);
        let env = environment(&[c"HOME=".to_owned(), c"A=1".to_owned()], Some(c"HOME=/x".to_owned()));
        assert_eq!(env, [c"A=1".to_owned(), c"HOME=/x".to_owned()]);
    }
}
