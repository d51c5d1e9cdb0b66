//! `cloison try`: a container with no bundle, no image, and nothing left of it afterwards.
//!
//! The command gets a view of a directory in which it may change everything: an overlay whose upper layer is a tmpfs. Both are
//! mounted in a mount namespace of this process alone, so the kernel takes them away when the process ends, however it ends.
//! From there on it is an ordinary container, run from an ordinary bundle that lies on the same tmpfs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, CreateOptions, RunOptions, Runtime};
use cloison::spec::{Root, Spec};
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{
    Errno, FileType, FsMountFlags, Kernel, Linux, Mode, MountAttrFlags, MountPropagationFlags, OFlags, Stat,
};
use cloison_linux::{launch, sealed};

use crate::args::path;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Try {
    /// Directory to look at; nothing in it is changed
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = path())]
    rootfs: PathBuf,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Command to run [default: sh]
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Why there is no throw-away root file system.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TryError {
    /// This process gets no mount namespace of its own.
    #[error("cannot make a namespace of one's own to mount in")]
    Namespace(#[source] Errno),
    /// The runtime cannot run from a copy of itself.
    #[error("cannot seal a copy of the runtime")]
    Sealing(#[source] Errno),
    /// The mounts of the namespace stay tied to those of the host.
    #[error("cannot keep mounts from spreading to the host")]
    Propagation(#[source] Errno),
    /// A directory cannot be opened or made, or is none.
    #[error("cannot use the directory {path:?}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        error: Errno,
    },
    /// A file system cannot be mounted.
    #[error("cannot mount a file system of type {fs_type}{log}")]
    Mount {
        /// Its type.
        fs_type: &'static str,
        /// What the kernel says about it, after a colon.
        log: String,
        /// Its errno.
        #[source]
        error: Errno,
    },
    /// A word of the command is not UTF-8, as all text of a configuration has to be.
    #[error("the command has a word that is not UTF-8: {0:?}")]
    Word(OsString),
}

impl Try {
    /// Runs the command; the exit code is the command's own, or 128 and the signal that killed it.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        if !launch::exe_switch_supported() {
            // Begins anew, which must not be after a caller has become root of a namespace.
            sealed::ensure_sealed_copy().map_err(TryError::Sealing)?;
        }
        let is_root = rustix::process::geteuid().is_root();
        let spec = self.spec(is_root)?;
        let bundle = throw_away_bundle(&self.rootfs, is_root)?;
        let config = bundle.join("config.json");
        fs::write(&config, spec.to_json()).map_err(|error| Error::Write { path: config, error })?;
        let create = CreateOptions {
            id: ContainerId::parse(&format!("try-{}", process::id()))?,
            bundle,
            config: None,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            takes_streams: false,
        };
        let options = RunOptions {
            create,
            detach: false,
            keep: false,
            no_subreaper: false,
            monitor: None,
            deadline: None,
        };
        Ok(ExitCode::from(lifecycle::run(runtime, &options)?))
    }

    /// The configuration that `cloison spec` writes, with this command, and with a root that may be written to.
    /// Where somebody else than root has become root of a user namespace, no other id is in it that terminals could be given to.
    fn spec(&self, is_root: bool) -> Result<Spec, TryError> {
        let mut spec = cloison::spec::example(false);
        if !is_root {
            spec.mounts
                .iter_mut()
                .for_each(|mount| mount.options.retain(|option| !option.starts_with("gid=")));
            // Nor may anybody make device nodes in it.
            spec.linux.resources.devices.clear();
        }
        spec.root = Root { path: ROOTFS.to_owned(), readonly: false };
        spec.process.terminal = self.tty;
        spec.process.args = match self.command.as_slice() {
            [] => vec!["sh".to_owned()],
            words => words.iter().map(text).collect::<Result<_, _>>()?,
        };
        Ok(spec)
    }
}

fn text(word: &OsString) -> Result<String, TryError> {
    word.clone().into_string().map_err(TryError::Word)
}

/// The root file system's name in the bundle.
const ROOTFS: &str = "rootfs";
/// Where the overlay keeps what is changed.
const UPPER: &str = "upper";
/// Where the overlay prepares it.
const WORK: &str = "work";

/// Makes a bundle whose root file system is a copy-on-write view of `rootfs`, in a new mount namespace of this process.
///
/// An ordinary user gets a user namespace, too, which has the right to mount (overlay: Linux 5.11), and in which only what is the user's own
/// can be changed. A directory that was there can be emptied in it, but before Linux 6.6 not removed (EIO): overlay marks the place by an
/// attribute that an ordinary user's tmpfs had not (`CONFIG_TMPFS_XATTR`).
fn throw_away_bundle(rootfs: &Path, is_root: bool) -> Result<PathBuf, TryError> {
    if is_root {
        Linux.unshare(NamespaceFlags::MOUNT).map_err(TryError::Namespace)?;
    } else {
        become_root_of_a_namespace()?;
    }
    // What the host mounts later may come in; what is mounted here must not get out.
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Linux.mount_propagation(Path::new("/"), downstream).map_err(TryError::Propagation)?;
    // Opened before the tmpfs may cover it, but in this namespace: overlay takes no layer of another one.
    let lower = open_directory(rootfs)?;

    let bundle = env::temp_dir();
    let ground = Mount::of("tmpfs")?.set("mode", "0700")?.attach(&bundle)?;
    for name in [UPPER, WORK, ROOTFS] {
        let made = Linux.mkdirat(ground.as_fd(), Path::new(name), Mode::from_raw_mode(0o755));
        made.map_err(|error| TryError::Directory { path: bundle.join(name), error })?;
    }
    let upper = open_directory(&bundle.join(UPPER))?;
    let work = open_directory(&bundle.join(WORK))?;
    // The container's root takes its owner and mode from the upper layer; nothing can be given to who is not in the namespace.
    let copied = Linux.fstat(lower.as_fd()).and_then(|stat| {
        if is_root {
            Linux.fchown(upper.as_fd(), stat.st_uid, stat.st_gid)?;
        }
        Linux.fchmod(upper.as_fd(), Mode::from_raw_mode(stat.st_mode))
    });
    copied.map_err(|error| TryError::Directory { path: bundle.join(UPPER), error })?;
    let layers = Layers { upper: &upper, work: &work, is_root };
    match layers.over(&lower, &bundle.join(ROOTFS)) {
        // Below mounts that the kernel has locked, an overlay would uncover what they cover.
        Err(TryError::Mount { error: Errno::INVAL, .. }) if !is_root => {
            each_by_itself(&lower, &bundle)?;
        }
        done => done?,
    }
    Ok(bundle)
}

/// Where an overlay keeps what is changed.
struct Layers<'d> {
    upper: &'d OwnedFd,
    work: &'d OwnedFd,
    is_root: bool,
}

impl Layers<'_> {
    /// Mounts a view of `lower` on a directory.
    fn over(&self, lower: &OwnedFd, target: &Path) -> Result<(), TryError> {
        let overlay = Mount::of("overlay")?;
        // What an overlay remembers of a file is in attributes that only root of the machine may set, but for this.
        let overlay = if self.is_root { overlay } else { overlay.flag("userxattr")? };
        let overlay = overlay
            .set("lowerdir", &path_of(lower))?
            .set("upperdir", &path_of(self.upper))?
            .set("workdir", &path_of(self.work))?;
        overlay.attach(target).map(drop)
    }
}

/// What a container has of its own, so that nobody misses the host's.
const OWN: [&str; 4] = ["proc", "sys", "dev", "run"];

/// Where the layers of each directory are.
const LAYERS: [&str; 2] = ["uppers", "works"];

/// The largest file beside the directories that is copied, in bytes.
const LARGEST_COPY: u64 = 1 << 20;

/// A directory with a view of each directory in `lower` that has no mounts below it, and with copies of its links and small files.
fn each_by_itself(lower: &OwnedFd, bundle: &Path) -> Result<(), TryError> {
    let failed = |path: &Path, error: &io::Error| TryError::Directory {
        path: path.to_owned(),
        error: Errno::from_io_error(error).unwrap_or(Errno::IO),
    };
    // In the others, overlay has left directories of its own.
    for layer in LAYERS {
        fs::create_dir(bundle.join(layer)).map_err(|error| failed(&bundle.join(layer), &error))?;
    }
    let from = PathBuf::from(path_of(lower));
    let entries = fs::read_dir(&from).map_err(|error| failed(&from, &error))?;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let target = bundle.join(ROOTFS).join(&name);
        let Ok(found) = Found::at(lower, Path::new(&name)) else { continue };
        let copied = if found.is(FileType::Symlink) {
            found.copy_link(&target)
        } else if found.is(FileType::Directory) {
            let places = LAYERS.map(|layer| bundle.join(layer).join(&name));
            places
                .iter()
                .chain([&target])
                .try_for_each(fs::create_dir)
                .map_err(|error| failed(&target, &error))?;
            let (upper, work) = (open_directory(&places[0])?, open_directory(&places[1])?);
            let layers = Layers { upper: &upper, work: &work, is_root: false };
            match layers.over(&found.fd, &target) {
                Err(TryError::Mount { .. }) if OWN.iter().any(|own| name == *own) => {}
                Err(TryError::Mount { error: Errno::INVAL, .. }) => {
                    log::warn!("/{} is empty: there are mounts in it", name.to_string_lossy());
                }
                done => done?,
            }
            Ok(())
        } else if found.is(FileType::RegularFile) && found.size() <= LARGEST_COPY {
            found.copy_file(&target)
        } else {
            log::debug!("/{} is left out: it is no directory, and no small file", name.to_string_lossy());
            Ok(())
        };
        if let Err(error) = copied {
            log::debug!("/{} is left out: {error}", name.to_string_lossy());
        }
    }
    Ok(())
}

/// What has a name in a directory that somebody may be changing: it stays the same whatever has that name next.
struct Found {
    fd: OwnedFd,
    stat: Stat,
}

impl Found {
    fn at(directory: &OwnedFd, name: &Path) -> Result<Self, Errno> {
        // Whatever it is, this neither follows nor waits for it.
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let fd = Linux.open_in_root(directory.as_fd(), name, flags, Mode::empty())?;
        let stat = Linux.fstat(fd.as_fd())?;
        Ok(Self { fd, stat })
    }

    fn is(&self, kind: FileType) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == kind
    }

    /// In bytes, when it was found.
    fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(u64::MAX)
    }

    fn copy_link(&self, target: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(Linux.readlinkat(self.fd.as_fd(), Path::new(""))?, target)
    }

    /// As much as may be copied, should it have grown.
    fn copy_file(&self, target: &Path) -> io::Result<()> {
        let mut content = fs::File::open(path_of(&self.fd))?.take(LARGEST_COPY);
        let mut copy = fs::File::create_new(target)?;
        io::copy(&mut content, &mut copy)?;
        copy.set_permissions(fs::Permissions::from_mode(self.stat.st_mode & 0o777))
    }
}

/// A user namespace in which the caller is root and nobody else is, and a mount namespace that it owns.
fn become_root_of_a_namespace() -> Result<(), TryError> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Linux.unshare(NamespaceFlags::USER | NamespaceFlags::MOUNT).map_err(TryError::Namespace)?;
    // Nobody may leave a group by becoming root of a namespace (user_namespaces(7)).
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ];
    for (file, text) in maps {
        let written = fs::write(format!("/proc/self/{file}"), text);
        written.map_err(|error| TryError::Namespace(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    }
    Ok(())
}

fn open_directory(path: &Path) -> Result<OwnedFd, TryError> {
    let opened = Linux.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    opened.map_err(|error| TryError::Directory { path: path.to_owned(), error })
}

/// A name of a directory that needs no escaping, whatever its own name is (overlay splits layers at colons).
fn path_of(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// A file system that is being set up.
struct Mount {
    fs_type: &'static str,
    context: OwnedFd,
}

impl Mount {
    fn of(fs_type: &'static str) -> Result<Self, TryError> {
        let context =
            Linux.fsopen(fs_type).map_err(|error| TryError::Mount { fs_type, log: String::new(), error })?;
        Ok(Self { fs_type, context })
    }

    fn set(self, key: &str, value: &str) -> Result<Self, TryError> {
        Linux.fsconfig_string(self.context.as_fd(), key, value).map_err(|error| self.failed(error))?;
        Ok(self)
    }

    fn flag(self, key: &str) -> Result<Self, TryError> {
        Linux.fsconfig_flag(self.context.as_fd(), key).map_err(|error| self.failed(error))?;
        Ok(self)
    }

    /// Mounts it on a directory, and gives its root.
    fn attach(self, target: &Path) -> Result<OwnedFd, TryError> {
        let target = open_directory(target)?;
        let context = self.context.as_fd();
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let attached = Linux.fsconfig_create(context).and_then(|()| {
            let mounted = Linux.fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
            Linux.move_mount(mounted.as_fd(), target.as_fd()).map(|()| mounted)
        });
        attached.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: Errno) -> TryError {
        let log = Linux.fs_log(self.context.as_fd());
        TryError::Mount {
            fs_type: self.fs_type,
            log: if log.is_empty() { log } else { format!(": {log}") },
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use tempfile::TempDir;

    use super::*;

    fn spec(words: &[&str]) -> Spec {
        let command = words.iter().map(OsString::from).collect();
        Try { rootfs: PathBuf::from("/"), tty: false, command }.spec(true).expect("the words are UTF-8")
    }

    #[test]
    fn command_runs_on_a_root_that_may_be_written_to() {
        let spec = spec(&["touch", "/etc/x"]);
        assert_eq!(spec.process.args, ["touch", "/etc/x"]);
        assert!(!spec.root.readonly);
        assert!(!spec.process.terminal);
    }

    #[test]
    fn without_a_command_there_is_a_shell() {
        assert_eq!(spec(&[]).process.args, ["sh"]);
    }

    #[test]
    fn what_was_found_is_copied_and_not_what_takes_its_name() {
        let dir = TempDir::new().unwrap();
        let place = |name| dir.path().join(name);
        fs::write(place("secret"), "secret").unwrap();
        fs::write(place("file"), "small").unwrap();
        std::os::unix::fs::symlink("secret", place("link")).unwrap();
        let lower = open_directory(dir.path()).unwrap();
        let (file, link) =
            (Found::at(&lower, Path::new("file")).unwrap(), Found::at(&lower, Path::new("link")).unwrap());
        for name in ["file", "link"] {
            fs::remove_file(place(name)).unwrap();
        }
        std::os::unix::fs::symlink("secret", place("file")).unwrap();
        fs::hard_link(place("secret"), place("link")).unwrap();
        assert!(file.is(FileType::RegularFile) && link.is(FileType::Symlink));
        file.copy_file(&place("copy")).unwrap();
        link.copy_link(&place("copied link")).unwrap();
        assert_eq!(fs::read_to_string(place("copy")).unwrap(), "small");
        assert_eq!(fs::read_link(place("copied link")).unwrap(), Path::new("secret"));
        fs::write(place("large"), vec![0; 10]).unwrap();
        let large = Found::at(&lower, Path::new("large")).unwrap();
        fs::File::options().write(true).open(place("large")).unwrap().set_len(2 * LARGEST_COPY).unwrap();
        large.copy_file(&place("part")).unwrap();
        assert_eq!(fs::metadata(place("part")).unwrap().len(), LARGEST_COPY);
    }

    #[test]
    fn word_that_is_not_utf_8_is_refused() {
        let odd = OsString::from_vec(vec![0xff]);
        let refused = Try { rootfs: PathBuf::from("/"), tty: false, command: vec![odd] }.spec(true);
        assert!(matches!(refused, Err(TryError::Word(_))));
    }
}
