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

/// Where the programs are executed from: on the machine's own disk. From a shared directory every start reads them anew.
const PROGRAMS: &str = "/usr/local/lib/cloison-test";

/// How long one machine may take.
const PATIENCE: Duration = Duration::from_hours(1);

pub(crate) const USAGE: &str = "\
usage: cargo xtask matrix [--quick] [--write] [--cell NAME]... [--test FILE]... [--env NAME=VALUE]... [PART OF A NAME]...

Builds the tests here and runs them in throw-away machines, one machine a cell. `--quick`: those of User Mode Linux alone.
`--write` puts the table into docs/conformance.md.

cells: KERNEL/LAYOUT/WHO, or the beginning of that for several. The kernel is one of uml, 5.10, 6.1, 6.12; the layout is
  v2-systemd   cgroup v2, systemd is there, the runtime makes its cgroups itself
  v2-units     cgroup v2, systemd makes the cgroups (--systemd-cgroup)
  v2           cgroup v2, no systemd
  v1           cgroup v1, no systemd
and who calls the runtime is
  root
  rootless     an ordinary user, with ranges of ids, and on v2 with a cgroup that is delegated
";

/// A machine to test in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    kernel: &'static str,
    layout: &'static str,
    /// Whether an ordinary user calls the runtime.
    rootless: bool,
}

const LAYOUTS: [&str; 4] = ["v2-systemd", "v2-units", "v2", "v1"];

/// The user of the machine's root file system, `xtask/vm/parts/root.sh`.
const USER: u32 = 1000;

impl Cell {
    fn all() -> Vec<Self> {
        let kernels = ["uml", "5.10", "6.1", "6.12"];
        kernels
            .iter()
            .flat_map(|&kernel| LAYOUTS.map(|layout| (kernel, layout)))
            .flat_map(|(kernel, layout)| [false, true].map(|rootless| Self { kernel, layout, rootless }))
            // User Mode Linux has no hierarchies of v1 that a container could use.
            .filter(|cell| (cell.kernel, cell.layout) != ("uml", "v1"))
            .collect()
    }

    fn name(self) -> String {
        format!("{}/{}/{}", self.kernel, self.layout, self.who())
    }

    fn who(self) -> &'static str {
        if self.rootless { "rootless" } else { "root" }
    }

    /// Whether a name that was given is this cell's, or the beginning of it.
    fn is_named(self, name: &str) -> bool {
        self.name().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn machine(self, log: PathBuf) -> Machine {
        Machine {
            kernel: self.kernel.to_owned(),
            cgroup: if self.layout == "v1" { "v1" } else { "v2" }.to_owned(),
            init: if matches!(self.layout, "v2" | "v1") { "none" } else { "systemd" }.to_owned(),
            share: Some((workspace(), false)),
            // A debug build is large, and each container that waits may have a copy of it in memory.
            memory: "6G".to_owned(),
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
    /// The program that runs the tests of a program, each in a process of its own.
    isolate: PathBuf,
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
                let named: Vec<Cell> = Cell::all().into_iter().filter(|cell| cell.is_named(name)).collect();
                if named.is_empty() {
                    return Err(format!("no such cell: {name}\n{USAGE}").into());
                }
                cells.extend(named);
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
    let results = workspace().join("target/matrix");
    std::fs::create_dir_all(&results)?;
    let built = Built::new(&results, programs(&files)?)?;
    tests.programs.clone_from(&built.programs);
    tests.isolate.clone_from(&built.isolate);
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

/// What was built, in copies of this run: who builds anew meanwhile changes the files that were copied.
struct Built {
    directory: PathBuf,
    programs: Vec<PathBuf>,
    isolate: PathBuf,
}

impl Built {
    fn new(results: &Path, programs: Vec<PathBuf>) -> Result<Self> {
        // What a run has left that was killed, or interrupted.
        for entry in std::fs::read_dir(results)?.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("programs-"));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        let directory = results.join(format!("programs-{}", std::process::id()));
        // The tests look for the runtime beside the directory that they are in.
        let deps = directory.join("deps");
        std::fs::create_dir_all(&deps)?;
        let isolate = directory.join("xtask");
        let mut built = Self { directory, programs: Vec::new(), isolate };
        let runtime =
            programs[0].parent().and_then(Path::parent).ok_or("a test has no directory")?.join("cloison");
        let own = runtime.with_file_name("xtask");
        for (from, to) in [(&own, &built.isolate), (&runtime, &built.directory.join("cloison"))] {
            without_debug_information(from, to)?;
        }
        for program in programs {
            let name = deps.join(program.file_name().unwrap_or_default());
            without_debug_information(&program, &name)?;
            built.programs.push(name);
        }
        built.programs.sort();
        Ok(built)
    }
}

/// A copy that is a tenth as large: a container that waits may have the whole runtime in memory.
fn without_debug_information(from: &Path, to: &Path) -> Result<()> {
    command::run(command::words(["strip", "--strip-debug", "-o"]).arg(to).arg(from))
}

impl Drop for Built {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("xtask: {} is left: {error}", self.directory.display());
        }
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
    let (runtime, isolate) = (tests.isolate.with_file_name("cloison"), tests.isolate.display());
    let runtime = runtime.display();
    // The output is appended: a test that is skipped says so to the same file by a descriptor of its own.
    // An emulated processor is a tenth as quick as ours, and both may have neighbours.
    let patience = if cell.kernel == "uml" { 4 } else { 10 };
    let mut script = format!(
        "mkdir -p {workspace} && mount --bind /run/share {workspace} && cd {workspace}\n\
         export CLOISON_TEST_DEBIAN=/ TMPDIR=/tmp HOME=/root RUST_BACKTRACE=0 CLOISON_TEST_PATIENCE={patience}\n\
         exec >> {} 2>&1; failed=0\n\
         mkdir -p {PROGRAMS}/deps && cp {runtime} {isolate} {PROGRAMS}/\n",
        output.display()
    );
    if cell.layout == "v2-units" {
        script.push_str("export CLOISON_TEST_SYSTEMD=1\n");
    }
    if cell.rootless {
        script.push_str(&become_ordinary(cell));
    }
    // Writing to a String cannot fail.
    for variable in &tests.variables {
        let _ = writeln!(script, "export {variable}");
    }
    for program in &tests.programs {
        let name = program.file_name().unwrap_or_default().display();
        let (program, filters) = (program.display(), tests.filters.join(" "));
        let _ = writeln!(
            script,
            "echo '# {name}'; cp {program} {PROGRAMS}/deps/; {PROGRAMS}/xtask isolate {PROGRAMS}/deps/{name} {filters} || failed=1; \
             rm {PROGRAMS}/deps/{name}"
        );
    }
    script.push_str("exit $failed");
    script
}

/// Says who calls the runtime, and puts the tests into a cgroup of the user's.
fn become_ordinary(cell: Cell) -> String {
    let delegated = match cell.layout {
        "v1" => String::new(),
        "v2" => format!(
            "cd /sys/fs/cgroup && mkdir -p delegated/tests && \
             sed 's/[a-z]*/+&/g' cgroup.controllers > cgroup.subtree_control && \
             chown {USER}:{USER} delegated delegated/cgroup.* delegated/tests delegated/tests/cgroup.* && \
             echo $$ > delegated/tests/cgroup.procs && cd - || exit 1\n"
        ),
        _ => format!(
            "systemctl start user@{USER}.service && setpriv --reuid {USER} --regid {USER} --init-groups \
             env XDG_RUNTIME_DIR=/run/user/{USER} \
             systemd-run --user --quiet --unit tests --property Delegate=yes sleep infinity && \
             cd /sys/fs/cgroup/user.slice/user-{USER}.slice/user@{USER}.service/app.slice/tests.service && mkdir tests && \
             chown {USER}:{USER} tests tests/cgroup.procs tests/cgroup.threads tests/cgroup.subtree_control && \
             echo $$ > tests/cgroup.procs && \
             for process in $(cat cgroup.procs); do echo $process > tests/cgroup.procs; done && cd - || exit 1\n"
        ),
    };
    format!("export CLOISON_TEST_USER={USER}\n{delegated}")
}

fn table(outcomes: &[(Cell, Outcome)]) -> String {
    let mut text =
        "| kernel | cgroups | who | passed | failed | skipped | seconds |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (cell, outcome) in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            cell.kernel,
            cell.layout,
            cell.who(),
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
    fn the_beginning_of_a_name_names_several_cells() {
        let named = |name: &str| Cell::all().into_iter().filter(|cell| cell.is_named(name)).count();
        assert_eq!(["uml", "6.1/v1", "6.1/v1/rootless", "6.1/v", "uml/v1"].map(named), [6, 2, 1, 0, 0]);
    }

    #[test]
    fn reasons_are_told_once_with_their_cells() {
        let outcome = || Outcome { skipped: vec!["a: b".to_owned()], passed: 1, ..Outcome::default() };
        let cells = Cell::all();
        let one = table(&[(cells[0], outcome()), (cells[1], Outcome::default())]);
        assert!(one.contains("| a: b | uml/v2-systemd/root |"), "{one}");
        let all = table(&[(cells[0], outcome()), (cells[1], outcome())]);
        assert!(all.contains("| a: b | everywhere |"), "{all}");
    }
}
