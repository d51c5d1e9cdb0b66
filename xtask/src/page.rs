//! Tables that a tool writes into a page of the documentation.

use crate::{Result, build};

/// Puts a table between two lines of a page, which is named by its path in the checkout.
///
/// # Errors
/// When the page cannot be read or written, or has no such lines.
pub(crate) fn put(page: &str, marks: [&str; 2], table: &str) -> Result<()> {
    let (text, begin, end) = find(page, marks)?;
    Ok(std::fs::write(build::root().join(page), format!("{}\n{table}{}", &text[..begin], &text[end..]))?)
}

/// What stands between two lines of a page.
///
/// # Errors
/// When the page cannot be read, or has no such lines.
pub(crate) fn get(page: &str, marks: [&str; 2]) -> Result<String> {
    let (text, begin, end) = find(page, marks)?;
    Ok(text[begin..end].to_owned())
}

/// The page, and where the text between two of its lines begins and ends.
fn find(page: &str, marks: [&str; 2]) -> Result<(String, usize, usize)> {
    let text =
        std::fs::read_to_string(build::root().join(page)).map_err(|error| format!("{page}: {error}"))?;
    match marks.map(|mark| text.find(mark)) {
        [Some(begin), Some(end)] => Ok((text, begin + marks[0].len(), end)),
        _ => Err(format!("{page} has no place for the table").into()),
    }
}
