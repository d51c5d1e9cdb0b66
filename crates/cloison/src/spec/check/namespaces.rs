//! The rules of `linux.namespaces`, and of the maps and clocks that belong to them.

use crate::spec::{IdMapping, Linux, NamespaceType, Spec};

use super::{Check, mappings};

const NANOSECONDS: u32 = 1_000_000_000;

/// Whether the container gets a namespace, or may get it once the list can be read.
pub(super) fn may_have(linux: &Linux, kind: NamespaceType, check: &Check<'_>) -> bool {
    linux.has_namespace(kind) || check.is_hole("/linux/namespaces")
}

pub(super) fn check(spec: &Spec, check: &mut Check<'_>) {
    let linux = &spec.linux;
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let kind = namespace.kind;
        if linux.namespaces[..index].iter().any(|earlier| earlier.kind == kind) {
            check.problem(
                format!("/linux/namespaces/{index}"),
                format!("malformed spec file: duplicated ns {:?}, each may be listed once", kind.as_str()),
            );
        }
        if let Some(path) = namespace.path.as_ref().filter(|path| !path.starts_with('/')) {
            check.problem(
                format!("/linux/namespaces/{index}/path"),
                format!("found {path:?}, expected an absolute path of a namespace to join"),
            );
        }
    }
    user(spec, check);
    time(linux, check);
    mount(spec, check);
}

fn user(spec: &Spec, check: &mut Check<'_>) {
    let linux = &spec.linux;
    mappings::check(&linux.uid_mappings, "/linux/uidMappings", check);
    mappings::check(&linux.gid_mappings, "/linux/gidMappings", check);
    for (pointer, rows) in
        [("/linux/uidMappings", &linux.uid_mappings), ("/linux/gidMappings", &linux.gid_mappings)]
    {
        if !may_have(linux, NamespaceType::User, check) && !rows.is_empty() {
            check.problem(
                pointer,
                "user namespace mappings specified, but user namespace isn't enabled in the config, add \
                 {\"type\": \"user\"}",
            );
        }
        if !linux.makes_namespace(NamespaceType::User) || check.is_hole(pointer) {
        } else if rows.is_empty() {
            check.problem(
                pointer,
                "missing: user namespaces enabled, but no namespace path to join nor mappings to apply specified",
            );
        } else if !maps(rows, 0) {
            // The default devices, the mounts and the console belong to the container's root.
            check.problem(pointer, "user namespaces enabled, but the container's id 0 is not mapped");
        }
    }
    if linux.makes_namespace(NamespaceType::User) {
        mapped_user(spec, check);
    }
}

/// A program cannot become a user that its namespace does not know.
fn mapped_user(spec: &Spec, check: &mut Check<'_>) {
    let (linux, user) = (&spec.linux, &spec.process.user);
    let mut id = |id: u32, rows: &[IdMapping], what: &str, field: &str, map: &str| {
        // An empty map has been reported, 0 too, and the last id is no id in any map.
        if !rows.is_empty() && id != 0 && id != u32::MAX && !maps(rows, id) && !check.is_hole(map) {
            check.problem(
                format!("/process/user/{field}"),
                format!("cannot set {what} to unmapped user in user namespace: {id} is not in {map}"),
            );
        }
    };
    id(user.uid, &linux.uid_mappings, "uid", "uid", "/linux/uidMappings");
    id(user.gid, &linux.gid_mappings, "gid", "gid", "/linux/gidMappings");
    for (index, &gid) in user.additional_gids.iter().enumerate() {
        let field = format!("additionalGids/{index}");
        id(gid, &linux.gid_mappings, "additional gid", &field, "/linux/gidMappings");
    }
}

fn maps(rows: &[IdMapping], id: u32) -> bool {
    rows.iter().any(|row| row.host_id_of(id).is_some())
}

/// See `time_namespaces(7)`.
fn time(linux: &Linux, check: &mut Check<'_>) {
    if linux.time_offsets.is_empty() {
        return;
    }
    if !may_have(linux, NamespaceType::Time, check) {
        check.problem(
            "/linux/timeOffsets",
            "time namespace offsets specified, but time namespace isn't enabled in the config, add \
             {\"type\": \"time\"}",
        );
    }
    if linux.namespace(NamespaceType::Time).is_some_and(|namespace| namespace.path.is_some()) {
        check.problem(
            "/linux/timeOffsets",
            "time namespace enabled, but both namespace path and time offsets specified -- you may only provide \
             one",
        );
    }
    for (clock, offset) in &linux.time_offsets {
        let pointer = format!("/linux/timeOffsets/{}", super::escape(clock));
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            check.problem(&pointer, format!("unknown clock {clock:?}, expected monotonic or boottime"));
        }
        if offset.nanosecs >= NANOSECONDS {
            check.problem(
                format!("{pointer}/nanosecs"),
                format!("found {}, expected a whole number from 0 to 999999999", offset.nanosecs),
            );
        }
    }
}

fn mount(spec: &Spec, check: &mut Check<'_>) {
    let linux = &spec.linux;
    if may_have(linux, NamespaceType::Mount, check) {
        return;
    }
    let (mounts_of_host, user) = (&spec.mounts, may_have(linux, NamespaceType::User, check));
    if user && !mounts_of_host.is_empty() {
        check.problem(
            "/mounts",
            "without a mount namespace these would be the host's mounts, which a user namespace may not change, add {\"type\": \"mount\"}",
        );
    }
    if user && spec.root.readonly {
        check.problem(
            "/root/readonly",
            "without a mount namespace the root cannot be made read-only, add {\"type\": \"mount\"}",
        );
    }
    for (pointer, paths) in
        [("/linux/maskedPaths", &linux.masked_paths), ("/linux/readonlyPaths", &linux.readonly_paths)]
    {
        if !paths.is_empty() {
            check.problem(
                pointer,
                "unable to restrict sys entries without a private MNT namespace, add {\"type\": \"mount\"}",
            );
        }
    }
}
