//! By which name the program was called.
//!
//! Where it stands in the place of `runc` (`cargo xtask install --as-runc`), it is called by that name, by people and programs that know what
//! `runc` says. So it tells its help, its version and its errors in that form; what it does is the same by any name.

use std::ffi::OsStr;
use std::path::Path;

/// The name that stands before what is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Name {
    /// Its own.
    #[default]
    Cloison,
    /// That of the runtime in whose place it stands.
    Runc,
}

impl Name {
    /// The name by the program's first argument; any that is not known is the program's own.
    pub(crate) fn of(argument: Option<&OsStr>) -> Self {
        let file = argument.map(Path::new).and_then(Path::file_name);
        if file.is_some_and(|file| file == "runc") { Self::Runc } else { Self::Cloison }
    }

    /// The word itself.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cloison => "cloison",
            Self::Runc => "runc",
        }
    }

    /// What the program is, in the first line of its help. For tests of runtimes the words are those of `runc`; what stands behind them says
    /// who speaks.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Cloison => "run containers as the Open Container Initiative describes them",
            Self::Runc => {
                concat!("Open Container Initiative runtime (cloison ", env!("CARGO_PKG_VERSION"), ")")
            }
        }
    }

    /// What follows the name in the answer to `--version`. Engines read the first line and want a version of the form of <https://semver.org>,
    /// in which what follows a plus sign says who has built it.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Cloison => include_str!(concat!(env!("OUT_DIR"), "/version.txt")),
            Self::Runc => include_str!(concat!(env!("OUT_DIR"), "/version-as-runc.txt")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_name_counts_and_nothing_around_it() {
        let of = |argument: &str| Name::of(Some(OsStr::new(argument)));
        assert_eq!([of("runc"), of("/usr/sbin/runc"), of("./runc")], [Name::Runc; 3]);
        for other in ["cloison", "/opt/runc/cloison", "runc-1", "crun", ""] {
            assert_eq!(of(other), Name::Cloison, "{other}");
        }
        assert_eq!(Name::of(None), Name::Cloison);
    }
}
