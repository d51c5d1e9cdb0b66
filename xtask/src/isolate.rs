//! A process for each test, as the integration tests need it: all that is left over in a test's process is that test's.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

use crate::{Result, pool};

/// How long a test may take; the first one on Debian bootstraps it.
const PATIENCE: Duration = Duration::from_mins(10);

/// The environment variable that says how many tests run at a time, where that is not as many as there are processors.
pub(crate) const JOBS: &str = "CLOISON_TEST_JOBS";

/// The environment variable that says how many times a test that has failed is run again.
const AGAIN: &str = "CLOISON_TEST_AGAIN";

/// Runs the tests of a test program whose names contain one of the filters (all of them without a filter), as many at a time as
/// there are processors.
///
/// # Errors
/// When one of them fails.
pub(crate) fn isolate(program: &str, filters: &[&str]) -> Result<()> {
    let listed = Command::new(program).args(["--list", "--format", "terse"]).args(filters).output()?;
    if !listed.status.success() {
        return Err(format!("{program} --list: {}", listed.status).into());
    }
    let listed = String::from_utf8(listed.stdout)?;
    let file = file(program);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let (count, begun) = (names.len(), Instant::now());
    let (failed, longest) = (Mutex::new(Vec::new()), Mutex::new((Duration::ZERO, "")));
    let again = number_of(AGAIN).unwrap_or(0);
    pool::each(number_of(JOBS).unwrap_or_else(pool::processors), names, |name| {
        let begun = Instant::now();
        if let Err(error) = one(program, name) {
            println!("{}: {file}::{name}: {error}", if again == 0 { "FAILED" } else { "failed at first" });
            failed.lock().expect("no thread panics").push(name);
        }
        let mut longest = longest.lock().expect("no thread panics");
        *longest = (*longest).max((begun.elapsed(), name));
    });
    let mut failed = failed.into_inner().expect("no thread panics");
    for time in 1..=again {
        failed.retain(|name| {
            let outcome = one(program, name);
            match &outcome {
                Ok(()) => println!("passed when run again, alone: {file}::{name}"),
                Err(error) if time == again => println!("FAILED: {file}::{name}: {error}"),
                Err(error) => println!("failed again: {file}::{name}: {error}"),
            }
            outcome.is_err()
        });
    }
    let (longest, name) = longest.into_inner().expect("no thread panics");
    println!(
        "{} passed, {} failed, {:.1} s; the longest: {:.1} s, {name}",
        count - failed.len(),
        failed.len(),
        begun.elapsed().as_secs_f32(),
        longest.as_secs_f32()
    );
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// What an environment variable says, if it is a number.
fn number_of(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What the program was before it was compiled: its own name has a hash at its end.
fn file(program: &str) -> &str {
    let name = program.rsplit('/').next().unwrap_or(program);
    name.rsplit_once('-').map_or(name, |(file, _hash)| file)
}

/// Runs one test. Says why, if it was skipped.
fn one(program: &str, name: &str) -> Result<()> {
    // A file, and not a pipe: what a test leaves running could hold a pipe open for ever.
    let mut output = nameless_file()?;
    let mut child = Command::new(program)
        .args(["--exact", name, "--nocapture"])
        // By this the harness knows that it has the process for itself.
        .env("NEXTEST", "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    let status = wait(&mut child)?;
    output.rewind()?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    match status {
        Some(status) if status.success() => {
            for reason in text.lines().filter_map(|line| line.strip_prefix("skipped: ")) {
                // A test beside the code tells the reason alone.
                let own = format!("{}::{name}: ", file(program));
                println!("skipped: {own}{}", reason.strip_prefix(&own).unwrap_or(reason));
            }
            if text.contains("1 ignored") {
                println!("skipped: {}::{name}: it is marked to be ignored", file(program));
            }
            Ok(())
        }
        Some(status) => Err(format!("{status}\n{text}").into()),
        None => Err(format!("not done after {} s\n{text}", PATIENCE.as_secs()).into()),
    }
}

/// None when it had to be killed. Nobody wakes up to look before it ends: where the processor is emulated, that costs more than elsewhere.
fn wait(child: &mut std::process::Child) -> Result<Option<ExitStatus>> {
    let pidfd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let in_time = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience))? > 0;
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(in_time.then_some(status))
}

/// In memory: a name could be there already, left by a run that was killed, for in a PID namespace all runs have one process id.
fn nameless_file() -> Result<File> {
    Ok(rustix::fs::memfd_create("output of a test", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}
