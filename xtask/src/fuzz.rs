//! The fuzz targets of `fuzz/`, see docs/fuzzing.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::{Result, build, command, pool, setup};

/// What has libFuzzer see where an input leads, in the words of a stable compiler: a counter on each edge, and the operands of
/// comparisons. `fuzzing` opens what only the targets reach.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Where all that is made lies: what is built, the inputs that were found to lead somewhere new, and those that failed.
const DIRECTORY: &str = "target/fuzz";

/// How long one input may take, in seconds.
const SLOW: u32 = 20;

/// Files that are good beginnings for a target, beside its own in `fuzz/corpus`.
const FIXTURES: &str = "crates/cloison/src/spec/tests/fixtures";

/// Builds all targets, and runs each (or those that are named) for so many seconds, as many at a time as there are processors.
///
/// # Errors
/// When the build fails, a target is not there, or one of them has found something; the others run all the same.
pub(crate) fn fuzz(seconds: u64, wanted: &[&str]) -> Result<()> {
    let all = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|target| target == *name)) {
        return Err(format!("there is no fuzz target {unknown}; there are {}", all.join(", ")).into());
    }
    setup::setup()?;
    compile()?;
    let chosen = all.iter().map(String::as_str).filter(|target| wanted.is_empty() || wanted.contains(target));
    let found = Mutex::new(Vec::new());
    // Each is one thread.
    pool::each(pool::processors(), chosen, |target| match run(target, seconds) {
        Ok(inputs) => println!("{target}: {seconds} s, {inputs} inputs, nothing found"),
        Err(error) => {
            println!("{target}: {error}");
            found.lock().expect("no thread panics").push(target);
        }
    });
    let found = found.into_inner().expect("no thread panics");
    if found.is_empty() {
        return Ok(());
    }
    let found = found.join(", ");
    Err(format!("found something: {found}. The inputs are in {DIRECTORY}/artifacts; a target takes one as its argument").into())
}

/// The names of the targets, sorted.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("fuzz/targets")? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort_unstable();
    Ok(names)
}

fn compile() -> Result<()> {
    let arguments = ["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"];
    command::run(build::cargo().args(arguments).args(["--target-dir", DIRECTORY]).env("RUSTFLAGS", FLAGS))
}

/// Runs a target; gives the number of inputs that it has tried.
fn run(target: &str, seconds: u64) -> Result<String> {
    let grown = Path::new(DIRECTORY).join("corpus").join(target);
    let artifacts = Path::new(DIRECTORY).join("artifacts");
    fs::create_dir_all(&grown)?;
    fs::create_dir_all(&artifacts)?;
    let mut fuzzer = Command::new(binary(target)?);
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOW}"))
        .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
        .args(["-print_final_stats=1", "-print_funcs=0", "-verbosity=0"]);
    if matches!(target, "config" | "plan") {
        fuzzer.arg("-dict=fuzz/dictionaries/spec.dict");
    }
    // New inputs go to the first directory; the others are read only.
    fuzzer.arg(grown).arg(format!("fuzz/corpus/{target}"));
    if target == "config" {
        fuzzer.arg(FIXTURES);
    }
    // All that it says; what it found is at the end.
    let log = Path::new(DIRECTORY).join(format!("{target}.log"));
    let status = fuzzer.stderr(fs::File::create(&log)?).status()?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        return Err(format!("{status}, see {}\n{last}", log.display()).into());
    }
    let inputs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    Ok(inputs.ok_or("it does not say what it has tried")?.trim().to_owned())
}

/// Where cargo has put a target: below the name of the machine, which `.cargo/config.toml` has it build for by name.
fn binary(target: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(DIRECTORY)? {
        let path = entry?.path().join("release").join(target);
        if path.is_file() {
            return Ok(path);
        }
    }
    Err(format!("cargo has built no {target} below {DIRECTORY}").into())
}
