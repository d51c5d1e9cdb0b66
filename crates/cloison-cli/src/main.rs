//! The OCI container runtime, as a command.
//!
//! What a container is and how it lives is the library's matter (`cloison`); here are the command line, the log, and how errors
//! are told.
//!
//! | module | what is in it |
//! |---|---|
//! | `args` | the options before the command, and what a usage error says |
//! | `argv` | Go's ways of writing a command line |
//! | `commands` | one file a command |
//! | `duration` | lengths of time |
//! | `error`, `report`, `hint` | what can go wrong, how it is told, and what to do about it |
//! | `log` | where log lines go |
//! | `name` | by which name the program was called, and what it says by it |
//! | `root` | where containers are kept |

#![forbid(unsafe_code)]

mod args;
mod argv;
mod commands;
mod duration;
mod error;
mod hint;
mod log;
mod name;
mod report;
mod root;

use std::env;
use std::process::ExitCode;

use cloison_linux::{Signal, signals};

use crate::args::{CommandLine, Request};
use crate::error::Error;
use crate::log::Sink;
use crate::name::Name;
use crate::report::Teller;

fn main() -> ExitCode {
    // Where there is a limit on the size of files (`RLIMIT_FSIZE`), an error can be cleaned up after, a signal cannot.
    signals::ignore(Signal::XFSZ).expect("this signal can be ignored");
    let mut teller = Teller { name: Name::of(env::args_os().next().as_deref()), failed: None };
    let (sink, result) = match args::parse(env::args_os().collect()) {
        Ok(Request::Text(text)) => (None, commands::print(text.as_bytes())),
        Ok(Request::Command(line)) => {
            teller.failed = line.command.failed();
            run(*line)
        }
        // That there is no log either is the lesser trouble, and gone with the other.
        Err(refusal) => (refusal.log.and_then(|log| log::install(&log).ok()), Err(refusal.error)),
    };
    result.unwrap_or_else(|error| {
        report::report(&error, sink, teller);
        error.exit_code()
    })
}

fn run(line: CommandLine) -> (Option<&'static Sink>, Result<ExitCode, Error>) {
    let sink = match log::install(&line.global.log) {
        Ok(sink) => sink,
        Err(error) => return (None, Err(error)),
    };
    let root_is_given = line.global.root.is_some();
    (Some(sink), root::runtime(&line.global).and_then(|runtime| line.command.run(&runtime, root_is_given)))
}
