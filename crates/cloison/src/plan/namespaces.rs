//! Which namespaces are new and which are joined, and what fills them: id maps and clock offsets.

use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;

use super::action::{Action, HostAction, IdMapping, NetDevice, Offsets, Origin};
use super::{CgroupView, HostFacts, Steps};
use crate::spec::{self, NamespaceType, Spec};

/// The namespaces of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespaces {
    /// Those that are made.
    pub new: NamespaceFlags,
    joined: Vec<(NamespaceFlags, PathBuf, Origin)>,
    origins: Vec<(NamespaceFlags, Origin)>,
}

impl Namespaces {
    /// Reads `/linux/namespaces`.
    pub fn of(spec: &Spec) -> Self {
        let mut all = Self { new: NamespaceFlags::empty(), joined: Vec::new(), origins: Vec::new() };
        for (index, namespace) in spec.linux.namespaces.iter().enumerate() {
            let kind = flag(namespace.kind);
            let origin = Origin::index("/linux/namespaces", index);
            all.origins.push((kind, origin.clone()));
            match &namespace.path {
                Some(path) => all.joined.push((kind, PathBuf::from(path), origin)),
                None => all.new |= kind,
            }
        }
        all
    }

    /// New or joined.
    pub fn has(&self, kind: NamespaceFlags) -> bool {
        self.new.contains(kind) || self.joins(kind)
    }

    /// True if no other container's process has both a name for the init, by its PID namespace, and rights over it, by its user namespace.
    pub fn nobody_else_sees_the_init(&self) -> bool {
        let (user, pid) = (NamespaceFlags::USER, NamespaceFlags::PID);
        self.has(user) && (self.new.contains(pid) || self.new.contains(user) && !self.joins(pid))
    }

    /// All of them.
    pub fn all(&self) -> NamespaceFlags {
        self.origins.iter().fold(NamespaceFlags::empty(), |all, (kind, _)| all | *kind)
    }

    /// Joined by path.
    pub fn joins(&self, kind: NamespaceFlags) -> bool {
        self.path_of(kind).is_some()
    }

    /// The path of a namespace that is joined.
    pub fn path_of(&self, kind: NamespaceFlags) -> Option<(&Path, &Origin)> {
        self.joined
            .iter()
            .find(|(joined, ..)| *joined == kind)
            .map(|(_, path, origin)| (path.as_path(), origin))
    }

    /// Where a namespace is asked for.
    pub fn origin_of(&self, kind: NamespaceFlags) -> Origin {
        let known = self.origins.iter().find(|(known, _)| *known == kind);
        known.map_or("/linux/namespaces".into(), |(_, origin)| origin.clone())
    }

    /// What `clone3` makes: all but the cgroup namespace, whose root is the cgroup of its maker and which the init therefore makes
    /// once it is in its cgroup, and the time namespace, whose offsets must be set before its first process.
    pub fn to_clone(&self) -> NamespaceFlags {
        self.new - NamespaceFlags::CGROUP - NamespaceFlags::TIME - self.after_becoming_root()
    }

    /// What is made once the init is root of its user namespace: the message queues of an IPC namespace belong to whoever makes it.
    pub fn after_becoming_root(&self) -> NamespaceFlags {
        if self.has(NamespaceFlags::USER) { self.new & NamespaceFlags::IPC } else { NamespaceFlags::empty() }
    }

    /// What the host's side enters for the init: always the PID namespace, since setns(2) moves only children into that; with a user
    /// namespace all others, since its root has no rights over namespaces that are not its own. Not the mount namespace, which
    /// would take the runtime's root and working directory away; nor on v2 the cgroup namespace, from which the cgroup that the
    /// init is to be born in cannot be seen (`ENOENT`).
    fn joined_by_host(&self, facts: &HostFacts) -> NamespaceFlags {
        if facts.privileged && self.has(NamespaceFlags::USER) {
            let born_in_cgroup = facts.own_cgroup && matches!(facts.cgroups, CgroupView::Unified(_));
            let hides = if born_in_cgroup { NamespaceFlags::CGROUP } else { NamespaceFlags::empty() };
            NamespaceFlags::all() - NamespaceFlags::USER - NamespaceFlags::MOUNT - hides
        } else if self.joins(NamespaceFlags::USER) {
            // The go-between has the rights, once it is in the user namespace.
            NamespaceFlags::empty()
        } else {
            NamespaceFlags::PID
        }
    }

    /// Who makes a new time namespace: the host's side, whose children are then in it; but in a user namespace that is to own it, the
    /// init, or who enters that for the init.
    fn makes_clocks(&self, facts: &HostFacts) -> Clockmaker {
        if self.new.contains(NamespaceFlags::USER) {
            Clockmaker::Init
        } else if self.joins(NamespaceFlags::USER) && !facts.privileged {
            Clockmaker::GoBetween
        } else {
            Clockmaker::Host
        }
    }

    /// The host's step that makes a time namespace, if it is that side's.
    pub(crate) fn clocks_by_host(&self, spec: &Spec, facts: &HostFacts, steps: &mut Steps<HostAction>) {
        if let Some((offsets, origin)) = self.clocks(spec)
            && self.makes_clocks(facts) == Clockmaker::Host
        {
            steps.push(HostAction::TimeOffsets(offsets), origin);
        }
    }

    /// The init's.
    pub(crate) fn clocks_by_init(&self, spec: &Spec, facts: &HostFacts, steps: &mut Steps<Action>) {
        let maker = self.makes_clocks(facts);
        if let Some((offsets, origin)) = self.clocks(spec)
            && maker != Clockmaker::Host
        {
            let by_go_between = maker == Clockmaker::GoBetween;
            steps.push(Action::NewClocks { offsets, by_go_between }, origin);
        }
    }

    fn clocks(&self, spec: &Spec) -> Option<(Offsets, Origin)> {
        let offsets = time_offsets(spec, self)?;
        let namespace = self.origin_of(NamespaceFlags::TIME);
        let origin = if offsets.is_empty() { namespace } else { "/linux/timeOffsets".into() };
        Some((offsets, origin))
    }

    /// The steps by which the host's side enters existing namespaces for the init.
    pub(crate) fn join_for_init(&self, facts: &HostFacts, steps: &mut Steps<HostAction>) {
        let kinds = self.joined_by_host(facts);
        for (kind, path, origin) in self.joined.iter().filter(|(kind, ..)| kinds.contains(*kind)) {
            steps.push(HostAction::JoinNamespace(*kind, path.clone()), origin.clone());
        }
    }

    /// The steps by which network devices get into the container's network namespace, in the order of their names.
    pub(crate) fn move_devices(&self, spec: &Spec, steps: &mut Steps<HostAction>) {
        let namespace = self.path_of(NamespaceFlags::NETWORK).map(|(path, _)| path.to_owned());
        for (name, device) in &spec.linux.net_devices {
            let inside = device.name.as_ref().unwrap_or(name).clone();
            let device = NetDevice { name: name.clone(), inside, namespace: namespace.clone() };
            steps.push(HostAction::MoveNetDevice(device), Origin::key("/linux/netDevices", name));
        }
    }

    /// The steps by which the init enters the other existing namespaces; first the user namespace, which may own them.
    pub(crate) fn join(&self, facts: &HostFacts, steps: &mut Steps<Action>) {
        let kinds = NamespaceFlags::all() - NamespaceFlags::USER - self.joined_by_host(facts);
        let user = self.joined.iter().filter(|(kind, ..)| *kind == NamespaceFlags::USER);
        let others = self.joined.iter().filter(|(kind, ..)| kinds.contains(*kind));
        for (kind, path, origin) in user.chain(others) {
            steps.push(Action::JoinNamespace(*kind, path.clone()), origin.clone());
        }
    }
}

/// Who makes a time namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clockmaker {
    Host,
    Init,
    GoBetween,
}

fn flag(kind: NamespaceType) -> NamespaceFlags {
    match kind {
        NamespaceType::Pid => NamespaceFlags::PID,
        NamespaceType::Network => NamespaceFlags::NETWORK,
        NamespaceType::Mount => NamespaceFlags::MOUNT,
        NamespaceType::Ipc => NamespaceFlags::IPC,
        NamespaceType::Uts => NamespaceFlags::UTS,
        NamespaceType::User => NamespaceFlags::USER,
        NamespaceType::Cgroup => NamespaceFlags::CGROUP,
        NamespaceType::Time => NamespaceFlags::TIME,
    }
}

/// What a uid of the container is on the host; none where it is not known or not mapped.
pub(super) fn host_uid(spec: &Spec, uid: u32) -> Option<u32> {
    if spec.linux.namespace(NamespaceType::User).is_none() {
        return Some(uid);
    }
    let mut rows = id_maps(spec).0.into_iter();
    rows.find_map(|row| {
        let offset = uid.checked_sub(row.container).filter(|offset| *offset < row.size)?;
        row.host.checked_add(offset)
    })
}

/// The maps of a new user namespace: uids, gids.
pub fn id_maps(spec: &Spec) -> (Vec<IdMapping>, Vec<IdMapping>) {
    (mappings(&spec.linux.uid_mappings), mappings(&spec.linux.gid_mappings))
}

/// True if nothing is mapped but this id of the host's, which its owner may map without help (`user_namespaces(7)`).
pub fn maps_only(maps: &[IdMapping], id: u32) -> bool {
    matches!(maps, [map] if map.host == id && map.size == 1)
}

/// Mappings as the plan has them.
pub fn mappings(list: &[spec::IdMapping]) -> Vec<IdMapping> {
    list.iter()
        .map(|map| IdMapping { container: map.container_id, host: map.host_id, size: map.size })
        .collect()
}

/// `/linux/timeOffsets` as `/proc/self/timens_offsets` takes them; none if no time namespace is made, an empty list if one is made
/// without offsets (it still needs the host's side, since it holds the children of its maker).
fn time_offsets(spec: &Spec, namespaces: &Namespaces) -> Option<Offsets> {
    let offset = |clock| {
        let offset = spec.linux.time_offsets.get(clock)?;
        Some((clock, offset.secs, offset.nanosecs))
    };
    namespaces
        .new
        .contains(NamespaceFlags::TIME)
        .then(|| ["monotonic", "boottime"].into_iter().filter_map(offset).collect())
}
