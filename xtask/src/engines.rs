//! The scripts of tests/engines: real engines, first with `runc` and then with `cloison`, which have to come to the same.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::vm::{self, Machine};
use crate::{Result, build, command, page, setup};

/// How long one script may take in a machine.
const PATIENCE: Duration = Duration::from_hours(1);

/// How long one step may take there, in seconds, if nothing is said: machines are slow.
const MACHINE_STEP_TIME: u32 = 600;

/// What steers a script, and is handed on into the machine: tests/engines/README.md.
const KNOBS: [&str; 6] = [
    "STEP_TIME",
    "CLOISON_ENGINE_ROUNDS",
    "CLOISON_ENGINE_SEED",
    "CLOISON_ENGINE_PROBES",
    "CLOISON_ENGINE_MANY",
    "CLOISON_SWARM_REPLICAS",
];

/// The page, and the lines between which its table stands.
const PAGE: &str = "docs/engines.md";
const MARKS: [&str; 2] = ["<!-- cargo xtask engines --write -->", "<!-- end of the engines -->"];

pub(crate) const USAGE: &str = "\
usage: cargo xtask engines [--in CELL]... [--runtime FILE] [--alone] [--write] [SCRIPT...]

Runs the scripts of tests/engines (all of them, or those that are called so, or begin so if none is) with `runc` and
with a release build of cloison, and compares what they print, step by step.

  --in CELL       where: `host` (if nothing is said), or KERNEL/LAYOUT in a throw-away machine, with a kernel of uml, 5.10, 6.1,
                  6.12 and a layout of v2-systemd, v2, v1
  --runtime FILE  this one in place of a release build
  --alone         without runc
  --write         puts the table into docs/engines.md; rows of cells and scripts that were not run stay as they are
";

/// The engines' packages, and what each brings.
const PACKAGES: [(&str, &str); 18] = [
    ("containerd", "/usr/bin/containerd"),
    ("docker.io", "/usr/sbin/dockerd"),
    ("podman", "/usr/bin/podman"),
    ("runc", "/usr/sbin/runc"),
    ("iptables", "/usr/sbin/iptables"),
    ("nftables", "/usr/sbin/nft"),
    ("iproute2", "/usr/sbin/ip"),
    ("procps", "/usr/bin/ps"),
    ("uidmap", "/usr/bin/newuidmap"),
    ("slirp4netns", "/usr/bin/slirp4netns"),
    ("fuse-overlayfs", "/usr/bin/fuse-overlayfs"),
    ("netavark", "/usr/lib/podman/netavark"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("catatonit", "/usr/bin/catatonit"),
    ("jq", "/usr/bin/jq"),
    ("busybox-static", "/bin/busybox"),
    ("debootstrap", "/usr/sbin/debootstrap"),
    ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
];

/// What makes the Debian of the images.
const PACKAGES_OF_DEBIAN: [(&str, &str); 2] = [
    ("debootstrap", "/usr/sbin/debootstrap"),
    ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
];

/// A place where scripts run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Host,
    Cell { kernel: String, layout: String },
}

/// What one script has printed with one runtime.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    /// `ok - …`, `FAILED - …`, `skipped - …`.
    steps: Vec<String>,
    code: i32,
    seconds: u64,
}

/// A row of the page's table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    script: String,
    place: String,
    cells: String,
}

impl Place {
    fn parse(word: &str) -> Result<Self> {
        if word == "host" {
            return Ok(Self::Host);
        }
        match word.split_once('/') {
            Some((kernel @ ("uml" | "5.10" | "6.1" | "6.12"), layout @ ("v2-systemd" | "v2" | "v1"))) => {
                Ok(Self::Cell { kernel: kernel.to_owned(), layout: layout.to_owned() })
            }
            _ => Err(format!("no such cell: {word}\n{USAGE}").into()),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Cell { kernel, layout } => format!("{kernel}/{layout}"),
        }
    }

    /// Runs a script; what it prints goes to our output, too.
    fn run(&self, script: &Path, runtime: &Path) -> Result<Outcome> {
        let begun = Instant::now();
        let mut outcome = match self {
            Self::Host => {
                let mut words = command::as_root()?;
                words.extend([
                    "bash".to_owned(),
                    script.display().to_string(),
                    runtime.display().to_string(),
                ]);
                outcome_of(command::words(words).stdin(Stdio::null()))?
            }
            Self::Cell { kernel, layout } => in_machine(kernel, layout, script, runtime)?,
        };
        outcome.seconds = begun.elapsed().as_secs();
        Ok(outcome)
    }
}

/// The checkout has the same name in the machine, so that scripts and runtimes have theirs.
fn in_machine(kernel: &str, layout: &str, script: &Path, runtime: &Path) -> Result<Outcome> {
    let workspace = workspace()?.display().to_string();
    let results = Path::new(&workspace).join("target/engines");
    std::fs::create_dir_all(&results)?;
    // Several may run at once.
    let stem = script.file_stem().unwrap_or_default().display();
    let output = results.join(format!("{stem}-{kernel}-{layout}"));
    std::fs::write(&output, "")?;
    let machine = Machine {
        kernel: kernel.to_owned(),
        cgroup: if layout == "v1" { "v1" } else { "v2" }.to_owned(),
        init: if layout == "v2-systemd" { "systemd" } else { "none" }.to_owned(),
        share: Some((workspace.clone().into(), false)),
        memory: "4G".to_owned(),
        timeout: PATIENCE,
        log: Some(results.join(format!("{stem}-{kernel}-{layout}.console"))),
        ..Machine::default()
    };
    let knobs: String = KNOBS
        .iter()
        .filter_map(|name| Some(format!(" {name}={}", vm::quoted(&std::env::var(name).ok()?))))
        .collect();
    // There is no network to make it from.
    let debian = if wants_debian(script)? {
        debian(&results)?;
        "mkdir /var/lib/debian\n\
         tar --extract --numeric-owner --directory /var/lib/debian --file target/engines/debian.tar\n\
         export CLOISON_TEST_DEBIAN=/var/lib/debian\n"
    } else {
        ""
    };
    let code = machine.run(&format!(
        "mkdir -p {workspace} && mount --bind /run/share {workspace} && cd {workspace}\n\
         export CLOISON_ENGINES_HERE=1 HOME=/root STEP_TIME={MACHINE_STEP_TIME}{knobs}\n\
         {debian}\
         bash {} {} > {} 2>&1",
        vm::quoted(&script.display().to_string()),
        vm::quoted(&runtime.display().to_string()),
        vm::quoted(&output.display().to_string()),
    ))?;
    let text = String::from_utf8_lossy(&std::fs::read(&output)?).into_owned();
    let mut outcome = Outcome { code: code.into(), ..Outcome::default() };
    text.lines().for_each(|line| outcome.hear(line));
    Ok(outcome)
}

/// Whether a script makes an image of a Debian, which `lib.sh` looks for in the same way.
fn wants_debian(script: &Path) -> Result<bool> {
    Ok(std::fs::read_to_string(script)?.contains("image debian "))
}

/// Packs the Debian that all tests use, made here if there is none yet, into `debian.tar`.
fn debian(results: &Path) -> Result<()> {
    setup::install(&PACKAGES_OF_DEBIAN)?;
    let lib = workspace()?.join("tests/engines/lib.sh").display().to_string();
    let mut words = command::as_root()?;
    words.extend(["bash", "-c", ". \"$1\" && debian", "debian", &lib].map(str::to_owned));
    let made = command::words(words).stderr(Stdio::inherit()).output()?;
    let directory = String::from_utf8(made.stdout)?.trim().to_owned();
    if !made.status.success() || directory.is_empty() {
        return Err("there is no Debian for the images".into());
    }
    let mut words = command::as_root()?;
    words.extend(
        ["tar", "--create", "--numeric-owner", "--one-file-system", "--exclude=./dev/*", "--file"]
            .map(str::to_owned),
    );
    words.extend([
        results.join("debian.tar").display().to_string(),
        "--directory".to_owned(),
        directory,
        ".".to_owned(),
    ]);
    command::run(&mut command::words(words))
}

fn outcome_of(command: &mut Command) -> Result<Outcome> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut outcome = Outcome::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            outcome.hear(&line?);
        }
    }
    outcome.code = child.wait()?.code().unwrap_or(-1);
    Ok(outcome)
}

impl Outcome {
    fn hear(&mut self, line: &str) {
        println!("    {line}");
        if ["ok - ", "FAILED - ", "skipped - "].iter().any(|begin| line.starts_with(begin)) {
            self.steps.push(line.to_owned());
        }
    }

    fn count(&self, begin: &str) -> usize {
        self.steps.iter().filter(|step| step.starts_with(begin)).count()
    }

    /// For a cell of the table.
    fn summary(&self) -> String {
        let mut text = self.count("ok").to_string();
        // Writing to a String cannot fail.
        for (count, what) in [(self.count("FAILED"), "failed"), (self.count("skipped"), "skipped")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text
    }
}

/// What is wrong with an outcome: failed steps, a script that has not come to its end, and where it differs from another's.
fn faults(ours: &Outcome, theirs: Option<&Outcome>) -> Vec<String> {
    let mut faults: Vec<String> =
        ours.steps.iter().filter(|step| step.starts_with("FAILED")).cloned().collect();
    if ours.code != 0 && faults.is_empty() {
        faults.push(format!("the script itself, exit code {}", ours.code));
    }
    if ours.steps.is_empty() {
        faults.push("the script has no steps".to_owned());
    }
    if let Some(theirs) = theirs {
        let only = |these: &Outcome, those: &Outcome, who: &str| -> Vec<String> {
            let steps = these.steps.iter().filter(|step| !those.steps.contains(step));
            steps.map(|step| format!("with {who} alone: {step}")).collect()
        };
        faults.extend(only(theirs, ours, "runc"));
        faults.extend(only(ours, theirs, "cloison"));
    }
    faults
}

/// `cargo xtask engines`.
///
/// # Errors
/// For words that are not understood, when a place cannot be made, and when a step fails or is not the same with both runtimes.
pub(crate) fn engines(words: &[&str]) -> Result<()> {
    let (mut places, mut wanted, mut runtime) = (Vec::new(), Vec::new(), None);
    let (mut alone, mut write) = (false, false);
    let mut words = words;
    loop {
        words = match words {
            [] => break,
            ["--in", cell, rest @ ..] => {
                places.push(Place::parse(cell)?);
                rest
            }
            ["--runtime", file, rest @ ..] => {
                runtime = Some(std::fs::canonicalize(file).map_err(|error| format!("{file}: {error}"))?);
                rest
            }
            ["--alone", rest @ ..] => {
                alone = true;
                rest
            }
            ["--write", rest @ ..] => {
                write = true;
                rest
            }
            [option, ..] if option.starts_with('-') => {
                return Err(format!("no such option: {option}\n{USAGE}").into());
            }
            [script, rest @ ..] => {
                wanted.push(*script);
                rest
            }
        };
    }
    if places.is_empty() {
        places.push(Place::Host);
    }
    let scripts = scripts(&wanted)?;
    if places.contains(&Place::Host) {
        setup::install(&PACKAGES)?;
    }
    // On the host a script that needs it builds it; a machine has no compiler for it, nor a network.
    if places.iter().any(|place| *place != Place::Host) {
        let client = workspace()?.join("tests/engines/client");
        let mut cargo = build::cargo();
        cargo.current_dir(client).args(["build", "--release", "--locked", "--target-dir", "target"]);
        command::run(&mut cargo)?;
    }
    let runtime = match runtime {
        Some(runtime) => runtime,
        None => build::runtime("release")?,
    };
    let (mut rows, mut unlike) = (Vec::new(), 0);
    for place in &places {
        for script in &scripts {
            let name = script.file_stem().unwrap_or_default().display().to_string();
            println!("=== {name}, {}", place.name());
            let theirs = if alone {
                None
            } else {
                println!("  with runc");
                // The machines have Debian's, at Debian's place; here it may have been installed elsewhere.
                let runc = match place {
                    Place::Host => command::find("runc").ok_or("there is no runc to compare with")?,
                    Place::Cell { .. } => "/usr/sbin/runc".into(),
                };
                Some(place.run(script, &runc)?)
            };
            println!("  with cloison");
            let ours = place.run(script, &runtime)?;
            let faults = faults(&ours, theirs.as_ref());
            for fault in &faults {
                println!("FAULT: {fault}");
            }
            println!("--- {name}, {}: {}, {} s", place.name(), ours.summary(), ours.seconds);
            unlike += usize::from(!faults.is_empty());
            let runc = theirs.map_or("–".to_owned(), |theirs| theirs.summary());
            let cells = format!("{runc} | {} | {}", ours.summary(), ours.seconds);
            rows.push(Row { script: name, place: place.name(), cells });
        }
    }
    if write {
        write_table(rows)?;
    }
    if unlike == 0 { Ok(()) } else { Err(format!("{unlike} scripts do not pass as with runc").into()) }
}

/// The scripts that these words name, in the order of their names; all of them if there is no word.
fn scripts(wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let directory = workspace()?.join("tests/engines");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "sh") && !name.starts_with("lib") {
            names.push(name.to_owned());
        }
    }
    Ok(named(names, wanted)?.iter().map(|name| directory.join(name).with_extension("sh")).collect())
}

/// A word names the script that is called so; if there is none, all those whose names begin so.
///
/// # Errors
/// When a word names none.
fn named(mut names: Vec<String>, words: &[&str]) -> Result<Vec<String>> {
    let names_it =
        |word: &str, name: &str, exact: bool| if exact { name == word } else { name.starts_with(word) };
    let words: Vec<(&str, bool)> =
        words.iter().map(|&word| (word, names.iter().any(|name| name == word))).collect();
    for &(word, exact) in &words {
        if !names.iter().any(|name| names_it(word, name, exact)) {
            return Err(format!("no script is called {word}").into());
        }
    }
    names.retain(|name| words.is_empty() || words.iter().any(|&(word, exact)| names_it(word, name, exact)));
    names.sort();
    Ok(names)
}

fn workspace() -> Result<PathBuf> {
    Ok(build::root().canonicalize()?)
}

/// Puts the rows into the page's table, in place of those of the same script and place.
fn write_table(rows: Vec<Row>) -> Result<()> {
    let page = std::fs::read_to_string(workspace()?.join(PAGE))?;
    let old = page.split_once(MARKS[0]).and_then(|(_, rest)| rest.split_once(MARKS[1]));
    let mut all = rows_of(old.ok_or_else(|| format!("{PAGE} has no place for the table"))?.0);
    for row in rows {
        all.retain(|old| (&old.script, &old.place) != (&row.script, &row.place));
        all.push(row);
    }
    page::put(PAGE, MARKS, &table(all))
}

fn rows_of(table: &str) -> Vec<Row> {
    let cells = table.lines().filter_map(|line| line.trim().strip_prefix("| ")?.strip_suffix(" |"));
    cells
        .filter_map(|line| {
            let [script, place, cells] = line.splitn(3, " | ").collect::<Vec<_>>().try_into().ok()?;
            let [script, place] = [script, place].map(|cell| cell.trim_matches('`').to_owned());
            (script != "script").then(|| Row { script, place, cells: cells.to_owned() })
        })
        .collect()
}

fn table(mut rows: Vec<Row>) -> String {
    rows.sort_by(|one, other| (&one.script, &one.place).cmp(&(&other.script, &other.place)));
    let mut text =
        "| script | where | steps with runc | steps with cloison | seconds |\n|---|---|---|---|---|\n"
            .to_owned();
    for Row { script, place, cells } in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{script}` | `{place}` | {cells} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(steps: &[&str], code: i32) -> Outcome {
        Outcome { steps: steps.iter().map(|&step| step.to_owned()).collect(), code, seconds: 0 }
    }

    #[test]
    fn a_script_passes_if_it_comes_to_the_same_with_both() {
        let steps = ["ok - a", "skipped - b: no such device"];
        assert!(faults(&outcome(&steps, 0), Some(&outcome(&steps, 0))).is_empty());
        assert_eq!(faults(&outcome(&steps, 0), Some(&outcome(&["ok - a", "ok - b"], 0))).len(), 2);
        assert_eq!(faults(&outcome(&steps, 1), None), ["the script itself, exit code 1"]);
        assert_eq!(faults(&outcome(&["ok - a", "FAILED - c"], 1), None), ["FAILED - c"]);
        assert!(!faults(&outcome(&[], 0), None).is_empty());
    }

    #[test]
    fn a_script_of_exactly_this_name_is_the_only_one_that_a_word_names() {
        let names = || ["podman_rootless", "cri", "podman"].map(str::to_owned).to_vec();
        assert_eq!(named(names(), &["podman"]).unwrap(), ["podman"]);
        assert_eq!(named(names(), &["pod", "cri"]).unwrap(), ["cri", "podman", "podman_rootless"]);
        assert_eq!(named(names(), &[]).unwrap().len(), 3);
        named(names(), &["podman", "docker"]).unwrap_err();
    }

    #[test]
    fn rows_of_a_table_are_read_again() {
        let rows = vec![
            Row {
                script: "docker".to_owned(),
                place: "uml/v2".to_owned(),
                cells: "3, 1 failed | 4 | 12".to_owned(),
            },
            Row { script: "docker".to_owned(), place: "host".to_owned(), cells: "– | 4 | 12".to_owned() },
        ];
        let text = table(rows);
        let read = rows_of(&text);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].place, "host");
        assert_eq!(table(read), text);
    }

    #[test]
    fn places_are_the_host_and_machines() {
        assert_eq!(Place::parse("host").unwrap(), Place::Host);
        assert_eq!(Place::parse("6.1/v2-systemd").unwrap().name(), "6.1/v2-systemd");
        Place::parse("6.1/v3").unwrap_err();
        Place::parse("6.1").unwrap_err();
    }
}
