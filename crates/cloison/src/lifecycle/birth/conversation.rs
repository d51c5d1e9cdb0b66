//! What the runtime and the init say to each other until the container is made.

use std::os::fd::AsFd as _;
use std::time::Duration;

use cloison_linux::Errno;

use super::Birth;
use crate::init::channel::{FromInit, ToInit};
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::first_process::{ends_within, is_readable_within};
use crate::lifecycle::{Error, limits, sources};
use crate::plan::Origin;
use crate::plan::action::BindSource;

/// How long the end of an init is waited for whose cgroup has gone already: that goes a moment before.
const PATIENCE: Duration = Duration::from_secs(1);

impl Birth<'_> {
    pub(super) fn wait_for_mounts(&mut self, to_map: &[(BindSource, Origin)]) -> Result<(), Error> {
        match self.hear(to_map)? {
            Ok(FromInit::Mounted) => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    pub(super) fn wait_until_ready(&mut self, to_map: &[(BindSource, Origin)]) -> Result<(), Error> {
        loop {
            match self.hear(to_map)? {
                Ok(FromInit::Ready) => return Ok(()),
                Ok(FromInit::Terminal(master)) => self.terminal = Some(master),
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// What the init says next, after all sources of mounts whose ids it wants mapped.
    pub(super) fn hear(&self, to_map: &[(BindSource, Origin)]) -> Result<Result<FromInit, Errno>, Error> {
        let channel = self.first_born()?.channel()?;
        loop {
            match FromInit::receive(self.kernel, channel) {
                Ok(FromInit::Source(number, tree)) => {
                    let known = to_map.iter().find(|(source, _)| source.mount == number);
                    let (source, origin) = known.ok_or(Error::Protocol)?;
                    sources::map(self.kernel, tree.as_fd(), source, origin)?;
                    let told = ToInit::Mapped.send(self.kernel, channel);
                    self.unless_the_init_died(told.doing("telling the init of mapped ids"))?;
                }
                other => return Ok(other),
            }
        }
    }

    /// A failure that only comes of the init's end is told as what ended it.
    pub(super) fn unless_the_init_died(&self, result: Result<(), Error>) -> Result<(), Error> {
        let comes_of_its_end = match &result {
            Err(Error::Call { errno: Errno::PIPE | Errno::SRCH | Errno::NOENT, .. }) => true,
            // What a process has in /proc is root's once it has ended (proc(5)): a user is told that it is not permitted.
            Err(Error::Call { errno: Errno::ACCESS | Errno::PERM, .. } | Error::IdMapProgram { .. }) => {
                self.has_ended()?
            }
            _ => false,
        };
        if !comes_of_its_end {
            return result;
        }
        Err(self.unexpected(FromInit::receive(self.kernel, self.first_born()?.channel()?)))
    }

    /// Whether the init has said its last word, or has ended without one.
    fn has_ended(&self) -> Result<bool, Error> {
        let init = self.first_born()?;
        let says_something = is_readable_within(init.channel()?.as_fd(), Duration::ZERO).unwrap_or(false);
        Ok(says_something && ends_within(init.pidfd.as_fd(), PATIENCE).unwrap_or(false))
    }

    /// The end of a unit's only process is the end of its cgroup, too; what then cannot be done there is told as what ended the process.
    pub(super) fn unless_it_took_the_cgroup_along(&self, result: Result<(), Error>) -> Result<(), Error> {
        let Err(Error::Cgroup(error)) = &result else { return result };
        if !error.is_gone() || !ends_within(self.first_born()?.pidfd.as_fd(), PATIENCE).unwrap_or(false) {
            return result;
        }
        log::debug!("{error}");
        Err(self.unexpected(FromInit::receive(self.kernel, self.first_born()?.channel()?)))
    }

    fn was_killed_for_want_of_memory(&self) -> bool {
        let told = match &mut *self.memory_kills.borrow_mut() {
            Some(watch) => watch.count().inspect_err(|error| log::debug!("{error}")).unwrap_or(0) > 0,
            None => false,
        };
        told || limits::killed_for_want_of_memory(self.cgroup.cgroup())
    }

    /// What it means when the init says something else than was waited for.
    pub(super) fn unexpected(&self, message: Result<FromInit, Errno>) -> Error {
        match message {
            Ok(FromInit::Failed(failure)) => Error::Init(failure),
            Ok(FromInit::LaunchFailed(failure)) => {
                Error::Launch(self.plan.program.describe(failure, self.waits), failure.errno)
            }
            Ok(FromInit::End) if self.was_killed_for_want_of_memory() => Error::OutOfMemory,
            Ok(FromInit::End) => Error::InitDied,
            Ok(_) => Error::Protocol,
            Err(errno) => Error::Call { doing: "waiting for the init".to_owned(), errno },
        }
    }
}
