//! A running CRIU.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cloison_linux::launch::{self, Launch, LaunchProgram, LaunchStep};
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Ending, Fork};
use cloison_linux::signals::SignalSet;
use cloison_linux::{Errno, Kernel, Pid};
use prost::Message;

use super::error::{Doing, Error, errors_in};
use super::rpc::{Features, Kind, Notify, Request, Response};
use crate::errno::Text;
use crate::init::channel::{Failure, FromInit};

/// CRIU's end of the socket, in CRIU; what it is to inherit comes behind.
const SOCKET: u32 = 3;

/// The first version whose protocol has all that is used here.
const OLDEST: i32 = 30_000;

/// A CRIU that waits for requests (`criu swrk`).
pub(crate) struct Criu<'k> {
    kernel: &'k dyn Kernel,
    socket: Option<OwnedFd>,
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
    version: i32,
    /// Where it is told to write its log.
    log: PathBuf,
}

/// What CRIU does not tell by itself, but is told to stop for.
pub(crate) type Notified<'n> =
    dyn FnMut(&str, i32, Option<OwnedFd>) -> Result<(), crate::lifecycle::Error> + 'n;

/// How CRIU is started.
pub(crate) struct Setup<'s> {
    /// The v2 cgroup that it is born into.
    pub(crate) cgroup: Option<BorrowedFd<'s>>,
    /// Descriptors that it inherits from number 4 on, in this order.
    pub(crate) inherited: &'s [OwnedFd],
    /// What is done in it first; gives what failed, in words.
    pub(crate) prepare: &'s dyn Fn() -> Result<(), Failure>,
    /// Where its log will be.
    pub(crate) log: PathBuf,
}

impl<'k> Criu<'k> {
    /// Starts CRIU, and asks for its version.
    pub(crate) fn start(kernel: &'k dyn Kernel, setup: &Setup<'_>) -> Result<Self, Error> {
        let program = find().ok_or(Error::NotInstalled)?;
        let (ours, theirs) = kernel.socketpair().doing("making a socket for criu")?;
        let (report, reported) = kernel.socketpair().doing("making a socket for criu's start")?;
        let namespaces = NamespaceFlags::empty();
        let request = CloneRequest { namespaces, cgroup: setup.cgroup, as_sibling: false };
        match kernel.clone3(&request).doing("starting criu")? {
            Fork::Child => {
                drop((ours, report));
                become_criu(kernel, &program, &theirs, &reported, setup)
            }
            Fork::Parent { pid, pidfd } => {
                drop((theirs, reported));
                let mut criu = Self {
                    kernel,
                    socket: Some(ours),
                    pid,
                    pidfd,
                    reaped: false,
                    version: 0,
                    log: setup.log.clone(),
                };
                match FromInit::receive(kernel, report.as_fd()).doing("waiting for criu's start")? {
                    FromInit::End => {}
                    FromInit::Failed(failure) => return Err(Error::Start(failure.to_string())),
                    FromInit::LaunchFailed(failure) => {
                        return Err(Error::Start(Text(failure.errno).to_string()));
                    }
                    other => return Err(Error::Protocol(format!("{other:?} at its start"))),
                }
                criu.version = criu.ask_version()?;
                criu.at_least(OLDEST, "anything")?;
                Ok(criu)
            }
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    fn ask_version(&mut self) -> Result<i32, Error> {
        let answer = self.ask_for_facts(Request { kind: Kind::Version as i32, ..Request::default() })?;
        let version = answer.version.ok_or_else(|| Error::Protocol("no version".to_owned()))?;
        Ok(version.major * 10_000 + version.minor * 100 + version.sublevel.unwrap_or(0))
    }

    /// Refuses a CRIU that is older; versions are major × 10000 + minor × 100 + sublevel.
    pub(crate) fn at_least(&self, needed: i32, what: &'static str) -> Result<(), Error> {
        if self.version >= needed { Ok(()) } else { Err(Error::TooOld { found: self.version, needed, what }) }
    }

    /// True for a CRIU of this version or a later one.
    pub(crate) fn is_at_least(&self, version: i32) -> bool {
        self.version >= version
    }

    /// Refuses a CRIU, or a kernel, that lacks something.
    pub(crate) fn must_have(&mut self, features: Features) -> Result<(), Error> {
        let asked = features.clone();
        let kind = Kind::FeatureCheck as i32;
        let answer = self.ask_for_facts(Request { kind, features: Some(features), ..Request::default() })?;
        let found = answer.features.unwrap_or_default();
        let lacks = |asked: Option<bool>, found: Option<bool>| asked == Some(true) && found != Some(true);
        if lacks(asked.mem_track, found.mem_track) {
            return Err(Error::Missing("MemTrack (CONFIG_MEM_SOFT_DIRTY)"));
        }
        if lacks(asked.lazy_pages, found.lazy_pages) {
            return Err(Error::Missing("LazyPages (userfaultfd)"));
        }
        Ok(())
    }

    /// A question that CRIU answers at once, and that others follow.
    fn ask_for_facts(&mut self, mut request: Request) -> Result<Response, Error> {
        request.keep_open = Some(true);
        self.send(&request)?;
        let (answer, _) = self.receive()?;
        if answer.success { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    /// Asks for the real thing, and carries out what CRIU stops for meanwhile. CRIU has ended afterwards.
    pub(crate) fn ask(
        mut self,
        request: &Request,
        notified: &mut Notified<'_>,
    ) -> Result<Response, crate::lifecycle::Error> {
        self.send(request)?;
        let answer = loop {
            let (answer, fd) = self.receive()?;
            if !answer.success {
                return Err(self.refused(&answer).into());
            }
            if answer.kind() != Kind::Notify {
                break answer;
            }
            let Notify { script, pid } = answer.notify.unwrap_or_default();
            let script = script.unwrap_or_default();
            log::debug!("criu stops for {script}");
            let done = notified(&script, pid.unwrap_or(0), fd);
            let kind = Kind::Notify as i32;
            self.send(&Request { kind, notify_success: Some(done.is_ok()), ..Request::default() })?;
            if let Err(error) = done {
                // It undoes what it has done, and says that it has failed.
                while self.receive().is_ok_and(|(answer, _)| answer.kind() == Kind::Notify) {
                    self.send(&Request { kind, notify_success: Some(false), ..Request::default() })?;
                }
                return Err(error);
            }
        };
        if answer.kind != request.kind {
            return Err(Error::Protocol(format!("an answer of kind {}", answer.kind)).into());
        }
        let ending = self.end()?;
        // After a dump of the memory alone it waits for more, and takes the end of that for a failure.
        if ending.exit_code() != 0 && request.kind() != Kind::PreDump {
            return Err(Error::Ended(ending, errors_in(&self.log), self.log.clone()).into());
        }
        Ok(answer)
    }

    fn refused(&self, answer: &Response) -> Error {
        let mut reasons = errors_in(&self.log);
        if reasons.is_empty() {
            reasons.extend(answer.error.clone());
        }
        let request = match answer.kind() {
            Kind::Dump => "DUMP",
            Kind::PreDump => "PRE_DUMP",
            Kind::Restore => "RESTORE",
            Kind::FeatureCheck => "FEATURE_CHECK",
            Kind::Version => "VERSION",
            Kind::Notify => "NOTIFY",
            Kind::Empty => "EMPTY",
        };
        Error::Failed { request, errno: answer.errno.unwrap_or(0), reasons, log: self.log.clone() }
    }

    fn send(&self, request: &Request) -> Result<(), Error> {
        let Some(socket) = &self.socket else { return Err(Error::Protocol("it has ended".to_owned())) };
        self.kernel.send(socket.as_fd(), &request.encode_to_vec(), None).doing("asking criu")
    }

    fn receive(&mut self) -> Result<(Response, Option<OwnedFd>), Error> {
        let Some(socket) = &self.socket else { return Err(Error::Protocol("it has ended".to_owned())) };
        let message = match self.kernel.receive(socket.as_fd()) {
            Err(Errno::CONNRESET) => None,
            message => Some(message.doing("waiting for criu")?).filter(|message| !message.bytes.is_empty()),
        };
        let Some(message) = message else {
            let ending = self.end()?;
            return Err(Error::Ended(ending, errors_in(&self.log), self.log.clone()));
        };
        let answer = Response::decode(message.bytes.as_slice());
        Ok((answer.map_err(|error| Error::Protocol(error.to_string()))?, message.fd))
    }

    /// Tells CRIU that nothing more comes, and waits for its end.
    fn end(&mut self) -> Result<Ending, Error> {
        self.socket = None;
        let ending = self.kernel.wait_pidfd(self.pidfd.as_fd()).doing("waiting for criu's end")?;
        self.reaped = true;
        Ok(ending)
    }
}

impl Drop for Criu<'_> {
    /// A CRIU that nobody asks any more ends with its socket, and lets go of what it had stopped.
    fn drop(&mut self) {
        if !self.reaped
            && let Err(error) = self.end()
        {
            log::debug!("{error}");
        }
    }
}

/// Where CRIU is.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    candidates.find_map(|directory| Some(directory.join("criu")).filter(|file| file.is_file()))
}

/// CRIU's environment, `NAME=value`: the runtime's. What CRIU restores has restartable sequences of its own; those of CRIU's own glibc (2.35)
/// CRIU 3.17 takes away only where it can ask the kernel for them (Linux 5.13), and the restored process dies of them elsewhere. So it has none.
fn environment(own: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = OsString> {
    const WITHOUT: (&str, &str) = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    let mut said = false;
    let own: Vec<OsString> = own
        .map(|(name, mut value)| {
            if name == WITHOUT.0 {
                said = true;
                value.push(":");
                value.push(WITHOUT.1);
            }
            [name, value].join(OsStr::new("="))
        })
        .collect();
    let ours = (!said).then(|| OsString::from(format!("{}={}", WITHOUT.0, WITHOUT.1)));
    own.into_iter().chain(ours)
}

/// Goes on as CRIU. Comes to an end only by a failure.
fn become_criu(
    kernel: &dyn Kernel,
    program: &Path,
    socket: &OwnedFd,
    report: &OwnedFd,
    setup: &Setup<'_>,
) -> ! {
    if let Err(failure) = (setup.prepare)() {
        tell(kernel, report, &failure);
    }
    let failed = |errno: Errno| Failure {
        errno: Some(errno.raw_os_error()),
        causes: vec!["preparing the descriptors of criu".to_owned(), Text(errno).to_string()],
    };
    let report = match number_descriptors(kernel, socket, setup.inherited, report) {
        Ok(report) => report,
        Err(errno) => tell(kernel, report, &failed(errno)),
    };
    let first_closed = SOCKET + 1 + setup.inherited.len() as u32;
    let text = |text: &OsStr| CString::new(text.as_bytes()).unwrap_or_default();
    let env = environment(std::env::vars_os()).map(|entry| text(&entry));
    let launch = Launch {
        early: Vec::new(),
        steps: vec![
            LaunchStep::CloseFrom(first_closed),
            LaunchStep::ResetSignals,
            LaunchStep::SetSignalMask(SignalSet::NONE),
        ],
        program: LaunchProgram { candidates: vec![text(program.as_os_str())] },
        args: ["criu", "swrk", "3"].map(|word| text(OsStr::new(word))).to_vec(),
        env: env.collect(),
        report: Some(report),
        handshake: None,
        wait: None,
        pad: None,
    };
    let errno = launch::launch(&launch);
    if let Some(report) = &launch.report {
        tell(kernel, report, &failed(errno));
    }
    std::process::exit(1)
}

fn tell(kernel: &dyn Kernel, report: &OwnedFd, failure: &Failure) -> ! {
    if let Err(errno) = FromInit::send_failure(kernel, report.as_fd(), failure) {
        log::debug!("nobody to tell that {failure}: {errno}");
    }
    std::process::exit(1)
}

/// Puts the descriptors in their places; first all away from these, since a place may be that of another. Gives the report's new one.
fn number_descriptors(
    kernel: &dyn Kernel,
    socket: &OwnedFd,
    inherited: &[OwnedFd],
    report: &OwnedFd,
) -> Result<OwnedFd, Errno> {
    let above = (SOCKET + 1 + inherited.len() as u32).cast_signed();
    let report = rustix::io::fcntl_dupfd_cloexec(report, above)?;
    let all = [socket].into_iter().chain(inherited);
    let moved = all.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, above)).collect::<Result<Vec<_>, _>>()?;
    moved.iter().zip(SOCKET..).try_for_each(|(fd, number)| kernel.dup_onto(fd.as_fd(), number))?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &[(&str, &str)]) -> Vec<OsString> {
        environment(own.iter().map(|(name, value)| (name.into(), value.into()))).collect()
    }

    #[test]
    fn criu_has_no_restartable_sequences_of_its_own() {
        assert_eq!(of(&[("A", "b")]), ["A=b", "GLIBC_TUNABLES=glibc.pthread.rseq=0"]);
        let own = ("GLIBC_TUNABLES", "glibc.malloc.check=1");
        assert_eq!(of(&[own]), ["GLIBC_TUNABLES=glibc.malloc.check=1:glibc.pthread.rseq=0"]);
    }
}
