//! Whether the tests of known holes can fail: the runtime is built without each guard in turn, and the tests that hold it must notice.
//!
//! This works on a copy of the sources below `target`, and leaves the checkout alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{Result, build, integration};

mod list;

/// A guard, how it is taken out, and the tests that must fail then.
struct Guard {
    /// What it guards against.
    hole: &'static str,
    /// The changes that take it out.
    without: &'static [Change],
    /// `file::test`, of the integration tests.
    tests: &'static [&'static str],
}

/// A change to one file: `old` stands in it exactly once.
struct Change {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

/// Takes out each guard that one of the filters is part of (all of them without a filter), and runs its tests.
///
/// # Errors
/// When a guard is not where the list says, the runtime cannot be built without it, or a test passes without it. A test that says that it
/// cannot run here is no error, and is told.
pub(crate) fn guards(filters: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let copy = Copy::new()?;
    let asked = |guard: &&Guard| filters.is_empty() || filters.iter().any(|part| guard.hole.contains(part));
    let (mut noticed, mut unnoticed, mut untried) = (0, Vec::new(), Vec::new());
    for guard in list::GUARDS.iter().filter(asked) {
        println!("without the guard against {}", guard.hole);
        let runtime = copy.build_without(guard)?;
        for test in guard.tests {
            match ending(test, &runtime)? {
                Ending::Passed => {
                    println!("  PASSED: {test}");
                    unnoticed.push(*test);
                }
                Ending::Failed => {
                    println!("  fails, as it must: {test}");
                    noticed += 1;
                }
                Ending::Skipped(why) => {
                    println!("  not tried: {why}");
                    untried.push(*test);
                }
            }
        }
    }
    println!(
        "{noticed} tests have noticed, {} have not, {} cannot run here, {:.0} s",
        unnoticed.len(),
        untried.len(),
        begun.elapsed().as_secs_f32()
    );
    if !unnoticed.is_empty() {
        return Err(format!("tests that do not miss their guard: {}", unnoticed.join(", ")).into());
    }
    if noticed + untried.len() == 0 { Err("there is no such guard".into()) } else { Ok(()) }
}

/// A copy of the checkout's sources, to build changed runtimes in.
struct Copy {
    original: PathBuf,
    directory: PathBuf,
}

impl Copy {
    fn new() -> Result<Self> {
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in the workspace")?;
        let directory = original.join("target/guards");
        let copy = Self { original: original.to_owned(), directory };
        let files = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(original)
            .output()?;
        let files = String::from_utf8(files.stdout)?;
        let files: BTreeSet<&str> = files.split_terminator('\0').collect();
        for file in files.into_iter().filter(|file| original.join(file).is_file()) {
            copy.bring(file)?;
        }
        Ok(copy)
    }

    /// Files that are the same keep their times, so that nothing is built twice.
    fn bring(&self, file: &str) -> Result<()> {
        let text = fs::read(self.original.join(file))?;
        self.write(file, &text)
    }

    fn write(&self, file: &str, text: &[u8]) -> Result<()> {
        let path = self.directory.join(file);
        if fs::read(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        fs::create_dir_all(path.parent().ok_or("a file lies in a directory")?)?;
        Ok(fs::write(path, text)?)
    }

    /// The path of a runtime without the guard.
    fn build_without(&self, guard: &Guard) -> Result<PathBuf> {
        for change in guard.without {
            let text = fs::read_to_string(self.directory.join(change.file))?;
            if text.matches(change.old).count() != 1 {
                let what = format!("{}: this must stand there once:\n{}", change.file, change.old);
                self.restore(guard)?;
                return Err(what.into());
            }
            self.write(change.file, text.replace(change.old, change.new).as_bytes())?;
        }
        let built = self.build();
        self.restore(guard)?;
        let built = built?;
        // The next build takes its place. Its name is the runtime's: tests look for that.
        let kept = self.directory.join("target/unguarded/cloison");
        fs::create_dir_all(self.directory.join("target/unguarded"))?;
        fs::copy(built, &kept)?;
        Ok(kept)
    }

    fn restore(&self, guard: &Guard) -> Result<()> {
        guard.without.iter().try_for_each(|change| self.bring(change.file))
    }

    fn build(&self) -> Result<PathBuf> {
        let mut cargo = build::cargo();
        cargo.args(["build", "--quiet", "--package", "cloison-cli", "--message-format", "json"]);
        // What is not used any more without the guard is no news. The flags of the workspace go with it.
        cargo.args(["--config", "build.rustflags = [\"-Ctarget-feature=+crt-static\", \"-Awarnings\"]"]);
        cargo.current_dir(&self.directory).env("CARGO_TARGET_DIR", self.directory.join("target"));
        let output = cargo.stderr(Stdio::inherit()).output()?;
        let messages = String::from_utf8(output.stdout)?;
        if !output.status.success() {
            return Err(format!("it cannot be built:\n{messages}").into());
        }
        build::executable(&messages)
    }
}

/// How a test ended.
enum Ending {
    Passed,
    Failed,
    /// It says what the machine lacks.
    Skipped(String),
}

/// Runs one test on a runtime.
fn ending(test: &str, runtime: &Path) -> Result<Ending> {
    let (file, name) = test.split_once("::").ok_or("a test is named file::test")?;
    let program = integration::program(file)?;
    let output = integration::run(&program, name, &[format!("CLOISON_BIN={}", runtime.display())])?;
    let said = String::from_utf8_lossy(&output.stdout);
    if let Some(why) = said.lines().find_map(|line| line.split_once("skipped: ")) {
        return Ok(Ending::Skipped(why.1.to_owned()));
    }
    Ok(if output.status.success() { Ending::Passed } else { Ending::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_stands_where_the_list_says() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for guard in list::GUARDS {
            for change in guard.without {
                let text = fs::read_to_string(checkout.join(change.file)).expect(change.file);
                let found = text.matches(change.old).count();
                assert_eq!(found, 1, "{}, {}:\n{}", guard.hole, change.file, change.old);
            }
        }
    }

    #[test]
    fn each_test_of_a_guard_is_there() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/tests");
        for test in list::GUARDS.iter().flat_map(|guard| guard.tests) {
            let (file, name) = test.split_once("::").expect("file::test");
            let text = fs::read_to_string(tests.join(file).with_extension("rs")).expect(file);
            assert!(text.contains(&format!("fn {name}()")), "{test}");
        }
    }
}
