//! A throw-away machine: a kernel of its own, systemd or none, and what a command prints in it.
//!
//! User Mode Linux boots in two seconds; the kernels of Debian's releases take some twenty under qemu, which emulates the processor.
//! Both have the root file system that `xtask/vm/build` makes from Debian's packages. What a command changes in it is gone
//! afterwards, but in the directory that is shared.

mod image;
mod qemu;
mod uml;

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::{Result, command};

/// The exit code if the time was up.
const TIMED_OUT: u8 = 124;

/// The exit code if the machine ended before the command did.
const NO_STATUS: u8 = 125;

pub(crate) const USAGE: &str = "\
usage: cargo xtask vm [OPTIONS] -- COMMAND [ARGUMENT...]
       cargo xtask vm build [PART...]       (root, uml, 5.10, 6.1, 6.12; else what a command needs is made)

Runs a command as root in a throw-away machine; one word is a script for sh. Its output comes here, its exit status is ours
(124: the time was up, 125: the machine ended without one).

  --kernel uml|5.10|6.1|6.12   User Mode Linux (one processor, no cpuset, no CRIU), or emulated by qemu (uml)
  --cgroup v2|v1|hybrid        the cgroup hierarchies (v2); hybrid with systemd alone
  --init systemd|none          who is process 1 (systemd)
  --lsm apparmor|selinux|none  the security module (apparmor); --enforcing: SELinux refuses
  --share DIRECTORY[:ro]       seen as /run/share, where the command begins
  --memory SIZE                (2G)
  --timeout SECONDS            (600)
  --log FILE                   keeps what the machine's console says
";

/// What machine is to be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cgroup: String,
    pub(crate) init: String,
    pub(crate) lsm: String,
    pub(crate) enforcing: bool,
    /// The directory, and whether it is read-only.
    pub(crate) share: Option<(PathBuf, bool)>,
    pub(crate) memory: String,
    pub(crate) timeout: Duration,
    pub(crate) log: Option<PathBuf>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            kernel: "uml".to_owned(),
            cgroup: "v2".to_owned(),
            init: "systemd".to_owned(),
            lsm: "apparmor".to_owned(),
            enforcing: false,
            share: None,
            memory: "2G".to_owned(),
            timeout: Duration::from_mins(10),
            log: None,
        }
    }
}

impl Machine {
    /// Reads options up to `--`; gives what comes behind it.
    fn parse<'w>(words: &'w [&'w str]) -> Result<(Self, &'w [&'w str])> {
        let mut machine = Self::default();
        let mut words = words;
        loop {
            let (name, value) = match words {
                ["--", ..] if machine.cgroup == "hybrid" && machine.init == "none" => {
                    return Err("--cgroup hybrid is what systemd makes of both: not with --init none".into());
                }
                ["--", command @ ..] if !command.is_empty() => return Ok((machine, command)),
                ["--enforcing", rest @ ..] => {
                    machine.enforcing = true;
                    words = rest;
                    continue;
                }
                [name, value, rest @ ..] => {
                    words = rest;
                    (*name, *value)
                }
                _ => return Err(format!("a command is missing\n{USAGE}").into()),
            };
            let one_of = |known: &[&str]| {
                known
                    .contains(&value)
                    .then(|| value.to_owned())
                    .ok_or_else(|| format!("{name} is one of {known:?}"))
            };
            match name {
                "--kernel" => machine.kernel = one_of(&["uml", "5.10", "6.1", "6.12"])?,
                "--cgroup" => machine.cgroup = one_of(&["v2", "v1", "hybrid"])?,
                "--init" => machine.init = one_of(&["systemd", "none"])?,
                "--lsm" => machine.lsm = one_of(&["apparmor", "selinux", "none"])?,
                "--memory" => value.clone_into(&mut machine.memory),
                "--timeout" => machine.timeout = Duration::from_secs(value.parse()?),
                "--log" => machine.log = Some(value.into()),
                "--share" => {
                    let (path, read_only) =
                        value.strip_suffix(":ro").map_or((value, false), |path| (path, true));
                    machine.share = Some((std::fs::canonicalize(path)?, read_only));
                }
                _ => return Err(format!("no such option: {name}\n{USAGE}").into()),
            }
        }
    }

    fn is_uml(&self) -> bool {
        self.kernel == "uml"
    }

    /// Words for the kernel's command line that do not depend on who boots it.
    fn kernel_words(&self) -> Vec<String> {
        let mut words: Vec<String> = [
            "quiet",
            "loglevel=4",
            "panic=-1",
            "systemd.unit=vmrun.target",
            "systemd.show_status=false",
            "norandmaps",
        ]
        .map(str::to_owned)
        .into();
        words.push(format!("vm.init={}", self.init));
        words.push(format!("vm.cgroup={}", self.cgroup));
        words.push(format!("systemd.unified_cgroup_hierarchy={}", u8::from(self.cgroup == "v2")));
        if self.cgroup == "v1" {
            words.push("systemd.legacy_systemd_cgroup_controller=1".to_owned());
        }
        words.push(format!("enforcing={}", u8::from(self.enforcing)));
        words
    }

    /// Runs a script in such a machine. Its standard output and standard error go to ours; gives its exit status.
    ///
    /// # Errors
    /// When the machine cannot be made or booted.
    pub(crate) fn run(&self, script: &str) -> Result<u8> {
        let needed: &[&str] = if self.is_uml() { &["root", "uml"] } else { &["root", &self.kernel] };
        let image = image::ready(needed)?;
        let scratch = Scratch::new()?;
        let log = self.log.clone().unwrap_or_else(|| scratch.0.join("console"));
        let console = File::options().create(true).append(true).open(&log)?;
        let boot = if self.is_uml() { uml::boot } else { qemu::boot };
        let ([out, err, status], mut booted) = {
            // Two at once would each inherit the other's ports, and neither come to an end before both do.
            let _alone = BOOTING.lock().expect("no thread panics");
            let (ours, ports) = ports()?;
            (ours, boot(self, &image, &scratch.0, script, &ports, console)?)
        };
        let (ended, end) = mpsc::channel();
        let copies = [
            thread::spawn(move || copy(out, std::io::stdout())),
            thread::spawn(move || copy(err, std::io::stderr())),
        ];
        thread::spawn(move || {
            let mut text = String::new();
            let read = { status }.read_to_string(&mut text);
            // Nobody listens once the time is up.
            let _ = ended.send(read.map(|_| text));
        });
        let told = end.recv_timeout(self.timeout);
        booted.end(matches!(told, Err(RecvTimeoutError::Timeout)))?;
        for copy in copies {
            copy.join().map_err(|_| "a thread that copies output has panicked")??;
        }
        let (code, why) = match told {
            Err(RecvTimeoutError::Timeout) => (TIMED_OUT, "the time is up"),
            Err(RecvTimeoutError::Disconnected) => (NO_STATUS, "nothing was heard of it"),
            Ok(text) => match text?.trim().parse() {
                Ok(code) => return Ok(code),
                Err(_) => (NO_STATUS, "the machine has ended without an exit status"),
            },
        };
        let console = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        let last: Vec<&str> = console.lines().rev().take(40).collect();
        eprintln!("xtask: {why}; its console's end:");
        last.iter().rev().for_each(|line| eprintln!("  {line}"));
        Ok(code)
    }
}

/// `cargo xtask vm`.
///
/// # Errors
/// For words that are not understood, and when there is no machine.
pub(crate) fn vm(words: &[&str]) -> Result<ExitCode> {
    if let ["build", parts @ ..] = words {
        let parts = if parts.is_empty() { &["root", "uml"] } else { parts };
        println!("{}", image::build(parts)?.display());
        return Ok(ExitCode::SUCCESS);
    }
    let (machine, command) = Machine::parse(words)?;
    let script = match command {
        [script] => (*script).to_owned(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    machine.run(&script).map(ExitCode::from)
}

/// A word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Held while descriptors are there that a process inherits.
static BOOTING: Mutex<()> = Mutex::new(());

/// The pipes for output, error output and exit status: our ends, and the machine's, which its process inherits.
fn ports() -> Result<([PipeReader; 3], [PipeWriter; 3])> {
    let [out, err, status] = [std::io::pipe()?, std::io::pipe()?, std::io::pipe()?];
    let writers = [out.1, err.1, status.1];
    for writer in &writers {
        fcntl_setfd(writer.as_fd(), FdFlags::empty())?;
    }
    Ok(([out.0, err.0, status.0], writers))
}

fn copy(from: PipeReader, mut to: impl Write) -> std::io::Result<()> {
    std::io::copy(&mut { from }, &mut to)?;
    to.flush()
}

/// The processes of a machine.
struct Booted {
    /// The machine itself, then what serves it.
    processes: Vec<Child>,
}

impl Booted {
    /// Waits for the machine's end, or kills it; what serves it is killed in any case.
    fn end(&mut self, kill: bool) -> std::io::Result<()> {
        let mut processes = std::mem::take(&mut self.processes).into_iter();
        if let Some(mut machine) = processes.next() {
            // It powers off once the exit status is told, unless it is stuck.
            let deadline = Instant::now() + Duration::from_secs(20);
            while !kill && machine.try_wait()?.is_none() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
            machine.kill()?;
            machine.wait()?;
        }
        processes.try_for_each(|mut server| {
            server.kill()?;
            server.wait().map(drop)
        })
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if let Err(error) = self.end(true) {
            eprintln!("xtask: a process of the machine may be left: {error}");
        }
    }
}

/// A command that ends with us, whatever ends us.
fn until_we_end(program: &Path) -> Command {
    let mut command = command::words(["setpriv", "--pdeathsig", "KILL"]);
    command.arg(program).stdin(Stdio::null());
    command
}

/// What the name of the directory with all of ours begins with; the number of our process follows.
const SCRATCH: &str = "cloison-vm-";

/// A directory for one run.
struct Scratch(PathBuf);

/// How many machines we have booted.
static MACHINES: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    fn new() -> Result<Self> {
        let directory = std::env::temp_dir();
        // What a run has left that was killed, or interrupted.
        for entry in std::fs::read_dir(&directory)?.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(SCRATCH));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                eprintln!("xtask: {} is left of another run: {error}", entry.path().display());
            }
        }
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{SCRATCH}{}/{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {} is left: {error}", self.0.display());
        }
        // Another machine's may be beside it.
        let all = self.0.parent().expect("it has been made in one");
        match std::fs::remove_dir(all) {
            Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => {
                eprintln!("xtask: {} is left: {error}", all.display());
            }
            _ => {}
        }
    }
}

/// A descriptor that the command inherits.
fn inherited(file: impl Into<OwnedFd>) -> Result<OwnedFd> {
    let fd = file.into();
    fcntl_setfd(&fd, FdFlags::empty())?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_at_two_dashes() {
        let (machine, command) =
            Machine::parse(&["--kernel", "6.1", "--enforcing", "--share", "/usr:ro", "--", "ls", "--kernel"])
                .unwrap();
        assert_eq!(machine.kernel, "6.1");
        assert!(machine.enforcing);
        assert_eq!(machine.share, Some(("/usr".into(), true)));
        assert_eq!(command, ["ls", "--kernel"]);
    }

    #[test]
    fn what_is_not_an_option_and_what_is_no_value_of_one_are_refused() {
        for words in [
            &["--kernel", "2.6", "--", "ls"][..],
            &["--colour", "red", "--", "ls"],
            &["--cgroup", "hybrid", "--init", "none", "--", "ls"],
            &["ls"],
            &["--"],
        ] {
            assert!(Machine::parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
