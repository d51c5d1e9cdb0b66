//! The keys that leave an attached terminal.

use std::str::FromStr;

/// A sequence of keys, as Docker and Podman write it: `ctrl-p,ctrl-q`, or single characters; nothing for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// A text that names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key: expected a character, or ctrl- and one of a-z @ [ \\ ] ^ _")]
pub struct UnknownKey(String);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let names = text.split(',').filter(|_| !text.is_empty());
        names.map(key).collect::<Result<_, _>>().map(Self)
    }
}

fn key(name: &str) -> Result<u8, UnknownKey> {
    let unknown = || UnknownKey(name.to_owned());
    match name.strip_prefix("ctrl-").unwrap_or(name).as_bytes() {
        [byte] if name.len() == 1 => Ok(*byte),
        [byte] => match byte.to_ascii_uppercase() {
            byte @ b'@'..=b'_' => Ok(byte - b'@'),
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// What was typed, less the keys that leave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// What goes on to the container.
    pub(crate) bytes: Vec<u8>,
    /// All keys of the sequence came.
    pub(crate) leaves: bool,
}

/// Looks for the keys in what is typed. The beginning of a sequence is held back until it is clear that it is none.
#[derive(Debug)]
pub(crate) struct Watch {
    keys: Vec<u8>,
    seen: usize,
}

impl Watch {
    pub(crate) fn new(keys: &DetachKeys) -> Self {
        Self { keys: keys.0.clone(), seen: 0 }
    }

    /// Never gives more bytes than were typed and held back: at most the length of the sequence more than `typed`.
    pub(crate) fn look(&mut self, typed: &[u8]) -> Typed {
        if self.keys.is_empty() {
            return Typed { bytes: typed.to_vec(), leaves: false };
        }
        let mut bytes = Vec::with_capacity(typed.len() + self.keys.len());
        for byte in typed {
            // What was held back may contain the beginning of another try: ctrl-p ctrl-p ctrl-q leaves, too.
            while self.seen > 0 && self.keys[self.seen] != *byte {
                let rest = self.longest_beginning();
                bytes.extend(&self.keys[..self.seen - rest]);
                self.seen = rest;
            }
            if self.keys[self.seen] == *byte {
                self.seen += 1;
            } else {
                bytes.push(*byte);
            }
            if self.seen == self.keys.len() {
                self.seen = 0;
                return Typed { bytes, leaves: true };
            }
        }
        Typed { bytes, leaves: false }
    }

    /// The longest end of what was seen, but for all of it, that is a beginning of the keys.
    fn longest_beginning(&self) -> usize {
        let seen = &self.keys[..self.seen];
        (0..self.seen).rev().find(|length| seen.ends_with(&self.keys[..*length])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(keys: &str) -> Watch {
        Watch::new(&keys.parse().unwrap())
    }

    fn typed(bytes: &str, leaves: bool) -> Typed {
        Typed { bytes: bytes.into(), leaves }
    }

    #[test]
    fn keys_are_written_as_docker_writes_them() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        assert_eq!("ctrl-@,ctrl-[,ctrl-_,a,ctrl-A".parse(), Ok(DetachKeys(vec![0, 27, 31, b'a', 1])));
        assert_eq!("".parse(), Ok(DetachKeys(Vec::new())));
        for wrong in ["ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-pq"] {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_that_is_not_the_keys_goes_on_in_order() {
        let mut keys = watch("ctrl-p,ctrl-q");
        assert_eq!(keys.look(b"ab"), typed("ab", false));
        assert_eq!(keys.look(b"\x10"), typed("", false), "held back");
        assert_eq!(keys.look(b"x"), typed("\x10x", false));
        assert_eq!(keys.look(b"\x10\x10"), typed("\x10", false));
        assert_eq!(keys.look(b"\x11rest"), typed("", true));
    }

    #[test]
    fn a_try_within_a_try_is_found() {
        let mut keys = watch("a,a,b");
        assert_eq!(keys.look(b"aaab"), typed("a", true));
        let mut keys = watch("a,b,a,c");
        assert_eq!(keys.look(b"xababac"), typed("xab", true));
        assert_eq!(keys.look(b"abab"), typed("ab", false));
        assert_eq!(keys.look(b"z"), typed("abz", false));
    }

    #[test]
    fn without_keys_nothing_leaves() {
        assert_eq!(watch("").look(b"\x10\x11"), typed("\x10\x11", false));
    }
}
