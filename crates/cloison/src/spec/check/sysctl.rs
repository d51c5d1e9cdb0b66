//! The rules of `linux.sysctl`: only what belongs to a namespace of the container may be set, everything else
//! would change the whole machine.

use crate::spec::{Linux, NamespaceType};

use super::{Check, escape, namespaces};

/// What belongs to an ipc namespace (`ipc_namespaces(7)`), besides `fs.mqueue.*`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The path of a parameter below `/proc/sys`, or nothing when the name is malformed (sysctl(8)).
///
/// Parts are divided by `.` or by `/`, whichever comes first, and the other of the two is then an ordinary
/// `.` or `/` of a part: `net.ipv4.conf.eth0/1.forwarding` is `net/ipv4/conf/eth0.1/forwarding`. The path
/// never leaves `/proc/sys`.
pub fn sysctl_path(name: &str) -> Option<String> {
    let path = dotted(name).chars().map(swap).collect::<String>();
    let stays_within = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    stays_within.then_some(path)
}

/// The name with `.` between its parts.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(position) if name[position..].starts_with('/') => name.chars().map(swap).collect(),
        _ => name.to_owned(),
    }
}

fn swap(character: char) -> char {
    match character {
        '.' => '/',
        '/' => '.',
        _ => character,
    }
}

pub(super) fn check(linux: &Linux, check: &mut Check<'_>) {
    for name in linux.sysctl.keys() {
        if let Some(message) = refusal(name, linux, check) {
            check.problem(format!("/linux/sysctl/{}", escape(name)), message);
        }
    }
}

fn refusal(name: &str, linux: &Linux, check: &Check<'_>) -> Option<String> {
    let has = |kind| namespaces::may_have(linux, kind, check);
    if sysctl_path(name).is_none() {
        return Some(format!("{name:?} is not the name of a kernel parameter, such as net.ipv4.ip_forward"));
    }
    let name = dotted(name);
    if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        let refused = !has(NamespaceType::Ipc);
        return refused.then(|| {
            format!("sysctl {name:?} is not allowed in the hosts ipc namespace, add {{\"type\": \"ipc\"}}")
        });
    }
    if name.starts_with("net.") {
        let refused = !has(NamespaceType::Network);
        return refused.then(|| {
            format!("sysctl {name:?} not allowed in host network namespace, add {{\"type\": \"network\"}}")
        });
    }
    if name.starts_with("user.") {
        let refused = !has(NamespaceType::User);
        return refused.then(|| {
            format!(
                "setting ucounts without a user namespace not allowed: {name}, add {{\"type\": \"user\"}}"
            )
        });
    }
    if has(NamespaceType::Uts) {
        match name.as_str() {
            "kernel.domainname" => return None,
            "kernel.hostname" => {
                return Some(format!(
                    "sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"
                ));
            }
            _ => {}
        }
    }
    Some(format!("sysctl {name:?} is not in a separate kernel namespace, it would change the whole machine"))
}
