//! `checkpoint`: a running container becomes files.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{Kernel, Linux, Mode, OFlags};

use super::conception::facts;
use super::delete::destroy;
use super::error::Doing as _;
use super::{Error, Runtime, rootless, store_with};
use crate::checkpoint::criu::{Criu, Setup};
use crate::checkpoint::external::{External, namespaces_to_dump, save_streams};
use crate::checkpoint::rpc::{self, Features, Kind, PageServer, Request};
use crate::checkpoint::{self, CgroupsMode, Dump};
use crate::errno::Text;
use crate::id::ContainerId;
use crate::init::channel::Failure;
use crate::notify;
use crate::plan::namespaces::Namespaces;
use crate::plan::{Options, Plan};
use crate::spec::Spec;
use crate::state::{Container, NOTIFY, State, Status};

/// How much CRIU writes to its log: warnings, and what it does.
pub(super) const LOG_LEVEL: i32 = 4;

/// The first CRIU that tells itself when its server of lazy pages is ready.
const TELLS_READY: i32 = 31_500;

/// The first CRIU that can freeze a v2 cgroup.
const FREEZES_V2: i32 = 31_400;

/// Checkpoints a container. It is gone afterwards, unless it is to go on or only its memory was asked for.
///
/// # Errors
/// [`Error::NotCheckpointable`] for a container that does not run, [`Error::Checkpoint`] for what CRIU cannot do: the container goes on
/// then.
pub fn checkpoint(
    runtime: &Runtime,
    id: &ContainerId,
    options: &checkpoint::Options,
    dump: &Dump,
) -> Result<(), Error> {
    let container = store_with(runtime, id)?.open(id)?;
    let state = container.load()?;
    let status = container.status(&state)?;
    let Some(init) = state.init.filter(|_| matches!(status, Status::Running | Status::Paused)) else {
        return Err(Error::NotCheckpointable(status));
    };
    let (spec, plan) = conceived(&container, &state)?;
    checkpoint::can_be_kept(&plan)?;
    let images = directory(&options.image_path)?;
    let work = options.work_path.as_deref().map(directory).transpose()?;
    let log_name = "dump.log";
    let log = options.work_path.as_ref().unwrap_or(&options.image_path).join(log_name);
    let setup = Setup { cgroup: None, inherited: &[], prepare: &without_streams, log };
    let mut criu = Criu::start(&Linux, &setup)?;

    let root = Path::new("/proc").join(init.pid.as_raw_nonzero().to_string()).join("root");
    let doing = || format!("opening the container's root {}", root.display());
    let root = Linux.open(&root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).doing(doing())?;
    let namespaces = Namespaces::of(&spec);
    let mut request = rpc::Options {
        pid: Some(init.pid.as_raw_nonzero().get()),
        root: Some(state.rootfs.clone()),
        log_file: Some(log_name.to_owned()),
        work_dir_fd: work.as_ref().map(AsRawFd::as_raw_fd),
        config_file: config_file(&state),
        external: namespaces_to_dump(&namespaces, |version, what| criu.at_least(version, what))?,
        freeze_cgroup: freezer(&state, &criu),
        leave_running: Some(dump.leave_running),
        tcp_skip_in_flight: Some(dump.tcp_skip_in_flight),
        link_remap: Some(dump.link_remap),
        ..common(options, &images)
    };
    if let Some((address, port)) = &dump.page_server {
        request.page_server =
            Some(PageServer { address: Some(address.clone()), port: Some(i32::from(*port)) });
    }
    if let Some(parent) = &dump.parent_path {
        request.parent_img = Some(parent.to_string_lossy().into_owned());
        request.track_mem = Some(true);
    }
    let mut ready = dump.status_fd;
    if options.lazy_pages {
        criu.must_have(Features { lazy_pages: Some(true), mem_track: None })?;
        if !criu.is_at_least(TELLS_READY) {
            request.status_fd = ready.take();
        }
    }
    if dump.pre_dump {
        criu.must_have(Features { mem_track: Some(true), lazy_pages: None })?;
    } else {
        request.external_mounts = External::of(&plan).to_dump(&Linux, &root)?;
        save_streams(&options.image_path, &state.streams)?;
    }
    drop(root);
    let kind = if dump.pre_dump { Kind::PreDump } else { Kind::Dump } as i32;
    let request = Request { kind, options: Some(request), ..Request::default() };
    let dumped = criu.ask(&request, &mut |script, _, _| match (script, ready.take()) {
        ("status-ready", Some(fd)) => tell_ready(fd),
        (_, fd) => {
            ready = fd;
            Ok(())
        }
    });
    if let Err(error) = dumped {
        go_on(&state, status);
        return Err(error);
    }
    if dump.leave_running || dump.pre_dump { Ok(()) } else { destroy(container, &state) }
}

/// CRIU has its log; what it says on its streams beside is for nobody.
fn without_streams() -> Result<(), Failure> {
    let null = Linux.open(Path::new("/dev/null"), OFlags::RDWR, Mode::empty());
    let closed = null.and_then(|null| (0..3).try_for_each(|stream| Linux.dup_onto(null.as_fd(), stream)));
    closed.map_err(|errno| Failure {
        errno: Some(errno.raw_os_error()),
        causes: vec!["closing the standard streams".to_owned(), Text(errno).to_string()],
    })
}

/// The configuration of a container, and the plan that it was made by.
fn conceived(container: &Container, state: &State) -> Result<(Spec, Plan), Error> {
    let mut spec = rootless::saved(container, state)?;
    if container.has_notify_directory()? {
        // One more mount that is not in the configuration.
        notify::prepare(&mut spec, &container.path().join(NOTIFY));
    }
    let layout = cloison_cgroup::Layout::detect()?;
    let options = Options {
        id: state.id.clone(),
        bundle: PathBuf::from(&state.bundle),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        takes_streams: false,
    };
    let plan = Plan::new(&spec, &options, &facts(&spec, &layout, &state.cgroup));
    let plan = plan.map_err(|problems| Error::Refused { path: container.path(), problems })?;
    Ok((spec, plan))
}

/// What a checkpoint and a restore ask in common.
pub(super) fn common(options: &checkpoint::Options, images: &File) -> rpc::Options {
    let network = NamespaceFlags::NETWORK.bits();
    rpc::Options {
        images_dir_fd: images.as_raw_fd(),
        log_level: Some(LOG_LEVEL),
        notify_scripts: Some(true),
        manage_cgroups: Some(true),
        manage_cgroups_mode: Some(options.manage_cgroups.unwrap_or(CgroupsMode::Default) as i32),
        shell_job: Some(options.shell_job),
        tcp_established: Some(options.tcp_established),
        ext_unix_sk: Some(options.ext_unix_sk),
        file_locks: Some(options.file_locks),
        empty_namespaces: options.empty_network.then_some(network),
        orphan_pts_master: Some(true),
        auto_dedup: Some(options.auto_dedup),
        lazy_pages: Some(options.lazy_pages),
        network_lock: options.network_lock.map(|lock| lock as i32),
        ..rpc::Options::default()
    }
}

/// A directory, which is made (mode 0700) if it is not there.
pub(super) fn directory(path: &Path) -> Result<File, Error> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    let opened = made.and_then(|()| File::open(path));
    opened.map_err(|source| checkpoint::Error::File { path: path.to_owned(), source }.into())
}

/// The configuration of CRIU for this container: `org.criu.config` names it, empty for none; a file that is not there is none.
pub(super) fn config_file(state: &State) -> Option<String> {
    let default = || "/etc/criu/runc.conf".to_owned();
    let file = state.annotations.get("org.criu.config").cloned().unwrap_or_else(default);
    Some(file).filter(|file| !file.is_empty())
}

fn freezer(state: &State, criu: &Criu<'_>) -> Option<String> {
    let paths = state.cgroup.paths();
    let unified = || paths.get("").filter(|_| criu.is_at_least(FREEZES_V2));
    let path = paths.get("freezer").or_else(unified)?;
    fs::exists(path).ok()?.then(|| path.to_string_lossy().into_owned())
}

/// The caller's own descriptor, which it waits at.
fn tell_ready(fd: i32) -> Result<(), Error> {
    let path = format!("/proc/self/fd/{fd}");
    let told = Linux.open(Path::new(&path), OFlags::WRONLY, Mode::empty());
    told.and_then(|file| Linux.write(file.as_fd(), b"\0"))
        .doing(format!("writing to descriptor {fd} that all is ready"))
}

/// After a dump that failed: what CRIU has frozen goes on, if CRIU itself could not see to it.
fn go_on(state: &State, before: Status) {
    let cgroup = state.cgroup.cgroup();
    let thawed = match (before, cgroup.is_frozen()) {
        (Status::Paused, _) | (_, Ok(false)) => Ok(()),
        (_, Ok(true)) => cgroup.thaw(),
        (_, Err(error)) => Err(error),
    };
    if let Err(error) = thawed {
        log::warn!("the container may be frozen after the failure, `resume` lets it go on: {error}");
    }
}
