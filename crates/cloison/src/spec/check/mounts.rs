//! The rules of `mounts`.

use crate::spec::{Mount, NamespaceType, Propagation, Spec, is_file_system_option};

use super::{Check, mappings, namespaces};

pub(super) fn check(spec: &Spec, check: &mut Check<'_>) {
    for (index, mount) in spec.mounts.iter().enumerate() {
        let at = format!("/mounts/{index}");
        if mount.destination.is_empty() && !check.is_hole(&format!("{at}/destination")) {
            check.problem(format!("{at}/destination"), "missing, expected an absolute path in the container");
        }
        if mount.is_bind() {
            bind(mount, &at, check);
        } else if mount.kind.is_none() && needs_type(mount) && !check.is_hole(&at) {
            check.problem(
                format!("{at}/type"),
                "missing, expected a file system such as proc or tmpfs, or the option bind or rbind",
            );
        }
        if mount.is_id_mapped() {
            id_mapped(mount, spec, &at, check);
        }
    }
}

/// Changing a mount that is there needs no type.
fn needs_type(mount: &Mount) -> bool {
    !mount.options.iter().any(|option| option == "remount" || Propagation::from_name(option).is_some())
}

/// The kernel would ignore a file system's own options on a bind mount without a word.
fn bind(mount: &Mount, at: &str, check: &mut Check<'_>) {
    if mount.source.is_none() && !check.is_hole(&format!("{at}/source")) {
        check.problem(format!("{at}/source"), "missing, expected the path that is to be bind mounted");
    }
    for (index, option) in mount.options.iter().enumerate() {
        if is_file_system_option(option) {
            check.problem(
                format!("{at}/options/{index}"),
                format!(
                    "bind mounts cannot have any filesystem-specific options applied, such as {option:?}"
                ),
            );
        }
    }
}

/// See `mount_setattr(2)`, `MOUNT_ATTR_IDMAP`.
fn id_mapped(mount: &Mount, spec: &Spec, at: &str, check: &mut Check<'_>) {
    if !mount.is_bind() && !check.is_hole(&format!("{at}/options")) {
        check
            .problem(at, "id-mapped mounts are only supported for bind-mounts, add the option bind or rbind");
    }
    for (field, rows, others) in [
        ("uidMappings", &mount.uid_mappings, &mount.gid_mappings),
        ("gidMappings", &mount.gid_mappings, &mount.uid_mappings),
    ] {
        let pointer = format!("{at}/{field}");
        if rows.is_empty() && !others.is_empty() && !check.is_hole(&pointer) {
            check
                .problem(&pointer, "missing, id-mapped mounts must have both uid and gid mappings specified");
        }
        mappings::check(rows, &pointer, check);
    }
    let own = mount.has_mappings() || check.is_hole(at);
    if !own && !namespaces::may_have(&spec.linux, NamespaceType::User, check) {
        check.problem(
            at,
            "id-mapped mounts must have both uid and gid mappings specified, as there is no user namespace to \
             take them from",
        );
    }
}
