//! Which unit a container is, and in which slice: `cgroupsPath` as runc reads it for systemd
//! ([docs/systemd.md](https://github.com/opencontainers/runc/blob/main/docs/systemd.md) of runc).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const SLICE: &str = ".slice";
/// The longest name of a unit, `UNIT_NAME_MAX` of systemd.
const MAX_NAME: usize = 255;

/// The unit that a container becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name: `cri-containerd-ID.scope`, or a slice's.
    pub name: String,
    /// The slice that it is in; for a slice the one that it wants.
    pub slice: String,
    /// It is one of the user's systemd, and not of the machine's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}

impl Unit {
    /// Reads `slice:prefix:name`: the scope `prefix-name.scope` in `slice`, or, if `name` ends in `.slice`, the slice of that name. An
    /// empty slice is `system.slice`, or `user.slice` of the user's systemd. An absent or empty path is `:cloison:id`.
    ///
    /// # Errors
    /// [`Error::NotAUnit`] for anything that does not have three parts, [`Error::NotASlice`] for a slice that cannot be one,
    /// [`Error::UnitName`] for a name that is none.
    pub fn new(cgroups_path: Option<&str>, id: &str, user: bool) -> Result<Self> {
        let default = format!(":cloison:{id}");
        let path = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(&default);
        let [slice, prefix, name] = path.split(':').collect::<Vec<_>>()[..] else {
            return Err(Error::NotAUnit(path.to_owned()));
        };
        let slice = match slice {
            "" if user => "user.slice",
            "" => "system.slice",
            given => given,
        };
        let name = if name.ends_with(SLICE) { name.to_owned() } else { format!("{prefix}-{name}.scope") };
        // It becomes a part of paths, and of the rule by which we hear of its jobs.
        let wrong = |byte: u8| !(byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte));
        if name.len() > MAX_NAME || name.bytes().any(wrong) {
            return Err(Error::UnitName(name));
        }
        let unit = Self { name, slice: slice.to_owned(), user };
        unit.below()?;
        Ok(unit)
    }

    /// Whether it is a slice, which cannot be given processes, and does not end with its last one.
    #[must_use]
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(SLICE)
    }

    /// Its cgroup, from systemd's own root cgroup on.
    pub(crate) fn below(&self) -> Result<PathBuf> {
        let slice = expand(&self.slice)?;
        // A slice lies where its name says.
        if self.is_slice() { expand(&self.name) } else { Ok(slice.join(&self.name)) }
    }

    /// The path of its object on the bus.
    pub(crate) fn object(&self) -> String {
        let name = self.name.bytes().enumerate().map(|(at, byte)| {
            if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
                char::from(byte).to_string()
            } else {
                format!("_{byte:02x}")
            }
        });
        format!("/org/freedesktop/systemd1/unit/{}", name.collect::<String>())
    }

    /// The interface that the properties of its cgroup are in.
    pub(crate) fn interface(&self) -> &'static str {
        if self.is_slice() { "org.freedesktop.systemd1.Slice" } else { "org.freedesktop.systemd1.Scope" }
    }
}

/// `a-b-c.slice` is `a.slice/a-b.slice/a-b-c.slice`, and `-.slice` is the root.
fn expand(slice: &str) -> Result<PathBuf> {
    let wrong = || Error::NotASlice(slice.to_owned());
    let name = slice.strip_suffix(SLICE).ok_or_else(wrong)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    if name.contains(['/', '\0', '\n']) || slice.len() > MAX_NAME {
        return Err(wrong());
    }
    let mut path = PathBuf::new();
    for (end, part) in name.split('-').scan(0, |end, part| {
        *end += part.len() + 1;
        Some((*end - 1, part))
    }) {
        if part.is_empty() {
            return Err(wrong());
        }
        path.push(format!("{}{SLICE}", &name[..end]));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str) -> (String, String, String) {
        let unit = Unit::new(Some(path), "box", false).unwrap();
        let below = unit.below().unwrap().display().to_string();
        (unit.slice, unit.name, below)
    }

    #[test]
    fn three_parts_are_a_scope_in_a_slice() {
        let (slice, name, below) = look("machine.slice:libpod:1234");
        assert_eq!((slice.as_str(), name.as_str()), ("machine.slice", "libpod-1234.scope"));
        assert_eq!(below, "machine.slice/libpod-1234.scope");
        let (slice, name, below) = look("kubepods-burstable-pod1.slice:cri-containerd:1234");
        assert_eq!(
            (slice.as_str(), name.as_str()),
            ("kubepods-burstable-pod1.slice", "cri-containerd-1234.scope")
        );
        let expected =
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-1234.scope";
        assert_eq!(below, expected);
    }

    #[test]
    fn an_empty_slice_is_the_default_of_whose_systemd_it_is() {
        assert_eq!(look(":cri-containerd:1234").0, "system.slice");
        assert_eq!(Unit::new(Some(":a:b"), "box", true).unwrap().slice, "user.slice");
        assert_eq!(look("-.slice:a:b").2, "a-b.scope");
        assert_eq!(look("::").1, "-.scope", "as runc, which leaves it to systemd to refuse that");
    }

    #[test]
    fn without_a_path_the_id_is_the_name() {
        for path in [None, Some("")] {
            let unit = Unit::new(path, "box", false).unwrap();
            assert_eq!((unit.slice.as_str(), unit.name.as_str()), ("system.slice", "cloison-box.scope"));
        }
    }

    #[test]
    fn a_name_that_is_a_slices_is_a_slice_and_lies_where_it_says() {
        let (slice, name, below) = look("machine.slice:ignored:machine-web.slice");
        assert_eq!((slice.as_str(), name.as_str()), ("machine.slice", "machine-web.slice"));
        assert_eq!(below, "machine.slice/machine-web.slice");
    }

    #[test]
    fn anything_but_three_parts_is_refused_in_the_words_of_runc() {
        for path in ["/a/b", "a.slice", "a.slice:b", "a.slice:b:c:d"] {
            let error = Unit::new(Some(path), "box", false).unwrap_err().to_string();
            let expected = format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn slices_that_cannot_be_are_refused() {
        for slice in
            [".slice", "a", "-a.slice", "a--b.slice", "a-.slice", "a/b.slice", "../x.slice", "--.slice"]
        {
            let error = Unit::new(Some(&format!("{slice}:a:b")), "box", false).unwrap_err().to_string();
            assert_eq!(error, format!("invalid slice name: {slice}"));
        }
        assert!(matches!(Unit::new(Some("a.slice:x:-b.slice"), "box", false), Err(Error::NotASlice(_))));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(300);
        for name in ["../x", "a/b", "a\nb", "a'b", "a b", &long] {
            let result = Unit::new(Some(&format!("a.slice:p:{name}")), "box", false);
            assert!(matches!(result, Err(Error::UnitName(_))), "{name:?}: {result:?}");
        }
    }

    #[test]
    fn objects_have_the_name_in_letters_and_digits() {
        let unit = Unit::new(Some("a.slice:0b:c_1"), "box", false).unwrap();
        assert_eq!(unit.object(), "/org/freedesktop/systemd1/unit/_30b_2dc_5f1_2escope");
    }
}
