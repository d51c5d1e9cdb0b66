//! Tables that a tool writes into a page of the documentation.

use crate::{Result, build};

/// Puts a table between two lines of a page, which is named by its path in the checkout.
///
/// # Errors
/// When the page cannot be read or written, or has no such lines.
pub(crate) fn put(page: &str, marks: [&str; 2], table: &str) -> Result<()> {
    let path = build::root().join(page);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{page}: {error}"))?;
    let [begin, end] = marks.map(|mark| text.find(mark));
    let (Some(begin), Some(end)) = (begin, end) else {
        return Err(format!("{page} has no place for the table").into());
    };
    let (before, after) = (&text[..begin + marks[0].len()], &text[end..]);
    Ok(std::fs::write(path, format!("{before}\n{table}{after}"))?)
}
