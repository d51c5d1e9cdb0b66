//! Where a bus is: [addresses](https://dbus.freedesktop.org/doc/dbus-specification.html#addresses) and where they come from.

use std::ffi::OsString;
use std::path::PathBuf;

/// systemd's own socket for the machine's root: no broker is in between, and none can stall.
const SYSTEMD: &str = "/run/systemd/private";
/// Where the system bus has always been (`/var/run` is a link to `/run`).
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Which systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The machine's.
    System,
    /// The user's.
    User,
}

/// A socket that may lead to systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) socket: Socket,
    /// Behind it is systemd itself, and not a broker who wants to be greeted.
    pub(crate) direct: bool,
}

/// Where a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Socket {
    File(PathBuf),
    Abstract(Vec<u8>),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.socket {
            Socket::File(path) => path.display().fmt(f),
            Socket::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

impl Address {
    fn direct(path: impl Into<PathBuf>) -> Self {
        Self { socket: Socket::File(path.into()), direct: true }
    }

    fn broker(path: impl Into<PathBuf>) -> Self {
        Self { socket: Socket::File(path.into()), direct: false }
    }
}

/// Where to look for systemd, in order. What the environment names is the only place, if it names one.
pub(crate) fn candidates(
    whose: Whose,
    root: bool,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<Address> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    match whose {
        Whose::System => match variable("DBUS_SYSTEM_BUS_ADDRESS") {
            Some(given) => parse(&given.to_string_lossy()),
            None if root => vec![Address::direct(SYSTEMD), Address::broker(SYSTEM_BUS)],
            None => vec![Address::broker(SYSTEM_BUS)],
        },
        Whose::User => {
            if let Some(given) = variable("DBUS_SESSION_BUS_ADDRESS") {
                return parse(&given.to_string_lossy());
            }
            let Some(directory) = variable("XDG_RUNTIME_DIR").map(PathBuf::from) else { return Vec::new() };
            vec![Address::broker(directory.join("bus")), Address::direct(directory.join("systemd/private"))]
        }
    }
}

/// The addresses of a list that we can connect to: those of unix sockets.
fn parse(list: &str) -> Vec<Address> {
    list.split(';').filter_map(parse_one).collect()
}

fn parse_one(address: &str) -> Option<Address> {
    let settings = address.strip_prefix("unix:")?;
    let socket = settings.split(',').find_map(|setting| match setting.split_once('=')? {
        ("path", value) => Some(Socket::File(PathBuf::from(os_string(unescape(value)?)))),
        ("abstract", value) => Some(Socket::Abstract(unescape(value)?)),
        _ => None,
    })?;
    Some(Address { socket, direct: false })
}

fn os_string(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

/// `%20` and the like.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            plain.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            plain.push(byte);
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(whose: Whose, root: bool, variables: &[(&str, &str)]) -> Vec<String> {
        let environment =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let all = candidates(whose, root, environment);
        all.iter().map(|one| format!("{one}{}", if one.direct { " direct" } else { "" })).collect()
    }

    #[test]
    fn root_asks_systemd_itself_before_the_broker() {
        let both = ["/run/systemd/private direct", "/run/dbus/system_bus_socket"];
        assert_eq!(look(Whose::System, true, &[]), both);
        assert_eq!(look(Whose::System, false, &[]), both[1..]);
        assert_eq!(look(Whose::System, true, &[("DBUS_SYSTEM_BUS_ADDRESS", "")]), both);
    }

    #[test]
    fn an_address_in_the_environment_is_the_only_one() {
        let system = [("DBUS_SYSTEM_BUS_ADDRESS", "tcp:host=x;unix:guid=1,path=/a%20b;unix:abstract=c")];
        assert_eq!(look(Whose::System, true, &system), ["/a b", "@c"]);
        let user = [("DBUS_SESSION_BUS_ADDRESS", "unix:path=/u"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        assert_eq!(look(Whose::User, false, &user), ["/u"]);
    }

    #[test]
    fn a_user_without_a_session_bus_has_systemds_own_socket() {
        let expected = ["/run/user/1/bus", "/run/user/1/systemd/private direct"];
        assert_eq!(look(Whose::User, false, &[("XDG_RUNTIME_DIR", "/run/user/1")]), expected);
        assert!(look(Whose::User, false, &[]).is_empty());
    }

    #[test]
    fn addresses_that_are_no_unix_sockets_are_none() {
        for text in
            ["", "unix:", "unix:path", "unix:path=%2", "unix:path=%zz", "unixexec:path=/x", "unix:tmpdir=/t"]
        {
            assert!(parse(text).is_empty(), "{text}");
        }
    }
}
