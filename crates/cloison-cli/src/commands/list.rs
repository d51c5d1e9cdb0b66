//! `cloison list`

use std::iter;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use cloison::lifecycle::{self, Listing, Runtime, StateReport};
use cloison::state;

use super::print;
use crate::error::Error;
use crate::report::one_line;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Form of the list
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    format: Format,
    /// Print the names only
    #[arg(short, long)]
    quiet: bool,
}

/// The form of the list.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Columns for people.
    #[value(help = None)]
    Table,
    /// One JSON array.
    #[value(help = None)]
    Json,
}

impl List {
    /// Prints the list. What cannot be listed is logged, and does not keep the others from being listed. A default root that is not
    /// there yet (`root_is_given` is false) is an empty list.
    pub(crate) fn run(&self, runtime: &Runtime, root_is_given: bool) -> Result<ExitCode, Error> {
        let listing = match lifecycle::list(runtime) {
            Err(lifecycle::Error::State(state::Error::NoRoot { .. })) if !root_is_given => Listing::default(),
            other => other?,
        };
        for (name, error) in &listing.broken {
            log::warn!("cannot list {}: {}", name.display(), one_line(error));
        }
        let text = match self.format {
            _ if self.quiet => names(&listing.containers),
            Format::Json => serde_json::to_string(&listing.containers)? + "\n",
            Format::Table => table(&listing.containers.iter().map(row).collect::<Vec<_>>()),
        };
        print(text.as_bytes())
    }
}

fn names(containers: &[StateReport]) -> String {
    let mut text = String::new();
    for container in containers {
        text.push_str(&container.id);
        text.push('\n');
    }
    text
}

fn row(container: &StateReport) -> [String; COLUMNS] {
    [
        container.id.clone(),
        container.pid.to_string(),
        container.status.to_string(),
        container.bundle.clone(),
        container.created.to_string(),
        container.owner.clone(),
    ]
}

const COLUMNS: usize = 6;
const HEADINGS: [&str; COLUMNS] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// Columns filled up with blanks, as wide as those of other runtimes: twelve characters, or three more than the widest cell.
/// The last one is not filled up.
fn table(rows: &[[String; COLUMNS]]) -> String {
    const LEAST: usize = 12;
    const GAP: usize = 3;
    let rows: Vec<_> = iter::once(HEADINGS.map(str::to_owned))
        .chain(rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))))
        .collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count() + GAP).max().unwrap_or(0).max(LEAST)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row[..COLUMNS - 1].iter().zip(widths) {
            text.push_str(cell);
            text.extend(iter::repeat_n(' ', width - cell.chars().count()));
        }
        text.push_str(&row[COLUMNS - 1]);
        text.push('\n');
    }
    text
}

/// A cell without what would move the cursor: a bundle's path can hold any character.
fn printable(cell: &str) -> String {
    let escape = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    cell.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(bundle: &str) -> [String; COLUMNS] {
        ["c1", "12", "running", bundle, "2026-08-22T10:00:00Z", "root"].map(str::to_owned)
    }

    #[test]
    fn empty_list_has_headings_twelve_characters_apart() {
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    }

    #[test]
    fn column_grows_with_its_widest_cell() {
        let expected = "\
ID          PID         STATUS      BUNDLE         CREATED                OWNER
c1          12          running     /some/bundle   2026-08-22T10:00:00Z   root
c1          12          running     /b             2026-08-22T10:00:00Z   root
";
        assert_eq!(table(&[row_of("/some/bundle"), row_of("/b")]), expected);
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let text = table(&[row_of("/b\nc2 \x1b[A")]);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("/b\\nc2 \\u{1b}[A   "), "{text}");
    }
}
