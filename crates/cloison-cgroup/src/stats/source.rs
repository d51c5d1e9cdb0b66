//! The files of one cgroup directory, read to a bound.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};

use super::Limit;
use crate::error::{Error, Result};
use crate::files::{is_gone, open_directory};

/// How many bytes of a file are read. The longest files have a line for each processor or each block device.
const MAX_FILE: usize = 4 << 20;

/// A directory whose files are read by name.
#[derive(Debug)]
pub(super) struct Source {
    directory: OwnedFd,
    path: PathBuf,
}

impl Source {
    /// Opens a cgroup's directory; none when it is gone.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        match open_directory(path) {
            Ok(directory) => Ok(Some(Self { directory, path: path.to_owned() })),
            Err(errno) if is_gone(errno) => Ok(None),
            Err(source) => Err(Error::Open { path: path.to_owned(), source }),
        }
    }

    /// All of a file; none when the kernel has no such file, or has turned it off.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.read(name) {
            Ok(text) => Ok(Some(text)),
            // EOPNOTSUPP: pressure that was turned off at boot. EISDIR: a container may make cgroups, and so choose names in
            // this directory that the kernel has not taken.
            Err(errno) if is_gone(errno) || matches!(errno, Errno::OPNOTSUPP | Errno::ISDIR) => Ok(None),
            Err(source) => Err(Error::Read { path: self.path.join(name), source }),
        }
    }

    fn read(&self, name: &str) -> Result<String, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::empty())?;
        let mut bytes = Vec::with_capacity(4096);
        loop {
            if bytes.len() > MAX_FILE {
                return Err(Errno::FBIG);
            }
            bytes.reserve(4096);
            match read(&file, spare_capacity(&mut bytes)) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(match String::from_utf8_lossy(&bytes) {
            Cow::Borrowed(_) => String::from_utf8(bytes).unwrap_or_default(),
            Cow::Owned(text) => text,
        })
    }

    /// A file of one number; none when there is no such file, or no number in it.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.text(name)?.and_then(|text| self.parsed(name, text.trim_ascii(), number)))
    }

    /// A file of one number that may be negative.
    pub(super) fn signed(&self, name: &str) -> Result<Option<i64>> {
        Ok(self.text(name)?.and_then(|text| self.parsed(name, text.trim_ascii(), |text| text.parse().ok())))
    }

    /// A file of one limit: a number, or `max`.
    pub(super) fn limit(&self, name: &str) -> Result<Option<Limit>> {
        Ok(self.number(name)?.map(Limit))
    }

    /// A file of lines that are a name, a space and a number; none when there is no such file.
    pub(super) fn pairs(&self, name: &str) -> Result<Option<Vec<(String, u64)>>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            (!key.is_empty()).then_some(())?;
            Some((key.to_owned(), number(value)?))
        };
        Ok(Some(text.lines().filter_map(|line| self.parsed(name, line, pair)).collect()))
    }

    /// What `parse` makes of a piece of a file; what it makes nothing of is told at debug.
    pub(super) fn parsed<'a, T>(
        &self,
        name: &str,
        piece: &'a str,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(piece);
        if parsed.is_none() {
            let path = self.path.join(name);
            log::debug!("{}: {:?} is not what the kernel writes; left out", path.display(), shortened(piece));
        }
        parsed
    }
}

/// A number as the kernel writes it: `max` is the largest one, and one that has sunk below zero, as sums over processors may,
/// counts as 0.
pub(super) fn number(text: &str) -> Option<u64> {
    if text == "max" {
        return Some(u64::MAX);
    }
    match text.strip_prefix('-') {
        Some(digits) => digits.parse::<u64>().ok().map(|_| 0),
        None => text.parse().ok(),
    }
}

/// The value of a name in the lines of a file.
pub(super) fn value_of(pairs: &[(String, u64)], name: &str) -> Option<u64> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
}

fn shortened(piece: &str) -> &str {
    const LONGEST: usize = 80;
    match piece.char_indices().nth(LONGEST) {
        Some((at, _)) => &piece[..at],
        None => piece,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn numbers_are_read_to_the_last_bit_and_no_further() {
        let table = [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("max", Some(u64::MAX)),
            ("-4096", Some(0)),
            ("18446744073709551616", None),
            ("99999999999999999999999999", None),
            ("1.5", None),
            ("0x10", None),
            ("", None),
            ("-", None),
            ("-x", None),
        ];
        for (text, expected) in table {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_of_another_form_are_left_out_and_the_others_are_not() {
        let tree = Tree::new(&[("f", "a 1\n\nnonsense\nb two\n 3\nc 4 5\nd -7\ne 9")]);
        let source = tree.source();
        let expected = [("a".to_owned(), 1), ("d".to_owned(), 0), ("e".to_owned(), 9)];
        assert_eq!(source.pairs("f").unwrap().unwrap(), expected);
        assert_eq!(source.pairs("g").unwrap(), None);
        assert_eq!(source.number("f").unwrap(), None);
    }

    #[test]
    fn bytes_that_are_no_text_and_a_directory_in_place_of_a_file_harm_nothing() {
        let tree = Tree::new(&[]);
        std::fs::write(tree.path().join("bytes"), b"a 1\n\xff\xfe 2\nb 3\n").unwrap();
        std::fs::create_dir(tree.path().join("memory.current")).unwrap();
        let source = tree.source();
        assert_eq!(source.pairs("bytes").unwrap().unwrap().len(), 3);
        assert_eq!(source.number("memory.current").unwrap(), None);
    }

    #[test]
    fn an_endless_file_is_refused_and_a_pipe_is_not_waited_for() {
        let tree = Tree::new(&[]);
        std::fs::File::create(tree.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
        let error = tree.source().text("huge").unwrap_err();
        assert!(error.to_string().ends_with("huge") && error.errno() == Some(Errno::FBIG), "{error}");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, tree.path().join("pipe"), rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        assert_eq!(tree.source().number("pipe").unwrap(), None);
    }
}
