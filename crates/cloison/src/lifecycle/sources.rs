//! Sources of idmapped mounts, which only the host's side can map.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::mount::MountAttr;
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Fork};
use cloison_linux::{
    Errno, Kernel, Mode, MountAttrFlags, MountPropagationFlags, OFlags, OpenTreeFlags, Signal,
};

use super::Error;
use super::error::Doing as _;
use super::id_maps::id_map;
use crate::plan::Origin;
use crate::plan::action::{BindSource, IdMapping, SourceIds};

/// A detached copy of the source's mount, idmapped, and a slave of the host's, so that nothing which the container mounts
/// below it comes back.
pub(super) fn open(kernel: &dyn Kernel, source: &BindSource, origin: &Origin) -> Result<OwnedFd, Error> {
    let doing = || format!("opening the source {} of a bind mount ({origin})", source.path.display());
    let file = kernel.open(&source.path, OFlags::PATH, Mode::empty()).doing(doing())?;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE;
    flags.set(OpenTreeFlags::AT_RECURSIVE, source.recursive);
    let tree = kernel.open_tree(file.as_fd(), flags);
    let why = why(&tree);
    let tree = tree.doing(format!("{}{why}", doing()))?;
    let slave = MountAttr { propagation: Some(MountPropagationFlags::DOWNSTREAM), ..MountAttr::default() };
    let done = kernel.mount_setattr(tree.as_fd(), source.recursive, &slave);
    let reason = self::why(&done);
    done.doing(format!("{}{reason}", doing()))?;
    map(kernel, tree.as_fd(), source, origin)?;
    Ok(tree)
}

/// Maps the ids of a detached mount.
pub(super) fn map(
    kernel: &dyn Kernel,
    tree: BorrowedFd<'_>,
    source: &BindSource,
    origin: &Origin,
) -> Result<(), Error> {
    let user = match &source.id_map {
        SourceIds::Maps(uids, gids) => user_namespace(kernel, uids, gids)?,
        SourceIds::Joined(path) => kernel
            .open(path, OFlags::RDONLY, Mode::empty())
            .doing(format!("opening the user namespace {} to map ids by it", path.display()))?,
    };
    let mapped = MountAttr {
        set: MountAttrFlags::MOUNT_ATTR_IDMAP,
        userns: Some(user.as_fd()),
        ..MountAttr::default()
    };
    let done = kernel.mount_setattr(tree, source.maps_all, &mapped);
    let why = why(&done);
    done.doing(format!(
        "mapping the ids of {} ({origin}); its file system must allow it{why}",
        source.path.display()
    ))
}

/// What stands behind a refusal (`mount_setattr(2)`, "ID-mapped mounts").
fn why<T>(done: &Result<T, Errno>) -> &'static str {
    match done {
        Err(Errno::PERM) => {
            ", and who maps ids needs CAP_SYS_ADMIN over that file system, as root has it and an ordinary user has not"
        }
        Err(Errno::NOSYS) => ", and ids are mapped since Linux 5.12 only",
        _ => "",
    }
}

/// A user namespace with these maps, made by a process that lives just long enough to hold it.
fn user_namespace(kernel: &dyn Kernel, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd, Error> {
    let (ours, theirs) = kernel.socketpair().doing("making a socket")?;
    let request = CloneRequest { namespaces: NamespaceFlags::USER, cgroup: None, as_sibling: false };
    match kernel.clone3(&request).doing("making a user namespace for an idmapped mount")? {
        Fork::Child => {
            drop(ours);
            // Ends with the parent's end of the socket, whatever ends that.
            let end = kernel.receive(theirs.as_fd());
            std::process::exit(i32::from(end.is_err()))
        }
        Fork::Parent { pid, pidfd } => {
            drop(theirs);
            let write = |file: &str, bytes: &[u8]| {
                let path = format!("/proc/{pid}/{file}");
                let opened = kernel.open(Path::new(&path), OFlags::WRONLY, Mode::empty());
                opened.and_then(|fd| kernel.write(fd.as_fd(), bytes)).doing(format!("writing {path}"))
            };
            let made = write("uid_map", id_map(uids).as_bytes())
                .and_then(|()| write("gid_map", id_map(gids).as_bytes()))
                .and_then(|()| {
                    let path = format!("/proc/{pid}/ns/user");
                    kernel
                        .open(Path::new(&path), OFlags::RDONLY, Mode::empty())
                        .doing(format!("opening {path}"))
                });
            drop(ours);
            kernel
                .pidfd_send_signal(pidfd.as_fd(), Signal::KILL)
                .doing("ending the holder of a user namespace")?;
            kernel.wait_pidfd(pidfd.as_fd()).doing("waiting for the holder of a user namespace")?;
            made
        }
    }
}
