//! The directory, the names and the commands of one test.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::bundle::Bundle;
use crate::caller;
use crate::container::Container;
use crate::leaks;
use crate::output::Output;
use crate::patience::{patient, pause};
use crate::rootfs::{Rootfs, make_dir};
use crate::runtime;

/// The environment variable that every process of a sandbox carries, with the sandbox's name.
pub const MARKER: &str = "CLOISON_TEST_SANDBOX";

/// What `PATH` is for the runtime, whatever it is for the tests.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long one command of the runtime may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long [`until`] waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// One test's own directory, `--root`, and unique names.
///
/// Dropping it checks that nothing was left behind, see [`leaks`].
pub struct Sandbox {
    name: String,
    dir: PathBuf,
    containers: Cell<u32>,
    commands: Cell<u32>,
    mounts: RefCell<Vec<PathBuf>>,
    /// Whether systemd makes the cgroups.
    systemd: Cell<bool>,
    /// That is what the test is about.
    about_systemd: bool,
    /// Children that a [`Foreground`] will wait for; every other child is a container's process given to us.
    waited_for: RefCell<Vec<u32>>,
}

impl Sandbox {
    /// A new sandbox below the directory for temporary files.
    pub fn new() -> Self {
        static SANDBOXES: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "the integration tests make real containers: run them as root"
        );
        // What containers leave behind comes to us instead of to PID 1, as it comes to an engine's shim.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .expect("prctl(PR_SET_CHILD_SUBREAPER)");
        let number = SANDBOXES.fetch_add(1, Ordering::Relaxed);
        // In namespaces of their own, two runs have the same process ids on one machine.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        let name = format!("cloison-test-{}-{:08x}-{number}", std::process::id(), now.subsec_nanos());
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("mkdir {}: {error}", dir.display()));
        make_dir(&dir, 0o711);
        caller::give(&dir);
        make_dir(&dir.join("tmp"), 0o1777);
        Self {
            name,
            dir,
            containers: Cell::new(0),
            commands: Cell::new(0),
            mounts: RefCell::default(),
            systemd: Cell::new(
                std::env::var_os("CLOISON_TEST_SYSTEMD").is_some_and(|value| !value.is_empty()),
            ),
            about_systemd: false,
            waited_for: RefCell::default(),
        }
    }

    /// Has systemd make the cgroups, whatever `CLOISON_TEST_SYSTEMD` says.
    #[must_use]
    pub fn with_systemd(mut self) -> Self {
        self.systemd.set(true);
        self.about_systemd = true;
        self
    }

    /// Whether systemd makes the cgroups: for tests that depend on who does.
    pub fn uses_systemd(&self) -> bool {
        self.systemd.get()
    }

    /// Leaves systemd out from now on, for a cgroup path that is not one of systemd's, unless that is what the test is about.
    pub(crate) fn follow(&self, cgroups_path: &str) {
        if !self.about_systemd && !cgroups_path.contains(':') {
            self.systemd.set(false);
        }
    }

    /// The name that everything of this sandbox bears: its directory, container ids, cgroups and processes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sandbox's directory, mode 0711.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is given to the runtime as `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A container id that nobody else uses.
    pub fn new_id(&self) -> String {
        format!("{}-c{}", self.name, next(&self.containers))
    }

    /// A new bundle: the default specification, and a root file system.
    pub fn bundle(&self, rootfs: Rootfs) -> Bundle<'_> {
        Bundle::new(self, self.dir.join(format!("bundle{}", next(&self.containers))), rootfs)
    }

    /// A new bundle with a busybox that runs this shell script.
    pub fn busybox(&self, script: &str) -> Bundle<'_> {
        self.bundle(Rootfs::busybox()).args(["sh", "-c", script])
    }

    /// A new bundle with a Debian that runs this shell script.
    pub fn debian(&self, script: &str) -> Bundle<'_> {
        self.bundle(Rootfs::debian()).args(["sh", "-c", script])
    }

    /// A busybox whose process does nothing until a signal ends it.
    pub fn sleeper(&self) -> Bundle<'_> {
        self.bundle(Rootfs::busybox()).args(["sleep", "1000"])
    }

    /// Runs the runtime under test with the sandbox's `--root`, and waits for it.
    pub fn cloison<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.finish(self.command(arguments))
    }

    /// A command line of the runtime under test with the sandbox's `--root`, ready to be changed.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut words = caller::words().into_iter();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = self.bare_command(first);
                command.args(words).arg(runtime::binary());
                if let Some(directory) = caller::runtime_directory() {
                    command.env("XDG_RUNTIME_DIR", directory);
                }
                command
            }
            None => self.bare_command(runtime::binary()),
        };
        command.arg("--root").arg(self.root());
        if self.systemd.get() {
            command.arg("--systemd-cgroup");
        }
        command.args(arguments);
        command
    }

    /// A command line of any program, in the sandbox's directory and with its environment.
    pub fn bare_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("TMPDIR", self.dir.join("tmp"))
            .env("XDG_RUNTIME_DIR", self.dir.join("tmp"))
            .env(MARKER, &self.name)
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; standard output and error go to files, so that a container may keep them open.
    pub fn finish(&self, command: Command) -> Output {
        self.spawn(command).wait()
    }

    /// Starts a command without waiting for it.
    pub fn spawn(&self, mut command: Command) -> Foreground<'_> {
        let number = next(&self.commands);
        let stdout_file = self.dir.join(format!("stdout{number}"));
        let stderr_file = self.dir.join(format!("stderr{number}"));
        let create = |path: &Path| {
            let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            caller::give(path);
            file
        };
        command.stdout(create(&stdout_file)).stderr(create(&stderr_file));
        self.spawn_as_is(command, stdout_file, stderr_file)
    }

    /// Starts a command whose standard output and error are the caller's affair.
    pub fn spawn_with_own_stdio(&self, command: Command) -> Foreground<'_> {
        self.spawn_as_is(command, PathBuf::new(), PathBuf::new())
    }

    fn spawn_as_is(
        &self,
        mut command: Command,
        stdout_file: PathBuf,
        stderr_file: PathBuf,
    ) -> Foreground<'_> {
        let line = format!("{command:?}");
        // Its own process group: a signal to the runner's group is not a signal to containers.
        let child = command.process_group(0).spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        self.waited_for.borrow_mut().push(child.id());
        Foreground { sandbox: self, child: Some(child), line, stdout_file, stderr_file }
    }

    /// A container made earlier, or one that does not exist.
    pub fn container(&self, id: &str) -> Container<'_> {
        Container::new(self, id.to_owned(), None)
    }

    /// Mounts something in the sandbox; it is unmounted at the end.
    pub fn mount(&self, source: &str, target: &Path, kind: &str, flags: MountFlags, options: &str) {
        let options = std::ffi::CString::new(options).expect("options have no NUL");
        rustix::mount::mount(source, target, kind, flags, Some(options.as_c_str()))
            .unwrap_or_else(|error| panic!("mount {kind} on {}: {error}", target.display()));
        if kind == "tmpfs" && !flags.contains(MountFlags::RDONLY) {
            caller::give(target);
        }
        self.mounts.borrow_mut().push(target.to_owned());
    }

    /// Bind-mounts a directory or file; it is unmounted at the end.
    pub fn bind(&self, source: &Path, target: &Path) {
        rustix::mount::mount_bind(source, target)
            .unwrap_or_else(|error| panic!("bind {} on {}: {error}", source.display(), target.display()));
        self.mounts.borrow_mut().push(target.to_owned());
    }

    /// Makes a file in the sandbox.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        caller::give(&path);
        path
    }

    /// Makes a directory in the sandbox, mode 0755.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        make_dir(&path, 0o755);
        caller::give(&path);
        path
    }

    /// Waits for a process of a container that was given to us when its parent ended, and returns how it ended.
    pub fn wait_for_orphan(&self, pid: u32) -> i32 {
        let mut ended = None;
        until(&format!("process {pid} ends"), || {
            match rustix::process::waitpid(Some(to_pid(pid)), WaitOptions::NOHANG) {
                Ok(end) => ended = end,
                Err(error) => panic!("waitpid {pid}: {error}: is it our child?"),
            }
            ended.is_some()
        });
        let (_, status) = ended.expect("that was waited for");
        status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s)).unwrap_or(-1)
    }

    /// Reaps every process that was given to us and has ended.
    pub(crate) fn reap(&self) {
        for child in leaks::children_of(std::process::id()) {
            if !self.waited_for.borrow().contains(&child) {
                // An error only says that it is no longer, or never was, our child.
                let _ = rustix::process::waitpid(Some(to_pid(child)), WaitOptions::NOHANG);
            }
        }
    }

    /// Checks that nothing of this sandbox is left but its own directory, and an empty state directory in it.
    pub fn assert_nothing_left(&self) {
        let left = leaks::settle(self);
        assert!(left.is_empty(), "left behind by {}:\n{}", self.name, leaks::describe(&left));
    }

    /// Children that somebody will still wait for.
    pub(crate) fn is_waited_for(&self, pid: u32) -> bool {
        self.waited_for.borrow().contains(&pid)
    }

    /// What the test itself has mounted.
    pub(crate) fn own_mounts(&self) -> Vec<PathBuf> {
        self.mounts.borrow().clone()
    }

    pub(crate) fn unmount_own(&self) {
        for target in self.mounts.borrow_mut().drain(..).rev() {
            if let Err(error) = rustix::mount::unmount(&target, UnmountFlags::DETACH) {
                eprintln!("could not unmount {}: {error}", target.display());
            }
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.unmount_own();
        let left = leaks::settle(self);
        if !left.is_empty() {
            leaks::clean_up(self);
        }
        leaks::remove_directory(&self.dir);
        if !left.is_empty() {
            let message = format!("left behind by {}:\n{}", self.name, leaks::describe(&left));
            assert!(std::thread::panicking(), "{message}");
            eprintln!("{message}");
        }
    }
}

/// A command that runs while the test goes on.
pub struct Foreground<'s> {
    sandbox: &'s Sandbox,
    child: Option<Child>,
    line: String,
    stdout_file: PathBuf,
    stderr_file: PathBuf,
}

impl Foreground<'_> {
    /// The process id of the command.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("not waited for yet").id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("not waited for yet")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(to_pid(self.pid()), signal).expect("it runs");
    }

    /// What it has printed so far.
    pub fn stdout_so_far(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout_file).expect("the file is ours")).into_owned()
    }

    /// Waits until its standard output contains something.
    pub fn until_prints(&self, text: &str) {
        until(&format!("{} prints {text:?}", self.line), || self.stdout_so_far().contains(text));
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Output {
        let status = self.wait_with_deadline();
        let read = |path: &Path| {
            if path.as_os_str().is_empty() {
                String::new()
            } else {
                String::from_utf8_lossy(&fs::read(path).expect("the file is ours")).into_owned()
            }
        };
        Output {
            command: self.line.clone(),
            status,
            stdout: read(&self.stdout_file),
            stderr: read(&self.stderr_file),
            stdout_file: self.stdout_file.clone(),
        }
    }

    fn wait_with_deadline(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("waited for once");
        let pid = child.id();
        let pidfd = rustix::process::pidfd_open(to_pid(pid), PidfdFlags::empty()).expect("it is our child");
        let deadline = patient(DEADLINE);
        let timeout = Timespec { tv_sec: deadline.as_secs().cast_signed(), tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).expect("poll on a pidfd");
        if ended == 0 {
            child.kill().expect("it is our child");
        }
        let status = child.wait().expect("it is our child");
        self.sandbox.waited_for.borrow_mut().retain(|&other| other != pid);
        assert!(ended > 0, "no end after {deadline:?}, killed: {}\n{}", self.line, self.both_streams());
        status
    }

    fn both_streams(&self) -> String {
        [&self.stdout_file, &self.stderr_file]
            .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned())
            .join("---\n")
    }
}

impl Drop for Foreground<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            self.sandbox.waited_for.borrow_mut().retain(|&other| other != child.id());
        }
    }
}

/// Waits until something holds, looking every few milliseconds, and less often the longer it takes.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        let waited = begun.elapsed();
        assert!(waited < patient(PATIENCE), "waited {:?} in vain until {what}", patient(PATIENCE));
        std::thread::sleep(pause(waited));
    }
}

/// A process id as the system calls take it.
pub fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process id is positive")
}

/// Lets one command line start another: it gets that one's words at its end, and the variables that it sets; not its user, directory and streams.
pub fn append_command(starter: &mut Command, command: &Command) {
    starter.arg(command.get_program()).args(command.get_args());
    starter.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
}

fn next(counter: &Cell<u32>) -> u32 {
    counter.set(counter.get() + 1);
    counter.get()
}
