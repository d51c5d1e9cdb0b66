//! `cloison exec`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, ExecOptions, Runtime};
use cloison::plan::exec::ProcessFlags;

use super::handover::Handover;
use crate::args::{absolute_if_given, path};
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// File with the process section of a config.json, to start from instead of the container's own process
    #[arg(short, long, value_name = "FILE", value_parser = path())]
    process: Option<PathBuf>,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Working directory inside the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Environment variable to add; may be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// User and group to run as, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Supplementary group to add, by number; may be given several times
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<String>,
    /// Return as soon as the process runs
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    handover: Handover,
    /// Capability to add to the bounding, effective and permitted sets; may be given several times
    #[arg(short, long, value_name = "CAP_NAME")]
    cap: Vec<String>,
    #[arg(long, value_name = "PROFILE", help = "AppArmor profile of the process")]
    apparmor: Option<String>,
    #[arg(long, value_name = "LABEL", help = "SELinux label of the process")]
    process_label: Option<String>,
    /// Whether execve may never give the process new privileges [default: as in the container's configuration]
    #[arg(
        long,
        value_name = "WHETHER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = super::boolean
    )]
    no_new_privs: Option<bool>,
    /// Cgroup below the container's to run in; on v1 may be given several times, for some hierarchies each
    #[arg(long, value_name = "[CONTROLLER[,...]:]PATH")]
    cgroup: Vec<String>,
    /// Run in a paused container, too; the process goes on when that is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Command to run, with its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Exec {
    /// Runs the command; the exit code is the command's own, 128 and the signal that killed it, or 255 if it was not run.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        self.exec(runtime).map(ExitCode::from).map_err(|error| Error::Exec(Box::new(error)))
    }

    fn exec(self, runtime: &Runtime) -> Result<u8, Error> {
        let id = ContainerId::parse(&self.id)?;
        let handover = self.handover.absolute()?;
        let options = ExecOptions {
            process: absolute_if_given(self.process)?,
            flags: ProcessFlags {
                args: self.command,
                tty: self.tty,
                cwd: self.cwd,
                env: self.env,
                user: self.user,
                additional_gids: self.additional_gids,
                capabilities: self.cap,
                apparmor_profile: self.apparmor,
                selinux_label: self.process_label,
                no_new_privileges: self.no_new_privs,
            },
            detach: self.detach,
            pid_file: handover.pid_file,
            console_socket: handover.console_socket,
            pidfd_socket: handover.pidfd_socket,
            preserve_fds: handover.preserve_fds,
            cgroup: self.cgroup,
            ignore_paused: self.ignore_paused,
        };
        Ok(lifecycle::exec(runtime, &id, &options)?)
    }
}
