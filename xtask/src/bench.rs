//! A run of `true`, and `true` in a container that runs, beside the other runtimes on this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, build, command};

/// Runs a static `true` in the default bundle with each runtime by turns, so that the machine's moods meet all of them alike; then the
/// same by `exec`, in a container of each runtime's own.
///
/// # Errors
/// When the build fails, when we are not root, or when a runtime fails.
pub(crate) fn bench(rounds: usize) -> Result<()> {
    if rounds == 0 {
        return Err("there is no median of nothing".into());
    }
    if !command::as_root()?.is_empty() {
        return Err("please run this as root: sudo would be measured too".into());
    }
    let ours = build::runtime("release")?;
    let others = ["runc", "crun"].iter().filter_map(|name| command::find(name));
    let runtimes: Vec<PathBuf> = std::iter::once(ours.clone()).chain(others).collect();
    let directory = std::env::temp_dir().join(format!("cloison-bench-{}", std::process::id()));
    let measured = bundles(&ours, &directory).and_then(|()| {
        let runtimes = those_that_run(runtimes, &directory)?;
        let run = measure(&runtimes, rounds, |runtime| run(runtime, &directory))?;
        let exec = measure_exec(&runtimes, &directory, rounds)?;
        Ok((runtimes, [("run", run), ("exec", exec)]))
    });
    fs::remove_dir_all(&directory)?;
    let (runtimes, tables) = measured?;
    for (verb, times) in tables {
        println!("{verb} of a static true, {rounds} rounds, interleaved");
        print(&runtimes, times);
    }
    Ok(())
}

fn print(runtimes: &[PathBuf], mut times: Vec<Vec<Duration>>) {
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    println!("{:<10} {:>10} {:>10} {:>22}", "runtime", "median ms", "least ms", "cloison's part of it");
    for ((runtime, times), median) in runtimes.iter().zip(&times).zip(&medians) {
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        let least = times[0].as_secs_f64() * 1e3;
        println!("{name:<10} {median:>10.2} {least:>10.2} {:>22.2}", medians[0] / median);
    }
}

/// One bundle whose program is `true`, and another where it sleeps.
fn bundles(runtime: &Path, directory: &Path) -> Result<()> {
    bundle(runtime, directory, "\"/bin/true\"")?;
    bundle(runtime, &directory.join("sleeper"), "\"/bin/sleep\", \"86400\"")
}

/// A static busybox, and the configuration that `cloison spec` writes, with this program and no terminal.
fn bundle(runtime: &Path, directory: &Path, program: &str) -> Result<()> {
    let bin = directory.join("rootfs/bin");
    fs::create_dir_all(&bin)?;
    fs::copy("/bin/busybox", bin.join("busybox"))
        .map_err(|error| format!("/bin/busybox: {error}; `cargo xtask setup` installs it"))?;
    symlink("busybox", bin.join("true"))?;
    symlink("busybox", bin.join("sleep"))?;
    command::run(Command::new(runtime).arg("spec").current_dir(directory))?;
    let file = directory.join("config.json");
    let config = fs::read_to_string(&file)?;
    // Old releases of the others refuse a version that they do not know.
    let config = config
        .replace("\"ociVersion\": \"1.3.0\"", "\"ociVersion\": \"1.0.2\"")
        .replace("\"terminal\": true", "\"terminal\": false")
        .replace("\"sh\"", program);
    fs::write(file, config)?;
    Ok(())
}

/// Leaves out, and says so, what cannot run the bundle on this machine; but ours has to. Fills the caches besides.
fn those_that_run(runtimes: Vec<PathBuf>, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut running = Vec::new();
    for runtime in runtimes {
        let output = run(&runtime, directory).stderr(Stdio::piped()).output()?;
        if output.status.success() {
            running.push(runtime);
        } else {
            let reason = String::from_utf8_lossy(&output.stderr);
            let sentence = format!("{} cannot run here: {}", runtime.display(), reason.trim());
            if running.is_empty() {
                return Err(sentence.into());
            }
            println!("skipped: {sentence}");
        }
    }
    Ok(running)
}

fn measure(
    runtimes: &[PathBuf],
    rounds: usize,
    command: impl Fn(&Path) -> Command,
) -> Result<Vec<Vec<Duration>>> {
    let mut times = vec![Vec::with_capacity(rounds); runtimes.len()];
    for _ in 0..rounds {
        for (runtime, times) in runtimes.iter().zip(&mut times) {
            let mut command = command(runtime);
            let begun = Instant::now();
            let status = command.status()?;
            times.push(begun.elapsed());
            if !status.success() {
                return Err(format!("{command:?}: {status}").into());
            }
        }
    }
    Ok(times)
}

/// The same in containers that sleep meanwhile, one of each runtime.
fn measure_exec(runtimes: &[PathBuf], directory: &Path, rounds: usize) -> Result<Vec<Vec<Duration>>> {
    let sleeper = directory.join("sleeper");
    let begun = runtimes.iter().try_for_each(|runtime| {
        command::run(quiet(runtime, directory, &sleeper).args(["run", "--detach"]).arg(sleeping(runtime)))
    });
    let measured = begun.and_then(|()| {
        measure(runtimes, rounds, |runtime| {
            let mut exec = quiet(runtime, directory, &sleeper);
            exec.arg("exec").arg(sleeping(runtime)).arg("/bin/true");
            exec
        })
    });
    for runtime in runtimes {
        // Those that were not begun are not there, which is no error by force.
        command::run(quiet(runtime, directory, &sleeper).args(["delete", "--force"]).arg(sleeping(runtime)))?;
    }
    measured
}

/// The name of a runtime's container, and so of its cgroup, which must be its own.
fn sleeping(runtime: &Path) -> String {
    format!("cloison-bench-{}", runtime.file_name().unwrap_or_default().to_string_lossy())
}

fn run(runtime: &Path, directory: &Path) -> Command {
    let mut run = quiet(runtime, directory, directory);
    run.args(["run", "cloison-bench"]);
    run
}

/// A runtime with a root and a cgroup of its own, and nothing to say.
fn quiet(runtime: &Path, directory: &Path, bundle: &Path) -> Command {
    let name = runtime.file_name().unwrap_or_default();
    let mut command = Command::new(runtime);
    command.arg("--root").arg(directory.join("state").join(name));
    command.current_dir(bundle).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The median in milliseconds; the times are sorted afterwards.
fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
