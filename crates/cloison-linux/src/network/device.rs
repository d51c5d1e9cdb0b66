//! A device on its way into a container, with all that it is known by.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::route::{Address, Identity, Link, Route, own_namespace};

/// A device that was moved: what it takes to bring it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its name where it came from.
    pub name: String,
    /// Its name where it is.
    pub inside: String,
    /// Its number where it is. Names are whoever's who has `CAP_NET_ADMIN` there.
    index: u32,
    /// What it was known by where it came from.
    identity: Identity,
    up: bool,
    addresses: Vec<Address>,
}

impl Moved {
    /// One of which nothing is known but its names.
    pub(crate) fn named(name: &str, inside: &str) -> Self {
        let identity = Identity::default();
        Self {
            name: name.to_owned(),
            inside: inside.to_owned(),
            index: 0,
            identity,
            up: false,
            addresses: Vec::new(),
        }
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

impl MoveError {
    /// This one, and what came of undoing.
    fn and_then_failed(mut self, back: Moving<()>) -> Self {
        if let Err(error) = back {
            self.doing = format!("{} (the device is not as it was: {error})", self.doing);
        }
        self
    }
}

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
/// Where it fails, the device is where it was, as it was, but for routes of its own: those are gone once it is taken down. The caller's
/// process has one thread.
pub fn move_device(name: &str, inside: &str, namespace: BorrowedFd<'_>) -> Moving<Moved> {
    let mut here = Route::open().doing("asking for the devices of the runtime's network namespace")?;
    let link = here.link(name).doing("looking for it in the runtime's network namespace")?;
    let mut there = Route::open_in(namespace).doing("entering the network namespace that it is to be in")?;
    let inside = free_name(&mut there, inside)?;
    let index = free_index(&mut there, link.index)?;
    // Before it is taken down, by which it loses those of IPv6.
    let mut addresses = here.addresses(link.index).doing("reading its addresses")?;
    addresses.retain(Address::is_permanent_and_global);
    let identity = link.identity.clone();
    let mut moved = Moved { name: name.to_owned(), inside, index, identity, up: link.up, addresses };
    // Others on the host see it leave before it is gone.
    here.set_up(link.index, false).doing("taking it down")?;
    if let Err(errno) = here.move_link(link.index, &moved.inside, Some(index), namespace) {
        let error = MoveError { doing: format!("moving it to the name {:?}", moved.inside), errno };
        let back = stay(&mut here, &mut there, &link, &moved, namespace);
        return Err(error.and_then_failed(back));
    }
    match settle(&mut there, &mut moved) {
        Ok(()) => Ok(moved),
        Err(error) => {
            let names = [moved.inside.as_str()];
            let back = come_back(&mut there, &names, &moved, namespace);
            Err(error.and_then_failed(back))
        }
    }
}

/// Brings a device back that was moved, with its name, its addresses and its state, but without the routes that it had.
///
/// # Errors
/// `ENODEV` where the device is not to be known again: whoever owns the network that it is in may have put another into its place, which
/// does not get its addresses, and does not stay.
pub fn return_device(moved: &Moved, namespace: BorrowedFd<'_>) -> Moving<()> {
    let mut there = Route::open_in(namespace).doing("entering the network namespace that it is in")?;
    come_back(&mut there, &[], moved, namespace)
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

/// A number that no device has there: its own, if that is free. The kernel can be asked for it (`IFLA_NEW_IFINDEX`, Linux 5.13); older
/// ones leave a device its number where that is free.
fn free_index(there: &mut Route, own: u32) -> Moving<u32> {
    for index in own..=i32::MAX.cast_unsigned() {
        match there.link_at(index) {
            Ok(_) => {}
            Err(Errno::NODEV) => return Ok(index),
            Err(errno) => return Err(errno).doing("looking for its number where it is to be"),
        }
    }
    Err(Errno::EXIST).doing("finding a free number")
}

/// Where it is new: its addresses, and up.
fn settle(there: &mut Route, moved: &mut Moved) -> Moving<()> {
    let link = find(there, &[&moved.inside], moved)?;
    moved.index = link.index;
    restore(there, &link, moved, true)
}

/// A move has failed. The kernel moves first and renames then, so that it may be there by its old name.
fn stay(
    here: &mut Route,
    there: &mut Route,
    link: &Link,
    moved: &Moved,
    namespace: BorrowedFd<'_>,
) -> Moving<()> {
    match here.link_at(link.index) {
        Ok(_) => restore(here, link, moved, moved.up),
        Err(Errno::NODEV) => come_back(there, &[&moved.name], moved, namespace),
        Err(errno) => Err(errno).doing("looking for it in the runtime's network namespace"),
    }
}

/// Whoever has `CAP_NET_ADMIN` there can give a device of its own the name of the one that was moved, its number once that one is away, and
/// most of what it is known by. So it is looked at again once it is here, before it gets addresses and is brought up: here, the namespace of
/// a veth's other end, or of the device that one stands on, is told as it was before. What remains is one without another end (a tap, say)
/// in the place of another of its kind.
fn come_back(there: &mut Route, names: &[&str], moved: &Moved, namespace: BorrowedFd<'_>) -> Moving<()> {
    let own = own_namespace().doing("opening the runtime's network namespace")?;
    let link = find(there, names, moved)?;
    there.move_link(link.index, &moved.name, None, own.as_fd()).doing("moving it back")?;
    let mut here = Route::open().doing("asking for the devices of the runtime's network namespace")?;
    let link = here.link(&moved.name).doing("finding it again")?;
    if link.identity != moved.identity {
        // By a name that nobody there can keep from it.
        here.move_link(link.index, "foreign%d", None, namespace).doing("sending back another that came")?;
        return Err(Errno::NODEV).doing("knowing it again (another came, and was sent back)");
    }
    restore(&mut here, &link, moved, moved.up)
}

/// The device that was moved: by its number, else, where the kernel may have given it another, by these names.
fn find(there: &mut Route, names: &[&str], moved: &Moved) -> Moving<Link> {
    let by_name = names.iter().map(Some);
    for name in std::iter::once(None).chain(by_name) {
        let found = match name {
            None => there.link_at(moved.index),
            Some(name) => there.link(name),
        };
        match found {
            Ok(link) if link.identity.may_be(&moved.identity) => return Ok(link),
            Ok(_) | Err(Errno::NODEV) => {}
            Err(errno) => return Err(errno).doing("finding it where it was moved to"),
        }
    }
    Err(Errno::NODEV).doing("knowing it again where it was moved to")
}

fn restore(route: &mut Route, link: &Link, moved: &Moved, up: bool) -> Moving<()> {
    for address in &moved.addresses {
        match route.add_address(link.index, address) {
            // It has kept it.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).doing("giving it its addresses again"),
        }
    }
    if up { route.set_up(link.index, true).doing("bringing it up") } else { Ok(()) }
}
