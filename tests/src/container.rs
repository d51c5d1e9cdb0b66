//! One container between `create` and `delete`.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::output::Output;
use crate::sandbox::{Sandbox, until};

/// A container with an id; commands on it are run by the runtime under test.
pub struct Container<'s> {
    sandbox: &'s Sandbox,
    id: String,
    created: Option<Output>,
}

impl<'s> Container<'s> {
    pub(crate) fn new(sandbox: &'s Sandbox, id: String, created: Option<Output>) -> Self {
        Self { sandbox, id, created }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `start`.
    pub fn start(&self) -> Output {
        self.sandbox.cloison(["start", &self.id])
    }

    /// `state`, parsed; it must succeed.
    pub fn state(&self) -> Value {
        self.sandbox.cloison(["state", &self.id]).json()
    }

    /// `state`, as it was printed.
    pub fn try_state(&self) -> Output {
        self.sandbox.cloison(["state", &self.id])
    }

    /// The status that `state` tells.
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status is a string").to_owned()
    }

    /// The process id that `state` tells.
    pub fn pid(&self) -> u32 {
        let pid = self.state()["pid"].as_u64().expect("pid is a number");
        u32::try_from(pid).expect("process ids are small")
    }

    /// `kill` with these arguments after the id.
    pub fn kill(&self, arguments: &[&str]) -> Output {
        self.sandbox.cloison(["kill", &self.id].iter().chain(arguments))
    }

    /// `exec` with these arguments before the id, and this command after it.
    pub fn exec_with<S: AsRef<OsStr>>(&self, flags: &[&str], command: impl IntoIterator<Item = S>) -> Output {
        self.sandbox.finish(self.exec_command(flags, command))
    }

    /// `exec` of a command, without flags.
    pub fn exec<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Output {
        self.exec_with(&[], command)
    }

    /// `exec` of a shell script.
    pub fn exec_script(&self, flags: &[&str], script: &str) -> Output {
        self.exec_with(flags, ["sh", "-c", script])
    }

    /// The command line of `exec`, ready to be changed.
    pub fn exec_command<S: AsRef<OsStr>>(
        &self,
        flags: &[&str],
        command: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut line = self.sandbox.command(["exec"]);
        line.args(flags).arg(&self.id).args(command);
        line
    }

    /// `delete`.
    pub fn delete(&self) -> Output {
        self.sandbox.cloison(["delete", &self.id])
    }

    /// `delete --force`.
    pub fn delete_force(&self) -> Output {
        self.sandbox.cloison(["delete", "--force", &self.id])
    }

    /// Waits until `state` tells this status.
    pub fn until(&self, status: &str) {
        until(&format!("{} is {status}", self.id), || self.status() == status);
    }

    /// Kills the process, waits for its end and deletes the container; all must succeed.
    pub fn end(&self) {
        let pid = self.pid();
        self.kill(&["KILL"]).ok();
        self.sandbox.wait_for_orphan(pid);
        self.delete().ok();
    }

    /// Waits until the process has ended, deletes the container, and returns the exit code (128 + n for a signal).
    pub fn finish(&self) -> i32 {
        let pid = self.pid();
        let code = self.sandbox.wait_for_orphan(pid);
        self.delete().ok();
        code
    }

    /// What the container printed so far.
    pub fn stdout(&self) -> String {
        let output = self.created.as_ref().expect("we made it");
        String::from_utf8_lossy(&fs::read(&output.stdout_file).expect("the file is ours")).into_owned()
    }

    /// Waits until the container has printed something.
    pub fn until_prints(&self, text: &str) {
        until(&format!("{} prints {text:?}", self.id), || self.stdout().contains(text));
    }
}
