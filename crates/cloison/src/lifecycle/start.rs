//! `start`: the program of a container that is created.

use std::os::fd::AsFd;

use cloison_linux::{Errno, Linux};

use super::delete::end_first_process;
use super::error::Doing as _;
use super::exec::hook::start_container;
use super::first_process::FirstProcess;
use super::{Error, Runtime, hooks, store_with};
use crate::id::ContainerId;
use crate::init::channel::{FromInit, ToInit};
use crate::notify::Notify;
use crate::plan::{Options, Program};
use crate::spec::Spec;
use crate::state::{Container, State, Status};

/// Lets the container's first process become the program, and waits until it has.
///
/// # Errors
/// [`Error::AlreadyRunning`], [`Error::HasStopped`]; [`Error::Launch`] if the program could not be executed: the container is stopped
/// then.
pub fn start(runtime: &Runtime, id: &ContainerId) -> Result<(), Error> {
    let container = store_with(runtime, id)?.open(id)?;
    let state = container.load()?;
    match container.status(&state)? {
        Status::Created => {}
        Status::Stopped => return Err(Error::HasStopped),
        _ => return Err(Error::AlreadyRunning),
    }
    let first = state.init.as_ref().map(FirstProcess::open).transpose()?.flatten();
    let notify = match &state.init {
        Some(init) => Notify::open(&container, init.pid)?,
        None => None,
    };
    let_begin(&container, &state)?;
    // Which lets go of the lock: the waiting may take long.
    poststart(runtime, container, &state)?;
    if let (Some(notify), Some(first)) = (notify, first) {
        notify.until_ready(first.as_fd())?;
    }
    Ok(())
}

/// Runs the hooks that come before the program, and lets it begin. If one of them fails, the container is killed: it is stopped then.
pub(super) fn let_begin(container: &Container, state: &State) -> Result<(), Error> {
    start_container(container, state).inspect_err(|_| {
        if let Err(error) = end_first_process(state) {
            log::warn!("after the failure the container was not killed: {error}");
        }
    })?;
    let connection = container.connect_start()?;
    ToInit::Start.send(&Linux, connection.as_fd()).doing("telling the container to start")?;
    match FromInit::receive(&Linux, connection.as_fd()).doing("waiting for the program")? {
        FromInit::End => Ok(()),
        FromInit::LaunchFailed(failure) => {
            // The program is only needed for the message, so only now.
            let program = program_of(container, &state.id)?;
            Err(Error::Launch(program.describe(failure, true), failure.errno))
        }
        FromInit::Failed(failure) => Err(Error::Init(failure)),
        _ => Err(Error::Call { doing: "waiting for the program".to_owned(), errno: Errno::PROTO }),
    }
}

/// Runs the `poststart` hooks, and kills the container if one of them fails: it is stopped then.
///
/// They run without the lock on the container, so that they can use commands that change it.
fn poststart(runtime: &Runtime, container: Container, state: &State) -> Result<(), Error> {
    if !state.hooks.poststart {
        return Ok(());
    }
    drop(container);
    let view = store_with(runtime, &state.id)?.open_unlocked(&state.id)?;
    hooks::poststart(&view, state).inspect_err(|_| {
        if let Err(error) = end_first_process(state) {
            log::warn!("after the failure the container was not killed: {error}");
        }
    })
}

fn program_of(container: &Container, id: &ContainerId) -> Result<Program, Error> {
    let config = container.load_config()?;
    let spec = Spec::parse(&config, &container.path())?;
    let options = Options {
        id: id.clone(),
        bundle: container.path(),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        takes_streams: false,
    };
    Program::of(&spec, &options)
        .map_err(|problem| Error::Refused { path: container.path(), problems: vec![problem] })
}
