//! A container that is about to be: its configuration read, checked and planned, and nothing touched yet.

use std::os::fd::OwnedFd;
use std::path::Path;

use cloison_cgroup::{Layout, Record, Resources};
use cloison_linux::capability::Capability;
use cloison_linux::{Resource, process};

use super::device_rules::is_root_of_the_machine;
use super::{CreateOptions, Error, Runtime, place, preserved, resctrl, rootless};
use crate::monitor::Ends;
use crate::notify;
use crate::plan::labels::Modules;
use crate::plan::limits::limits;
use crate::plan::seccomp::Filter;
use crate::plan::{CgroupView, HostFacts, Options, Plan};
use crate::spec::{self, Spec};
use crate::state::{LAYOUT, LaterHooks, NOTIFY, State, Timestamp};

/// A container that is about to be: read, checked, planned. Nothing has been touched.
#[derive(Debug)]
pub(super) struct Conception {
    pub(super) plan: Plan,
    pub(super) config: Vec<u8>,
    pub(super) cgroup: Record,
    pub(super) state: State,
    /// Who takes the filter's listener, instead of the one that the plan names.
    pub(super) recorder: Option<OwnedFd>,
    /// What the container's standard streams are, if they are not ours.
    pub(super) streams: Option<Ends>,
    /// The container gets a socket for what it tells a service manager.
    pub(super) notifies: bool,
}

impl Conception {
    /// Loads a filter that tells of all calls, and not the configuration's; the listener goes to this socket.
    pub(super) fn record(&mut self, filter: Filter, recorder: OwnedFd) {
        self.plan.program.seccomp = Some(filter);
        self.recorder = Some(recorder);
    }

    pub(super) fn new(runtime: &Runtime, options: &CreateOptions) -> Result<Self, Error> {
        let bundle = std::path::absolute(&options.bundle)
            .and_then(|bundle| bundle.canonicalize())
            .map_err(|source| Error::Bundle { path: options.bundle.clone(), source })?;
        let path = options.config.clone().unwrap_or_else(|| bundle.join("config.json"));
        let config = spec::read_file(&path)?;
        let mut spec = Spec::parse(&config, &path)?;
        let activation = preserved::socket_activation();
        if activation > 0 {
            spec.process.env.extend([format!("LISTEN_FDS={activation}"), "LISTEN_PID=1".to_owned()]);
        }
        let id = &options.id;
        let root_is = rootless::adapt(&mut spec);
        let notifies = notify::manager().is_some();
        if notifies {
            let root = std::path::absolute(&runtime.root)
                .map_err(|source| Error::Bundle { path: runtime.root.clone(), source })?;
            notify::prepare(&mut spec, &root.join(id.as_str()).join(NOTIFY));
        }
        let (layout, cgroup) = place::choose(runtime.cgroup, &spec, id)?;
        let plan_options = Options {
            id: id.clone(),
            bundle,
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds: options.preserve_fds.saturating_add(activation),
            takes_streams: options.takes_streams,
        };
        let plan = Plan::new(&spec, &plan_options, &facts(&spec, &layout, &cgroup))
            .map_err(|problems| Error::Refused { path, problems })?;
        let state = State {
            version: LAYOUT,
            oci_version: spec.oci_version.clone(),
            id: id.clone(),
            bundle: plan_options.bundle.to_string_lossy().into_owned(),
            rootfs: plan.rootfs.to_string_lossy().into_owned(),
            created: Timestamp::now(),
            annotations: spec.annotations.clone(),
            init: None,
            resources: if matches!(cgroup, Record::Disabled(_)) {
                Resources::default()
            } else {
                limits(&spec.linux.resources)
            },
            device_rules: None,
            cgroup: cgroup.clone(),
            resctrl: None,
            own_pid_namespace: spec.linux.makes_namespace(spec::NamespaceType::Pid),
            no_new_keyring: options.no_new_keyring,
            restored_clocks: false,
            root_is,
            host_mount: None,
            hooks: LaterHooks {
                start_container: !spec.hooks.start_container.is_empty(),
                poststart: !spec.hooks.poststart.is_empty(),
                poststop: !spec.hooks.poststop.is_empty(),
            },
            streams: crate::checkpoint::external::stream_names(),
            monitor: None,
        };
        Ok(Self { plan, config, cgroup, state, recorder: None, streams: None, notifies })
    }
}

/// What the machine is like, as far as this configuration needs to know.
pub(super) fn facts(spec: &Spec, layout: &Layout, cgroup: &Record) -> HostFacts {
    let limits = crate::plan::process::limits(spec);
    let mut facts = HostFacts {
        own_cgroup: !matches!(cgroup, Record::Disabled(_)),
        unit: match cgroup {
            Record::Systemd(systemd) => Some(systemd.unit.clone()),
            _ => None,
        },
        cgroups: view(layout, &cgroup.directories()),
        modules: Modules::of_the_machine(spec),
        resctrl: spec.linux.intel_rdt.as_ref().and_then(|_| resctrl::facts()),
        kcore: Path::new("/proc/kcore").exists(),
        privileged: rustix::process::geteuid().is_root(),
        in_user_namespace: !is_root_of_the_machine(),
        binds_devices: !makes_devices(),
        groups_denied: false,
        hard_limits: limits.iter().map(|(resource, _)| (*resource, hard_limit(*resource))).collect(),
    };
    rootless::note_groups(spec, &mut facts);
    facts
}

fn makes_devices() -> bool {
    let own = process::identity();
    is_root_of_the_machine() && own.is_ok_and(|own| own.capabilities.contains(Capability::MKNOD))
}

/// What a container sees of the hierarchies: its own cgroups, or the runtime's if it stays in those.
fn view(layout: &Layout, cgroup: &Record) -> CgroupView {
    match (layout, cgroup) {
        (Layout::Absent, _) => CgroupView::None,
        (Layout::Unified { mount, .. }, _) => CgroupView::Unified(mount.clone()),
        (_, Record::Legacy(legacy)) => {
            let all = legacy.directories.iter();
            CgroupView::Legacy(all.map(|one| (one.controllers.join(","), one.path.clone())).collect())
        }
        (Layout::Legacy { hierarchies, .. }, _) => {
            let all = hierarchies.iter();
            CgroupView::Legacy(all.map(|one| (one.controllers.join(","), one.mount.join(&one.own))).collect())
        }
    }
}

fn hard_limit(resource: Resource) -> u64 {
    rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX)
}
