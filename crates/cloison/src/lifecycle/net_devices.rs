//! Network devices that leave the host for a container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cloison_linux::network::{MoveError, Moved};
use cloison_linux::{Errno, Kernel, Mode, OFlags, Pid};

use super::Error;
use super::error::Doing as _;
use crate::plan::Origin;
use crate::plan::action::NetDevice;

/// The devices that a birth has moved. Virtual ones would perish with the network namespace of a container that fails to be born, and so they
/// are brought back first.
#[derive(Debug, Default)]
pub(super) struct MovedDevices {
    /// With the network namespace that each is in.
    moved: Vec<(Moved, Rc<OwnedFd>)>,
    /// The init's.
    own: Option<Rc<OwnedFd>>,
}

impl MovedDevices {
    /// Opens the network namespace of the init, if it is not open yet: for a birth in a user namespace before the init is told of its ids, since
    /// with those of another user it is not dumpable, and what it has in `/proc` is closed to an ordinary user.
    pub(super) fn hold(&mut self, kernel: &dyn Kernel, init: Pid) -> Result<Rc<OwnedFd>, Error> {
        if let Some(own) = &self.own {
            return Ok(Rc::clone(own));
        }
        let own = open(kernel, &PathBuf::from(format!("/proc/{init}/ns/net")))?;
        Ok(Rc::clone(self.own.insert(own)))
    }

    /// Moves one into the network namespace of the init, or that which the container joins.
    pub(super) fn take(
        &mut self,
        kernel: &dyn Kernel,
        device: &NetDevice,
        init: Pid,
        origin: &Origin,
    ) -> Result<(), Error> {
        let namespace = match &device.namespace {
            Some(path) => open(kernel, path)?,
            None => self.hold(kernel, init)?,
        };
        let moved = kernel.move_network_device(&device.name, &device.inside, namespace.as_fd());
        let moved = moved.map_err(|MoveError { doing, errno }| Error::NetDevice {
            device: format!("{} into the container ({origin}): {doing}", device.name),
            errno,
            why: why(errno),
        })?;
        self.moved.push((moved, namespace));
        Ok(())
    }

    /// Brings them back, the last one first.
    pub(super) fn bring_back(&mut self, kernel: &dyn Kernel) {
        while let Some((moved, namespace)) = self.moved.pop() {
            if let Err(error) = kernel.return_network_device(&moved, namespace.as_fd()) {
                log::warn!("the network device {} is not brought back: {error}", moved.name);
            }
        }
    }
}

fn open(kernel: &dyn Kernel, path: &Path) -> Result<Rc<OwnedFd>, Error> {
    let opened = kernel.open(path, OFlags::RDONLY, Mode::empty()).map(Rc::new);
    opened.doing(format!("opening the network namespace {}", path.display()))
}

/// What the errno means here.
fn why(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM | Errno::ACCESS => {
            "; who moves a device needs CAP_NET_ADMIN over the network that has it: run as root, or in a user namespace that owns that \
             network"
        }
        Errno::INVAL => "; devices of some kinds, bridges say, stay in the network that they were made in",
        _ => "",
    }
}
