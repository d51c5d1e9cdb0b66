//! `linux.cgroupsPath`, cleaned of everything that could lead out of the place it may name.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where a container's cgroup is asked to be, from `linux.cgroupsPath` (runtime-spec, config-linux, "Cgroups Path").
///
/// `..` is resolved by its letters and stops at the top, so the path never leads out of where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupPath {
    /// Counted from the root of each hierarchy, as far as it is mounted.
    Absolute(PathBuf),
    /// Counted from the runtime's own cgroup on v1, and from the parent of that on v2, where a cgroup that holds
    /// the runtime's process cannot hand controllers down.
    Relative(PathBuf),
}

impl CgroupPath {
    /// Cleans `cgroups_path`; an absent or empty one means the container's id, relative.
    ///
    /// # Errors
    /// [`Error::NotAPlace`] when nothing is left of the path but its start, [`Error::BadCharacter`] when it holds a
    /// NUL byte or a line break.
    pub fn new(cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        let given = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id);
        if given.contains(['\0', '\n']) {
            return Err(Error::BadCharacter(given.to_owned()));
        }
        let below = clean(given);
        if below.as_os_str().is_empty() {
            return Err(Error::NotAPlace(given.to_owned()));
        }
        Ok(if given.starts_with('/') { Self::Absolute(below) } else { Self::Relative(below) })
    }

    /// The cleaned path, without a leading `/`.
    #[must_use]
    pub fn below(&self) -> &Path {
        match self {
            Self::Absolute(path) | Self::Relative(path) => path,
        }
    }

    /// Whether the runtime's own cgroup has to be known to find the place.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        matches!(self, Self::Relative(_))
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = if self.is_relative() { "" } else { "/" };
        write!(f, "{start}{}", self.below().display())
    }
}

/// `path` without `.`, empty and `..` components, relative to its start.
pub(crate) fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                clean.pop();
            }
            name => clean.push(name),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(given: &str) -> String {
        CgroupPath::new(Some(given), "id").unwrap().to_string()
    }

    #[test]
    fn an_absent_or_empty_path_is_the_id_relative() {
        assert_eq!(CgroupPath::new(None, "box").unwrap(), CgroupPath::Relative("box".into()));
        assert_eq!(CgroupPath::new(Some(""), "box").unwrap(), CgroupPath::Relative("box".into()));
    }

    #[test]
    fn dots_never_lead_out_of_the_start() {
        assert_eq!(path("../../../esc/x"), "esc/x");
        assert_eq!(path("/../../abs/../x"), "/x");
        assert_eq!(path("a/../../../b/./c//d/"), "b/c/d");
    }

    #[test]
    fn absolute_and_relative_are_told_apart() {
        assert!(!CgroupPath::new(Some("/kubepods/pod1/c1"), "id").unwrap().is_relative());
        assert!(CgroupPath::new(Some("kubepods/pod1/c1"), "id").unwrap().is_relative());
    }

    #[test]
    fn a_path_that_names_no_cgroup_of_its_own_is_refused() {
        for given in ["/", ".", "//", "a/..", "/..", "./"] {
            let error = CgroupPath::new(Some(given), "id").unwrap_err();
            assert!(matches!(error, Error::NotAPlace(ref path) if path == given), "{given}: {error}");
        }
    }

    #[test]
    fn nul_and_line_break_are_refused() {
        for given in ["a\0b", "/a\nb"] {
            assert!(matches!(CgroupPath::new(Some(given), "id"), Err(Error::BadCharacter(_))));
        }
    }
}
