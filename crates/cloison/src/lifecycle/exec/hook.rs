//! The hooks that run in the container before its program: each is a process that joins it, as by `exec`, with the rights and limits of
//! the program.

use std::os::fd::AsFd;
use std::path::Path;

use cloison_linux::command::{Attended, Limits, attend, streams};
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::pid_inside;
use cloison_linux::signals::{SignalFd, SignalSet};
use cloison_linux::{Errno, Kernel, Linux, Mode, OFlags, launch, sealed};

use super::admission::{Admission, facts, root_of};
use super::newcomer::Newcomer;
use crate::hook::{self, OpenOutputs, judge, told};
use crate::lifecycle::Error;
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::first_process::FirstProcess;
use crate::lifecycle::hooks::Later;
use crate::lifecycle::rootless;
use crate::plan::exec::{ExecAction, ExecPlan};
use crate::plan::hooks::{Hook, Point};
use crate::spec::NamespaceType;
use crate::state::{State, Status, View};

/// Runs the `startContainer` hooks of a container that is created, if it has any.
///
/// # Errors
/// The first that fails; the others are not run.
pub(in crate::lifecycle) fn start_container(container: &View, state: &State) -> Result<(), Error> {
    if !state.hooks.start_container {
        return Ok(());
    }
    let seals = launch::exe_switch_supported();
    if !seals {
        // A command that was not sealed yet begins anew, and finds the container as it was (CVE-2019-5736).
        sealed::ensure_sealed_copy().doing("sealing a copy of the runtime")?;
    }
    let later = Later::read(container, state, Point::StartContainer)?;
    let outputs = later.open_outputs()?;
    later.hooks().iter().try_for_each(|hook| run(container, state, hook, &outputs, seals))
}

fn run(
    container: &View,
    state: &State,
    hook: &Hook,
    outputs: &OpenOutputs,
    seals: bool,
) -> Result<(), Error> {
    let admission = Admission::of_hook(container, state, hook, outputs, seals)?;
    let first = admission.first.as_fd();
    let pid = pid_inside(first).doing("reading the init's number in the container")?;
    let input = told(hook, Status::Created, Some(pid))?;
    let limits = Limits { timeout: hook.timeout, no_longer_than: Some(first) };
    let elsewhere = outputs.as_fds();
    let (ours, theirs) = streams(elsewhere).doing("making pipes for a hook")?;
    let nobody = SignalFd::new(SignalSet::NONE).doing("watching signals")?;
    let entered = || {
        let mut newcomer =
            admission.admit_for_a_while(&Linux, &|| theirs.put_in_place(elsewhere), &nobody)?;
        newcomer.until_ready(&nobody)?;
        newcomer.go_on(None, &nobody)
    };
    let entered = entered();
    drop(theirs);
    let (pid, pidfd) = match entered {
        // What the hook could not be made for is the hook's failure.
        Err(Error::Newcomer(failure)) => return Err(hook::not_entered(hook, failure.to_string()).into()),
        Err(Error::Launch(said, _)) => return Err(hook::not_entered(hook, said).into()),
        entered => entered?,
    };
    let finished = attend(Attended { pid, pidfd, report: None, streams: ours }, &input, &limits);
    Ok(judge(hook, finished)?)
}

impl Admission {
    fn of_hook(
        container: &View,
        state: &State,
        hook: &Hook,
        outputs: &OpenOutputs,
        seals: bool,
    ) -> Result<Self, Error> {
        let init = state.init.as_ref().ok_or(Error::NotRunning)?;
        let first = FirstProcess::open(init)?.ok_or(Error::NotRunning)?;
        let spec = rootless::saved(container, state)?;
        let root =
            if spec.linux.namespace(NamespaceType::Mount).is_some() { None } else { Some(root_of(&first)?) };
        let facts = facts(&spec, state)?;
        let is_caught = outputs.as_fds().iter().all(Option::is_none);
        let plan = ExecPlan::of_hook(spec, hook, is_caught, &facts).map_err(|problem| Error::Refused {
            path: container.path().join("config.json"),
            problems: vec![problem],
        })?;
        if log::log_enabled!(log::Level::Debug) {
            plan.to_string().lines().for_each(|line| log::debug!("planned: {line}"));
        }
        let (cgroup, state) = (state.cgroup.clone(), state.clone());
        Ok(Self { plan, view: container.open_again()?, state, cgroup, any_cgroup: true, first, root, seals })
    }

    /// Starts the process with other streams, and comes back: what the runtime itself starts afterwards is the host's.
    fn admit_for_a_while<'k>(
        &'k self,
        kernel: &'k dyn Kernel,
        streams: &dyn Fn() -> Result<(), Errno>,
        to_end: &SignalFd,
    ) -> Result<Newcomer<'k>, Error> {
        let own = kernel.open(Path::new("/proc/self/ns/pid"), OFlags::RDONLY, Mode::empty());
        let own = own.doing("opening /proc/self/ns/pid")?;
        let newcomer = self.admit(kernel, streams, to_end);
        // Where a go-between has entered it, the runtime has not, and has no rights to.
        if self.plan.host.iter().any(|step| matches!(step.action, ExecAction::EnterForChildren(_))) {
            let back = kernel.setns(own.as_fd(), NamespaceFlags::PID);
            back.doing("coming back to the runtime's pid namespace")?;
        }
        kernel.set_dumpable(true).doing("showing the runtime again")?;
        newcomer
    }
}
