//! `cloison seccomp`: what a profile means, and what a container needs.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use cloison::explain::explain_file;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Recording, Runtime};

use super::run::Run;
use super::{indented, print};
use crate::args::path;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Seccomp {
    #[command(subcommand)]
    command: SeccompCommand,
}

#[derive(Debug, Subcommand)]
enum SeccompCommand {
    /// say which rule of a profile decides about a system call, and why
    Explain(Explain),
    /// write the least profile for a container that runs, or that is run for it
    Record(Record),
}

#[derive(Debug, Args)]
struct Explain {
    /// File with a profile: a config.json, or what would stand at its linux.seccomp
    #[arg(value_name = "FILE", value_parser = path())]
    file: PathBuf,
    /// Name of a system call [default: all of them]
    #[arg(value_name = "SYSCALL")]
    call: Option<String>,
}

#[derive(Debug, Args)]
struct Record {
    /// File to write the profile to [default: standard output, at the end]
    #[arg(short, long, value_name = "FILE", value_parser = path())]
    output: Option<PathBuf>,
    /// A running container: its calls are recorded until it ends, or until Ctrl-C
    #[arg(value_name = "ID", conflicts_with = "run", required_unless_present = "run")]
    id: Option<String>,
    /// Arguments of run: its calls are recorded from the beginning
    #[arg(value_name = "RUN-ARGUMENTS", last = true)]
    run: Vec<OsString>,
}

/// The arguments of `run` by themselves.
#[derive(Debug, Parser)]
#[command(name = "run", bin_name = "cloison seccomp record --", disable_version_flag = true)]
struct RunLine {
    #[command(flatten)]
    run: Run,
}

impl Seccomp {
    /// Does what the second word says.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        match self.command {
            SeccompCommand::Explain(command) => command.run(),
            SeccompCommand::Record(command) => command.run(runtime),
        }
    }
}

impl Explain {
    /// Prints what the profile says.
    fn run(self) -> Result<ExitCode, Error> {
        print(explain_file(&self.file, self.call.as_deref())?.as_bytes())
    }
}

impl Record {
    /// Looks on at the container, or runs it; then the exit code is the container's.
    fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let recording = match &self.id {
            Some(id) => lifecycle::record_running(runtime, &ContainerId::parse(id)?)?,
            None => lifecycle::record(runtime, &run_of(self.run)?.into_options()?)?,
        };
        let Recording { profile, unknown, exit_code } = recording;
        for (architecture, number) in unknown {
            log::warn!(
                "not in the profile: call {number} of architecture {architecture:#x}, which has no name"
            );
        }
        let mut text = indented(&profile, b"    ")?;
        text.push(b'\n');
        match self.output {
            Some(path) => fs::write(&path, text).map_err(|error| Error::Write { path, error })?,
            None => drop(print(&text)?),
        }
        Ok(ExitCode::from(exit_code))
    }
}

/// `run` itself may be said or not.
fn run_of(mut words: Vec<OsString>) -> Result<Run, Error> {
    if words.len() < 2 || words[0] != "run" {
        words.insert(0, "run".into());
    }
    let definition = RunLine::command();
    let matches =
        definition.try_get_matches_from(words).and_then(|matches| RunLine::from_arg_matches(&matches));
    matches.map(|line| line.run).map_err(|error| Error::Usage {
        message: error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned(),
        usage: RunLine::command().render_help().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn run_may_be_said_or_not() {
        for line in [&["run", "--bundle", "/b", "c1"][..], &["--bundle", "/b", "c1"]] {
            let options = run_of(words(line)).unwrap().into_options().unwrap();
            assert_eq!((options.create.id.as_str(), options.create.bundle.to_str()), ("c1", Some("/b")));
        }
        let options = run_of(words(&["run"])).unwrap().into_options().unwrap();
        assert_eq!(options.create.id.as_str(), "run", "a container of that name");
    }

    #[test]
    fn what_run_does_not_know_is_told() {
        let error = run_of(words(&["--no-such-option", "c1"])).unwrap_err();
        assert!(error.to_string().contains("--no-such-option"), "{error}");
    }
}
