//! What rtnetlink(7) is asked of the devices and addresses of one network namespace.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with};

use super::message::{Message, Request, attributes, first_message, u32_at};
use crate::Result;
use crate::namespace::{NamespaceFlags, setns};

/// Bytes of `struct ifinfomsg` and of `struct ifaddrmsg`.
const LINK: usize = 16;
const ADDRESS: usize = 8;
/// The kernel's answers are shorter: those of one device, or pages of a list.
const ANSWER_LIMIT: usize = 128 * 1024;
/// How often a list is asked for that changes while it is told.
const TRIES: u32 = 10;

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// What it is known by beside its name and number.
    pub identity: Identity,
}

impl Link {
    fn read(body: &[u8]) -> Result<Self> {
        let flags = u32_at(body, 8)?;
        let identity = Identity::read(body.get(LINK..).ok_or(Errno::BADMSG)?)?;
        Ok(Self { index: u32_at(body, 4)?, up: flags & libc::IFF_UP as u32 != 0, identity })
    }
}

/// What a device is known by wherever it is. Nothing of it is a secret, and the owner of a network can make one that looks so there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `IFLA_INFO_KIND`; none for hardware.
    kind: Option<Vec<u8>>,
    /// `IFLA_LINK`: the number of a veth's other end, or of the device that this one stands on.
    other: Option<u32>,
    /// `IFLA_LINK_NETNSID`: in which namespace that one is, as a number of the namespace that is asked; none if it is the same.
    other_namespace: Option<u32>,
    /// `IFLA_ADDRESS`.
    address: Option<Vec<u8>>,
    /// `IFLA_PERM_ADDRESS`, Linux 5.6.
    permanent: Option<Vec<u8>>,
    /// `IFLA_PARENT_DEV_NAME`, Linux 5.14: where the hardware is.
    parent: Option<Vec<u8>>,
}

impl Identity {
    fn read(told: &[u8]) -> Result<Self> {
        let mut identity = Self::default();
        for (kind, value) in attributes(told)? {
            match kind {
                libc::IFLA_LINK => identity.other = Some(u32_at(value, 0)?),
                libc::IFLA_LINK_NETNSID => identity.other_namespace = Some(u32_at(value, 0)?),
                libc::IFLA_ADDRESS => identity.address = Some(value.to_vec()),
                libc::IFLA_PERM_ADDRESS => identity.permanent = Some(value.to_vec()),
                libc::IFLA_PARENT_DEV_NAME => identity.parent = Some(value.to_vec()),
                libc::IFLA_LINKINFO => {
                    let kinds = attributes(value)?;
                    let found = kinds.iter().find(|(kind, _)| *kind == libc::IFLA_INFO_KIND);
                    identity.kind = found.map(|(_, kind)| kind.to_vec());
                }
                _ => {}
            }
        }
        Ok(identity)
    }

    /// Whether the two, told in different namespaces, may be the same: namespaces have numbers of their own for others.
    pub fn may_be(&self, other: &Self) -> bool {
        let without = |identity: &Self| Self { other_namespace: None, ..identity.clone() };
        without(self) == without(other)
    }
}

/// One address of a device, as the kernel tells and takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Somebody has set it for good, and it means the same everywhere (`IFA_F_PERMANENT`, `RT_SCOPE_UNIVERSE`).
    pub fn is_permanent_and_global(&self) -> bool {
        self.flags & libc::IFA_F_PERMANENT != 0 && self.scope == libc::RT_SCOPE_UNIVERSE
    }

    fn read(body: &[u8]) -> Result<(u32, Self)> {
        let header = body.get(..ADDRESS).ok_or(Errno::BADMSG)?;
        let mut address = Self {
            family: header[0],
            prefix: header[1],
            scope: header[3],
            flags: u32::from(header[2]),
            attributes: Vec::new(),
        };
        for (kind, value) in attributes(&body[ADDRESS..])? {
            match kind {
                // All bits, and not only the eight of the header.
                libc::IFA_FLAGS => address.flags = u32_at(value, 0)?,
                // Not the label, which has the device's old name in it, nor what only is told.
                libc::IFA_ADDRESS | libc::IFA_LOCAL | libc::IFA_BROADCAST | IFA_RT_PRIORITY | IFA_PROTO => {
                    address.attributes.push((kind, value.to_vec()));
                }
                _ => {}
            }
        }
        Ok((u32_at(header, 4)?, address))
    }

    fn request(&self, index: u32) -> Result<Request> {
        let mut beginning = [self.family, self.prefix, 0, self.scope, 0, 0, 0, 0];
        beginning[4..].copy_from_slice(&index.to_ne_bytes());
        let flags = ACKNOWLEDGE | NLM_F_CREATE | NLM_F_EXCL;
        let request = Request::new(libc::RTM_NEWADDR, flags, &beginning)
            .attribute(libc::IFA_FLAGS, &(self.flags & GIVEN_FLAGS).to_ne_bytes())?;
        self.attributes.iter().try_fold(request, |request, (kind, value)| request.attribute(*kind, value))
    }
}

/// Attributes that `libc` does not name.
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
/// The flags that somebody gives to an address; the others are the kernel's word about it.
const GIVEN_FLAGS: u32 = libc::IFA_F_NODAD | libc::IFA_F_HOMEADDRESS | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const IFA_F_MCAUTOJOIN: u32 = 0x400;

const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;
const NLM_F_DUMP_INTR: u16 = libc::NLM_F_DUMP_INTR as u16;
const NLM_F_CREATE: u16 = libc::NLM_F_CREATE as u16;
const NLM_F_EXCL: u16 = libc::NLM_F_EXCL as u16;
/// A request whose end is told: by the kernel's word, or as that of a list.
const ACKNOWLEDGE: u16 = libc::NLM_F_REQUEST as u16 | libc::NLM_F_ACK as u16;
const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;

/// A conversation with the kernel about one network namespace, whichever the process is in.
#[derive(Debug)]
pub struct Route {
    socket: OwnedFd,
    sequence: u32,
}

impl Route {
    /// About the caller's.
    pub fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        // Connected to the kernel, it hears nobody else.
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// About this one. The caller is in it for a moment: a process with one thread (`CAP_SYS_ADMIN` in the user namespace that owns the
    /// network, and in its own).
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self> {
        let own = own_namespace()?;
        setns(namespace, NamespaceFlags::NETWORK)?;
        let route = Self::open();
        setns(own.as_fd(), NamespaceFlags::NETWORK)?;
        route
    }

    /// The device of this name. `ENODEV` where there is none.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        let request = Request::new(libc::RTM_GETLINK, ACKNOWLEDGE, &[0; LINK]);
        self.one(request.name(libc::IFLA_IFNAME, name)?)
    }

    /// The device of this number. `ENODEV` where there is none.
    pub fn link_at(&mut self, index: u32) -> Result<Link> {
        self.one(Request::new(libc::RTM_GETLINK, ACKNOWLEDGE, &link(index, 0, 0)))
    }

    fn one(&mut self, request: Request) -> Result<Link> {
        let mut found = None;
        self.ask(request, |message| {
            found = Some(Link::read(message.body)?);
            Ok(())
        })?;
        found.ok_or(Errno::NODEV)
    }

    /// Brings a device up, or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<()> {
        let bit = libc::IFF_UP as u32;
        self.change(Request::new(libc::RTM_NEWLINK, ACKNOWLEDGE, &link(index, if up { bit } else { 0 }, bit)))
    }

    /// The addresses of a device, of all families.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>> {
        for _ in 0..TRIES {
            let request = Request::new(libc::RTM_GETADDR, ACKNOWLEDGE | NLM_F_DUMP, &[0; ADDRESS]);
            let mut found = Vec::new();
            let whole = self.ask(request, |message| {
                let (of, address) = Address::read(message.body)?;
                found.extend((of == index).then_some(address));
                Ok(())
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(Errno::AGAIN)
    }

    /// Gives a device an address. `EEXIST` where it has it.
    pub fn add_address(&mut self, index: u32, address: &Address) -> Result<()> {
        self.change(address.request(index)?)
    }

    /// Moves a device to another network namespace, where it has this name, and from Linux 5.13 on this number; without one, and before, it
    /// keeps its own where that is free. The kernel takes it down and forgets its addresses.
    ///
    /// `EINVAL` where its kind stays where it was made (bridges, say), `EBUSY` where the number is taken, `EEXIST` where the name is; then it
    /// may have been moved with its old name. `EPERM` without `CAP_NET_ADMIN` over both.
    pub fn move_link(
        &mut self,
        index: u32,
        name: &str,
        number: Option<u32>,
        namespace: BorrowedFd<'_>,
    ) -> Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, ACKNOWLEDGE, &link(index, 0, 0));
        let mut request = request.name(libc::IFLA_IFNAME, name)?;
        if let Some(number) = number {
            request = request.attribute(libc::IFLA_NEW_IFINDEX, &number.to_ne_bytes())?;
        }
        self.change(request.attribute(libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())?)
    }

    fn change(&mut self, request: Request) -> Result<()> {
        self.ask(request, |_| Ok(())).map(drop)
    }

    /// Sends a request and hears all that is answered. Says whether the answer is a whole one: a list may have changed while it was told.
    fn ask(&mut self, request: Request, mut hear: impl FnMut(&Message<'_>) -> Result<()>) -> Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request.finish(self.sequence)?;
        rustix::net::send(&self.socket, &request, SendFlags::empty())?;
        let mut buffer = vec![0; ANSWER_LIMIT];
        let mut whole = true;
        loop {
            let (_, length) =
                retry_on_intr(|| rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC))?;
            let mut rest = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            while !rest.is_empty() {
                let (message, others) = first_message(rest)?;
                rest = others;
                if message.sequence != self.sequence {
                    continue;
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR => match u32_at(message.body, 0)?.cast_signed() {
                        0 => return Ok(whole),
                        error => return Err(Errno::from_raw_os_error(error.saturating_neg())),
                    },
                    NLMSG_DONE => return Ok(whole),
                    _ => hear(&message)?,
                }
            }
        }
    }
}

/// The network namespace of the caller.
pub(super) fn own_namespace() -> Result<OwnedFd> {
    rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// `struct ifinfomsg`, of any family and kind.
fn link(index: u32, flags: u32, change: u32) -> [u8; LINK] {
    let mut bytes = [0; LINK];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..].copy_from_slice(&change.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_and_others_are_not() {
        let mut route = Route::open().unwrap();
        assert_eq!(route.link("lo").unwrap().index, 1);
        assert_eq!(route.link("no-such-device").unwrap_err(), Errno::NODEV);
        assert_eq!(route.link("lo").unwrap().index, 1, "the next answer is not that to an earlier request");
    }

    #[test]
    fn the_addresses_of_loopback_are_permanent_and_not_global() {
        let mut route = Route::open().unwrap();
        let addresses = route.addresses(1).unwrap();
        if !route.link("lo").unwrap().up {
            return;
        }
        let four: Vec<_> = addresses.iter().filter(|address| address.family == 2).collect();
        assert!(four.iter().any(|address| address.prefix == 8), "{addresses:?}");
        assert!(!four.iter().any(|address| address.is_permanent_and_global()), "{addresses:?}");
    }

    #[test]
    fn what_is_told_of_an_address_is_what_is_asked_for_but_for_the_label_and_the_kernels_flags() {
        let told = Request::new(libc::RTM_NEWADDR, 0, &[2, 24, 0x80, 0, 7, 0, 0, 0])
            .attribute(libc::IFA_LOCAL, &[10, 0, 0, 1])
            .and_then(|request| request.name(libc::IFA_LABEL, "eth0"))
            .and_then(|request| request.attribute(libc::IFA_FLAGS, &0x281_u32.to_ne_bytes()))
            .and_then(|request| request.finish(1))
            .unwrap();
        let (message, _) = first_message(&told).unwrap();
        let (index, address) = Address::read(message.body).unwrap();
        assert_eq!(index, 7);
        assert!(address.is_permanent_and_global());
        let asked = address.request(3).unwrap().finish(2).unwrap();
        let (message, _) = first_message(&asked).unwrap();
        let (index, again) = Address::read(message.body).unwrap();
        assert_eq!((index, again.prefix, again.flags), (3, 24, IFA_F_NOPREFIXROUTE));
        assert_eq!(again.attributes, [(libc::IFA_LOCAL, vec![10, 0, 0, 1])]);
    }
}
