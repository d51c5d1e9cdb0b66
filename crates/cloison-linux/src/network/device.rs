//! A device on its way into a container, with all that it is known by.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::route::{Address, Link, Route, own_namespace};

/// A device that was moved: what it takes to bring it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its name where it came from.
    pub name: String,
    /// Its name where it is.
    pub inside: String,
    up: bool,
    addresses: Vec<Address>,
}

impl Moved {
    /// One of which nothing is known but its names.
    pub(crate) fn named(name: &str, inside: &str) -> Self {
        Self { name: name.to_owned(), inside: inside.to_owned(), up: false, addresses: Vec::new() }
    }
}

/// Why a device was not moved, and what was being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveError {
    /// What was being done.
    pub doing: String,
    /// What the kernel says.
    pub errno: Errno,
}

impl fmt::Display for MoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.errno)
    }
}

impl std::error::Error for MoveError {}

impl From<Errno> for MoveError {
    fn from(errno: Errno) -> Self {
        Self { doing: "asking the kernel".to_owned(), errno }
    }
}

/// What comes of moving a device.
pub type Moving<T> = Result<T, MoveError>;

trait Doing<T> {
    fn doing(self, doing: impl Into<String>) -> Result<T, MoveError>;
}

impl<T> Doing<T> for crate::Result<T> {
    fn doing(self, doing: impl Into<String>) -> Moving<T> {
        self.map_err(|errno| MoveError { doing: doing.into(), errno })
    }
}

/// Moves the device `name` from the caller's network namespace into another one, gives it the name `inside` there, its addresses that are
/// permanent and global, and brings it up. In `inside`, `%d` stands for the first number that makes it a name nobody has.
///
/// Where it fails, the device is where it was, as it was. The caller's process has one thread.
pub fn move_device(name: &str, inside: &str, namespace: BorrowedFd<'_>) -> Moving<Moved> {
    let mut here = Route::open().doing("asking for the devices of the runtime's network namespace")?;
    let link = here.link(name).doing("looking for it in the runtime's network namespace")?;
    let mut there = Route::open_in(namespace).doing("entering the network namespace that it is to be in")?;
    let inside = free_name(&mut there, inside)?;
    // Before it is taken down, by which it loses those of IPv6.
    let mut addresses = here.addresses(link.index).doing("reading its addresses")?;
    addresses.retain(Address::is_permanent_and_global);
    let moved = Moved { name: name.to_owned(), inside, up: link.up, addresses };
    // Others on the host see it leave before it is gone.
    here.set_up(link.index, false).doing("taking it down")?;
    if let Err(errno) = here.move_link(link.index, &moved.inside, namespace) {
        stay(&mut here, &mut there, link, &moved);
        return Err(MoveError { doing: format!("moving it to the name {:?}", moved.inside), errno });
    }
    let settled = settle(&mut there, &moved);
    if settled.is_err() {
        // What is told is the first failure.
        let _ = come_back(&mut there, &moved.inside, &moved);
    }
    settled.map(|()| moved)
}

/// Brings a device back that was moved, with its name, its addresses and its state.
pub fn return_device(moved: &Moved, namespace: BorrowedFd<'_>) -> Moving<()> {
    let mut there = Route::open_in(namespace).doing("entering the network namespace that it is in")?;
    come_back(&mut there, &moved.inside, moved)
}

fn free_name(there: &mut Route, wanted: &str) -> Moving<String> {
    let mut taken = |name: &str| match there.link(name) {
        Ok(_) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno).doing("looking for its name where it is to be"),
    };
    if !wanted.contains("%d") {
        if !taken(wanted)? {
            return Ok(wanted.to_owned());
        }
        return Err(Errno::EXIST).doing(format!("giving it the name {wanted:?}, which another has there"));
    }
    for number in 0_u32.. {
        let name = wanted.replacen("%d", &number.to_string(), 1);
        if name.len() >= libc::IFNAMSIZ {
            break;
        }
        if !taken(&name)? {
            return Ok(name);
        }
    }
    Err(Errno::EXIST).doing(format!("finding a free name like {wanted:?}"))
}

/// Where it is new: its addresses, and up.
fn settle(there: &mut Route, moved: &Moved) -> Moving<()> {
    let link = there.link(&moved.inside).doing("finding it where it was moved to")?;
    restore(there, link, moved, true)
}

/// A move has failed. The kernel moves first and renames then, so that it may be there by its old name.
fn stay(here: &mut Route, there: &mut Route, link: Link, moved: &Moved) {
    let back = match here.link(&moved.name) {
        Ok(found) if found.index == link.index => restore(here, link, moved, moved.up),
        _ => come_back(there, &moved.name, moved),
    };
    // What is told is why it could not be moved.
    drop(back);
}

fn come_back(there: &mut Route, inside: &str, moved: &Moved) -> Moving<()> {
    let own = own_namespace().doing("opening the runtime's network namespace")?;
    let link = there.link(inside).doing("finding it where it was moved to")?;
    there.move_link(link.index, &moved.name, own.as_fd()).doing("moving it back")?;
    let mut here = Route::open().doing("asking for the devices of the runtime's network namespace")?;
    let link = here.link(&moved.name).doing("finding it again")?;
    restore(&mut here, link, moved, moved.up)
}

fn restore(route: &mut Route, link: Link, moved: &Moved, up: bool) -> Moving<()> {
    for address in &moved.addresses {
        match route.add_address(link.index, address) {
            // It has kept it.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).doing("giving it its addresses again"),
        }
    }
    if up { route.set_up(link.index, true).doing("bringing it up") } else { Ok(()) }
}
