//! Whether the page about runtime-spec names tests that are there.

use std::path::{Path, PathBuf};

use crate::{Result, build};

/// What is looked through.
const PAGE: &str = "docs/conformance/runtime-spec.md";

/// `cargo xtask conformance`.
///
/// # Errors
/// Tells every test that the page names and that is not in the sources, and every row with neither a test nor a reason.
pub(crate) fn conformance() -> Result<()> {
    let page = std::fs::read_to_string(build::root().join(PAGE))?;
    let (rows, problems) = look_through(&page, &|file| std::fs::read_to_string(file).ok());
    if problems.is_empty() && rows > 0 {
        println!("{PAGE}: {rows} rows, every test that they name is there");
        Ok(())
    } else {
        Err(format!("{PAGE}: {rows} rows\n{}", problems.join("\n")).into())
    }
}

/// How many rows the page has, and what is wrong with them.
fn look_through(page: &str, read: &dyn Fn(&Path) -> Option<String>) -> (usize, Vec<String>) {
    let (mut rows, mut problems) = (0, Vec::new());
    for (index, line) in page.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let &[level, what, tests, why] = cells.as_slice() else { continue };
        if level == "level" || level.starts_with("---") {
            continue;
        }
        rows += 1;
        let mut wrong = |problem: String| problems.push(format!("line {}: {problem}", index + 1));
        if what.is_empty() || (tests.is_empty() && why.is_empty()) {
            wrong(format!("neither a test nor a reason: {what}"));
        }
        // What stands between two marks of code.
        for name in tests.split('`').skip(1).step_by(2) {
            if !is_there(name, read) {
                wrong(format!("no such test: {name}"));
            }
        }
    }
    (rows, problems)
}

/// Whether a test is in the sources: `file::test` of the integration tests, `crate/path::test` beside the code.
fn is_there(name: &str, read: &dyn Fn(&Path) -> Option<String>) -> bool {
    let Some((file, test)) = name.split_once("::") else { return false };
    let root = build::root();
    let places: Vec<PathBuf> = match file.split_once('/') {
        None => vec![root.join("tests/tests").join(file)],
        Some((package, path)) => {
            let package = root.join("crates").join(package);
            vec![package.join("src").join(path), package.join(path)]
        }
    };
    places
        .iter()
        .flat_map(|place| [place.with_extension("rs"), place.join("mod.rs")])
        .filter_map(|file| read(&file))
        .any(|source| has_test(&source, test))
}

fn has_test(source: &str, test: &str) -> bool {
    let head = format!("fn {test}(");
    let mut marked = false;
    source.lines().map(str::trim).any(|line| {
        let found = marked && line.starts_with(&head);
        marked = line == "#[test]" || (marked && line.starts_with("#["));
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_the_page_names_is_in_the_sources() {
        conformance().unwrap();
    }

    #[test]
    fn a_test_that_has_gone_is_told() {
        let read = |file: &Path| {
            file.ends_with("tests/tests/mounts.rs")
                .then(|| "#[test]\nfn there() {}\nfn helper() {}\n".to_owned())
        };
        let page = "| level | what | held by | why |\n|---|---|---|---|\n\
            | MUST | a | `mounts::there` | |\n\
            | MUST | b | `mounts::there`<br>`mounts::gone` `mounts::helper` `cloison/x::there` | |\n\
            | MUST | c | | as `runc` |\n\
            | MUST | d | | |\n";
        let (rows, problems) = look_through(page, &read);
        assert_eq!(rows, 4);
        let expected = [
            "line 4: no such test: mounts::gone",
            "line 4: no such test: mounts::helper",
            "line 4: no such test: cloison/x::there",
            "line 6: neither a test nor a reason: d",
        ];
        assert_eq!(problems, expected);
    }
}
