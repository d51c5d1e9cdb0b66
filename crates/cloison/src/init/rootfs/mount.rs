//! One mount: made detached, then moved onto a target that is known by its descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use cloison_linux::remount::Reach;
use cloison_linux::{Errno, FsMountFlags, Kernel, Mode, MountAttrFlags, MountFlags, OFlags, OpenTreeFlags};

use super::attributes::{Changes, propagate};
use super::{Root, attributes, copy_up, host_instance, is_directory, is_procfs};
use crate::init::error::{Doing, Error};
use crate::plan::action::{MountSource, MountStep};
use crate::plan::mount_options::MountOptions;

const PROC_ROOT_INODE: u64 = 1;

/// `fsconfig(2)` takes values up to this many bytes.
const MAX_FSCONFIG_VALUE: usize = 255;

/// Why the kernel may let the root of a user namespace have no instance of these file systems (`mount_too_revealing`).
const COVERED: &str = "where parts of the one that is there are covered, as by the maskedPaths and readonlyPaths of a container around \
                       this one, no other may show them";

/// What may be mounted inside `/proc`: what lxcfs emulates.
const ALLOWED_IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Mounts one entry of `/mounts`. `prepared` is the detached, idmapped mount of the host's side, `reached` the source as it was opened
/// before the init became root of a user namespace.
///
/// Gives back the mount if there is still something to do with it.
pub(crate) fn mount(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    step: &MountStep,
    prepared: Option<BorrowedFd<'_>>,
    reached: Option<BorrowedFd<'_>>,
) -> Result<Mounted, Error> {
    if step.options.remount {
        return remount(kernel, root, step).map(|()| Mounted::default());
    }
    if fs_type(step).is_empty() {
        return propagate_only(root, step, kernel).map(|()| Mounted::default());
    }
    let bind = match &step.source {
        MountSource::Bind(source) => Some(bind_source(kernel, source, prepared, reached)?),
        MountSource::FileSystem { .. } => None,
    };
    let target = Target::find(kernel, root, step, bind.as_ref())?;
    let mut is_the_hosts = false;
    let mut reach = Reach::Recursive;
    let mut changes = Changes::default();
    let tree = match (&step.source, bind) {
        (MountSource::Bind(source), Some(bind)) => {
            bind_tree(kernel, source, &bind, &step.options, &mut changes)?
        }
        (MountSource::FileSystem { fs_type, source }, _) => {
            let options = with_mode_of(&target, fs_type, &step.options);
            if needs_mount_2(&options) {
                return mount_2(kernel, root, step, &target, fs_type, source, &options);
            }
            match (file_system(kernel, step, fs_type, source, &options, &mut changes), &step.or_bind) {
                (Err(error), Some(path)) if error.errno() == Some(Errno::PERM) => {
                    let mut attributes = options.attributes.set;
                    if step.host_stays_as_it_is() {
                        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
                    }
                    let how = if step.host_stays_as_it_is() { ", read-only" } else { "" };
                    log::warn!("{error}: the host's {} is bound instead{how}", path.display());
                    // What is mounted in it is covered; who comes to a closed directory there all the same does not come further than we do.
                    reach = if step.host_stays_as_it_is() { Reach::Reachable } else { Reach::Recursive };
                    changes.restrict(attributes, reach, path);
                    // Where that is not there, the first error says more.
                    is_the_hosts = true;
                    host_instance::copy(kernel, path).map_err(|_| error)?
                }
                (made, _) => made?,
            }
        }
        (MountSource::Bind(source), None) => {
            return Err(Error::Refused(format!("bind mount without a source: {}", source.display())));
        }
    };
    if step.options.copy_up && target.existed {
        copy_up::copy_up(kernel, root, &step.destination, tree.as_fd())?;
    }
    // Not earlier: they may make it read-only.
    changes.all_below(step.options.recursive, reach, &step.destination);
    changes.set_and_attach(kernel, tree.as_fd(), target.fd.as_fd(), &step.destination)?;
    propagate(kernel, tree.as_fd(), &step.options.propagation, &step.destination)?;
    if let Some(path) = step.or_bind.as_ref().filter(|_| is_the_hosts && step.host_stays_as_it_is()) {
        host_instance::cover(kernel, tree.as_fd(), path)?;
    }
    Ok(Mounted::of(step, tree, is_kernels_own(step)))
}

/// What a mount has left to do.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    /// Whether something is covered that was not.
    pub(crate) covers: bool,
    /// The mount, if it is a procfs or sysfs.
    pub(crate) own: Option<Rc<OwnedFd>>,
    /// The mount, if it is to be made read-only when all is in place.
    pub(crate) late_read_only: Option<Rc<OwnedFd>>,
}

impl Mounted {
    fn of(step: &MountStep, mount: OwnedFd, own: bool) -> Self {
        let mount = Rc::new(mount);
        let late_read_only = step.read_only_late.then(|| Rc::clone(&mount));
        Self { covers: true, own: own.then_some(mount), late_read_only }
    }
}

/// The file or directory that is covered.
struct Target {
    fd: OwnedFd,
    mode: u32,
    existed: bool,
}

impl Target {
    fn find(
        kernel: &dyn Kernel,
        root: &Root<'_>,
        step: &MountStep,
        source: Option<&BindSource<'_>>,
    ) -> Result<Self, Error> {
        let path = step.destination.as_path();
        let doing = || format!("making the mount point {} in the root file system", path.display());
        let (fd, existed) = match root.open(path, strictness(step)) {
            Ok(fd) => (fd, true),
            Err(Errno::NOENT) => {
                let is_file = source.is_some_and(|source| !source.is_directory);
                (if is_file { root.make_file(path) } else { root.make_directory(path) }.doing(doing)?, false)
            }
            Err(Errno::LOOP | Errno::NOTDIR) if strictness(step).contains(OFlags::NOFOLLOW) => {
                return Err(Error::Refused(format!(
                    "filesystem {:?} must be mounted on ordinary directory, which {} is not",
                    fs_type(step),
                    path.display()
                )));
            }
            Err(errno) => return Err(errno).doing(doing),
        };
        let stat = kernel.fstat(fd.as_fd()).doing(doing)?;
        let root_stat = kernel.fstat(root.fd()).doing(doing)?;
        if (stat.st_dev, stat.st_ino) == (root_stat.st_dev, root_stat.st_ino) {
            return Err(Error::Refused(format!(
                "mountpoint {} is on the top of the root file system",
                path.display()
            )));
        }
        check_proc(kernel, fd.as_fd(), &stat, step, source)?;
        Ok(Self { fd, mode: stat.st_mode & 0o7777, existed })
    }
}

/// A procfs or sysfs goes onto a real directory, never through a link that the image has put there (CVE-2019-19921,
/// CVE-2023-27561).
fn strictness(step: &MountStep) -> OFlags {
    if is_kernels_own(step) { OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW } else { OFlags::PATH }
}

fn is_kernels_own(step: &MountStep) -> bool {
    matches!(fs_type(step), "proc" | "sysfs")
}

fn fs_type(step: &MountStep) -> &str {
    match &step.source {
        MountSource::Bind(_) => "bind",
        MountSource::FileSystem { fs_type, .. } => fs_type,
    }
}

/// Nothing but a procfs goes onto `/proc`, and nothing into it but what lxcfs emulates (CVE-2019-16884): what looks like
/// `/proc/self/attr` must be it.
fn check_proc(
    kernel: &dyn Kernel,
    target: BorrowedFd<'_>,
    stat: &cloison_linux::Stat,
    step: &MountStep,
    source: Option<&BindSource<'_>>,
) -> Result<(), Error> {
    let path = step.destination.as_path();
    let on_procfs =
        || is_procfs(kernel, target).doing(|| format!("checking the mount point {}", path.display()));
    let covers_proc = path == Path::new("/proc") || (stat.st_ino == PROC_ROOT_INODE && on_procfs()?);
    if covers_proc {
        let is_proc = fs_type(step) == "proc" || source.is_some_and(|source| source.is_procfs(kernel));
        return if is_proc {
            Ok(())
        } else {
            Err(Error::Refused(format!(
                "{:?} cannot be mounted because it is not of type proc",
                path.display()
            )))
        };
    }
    if on_procfs()? && !ALLOWED_IN_PROC.iter().any(|allowed| path == Path::new(allowed)) {
        return Err(Error::Refused(format!(
            "{:?} cannot be mounted because it is inside /proc",
            path.display()
        )));
    }
    Ok(())
}

/// What a bind mount shows.
struct BindSource<'p> {
    fd: Opened<'p>,
    is_directory: bool,
}

enum Opened<'p> {
    /// By us: a file or directory.
    Here(OwnedFd),
    /// By us, before we became root of a user namespace.
    Earlier(BorrowedFd<'p>),
    /// By the host's side: a detached mount.
    ByHost(BorrowedFd<'p>),
}

impl BindSource<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Opened::Here(fd) => fd.as_fd(),
            Opened::ByHost(fd) | Opened::Earlier(fd) => *fd,
        }
    }

    fn is_procfs(&self, kernel: &dyn Kernel) -> bool {
        is_procfs(kernel, self.fd()).unwrap_or(false)
    }
}

/// A detached copy of the mount that a bind mount's source is now.
pub(crate) fn detached_source(kernel: &dyn Kernel, step: &MountStep) -> Result<OwnedFd, Error> {
    let MountSource::Bind(path) = &step.source else {
        return Err(Error::Refused(format!("{} is not a bind mount", step.destination.display())));
    };
    let source = bind_source(kernel, path, None, None)?;
    cloned(kernel, source.fd(), &step.options).doing(|| format!("binding {}", path.display()))
}

/// A detached copy of a mount, with those below it if `rbind` was said.
fn cloned(kernel: &dyn Kernel, mount: BorrowedFd<'_>, options: &MountOptions) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE;
    flags.set(OpenTreeFlags::AT_RECURSIVE, options.bind == Some(true));
    kernel.open_tree(mount, flags)
}

fn bind_source<'p>(
    kernel: &dyn Kernel,
    path: &Path,
    prepared: Option<BorrowedFd<'p>>,
    reached: Option<BorrowedFd<'p>>,
) -> Result<BindSource<'p>, Error> {
    let doing = || format!("opening the source {} of a bind mount", path.display());
    let fd = match prepared {
        Some(tree) => Opened::ByHost(tree),
        None => match (kernel.open(path, OFlags::PATH, Mode::empty()), reached) {
            // The root of a user namespace may not go there, and has opened it before it became that.
            (Err(Errno::ACCESS | Errno::PERM), Some(reached)) => Opened::Earlier(reached),
            (opened, _) => Opened::Here(opened.doing(doing)?),
        },
    };
    let mut source = BindSource { fd, is_directory: false };
    source.is_directory = is_directory(&kernel.fstat(source.fd()).doing(doing)?);
    Ok(source)
}

/// A detached copy of the source's mount; the attributes that were asked for are changes to come.
fn bind_tree(
    kernel: &dyn Kernel,
    path: &Path,
    source: &BindSource<'_>,
    options: &MountOptions,
    changes: &mut Changes,
) -> Result<OwnedFd, Error> {
    if let Some(option) = options.data.first() {
        return Err(Error::Refused(format!(
            "bind mounts cannot have any filesystem-specific options applied: {option:?} on {}",
            path.display()
        )));
    }
    let doing = || format!("binding {}", path.display());
    let tree = match &source.fd {
        Opened::ByHost(tree) => tree
            .try_clone_to_owned()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .doing(doing)?,
        Opened::Here(_) | Opened::Earlier(_) => cloned(kernel, source.fd(), options).doing(doing)?,
    };
    if !options.attributes.is_empty() {
        changes.of_bind(options.of_bind(), path);
    }
    Ok(tree)
}

/// A new instance of a file system, detached.
fn file_system(
    kernel: &dyn Kernel,
    step: &MountStep,
    fs_type: &str,
    source: &str,
    options: &MountOptions,
    changes: &mut Changes,
) -> Result<OwnedFd, Error> {
    let doing = || format!("mounting a file system of type {fs_type:?} on {}", step.destination.display());
    let context = kernel.fsopen(fs_type).doing(doing)?;
    configure(kernel, context.as_fd(), source, options).map_err(|(errno, what)| Error::Mount {
        doing: format!("{}, {what}", doing()),
        errno,
        log: kernel.fs_log(context.as_fd()),
    })?;
    let fsmounted = |attributes| kernel.fsmount(context.as_fd(), FsMountFlags::empty(), attributes);
    let made = match fsmounted(options.attributes.set) {
        // fsmount(2) knows this one since Linux 5.14, mount(2) since 5.10.
        Err(Errno::INVAL) if options.attributes.set.contains(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW) => {
            changes.no_symlinks(&step.destination);
            fsmounted(options.attributes.set - MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW)
        }
        made => made,
    };
    let mount = match made {
        Err(errno @ Errno::PERM) if matches!(fs_type, "proc" | "sysfs") => {
            return Err(Error::Call { doing: format!("{} ({COVERED})", doing()), errno });
        }
        made => made.doing(doing)?,
    };
    if let Some(label) = &options.label {
        kernel.set_label(mount.as_fd(), label).doing(|| format!("{}, labelling it {label}", doing()))?;
    }
    Ok(mount)
}

fn configure(
    kernel: &dyn Kernel,
    fs: BorrowedFd<'_>,
    source: &str,
    options: &MountOptions,
) -> Result<(), (Errno, String)> {
    let set = |key: &str, value: Option<&str>| {
        let done = match value {
            Some(value) => kernel.fsconfig_string(fs, key, value),
            None => kernel.fsconfig_flag(fs, key),
        };
        done.map_err(|errno| {
            (errno, value.map_or_else(|| format!("option {key}"), |value| format!("option {key}={value}")))
        })
    };
    if !source.is_empty() {
        set("source", Some(source))?;
    }
    for flag in &options.super_flags {
        set(flag, None)?;
    }
    if options.read_only == Some(true) {
        set("ro", None)?;
    }
    for option in &options.data {
        match option.split_once('=') {
            Some((key, value)) => set(key, Some(value))?,
            None => set(option, None)?,
        }
    }
    kernel.fsconfig_create(fs).map_err(|errno| (errno, "creating it".to_owned()))
}

/// A new tmpfs has the permissions of the directory that it covers, unless it is told others.
fn with_mode_of(target: &Target, fs_type: &str, options: &MountOptions) -> MountOptions {
    let mut options = options.clone();
    if fs_type == "tmpfs" && target.existed {
        options.data.insert(0, format!("mode={:04o}", target.mode));
    }
    options
}

/// True if `fsconfig(2)` cannot say it: flags that only `mount(2)` has, values that are too long (an overlay of many layers).
fn needs_mount_2(options: &MountOptions) -> bool {
    let too_long =
        |option: &String| option.split_once('=').is_some_and(|(_, value)| value.len() > MAX_FSCONFIG_VALUE);
    options.old_flags != 0 || options.data.iter().any(too_long)
}

fn mount_2(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    step: &MountStep,
    target: &Target,
    fs_type: &str,
    source: &str,
    options: &MountOptions,
) -> Result<Mounted, Error> {
    let path = step.destination.as_path();
    let doing = || format!("mounting a file system of type {fs_type:?} on {}", path.display());
    if options.copy_up {
        return Err(Error::Refused(format!(
            "{}: tmpcopyup does not go with iversion, silent or very long options",
            doing()
        )));
    }
    if let Some(label) = &options.label {
        return Err(Error::Refused(format!(
            "{}: the label {label} does not go with iversion, silent or very long options",
            doing()
        )));
    }
    let mut flags = options.legacy_flags();
    flags.set(MountFlags::RDONLY, options.read_only == Some(true));
    kernel.mount(source, target.fd.as_fd(), fs_type, flags, &joined(&options.data)).doing(doing)?;
    // mount(2) gives no descriptor: what is on top of the target now is opened by its path, below the root.
    let mount = root.open(path, OFlags::PATH).doing(doing)?;
    attributes::set_all(kernel, mount.as_fd(), step.options.recursive).doing(doing)?;
    propagate(kernel, mount.as_fd(), &step.options.propagation, path)?;
    // Nor is it sure to be ours.
    Ok(Mounted::of(step, mount, false))
}

/// `remount`: changes what is mounted there already; of a bind mount its attributes, else those and the file system's own.
fn remount(kernel: &dyn Kernel, root: &Root<'_>, step: &MountStep) -> Result<(), Error> {
    let path = step.destination.as_path();
    let doing = || format!("remounting {}", path.display());
    let target = root.open(path, OFlags::PATH).doing(doing)?;
    let mut flags = step.options.legacy_flags();
    flags.set(MountFlags::BIND, step.options.bind.is_some());
    kernel.remount(target.as_fd(), flags, &step.options.data.join(",")).doing(doing)?;
    attributes::set_all(kernel, target.as_fd(), step.options.recursive).doing(doing)?;
    propagate(kernel, target.as_fd(), &step.options.propagation, path)
}

/// An entry without a type mounts nothing: it changes the propagation of what is mounted there.
fn propagate_only(root: &Root<'_>, step: &MountStep, kernel: &dyn Kernel) -> Result<(), Error> {
    let path = step.destination.as_path();
    let mount = root.open(path, OFlags::PATH).doing(|| format!("opening the mount {}", path.display()))?;
    propagate(kernel, mount.as_fd(), &step.options.propagation, path)
}

/// Options as mount(2) takes them. A label may have commas, which only quotes keep in it.
fn joined(data: &[String]) -> String {
    let quoted = |entry: &String| match entry.strip_prefix("context=") {
        Some(label) => format!("context=\"{label}\""),
        None => entry.clone(),
    };
    data.iter().map(quoted).collect::<Vec<_>>().join(",")
}
