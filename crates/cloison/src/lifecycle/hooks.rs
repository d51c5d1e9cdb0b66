//! The hooks that run in the runtime's namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::{Kernel, Linux, Mode, OFlags};

use super::Error;
use crate::hook::{self, OpenOutputs, Place};
use crate::plan::Options;
use crate::plan::hooks::{Hook, Outputs, Point, hooks};
use crate::spec::Spec;
use crate::state::{Container, State, Status, View};

/// Runs one hook while the container is being created.
pub(super) fn run_at_creation(
    kernel: &dyn Kernel,
    hook: &Hook,
    init: (i32, BorrowedFd<'_>),
    outputs: &OpenOutputs,
) -> Result<(), Error> {
    let (pid, pidfd) = init;
    let bundle = bundle(kernel, &hook.told.bundle);
    let place = Place {
        directory: bundle.as_ref().map(AsFd::as_fd),
        outputs: outputs.as_fds(),
        no_longer_than: Some(pidfd),
        umask: None,
    };
    Ok(hook::run(kernel, hook, Status::Creating, Some(pid), &place)?)
}

/// The hooks of one point of a container that is there, and what they need.
#[derive(Debug)]
pub(super) struct Later {
    hooks: Vec<Hook>,
    outputs: Outputs,
}

impl Later {
    /// Reads them from the configuration that the container was made with.
    pub(super) fn read(container: &View, state: &State, point: Point) -> Result<Self, Error> {
        let spec = Spec::parse(&container.load_config()?, &container.path().join("config.json"))?;
        let options = Options {
            id: state.id.clone(),
            bundle: state.bundle.clone().into(),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            takes_streams: false,
        };
        let hooks = hooks(&spec, &options, point).into_iter().map(|step| step.action).collect();
        Ok(Self { hooks, outputs: Outputs::of(&spec.annotations) })
    }

    /// In their order.
    pub(super) fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// Opens the files that their output goes to.
    pub(super) fn open_outputs(&self) -> Result<OpenOutputs, Error> {
        Ok(OpenOutputs::open(&Linux, &self.outputs)?)
    }

    /// Runs them in their order; the first that fails is the last.
    pub(super) fn run(&self, status: Status, pid: Option<i32>) -> Result<(), Error> {
        let outputs = self.open_outputs()?;
        self.hooks.iter().try_for_each(|hook| run_one(hook, status, pid, &outputs))
    }

    /// Runs all of them, whichever fails: the container is gone already, and nobody can do anything about it (runtime.md, Lifecycle).
    pub(super) fn run_all(&self, status: Status) {
        let outputs = OpenOutputs::open(&Linux, &self.outputs).unwrap_or_else(|error| {
            log::warn!("{error}");
            OpenOutputs::default()
        });
        for hook in &self.hooks {
            if let Err(error) = run_one(hook, status, None, &outputs) {
                log::warn!("{error}");
            }
        }
    }
}

fn run_one(hook: &Hook, status: Status, pid: Option<i32>, outputs: &OpenOutputs) -> Result<(), Error> {
    let bundle = bundle(&Linux, &hook.told.bundle);
    let directory = bundle.as_ref().map(AsFd::as_fd);
    let place = Place { directory, outputs: outputs.as_fds(), ..Place::default() };
    Ok(hook::run(&Linux, hook, status, pid, &place)?)
}

/// Where hooks run: the bundle, as under `runc`, which changes to it; the caller's own directory if that is gone.
fn bundle(kernel: &dyn Kernel, path: &Path) -> Option<OwnedFd> {
    let opened = kernel.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    opened.inspect_err(|errno| log::debug!("hooks do not run in {}: {errno}", path.display())).ok()
}

/// The `poststop` hooks of a container that is about to go, if it has any. Without its configuration, there is no saying which.
pub(super) fn poststop(container: &Container, state: &State) -> Option<Later> {
    if !state.hooks.poststop {
        return None;
    }
    let read = Later::read(container, state, Point::Poststop);
    read.inspect_err(|error| log::warn!("the poststop hooks are not run: {error}")).ok()
}

/// Runs the `poststart` hooks of a container whose program has begun, if it has any.
pub(super) fn poststart(container: &View, state: &State) -> Result<(), Error> {
    if !state.hooks.poststart {
        return Ok(());
    }
    let status = container.status(state)?;
    let pid = state.init.filter(|_| status != Status::Stopped).map(|init| init.pid.as_raw_nonzero().get());
    Later::read(container, state, Point::Poststart)?.run(status, pid)
}
