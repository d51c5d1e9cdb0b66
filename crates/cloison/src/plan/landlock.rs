//! Landlock by annotation: what the program may do to files and ports, whoever it is. The schema is in `docs/landlock.md`.

use std::fmt;
use std::path::{Path, PathBuf};

use bitflags::Flags;
use cloison_linux::landlock::{FileRights, NetworkRights, Restricted, Scopes};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::Steps;
use super::action::Action;
use super::labels::Modules;
use crate::spec::{Problem, Spec};

/// The annotation of `config.json`.
pub const ANNOTATION: &str = "org.cloison.landlock";

/// Its place.
const POINTER: &str = "/annotations/org.cloison.landlock";

/// What is restricted, and what is allowed all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// What is taken away everywhere.
    pub restricted: Restricted,
    /// What is given back below each path of the container: absolute, in the order of their names.
    pub paths: Vec<(PathBuf, FileRights)>,
    /// What is given back on each TCP port.
    pub ports: Vec<(u16, NetworkRights)>,
}

/// The annotation's text as it stands.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    paths: Option<Paths>,
    restrict: Option<Vec<String>>,
    bind_tcp: Option<Vec<u16>>,
    connect_tcp: Option<Vec<u16>>,
    #[serde(default)]
    scoped: Vec<String>,
}

/// Paths and the names of rights, each path once.
#[derive(Debug)]
struct Paths(Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of paths, each with a list of rights")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Paths, A::Error> {
                let mut paths: Vec<(String, Vec<String>)> = Vec::new();
                while let Some((path, rights)) = map.next_entry()? {
                    if paths.iter().any(|(known, _)| *known == path) {
                        return Err(A::Error::custom(format_args!("{path:?} is there twice")));
                    }
                    paths.push((path, rights));
                }
                paths.sort_unstable();
                Ok(Paths(paths))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Reads the annotation; none where it is not there.
///
/// # Errors
/// What is no such document, what it names and nobody knows, and what this kernel cannot restrict: nothing is less than was asked for.
pub(super) fn ruleset(spec: &Spec, modules: Modules) -> Result<Option<Ruleset>, Problem> {
    let Some(text) = spec.annotations.get(ANNOTATION) else { return Ok(None) };
    let problem = |message| Problem { pointer: POINTER.to_owned(), message };
    let ruleset = Ruleset::parse(text).map_err(problem)?;
    ruleset.check(modules.landlock).map_err(problem)?;
    Ok(Some(ruleset))
}

/// The last step before the launch, and of those the only one that the program's own calls are under.
pub(super) fn restrict(ruleset: Option<Ruleset>, steps: &mut Steps<Action>) {
    if let Some(ruleset) = ruleset {
        steps.push(Action::Landlock(Box::new(ruleset)), POINTER);
    }
}

impl Ruleset {
    /// Reads the text of the annotation.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document =
            serde_json::from_str(text).map_err(|error| format!("not as docs/landlock.md has it: {error}"))?;
        let mut restricted = Restricted::default();
        if document.paths.is_some() || document.restrict.is_some() {
            restricted.files = match &document.restrict {
                Some(names) => rights(names).map_err(|error| format!("restrict: {error}"))?,
                None => FileRights::all(),
            };
        }
        for name in &document.scoped {
            restricted.scopes |= named(name).ok_or_else(|| unknown::<Scopes>("scoped", name, &[]))?;
        }
        let mut paths = Vec::new();
        for (path, names) in document.paths.map(|Paths(paths)| paths).unwrap_or_default() {
            if !path.starts_with('/') || path.contains('\0') {
                return Err(format!("paths: {path:?} is no absolute path"));
            }
            let rights = rights(&names).map_err(|error| format!("paths, {path:?}: {error}"))?;
            // What is not restricted is allowed without a rule.
            paths.push((PathBuf::from(path), rights & restricted.files));
        }
        let mut ports = Vec::new();
        let lists = [
            (document.bind_tcp, NetworkRights::BIND_TCP),
            (document.connect_tcp, NetworkRights::CONNECT_TCP),
        ];
        for (list, right) in lists {
            let Some(list) = list else { continue };
            restricted.network |= right;
            ports.extend(list.into_iter().map(|port| (port, right)));
        }
        if restricted == Restricted::default() {
            return Err("it restricts nothing".to_owned());
        }
        Ok(Self { restricted, paths, ports })
    }

    /// Whether an interface of this version can restrict all that is to be.
    fn check(&self, abi: u32) -> Result<(), String> {
        if abi == 0 {
            return Err("Landlock is not supported by this kernel, or not enabled (lsm=)".to_owned());
        }
        let Restricted { files, network, scopes } = self.restricted;
        let files =
            files.iter().filter(|right| right.since() > abi).map(|right| (show(right), right.since()));
        let network = network.iter().filter(|_| abi < 4).map(|right| (show(right), 4));
        let scopes = scopes.iter().filter(|_| abi < 6).map(|scope| (show(scope), 6));
        let lacking: Vec<_> = files.chain(network).chain(scopes).collect();
        let Some(newest) = lacking.iter().map(|(_, since)| *since).max() else { return Ok(()) };
        let names: Vec<_> = lacking.into_iter().map(|(name, _)| name).collect();
        Err(format!(
            "this kernel cannot restrict {}: that takes version {newest} of Landlock (Linux {}), and here is version {abi}; \
             \"restrict\" names what is to be restricted, all if it is absent",
            names.join(", "),
            linux(newest)
        ))
    }
}

/// The kernel that has a version of the interface: landlock(7).
fn linux(abi: u32) -> &'static str {
    match abi {
        ..=1 => "5.13",
        2 => "5.19",
        3 => "6.2",
        4 => "6.7",
        5 => "6.10",
        _ => "6.12",
    }
}

/// Names of several rights.
const GROUPS: [(&str, FileRights); 2] = [
    ("read", FileRights::READ_FILE.union(FileRights::READ_DIR)),
    (
        "write",
        FileRights::WRITE_FILE
            .union(FileRights::TRUNCATE)
            .union(FileRights::REMOVE_DIR)
            .union(FileRights::REMOVE_FILE)
            .union(FileRights::MAKE_DIR)
            .union(FileRights::MAKE_REG)
            .union(FileRights::MAKE_SYM)
            .union(FileRights::MAKE_SOCK)
            .union(FileRights::MAKE_FIFO)
            .union(FileRights::REFER),
    ),
];

fn rights(names: &[String]) -> Result<FileRights, String> {
    let mut rights = FileRights::empty();
    for name in names {
        let group = GROUPS.iter().find(|(group, _)| group == name).map(|(_, rights)| *rights);
        let groups = GROUPS.map(|(group, _)| group);
        rights |=
            group.or_else(|| named(name)).ok_or_else(|| unknown::<FileRights>("rights", name, &groups))?;
    }
    if rights.is_empty() { Err("names no right".to_owned()) } else { Ok(rights) }
}

/// The flag that the kernel's headers have by this name, here in small letters.
fn named<F: Flags>(name: &str) -> Option<F> {
    let is_it = |flag: &&bitflags::Flag<F>| flag.name().to_lowercase() == name;
    F::FLAGS.iter().find(is_it).map(|flag| F::from_bits_retain(flag.value().bits()))
}

fn unknown<F: Flags>(list: &str, name: &str, groups: &[&str]) -> String {
    let known = F::FLAGS.iter().map(|flag| flag.name().to_lowercase());
    let known: Vec<_> = groups.iter().map(|&group| group.to_owned()).chain(known).collect();
    format!("{list}: {name:?} is unknown, there are {}", known.join(", "))
}

/// Names, as they are read.
fn show<F: Flags + Copy>(flags: F) -> String {
    let names: Vec<_> = flags.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    names.join(",")
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restricted { files, network, scopes } = self.restricted;
        let all: Vec<_> = [show(files), show(network), show(scopes)]
            .into_iter()
            .filter(|names| !names.is_empty())
            .collect();
        write!(f, "restrict by Landlock {}", all.join(","))?;
        for (path, rights) in &self.paths {
            write!(f, "; allow {} {}", Path::display(path), show(*rights))?;
        }
        self.ports.iter().try_for_each(|(port, right)| write!(f, "; allow {} {port}", show(*right)))
    }
}
