//! The name of a container.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The longest id in bytes. File systems stop at 255 for one name; this bound only keeps messages short.
const MAX_LENGTH: usize = 1024;

/// A container's id: ASCII letters, digits, `_`, `+`, `-` and `.`, and neither `.` nor `..`.
///
/// It names a directory below the state root, so a value of this type can be used as one path component
/// without further thought.
///
/// ```
/// use cloison::id::ContainerId;
///
/// let id: ContainerId = "web-1".parse()?;
/// assert_eq!(id.as_str(), "web-1");
/// assert!("../etc".parse::<ContainerId>().is_err());
/// # Ok::<(), cloison::id::InvalidId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

/// Why a text is not a container id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing was given.
    #[error("container id cannot be empty")]
    Empty,
    /// The id is longer than 1024 bytes.
    #[error("invalid container ID format: {length} bytes are too many, at most {MAX_LENGTH} are allowed")]
    TooLong {
        /// The length in bytes.
        length: usize,
    },
    /// The id is `.` or `..`, which name other directories.
    #[error("invalid container ID format: {0:?} is not a name")]
    Dots(String),
    /// A character is outside of letters, digits and `_+-.`.
    #[error(
        "invalid container ID format: {id:?} contains {character:?}, only a-z A-Z 0-9 _ + - . are allowed"
    )]
    Character {
        /// The id, whole.
        id: String,
        /// The first character that is not allowed.
        character: char,
    },
}

impl ContainerId {
    /// Parses an id; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(InvalidId::TooLong { length: text.len() });
        }
        if text == "." || text == ".." {
            return Err(InvalidId::Dots(text.to_owned()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
        match text.chars().find(|&c| !allowed(c)) {
            None => Ok(Self(text.to_owned())),
            Some(character) => Err(InvalidId::Character { id: text.to_owned(), character }),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for ContainerId {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        ContainerId::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn letters_digits_and_four_signs_make_an_id() {
        for text in ["a", "0", "Web_1+2-3.4", "...", ".hidden", "-dash", &"x".repeat(1024)] {
            assert_eq!(ContainerId::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn empty_id_is_refused() {
        assert_eq!(message(""), "container id cannot be empty");
    }

    #[test]
    fn paths_spaces_and_letters_of_other_scripts_are_refused_by_name() {
        for (text, character) in
            [("a/b", '/'), ("../x", '/'), ("a b", ' '), ("é", 'é'), ("a\0", '\0'), ("a\n", '\n')]
        {
            assert_eq!(
                ContainerId::parse(text),
                Err(InvalidId::Character { id: text.to_owned(), character }),
                "{text:?}"
            );
            assert!(message(text).contains("invalid container ID format"));
        }
    }

    #[test]
    fn the_two_directory_names_are_refused() {
        assert!(message(".").contains("invalid container ID format"));
        assert!(message("..").contains("invalid container ID format"));
    }

    #[test]
    fn one_character_more_than_the_limit_is_refused() {
        assert_eq!(ContainerId::parse(&"x".repeat(1025)), Err(InvalidId::TooLong { length: 1025 }));
        assert!(message(&"x".repeat(1025)).contains("invalid container ID format"));
    }
}
