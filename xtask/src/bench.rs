//! A run of `true`, beside the other runtimes on this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, build, command};

/// Runs a static `true` in the default bundle with each runtime by turns, so that the machine's moods meet all of them alike.
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
    let measured = bundle(&ours, &directory).and_then(|()| {
        let runtimes = those_that_run(runtimes, &directory)?;
        measure(&runtimes, &directory, rounds).map(|times| (runtimes, times))
    });
    fs::remove_dir_all(&directory)?;
    let (runtimes, mut times) = measured?;

    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    println!("run of a static true, {rounds} rounds, interleaved");
    println!("{:<10} {:>10} {:>10} {:>22}", "runtime", "median ms", "least ms", "cloison's part of it");
    for ((runtime, times), median) in runtimes.iter().zip(&times).zip(&medians) {
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        let least = times[0].as_secs_f64() * 1e3;
        println!("{name:<10} {median:>10.2} {least:>10.2} {:>22.2}", medians[0] / median);
    }
    Ok(())
}

/// A static busybox, and the configuration that `cloison spec` writes, with `true` for its program and no terminal.
fn bundle(runtime: &Path, directory: &Path) -> Result<()> {
    let bin = directory.join("rootfs/bin");
    fs::create_dir_all(&bin)?;
    fs::copy("/bin/busybox", bin.join("busybox"))
        .map_err(|error| format!("/bin/busybox: {error}; `cargo xtask setup` installs it"))?;
    symlink("busybox", bin.join("true"))?;
    command::run(Command::new(runtime).arg("spec").current_dir(directory))?;
    let file = directory.join("config.json");
    let config = fs::read_to_string(&file)?;
    // Old releases of the others refuse a version that they do not know.
    let config = config
        .replace("\"ociVersion\": \"1.3.0\"", "\"ociVersion\": \"1.0.2\"")
        .replace("\"terminal\": true", "\"terminal\": false")
        .replace("\"sh\"", "\"/bin/true\"");
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

fn measure(runtimes: &[PathBuf], directory: &Path, rounds: usize) -> Result<Vec<Vec<Duration>>> {
    let mut times = vec![Vec::with_capacity(rounds); runtimes.len()];
    for _ in 0..rounds {
        for (runtime, times) in runtimes.iter().zip(&mut times) {
            let mut run = run(runtime, directory);
            let begun = Instant::now();
            let status = run.status()?;
            times.push(begun.elapsed());
            if !status.success() {
                return Err(format!("{} run: {status}", runtime.display()).into());
            }
        }
    }
    Ok(times)
}

fn run(runtime: &Path, directory: &Path) -> Command {
    let mut run = Command::new(runtime);
    run.arg("--root").arg(directory.join("state")).args(["run", "cloison-bench"]);
    run.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    run
}

/// The median in milliseconds; the times are sorted afterwards.
fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
