//! Device nodes and links in `/dev` (runtime-spec, config-linux.md, "Default Devices").

use std::path::{Path, PathBuf};

use cloison_linux::FileType;
use cloison_linux::namespace::NamespaceFlags;

use super::action::{Action, Device, Origin};
use super::mounts::clean;
use super::namespaces::Namespaces;
use super::{HostFacts, Steps};
use crate::spec::{self, DeviceType, Spec};

/// Every container has these: path, major, minor. All are character devices, mode 0666.
pub(super) const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// The steps that fill `/dev`, if it is the container's own, and that make devices elsewhere.
pub(crate) fn devices(
    spec: &Spec,
    facts: &HostFacts,
    namespaces: &Namespaces,
    own_dev: bool,
    steps: &mut Steps<Action>,
) {
    // Nobody may make device nodes in a user namespace (mknod(2)): the host's are bound instead.
    let in_user_namespace = namespaces.has(NamespaceFlags::USER);
    // What was bound once is a file in the root file system, which keeps mknod(2) from telling that it is not allowed. A pipe is everybody's.
    let on_host = facts.binds_devices && !namespaces.has(NamespaceFlags::MOUNT);
    let bind = |device: &Device| (in_user_namespace || on_host) && device.kind != FileType::Fifo;
    let asked = &spec.linux.devices;
    for (path, major, minor) in DEFAULT {
        if own_dev && !asked.iter().any(|device| clean(&device.path) == Path::new(path)) {
            let path = PathBuf::from(path);
            let device = Device {
                path,
                kind: FileType::CharacterDevice,
                major,
                minor,
                mode: 0o666,
                uid: 0,
                gid: 0,
                asked: false,
            };
            let bind = bind(&device);
            steps.push(Action::Device(device, bind), "runtime");
        }
    }
    for (index, device) in asked.iter().enumerate() {
        let path = clean(&device.path);
        // The pseudo terminal multiplexer is always the container's own.
        if path != Path::new("/dev/ptmx") && (own_dev || !path.starts_with("/dev")) {
            let device = wanted(device);
            let bind = bind(&device);
            steps.push(Action::Device(device, bind), Origin::index("/linux/devices", index));
        }
    }
    if !own_dev {
        return;
    }
    steps
        .push(Action::Link { target: "pts/ptmx".into(), path: "/dev/ptmx".into(), replace: true }, "runtime");
    let core = facts.kcore.then_some(("/proc/kcore", "/dev/core"));
    for (target, path) in LINKS.into_iter().chain(core) {
        steps.push(Action::Link { target: target.into(), path: path.into(), replace: false }, "runtime");
    }
}

fn wanted(device: &spec::Device) -> Device {
    let kind = match device.kind {
        DeviceType::Block => FileType::BlockDevice,
        DeviceType::Fifo => FileType::Fifo,
        DeviceType::Character | DeviceType::Unbuffered => FileType::CharacterDevice,
    };
    Device {
        path: clean(&device.path),
        kind,
        major: u32::try_from(device.major).unwrap_or(0),
        minor: u32::try_from(device.minor).unwrap_or(0),
        mode: device.mode() & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        asked: true,
    }
}
