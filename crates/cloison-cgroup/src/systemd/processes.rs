//! The processes of a unit: how they come into it, and whether they were killed.

use std::path::Path;

use super::{Bus, BusError, Directories, Systemd, Value};
use crate::Cgroup as _;
use crate::error::{Error, Result};
use crate::files::write_value;

impl Systemd {
    /// Moves the calling process, which is the unit's first, into what systemd has not moved it into.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Join`].
    pub fn join(&self) -> Result<()> {
        self.entry()?.join()?;
        if self.unit.is_slice()
            && let Directories::Unified(cgroup) = &self.directories
        {
            let path = cgroup.directory.join("cgroup.procs");
            write_value(&path, "0").map_err(|source| Error::Join { path, source })?;
        }
        Ok(())
    }

    /// Has systemd move a process to `directory`, which is the unit's cgroup or one below it. That is for a process outside of what
    /// is delegated to a user, whom the kernel lets move processes only within that (cgroups(7), "Delegation containment"). The
    /// process has to be the user's still: systemd looks at its uid.
    ///
    /// # Errors
    /// [`Error::BadSubCgroup`] for a directory elsewhere, [`Error::Bus`].
    pub fn attach(&self, pid: i32, directory: &Path) -> Result<()> {
        let below = match &self.directories {
            Directories::Unified(own) => directory.strip_prefix(&own.directory).ok(),
            Directories::Legacy(_) => None,
        };
        let below = below.ok_or_else(|| Error::BadSubCgroup(directory.display().to_string()))?;
        Ok(self.attach_by(&mut self.connect()?, pid, below)?)
    }

    fn attach_by(&self, bus: &mut Bus, pid: i32, below: &Path) -> Result<(), BusError> {
        let name = self.unit.name.as_str();
        let arguments = vec![
            Value::text(name),
            Value::Text(Path::new("/").join(below).display().to_string()),
            Value::Array("u".into(), vec![Value::U32(pid.unsigned_abs())]),
        ];
        bus.call("AttachProcessesToUnit", Some(name), arguments).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::bus::testing::{FakeBus, LONG, Peer};
    use crate::systemd::tests::scope;

    #[test]
    fn a_process_is_moved_into_the_unit_or_below_it_and_nowhere_else() {
        for (below, told) in [("", "/"), ("a/b", "/a/b")] {
            let fake = FakeBus::new(|mut peer: Peer| {
                peer.welcome_as_broker();
                let call = peer.receive().unwrap();
                peer.answer(&call, vec![]);
                call
            });
            let mut bus = fake.connect(LONG).unwrap();
            scope().attach_by(&mut bus, 42, Path::new(below)).unwrap();
            drop(bus);
            let call = fake.join();
            assert_eq!(call.member.as_deref(), Some("AttachProcessesToUnit"));
            let printed: Vec<String> = call.body.iter().map(ToString::to_string).collect();
            assert_eq!(printed, ["box-1.scope", told, "[42]"]);
            assert_eq!(call.body.iter().map(Value::signature).collect::<String>(), "ssau");
        }
        let elsewhere = scope().attach(42, Path::new("/nonexistent/machine.slice/box-2.scope"));
        assert!(matches!(elsewhere, Err(Error::BadSubCgroup(_))), "{elsewhere:?}");
    }
}
