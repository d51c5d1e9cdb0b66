//! The thorough way to a layout: match what we are a member of with what is mounted.

use std::path::PathBuf;

use super::{Hierarchy, Layout, below_mount};
use crate::procfs::{CgroupMount, Membership};

/// The layout that mounts and memberships describe together.
pub(super) fn layout(mounts: &[CgroupMount], memberships: &[Membership<'_>]) -> Layout {
    let hierarchies: Vec<Hierarchy> = memberships
        .iter()
        .filter(|membership| !membership.is_unified())
        .filter_map(|membership| hierarchy(mounts, membership))
        .collect();
    let unified = mounts.iter().filter(|mount| mount.unified);
    let own = memberships.iter().find(|membership| membership.is_unified());
    if hierarchies.is_empty() {
        return match own {
            Some(own) => best(unified, own.path).map_or(Layout::Absent, |(mount, own)| Layout::Unified {
                mount: mount.mount_point.clone(),
                own: Some(own),
            }),
            None => first(unified).map_or(Layout::Absent, |mount| Layout::Unified { mount, own: None }),
        };
    }
    let unified = match own {
        Some(own) => best(unified, own.path).map(|(mount, _)| mount.mount_point.clone()),
        None => first(unified),
    };
    Layout::Legacy { hierarchies, unified }
}

/// The v1 hierarchy of a membership; nothing when it is mounted nowhere, as controllers that nobody uses are.
fn hierarchy(mounts: &[CgroupMount], membership: &Membership<'_>) -> Option<Hierarchy> {
    let controller = *membership.controllers.first()?;
    let (mount, own) = best(mounts.iter().filter(|mount| mount.has(controller)), membership.path)?;
    Some(Hierarchy {
        controllers: membership.controllers.iter().map(ToString::to_string).collect(),
        mount: mount.mount_point.clone(),
        own,
    })
}

/// Of several mounts of one hierarchy, the first in which our own cgroup can be seen, else the first.
fn best<'a>(mounts: impl Iterator<Item = &'a CgroupMount>, path: &str) -> Option<(&'a CgroupMount, PathBuf)> {
    let mut fallback = None;
    for mount in mounts {
        if let Some(own) = below_mount(&mount.root, path) {
            return Some((mount, own));
        }
        fallback.get_or_insert((mount, PathBuf::new()));
    }
    fallback
}

fn first<'a>(mut mounts: impl Iterator<Item = &'a CgroupMount>) -> Option<PathBuf> {
    mounts.next().map(|mount| mount.mount_point.clone())
}
