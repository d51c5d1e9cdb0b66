//! The tables of other projects' suites in docs/conformance.md, from what a run of them by hand has printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::matrix::PAGE;
use crate::{Result, build, page};

pub(crate) const USAGE: &str = "\
usage: cargo xtask suites runc|validation [PLACE RUNC-DIRECTORY OUR-DIRECTORY]...

Writes the table of runc's integration suite, or of runtime-tools' validation, into docs/conformance.md. In each directory are files NAME.tap,
in the Test Anything Protocol: what FILE.bats, or the program NAME, has printed; a last line `# exit CODE` tells how a program ended. PLACE is
the title of a pair of columns (\"v1, root\"). Tells what passes with runc and not with us, and has no reason in the page.
";

/// A suite of somebody else.
struct Suite {
    /// The title of its first column.
    unit: &'static str,
    /// Between which lines of the page its table stands.
    marks: [&'static str; 2],
}

const SUITES: [(&str, Suite); 2] = [
    ("runc", Suite { unit: "file", marks: ["<!-- runc's suite -->", "<!-- end of runc's suite -->"] }),
    (
        "validation",
        Suite {
            unit: "program",
            marks: ["<!-- runtime-tools' validation -->", "<!-- end of runtime-tools' validation -->"],
        },
    ),
];

/// What a file of tests, or a program, has told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    /// Reads the Test Anything Protocol. Tests that were planned and not run, a program without a test and one that has failed have failed.
    fn read(tap: &str) -> Self {
        let mut counts = Self::default();
        let (mut planned, mut failed) = (None, false);
        for line in tap.lines().map(str::trim) {
            let passed = line.strip_prefix("ok ");
            let Some(test) = passed.or_else(|| line.strip_prefix("not ok ")) else {
                planned = line.strip_prefix("1..").and_then(|count| count.parse().ok()).or(planned);
                failed |= line.strip_prefix("# exit ").is_some_and(|code| code != "0");
                continue;
            };
            if test.to_lowercase().contains("# skip") {
                counts.skipped += 1;
            } else if passed.is_some() {
                counts.passed += 1;
            } else {
                counts.failed += 1;
            }
        }
        let told = counts.passed + counts.failed + counts.skipped;
        let missing = planned.map_or(0, |planned: usize| planned.saturating_sub(told));
        counts.failed += missing.max(usize::from(told == 0 || failed));
        counts
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn cell(self) -> String {
        let mut cell = self.passed.to_string();
        // Writing to a String cannot fail.
        if self.failed > 0 {
            let _ = write!(cell, ", **{} failed**", self.failed);
        }
        if self.skipped > 0 {
            let _ = write!(cell, ", {} skipped", self.skipped);
        }
        cell
    }
}

/// What was told in one place: by file, of runc and of ours.
type Results = BTreeMap<String, Counts>;

/// `cargo xtask suites`.
///
/// # Errors
/// For words that are not understood, directories that cannot be read, and differences without a reason in the page.
pub(crate) fn suites(words: &[&str]) -> Result<()> {
    let [name, rest @ ..] = words else { return Err(USAGE.into()) };
    let Some((_, suite)) = SUITES.iter().find(|(known, _)| known == name) else { return Err(USAGE.into()) };
    let (places, []) = rest.as_chunks::<3>() else { return Err(USAGE.into()) };
    if places.is_empty() {
        return Err(USAGE.into());
    }
    let mut columns = Vec::new();
    for [place, runc, ours] in places {
        columns.push((*place, results(Path::new(runc))?, results(Path::new(ours))?));
    }
    page::put(PAGE, suite.marks, &table(suite.unit, &columns))?;
    let page = std::fs::read_to_string(build::root().join(PAGE))?;
    let reasons = page.split(suite.marks[1]).nth(1).unwrap_or_default();
    let without: Vec<String> =
        worse(&columns).into_iter().filter(|file| !has_reason(reasons, file)).collect();
    if without.is_empty() {
        Ok(())
    } else {
        Err(format!("worse than runc, and no reason is told: {}", without.join(", ")).into())
    }
}

fn results(directory: &Path) -> Result<Results> {
    let mut results = Results::new();
    for entry in std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "tap")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            let tap = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            results.insert(name.to_owned(), Counts::read(&tap));
        }
    }
    if results.is_empty() {
        Err(format!("{}: no .tap file", directory.display()).into())
    } else {
        Ok(results)
    }
}

fn table(unit: &str, columns: &[(&str, Results, Results)]) -> String {
    let mut text = format!("| {unit} |");
    for (place, _, _) in columns {
        let _ = write!(text, " {place}: runc | cloison |");
    }
    let _ = writeln!(text, "\n|---|{}", "---|---|".repeat(columns.len()));
    let sides = || columns.iter().flat_map(|(_, runc, ours)| [runc, ours]);
    let files: BTreeSet<&String> = sides().flat_map(BTreeMap::keys).collect();
    let mut all = vec![Counts::default(); columns.len() * 2];
    for file in files {
        let _ = write!(text, "| {file} |");
        for (sum, side) in all.iter_mut().zip(sides()) {
            let counts = side.get(file);
            sum.add(counts.copied().unwrap_or_default());
            let _ = write!(text, " {} |", counts.map_or("–".to_owned(), |counts| counts.cell()));
        }
        text.push('\n');
    }
    text.push_str("| all |");
    for sum in all {
        let _ = write!(text, " {} |", sum.cell());
    }
    text.push('\n');
    text
}

/// Files of which runc passes more, where both were run.
fn worse(columns: &[(&str, Results, Results)]) -> Vec<String> {
    let mut files = BTreeSet::new();
    for (_, runc, ours) in columns {
        for (file, theirs) in runc {
            if ours.get(file).is_some_and(|own| own.failed > theirs.failed || own.passed < theirs.passed) {
                files.insert(file.clone());
            }
        }
    }
    files.into_iter().collect()
}

/// Whether a row of the tables begins with the file, alone or among others.
fn has_reason(reasons: &str, file: &str) -> bool {
    let rows = reasons.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    rows.flat_map(|first| first.split(", ")).any(|name| name == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_planned_and_not_told_has_failed() {
        let counts = |passed, failed, skipped| Counts { passed, failed, skipped };
        assert_eq!(Counts::read("1..3\nok 1 a\nok 2 b # skip no c\nnot ok 3 d\n# not ok\n"), counts(1, 1, 1));
        assert_eq!(Counts::read("1..3\nok 1 a in 5ms\n"), counts(1, 2, 0));
        assert_eq!(Counts::read("TAP version 13\n  ---\n1..0\n# exit 0\n"), counts(0, 1, 0));
        assert_eq!(Counts::read("ok 1 a\n1..1\n# exit 2\n"), counts(1, 1, 0));
        assert_eq!(Counts::read("ok 1 # SKIP why\n1..1\n# exit 0\n"), counts(0, 0, 1));
    }

    #[test]
    fn a_difference_wants_a_reason() {
        let side = |passed, failed| {
            let counts = Counts { passed, failed, skipped: 0 };
            Results::from([("tty".to_owned(), counts), ("exec".to_owned(), Counts::default())])
        };
        let columns = [("here", side(5, 0), side(4, 1))];
        assert_eq!(worse(&columns), ["tty"]);
        assert!(has_reason("\n| run, tty | a race |\n", "tty") && !has_reason("\n| ttys | x |\n", "tty"));
        let text = table("file", &columns);
        assert!(text.contains("| tty | 5 | 4, **1 failed** |\n"), "{text}");
        assert!(text.ends_with("| all | 5 | 4, **1 failed** |\n"), "{text}");
    }
}
