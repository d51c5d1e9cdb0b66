//! The integration tests here, and on other kernels and other layouts of cgroups, each in a throw-away machine.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::vm::{self, Machine};
use crate::{Result, build, command, page, pool, setup, test};

mod record;

use record::Record;

/// Packages whose tests depend on the kernel.
const PACKAGES: [&str; 3] = ["cloison-tests", "cloison-cgroup", "cloison-linux"];

/// Where the last results are kept: how many tests have passed in which cell, and why others have not.
const PAGES: [&str; 2] = [PAGE, "docs/conformance/matrix.md"];

/// The page of what others measure us by.
pub(crate) const PAGE: &str = "docs/conformance.md";

/// The lines of each page between which its table stands.
const MARKS: [&str; 2] = ["<!-- cargo xtask matrix --write -->", "<!-- end of the matrix -->"];

/// Where a machine executes the programs from: on the machine's own disk. From a shared directory every start reads them anew.
const PROGRAMS: &str = "/usr/local/lib/cloison-test";

/// How long one machine may take: an emulated processor has needed more than an hour.
const PATIENCE: Duration = Duration::from_hours(4);

pub(crate) const USAGE: &str = "\
usage: cargo xtask matrix [--quick] [--at-once N] [--write] [--last] [--cell NAME]... [--test FILE]... [--env NAME=VALUE]...
                          [PART OF A NAME]...

Builds the tests and runs them here, and in throw-away machines, one machine a cell. `--quick`: those of User Mode Linux alone.
`--write` puts what came of a whole cell into docs/conformance.md, and its skipped tests into docs/conformance/matrix.md, as soon as it
is done; the rows of all other cells stay as they are.
`--at-once`: so many machines at a time, each of which has up to 6 GB, and one processor under User Mode Linux.
`--last` runs nothing: it takes what the last run of each cell has left in target/matrix.

cells: KERNEL/LAYOUT/WHO, or the beginning of that for several. The kernel is one of host, uml, 5.10, 6.1, 6.12; the layout is
  as-it-is     that of this machine: of the host alone, by root
  v2-systemd   cgroup v2, systemd is there, the runtime makes its cgroups itself
  v2-units     cgroup v2, systemd makes the cgroups (--systemd-cgroup)
  v2           cgroup v2, no systemd
  v1           cgroup v1, no systemd
  selinux      as v2-systemd, and SELinux refuses what its policy does not allow (elsewhere it is AppArmor)
and who calls the runtime is
  root
  rootless     an ordinary user, with ranges of ids, and with a cgroup that is delegated (of v1, in every hierarchy)
";

/// A machine to test in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    kernel: &'static str,
    layout: &'static str,
    /// Whether an ordinary user calls the runtime.
    rootless: bool,
}

const LAYOUTS: [&str; 5] = ["v2-systemd", "v2-units", "v2", "v1", "selinux"];

/// No machine, but where this runs.
const HOST: Cell = Cell { kernel: "host", layout: "as-it-is", rootless: false };

/// The user of the machine's root file system, `xtask/vm/parts/root.sh`.
const USER: u32 = 1000;

impl Cell {
    fn all() -> Vec<Self> {
        let kernels = ["uml", "5.10", "6.1", "6.12"];
        let cells: Vec<Self> = kernels
            .iter()
            .flat_map(|&kernel| LAYOUTS.map(|layout| (kernel, layout)))
            .flat_map(|(kernel, layout)| [false, true].map(|rootless| Self { kernel, layout, rootless }))
            // User Mode Linux has no SELinux, and no hierarchies of v1 that a container could use.
            .filter(|cell| !(cell.kernel == "uml" && matches!(cell.layout, "v1" | "selinux")))
            .collect();
        std::iter::once(HOST).chain(cells).collect()
    }

    fn name(self) -> String {
        format!("{}/{}/{}", self.kernel, self.layout, self.who())
    }

    fn who(self) -> &'static str {
        if self.rootless { "rootless" } else { "root" }
    }

    fn is_uml(self) -> bool {
        self.kernel == "uml"
    }

    /// What gives a program the context of a login shell, from which a test's own `mount` and the like are programs as any others.
    fn login(self) -> &'static str {
        if self.layout == "selinux" { "runcon -u unconfined_u -r unconfined_r -t unconfined_t" } else { "" }
    }

    fn has_systemd(self) -> bool {
        !matches!(self.layout, "v2" | "v1")
    }

    /// Whether a name that was given is this cell's, or the beginning of it.
    fn is_named(self, name: &str) -> bool {
        self.name().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn machine(self, log: PathBuf) -> Machine {
        Machine {
            kernel: self.kernel.to_owned(),
            cgroup: if self.layout == "v1" { "v1" } else { "v2" }.to_owned(),
            init: if self.has_systemd() { "systemd" } else { "none" }.to_owned(),
            lsm: if self.layout == "selinux" { "selinux" } else { "apparmor" }.to_owned(),
            enforcing: self.layout == "selinux",
            share: Some((workspace(), false)),
            // Each container that waits may have a copy of the runtime in memory.
            memory: "6G".to_owned(),
            timeout: PATIENCE,
            log: Some(log),
        }
    }
}

/// What came of a cell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: usize,
    /// `FILE::TEST: how it ended`.
    failed: Vec<String>,
    /// `FILE::TEST: why`.
    skipped: Vec<String>,
    /// `FILE::TEST: how it ended`, of those that were to be run again. They may have passed then.
    at_first: Vec<String>,
    seconds: u64,
    /// The commit whose tests were run, all of them; none where only some were.
    commit: Option<String>,
    /// What the machine has ended with; none where it was interrupted.
    code: Option<u8>,
}

/// What the output of a cell begins with, if it is of all tests; the commit follows.
const WHOLE: &str = "# all tests of ";

/// What it ends with; the seconds and the exit code follow.
const ENDED: &str = "# ended after ";

impl Outcome {
    /// What a run has left.
    fn of(output: &Path) -> Result<Self> {
        let name = output.display();
        let bytes = std::fs::read(output).map_err(|error| format!("{name}: {error}"))?;
        let mut outcome = Self::read(&String::from_utf8_lossy(&bytes));
        match outcome.code {
            Some(0) => {}
            Some(1) if !outcome.failed.is_empty() => {}
            Some(code) => outcome.failed.push(format!("the machine itself: exit code {code}, see {name}")),
            None => outcome.failed.push(format!("the machine itself: it did not come to an end, see {name}")),
        }
        Ok(outcome)
    }

    /// Reads what [`isolate`](crate::isolate) has printed, program by program, and what [`run`] has.
    fn read(output: &str) -> Self {
        let mut outcome = Self::default();
        for line in output.lines() {
            if let Some(commit) = line.strip_prefix(WHOLE) {
                outcome.commit = Some(commit.to_owned());
            }
            if let Some((seconds, code)) =
                line.strip_prefix(ENDED).and_then(|rest| rest.split_once(" s, exit code "))
            {
                outcome.seconds = seconds.parse().unwrap_or_default();
                outcome.code = code.parse().ok();
            }
            let counts = line.split_once(" passed, ").filter(|(_, rest)| rest.contains(" failed, "));
            if let Some(passed) = counts.and_then(|(passed, _)| passed.parse::<usize>().ok()) {
                outcome.passed += passed;
            } else if let Some(failed) = line.strip_prefix("FAILED: ") {
                outcome.failed.push(failed.to_owned());
            } else if let Some(failed) = line.strip_prefix("failed at first: ") {
                outcome.at_first.push(failed.to_owned());
            } else if let Some(skipped) = line.strip_prefix("skipped: ") {
                outcome.skipped.push(skipped.to_owned());
            }
        }
        outcome.skipped.sort();
        outcome.skipped.dedup();
        // A test that is skipped has passed, for its runner.
        outcome.passed = outcome.passed.saturating_sub(outcome.skipped_tests());
        outcome
    }

    /// How many tests were skipped; one may have several reasons.
    fn skipped_tests(&self) -> usize {
        let test = |line: &String| line.split_once(": ").map_or(line.clone(), |(test, _)| test.to_owned());
        let mut tests: Vec<String> = self.skipped.iter().map(test).collect();
        tests.dedup();
        tests.len()
    }
}

/// What is to be run in each machine.
#[derive(Debug, Default)]
struct Tests {
    /// `NAME=value`, as a shell reads it.
    variables: Vec<String>,
    /// Parts of names, as a shell reads them.
    filters: Vec<String>,
}

/// What the words of `cargo xtask matrix` ask for.
#[derive(Debug, Default)]
struct Wanted<'w> {
    cells: Vec<Cell>,
    /// The test programs of `cloison-tests`; all of all packages without a name.
    files: Vec<&'w str>,
    tests: Tests,
    write: bool,
    last: bool,
    /// How many machines run at a time.
    at_once: usize,
}

impl<'w> Wanted<'w> {
    fn parse(words: &'w [&'w str]) -> Result<Self> {
        let mut wanted = Self { at_once: 1, ..Self::default() };
        let mut quick = false;
        let mut words = words;
        loop {
            words = match words {
                [] => break,
                ["--quick", rest @ ..] => {
                    quick = true;
                    rest
                }
                ["--write", rest @ ..] => {
                    wanted.write = true;
                    rest
                }
                ["--last", rest @ ..] => {
                    wanted.last = true;
                    rest
                }
                ["--at-once", number, rest @ ..] => {
                    wanted.at_once = number.parse()?;
                    rest
                }
                ["--cell", name, rest @ ..] => {
                    let known = wanted.cells.len();
                    wanted.cells.extend(Cell::all().into_iter().filter(|cell| cell.is_named(name)));
                    if wanted.cells.len() == known {
                        return Err(format!("no such cell: {name}\n{USAGE}").into());
                    }
                    rest
                }
                ["--test", file, rest @ ..] => {
                    wanted.files.push(*file);
                    rest
                }
                ["--env", variable, rest @ ..] => {
                    wanted.tests.variables.push(vm::quoted(variable));
                    rest
                }
                [option, ..] if option.starts_with("--") => {
                    return Err(format!("no such option: {option}\n{USAGE}").into());
                }
                [filter, rest @ ..] => {
                    wanted.tests.filters.push(vm::quoted(filter));
                    rest
                }
            };
        }
        if wanted.cells.is_empty() {
            wanted.cells = Cell::all();
        }
        if quick {
            wanted.cells.retain(|cell| cell.is_uml());
        }
        if wanted.write && !wanted.is_whole() {
            return Err("a row of the table is of all tests: no --test and no names with --write".into());
        }
        Ok(wanted)
    }

    /// Whether all tests are to be run.
    fn is_whole(&self) -> bool {
        self.files.is_empty() && self.tests.filters.is_empty()
    }
}

/// `cargo xtask matrix`.
///
/// # Errors
/// For words that are not understood, when a machine cannot be booted, and when a test fails.
pub(crate) fn matrix(words: &[&str]) -> Result<()> {
    let wanted = Wanted::parse(words)?;
    let results = workspace().join("target/matrix");
    std::fs::create_dir_all(&results)?;
    let commit = match wanted.is_whole().then(commit) {
        // A checkout of somebody else's, or none: it can be tested all the same.
        Some(Err(error)) if !wanted.write => {
            println!("the results cannot be written: {error}");
            None
        }
        commit => commit.transpose()?,
    };
    if !wanted.last && wanted.cells.contains(&HOST) {
        setup::setup()?;
    }
    let built = if wanted.last { None } else { Some(Built::new(&results, &wanted.files)?) };
    let done = Mutex::new((Record::default(), 0));
    let work = |cell: Cell| -> Result<()> {
        let output = results.join(format!("{}.log", cell.name().replace('/', "-")));
        if let Some(built) = &built {
            println!("=== {}", cell.name());
            run(cell, &wanted.tests, built, commit.as_deref(), &output)?;
        } else if !output.exists() {
            return Ok(());
        }
        let outcome = Outcome::of(&output)?;
        let mut done = done.lock().expect("no thread panics");
        tell(cell, &outcome);
        done.0.put(cell, &outcome, outcome.commit.as_deref().unwrap_or("in parts"));
        done.1 += outcome.failed.len();
        match &outcome.commit {
            Some(_) if wanted.write && !outcome.at_first.is_empty() => {
                println!("{}: not all passed at once, and so it is not written", output.display());
            }
            Some(commit) if wanted.write => write(cell, &outcome, commit)?,
            None if wanted.write => {
                println!("{}: it is not of all tests, and so not written", output.display());
            }
            _ => {}
        }
        Ok(())
    };
    pool::each(wanted.at_once, wanted.cells.iter().copied(), |cell| {
        if let Err(error) = work(cell) {
            println!("FAILED: {}: {error}", cell.name());
            done.lock().expect("no thread panics").1 += 1;
        }
    });
    let (record, failed) = done.into_inner().expect("no thread panics");
    println!("\n{}\n{}", record.rows(), record.tests());
    if failed == 0 { Ok(()) } else { Err(format!("{failed} failed").into()) }
}

/// Says what came of a cell.
fn tell(cell: Cell, outcome: &Outcome) {
    outcome.at_first.iter().for_each(|name| println!("failed at first: {name}"));
    outcome.failed.iter().for_each(|name| println!("FAILED: {name}"));
    println!(
        "--- {}: {} passed, {} failed, {} skipped, {} s",
        cell.name(),
        outcome.passed,
        outcome.failed.len(),
        outcome.skipped_tests(),
        outcome.seconds
    );
}

/// Puts what came of a cell into the pages.
fn write(cell: Cell, outcome: &Outcome, commit: &str) -> Result<()> {
    let [cells, tests] = PAGES.map(|page| page::get(page, MARKS));
    let mut record = Record::read(&(cells? + &tests?))?;
    record.put(cell, outcome, commit);
    page::put(PAGES[0], MARKS, &record.rows())?;
    page::put(PAGES[1], MARKS, &record.tests())
}

/// The commit that is checked out, and whether there is more than that, but for documents.
fn commit() -> Result<String> {
    let git = |words: &[&str]| -> Result<String> {
        let output = command::words(["git"])
            .args(words)
            .current_dir(build::root())
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?.trim().to_owned();
        if output.status.success() { Ok(text) } else { Err(format!("git: {}", output.status).into()) }
    };
    let head = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs", ":!*.md"])?;
    Ok(if changes.is_empty() { head } else { format!("{head}, changed") })
}

/// How the programs for machines are built: a profile of `Cargo.toml`.
const PROFILE: [&str; 2] = ["--profile", "machine"];

/// Builds the runtime and the tests; gives the programs of the latter.
fn programs(files: &[&str]) -> Result<Vec<PathBuf>> {
    command::run(build::cargo().args(["build", "--quiet", "--package", "cloison-cli"]).args(PROFILE))?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--quiet", "--no-run", "--message-format", "json"]).args(PROFILE);
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
    fn new(results: &Path, files: &[&str]) -> Result<Self> {
        let programs = programs(files)?;
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
        // By a name that leads to it after it was built anew, too.
        let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
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

/// A copy that is smaller: a container that waits may have the whole runtime in memory.
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

/// Runs a cell; what is printed goes to a file, [`Outcome::of`].
fn run(cell: Cell, tests: &Tests, built: &Built, commit: Option<&str>, output: &Path) -> Result<()> {
    let begun = Instant::now();
    let mut file = File::options().create(true).append(true).open(output)?;
    if file.try_lock().is_err() {
        return Err(format!("another run is at it, and writes to {}", output.display()).into());
    }
    file.set_len(0)?;
    if let Some(commit) = commit {
        writeln!(file, "{WHOLE}{commit}")?;
    }
    // The output is appended: a test that is skipped says so to the same file by a descriptor of its own.
    let redirect = format!("exec >> {} 2>&1\n", vm::quoted(&output.display().to_string()));
    let programs = each_program(cell, tests, built);
    let code = if cell == HOST {
        let programs = format!("{redirect}{ON_THE_HOST}{programs}");
        let status = command::words(test::as_root_apart()?).args(["sh", "-c", &programs]).status()?;
        u8::try_from(status.code().ok_or("the tests were killed")?)?
    } else {
        let script = into_the_machine(cell, built, &redirect) + &programs;
        cell.machine(output.with_extension("console")).run(&script)?
    };
    Ok(writeln!(file, "{ENDED}{} s, exit code {code}", begun.elapsed().as_secs())?)
}

/// Takes away what the caller's variables would change of the tests, but for where a Debian comes from. Other machines may run beside it.
const ON_THE_HOST: &str = "\
    unset CARGO_TARGET_DIR RUNC_BIN $(env | sed -n 's/^\\(CLOISON_[A-Z_]*\\)=.*/\\1/p' | grep -v -x -e CLOISON_TEST_DEBIAN -e CLOISON_TEST_MIRROR)\n\
    export RUST_BACKTRACE=0 CLOISON_TEST_PATIENCE=4\n";

/// Makes a machine ready for the tests: the workspace is there by its own name, and so is who calls the runtime.
fn into_the_machine(cell: Cell, built: &Built, redirect: &str) -> String {
    let quoted = |path: &Path| vm::quoted(&path.display().to_string());
    let workspace = quoted(&workspace());
    let (runtime, isolate) = (quoted(&built.isolate.with_file_name("cloison")), quoted(&built.isolate));
    // An emulated processor is a tenth as quick as ours, and both may have neighbours.
    let patience = if cell.is_uml() { 4 } else { 10 };
    let mut script = format!(
        "mkdir -p {workspace} && mount --bind /run/share {workspace} && cd {workspace}\n\
         {redirect}\
         export CLOISON_TEST_DEBIAN=/ TMPDIR=/tmp HOME=/root RUST_BACKTRACE=0 CLOISON_TEST_PATIENCE={patience}\n\
         mkdir -p {PROGRAMS}/deps && cp {runtime} {isolate} {PROGRAMS}/\n"
    );
    // What is repeated for chance's sake is so on the host, or where `--env` says so. Races are for two processors, which User Mode Linux has not.
    let rounds = if cell.is_uml() { 10 } else { 15 };
    // Writing to a String cannot fail.
    let _ = writeln!(
        script,
        "export CLOISON_STREAM_ROUNDS=1 CLOISON_CHECKPOINT_ROUNDS=1 CLOISON_RACE_ROUNDS={rounds} CLOISON_CRASH_STEPS=15"
    );
    if cell.layout == "v2-units" {
        script.push_str("export CLOISON_TEST_SYSTEMD=1\n");
    }
    if cell.layout == "selinux" {
        // The policy lets nobody load what has no label, nor modprobe(8) read what lies on a disk of its own.
        let _ = writeln!(
            script,
            "{} sh -c 'umount /run/modules && \
             mount -t ext4 -o ro,context=system_u:object_r:modules_object_t:s0 /dev/vdb /run/modules && \
             busybox modprobe loop && busybox modprobe veth' || exit 1",
            cell.login()
        );
    } else {
        // Where the kernel has it: nothing loads it by itself.
        script.push_str("modprobe --quiet loop\n");
    }
    if cell.has_systemd() {
        // The user's own, for tests in which a user calls though root does elsewhere.
        let _ = writeln!(script, "systemctl start user@{USER}.service");
    }
    if cell.rootless {
        script.push_str(&become_ordinary(cell));
    }
    script
}

/// Runs the programs one after another.
fn each_program(cell: Cell, tests: &Tests, built: &Built) -> String {
    let mut script = "failed=0\n".to_owned();
    for variable in &tests.variables {
        // Writing to a String cannot fail.
        let _ = writeln!(script, "export {variable}");
    }
    let login = cell.login();
    // By a shell: the tests are programs that a login shell starts, and not what it is.
    let context = if login.is_empty() { String::new() } else { format!(r#"{login} sh -c 'exec "$@"' sh"#) };
    let filters = tests.filters.join(" ");
    for program in &built.programs {
        let name = program.file_name().unwrap_or_default().display();
        let words = [&built.isolate, program].map(|path| vm::quoted(&path.display().to_string()));
        let _ = writeln!(script, "echo '# {name}'");
        let _ = if cell == HOST {
            writeln!(script, "{} isolate {} {filters} || failed=1", words[0], words[1])
        } else {
            writeln!(
                script,
                "cp {} {PROGRAMS}/deps/; {context} {PROGRAMS}/xtask isolate {PROGRAMS}/deps/{name} {filters} || failed=1; \
                 rm {PROGRAMS}/deps/{name}",
                words[1]
            )
        };
    }
    script.push_str("exit $failed");
    script
}

/// Says who calls the runtime, and puts the tests into a cgroup of the user's.
fn become_ordinary(cell: Cell) -> String {
    let delegated = match cell.layout {
        // In every hierarchy. Those below have the processors and the memory of their parent, which a cpuset wants before it takes anybody.
        "v1" => format!(
            "for hierarchy in /sys/fs/cgroup/*; do \
                 cd $hierarchy && {{ ! [ -e cpuset.cpus ] || echo 1 > cgroup.clone_children; }} && mkdir -p delegated/tests && \
                 chown {USER}:{USER} delegated delegated/tests delegated/cgroup.procs delegated/tests/cgroup.procs && \
                 echo $$ > delegated/tests/cgroup.procs && cd - || exit 1; \
             done\n"
        ),
        "v2" => format!(
            "cd /sys/fs/cgroup && mkdir -p delegated/tests && \
             sed 's/[a-z]*/+&/g' cgroup.controllers > cgroup.subtree_control && \
             chown {USER}:{USER} delegated delegated/cgroup.* delegated/tests delegated/tests/cgroup.* && \
             echo $$ > delegated/tests/cgroup.procs && cd - || exit 1\n"
        ),
        _ => format!(
            "{} setpriv --reuid {USER} --regid {USER} --init-groups \
             env XDG_RUNTIME_DIR=/run/user/{USER} \
             systemd-run --user --quiet --unit tests --property Delegate=yes sleep infinity && \
             cd /sys/fs/cgroup/user.slice/user-{USER}.slice/user@{USER}.service/app.slice/tests.service && mkdir tests && \
             chown {USER}:{USER} tests tests/cgroup.procs tests/cgroup.threads tests/cgroup.subtree_control && \
             echo $$ > tests/cgroup.procs && \
             for process in $(cat cgroup.procs); do echo $process > tests/cgroup.procs; done && cd - || exit 1\n",
            cell.login()
        ),
    };
    format!("export CLOISON_TEST_USER={USER}\n{delegated}")
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
        let output = "# all tests of 0123abc\n# exec-1\nskipped: exec::a: no such feature\nfailed at first: c: exit status: 101\nFAILED: b: exit status: 101\n  12 passed, 3 failed, \n\
            4 passed, 1 failed, 0.3 s\n# run-2\nskipped: exec::a: no such feature\n2 passed, 0 failed, 0.1 s\n\
            # ended after 17 s, exit code 1\n";
        let outcome = Outcome::read(output);
        assert_eq!(outcome.passed, 5, "one of them was skipped");
        assert_eq!(outcome.failed, ["b: exit status: 101"]);
        assert_eq!(outcome.at_first, ["c: exit status: 101"]);
        assert_eq!(outcome.skipped, ["exec::a: no such feature"]);
        assert_eq!(
            (outcome.seconds, outcome.code, outcome.commit.as_deref()),
            (17, Some(1), Some("0123abc"))
        );
        assert_eq!(Outcome::read("# exec-1\n1 passed, 0 failed, 0.1 s\n").code, None, "it was interrupted");
    }

    #[test]
    fn the_beginning_of_a_name_names_several_cells() {
        let named = |name: &str| Cell::all().into_iter().filter(|cell| cell.is_named(name)).count();
        assert_eq!(
            ["host", "uml", "6.1/v1", "6.1/v1/rootless", "6.1/v", "uml/v1", "uml/selinux"].map(named),
            [1, 6, 2, 1, 0, 0, 0]
        );
    }
}
