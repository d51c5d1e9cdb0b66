//! The rules of `process`.

use serde_json::{Value, json};

use super::{accepts, refuses, with};

#[test]
fn args_must_not_be_empty() {
    refuses(&with("/process/args", json!([])), "/process/args", "args must not be empty");
    refuses(&with("/process/args", Value::Null), "/process/args", "args must not be empty");
}

#[test]
fn cwd_must_be_absolute() {
    accepts(&with("/process/cwd", json!("/a/../b")));
    refuses(&with("/process/cwd", json!("tmp")), "/process/cwd", "Cwd must be an absolute path");
    refuses(&with("/process/cwd", json!("")), "/process/cwd", "Cwd must be an absolute path");
    refuses(&with("/process/cwd", Value::Null), "/process/cwd", "Cwd property must not be empty");
}

#[test]
fn environment_entries_need_a_name_and_an_equals_sign() {
    accepts(&with("/process/env", json!(["A=", "B=b=c", "A=2", "no name needed here=x"])));
    refuses(&with("/process/env", json!(["A=1", "B"])), "/process/env/1", "missing '='");
    refuses(&with("/process/env", json!(["=x"])), "/process/env/0", "name cannot be empty");
}

#[test]
fn the_id_that_means_unchanged_is_no_user() {
    accepts(&with("/process/user", json!({"uid": 4_294_967_294_u32, "gid": 0, "additionalGids": [1, 2]})));
    for (user, place) in [
        (json!({"uid": u32::MAX}), "uid"),
        (json!({"gid": u32::MAX}), "gid"),
        (json!({"additionalGids": [5, u32::MAX]}), "additionalGids/1"),
    ] {
        refuses(&with("/process/user", user), &format!("/process/user/{place}"), "stands for no id");
    }
}

#[test]
fn rlimits_are_known_set_once_and_soft_is_at_most_hard() {
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    accepts(&with(
        "/process/rlimits",
        json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_NOFILE", 0, u64::MAX)]),
    ));
    refuses(
        &with("/process/rlimits", json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_CPU", 1, 2)])),
        "/process/rlimits/1/type",
        "duplicated rlimit RLIMIT_CPU",
    );
    refuses(
        &with("/process/rlimits", json!([limit("RLIMIT_CPU", 3, 2)])),
        "/process/rlimits/0/soft",
        "3 is above the hard limit of RLIMIT_CPU, 2",
    );
    refuses(
        &with("/process/rlimits", json!([limit("RLIMIT_FOO", 1, 2)])),
        "/process/rlimits/0/type",
        "found \"RLIMIT_FOO\", expected a resource of getrlimit(2): RLIMIT_CPU, ",
    );
}

#[test]
fn oom_score_is_within_the_kernels_range() {
    for score in [-1000, 0, 1000] {
        accepts(&with("/process/oomScoreAdj", json!(score)));
    }
    for score in [-1001, 1001] {
        refuses(&with("/process/oomScoreAdj", json!(score)), "/process/oomScoreAdj", "from -1000 to 1000");
    }
}

#[test]
fn scheduler_settings_fit_their_policy() {
    let at = "/process/scheduler";
    for settings in [
        json!({"policy": "SCHED_OTHER", "nice": 19, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
        json!({"policy": "SCHED_BATCH", "nice": -20}),
        json!({"policy": "SCHED_FIFO", "priority": 99}),
        json!({"policy": "SCHED_RR", "priority": 1, "nice": 100}),
        json!({"policy": "SCHED_IDLE"}),
        json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
    ] {
        accepts(&with(at, settings));
    }
    for (settings, place, text) in [
        (json!({}), "/policy", "missing, expected a scheduling policy: SCHED_OTHER"),
        (json!({"policy": "SCHED_NO"}), "/policy", "found \"SCHED_NO\""),
        (json!({"policy": "SCHED_OTHER", "flags": ["X"]}), "/flags/0", "expected a scheduling flag"),
        (json!({"policy": "SCHED_OTHER", "nice": 20}), "/nice", "invalid scheduler.nice: 20"),
        (json!({"policy": "SCHED_BATCH", "nice": -21}), "/nice", "when scheduler.policy is SCHED_BATCH"),
        (json!({"policy": "SCHED_FIFO"}), "/priority", "found 0, expected 1 to 99"),
        (json!({"policy": "SCHED_RR", "priority": 100}), "/priority", "expected 1 to 99"),
        (
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "/priority",
            "can only be specified for SCHED_FIFO",
        ),
        (json!({"policy": "SCHED_OTHER", "period": 1}), "", "runtime/deadline/period can only be"),
    ] {
        refuses(&with(at, settings), &format!("{at}{place}"), text);
    }
}

#[test]
fn io_priority_has_a_class_and_eight_levels() {
    let at = "/process/ioPriority";
    accepts(&with(at, json!({"class": "IOPRIO_CLASS_BE", "priority": 7})));
    refuses(
        &with(at, json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
        &format!("{at}/priority"),
        "Priority: 8",
    );
    refuses(&with(at, json!({"class": "IOPRIO_CLASS_RT", "priority": -1})), &format!("{at}/priority"), "-1");
    refuses(
        &with(at, json!({"class": "BE"})),
        &format!("{at}/class"),
        "an I/O priority class: IOPRIO_CLASS_RT",
    );
}

#[test]
fn cpu_affinity_is_a_list_of_cpus() {
    let at = "/process/execCPUAffinity";
    accepts(&with(at, json!({"initial": "0-3,7", "final": ""})));
    refuses(
        &with(at, json!({"initial": "0-"})),
        &format!("{at}/initial"),
        "\"0-\" is neither a number nor a range",
    );
    refuses(&with(at, json!({"final": "3-1"})), &format!("{at}/final"), "ends before it begins");
}
