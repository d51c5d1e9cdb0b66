//! One file a command: its options, and the few lines that ask the library.

mod attach;
mod checkpoint;
mod console;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod handover;
mod kill;
mod list;
mod logs;
mod pause;
mod plan;
mod ps;
mod resize;
mod restore;
mod run;
mod seccomp;
mod spec;
mod start;
mod state;
mod stats;
mod try_command;
mod update;
mod wait;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;
use cloison::lifecycle::Runtime;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::argv;
use crate::error::Error;

pub(crate) use ps::PsError;
pub(crate) use try_command::TryError;

/// A command with its options.
///
/// clap builds what is deferred only for the command that was given: the other ten cost a name each.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// create a container whose process waits for start
    Create(create::Create),
    /// start the process of a created container
    Start(start::Start),
    /// create a container, start it, and wait for it to end
    Run(run::Run),
    /// run another process in a container
    Exec(exec::Exec),
    /// print a container's state as JSON
    State(state::State),
    /// send a signal to a container's first process
    Kill(kill::Kill),
    /// remove a container and all that it holds
    Delete(delete::Delete),
    /// list the containers below the root
    List(list::List),
    /// hold all processes of a container still
    Pause(pause::Pause),
    /// let the processes of a paused container go on
    Resume(pause::Resume),
    /// change what a container may use
    Update(update::Update),
    /// list the processes of a container
    Ps(ps::Ps),
    /// print what a container uses, and when it runs out of memory, as JSON
    Events(events::Events),
    /// show what containers use, again and again
    Stats(stats::Stats),
    /// write a running container to files, with criu
    Checkpoint(checkpoint::Checkpoint),
    /// wake a container from the files of a checkpoint, with criu
    Restore(restore::Restore),
    /// put this terminal, or these streams, at a container that has a monitor
    Attach(attach::Attach),
    /// print what a container that has a monitor has written
    Logs(logs::Logs),
    /// wait for a container to end, and print its exit code
    Wait(wait::Wait),
    /// give the terminal of a container that has a monitor a size
    Resize(resize::Resize),
    /// listen on a console socket, and be the terminal that it asks for
    Console(console::Console),
    /// write a config.json to start from
    Spec(spec::Spec),
    /// print what this runtime can do as JSON
    Features(features::Features),
    /// print each step that creating a container would take, and take none
    Plan(plan::Plan),
    /// explain a seccomp profile, or write the least one that a container needs
    Seccomp(seccomp::Seccomp),
    /// run a command in a throw-away container over a copy-on-write view of a directory
    Try(try_command::Try),
}

impl Command {
    /// What `runc` puts before the errors of some commands; engines show it to their users.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        match self {
            Self::Create(_) => Some("runc create failed"),
            Self::Run(_) => Some("runc run failed"),
            _ => None,
        }
    }

    /// Carries the command out. `root_is_given` says whether the runtime's root is the user's choice.
    ///
    /// # Errors
    /// What failed; nothing has been printed about it yet.
    pub(crate) fn run(self, runtime: &Runtime, root_is_given: bool) -> Result<ExitCode, Error> {
        match self {
            Self::Create(command) => command.run(runtime),
            Self::Start(command) => command.run(runtime),
            Self::Run(command) => command.run(runtime),
            Self::Exec(command) => command.run(runtime),
            Self::State(command) => command.run(runtime),
            Self::Restore(command) => command.run(runtime),
            Self::Checkpoint(command) => command.run(runtime),
            Self::Kill(command) => command.run(runtime),
            Self::Delete(command) => command.run(runtime),
            Self::List(command) => command.run(runtime, root_is_given),
            Self::Pause(command) => command.run(runtime),
            Self::Resume(command) => command.run(runtime),
            Self::Update(command) => command.run(runtime),
            Self::Ps(command) => command.run(runtime),
            Self::Events(command) => command.run(runtime),
            Self::Stats(command) => command.run(runtime, root_is_given),
            Self::Attach(command) => command.run(runtime),
            Self::Logs(command) => command.run(runtime),
            Self::Wait(command) => command.run(runtime),
            Self::Resize(command) => command.run(runtime),
            Self::Console(command) => command.run(),
            Self::Spec(command) => command.run(),
            Self::Features(_) => features::Features::run(),
            Self::Plan(command) => command.run(runtime),
            Self::Seccomp(command) => command.run(runtime),
            Self::Try(command) => command.run(runtime),
        }
    }
}

/// As a shell tells of a program that `SIGPIPE` has killed.
const BROKEN_PIPE: u8 = 128 + 13;

/// Prints in one write, so that who reads a pipe gets all or nothing.
pub(crate) fn print(bytes: &[u8]) -> Result<ExitCode, Error> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            log::debug!("whoever reads standard output has enough of it");
            Ok(ExitCode::from(BROKEN_PIPE))
        }
        Err(error) => Err(Error::Output(error)),
    }
}

/// JSON with one member a line.
fn indented(value: &impl Serialize, indent: &[u8]) -> Result<Vec<u8>, Error> {
    let mut text = Vec::with_capacity(4096);
    value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(indent)))?;
    Ok(text)
}

/// A switch's value, as Go writes one.
fn boolean(text: &str) -> Result<bool, String> {
    argv::boolean(text).ok_or_else(|| "expected true or false".to_owned())
}
