//! The integration tests on other kernels and other layouts of cgroups, each in a throw-away machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::vm::{self, Machine};
use crate::{Result, build, command, page};

/// Packages whose tests depend on the kernel.
const PACKAGES: [&str; 3] = ["cloison-tests", "cloison-cgroup", "cloison-linux"];

/// Where the last result is kept.
pub(crate) const PAGE: &str = "docs/conformance.md";

/// The lines of the page between which the table stands.
const MARKS: [&str; 2] = ["<!-- cargo xtask matrix --write -->", "<!-- end of the matrix -->"];

/// How long one machine may take.
const PATIENCE: Duration = Duration::from_hours(1);

pub(crate) const USAGE: &str = "\
usage: cargo xtask matrix [--quick] [--write] [--cell NAME]... [--test FILE]... [--env NAME=VALUE]... [PART OF A NAME]...

Builds the tests here and runs them in throw-away machines, one machine a cell. `--quick`: those of User Mode Linux alone.
`--write` puts the table into docs/conformance.md.

cells: KERNEL/LAYOUT, with a kernel of uml, 5.10, 6.1, 6.12 and a layout of
  v2-systemd   cgroup v2, systemd is there, the runtime makes its cgroups itself
  v2-units     cgroup v2, systemd makes the cgroups (--systemd-cgroup)
  v2           cgroup v2, no systemd
  v1           cgroup v1, no systemd
";

/// A machine to test in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    kernel: &'static str,
    layout: &'static str,
}

const LAYOUTS: [&str; 4] = ["v2-systemd", "v2-units", "v2", "v1"];

impl Cell {
    fn all() -> Vec<Self> {
        let kernels = ["uml", "5.10", "6.1", "6.12"];
        kernels
            .iter()
            .flat_map(|&kernel| LAYOUTS.map(|layout| Self { kernel, layout }))
            // User Mode Linux has no hierarchies of v1 that a container could use.
            .filter(|cell| (cell.kernel, cell.layout) != ("uml", "v1"))
            .collect()
    }

    fn name(self) -> String {
        format!("{}/{}", self.kernel, self.layout)
    }

    fn machine(self, log: PathBuf) -> Machine {
        Machine {
            kernel: self.kernel.to_owned(),
            cgroup: if self.layout == "v1" { "v1" } else { "v2" }.to_owned(),
            init: if matches!(self.layout, "v2" | "v1") { "none" } else { "systemd" }.to_owned(),
            share: Some((workspace(), false)),
            timeout: PATIENCE,
            log: Some(log),
            ..Machine::default()
        }
    }
}

/// What came of a cell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: usize,
    failed: Vec<String>,
    /// What was skipped, and why.
    skipped: Vec<String>,
    seconds: u64,
}

impl Outcome {
    /// Reads what [`isolate`](crate::isolate) has printed, program by program.
    fn read(output: &str) -> Self {
        let mut outcome = Self::default();
        for line in output.lines() {
            let counts = line.split_once(" passed, ").filter(|(_, rest)| rest.contains(" failed, "));
            if let Some(passed) = counts.and_then(|(passed, _)| passed.parse::<usize>().ok()) {
                outcome.passed += passed;
            } else if let Some(failed) = line.strip_prefix("FAILED: ") {
                outcome.failed.push(failed.to_owned());
            } else if let Some(skipped) = line.strip_prefix("skipped: ") {
                outcome.skipped.push(skipped.to_owned());
            }
        }
        // A test that is skipped has passed, for its runner.
        outcome.skipped.sort();
        outcome.skipped.dedup();
        outcome.passed = outcome.passed.saturating_sub(outcome.skipped.len());
        outcome
    }
}

/// What is to be run in each machine.
#[derive(Debug, Default)]
struct Tests {
    programs: Vec<PathBuf>,
    /// `NAME=value`, as a shell reads it.
    variables: Vec<String>,
    /// Parts of names, as a shell reads them.
    filters: Vec<String>,
}

/// `cargo xtask matrix`.
///
/// # Errors
/// For words that are not understood, when a machine cannot be booted, and when a test fails.
pub(crate) fn matrix(words: &[&str]) -> Result<()> {
    let (mut cells, mut files, mut tests) = (Vec::new(), Vec::new(), Tests::default());
    let (mut quick, mut write) = (false, false);
    let mut words = words;
    loop {
        words = match words {
            [] => break,
            ["--quick", rest @ ..] => {
                quick = true;
                rest
            }
            ["--write", rest @ ..] => {
                write = true;
                rest
            }
            ["--cell", name, rest @ ..] => {
                let cell = Cell::all().into_iter().find(|cell| cell.name() == *name);
                cells.push(cell.ok_or_else(|| format!("no such cell: {name}\n{USAGE}"))?);
                rest
            }
            ["--test", file, rest @ ..] => {
                files.push(*file);
                rest
            }
            ["--env", variable, rest @ ..] => {
                tests.variables.push(vm::quoted(variable));
                rest
            }
            [option, ..] if option.starts_with("--") => {
                return Err(format!("no such option: {option}\n{USAGE}").into());
            }
            [filter, rest @ ..] => {
                tests.filters.push(vm::quoted(filter));
                rest
            }
        };
    }
    if cells.is_empty() {
        cells = Cell::all();
    }
    if quick {
        cells.retain(|cell| cell.kernel == "uml");
    }
    tests.programs = programs(&files)?;
    let results = workspace().join("target/matrix");
    std::fs::create_dir_all(&results)?;
    let mut outcomes = Vec::new();
    for cell in cells {
        println!("=== {}", cell.name());
        let outcome = run(cell, &tests, &results)?;
        outcome.failed.iter().for_each(|name| println!("FAILED: {name}"));
        println!(
            "--- {}: {} passed, {} failed, {} skipped, {} s",
            cell.name(),
            outcome.passed,
            outcome.failed.len(),
            outcome.skipped.len(),
            outcome.seconds
        );
        outcomes.push((cell, outcome));
    }
    let table = table(&outcomes);
    println!("\n{table}");
    if write {
        page::put(PAGE, MARKS, &table)?;
    }
    let failed: usize = outcomes.iter().map(|(_, outcome)| outcome.failed.len()).sum();
    if failed == 0 { Ok(()) } else { Err(format!("{failed} tests have failed").into()) }
}

/// Builds the runtime and the tests; gives the programs.
fn programs(files: &[&str]) -> Result<Vec<PathBuf>> {
    command::run(build::cargo().args(["build", "--quiet", "--workspace"]))?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--quiet", "--no-run", "--message-format", "json"]);
    if files.is_empty() {
        cargo.arg("--tests").args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    } else {
        cargo.args(["--package", "cloison-tests"]).args(files.iter().flat_map(|file| ["--test", file]));
    }
    let output = cargo.stderr(Stdio::inherit()).output()?;
    let messages = String::from_utf8(output.stdout)?;
    let programs: Vec<PathBuf> = messages
        .lines()
        .filter(|line| line.contains("\"test\":true"))
        .filter_map(|line| build::executable(line).ok())
        .collect();
    if output.status.success() && !programs.is_empty() {
        Ok(programs)
    } else {
        Err("the tests could not be built".into())
    }
}

fn run(cell: Cell, tests: &Tests, results: &Path) -> Result<Outcome> {
    let begun = Instant::now();
    let name = cell.name().replace('/', "-");
    let output = results.join(format!("{name}.log"));
    let script = script(cell, tests, &output);
    std::fs::write(&output, "")?;
    let code = cell.machine(results.join(format!("{name}.console"))).run(&script)?;
    let text = String::from_utf8_lossy(&std::fs::read(&output)?).into_owned();
    let mut outcome = Outcome::read(&text);
    outcome.seconds = begun.elapsed().as_secs();
    if code != 0 && outcome.failed.is_empty() {
        outcome.failed.push(format!("the machine itself, exit code {code}: see {}", output.display()));
    }
    Ok(outcome)
}

/// Runs the programs one after another, in the workspace under its own name.
fn script(cell: Cell, tests: &Tests, output: &Path) -> String {
    let workspace = workspace().display().to_string();
    let isolate = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let mut script = format!(
        "mkdir -p {workspace} && mount --bind /run/share {workspace} && cd {workspace}\n\
         export CLOISON_TEST_DEBIAN=/ TMPDIR=/tmp HOME=/root RUST_BACKTRACE=0\n\
         exec > {} 2>&1; failed=0\n",
        output.display()
    );
    if cell.layout == "v2-units" {
        script.push_str("export CLOISON_TEST_SYSTEMD=1\n");
    }
    // Writing to a String cannot fail.
    for variable in &tests.variables {
        let _ = writeln!(script, "export {variable}");
    }
    for program in &tests.programs {
        let name = program.file_name().unwrap_or_default().display();
        let (program, filters) = (program.display(), tests.filters.join(" "));
        let _ = writeln!(script, "echo '# {name}'; {isolate} isolate {program} {filters} || failed=1");
    }
    script.push_str("exit $failed");
    script
}

fn table(outcomes: &[(Cell, Outcome)]) -> String {
    let mut text =
        "| kernel | cgroups | passed | failed | skipped | seconds |\n|---|---|---|---|---|---|\n".to_owned();
    for (cell, outcome) in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            cell.kernel,
            cell.layout,
            outcome.passed,
            outcome.failed.len(),
            outcome.skipped.len(),
            outcome.seconds
        );
    }
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (cell, outcome) in outcomes {
        for skipped in &outcome.skipped {
            match reasons.iter_mut().find(|(reason, _)| reason == skipped) {
                Some((_, cells)) => cells.push(cell.name()),
                None => reasons.push((skipped.clone(), vec![cell.name()])),
            }
        }
    }
    reasons.sort();
    if !reasons.is_empty() {
        text.push_str("\n| skipped | where |\n|---|---|\n");
    }
    for (reason, cells) in &reasons {
        let everywhere = cells.len() == outcomes.len() && outcomes.len() > 1;
        let cells = if everywhere { "everywhere".to_owned() } else { cells.join(", ") };
        let _ = writeln!(text, "| {} | {cells} |", reason.replace('|', "\\|"));
    }
    text
}

/// The workspace by the name that the programs know it by.
fn workspace() -> PathBuf {
    let root = build::root();
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_print_is_counted() {
        let output = "# exec-1\nskipped: exec::a: no such feature\nFAILED: b: exit status: 101\n  12 passed, 3 failed, \n\
            4 passed, 1 failed, 0.3 s\n# run-2\nskipped: exec::a: no such feature\n2 passed, 0 failed, 0.1 s\n";
        let outcome = Outcome::read(output);
        assert_eq!(outcome.passed, 5, "one of them was skipped");
        assert_eq!(outcome.failed, ["b: exit status: 101"]);
        assert_eq!(outcome.skipped, ["exec::a: no such feature"]);
    }

    #[test]
    fn reasons_are_told_once_with_their_cells() {
        let outcome = || Outcome { skipped: vec!["a: b".to_owned()], passed: 1, ..Outcome::default() };
        let cells = Cell::all();
        let one = table(&[(cells[0], outcome()), (cells[1], Outcome::default())]);
        assert!(one.contains("| a: b | uml/v2-systemd |"), "{one}");
        let all = table(&[(cells[0], outcome()), (cells[1], outcome())]);
        assert!(all.contains("| a: b | everywhere |"), "{all}");
    }
}
