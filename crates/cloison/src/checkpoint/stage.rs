//! Where CRIU restores a container: in a mount namespace of its own, so that nothing has to be unmounted afterwards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{Errno, Kernel, Mode, MountPropagationFlags, OFlags, OpenTreeFlags};

use crate::init::error::{Doing, Error};
use crate::init::rootfs::{Root, is_directory, pivot};
use crate::plan::Plan;
use crate::plan::action::{Action, MountSource, MountStep};

/// `MS_SLAVE | MS_REC`.
const RSLAVE: MountPropagationFlags = MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC);

/// The mount namespace that CRIU is started in. It is left when this is dropped, and ends with the last process in it.
pub(crate) struct Stage<'k> {
    kernel: &'k dyn Kernel,
    before: OwnedFd,
}

impl<'k> Stage<'k> {
    /// Makes the mount points that are missing in the root file system, then goes to a new mount namespace and mounts the root file
    /// system on `root`, an empty directory: CRIU wants it to be a mount, and nothing to lie on what is above it.
    ///
    /// CRIU mounts in its working directory, that of the images, which therefore must be opened in here.
    pub(crate) fn enter(kernel: &'k dyn Kernel, plan: &Plan, root: &Path) -> Result<Self, Error> {
        let own = Path::new("/proc/self/ns/mnt");
        let before = kernel.open(own, OFlags::RDONLY, Mode::empty()).doing(|| "opening /proc/self/ns/mnt")?;
        let stage = Self { kernel, before };
        private_mounts(kernel)?;
        mount_points(kernel, plan)?;
        // What was mounted to make the mount points in it goes with its namespace.
        stage.leave().doing(|| "leaving a mount namespace")?;
        private_mounts(kernel)?;
        let doing = || format!("mounting the root file system on {}", root.display());
        let source = pivot::open_root(kernel, &plan.rootfs)?;
        let target = kernel.open(root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).doing(doing)?;
        bind(kernel, source.as_fd(), target.as_fd()).doing(doing)?;
        Ok(stage)
    }

    fn leave(&self) -> Result<(), Errno> {
        self.kernel.setns(self.before.as_fd(), NamespaceFlags::MOUNT)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Err(errno) = self.leave() {
            log::warn!("the runtime stays in the mount namespace that it has made for CRIU: {errno}");
        }
    }
}

fn private_mounts(kernel: &dyn Kernel) -> Result<(), Error> {
    kernel.unshare(NamespaceFlags::MOUNT).doing(|| "making a mount namespace")?;
    kernel.mount_propagation("/".as_ref(), RSLAVE).doing(|| "keeping our mounts from the host")
}

fn bind(kernel: &dyn Kernel, source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE;
    let tree = kernel.open_tree(source, flags)?;
    kernel.move_mount(tree.as_fd(), target)
}

/// What is to be covered must be there. Below another file system of the container's it comes with that, or from the images.
fn mount_points(kernel: &dyn Kernel, plan: &Plan) -> Result<(), Error> {
    let root = Root::new(kernel, pivot::open_root(kernel, &plan.rootfs)?);
    for mount in needed(plan) {
        let path = mount.destination.as_path();
        let doing = || format!("making the mount point {} in the root file system", path.display());
        let MountSource::Bind(source) = &mount.source else {
            root.make_directory(path).doing(doing)?;
            continue;
        };
        let source_doing = || format!("opening the source {} of a bind mount", source.display());
        let source = kernel.open(source, OFlags::PATH, Mode::empty()).doing(source_doing)?;
        let stat = kernel.fstat(source.as_fd()).doing(source_doing)?;
        let target = match root.open(path, OFlags::PATH) {
            Err(Errno::NOENT) if is_directory(&stat) => root.make_directory(path),
            Err(Errno::NOENT) => root.make_file(path),
            found => found,
        };
        // Others may lie in it.
        bind(kernel, source.as_fd(), target.doing(doing)?.as_fd()).doing(doing)?;
    }
    Ok(())
}

fn needed(plan: &Plan) -> Vec<&MountStep> {
    let mounts = plan.container.iter().filter_map(|step| match &step.action {
        Action::Mount(mount) if !mount.options.remount => Some(&**mount),
        _ => None,
    });
    let mut covered: Vec<&PathBuf> = Vec::new();
    let mut needed = Vec::new();
    for mount in mounts {
        if !covered.iter().any(|covered| mount.destination.starts_with(covered)) {
            needed.push(mount);
        }
        if matches!(mount.source, MountSource::FileSystem { .. }) {
            covered.push(&mount.destination);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use cloison_linux::fake::Fake;

    use super::*;
    use crate::checkpoint::external::tests::plan;

    const MOUNTS: &str = r#"[{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
        {"destination": "/data", "type": "bind", "source": "/d", "options": ["rbind"]},
        {"destination": "/data/more", "type": "bind", "source": "/m", "options": ["rbind"]}]"#;

    #[test]
    fn mount_points_that_come_with_a_file_system_are_not_made() {
        let plan = plan(MOUNTS);
        let needed: Vec<_> =
            needed(&plan).into_iter().map(|mount| mount.destination.to_str().unwrap()).collect();
        assert_eq!(needed, ["/dev", "/data", "/data/more"]);
    }

    #[test]
    fn what_is_mounted_for_the_mount_points_stays_in_a_namespace_that_is_left() {
        let kernel = Fake::new();
        drop(Stage::enter(&kernel, &plan(MOUNTS), Path::new("/state/criu-root")).unwrap());
        let verbs = kernel.verbs();
        let places: Vec<_> = ["unshare", "setns", "move_mount"]
            .map(|verb| {
                verbs
                    .iter()
                    .enumerate()
                    .filter(|(_, found)| *found == verb)
                    .map(|(at, _)| at)
                    .collect::<Vec<_>>()
            })
            .to_vec();
        let [unshared, entered, moved] = <[Vec<usize>; 3]>::try_from(places).unwrap();
        assert_eq!((unshared.len(), entered.len(), moved.len()), (2, 2, 3));
        assert!(
            unshared[0] < moved[0]
                && moved[1] < entered[0]
                && entered[0] < unshared[1]
                && unshared[1] < moved[2]
        );
        assert_eq!(verbs.last(), Some(&"setns".to_owned()), "and is left in the end");
        for mounts in unshared {
            assert_eq!(verbs[mounts + 1], "mount_propagation", "nothing comes back to the host");
        }
    }
}
