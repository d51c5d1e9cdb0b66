//! The processes of a unit: how they come into it, and whether they were killed.

use std::path::Path;

use super::{Directories, Systemd, Value};
use crate::Cgroup as _;
use crate::error::{Error, Result};
use crate::files::write_value;
use crate::oom::OomWatch;
use crate::unified::Unified;

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
        let name = self.unit.name.as_str();
        let arguments = vec![
            Value::text(name),
            Value::Text(Path::new("/").join(below).display().to_string()),
            Value::Array("u".into(), vec![Value::U32(pid.unsigned_abs())]),
        ];
        self.connect()?.call("AttachProcessesToUnit", Some(name), arguments)?;
        Ok(())
    }

    /// Watches for processes of the unit that are killed for want of memory, and can still be asked when systemd has taken the cgroup
    /// away, as it does with a scope's last process. On v2 that is told by the slice's counter, which counts for its other units, too.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Read`] and [`Error::Write`].
    pub fn watch_oom_beyond_its_end(&self) -> Result<Option<OomWatch>> {
        match &self.directories {
            Directories::Unified(Unified { directory, .. }) => {
                directory.parent().map_or(Ok(None), OomWatch::unified)
            }
            Directories::Legacy(cgroup) => cgroup.watch_oom(),
        }
    }
}
