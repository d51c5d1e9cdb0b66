//! What of a container is not in its checkpoint, but must be there when it is restored.

use std::fs;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{Errno, Kernel, Mode, OFlags};

use super::error::{Doing, Error};
use super::rpc::{ExternalMount, Inherited, JoinedNamespace};
use crate::plan::Plan;
use crate::plan::action::{Action, MountSource};
use crate::plan::namespaces::Namespaces;

/// The file in the images that has the names of the standard streams, as other runtimes call it.
const DESCRIPTORS: &str = "descriptors.json";

/// How much of it is read.
const MAX_DESCRIPTORS: u64 = 64 << 10;

const NULL: &str = "/dev/null";

/// A namespace that CRIU is told of by a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    kind: NamespaceFlags,
    /// The name, as all runtimes have it.
    pub(crate) name: &'static str,
    /// The first CRIU that can.
    pub(crate) since: i32,
    /// What that can, in words.
    pub(crate) what: &'static str,
}

const NAMED: [Named; 2] = [
    Named {
        kind: NamespaceFlags::NETWORK,
        name: "extRootNetNS",
        since: 31_100,
        what: "an external network namespace",
    },
    Named {
        kind: NamespaceFlags::PID,
        name: "extRootPidNS",
        since: 31_500,
        what: "an external PID namespace",
    },
];

/// The mounts that are not in the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    /// Bind mounts: where they are, and of what.
    binds: Vec<(PathBuf, PathBuf)>,
    /// Paths of which files are hidden by the null device.
    masks: Vec<PathBuf>,
    /// Device nodes, which may be bind mounts.
    devices: Vec<PathBuf>,
}

impl External {
    /// Those of a container that was made by this plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut external = Self { binds: Vec::new(), masks: Vec::new(), devices: Vec::new() };
        for step in &plan.container {
            match &step.action {
                Action::Mount(mount) if !mount.options.remount => {
                    if let MountSource::Bind(source) = &mount.source {
                        external.binds.push((mount.destination.clone(), source.clone()));
                    }
                }
                Action::MaskPaths(masks) => external.masks.extend_from_slice(&masks.paths),
                Action::Device(device, _) => external.devices.push(device.path.clone()),
                _ => {}
            }
        }
        external
    }

    /// For a checkpoint: each by the place where it really is below `root`, the container's root directory, with its name.
    ///
    /// The root file system is an enemy's: what a path leads to is asked of the kernel, below the descriptor.
    pub(crate) fn to_dump(&self, kernel: &dyn Kernel, root: &OwnedFd) -> Result<Vec<ExternalMount>, Error> {
        let mut mounts = Vec::new();
        for path in self.binds.iter().map(|(path, _)| path).chain(&self.devices) {
            let place = resolve(kernel, root, path)?.unwrap_or_else(|| path.clone());
            mounts.push(external(&place, path));
        }
        for path in &self.masks {
            // A directory is hidden by a mount of its own, which is in the images.
            let doing = || format!("looking at the masked path {}", path.display());
            match kernel.open_in_root(root.as_fd(), path, OFlags::PATH, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                found => {
                    let stat = kernel.fstat(found.doing(doing())?.as_fd()).doing(doing())?;
                    if crate::init::rootfs::is_null(&stat) {
                        mounts.push(external(path, Path::new(NULL)));
                    }
                }
            }
        }
        Ok(mounts)
    }

    /// For a restore: the source of each name.
    pub(crate) fn to_restore(&self) -> Vec<ExternalMount> {
        // CRIU looks for the mount that the source lies on by its text, and knows of no `.`, `..` or link in it.
        let plain = |source: &PathBuf| fs::canonicalize(source).unwrap_or_else(|_| source.clone());
        let binds = self.binds.iter().map(|(path, source)| external(path, &plain(source)));
        let null = (!self.masks.is_empty()).then(|| external(Path::new(NULL), Path::new(NULL)));
        let devices = self.devices.iter().filter(|path| null.is_none() || *path != Path::new(NULL));
        let devices = devices.map(|path| external(path, path));
        binds.chain(devices).chain(null.clone()).collect()
    }
}

fn external(key: &Path, value: &Path) -> ExternalMount {
    ExternalMount { key: key.to_string_lossy().into_owned(), value: value.to_string_lossy().into_owned() }
}

/// The path, from the container's root, of what is at `path`; none if nothing is there.
fn resolve(kernel: &dyn Kernel, root: &OwnedFd, path: &Path) -> Result<Option<PathBuf>, Error> {
    let doing = || format!("looking at the mount point {}", path.display());
    match kernel.open_in_root(root.as_fd(), path, OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        found => {
            let found = found.doing(doing())?;
            let link = cloison_linux::file::proc_path(found.as_fd());
            // The text of a mount in another mount namespace begins at that namespace's root, which is the container's.
            let place = fs::read_link(link);
            place.map(Some).map_err(|source| Error::File { path: path.to_owned(), source })
        }
    }
}

/// For a checkpoint: the namespaces that the container has joined and that CRIU is to leave alone, as `--external` takes them.
pub(crate) fn namespaces_to_dump(
    namespaces: &Namespaces,
    at_least: impl Fn(i32, &'static str) -> Result<(), Error>,
) -> Result<Vec<String>, Error> {
    let mut external = Vec::new();
    for Named { kind, name, since, what } in NAMED {
        let Some((path, _)) = namespaces.path_of(kind) else { continue };
        at_least(since, what)?;
        let inode = fs::metadata(path).map_err(|source| Error::File { path: path.to_owned(), source })?.ino();
        external.push(format!("{}[{inode}]:{name}", kind.proc_name().unwrap_or_default()));
    }
    Ok(external)
}

/// The namespaces that a restored container joins.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// By a descriptor that CRIU inherits.
    pub(crate) named: Vec<(Named, OwnedFd)>,
    /// By path.
    pub(crate) by_path: Vec<JoinedNamespace>,
}

/// For a restore: the namespaces that the container joins.
pub(crate) fn namespaces_to_restore(kernel: &dyn Kernel, namespaces: &Namespaces) -> Result<Joined, Error> {
    let mut joined = Joined::default();
    for kind in NamespaceFlags::all().iter() {
        let Some((path, _)) = namespaces.path_of(kind) else { continue };
        if let Some(named) = NAMED.into_iter().find(|named| named.kind == kind) {
            let doing = format!("opening the {kind} namespace {}", path.display());
            joined.named.push((named, kernel.open(path, OFlags::RDONLY, Mode::empty()).doing(doing)?));
        } else if kind == NamespaceFlags::CGROUP {
            return Err(Error::Missing("joining an existing cgroup namespace"));
        } else {
            let kind = kind.proc_name().unwrap_or_default().to_owned();
            joined.by_path.push(JoinedNamespace { kind, file: path.to_string_lossy().into_owned() });
        }
    }
    Ok(joined)
}

/// What the runtime's standard streams are called, `pipe:[1234]`; the empty text for one that is closed.
pub(crate) fn stream_names() -> Vec<String> {
    names_of(0..3)
}

/// The same for other descriptors of the runtime's.
pub(crate) fn names_of(numbers: impl IntoIterator<Item = RawFd>) -> Vec<String> {
    let name = |number| fs::read_link(format!("/proc/self/fd/{number}")).ok();
    let names = numbers.into_iter().map(name);
    names.map(|name| name.map_or(String::new(), |name| name.to_string_lossy().into_owned())).collect()
}

/// Writes the names of the standard streams to the images.
pub(crate) fn save_streams(images: &Path, names: &[String]) -> Result<(), Error> {
    let path = images.join(DESCRIPTORS);
    let text =
        serde_json::to_vec(names).map_err(|source| Error::Descriptors { path: path.clone(), source })?;
    fs::write(&path, text).map_err(|source| Error::File { path, source })
}

/// The pipes among the standard streams of the images, in whose places ours come.
pub(crate) fn saved_pipes(images: &Path) -> Result<Vec<Inherited>, Error> {
    use std::io::Read as _;
    let path = images.join(DESCRIPTORS);
    let mut text = String::new();
    let file = fs::File::open(&path);
    let read = file.and_then(|file| file.take(MAX_DESCRIPTORS).read_to_string(&mut text));
    read.map_err(|source| Error::File { path: path.clone(), source })?;
    let names: Vec<String> =
        serde_json::from_str(&text).map_err(|source| Error::Descriptors { path, source })?;
    let pipes = names.into_iter().zip(0..).filter(|(name, _)| name.contains("pipe:"));
    Ok(pipes.map(|(key, fd)| Inherited { key, fd }).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::id::ContainerId;
    use crate::plan::{HostFacts, Options};
    use crate::spec;

    pub(crate) fn plan(mounts: &str) -> Plan {
        let mut spec = spec::example(false);
        spec.mounts = serde_json::from_str(mounts).unwrap();
        spec.linux.masked_paths = vec!["/proc/kcore".to_owned()];
        let options = Options {
            id: ContainerId::parse("c1").unwrap(),
            bundle: "/b".into(),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            takes_streams: false,
        };
        Plan::new(&spec, &options, &HostFacts::default()).unwrap()
    }

    #[test]
    fn sources_of_bind_mounts_are_told_to_criu_without_dots_and_links() {
        let mounts = r#"[{"destination": "/a", "source": "/usr/./share/../bin/.", "options": ["bind"]},
            {"destination": "/b", "source": "/proc/self/../../usr", "options": ["bind"]},
            {"destination": "/c", "source": "/not/there/.", "options": ["bind"]}]"#;
        let restored = External::of(&plan(mounts)).to_restore();
        let sources = ["/a", "/b", "/c"]
            .map(|key| restored.iter().find(|mount| mount.key == key).unwrap().value.as_str());
        assert_eq!(sources, ["/usr/bin", "/usr", "/not/there/."]);
    }

    #[test]
    fn bind_mounts_masks_and_devices_are_outside_and_nothing_else() {
        let mounts = r#"[{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro"]},
            {"destination": "/etc/hosts", "source": "/h", "options": ["bind"]}]"#;
        let external = External::of(&plan(mounts));
        let binds = [("/data", "/b/data"), ("/etc/hosts", "/h")].map(|(at, of)| (at.into(), of.into()));
        assert_eq!(external.binds, binds);
        assert_eq!(external.masks, [PathBuf::from("/proc/kcore")]);
        assert!(external.devices.contains(&PathBuf::from("/dev/null")));
        let restored: Vec<_> =
            external.to_restore().into_iter().map(|mount| (mount.key, mount.value)).collect();
        assert_eq!(restored.iter().filter(|(name, _)| name == NULL).count(), 1, "{restored:?}");
        assert!(restored.contains(&("/data".into(), "/b/data".into())));
    }

    #[test]
    fn pipes_are_replaced_by_the_stream_of_their_number() {
        let scratch = TempDir::new().unwrap();
        let names = ["/dev/null", "pipe:[7]", "pipe:[8]"].map(str::to_owned);
        save_streams(scratch.path(), &names).unwrap();
        let pipes: Vec<_> =
            saved_pipes(scratch.path()).unwrap().into_iter().map(|pipe| (pipe.key, pipe.fd)).collect();
        assert_eq!(pipes, [("pipe:[7]".to_owned(), 1), ("pipe:[8]".to_owned(), 2)]);
        fs::write(scratch.path().join(DESCRIPTORS), "{").unwrap();
        assert!(matches!(saved_pipes(scratch.path()), Err(Error::Descriptors { .. })));
    }
}
