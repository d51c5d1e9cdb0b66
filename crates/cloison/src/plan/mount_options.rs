//! The mount options of runtime-spec (config.md, "Linux mount options"), split once into what the kernel calls take.

use cloison_linux::{MountAttrFlags as Attr, MountFlags, MountPropagationFlags as Propagation};

/// What one option does.
#[derive(Clone, Copy)]
enum Effect {
    /// Nothing beyond its presence (`defaults`).
    Nothing,
    /// Sets these attributes, after clearing the second ones.
    Set(Attr, Attr),
    /// Clears these attributes.
    Clear(Attr),
    /// The same for the mount and all below it (`mount_setattr` with `AT_RECURSIVE`).
    SetAll(Attr, Attr),
    /// Clears attributes of the mount and all below it.
    ClearAll(Attr),
    /// A flag of the file system itself, by its name in `fsconfig(2)`, set or not, and its `mount(2)` bit.
    Super(&'static str, bool, u32),
    /// A flag that only `mount(2)` knows.
    Old(u32, bool),
    /// Read-only, or not: of the mount and of the file system.
    ReadOnly(bool),
    /// Changes the propagation.
    Propagate(Propagation),
    /// A bind mount, with or without the mounts below.
    Bind(bool),
    /// Changes an existing mount.
    Remount,
    /// Copies what the mount covers into it.
    CopyUp,
    /// An idmapped mount, recursive or not.
    IdMap(bool),
}

const MS_MANDLOCK: u32 = 64;
const MS_SYNCHRONOUS: u32 = 16;
const MS_DIRSYNC: u32 = 128;
const MS_SILENT: u32 = 32768;
const MS_I_VERSION: u32 = 1 << 23;
const MS_LAZYTIME: u32 = 1 << 25;

const RDONLY: Attr = Attr::MOUNT_ATTR_RDONLY;
const NOSUID: Attr = Attr::MOUNT_ATTR_NOSUID;
const NODEV: Attr = Attr::MOUNT_ATTR_NODEV;
const NOEXEC: Attr = Attr::MOUNT_ATTR_NOEXEC;
const NODIRATIME: Attr = Attr::MOUNT_ATTR_NODIRATIME;
const NOSYMFOLLOW: Attr = Attr::MOUNT_ATTR_NOSYMFOLLOW;
const NOATIME: Attr = Attr::MOUNT_ATTR_NOATIME;
const STRICTATIME: Attr = Attr::MOUNT_ATTR_STRICTATIME;
/// `MOUNT_ATTR_RELATIME` is 0: the absence of the other two.
const RELATIME: Attr = Attr::MOUNT_ATTR_RELATIME;
/// The field that holds one of the three.
const ATIME: Attr = Attr::MOUNT_ATTR__ATIME;
const NONE: Attr = Attr::empty();

use Effect::{
    Bind, Clear, ClearAll, CopyUp, IdMap, Nothing, Old, Propagate, ReadOnly, Remount, Set, SetAll, Super,
};

/// Every option that is ours; all others go to the file system. Sorted by name.
const TABLE: &[(&str, Effect)] = &[
    ("async", Super("async", false, MS_SYNCHRONOUS)),
    ("atime", Clear(NOATIME)),
    ("bind", Bind(false)),
    ("defaults", Nothing),
    ("dev", Clear(NODEV)),
    ("diratime", Clear(NODIRATIME)),
    ("dirsync", Super("dirsync", true, MS_DIRSYNC)),
    ("exec", Clear(NOEXEC)),
    ("idmap", IdMap(false)),
    ("iversion", Old(MS_I_VERSION, true)),
    ("lazytime", Super("lazytime", true, MS_LAZYTIME)),
    ("loud", Old(MS_SILENT, false)),
    ("mand", Super("mand", true, MS_MANDLOCK)),
    ("noatime", Set(NOATIME, ATIME)),
    ("nodev", Set(NODEV, NONE)),
    ("nodiratime", Set(NODIRATIME, NONE)),
    ("noexec", Set(NOEXEC, NONE)),
    ("noiversion", Old(MS_I_VERSION, false)),
    ("nolazytime", Super("nolazytime", false, MS_LAZYTIME)),
    ("nomand", Super("nomand", false, MS_MANDLOCK)),
    ("norelatime", Clear(RELATIME)),
    ("nostrictatime", Clear(STRICTATIME)),
    ("nosuid", Set(NOSUID, NONE)),
    ("nosymfollow", Set(NOSYMFOLLOW, NONE)),
    ("private", Propagate(Propagation::PRIVATE)),
    ("ratime", ClearAll(NOATIME)),
    ("rbind", Bind(true)),
    ("rdev", ClearAll(NODEV)),
    ("rdiratime", ClearAll(NODIRATIME)),
    ("relatime", Set(RELATIME, ATIME)),
    ("remount", Remount),
    ("rexec", ClearAll(NOEXEC)),
    ("ridmap", IdMap(true)),
    ("rnoatime", SetAll(NOATIME, ATIME)),
    ("rnodev", SetAll(NODEV, NONE)),
    ("rnodiratime", SetAll(NODIRATIME, NONE)),
    ("rnoexec", SetAll(NOEXEC, NONE)),
    ("rnorelatime", ClearAll(RELATIME)),
    ("rnostrictatime", ClearAll(STRICTATIME)),
    ("rnosuid", SetAll(NOSUID, NONE)),
    ("rnosymfollow", SetAll(NOSYMFOLLOW, NONE)),
    ("ro", ReadOnly(true)),
    ("rprivate", Propagate(Propagation::PRIVATE.union(Propagation::REC))),
    ("rrelatime", SetAll(RELATIME, ATIME)),
    ("rro", SetAll(RDONLY, NONE)),
    ("rrw", ClearAll(RDONLY)),
    ("rshared", Propagate(Propagation::SHARED.union(Propagation::REC))),
    ("rslave", Propagate(Propagation::DOWNSTREAM.union(Propagation::REC))),
    ("rstrictatime", SetAll(STRICTATIME, ATIME)),
    ("rsuid", ClearAll(NOSUID)),
    ("rsymfollow", ClearAll(NOSYMFOLLOW)),
    ("runbindable", Propagate(Propagation::UNBINDABLE.union(Propagation::REC))),
    ("rw", ReadOnly(false)),
    ("shared", Propagate(Propagation::SHARED)),
    ("silent", Old(MS_SILENT, true)),
    ("slave", Propagate(Propagation::DOWNSTREAM)),
    ("strictatime", Set(STRICTATIME, ATIME)),
    ("suid", Clear(NOSUID)),
    ("symfollow", Clear(NOSYMFOLLOW)),
    ("sync", Super("sync", true, MS_SYNCHRONOUS)),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(Propagation::UNBINDABLE)),
];

/// The names of all options that are ours, sorted: what `features` tells engines. `idmap` and `ridmap` are told elsewhere there.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Attributes to set and to clear. A bit is in at most one of the two, but for the access-time field, which is cleared before
/// it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set.
    pub set: Attr,
    /// Bits to clear first.
    pub clear: Attr,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { set: NONE, clear: NONE }
    }
}

impl Attributes {
    /// True if nothing is to be changed.
    pub fn is_empty(self) -> bool {
        self.set.is_empty() && self.clear.is_empty()
    }

    fn set(&mut self, bits: Attr, field: Attr) {
        self.set = (self.set - field) | bits;
        self.clear = (self.clear - bits) | field;
    }

    fn clear(&mut self, bits: Attr) {
        self.set -= bits;
        self.clear |= if ATIME.contains(bits) { ATIME } else { bits };
    }
}

/// One mount's options, split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `bind` (false) or `rbind` (true).
    pub bind: Option<bool>,
    /// `remount`: change what is mounted at the destination.
    pub remount: bool,
    /// `ro` (true), `rw` (false), or neither.
    pub read_only: Option<bool>,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// An access-time mode or `nodiratime` is asked for by name, and nothing of it taken back.
    pub access_times: bool,
    /// Attributes of the mount and all below it.
    pub recursive: Attributes,
    /// Changes of propagation, in order.
    pub propagation: Vec<Propagation>,
    /// Flags of the file system, by their `fsconfig(2)` names.
    pub super_flags: Vec<&'static str>,
    /// Flags that `fsconfig(2)` cannot express; if there are any, `mount(2)` must be used.
    pub old_flags: u32,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub id_map: Option<bool>,
    /// Options of the file system itself, `key` or `key=value`.
    pub data: Vec<String>,
    /// The `SELinux` label that its root gets once it is made, where there is no option for it.
    pub label: Option<String>,
}

impl MountOptions {
    /// Whether the mount is to be read-only, alone or with all below it.
    pub fn is_read_only(&self) -> bool {
        [self.attributes, self.recursive].iter().any(|attributes| attributes.set.contains(RDONLY))
    }

    /// Splits options; later ones win over earlier ones. Never fails: what is not known goes to the file system, which refuses
    /// what it does not know with a message of its own.
    pub fn parse<S: AsRef<str>>(options: &[S]) -> Self {
        let mut parsed = Self::default();
        for option in options.iter().map(AsRef::as_ref).filter(|option| !option.is_empty()) {
            match TABLE.binary_search_by(|(name, _)| (*name).cmp(option)) {
                Ok(at) => parsed.apply(TABLE[at].1),
                Err(_) => parsed.data.push(option.to_owned()),
            }
        }
        parsed
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Nothing => {}
            Set(bits, field) => {
                self.attributes.set(bits, field);
                self.access_times |= field == ATIME || bits == NODIRATIME;
            }
            Clear(bits) => {
                self.attributes.clear(bits);
                self.access_times &= self.attributes.set.intersects(ATIME | NODIRATIME);
            }
            SetAll(bits, field) => self.recursive.set(bits, field),
            ClearAll(bits) => self.recursive.clear(bits),
            Super(name, true, _) => self.super_flags.push(name),
            Super(_, false, bit) => self.super_flags.retain(|name| super_bit(name) != bit),
            Old(bit, true) => self.old_flags |= bit,
            Old(bit, false) => self.old_flags &= !bit,
            ReadOnly(yes) => {
                self.read_only = Some(yes);
                if yes { self.attributes.set(RDONLY, NONE) } else { self.attributes.clear(RDONLY) }
            }
            Propagate(flags) => self.propagation.push(flags),
            Bind(recursive) => self.bind = Some(recursive),
            Remount => self.remount = true,
            CopyUp => self.copy_up = true,
            IdMap(recursive) => self.id_map = Some(recursive),
        }
    }

    /// The attributes as a bind mount takes them: it has its source's access times, which come all together. As with mount(8), one that
    /// is asked for replaces them all, and without one there is nothing to take back.
    pub fn of_bind(&self) -> Attributes {
        let times = ATIME | NODIRATIME;
        let Attributes { set, clear } = self.attributes;
        let clear = if self.access_times { clear | ATIME | (NODIRATIME - set) } else { clear - times };
        Attributes { set, clear }
    }

    /// All of it as `mount(2)` takes it, for the cases in which the newer calls cannot be used.
    pub fn legacy_flags(&self) -> MountFlags {
        let supers = self.super_flags.iter().map(|name| super_bit(name)).fold(0, |all, bit| all | bit);
        MountFlags::from_bits_retain(attribute_bits(self.attributes.set) | self.old_flags | supers)
    }
}

fn super_bit(name: &str) -> u32 {
    TABLE
        .iter()
        .find_map(|(known, effect)| match effect {
            Super(_, true, bit) if *known == name => Some(*bit),
            _ => None,
        })
        .unwrap_or(0)
}

/// The `MS_*` bits that mean the same as these `MOUNT_ATTR_*` bits.
pub fn attribute_bits(attributes: Attr) -> u32 {
    let pairs = [
        (RDONLY, MountFlags::RDONLY),
        (NOSUID, MountFlags::NOSUID),
        (NODEV, MountFlags::NODEV),
        (NOEXEC, MountFlags::NOEXEC),
        (NODIRATIME, MountFlags::NODIRATIME),
        (NOATIME, MountFlags::NOATIME),
        (STRICTATIME, MountFlags::STRICTATIME),
    ];
    let known = pairs
        .iter()
        .filter(|(attr, _)| attributes.contains(*attr))
        .fold(0, |all, (_, flag)| all | flag.bits());
    if attributes.contains(NOSYMFOLLOW) { known | 256 } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_so_that_it_can_be_searched() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn later_options_win() {
        let options = MountOptions::parse(&["ro", "nosuid", "rw", "suid"]);
        assert_eq!(options.attributes, Attributes { set: NONE, clear: RDONLY | NOSUID });
        assert_eq!(options.read_only, Some(false));
    }

    #[test]
    fn an_access_time_mode_replaces_the_one_before() {
        let options = MountOptions::parse(&["noatime", "strictatime"]);
        // mount_setattr(2) takes the field only if all of it is cleared.
        assert_eq!(options.attributes, Attributes { set: STRICTATIME, clear: ATIME });
    }

    #[test]
    fn access_times_of_a_bind_mount_are_replaced_as_a_whole_or_left_alone() {
        let of = |options: &[&str]| MountOptions::parse(options).of_bind();
        for alone in [&["atime"][..], &["norelatime"], &["diratime"], &["noatime", "atime"]] {
            assert_eq!(of(alone), Attributes::default(), "{alone:?}");
        }
        assert_eq!(of(&["relatime"]), Attributes { set: NONE, clear: ATIME | NODIRATIME });
        assert_eq!(of(&["strictatime"]), Attributes { set: STRICTATIME, clear: ATIME | NODIRATIME });
        assert_eq!(of(&["nodiratime"]), Attributes { set: NODIRATIME, clear: ATIME });
        let both = Attributes { set: NODIRATIME | NOATIME, clear: ATIME };
        assert_eq!(of(&["nodiratime", "noatime"]), both);
    }

    #[test]
    fn unknown_options_go_to_the_file_system_in_order() {
        let options = MountOptions::parse(&["mode=755", "nosuid", "size=64k"]);
        assert_eq!(options.data, ["mode=755", "size=64k"]);
    }

    #[test]
    fn recursive_options_are_kept_apart() {
        let options = MountOptions::parse(&["rbind", "rro"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.recursive, Attributes { set: RDONLY, clear: NONE });
        assert!(options.attributes.is_empty());
    }

    #[test]
    fn the_same_flags_for_mount_2() {
        let options = MountOptions::parse(&["ro", "sync", "noatime", "iversion"]);
        let flags = options.legacy_flags();
        assert!(flags.contains(MountFlags::RDONLY | MountFlags::NOATIME));
        assert_eq!(flags.bits() & (MS_SYNCHRONOUS | MS_I_VERSION), MS_SYNCHRONOUS | MS_I_VERSION);
    }

    #[test]
    fn async_takes_sync_back() {
        assert!(MountOptions::parse(&["sync", "async"]).super_flags.is_empty());
    }
}
