//! A cgroup that systemd makes: a scope or a slice, asked for over D-Bus.
//!
//! systemd decides where the cgroup lies, hands it over (`Delegate=yes`), and takes it away when its last process is gone. What it
//! has properties for is told to it, because it writes the cgroup's files anew at times of its own choosing; then everything is
//! written to the files, as without systemd.

mod bus;
mod devices;
mod gvariant;
mod limits;
mod processes;
mod property;
#[cfg(test)]
mod tests;
mod unit;
mod value;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use bus::{Bus, Deadlines, Whose};
pub use bus::{BusError, Why};
pub use property::Property;
pub use unit::Unit;
pub use value::Value;

use crate::Cgroup;
use crate::claim::Claim;
use crate::devices::DeviceRule;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::files::{read_value, read_whole};
use crate::layout::Layout;
use crate::legacy::Legacy;
use crate::limits::Terms;
use crate::oom::OomWatch;
use crate::path::CgroupPath;
use crate::procfs::memberships;
use crate::record::Record;
use crate::resources::{Cpu, Limit, Resources};
use crate::stats::{Stats, Subjects};
use crate::unified::Unified;

/// Where systemd says that it runs, `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";

/// How long a systemd that cannot be spoken with gets to see by itself that a cgroup is empty. The kernel tells it within 10 ms.
const SYSTEMD_SEES_THE_END: Duration = Duration::from_secs(1);

/// A cgroup that systemd makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Systemd {
    /// The unit.
    pub unit: Unit,
    /// Its directories.
    pub directories: Directories,
}

/// The directories of a unit's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hierarchy", rename_all = "kebab-case")]
pub enum Directories {
    /// On v2.
    Unified(Unified),
    /// On v1, and on hybrid machines.
    Legacy(Legacy),
}

impl Directories {
    /// What they are without systemd.
    #[must_use]
    pub fn cgroup(&self) -> &dyn Cgroup {
        match self {
            Self::Unified(cgroup) => cgroup,
            Self::Legacy(cgroup) => cgroup,
        }
    }

    /// Refuses limits that cannot be, before systemd is told of them.
    fn check(&self, resources: &Resources) -> Result<()> {
        match self {
            Self::Unified(cgroup) => crate::unified::limits::settings(resources, &cgroup.directory).map(drop),
            Self::Legacy(_) => crate::legacy::limits::settings(resources).map(drop),
        }
    }

    /// The processor time that is set now.
    fn cpu(&self) -> Cpu {
        let number = |text: &str| text.parse().ok().map(Limit::of_signed);
        let (quota, period) = match self {
            Self::Unified(cgroup) => {
                let text = read_value(&cgroup.directory.join("cpu.max")).unwrap_or_default();
                let mut words = text.split(' ').map(str::to_owned);
                (words.next().unwrap_or_default(), words.next().unwrap_or_default())
            }
            Self::Legacy(cgroup) => {
                let read = |file| {
                    cgroup.of("cpu").and_then(|path| read_value(&path.join(file)).ok()).unwrap_or_default()
                };
                (read("cpu.cfs_quota_us"), read("cpu.cfs_period_us"))
            }
        };
        let quota = if quota == "max" { Some(Limit::Max) } else { number(&quota) };
        Cpu { quota, period: period.parse().ok(), ..Cpu::default() }
    }
}

/// What a unit is made with.
#[derive(Debug, Clone, Default)]
pub struct Birth<'a> {
    /// For people who list units.
    pub description: String,
    /// Its first process. A slice cannot be given any.
    pub pid: i32,
    /// The limits that it will have, of which it has to know one at birth (`OOMPolicy=`).
    pub resources: Option<&'a Resources>,
    /// Other properties; they hold rather than our own.
    pub properties: Vec<Property>,
}

impl Systemd {
    /// Where systemd will put `unit`. The user's systemd is asked where it is itself.
    ///
    /// # Errors
    /// [`Error::NoSystemd`] where it does not run, [`Error::UserOnLegacy`] for the user's on v1, which cannot hand over cgroups,
    /// [`Error::Bus`]; [`Error::NotMounted`].
    pub fn place(unit: Unit, layout: &Layout) -> Result<Self> {
        let address = if unit.user { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" };
        let asked = std::env::var_os(address).is_some_and(|address| !address.is_empty());
        let is_there = asked || Path::new(BOOTED).is_dir();
        if !unit.user && !is_there {
            return Err(Error::NoSystemd);
        }
        let mut path = PathBuf::new();
        if unit.user {
            if matches!(layout, Layout::Legacy { .. }) {
                return Err(Error::UserOnLegacy);
            }
            // A user's may be there all the same, in a container say.
            let root = user_root().map_err(|error| if is_there { error } else { Error::NoSystemd })?;
            path.push(root.trim_start_matches('/'));
        }
        let path = CgroupPath::Absolute(path.join(unit.below()?));
        let directories = match layout.place(&path)? {
            Record::Unified(cgroup) => Directories::Unified(cgroup),
            Record::Legacy(cgroup) => Directories::Legacy(cgroup),
            Record::Disabled(_) | Record::Systemd(_) => return Err(Error::NotMounted),
        };
        Ok(Self { unit, directories })
    }

    /// Has systemd make the unit with its first process, and waits until that is in its cgroup. A unit of that name that has
    /// failed is forgotten first. What is wrong with a unit that is not started in the end is left to systemd to clear away.
    ///
    /// # Errors
    /// [`Error::Bus`] with what systemd says; [`Error::is_unit_exists`] tells that the unit was there before.
    pub fn start(&mut self, birth: Birth<'_>) -> Result<()> {
        let mut bus = self.connect()?;
        let pid = birth.pid;
        match self.start_over(&mut bus, birth) {
            Ok(()) => {}
            Err(error) if error.is("UnitExists") => return Err(error.into()),
            Err(error) => {
                bus.post_stop(&self.unit.name);
                return Err(error.into());
            }
        }
        let completed = self.find(pid).and_then(|()| self.complete());
        if completed.is_err() {
            bus.post_stop(&self.unit.name);
        }
        completed
    }

    fn start_over(&self, bus: &mut Bus, birth: Birth<'_>) -> Result<(), BusError> {
        let properties = self.properties(bus, birth)?;
        let name = self.unit.name.as_str();
        bus.watch_jobs(name)?;
        let mut retried = false;
        let job = loop {
            let arguments = vec![
                Value::text(name),
                Value::text("replace"),
                property::list(properties.clone()),
                Value::Array("(sa(sv))".into(), Vec::new()),
            ];
            match bus.call_for_job("StartTransientUnit", name, arguments) {
                Err(error) if error.is("UnitExists") && !retried => {
                    log::debug!("{error}; if it has failed, it can be forgotten");
                    retried = true;
                    reset_failed(bus, name)?;
                }
                result => break result?,
            }
        };
        match bus.wait_for_job("StartTransientUnit", name, &job)?.as_str() {
            "done" => Ok(()),
            other => Err(bus.error("StartTransientUnit", Some(name), Why::JobResult(other.to_owned()))),
        }
    }

    fn properties(&self, bus: &mut Bus, birth: Birth<'_>) -> Result<Vec<Property>, BusError> {
        let truth = |name: &str, value| Property::new(name, Value::Bool(value));
        let mut all = vec![Property::new("Description", Value::Text(birth.description))];
        if self.unit.is_slice() {
            all.push(Property::new("Wants", Value::texts([&self.unit.slice])));
        } else {
            all.push(Property::new("Slice", Value::text(&self.unit.slice)));
            all.push(truth("Delegate", true));
            let pids = Value::Array("u".into(), vec![Value::U32(birth.pid.unsigned_abs())]);
            all.push(Property::new("PIDs", pids));
        }
        // For what is made later below it: some controllers count from then on only.
        let io = if self.is_unified() { "IOAccounting" } else { "BlockIOAccounting" };
        all.extend(
            ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"].map(|name| truth(name, true)),
        );
        // A container does not have to end when the machine's shutdown begins, its engine does that.
        all.push(truth("DefaultDependencies", false));
        if let Some(resources) = birth.resources
            && self.is_unified()
        {
            all.extend(limits::at_birth(resources, &mut version(bus))?);
        }
        all.retain(|own| !birth.properties.iter().any(|given| given.name == own.name));
        all.extend(birth.properties);
        Ok(all)
    }

    fn is_unified(&self) -> bool {
        matches!(self.directories, Directories::Unified(_))
    }

    /// Where systemd has put the process is where the cgroup is.
    fn find(&mut self, pid: i32) -> Result<()> {
        if self.unit.is_slice() {
            return Ok(());
        }
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = read_whole(&path).map_err(|source| Error::Read { path, source })?;
        let all = memberships(&text);
        let wanted = if self.is_unified() { "" } else { "name=systemd" };
        let found = all.iter().find(|one| one.controllers.join(",") == wanted).map(|one| one.path);
        let Some(found) =
            found.and_then(|path| path.strip_prefix('/')).filter(|path| !path.starts_with(".."))
        else {
            return Ok(());
        };
        let below = self.unit.below()?;
        match &mut self.directories {
            Directories::Unified(cgroup) => {
                let directory = cgroup.mount.join(found);
                if directory != cgroup.directory && directory.is_dir() {
                    log::debug!("{} is in {}", self.unit.name, directory.display());
                    cgroup.directory = directory;
                }
            }
            Directories::Legacy(cgroup) => {
                let moved = |path: &Path| {
                    let mount = path.ancestors().nth(below.components().count());
                    mount.filter(|_| path.ends_with(&below)).map(|mount| mount.join(found))
                };
                for directory in &mut cgroup.directories {
                    if let Some(path) = moved(&directory.path) {
                        directory.path = path;
                    }
                }
                cgroup.unified = cgroup.unified.take().map(|path| moved(&path).unwrap_or(path));
            }
        }
        Ok(())
    }

    /// Makes what systemd does not: directories in hierarchies that it does not know, controllers that it does not hand down.
    fn complete(&self) -> Result<()> {
        match &self.directories {
            Directories::Unified(cgroup) => cgroup.complete(),
            Directories::Legacy(cgroup) => cgroup.complete(),
        }
    }

    fn connect(&self) -> Result<Bus, BusError> {
        let whose = if self.unit.user { Whose::User } else { Whose::System };
        Bus::connect(whose, Deadlines::default())
    }

    fn set(&self, bus: &mut Bus, properties: Vec<Property>) -> Result<(), BusError> {
        if properties.is_empty() {
            return Ok(());
        }
        let name = self.unit.name.as_str();
        let arguments = vec![Value::text(name), Value::Bool(true), property::list(properties)];
        bus.call("SetUnitProperties", Some(name), arguments)?;
        // systemd answers, and then writes the cgroup's files, before it listens again. What we write must come after that.
        bus.manager_property("Version").map(drop)
    }

    /// What the properties are now; those that cannot be read are left out.
    fn current(&self, bus: &mut Bus, properties: &[Property]) -> Vec<Property> {
        let (object, interface) = (self.unit.object(), self.unit.interface());
        let read = properties.iter().filter_map(|property| {
            match bus.property(Some(&self.unit.name), &object, interface, &property.name) {
                Ok(value) => Some(Property::new(property.name.clone(), value)),
                Err(error) => {
                    log::debug!("{error}; it could not be taken back");
                    None
                }
            }
        });
        read.collect()
    }

    /// Removes the cgroup, then stops the unit if systemd could be reached.
    ///
    /// Where it could not be, the end of a scope rests with systemd alone, which looks whether the cgroup is empty when the kernel says that
    /// something has changed; if it has gone by then, systemd takes the scope for running for ever (252). So it is first
    /// given the time to take the cgroup away itself. A slice does not end by itself, nor does its cgroup.
    fn remove_with(&self, bus: std::result::Result<Bus, BusError>) -> Result<()> {
        if let (Err(_), Directories::Unified(cgroup), false) = (&bus, &self.directories, self.unit.is_slice())
        {
            let until = Instant::now() + SYSTEMD_SEES_THE_END;
            while cgroup.directory.exists() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let removed = self.directories.cgroup().remove();
        match bus.and_then(|bus| self.stop(bus)) {
            Ok(()) => {}
            Err(error) if removed.is_ok() && !self.unit.is_slice() => {
                log::warn!(
                    "the unit's processes are gone, but if it has failed, systemd remembers it: {error}"
                );
            }
            Err(error) if removed.is_ok() => return Err(error.into()),
            Err(error) => log::warn!("{error}"),
        }
        removed
    }

    /// Stops the unit and has systemd forget that it has failed. That it is gone already is success.
    fn stop(&self, mut bus: Bus) -> Result<(), BusError> {
        let name = self.unit.name.as_str();
        bus.watch_jobs(name)?;
        let arguments = vec![Value::text(name), Value::text("replace")];
        match bus.call_for_job("StopUnit", name, arguments) {
            Ok(job) => {
                let result = bus.wait_for_job("StopUnit", name, &job)?;
                if result != "done" {
                    log::debug!("stopping {name} ended as {result:?}; its processes have ended anyway");
                }
            }
            Err(error) if error.is("NoSuchUnit") => return Ok(()),
            Err(error) => return Err(error),
        }
        reset_failed(&mut bus, name)
    }
}

/// The cgroup of the user's systemd: `/user.slice/user-1000.slice/user@1000.service`.
fn user_root() -> Result<String> {
    let mut bus = Bus::connect(Whose::User, Deadlines::default())?;
    match bus.manager_property("ControlGroup")? {
        Value::Text(path) => Ok(path),
        _ => Err(bus.error("ControlGroup", None, Why::Protocol("no text")).into()),
    }
}

fn reset_failed(bus: &mut Bus, name: &str) -> Result<(), BusError> {
    match bus.call("ResetFailedUnit", Some(name), vec![Value::text(name)]) {
        Err(error) if !error.is("NoSuchUnit") => Err(error),
        _ => Ok(()),
    }
}

/// Asks for the version once, when it is first needed.
fn version(bus: &mut Bus) -> impl FnMut() -> Result<u32, BusError> {
    let mut known = None;
    move || {
        if let Some(version) = known {
            return Ok(version);
        }
        let value = bus.manager_property("Version")?;
        let version = number_of_version(&value.to_string());
        let version = version.ok_or_else(|| bus.error("Version", None, Why::Protocol("no version")))?;
        known = Some(version);
        Ok(version)
    }
}

/// `v245.4-1.fc32`, `252.39-1~deb12u2` and `257` are 245, 252 and 257.
fn number_of_version(text: &str) -> Option<u32> {
    let text = text.trim_start_matches('v');
    text[..text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len())].parse().ok()
}

impl Cgroup for Systemd {
    /// Only looks whether the unit's cgroup is free: it is [`start`](Systemd::start)ed with its first process.
    fn create(&self) -> Result<()> {
        match &self.directories {
            Directories::Unified(cgroup) if cgroup.exists() => {
                crate::unified::must_be_free(&cgroup.directory)
            }
            Directories::Legacy(cgroup) if cgroup.exists() => cgroup.must_be_free(),
            _ => Ok(()),
        }
    }

    /// Nothing: no two units have one name.
    fn claim(&self) -> Result<Claim> {
        Ok(Claim::of_nothing())
    }

    fn delegate(&self, uid: u32) -> Result<()> {
        self.directories.cgroup().delegate(uid)
    }

    fn apply(&self, resources: &Resources, terms: Terms) -> Result<Vec<Error>> {
        if resources.is_empty() {
            return Ok(Vec::new());
        }
        self.directories.check(resources)?;
        let mut resources = limits::rounded(resources, || self.directories.cpu());
        let mut bus = self.connect()?;
        if self.is_unified() {
            resources = limits::without_weight_of_the_idle(resources, &mut version(&mut bus))?;
        }
        let properties = if self.is_unified() { limits::unified } else { limits::legacy }(
            &resources,
            &mut version(&mut bus),
        );
        let properties = properties.map_err(|trouble| match trouble {
            limits::Trouble::Limit(error) => Error::from(error),
            limits::Trouble::Bus(error) => error.into(),
        })?;
        let before = if terms.undo { self.current(&mut bus, &properties) } else { Vec::new() };
        self.set(&mut bus, properties)?;
        let applied = self.directories.cgroup().apply(&resources, terms);
        if applied.is_err()
            && let Err(error) = self.set(&mut bus, before)
        {
            log::warn!("the unit keeps properties whose limits were refused: {error}");
        }
        applied
    }

    fn apply_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        // The user's systemd may not restrict devices either.
        if !self.unit.user {
            self.set(&mut self.connect()?, devices::properties(rules, self.is_unified()))?;
        }
        self.directories.cgroup().apply_devices(rules)
    }

    fn entry(&self) -> Result<Entry> {
        self.directories.cgroup().entry()
    }

    fn exists(&self) -> bool {
        self.directories.cgroup().exists()
    }

    fn is_frozen(&self) -> Result<bool> {
        self.directories.cgroup().is_frozen()
    }

    fn freeze(&self) -> Result<()> {
        self.directories.cgroup().freeze()
    }

    fn thaw(&self) -> Result<()> {
        self.directories.cgroup().thaw()
    }

    fn processes(&self) -> Result<Vec<i32>> {
        self.directories.cgroup().processes()
    }

    fn kill_all(&self, signal: Signal) -> Result<()> {
        self.directories.cgroup().kill_all(signal)
    }

    fn stats(&self, of: Subjects) -> Result<Stats> {
        self.directories.cgroup().stats(of)
    }

    /// systemd takes the cgroup away with the unit's last process. Whether that was killed for want of memory is then told by the slice's
    /// counter, which counts for its other units, too.
    fn watch_oom(&self) -> Result<Option<OomWatch>> {
        match &self.directories {
            Directories::Unified(cgroup) => OomWatch::unified_in_passing(&cgroup.directory),
            Directories::Legacy(cgroup) => cgroup.watch_oom(),
        }
    }

    /// Also stops the unit. A scope ends with its last process by itself, so that systemd cannot be reached is no error, but is
    /// told as a warning.
    fn remove(&self) -> Result<()> {
        self.remove_with(self.connect())
    }
}
