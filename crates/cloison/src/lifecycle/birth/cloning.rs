//! How the init is started: by the runtime itself, or by a go-between where it must be born in a user namespace that is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_cgroup::{Entry, Record, Systemd};
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Fork};
use cloison_linux::{Errno, Kernel, Mode, OFlags, Pid, launch};

use super::{Begin, Birth, usher};
use crate::init::channel::{Failure, FromInit};
use crate::init::create::{Inheritance, Start, birth};
use crate::init::security::{TIME_OFFSETS, new_clocks};
use crate::lifecycle::Error;
use crate::lifecycle::error::Doing as _;
use crate::monitor::Ends;
use crate::plan::Plan;
use crate::plan::action::{Action, Offsets};

/// The init, and the socket to it.
pub(in crate::lifecycle) struct FirstBorn {
    pub(in crate::lifecycle) pid: Pid,
    pub(in crate::lifecycle) pidfd: OwnedFd,
    /// None for one that was restored, and that knows nothing of us.
    pub(super) channel: Option<OwnedFd>,
}

impl FirstBorn {
    /// One that CRIU has restored.
    pub(in crate::lifecycle) fn restored(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, channel: None }
    }

    pub(super) fn channel(&self) -> Result<BorrowedFd<'_>, Error> {
        self.channel.as_ref().map(AsFd::as_fd).ok_or(Error::Protocol)
    }
}

impl Birth<'_> {
    pub(super) fn clone_init(
        &mut self,
        namespaces: NamespaceFlags,
        begin: Begin,
        seals: bool,
        sources: &[(usize, OwnedFd)],
        waits_in: Option<Systemd>,
    ) -> Result<(), Error> {
        let kernel = self.kernel;
        log::debug!("nsexec container setup");
        let (ours, theirs) = kernel.socketpair().doing("making a socket for the init")?;
        let pad = seals.then(launch::prepare_pad).transpose().doing("preparing the launch")?;
        let start = match begin {
            Begin::AtOnce => None,
            Begin::WhenStarted => {
                let container = self.container()?;
                Some((container.listen_start()?, container.mark_created()?))
            }
        };
        let entry = if waits_in.is_some() { Entry::default() } else { self.cgroup.cgroup().entry()? };
        let tasks: Vec<BorrowedFd<'_>> = entry.tasks().collect();
        let inherited = Inheritance {
            channel: theirs.as_fd(),
            cgroup: &tasks,
            sources,
            start: start
                .as_ref()
                .map(|(listener, mark)| Start { listener: listener.as_fd(), mark: mark.as_fd() }),
            pad: pad.as_ref().map(AsFd::as_fd),
            container: None,
            hook_outputs: self.hook_outputs.as_fds(),
            streams: self.streams.as_ref().map(Ends::as_fds),
            held_root: self.held_root.as_ref().map(AsFd::as_fd),
        };
        let way = Way::of(&self.plan, self.pid_namespace.as_deref());
        let enters = way.user.is_some() || way.pid.is_some();
        // Who only starts the init stays in the runtime's.
        let ushered = waits_in.is_some();
        let between = enters || ushered;
        let namespaces_now = if between { NamespaceFlags::empty() } else { namespaces };
        let request =
            CloneRequest { namespaces: namespaces_now, cgroup: entry.directory(), as_sibling: false };
        let into = if request.cgroup.is_some() { &self.cgroup } else { &Record::disabled() };
        let forked = kernel.clone3(&request);
        match forked.map_err(|errno| Error::not_born("starting the init", into, errno))? {
            Fork::Child => {
                // The runtime's end of the socket must not live on in the child, or it would never see that the runtime has gone.
                drop(ours);
                // Nor may the lock on the state, or an init whose runtime was killed would keep `start` waiting.
                if let Some(container) = self.container.take() {
                    container.leave_to_parent();
                }
                if let Some(unit) = waits_in {
                    usher::wait_in(kernel, &unit, inherited.channel);
                }
                if between {
                    go_between(kernel, &way, namespaces, &self.plan, &inherited)
                } else {
                    be_born(kernel, &self.plan, &inherited)
                }
            }
            Fork::Parent { pid, pidfd } => {
                drop((theirs, start));
                self.streams = None;
                self.held_root = None;
                self.init = Some(FirstBorn { pid, pidfd, channel: Some(ours) });
                if enters && !ushered {
                    self.adopt()?;
                }
                Ok(())
            }
        }
    }

    /// The process that was started was only the init's go-between; takes the init itself, and waits for the other's end.
    pub(super) fn adopt(&mut self) -> Result<(), Error> {
        let Some(between) = self.init.take() else { return Ok(()) };
        let answer = FromInit::receive(self.kernel, between.channel()?);
        let pidfd = match answer {
            Ok(FromInit::Process(pidfd)) => pidfd,
            other => {
                self.init = Some(between);
                return Err(self.unexpected(other));
            }
        };
        // Its parent may be in another pid namespace and know it by another number.
        let pid = self.kernel.pidfd_pid(pidfd.as_fd()).doing("reading the init's process id")?;
        self.init = Some(FirstBorn { pid, pidfd, channel: between.channel });
        self.kernel.wait_pidfd(between.pidfd.as_fd()).doing("waiting for the init's parent")?;
        Ok(())
    }
}

/// Becomes the container's first process. Comes to an end only by a failure.
fn be_born(kernel: &dyn Kernel, plan: &Plan, inherited: &Inheritance<'_>) -> ! {
    let failure = birth(kernel, plan, inherited);
    if let Err(errno) = FromInit::send_failure(kernel, inherited.channel, &failure) {
        log::debug!("nobody to tell that {failure}: {errno}");
    }
    std::process::exit(1)
}

/// What a go-between enters or makes for the init, which must be born in it.
struct Way<'p> {
    user: Option<&'p Path>,
    pid: Option<&'p Path>,
    clocks: Option<&'p Offsets>,
}

impl<'p> Way<'p> {
    /// The plan's, and a PID namespace that the runtime was to enter and did not.
    fn of(plan: &'p Plan, pid: Option<&'p Path>) -> Self {
        let mut way = Self { user: None, pid, clocks: None };
        for step in &plan.container {
            match &step.action {
                Action::JoinNamespace(NamespaceFlags::USER, path) => way.user = Some(path),
                Action::JoinNamespace(NamespaceFlags::PID, path) => way.pid = Some(path),
                Action::NewClocks { offsets, by_go_between: true } => way.clocks = Some(offsets),
                _ => {}
            }
        }
        way
    }

    /// All is opened before the user namespace is entered, from which it may not be seen.
    fn go(&self, kernel: &dyn Kernel) -> Result<(), (String, Errno)> {
        let named = |kind: &str, path: &Path| format!("joining the {kind} namespace {}", path.display());
        let open = |path: &Path, flags| kernel.open(path, flags, Mode::empty());
        let user =
            self.user.map(|path| open(path, OFlags::RDONLY).map_err(|errno| (named("user", path), errno)));
        let user = user.transpose()?;
        let pid =
            self.pid.map(|path| open(path, OFlags::RDONLY).map_err(|errno| (named("pid", path), errno)));
        let pid = pid.transpose()?;
        let offsets = self.clocks.map(|_| open(Path::new(TIME_OFFSETS), OFlags::WRONLY)).transpose();
        let offsets = offsets.map_err(|errno| (format!("opening {TIME_OFFSETS}"), errno))?;
        if let (Some(path), Some(user)) = (self.user, user) {
            let doing = |errno| (named("user", path), errno);
            // A process that joins a container is not to be looked into from there, before and after its ids mean something else.
            kernel.set_dumpable(false).map_err(doing)?;
            match kernel.setns(user.as_fd(), NamespaceFlags::USER) {
                // One's own cannot be entered (setns(2)), and need not be.
                Err(Errno::INVAL) if is_own_user_namespace(kernel, user.as_fd()) => {}
                entered => entered.map_err(doing)?,
            }
            kernel.set_dumpable(false).map_err(doing)?;
        }
        if let (Some(path), Some(pid)) = (self.pid, pid) {
            let joined = kernel.setns(pid.as_fd(), NamespaceFlags::PID);
            joined.map_err(|errno| (named("pid", path), errno))?;
        }
        self.clocks.map_or(Ok(()), |clocks| {
            new_clocks(kernel, clocks, offsets).map_err(|(doing, errno)| (doing.to_owned(), errno))
        })
    }
}

fn is_own_user_namespace(kernel: &dyn Kernel, namespace: BorrowedFd<'_>) -> bool {
    let own = kernel.open(Path::new("/proc/self/ns/user"), OFlags::RDONLY, Mode::empty());
    let own = own.and_then(|own| kernel.fstat(own.as_fd()));
    let other = kernel.fstat(namespace);
    matches!((own, other), (Ok(own), Ok(other)) if (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// Enters what the init must be born in, if there is such, gives birth to it as a child of the runtime, and goes.
fn go_between(
    kernel: &dyn Kernel,
    way: &Way<'_>,
    namespaces: NamespaceFlags,
    plan: &Plan,
    inherited: &Inheritance<'_>,
) -> ! {
    let born = way.go(kernel).and_then(|()| {
        let request = CloneRequest { namespaces, cgroup: None, as_sibling: true };
        match kernel.clone3(&request).map_err(|errno| ("starting the init".to_owned(), errno))? {
            Fork::Child => match FromInit::send_self(kernel, inherited.channel) {
                Ok(()) => be_born(kernel, plan, inherited),
                // The runtime hears no more, as it has gone.
                Err(_) => std::process::exit(1),
            },
            Fork::Parent { .. } => Ok(()),
        }
    });
    if let Err((doing, errno)) = born {
        let causes = vec![doing, crate::errno::Text(errno).to_string()];
        let failure = Failure { errno: Some(errno.raw_os_error()), causes };
        if let Err(errno) = FromInit::send_failure(kernel, inherited.channel, &failure) {
            log::debug!("nobody to tell that {failure}: {errno}");
        }
    }
    std::process::exit(0)
}
