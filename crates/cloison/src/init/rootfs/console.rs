//! The container's terminal: a pseudo terminal of the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::{Errno, Kernel, Mode, OFlags, OpenTreeFlags};

use super::{Root, is_char_device, mount_point};
use crate::init::channel::FromInit;
use crate::init::error::{Doing, Error};

/// Makes a terminal, hands its master to the runtime, and makes the other side the controlling terminal, the standard streams and,
/// for a container's first process, `/dev/console`.
///
/// The master must be what its name says, and the other side is opened from the master itself, never by a name in `/dev/pts` that the
/// image could have put something else behind (CVE-2025-52565).
pub(crate) fn terminal(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    channel: BorrowedFd<'_>,
    size: Option<(u16, u16)>,
    uid: u32,
    is_console: bool,
) -> Result<(), Error> {
    let doing = || "opening a terminal of the container's /dev/pts";
    let master = master(kernel, root)?;
    let terminal = kernel.open_terminal(master.as_fd()).doing(doing)?;
    if let Some((columns, rows)) = size {
        kernel.set_window_size(terminal.as_fd(), columns, rows).doing(|| "setting the terminal's size")?;
    }
    if is_console {
        console_device(kernel, root, terminal.as_fd())?;
    }
    if uid != 0 {
        kernel
            .fchown(terminal.as_fd(), uid, kernel.fstat(terminal.as_fd()).doing(doing)?.st_gid)
            .doing(doing)?;
    }
    FromInit::send_terminal(kernel, channel, master.as_fd())
        .doing(|| "handing the terminal to the runtime")?;
    kernel
        .set_controlling_terminal(terminal.as_fd())
        .doing(|| "making the terminal the controlling terminal")?;
    (0..3)
        .try_for_each(|stream| kernel.dup_onto(terminal.as_fd(), stream))
        .doing(|| "making the terminal the standard streams")
}

/// Looked at before it is opened: opening another device could already do something.
fn master(kernel: &dyn Kernel, root: &Root<'_>) -> Result<OwnedFd, Error> {
    let doing = || "opening /dev/ptmx";
    let multiplexer = root.open(Path::new("/dev/ptmx"), OFlags::PATH).doing(doing)?;
    if !is_char_device(&kernel.fstat(multiplexer.as_fd()).doing(doing)?, 5, 2) {
        return Err(Error::Refused(
            "container's /dev/ptmx is invalid: not the terminal multiplexer".to_owned(),
        ));
    }
    root.reopen(multiplexer.as_fd(), OFlags::RDWR | OFlags::NOCTTY).doing(doing)
}

/// Never through a link: what lies behind one is not ours to cover.
fn console_device(kernel: &dyn Kernel, root: &Root<'_>, terminal: BorrowedFd<'_>) -> Result<(), Error> {
    let doing = || "binding the terminal on /dev/console";
    let (directory, name) = root.parent(Path::new("/dev/console")).doing(doing)?;
    let target = match mount_point(kernel, directory.as_fd(), name, Mode::from_raw_mode(0o666)) {
        Err(Errno::LOOP) => return Err(Error::Refused("/dev/console is a symbolic link".to_owned())),
        found => found.doing(doing)?,
    };
    let tree = kernel.open_tree(terminal, OpenTreeFlags::OPEN_TREE_CLONE).doing(doing)?;
    kernel.move_mount(tree.as_fd(), target.as_fd()).doing(doing)
}
