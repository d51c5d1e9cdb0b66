//! The rules of `hooks`.

use crate::spec::Hooks;

use super::Check;

pub(super) fn check(hooks: &Hooks, check: &mut Check<'_>) {
    for (name, list) in hooks.by_name() {
        for (index, hook) in list.iter().enumerate() {
            let at = format!("/hooks/{name}/{index}");
            let pointer = format!("{at}/path");
            if !hook.path.starts_with('/') && !check.is_hole(&pointer) {
                check.problem(
                    pointer,
                    format!("found {:?}, expected the absolute path of a program", hook.path),
                );
            }
            if let Some(seconds) = hook.timeout.filter(|&seconds| seconds <= 0) {
                check.problem(
                    format!("{at}/timeout"),
                    format!("found {seconds}, expected a number of seconds above 0"),
                );
            }
        }
    }
}
