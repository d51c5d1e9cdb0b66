//! The last result of every cell, as the pages keep it: a run of some cells leaves the rows of the others as they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Cell, Outcome};
use crate::Result;

/// What the two tables tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    rows: Vec<(Cell, Row)>,
    /// What came of a test that has not passed, in which cells: the test's name, and `failed`, or the reason why it was skipped.
    tests: BTreeMap<(String, String), Vec<Cell>>,
}

/// The numbers of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    passed: usize,
    failed: usize,
    skipped: usize,
    seconds: u64,
    /// What was run.
    commit: String,
}

const CELLS: &str = "| kernel | cgroups | who | passed | failed | skipped | seconds | commit |\n|---|---|---|---|---|---|---|---|\n";
const TESTS: &str = "| test | failed, or skipped because | where |\n|---|---|---|\n";
const EVERYWHERE: &str = "everywhere";

impl Record {
    /// Reads the tables that [`rows`](Self::rows) and [`tests`](Self::tests) have written, one behind the other.
    ///
    /// # Errors
    /// With the line that nobody could have written.
    pub(super) fn read(tables: &str) -> Result<Self> {
        let mut record = Self::default();
        let mut tests = Vec::new();
        for line in tables.lines().filter(|line| line.starts_with("| ")) {
            let columns: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            match columns[..] {
                ["kernel" | "test", ..] => {}
                [kernel, layout, who, passed, failed, skipped, seconds, commit] => {
                    let name = format!("{kernel}/{layout}/{who}");
                    let cell = Cell::all().into_iter().find(|cell| cell.name() == name);
                    let row = Row {
                        passed: passed.parse()?,
                        failed: failed.parse()?,
                        skipped: skipped.parse()?,
                        seconds: seconds.parse()?,
                        commit: commit.to_owned(),
                    };
                    record.rows.push((cell.ok_or_else(|| format!("there is no cell {name}"))?, row));
                }
                [test, result, places] => tests.push((test, result, places)),
                _ => return Err(format!("a line of no table: {line}").into()),
            }
        }
        for (test, result, places) in tests {
            let cells =
                record.cells().into_iter().filter(|cell| places.split(", ").any(|place| cell.lies_in(place)));
            record.tests.insert((test.to_owned(), result.replace("\\|", "|")), cells.collect());
        }
        Ok(record)
    }

    fn cells(&self) -> Vec<Cell> {
        self.rows.iter().map(|(cell, _)| *cell).collect()
    }

    /// Takes a result for that of the cell, in the place of an older one.
    pub(super) fn put(&mut self, cell: Cell, outcome: &Outcome, commit: &str) {
        self.rows.retain(|(other, _)| *other != cell);
        self.tests.values_mut().for_each(|cells| cells.retain(|other| *other != cell));
        self.tests.retain(|_, cells| !cells.is_empty());
        let row = Row {
            passed: outcome.passed,
            failed: outcome.failed.len(),
            skipped: outcome.skipped_tests(),
            seconds: outcome.seconds,
            commit: commit.to_owned(),
        };
        self.rows.push((cell, row));
        let order = Cell::all();
        self.rows.sort_by_key(|(cell, _)| order.iter().position(|other| other == cell));
        for failed in &outcome.failed {
            let test = failed.split_once(": ").map_or(failed.as_str(), |(test, _)| test);
            self.tests.entry((test.to_owned(), "failed".to_owned())).or_default().push(cell);
        }
        for skipped in &outcome.skipped {
            let (test, reason) = skipped.split_once(": ").unwrap_or((skipped, "no reason is told"));
            self.tests.entry((test.to_owned(), reason.to_owned())).or_default().push(cell);
        }
    }

    /// The table of cells.
    pub(super) fn rows(&self) -> String {
        let mut text = CELLS.to_owned();
        for (cell, Row { passed, failed, skipped, seconds, commit }) in &self.rows {
            let (kernel, layout, who) = (cell.kernel, cell.layout, cell.who());
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {kernel} | {layout} | {who} | {passed} | {failed} | {skipped} | {seconds} | {commit} |"
            );
        }
        text
    }

    /// The table of tests that have not passed everywhere.
    pub(super) fn tests(&self) -> String {
        let mut text = TESTS.to_owned();
        let all = self.cells();
        for ((test, result), cells) in &self.tests {
            let _ = writeln!(text, "| {test} | {} | {} |", result.replace('|', "\\|"), places(cells, &all));
        }
        text
    }
}

/// Names these cells among all that there are, by few words: `v1, 6.1 rootless` is what has v1, and what an ordinary user does on 6.1.
fn places(cells: &[Cell], all: &[Cell]) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut left = cells.to_vec();
    while let Some(&first) = left.first() {
        let parts = [first.kernel, first.layout, first.who()];
        // The fewer of its words, the more cells: 0 names all, 7 this one alone.
        let masks = [0, 1, 2, 4, 3, 5, 6, 7_u8];
        let name = masks.map(|mask| {
            let words: Vec<&str> =
                (0..3).filter(|part| mask & (1 << part) != 0).map(|part| parts[part]).collect();
            if words.is_empty() { EVERYWHERE.to_owned() } else { words.join(" ") }
        });
        let holds = |name: &&String| all.iter().all(|cell| !cell.lies_in(name) || cells.contains(cell));
        // Of those that name as many, the last one that is looked at has the fewest words.
        let most = name
            .iter()
            .rev()
            .filter(holds)
            .max_by_key(|name| left.iter().filter(|cell| cell.lies_in(name)).count());
        let name = most.cloned().unwrap_or_else(|| parts.join(" "));
        left.retain(|cell| !cell.lies_in(&name) && *cell != first);
        names.push(name);
    }
    names.join(", ")
}

impl Cell {
    /// Whether each of these words is one of its three.
    fn lies_in(self, place: &str) -> bool {
        place == EVERYWHERE
            || place.split(' ').all(|word| [self.kernel, self.layout, self.who()].contains(&word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str) -> Cell {
        Cell::all().into_iter().find(|cell| cell.name() == name).unwrap()
    }

    fn both(record: &Record) -> String {
        record.rows() + &record.tests()
    }

    fn outcome(skipped: &[&str], failed: &[&str]) -> Outcome {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Outcome {
            passed: 7,
            skipped: owned(skipped),
            failed: owned(failed),
            seconds: 9,
            ..Outcome::default()
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut record = Record::default();
        for (number, cell) in Cell::all().into_iter().enumerate() {
            let skipped = format!("many::one: needs {}", cell.kernel);
            let some: &[&str] = if number % 3 == 0 { &[&skipped, "exec::a: a|b: c"] } else { &[&skipped] };
            record.put(
                cell,
                &outcome(some, if number % 7 == 0 { &["x::y: exit status: 101"] } else { &[] }),
                "0123abc",
            );
        }
        let text = both(&record);
        assert_eq!(Record::read(&text).unwrap(), record, "{text}");
        assert_eq!(Record::read("").unwrap(), Record::default());
        assert!(Record::read("| uml | v3 | root | 1 | 0 | 0 | 5 | 0123abc |").is_err(), "no such cell");
    }

    #[test]
    fn a_result_takes_the_place_of_that_cells_alone() {
        let mut record = Record::default();
        record.put(cell("6.1/v1/root"), &outcome(&["exec::a: needs b"], &[]), "1111");
        record.put(cell("uml/v2/root"), &outcome(&["exec::a: needs b"], &["x::y: exit status: 101"]), "2222");
        let text = both(&record);
        assert!(
            text.contains(
                "| uml | v2 | root | 7 | 1 | 1 | 9 | 2222 |\n| 6.1 | v1 | root | 7 | 0 | 1 | 9 | 1111 |"
            ),
            "{text}"
        );
        assert!(text.contains("| exec::a | needs b | everywhere |\n| x::y | failed | uml |"), "{text}");

        let mut record = Record::read(&text).unwrap();
        record.put(cell("uml/v2/root"), &outcome(&["exec::c: needs d"], &[]), "3333");
        let text = both(&record);
        assert!(
            text.contains(
                "| uml | v2 | root | 7 | 0 | 1 | 9 | 3333 |\n| 6.1 | v1 | root | 7 | 0 | 1 | 9 | 1111 |"
            ),
            "{text}"
        );
        assert!(text.contains("| exec::a | needs b | 6.1 |\n| exec::c | needs d | uml |"), "{text}");
        assert!(!text.contains("failed |\n"), "it has passed meanwhile: {text}");
    }

    #[test]
    fn places_are_named_by_what_they_have_in_common() {
        let all = Cell::all();
        let of = |name: &str| all.iter().copied().filter(|cell| cell.lies_in(name)).collect::<Vec<_>>();
        for name in ["everywhere", "rootless", "uml", "v1", "6.1 v1", "6.1 rootless", "uml v2-units root"] {
            assert_eq!(places(&of(name), &all), name);
        }
        let mut both = of("v1");
        both.extend(of("uml rootless"));
        assert_eq!(places(&both, &all), "v1, uml rootless");
        // "rootless" and "root" are words of their own, and so are "v2" and "v2-units".
        assert!(
            !cell("uml/v2-units/rootless").lies_in("root") && !cell("uml/v2-units/rootless").lies_in("v2")
        );
    }
}
