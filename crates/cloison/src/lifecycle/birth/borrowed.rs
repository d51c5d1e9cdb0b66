//! What the runtime takes for the moment in which the init is born, for the init to inherit: namespaces for children, and an OOM score.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{Errno, Kernel, Mode, OFlags};

use crate::init::security;
use crate::lifecycle::Error;
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::score::Score;

/// What the runtime has taken for a moment, and gives back after the init is born: hooks and whatever else it starts must not have it.
pub(super) struct Borrowed<'k> {
    kernel: &'k dyn Kernel,
    namespaces: Vec<(OwnedFd, NamespaceFlags)>,
    score: Option<Score<'k>>,
}

impl<'k> Borrowed<'k> {
    /// None yet.
    pub(super) fn new(kernel: &'k dyn Kernel) -> Self {
        Self { kernel, namespaces: Vec::new(), score: None }
    }

    pub(super) fn score(&mut self, score: i32) -> Result<(), Error> {
        self.score = Some(Score::lend(self.kernel, score)?);
        Ok(())
    }

    pub(super) fn time_offsets(&mut self, offsets: &[(&'static str, i64, u32)]) -> Result<(), Error> {
        self.remember(NamespaceFlags::TIME)?;
        security::new_clocks(self.kernel, offsets, None)
            .map_err(|(doing, errno)| Error::Call { doing: doing.to_owned(), errno })
    }

    /// False if the runtime could not come back, as it has no rights over its own: it may be root of a user namespace that does not own its PID
    /// namespace, as under Podman of an ordinary user. Then nothing is entered.
    pub(super) fn join(&mut self, kind: NamespaceFlags, path: &Path) -> Result<bool, Error> {
        self.remember(kind)?;
        if kind == NamespaceFlags::PID && !self.may_come_back()? {
            self.namespaces.pop();
            return Ok(false);
        }
        let doing = format!("joining the {kind} namespace {}", path.display());
        let namespace = self.kernel.open(path, OFlags::RDONLY, Mode::empty()).doing(doing.as_str())?;
        self.kernel.setns(namespace.as_fd(), kind).doing(doing)?;
        Ok(true)
    }

    /// Into the last one that was remembered, in which the runtime still is.
    fn may_come_back(&self) -> Result<bool, Error> {
        let Some((own, kind)) = self.namespaces.last() else { return Ok(true) };
        match self.kernel.setns(own.as_fd(), *kind) {
            Ok(()) => Ok(true),
            Err(Errno::PERM) => Ok(false),
            Err(errno) => Err(errno).doing(format!("entering the runtime's own {kind} namespace")),
        }
    }

    fn remember(&mut self, kind: NamespaceFlags) -> Result<(), Error> {
        let path = format!("/proc/self/ns/{}", kind.proc_name().unwrap_or_default());
        let own = self.kernel.open(Path::new(&path), OFlags::RDONLY, Mode::empty());
        let own = own.doing(format!("opening {path}"))?;
        self.namespaces.push((own, kind));
        Ok(())
    }

    pub(super) fn undo(&mut self) -> Result<(), Error> {
        let score = self.score.take().map_or(Ok(()), Score::take_back);
        let namespaces = self.namespaces.drain(..).try_for_each(|(own, kind)| {
            self.kernel
                .setns(own.as_fd(), kind)
                .doing(format!("coming back to the runtime's {kind} namespace"))
        });
        score.and(namespaces)
    }
}
