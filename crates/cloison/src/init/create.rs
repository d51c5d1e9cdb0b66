//! The story of a container's birth, told by its first process.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cloison_linux::{Errno, Kernel, Mode, OFlags, namespace::NamespaceFlags};

use super::channel::{Failure, FromInit, ToInit};
use super::error::{Doing, Error};
use super::exec::{self, Container};
use super::rootfs::{Root, attributes, console, device, hide, mount, pivot};
use super::{landlock, program, security};
use crate::hook::{self, Place};
use crate::plan::action::{Action, Device, MountStep, Step};
use crate::plan::exec::Joining;
use crate::plan::hooks::Hook;
use crate::plan::{Plan, Program};
use crate::state::Status;

/// What the init inherits from the runtime.
#[derive(Debug)]
pub struct Inheritance<'a> {
    /// The socket to the runtime.
    pub channel: BorrowedFd<'a>,
    /// The `tasks` files of the container's cgroups (v1), in the order in which they are joined.
    pub cgroup: &'a [BorrowedFd<'a>],
    /// The sources of idmapped mounts, which the host's side has opened and mapped: index among the plan's mounts, detached mount.
    pub sources: &'a [(usize, OwnedFd)],
    /// What the program waits for; none if it runs at once.
    pub start: Option<Start<'a>>,
    /// Where the output of hooks goes, if it is not kept for an error.
    pub hook_outputs: [Option<BorrowedFd<'a>>; 2],
    /// The sealed code of the launch.
    pub pad: Option<BorrowedFd<'a>>,
    /// The container to join, for a process that is not its first one.
    pub container: Option<Container<'a>>,
    /// The standard streams, where they are not the runtime's own.
    pub streams: Option<[BorrowedFd<'a>; 3]>,
    /// The root file system as the runtime holds it, for a container whose mounts are the host's.
    pub held_root: Option<BorrowedFd<'a>>,
}

/// What a container has that is created, and not yet running.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Where `start` connects.
    pub listener: BorrowedFd<'a>,
    /// What says "created" for as long as it is open.
    pub mark: BorrowedFd<'a>,
}

/// Runs the container's side of a plan. Comes back only if it fails.
pub fn birth(kernel: &dyn Kernel, plan: &Plan, inherited: &Inheritance<'_>) -> Failure {
    // How far it has come is told in the words of runc, which people look for in a log.
    log::debug!("child process in init()");
    carry_out(kernel, &plan.container, &plan.program, inherited)
}

/// Runs steps, then the program. Comes back only if it fails.
pub(super) fn carry_out(
    kernel: &dyn Kernel,
    steps: &[Step<Action>],
    program: &Program,
    inherited: &Inheritance<'_>,
) -> Failure {
    let mut init = Init::new(kernel, program, inherited);
    for step in steps {
        if let Err(error) = init.run(step) {
            return failure(&error, Some(step));
        }
    }
    match init.launch() {
        Ok(never) => match never {},
        Err(error) => failure(&error, None),
    }
}

/// A failed program or mount is told in the words that engines look for; any step but the program with the place in the configuration that it
/// comes from.
fn failure(error: &Error, step: Option<&Step<Action>>) -> Failure {
    let errno = error.errno().map(Errno::raw_os_error);
    let causes = match (error, step) {
        (Error::NotInPath { .. } | Error::Program { .. } | Error::ProgramIsDirectory { .. }, _)
        | (_, None) => {
            vec![error.to_string()]
        }
        (_, Some(step)) => {
            let at = match &step.action {
                Action::Mount(mount) => {
                    let (source, destination) = (mount.source.name(), mount.destination.as_os_str());
                    let [source, destination] = [source, destination].map(std::ffi::OsStr::to_string_lossy);
                    format!("error mounting {source:?} to rootfs at {destination:?}: ")
                }
                _ => String::new(),
            };
            vec![format!("{at}{error} (for {})", step.origin)]
        }
    };
    Failure { errno, causes }
}

struct Init<'a> {
    kernel: &'a dyn Kernel,
    program: &'a Program,
    inherited: &'a Inheritance<'a>,
    /// What is known on the way into a container.
    arrival: exec::Arrival,
    /// The runtime's own mask of modes.
    umask: u32,
    root: Option<Root<'a>>,
    /// Mounts in the root file system go with its mount, which is the container's own or is taken back.
    mounts_end: bool,
    /// Sources of bind mounts that were opened with the runtime's ids, each for the mount of this number.
    reached: Vec<(usize, OwnedFd)>,
    /// How many mounts are done.
    mounts: usize,
    /// The directory of the last device.
    devices: device::Directory,
    /// Mounts that are made read-only when all is in place.
    late_read_only: Vec<Rc<OwnedFd>>,
    /// The host's procfs, for our own attributes in it, and for sysctls where we may mount none.
    host_procfs: Option<OwnedFd>,
    /// Our own procfs, made when it is first needed in the final PID namespace.
    procfs: Option<OwnedFd>,
    home: Option<CString>,
    candidates: Vec<CString>,
}

/// No value: what comes back never comes back.
enum Never {}

impl<'a> Init<'a> {
    fn new(kernel: &'a dyn Kernel, program: &'a Program, inherited: &'a Inheritance<'a>) -> Self {
        Self {
            // Modes are meant as they stand in the plan; the container's own mask is set by its step.
            umask: kernel.umask(0),
            kernel,
            program,
            inherited,
            arrival: exec::Arrival::default(),
            root: None,
            mounts_end: false,
            reached: Vec::new(),
            mounts: 0,
            devices: device::Directory::default(),
            late_read_only: Vec::new(),
            host_procfs: None,
            procfs: None,
            home: None,
            candidates: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step<Action>) -> Result<(), Error> {
        let kernel = self.kernel;
        match &step.action {
            Action::HideInit => kernel.set_dumpable(false).doing(|| "hiding the init from other processes"),
            Action::JoinNamespace(kind, path) => self.join_namespace(*kind, path),
            Action::Join(step) => self.join(step),
            Action::ReachSources(sources) => {
                self.reach(sources);
                Ok(())
            }
            Action::BecomeRoot => self.wait_for_maps().and_then(|()| security::become_root(self.kernel)),
            Action::JoinCgroup => security::join_cgroup(kernel, self.inherited.cgroup),
            Action::NewNamespace(kind) => {
                kernel.unshare(*kind).doing(|| format!("making a new {kind} namespace"))
            }
            // Who has entered the user namespace has made it for its children.
            Action::NewClocks { by_go_between: true, .. } => Ok(()),
            Action::NewClocks { offsets, .. } => security::enter_new_clocks(kernel, offsets),
            Action::NewSession => kernel.setsid().doing(|| "starting a session"),
            Action::TakeStreams => self.take_streams(),
            Action::SessionKeyring(name, permissions) => {
                security::session_keyring(kernel, name, *permissions)
            }
            Action::KeepAttributes | Action::KeepProcfs => self.keep_procfs(&step.action),
            Action::KeyLabel(_) | Action::ExecLabel(_) => self.label(&step.action),
            Action::LoopbackUp => kernel.loopback_up().doing(|| "bringing the loopback interface up"),

            Action::HostPropagation(flags) => kernel
                .mount_propagation("/".as_ref(), *flags)
                .doing(|| "changing the propagation of the host's mounts"),
            Action::BindRootfs { path, parent } => {
                let root = self.root.insert(pivot::bind_root(kernel, path, *parent)?);
                self.mounts_end = true;
                root.keep_descriptors()
            }
            Action::OpenRootfs(path) => self.open_root(path),
            Action::Mount(_) => self.mount(step),
            Action::Device(device, bind) => self.device(device, *bind),
            Action::Link { target, path, replace } => {
                device::link(kernel, root(self.root.as_ref())?, &mut self.devices, target, path, *replace)
            }

            Action::AwaitHooks => self.await_hooks(),
            Action::Hook(hook) => self.hook(hook),
            Action::PivotRoot { host_may_be_shared } => {
                pivot::pivot(kernel, root(self.root.as_ref())?, *host_may_be_shared)
            }
            Action::MoveRoot => pivot::move_root(kernel, root(self.root.as_ref())?),
            Action::Chroot => pivot::chroot(kernel, root(self.root.as_ref())?),
            Action::RootPropagation(flags) => kernel
                .mount_propagation("/".as_ref(), *flags)
                .doing(|| "changing the propagation of the root"),
            Action::ReopenDevNull => device::reopen_null(kernel, root(self.root.as_ref())?),
            Action::MakeWorkingDirectory(path) => {
                let path = crate::plan::mounts::clean(path);
                root(self.root.as_ref())?
                    .make_directory(&path)
                    .map(drop)
                    .doing(|| format!("making {}", path.display()))
            }
            Action::Terminal { size, uid, console_device } => {
                let root = root(self.root.as_ref())?;
                console::terminal(kernel, root, self.inherited.channel, *size, *uid, *console_device)
            }

            Action::LateReadOnly => self.late_read_only.iter().try_for_each(|mount| {
                attributes::make_read_only(kernel, mount.as_fd()).doing(|| "making a mount read-only")
            }),
            Action::ReadOnlyRoot => attributes::make_read_only(kernel, root(self.root.as_ref())?.fd())
                .doing(|| "making the root read-only"),
            Action::Umask(mask) => {
                kernel.umask(*mask);
                Ok(())
            }
            Action::Hostname(name) => kernel.sethostname(name).doing(|| "sethostname"),
            Action::Domainname(name) => kernel.setdomainname(name).doing(|| "setdomainname"),
            Action::Sysctl(key, value) => security::sysctl(kernel, self.procfs()?, key, value),
            Action::ReadOnlyPath(path) => hide::read_only(kernel, root(self.root.as_ref())?, path),
            Action::MaskPaths(masks) => hide::mask(kernel, root(self.root.as_ref())?, masks),

            Action::ResetAffinity => {
                program::reset_affinity(kernel);
                Ok(())
            }
            Action::Scheduler(attr) => program::scheduler(kernel, attr),
            Action::IoPriority(class, level) => kernel.ioprio_set(*class, *level).doing(|| "ioprio_set"),
            Action::Personality(persona) => kernel.personality(*persona).doing(|| "personality"),
            Action::MemoryPolicy(policy) => kernel.set_mempolicy(policy).doing(|| "set_mempolicy"),
            Action::WorkingDirectory { path, uid, gid } => {
                program::working_directory(kernel, root(self.root.as_ref())?, path, *uid, *gid)
            }
            Action::OwnStreams(uid) => program::own_streams(kernel, *uid),
            Action::Home(uid) => {
                self.home = Some(program::home(kernel, root(self.root.as_ref())?, *uid));
                Ok(())
            }
            Action::FindProgram => {
                self.candidates = program::find(kernel, self.program)?;
                Ok(())
            }
            Action::Landlock(ruleset) => landlock::restrict(kernel, root(self.root.as_ref())?, ruleset),
        }
    }

    fn join_namespace(&self, kind: NamespaceFlags, path: &Path) -> Result<(), Error> {
        match kind {
            NamespaceFlags::USER => security::become_root(self.kernel),
            // Who has entered the user namespace has put its children there.
            NamespaceFlags::PID => Ok(()),
            _ => security::join_namespace(self.kernel, kind, path),
        }
    }

    fn take_streams(&self) -> Result<(), Error> {
        let streams = self.inherited.streams.into_iter().flatten();
        let mut taken = streams.zip(0..).map(|(stream, number)| self.kernel.dup_onto(stream, number));
        taken.try_for_each(|taken| taken.doing(|| "taking the standard streams"))
    }

    fn join(&mut self, step: &Joining) -> Result<(), Error> {
        exec::carry_out(self.kernel, step, self.inherited, &mut self.arrival, &mut self.root)
    }

    /// Marks what comes: keys, or the program.
    fn label(&self, action: &Action) -> Result<(), Error> {
        let procfs = self.host_procfs.as_ref();
        let procfs =
            procfs.ok_or_else(|| Error::Refused("the plan keeps no way to the attributes".to_owned()))?;
        match action {
            Action::KeyLabel(label) => security::key_label(self.kernel, procfs, label),
            Action::ExecLabel(label) => security::exec_label(self.kernel, procfs, label),
            _ => Ok(()),
        }
    }

    /// Our own procfs; or the host's, where the PID namespace belongs to a user namespace in which we have no rights. It was opened before anything of the
    /// container's could be in its place, and sysctls of a namespace are the same in each procfs: they are the caller's.
    fn procfs(&mut self) -> Result<&OwnedFd, Error> {
        match &mut self.procfs {
            Some(procfs) => Ok(procfs),
            none => match (security::private_procfs(self.kernel), &self.host_procfs) {
                (Err(error), Some(host)) if error.errno() == Some(Errno::PERM) => Ok(host),
                (made, _) => Ok(none.insert(made?)),
            },
        }
    }

    /// For sysctls it is only needed if we may not mount one.
    fn keep_procfs(&mut self, action: &Action) -> Result<(), Error> {
        match (security::host_procfs(self.kernel), action) {
            (Ok(procfs), _) => self.host_procfs = Some(procfs),
            (Err(error), Action::KeepProcfs) => log::debug!("the host's procfs is not kept: {error}"),
            (Err(error), _) => return Err(error),
        }
        Ok(())
    }

    /// What cannot be opened now may be there or within reach later, and is an error only then.
    fn reach(&mut self, sources: &[(usize, PathBuf)]) {
        for (number, path) in sources {
            match self.kernel.open(path, OFlags::PATH, Mode::empty()) {
                Ok(source) => self.reached.push((*number, source)),
                Err(errno) => log::debug!("{} is not opened ahead: {errno}", path.display()),
            }
        }
    }

    /// Nothing inside is ours before the ids are mapped.
    fn wait_for_maps(&self) -> Result<(), Error> {
        match ToInit::receive(self.kernel, self.inherited.channel).doing(|| "waiting for the id maps")? {
            Some(_) => Ok(()),
            None => Err(Error::Orphaned),
        }
    }

    /// The host's side has its hooks while the root is not yet changed.
    fn await_hooks(&self) -> Result<(), Error> {
        FromInit::send_mounted(self.kernel, self.inherited.channel)
            .doing(|| "telling the runtime of the mounts")?;
        match ToInit::receive(self.kernel, self.inherited.channel)
            .doing(|| "waiting for the runtime's hooks")?
        {
            Some(_) => Ok(()),
            None => Err(Error::Orphaned),
        }
    }

    /// In the root file system that is to be, with the mask that the runtime came with.
    fn hook(&self, hook: &Hook) -> Result<(), Error> {
        let place = Place {
            directory: Some(root(self.root.as_ref())?.fd()),
            umask: Some(self.umask),
            outputs: self.inherited.hook_outputs,
            no_longer_than: None,
        };
        let own = rustix::process::getpid().as_raw_nonzero().get();
        Ok(hook::run(self.kernel, hook, Status::Creating, Some(own), &place)?)
    }

    fn open_root(&mut self, path: &Path) -> Result<(), Error> {
        let opened = match self.inherited.held_root {
            // By its path it could be what others have mounted there since.
            Some(held) => pivot::reopen_root(self.kernel, held)?,
            None => pivot::open_root(self.kernel, path)?,
        };
        self.mounts_end = self.inherited.held_root.is_some();
        self.root.insert(Root::new(self.kernel, opened)).keep_descriptors()
    }

    fn device(&mut self, device: &Device, bind: bool) -> Result<(), Error> {
        let way = match (bind, self.mounts_end) {
            (true, _) => device::Way::Bind,
            (false, true) => device::Way::Either,
            (false, false) => device::Way::Node,
        };
        device::device(self.kernel, root(self.root.as_ref())?, &mut self.devices, device, way)
    }

    fn mount(&mut self, step: &Step<Action>) -> Result<(), Error> {
        let Action::Mount(entry) = &step.action else { return Ok(()) };
        let of_this = |all: &'_ [(usize, OwnedFd)]| all.iter().position(|(number, _)| *number == self.mounts);
        let mapped = entry.mapped_when_opened.then(|| self.mapped_source(entry)).transpose()?;
        let prepared = of_this(self.inherited.sources).map(|at| self.inherited.sources[at].1.as_fd());
        let prepared = mapped.as_ref().map(AsFd::as_fd).or(prepared);
        let reached = of_this(&self.reached).map(|at| self.reached[at].1.as_fd());
        self.mounts += 1;
        let mounted = mount::mount(self.kernel, root(self.root.as_ref())?, entry, prepared, reached)?;
        self.late_read_only.extend(mounted.late_read_only);
        if mounted.covers
            && let Some(root) = &mut self.root
        {
            root.mounted(&entry.destination, mounted.own);
        }
        Ok(())
    }

    /// Opens a source that the mounts before may have made, and has the runtime map its ids: it has the rights for it.
    fn mapped_source(&self, entry: &MountStep) -> Result<OwnedFd, Error> {
        let channel = self.inherited.channel;
        let tree = mount::detached_source(self.kernel, entry)?;
        FromInit::send_source(self.kernel, channel, self.mounts, tree.as_fd())
            .and_then(|()| ToInit::receive(self.kernel, channel))
            .doing(|| "having the ids of a bind mount's source mapped")?
            .map(|_| tree)
            .ok_or(Error::Orphaned)
    }

    /// What is left is done without a line of ours in memory: telling the runtime that all is made, waiting for its word and for
    /// `start`, and becoming the program (CVE-2019-5736).
    fn launch(self) -> Result<Never, Error> {
        let own = self.arrival.env.into_iter().chain(self.home).collect();
        let env = program::environment(&self.program.env, own);
        if self.inherited.container.is_some() {
            log::debug!("setns_init: about to exec");
        } else {
            // `execve(2)` does that, and nothing can be told any more when it comes.
            log::debug!("init: closing the pipe to signal completion");
        }
        let launch = program::launch(self.program, self.candidates, env, self.inherited)?;
        Err(Error::Call { doing: "launching the program".to_owned(), errno: self.kernel.launch(launch) })
    }
}

fn root<'r, 'k>(root: Option<&'r Root<'k>>) -> Result<&'r Root<'k>, Error> {
    root.ok_or_else(|| Error::Refused("the plan has no root file system before this step".to_owned()))
}
