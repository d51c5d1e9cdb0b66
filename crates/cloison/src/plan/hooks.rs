//! Hooks: which programs run at which points of a container's life
//! ([config.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#posix-platform-hooks)).
//!
//! `docs/hooks.md` has the table of moments, namespaces and states.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::action::{Action, HostAction, Origin, Step};
use super::process::c_string;
use super::{Options, Steps};
use crate::id::ContainerId;
use crate::spec::{self, Hooks, Problem, Spec};

/// Where the output of hooks goes, if not into the error of one that fails.
const STDOUT: &str = "org.cloison.hooks.stdout";
const STDERR: &str = "org.cloison.hooks.stderr";

/// A point of a container's life at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// While creating, before `pivot_root`, in the runtime's namespaces. Deprecated.
    Prestart,
    /// The same, after those.
    CreateRuntime,
    /// The same, in the container's namespaces.
    CreateContainer,
    /// Before the program starts, in the container.
    StartContainer,
    /// After the program has started, in the runtime's namespaces.
    Poststart,
    /// After the container is deleted, in the runtime's namespaces.
    Poststop,
}

impl Point {
    /// The name in `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    fn list(self, hooks: &Hooks) -> &[spec::Hook] {
        match self {
            Self::Prestart => &hooks.prestart,
            Self::CreateRuntime => &hooks.create_runtime,
            Self::CreateContainer => &hooks.create_container,
            Self::StartContainer => &hooks.start_container,
            Self::Poststart => &hooks.poststart,
            Self::Poststop => &hooks.poststop,
        }
    }
}

/// What a hook is told of its container, whatever the moment: the part of runtime-spec's State that does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `ociVersion` of the configuration.
    pub oci_version: String,
    /// The container's name.
    pub id: ContainerId,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// `annotations` of the configuration.
    pub annotations: BTreeMap<String, String>,
}

/// Which environment a hook gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// This one.
    Given(Vec<CString>),
    /// The runtime's own, where the configuration has none, as `runc` has it.
    OfTheRuntime,
    /// The container's program's, where the configuration has none, as `runc` has it for `startContainer`.
    OfTheProgram,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub point: Point,
    /// Its place among the hooks of that point.
    pub index: usize,
    /// The program.
    pub path: CString,
    /// `argv`, never empty.
    pub args: Vec<CString>,
    /// The environment.
    pub env: Environment,
    /// After how long it is killed.
    pub timeout: Option<Duration>,
    /// What it is told.
    pub told: Rc<Told>,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run the {} hook {:?}", self.point.name(), self.path.to_string_lossy())?;
        let args: Vec<_> = self.args.iter().map(|arg| format!("{:?}", arg.to_string_lossy())).collect();
        write!(f, " as [{}]", args.join(", "))?;
        match &self.env {
            Environment::Given(env) => write!(f, " with {} environment variables", env.len())?,
            Environment::OfTheRuntime => f.write_str(" with the runtime's environment")?,
            Environment::OfTheProgram => f.write_str(" with the program's environment")?,
        }
        match self.timeout {
            Some(timeout) => write!(f, " for at most {} s", timeout.as_secs()),
            None => Ok(()),
        }
    }
}

/// Files that the output of hooks is appended to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The standard output's, if it is not kept for an error.
    pub stdout: Option<PathBuf>,
    /// The standard error's.
    pub stderr: Option<PathBuf>,
}

impl Outputs {
    /// What the annotations say.
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        let path = |name| annotations.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { stdout: path(STDOUT), stderr: path(STDERR) }
    }

    /// All goes into errors.
    pub fn is_empty(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }
}

impl fmt::Display for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = [("stdout", &self.stdout), ("stderr", &self.stderr)];
        let named = files.iter().filter_map(|(name, path)| path.as_ref().map(|path| (name, path)));
        let named: Vec<_> = named.map(|(name, path)| format!("{name} in {}", path.display())).collect();
        f.write_str(&named.join(", "))
    }
}

/// What is wrong with the annotations for hooks.
pub(super) fn refused(spec: &Spec) -> Vec<Problem> {
    let has_hooks = spec.hooks.by_name().iter().any(|(_, hooks)| !hooks.is_empty());
    let of = |name: &'static str| spec.annotations.get(name).map(|path| (name, path));
    let relative = [STDOUT, STDERR]
        .into_iter()
        .filter_map(of)
        .filter(|(_, path)| has_hooks && !path.is_empty() && (!path.starts_with('/') || path.contains('\0')));
    let problem = |(name, path): (&str, &String)| Problem {
        pointer: format!("/annotations/{name}"),
        message: format!("found {path:?}, expected the absolute path of a file"),
    };
    relative.map(problem).collect()
}

/// The hooks of one point as steps, in the order in which they run.
pub fn hooks(spec: &Spec, options: &Options, point: Point) -> Vec<Step<Hook>> {
    let list = point.list(&spec.hooks);
    if list.is_empty() {
        return Vec::new();
    }
    let told = Rc::new(Told {
        oci_version: spec.oci_version.clone(),
        id: options.id.clone(),
        bundle: options.bundle.clone(),
        annotations: spec.annotations.clone(),
    });
    let hook = |(index, hook): (usize, &spec::Hook)| Step {
        action: Hook {
            point,
            index,
            path: c_string(&hook.path),
            args: arguments(hook),
            env: environment(point, hook.env.as_deref()),
            timeout: hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
            told: Rc::clone(&told),
        },
        origin: Origin::index(&format!("/hooks/{}", point.name()), index),
    };
    list.iter().enumerate().map(hook).collect()
}

fn arguments(hook: &spec::Hook) -> Vec<CString> {
    let args: Vec<_> = hook.args.iter().map(|arg| c_string(arg)).collect();
    if args.is_empty() { vec![c_string(&hook.path)] } else { args }
}

fn environment(point: Point, env: Option<&[String]>) -> Environment {
    match (point, env) {
        (Point::StartContainer, None | Some([])) => Environment::OfTheProgram,
        // The init of `runc` has cleared its environment.
        (Point::CreateContainer, None) => Environment::Given(Vec::new()),
        (_, None) => Environment::OfTheRuntime,
        (_, Some(env)) => Environment::Given(env.iter().map(|entry| c_string(entry)).collect()),
    }
}

/// There are hooks that run when the mounts are made and the host's tree is not yet gone.
fn has_creation_hooks(spec: &Spec) -> bool {
    let hooks = &spec.hooks;
    [&hooks.prestart, &hooks.create_runtime, &hooks.create_container].iter().any(|list| !list.is_empty())
}

/// The init waits when its mounts are made and the host's tree is not yet gone: for hooks, or for the network devices that its sysctls may
/// be about.
pub(super) fn init_waits(spec: &Spec) -> Option<&'static str> {
    let devices = &spec.linux.net_devices;
    let for_devices = !devices.is_empty() && spec.linux.sysctl.keys().any(|key| key.starts_with("net"));
    if has_creation_hooks(spec) { Some("/hooks") } else { for_devices.then_some("/linux/netDevices") }
}

/// The host's side, before the init is made: whatever the container is to say is opened with the runtime's rights.
pub(super) fn open_outputs(spec: &Spec, steps: &mut Steps<HostAction>) {
    let outputs = Outputs::of(&spec.annotations);
    if has_creation_hooks(spec) && !outputs.is_empty() {
        steps.push(HostAction::OpenHookOutputs(outputs), "/annotations");
    }
}

/// The host's side, while the init waits between the mounts and the change of root. The limits come first: hooks may change them.
pub(super) fn host_side(
    spec: &Spec,
    options: &Options,
    waits: &'static str,
    steps: &mut Steps<HostAction>,
    limit: impl FnOnce(&mut Steps<HostAction>),
) {
    steps.push(HostAction::AwaitMounts, waits);
    limit(steps);
    for point in [Point::Prestart, Point::CreateRuntime] {
        for Step { action, origin } in hooks(spec, options, point) {
            steps.0.push(Step { action: HostAction::Hook(Box::new(action)), origin });
        }
    }
    steps.push(HostAction::LetInitGoOn, waits);
}

/// The container's side, at the same time.
pub(super) fn container_side(spec: &Spec, options: &Options, steps: &mut Steps<Action>) {
    let Some(waits) = init_waits(spec) else { return };
    steps.push(Action::AwaitHooks, waits);
    for Step { action, origin } in hooks(spec, options, Point::CreateContainer) {
        steps.0.push(Step { action: Action::Hook(Box::new(action)), origin });
    }
}
