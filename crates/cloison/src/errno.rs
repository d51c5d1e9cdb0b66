//! How an errno reads in a message.

use std::fmt;

use cloison_linux::Errno;

/// An errno in the words that engines look for: as strerror(3) has them, beginning in lower case, without a number
/// ("no such file or directory", "permission denied").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text(pub Errno);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = std::io::Error::from(self.0).to_string();
        let text = full.split(" (os error").next().unwrap_or(&full);
        let mut chars = text.chars();
        let first = chars.next();
        let rest = chars.as_str();
        // An abbreviation ("RFS specific error") stays as it is.
        if rest.starts_with(char::is_uppercase) {
            return f.write_str(text);
        }
        first.into_iter().flat_map(char::to_lowercase).try_for_each(|c| fmt::Write::write_char(f, c))?;
        f.write_str(rest)
    }
}

impl std::error::Error for Text {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_the_texts_that_engines_match() {
        assert_eq!(Text(Errno::NOENT).to_string(), "no such file or directory");
        assert_eq!(Text(Errno::ACCESS).to_string(), "permission denied");
        assert_eq!(Text(Errno::PERM).to_string(), "operation not permitted");
        assert_eq!(Text(Errno::ISDIR).to_string(), "is a directory");
    }

    #[test]
    fn abbreviations_keep_their_case() {
        assert_eq!(Text(Errno::from_raw_os_error(73)).to_string(), "RFS specific error");
    }
}
