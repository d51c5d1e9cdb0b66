//! Labels of security modules: what confines the program, and what its mounts and keys are marked with.

use std::fmt;
use std::path::Path;

use super::action::{Action, MountSource};
use super::{Steps, landlock};
use crate::spec::{Problem, Spec};

/// What the program is confined by from its `execve(2)` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecLabel {
    /// An `AppArmor` profile.
    AppArmor(String),
    /// An `SELinux` label.
    SeLinux(String),
}

impl fmt::Display for ExecLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppArmor(profile) => write!(f, "the AppArmor profile {profile}"),
            Self::SeLinux(label) => write!(f, "the SELinux label {label}"),
        }
    }
}

/// Which security modules the machine has, as far as a configuration asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modules {
    /// `AppArmor` is on.
    pub apparmor: bool,
    /// `SELinux` is on.
    pub selinux: bool,
    /// The version of Landlock's interface, 0 where it is not there or off.
    pub landlock: u32,
}

impl Modules {
    /// Asks the machine for what this configuration needs to know.
    pub fn of_the_machine(spec: &Spec) -> Self {
        if spec.process.apparmor_profile.is_none()
            && spec.process.selinux_label.is_none()
            && spec.linux.mount_label.is_none()
            && !spec.annotations.contains_key(landlock::ANNOTATION)
        {
            return Self::default();
        }
        Self::detect()
    }

    /// Asks the machine.
    pub fn detect() -> Self {
        let on = std::fs::read("/sys/module/apparmor/parameters/enabled");
        Self {
            apparmor: on.is_ok_and(|on| on.starts_with(b"Y")),
            // There with the first policy, or without any, but only where the module is on.
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            landlock: cloison_linux::landlock::abi(),
        }
    }
}

/// The profile of this name confines nobody, and is there without the module.
const UNCONFINED: &str = "unconfined";

/// What is asked for and cannot be had here.
pub(super) fn refused(spec: &Spec, modules: Modules) -> Vec<Problem> {
    let profile = spec.process.apparmor_profile.as_deref().filter(|profile| *profile != UNCONFINED);
    let selinux =
        "selinux label is specified in config, but selinux is disabled or not supported by this kernel";
    let asked = [
        (
            profile.is_some() && !modules.apparmor,
            "/process/apparmorProfile",
            "apparmor: config provided but apparmor not supported by this kernel, or not enabled",
        ),
        (spec.process.selinux_label.is_some() && !modules.selinux, "/process/selinuxLabel", selinux),
        (spec.linux.mount_label.is_some() && !modules.selinux, "/linux/mountLabel", selinux),
    ];
    let problem = |(_, pointer, message): &(bool, &str, &str)| Problem {
        pointer: (*pointer).to_owned(),
        message: (*message).to_owned(),
    };
    asked.iter().filter(|(is_refused, ..)| *is_refused).map(problem).collect()
}

/// The labels of the program, with their places in the configuration.
fn exec_labels(spec: &Spec, modules: Modules) -> Vec<(ExecLabel, &'static str)> {
    let process = &spec.process;
    let profile = process.apparmor_profile.clone().filter(|_| modules.apparmor).map(ExecLabel::AppArmor);
    let label = process.selinux_label.clone().map(ExecLabel::SeLinux);
    let places = [(profile, "/process/apparmorProfile"), (label, "/process/selinuxLabel")];
    places.into_iter().filter_map(|(label, place)| label.map(|label| (label, place))).collect()
}

/// The first step of a process that will have a label.
///
/// The way to its attributes is kept from before there is anything of the container's in the way (CVE-2019-16884, CVE-2025-52881). It
/// leads through the host's procfs: in a user namespace, no other could be mounted.
pub(super) fn prepare(spec: &Spec, modules: Modules, steps: &mut Steps<Action>) {
    if let Some((_, place)) = exec_labels(spec, modules).first() {
        steps.push(Action::KeepAttributes, *place);
    }
}

/// Before the session keyring is made, which gets the label of the program.
pub(super) fn key(spec: &Spec, steps: &mut Steps<Action>) {
    if let Some(label) = &spec.process.selinux_label {
        steps.push(Action::KeyLabel(label.clone()), "/process/selinuxLabel");
    }
}

/// The last steps before the launch, whose only `execve` the labels are for.
pub(super) fn exec(spec: &Spec, modules: Modules, steps: &mut Steps<Action>) {
    for (label, place) in exec_labels(spec, modules) {
        steps.push(Action::ExecLabel(label), place);
    }
}

/// File systems that know no label of their mount, or have labels of their own.
const UNLABELLED: [&str; 4] = ["proc", "sysfs", "cgroup", "cgroup2"];

/// Takes no label as an option, but as an attribute of its root.
const LABELLED_LATER: &str = "mqueue";

/// Marks the file systems that are mounted anew.
pub(super) fn mounts(spec: &Spec, steps: &mut Steps<Action>) {
    let Some(label) = &spec.linux.mount_label else { return };
    for step in &mut steps.0 {
        if let Action::Mount(mount) = &mut step.action
            && let MountSource::FileSystem { fs_type, .. } = &mount.source
            && !UNLABELLED.contains(&fs_type.as_str())
            && !mount.options.remount
        {
            if fs_type == LABELLED_LATER {
                mount.options.label = Some(label.clone());
                // The host's is not labelled.
                mount.or_bind = None;
            } else {
                mount.options.data.push(format!("context={label}"));
            }
        }
    }
}
