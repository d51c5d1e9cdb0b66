//! `list`: all containers of a root.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;

use super::{Error, Runtime, StateReport};
use crate::id::ContainerId;
use crate::state::{self, Store};

/// What is found below a root.
#[derive(Debug, Default)]
pub struct Listing {
    /// The containers, sorted by name, each with its owner.
    pub containers: Vec<StateReport>,
    /// The directories that hold no container that can be told about, sorted by name, and why.
    pub broken: Vec<(OsString, Error)>,
}

/// Lists the containers. Never waits for another command; a container that comes or goes meanwhile may be in the list or not.
///
/// # Errors
/// [`state::Error::NoRoot`] if the root is not there; it could not be read. What is wrong with one container is said in the list.
pub fn list(runtime: &Runtime) -> Result<Listing, Error> {
    let store = Store::at(&runtime.root)?;
    let mut owners = Owners::default();
    let mut listing = Listing::default();
    for name in store.list()? {
        match report(&store, &name, &mut owners) {
            Ok(report) => listing.containers.push(report),
            Err(Error::State(state::Error::NotExist { .. } | state::Error::InTransit { .. })) => {}
            Err(error) => listing.broken.push((name, error)),
        }
    }
    Ok(listing)
}

fn report(store: &Store, name: &OsStr, owners: &mut Owners) -> Result<StateReport, Error> {
    let view = store.open_unlocked(&ContainerId::parse(&name.to_string_lossy())?)?;
    let state = view.load()?;
    let status = view.status(&state)?;
    Ok(StateReport::new(state, status, owners.name(view.owner()?)))
}

/// Names of users, read from `/etc/passwd` when the first one is asked for.
#[derive(Debug, Default)]
struct Owners {
    passwd: Option<Vec<u8>>,
    known: BTreeMap<u32, String>,
}

impl Owners {
    /// The user's name, or `#` and the number of one who has none.
    fn name(&mut self, uid: u32) -> String {
        if let Some(name) = self.known.get(&uid) {
            return name.clone();
        }
        let passwd = self.passwd.get_or_insert_with(|| {
            fs::read("/etc/passwd").unwrap_or_else(|error| {
                log::debug!("owners are shown by number, as /etc/passwd cannot be read: {error}");
                Vec::new()
            })
        });
        let name = name_in(passwd, uid).unwrap_or_else(|| format!("#{uid}"));
        self.known.insert(uid, name.clone());
        name
    }
}

/// The first name with this user id (`passwd(5)`).
pub(super) fn name_in(passwd: &[u8], uid: u32) -> Option<String> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let number: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
        (number == uid && !name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::testing::a_state;

    fn names(listing: &Listing) -> (Vec<&str>, Vec<&str>) {
        let containers = listing.containers.iter().map(|container| container.id.as_str());
        let broken = listing.broken.iter().map(|(name, _)| name.to_str().unwrap());
        (containers.collect(), broken.collect())
    }

    #[test]
    fn containers_are_sorted_by_the_bytes_of_their_names() {
        let machine = Machine::new();
        for name in ["b", "a", "B", "a.1", "a-1"] {
            machine.keep(&a_state(name));
        }
        assert_eq!(names(&list(&machine.runtime).unwrap()).0, ["B", "a", "a-1", "a.1", "b"]);
    }

    #[test]
    fn broken_directories_are_told_beside_the_others() {
        let machine = Machine::new();
        machine.keep(&a_state("good"));
        let root = &machine.runtime.root;
        for name in ["empty", "truncated", "no id"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("truncated/state.json"), "{\"version\":1,").unwrap();
        fs::write(root.join("a-file"), "").unwrap();
        std::os::unix::fs::symlink("good", root.join("a-link")).unwrap();
        let listing = list(&machine.runtime).unwrap();
        assert_eq!(names(&listing), (vec!["good"], vec!["empty", "no id", "truncated"]));
        let told: Vec<_> = listing.broken.iter().map(|(_, error)| error.to_string()).collect();
        assert!(told[0].contains("its creation was interrupted"), "{}", told[0]);
        assert!(told[1].contains("invalid container ID format"), "{}", told[1]);
        assert!(told[2].contains("truncated/state.json is damaged"), "{}", told[2]);
    }

    #[test]
    fn container_that_is_being_created_is_not_broken() {
        let machine = Machine::new();
        let store = Store::at(&machine.runtime.root).unwrap();
        let container = store.create(&ContainerId::parse("c1").unwrap()).unwrap();
        assert_eq!(names(&list(&machine.runtime).unwrap()), (vec![], vec![]));
        drop(container);
        assert_eq!(names(&list(&machine.runtime).unwrap()), (vec![], vec!["c1"]));
    }

    #[test]
    fn missing_root_is_an_error_that_says_so() {
        let machine = Machine::new();
        let runtime = Runtime { root: machine.runtime.root.join("absent"), ..machine.runtime.clone() };
        assert!(matches!(list(&runtime), Err(Error::State(state::Error::NoRoot { .. }))));
    }

    #[test]
    fn owner_is_the_first_name_with_the_number_or_the_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n#:x\n:x:7::\nbad:x:seven\ntoor:x:0:0::/:\nu\xffv:x:1000:1000::/:";
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("u\u{fffd}v"));
        assert_eq!(name_in(passwd, 7), None);
        let mut owners = Owners { passwd: Some(passwd.to_vec()), ..Owners::default() };
        assert_eq!(owners.name(7), "#7");
        assert_eq!(owners.name(0), "root");
    }
}
