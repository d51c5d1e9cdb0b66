//! The rules of `linux.seccomp`.

use crate::spec::{LISTENER_ANNOTATION, Seccomp, SeccompAction, Spec};

use super::Check;

/// The last argument of a system call, counted from 0.
const LAST_ARGUMENT: u32 = 5;

pub(super) fn check(filter: &Seccomp, spec: &Spec, check: &mut Check<'_>) {
    let pointer = "/linux/seccomp/defaultAction";
    if filter.default_action.is_none() && !filter.syscalls.is_empty() && !check.is_hole(pointer) {
        check.problem(pointer, "missing, expected a seccomp action such as SCMP_ACT_ERRNO");
    }
    if let Some(action) = filter.default_action {
        errno("/linux/seccomp/defaultErrnoRet", action, filter.default_errno_ret, check);
    }
    let pointer = "/linux/seccomp/listenerPath";
    let has_listener = filter.listener_path.is_some() || spec.annotations.contains_key(LISTENER_ANNOTATION);
    if filter.notifies() && !has_listener && !check.is_hole(pointer) {
        check.problem(pointer, "missing, SCMP_ACT_NOTIFY needs the path of a socket to hand calls to");
    }
    for (rule_index, rule) in filter.syscalls.iter().enumerate() {
        errno(&format!("/linux/seccomp/syscalls/{rule_index}/errnoRet"), rule.action, rule.errno_ret, check);
        for (index, argument) in rule.args.iter().enumerate() {
            if argument.index > LAST_ARGUMENT {
                check.problem(
                    format!("/linux/seccomp/syscalls/{rule_index}/args/{index}/index"),
                    format!("found {}, expected a whole number from 0 to {LAST_ARGUMENT}", argument.index),
                );
            }
        }
    }
}

/// An errno beside an action that gives none would not be heard of.
fn errno(pointer: &str, action: SeccompAction, errno: Option<u32>, check: &mut Check<'_>) {
    if let Some(errno) = errno.filter(|_| !action.takes_errno()) {
        check.problem(pointer, format!("found {errno}, but {action} has no errno"));
    }
}
