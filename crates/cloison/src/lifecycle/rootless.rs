//! What is different where an ordinary user makes a container.

use std::path::PathBuf;

use super::Error;
use super::device_rules::is_root_of_the_machine;
use crate::plan::HostFacts;
use crate::plan::namespaces::{id_maps, maps_only};
use crate::spec::{IdMapping, Namespace, NamespaceType, Spec};
use crate::state::{State, View};

/// An ordinary user has rights in a user namespace only: where the configuration has none, one is made in which the user is root.
/// No other id is mapped in it, so no file system can be given to one. Gives back the caller's uid and gid if it was made.
pub(super) fn adapt(spec: &mut Spec) -> Option<(u32, u32)> {
    let uid = rustix::process::geteuid();
    if uid.is_root() || spec.linux.namespace(NamespaceType::User).is_some() {
        return None;
    }
    log::warn!(
        "/linux/namespaces: the caller is not root, so a user namespace is made in which the caller is; `spec --rootless` writes a \
         configuration that says so"
    );
    let (uid, gid) = (uid.as_raw(), rustix::process::getegid().as_raw());
    in_user_namespace(spec, uid, gid);
    Some((uid, gid))
}

/// The configuration of a container that is there, with the user namespace that was made for who made it, whoever asks now.
pub(super) fn saved(container: &View, state: &State) -> Result<Spec, Error> {
    let mut spec = Spec::parse(&container.load_config()?, &container.path().join("config.json"))?;
    if let Some((uid, gid)) = state.root_is {
        in_user_namespace(&mut spec, uid, gid);
    }
    Ok(spec)
}

fn in_user_namespace(spec: &mut Spec, uid: u32, gid: u32) {
    let linux = &mut spec.linux;
    linux.namespaces.push(Namespace { kind: NamespaceType::User, path: None });
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
    linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
    for mount in &mut spec.mounts {
        let given_away = |option: &String| {
            ["uid=", "gid="].iter().any(|key| option.starts_with(key)) && !option.ends_with("=0")
        };
        mount.options.retain(|option| {
            if given_away(option) {
                log::debug!("{}: {option} is left out, that id is not mapped", mount.destination);
            }
            !given_away(option)
        });
    }
}

/// Whether the kernel denies `setgroups(2)` in the container, as it does where an ordinary user has mapped his own group, and in all user
/// namespaces within one where it does.
pub(super) fn note_groups(spec: &Spec, facts: &mut HostFacts) {
    let (_, gids) = id_maps(spec);
    let own_group_only = !facts.privileged && maps_only(&gids, rustix::process::getegid().as_raw());
    let joined = spec.linux.namespace(NamespaceType::User).and_then(|user| user.path.as_deref());
    facts.groups_denied = own_group_only
        || denied_to_us(std::fs::read("/proc/self/setgroups"))
        || joined.and_then(setgroups_of).is_some_and(|path| denied_to_us(std::fs::read(path)));
}

/// The file that says so of a user namespace that is named by a process; by another name nobody can tell.
fn setgroups_of(namespace: &str) -> Option<PathBuf> {
    namespace
        .strip_suffix("/ns/user")
        .filter(|process| process.starts_with("/proc/"))
        .map(|process| PathBuf::from(process).join("setgroups"))
}

fn denied_to_us(setgroups: std::io::Result<Vec<u8>>) -> bool {
    setgroups.is_ok_and(|text| text.starts_with(b"deny"))
}

/// What who is not root of the machine can do about user namespaces that are refused, or that give no rights: the command.
pub fn advice(errno: rustix::io::Errno) -> Option<&'static str> {
    if is_root_of_the_machine() {
        return None;
    }
    advice_by(errno, |name| std::fs::read_to_string(format!("/proc/sys/{name}")).ok())
}

fn advice_by(errno: rustix::io::Errno, setting: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    use rustix::io::Errno;
    let is = |name: &str, value: &str| setting(name).is_some_and(|text| text.trim() == value);
    match errno {
        Errno::NOSPC if is("user/max_user_namespaces", "0") => Some(
            "this machine allows no user namespaces; root changes that: sysctl -w user.max_user_namespaces=15000",
        ),
        Errno::NOSPC => Some(
            "there are too many user namespaces, or too many within each other; see user.max_user_namespaces",
        ),
        Errno::PERM if is("kernel/unprivileged_userns_clone", "0") => Some(
            "this machine keeps user namespaces for root, who changes that: sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        Errno::PERM | Errno::ACCESS if is("kernel/apparmor_restrict_unprivileged_userns", "1") => Some(
            "AppArmor gives no rights in user namespaces here; root changes that: sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0, or a profile with `userns,` for this program",
        ),
        Errno::INVAL if setting("user/max_user_namespaces").is_none() => {
            Some("this kernel has no user namespaces (CONFIG_USER_NS)")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_forbids_user_namespaces_is_told_with_the_command_that_allows_them() {
        use rustix::io::Errno;
        let told = |errno, name: &'static str, value: &'static str| {
            advice_by(errno, |asked| match asked {
                _ if asked == name => Some(format!("{value}\n")),
                "user/max_user_namespaces" => Some("100\n".to_owned()),
                _ => None,
            })
        };
        for (errno, name, value, command) in [
            (
                Errno::PERM,
                "kernel/unprivileged_userns_clone",
                "0",
                "sysctl -w kernel.unprivileged_userns_clone=1",
            ),
            (
                Errno::ACCESS,
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (
                Errno::PERM,
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (Errno::NOSPC, "user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
        ] {
            assert!(told(errno, name, value).is_some_and(|text| text.contains(command)), "{command}");
        }
        assert_eq!(told(Errno::PERM, "kernel/unprivileged_userns_clone", "1"), None);
        assert_eq!(told(Errno::NOENT, "kernel/unprivileged_userns_clone", "0"), None);
        assert!(advice_by(Errno::INVAL, |_| None).is_some_and(|text| text.contains("CONFIG_USER_NS")));
    }

    #[test]
    fn groups_are_denied_where_the_kernel_says_so() {
        assert!(denied_to_us(Ok(b"deny\n".to_vec())));
        assert!(!denied_to_us(Ok(b"allow\n".to_vec())));
        assert!(
            !denied_to_us(Err(std::io::ErrorKind::NotFound.into())),
            "before Linux 3.19 all may leave groups"
        );
    }

    #[test]
    fn the_caller_becomes_root_of_a_namespace_in_which_nothing_belongs_to_others() {
        let mut spec = crate::spec::example(false);
        in_user_namespace(&mut spec, 1000, 100);
        assert!(spec.linux.namespace(NamespaceType::User).is_some());
        assert_eq!(spec.linux.uid_mappings, [IdMapping { container_id: 0, host_id: 1000, size: 1 }]);
        assert_eq!(spec.linux.gid_mappings, [IdMapping { container_id: 0, host_id: 100, size: 1 }]);
        let options = spec.mounts.iter().flat_map(|mount| &mount.options);
        assert_eq!(options.filter(|option| option.starts_with("gid=")).count(), 0);
    }
}
