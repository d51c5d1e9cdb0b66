#![forbid(unsafe_code)]
//! The project's own tools: `cargo xtask TOOL`.
//!
//! | module | what is in it |
//! |---|---|
//! | `setup` | the packages that the tests need |
//! | `demo` | three containers that show what the runtime is |
//! | `test` | all tests, those that need it as root |
//! | `isolate` | a process for each test |
//! | `integration` | single integration tests |
//! | `race` | the tests that are races, many more times than `test` runs them |
//! | `fuzz` | the fuzz targets |
//! | `guards` | whether the tests of known holes can fail |
//! | `bench` | a run of `true`, and an `exec` of it, beside the other runtimes on this machine |
//! | `install` | putting the runtime where engines find it, and taking it back |
//! | `size` | how large the binary and its monitor are, and that it is static |
//! | `vm` | a throw-away machine with a kernel and a systemd of its own |
//! | `matrix` | the integration tests here, and on other kernels in such machines |
//! | `conformance` | whether the tests that the page about runtime-spec names are there |
//! | `suites` | the tables of other projects' suites in docs/conformance.md |
//! | `engines` | Docker, containerd and Podman with the runtime, beside what they do with runc |
//! | `page` | writing those tables |
//! | `syscalls` | the numbers of the system calls, from the kernel's headers |
//! | `command`, `build` | running other programs, as root where need be; building and finding the runtime |

use std::error::Error;
use std::process::ExitCode;

mod bench;
mod build;
mod command;
mod conformance;
mod demo;
mod engines;
mod fuzz;
mod guards;
mod install;
mod integration;
mod isolate;
mod matrix;
mod page;
mod pool;
mod race;
mod setup;
mod size;
mod suites;
mod syscalls;
mod test;
mod vm;

/// What ends a tool: a sentence, or the error of the standard library behind it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: cargo xtask TOOL

tools:
  setup                     install the packages that the tests need (Debian, Ubuntu)
  demo                      build the runtime and show it at work
  test [CARGO TEST ARGS]    install what is missing, build, and run every test
  race [ROUNDS]             run every race of tests/races.rs with so many containers (1000)
  guards [PART OF A NAME]   build the runtime without each guard; the tests that hold it must fail
  fuzz [--minutes N | --seconds N] [TARGET...]
                            run each fuzz target for so long (10 minutes)
  bench [ROUNDS]            measure `run true` and `exec true` beside runc and crun, interleaved
  install, uninstall        put the release binary where engines find it: `cargo xtask install help`
  size                      build the release binary; check that it is static and below 4.3 MB, and its monitor below 2 MiB
  vm [OPTIONS] -- COMMAND   run a command in a throw-away machine: `cargo xtask vm help`
  matrix [OPTIONS]          run the tests here and in such machines, with several kernels: `cargo xtask matrix help`
  engines [OPTIONS] [SCRIPT...]
                            run the scripts of tests/engines: `cargo xtask engines help`
  conformance               look for the tests that docs/conformance/runtime-spec.md names
  suites runc|validation [PLACE DIRECTORY DIRECTORY]...
                            write what a run of their suites has told into docs/conformance.md
  syscalls DIRECTORY...     write the table of system calls from unpacked packages linux-libc-dev
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["setup"] => setup::setup(),
        ["demo"] => demo::demo(),
        ["test", rest @ ..] => test::test(rest.strip_prefix(&["--"]).unwrap_or(rest)),
        ["race"] => race::race(1000),
        ["race", rounds] => rounds.parse().map_err(Into::into).and_then(race::race),
        ["guards", filters @ ..] => guards::guards(filters),
        ["fuzz", "--minutes", minutes, targets @ ..] => {
            minutes.parse::<u64>().map_err(Into::into).and_then(|minutes| fuzz::fuzz(minutes * 60, targets))
        }
        ["fuzz", "--seconds", seconds, targets @ ..] => {
            seconds.parse().map_err(Into::into).and_then(|seconds| fuzz::fuzz(seconds, targets))
        }
        ["fuzz", targets @ ..] => fuzz::fuzz(600, targets),
        ["bench"] => bench::bench(100),
        ["bench", rounds] => rounds.parse().map_err(Into::into).and_then(bench::bench),
        ["size"] => size::size(),
        ["install" | "uninstall", "help" | "--help" | "-h"] => {
            print!("{}", install::USAGE);
            Ok(())
        }
        ["install", words @ ..] => install::install(words),
        ["uninstall", words @ ..] => install::uninstall(words),
        ["suites", words @ ..] => suites::suites(words),
        ["conformance"] => conformance::conformance(),
        ["syscalls", directories @ ..] if !directories.is_empty() => syscalls::syscalls(directories),
        ["vm", "help" | "--help" | "-h"] => {
            print!("{}", vm::USAGE);
            Ok(())
        }
        ["vm", words @ ..] => match vm::vm(words) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        ["engines", "help" | "--help" | "-h"] => {
            print!("{}", engines::USAGE);
            Ok(())
        }
        ["engines", words @ ..] => engines::engines(words),
        ["matrix", "help" | "--help" | "-h"] => {
            print!("{}", matrix::USAGE);
            Ok(())
        }
        ["matrix", words @ ..] => matrix::matrix(words),
        // Not for people: `test` has cargo run each test program through it.
        ["isolate", program, filters @ ..] => isolate::isolate(program, filters),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
