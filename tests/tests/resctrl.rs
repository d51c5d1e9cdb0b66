//! Shares of caches and memory bandwidth (`linux.intelRdt`), where the machine has none to give.
//!
//! What is done with a resctrl file system that is there is tested in `crates/cloison/src/resctrl`, on directories that look like one.

use std::fs;

use cloison_tests::{Sandbox, json, skip_unless};

fn is_mounted() -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ")
}

#[test]
fn a_container_with_a_class_of_service_is_refused_where_there_are_none() {
    skip_unless!(!is_mounted(), "needs a machine without a resctrl file system");
    let sandbox = Sandbox::new();
    let bundle =
        sandbox.busybox("true").set("/linux/intelRdt", json!({"closID": "gold", "schemata": ["L3:0=f"]}));
    bundle.run().refused_saying(&["intelRdt is specified in config, but Intel RDT is not enabled"]);
}

#[test]
fn shares_are_not_given_where_there_are_none() {
    skip_unless!(!is_mounted(), "needs a machine without a resctrl file system");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for (option, line) in [("--l3-cache-schema", "L3:0=f"), ("--mem-bw-schema", "MB:0=20")] {
        let update = |value: &str| sandbox.cloison(["update", option, value, container.id()]);
        update(line).refused_saying(&["Intel RDT", "not enabled"]);
        update("").ok();
    }
    container.end();
}

#[test]
fn a_container_without_a_class_of_service_has_an_empty_section_in_its_events() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let events = sandbox.cloison(["events", "--stats", container.id()]).json();
    assert_eq!(events["data"]["intel_rdt"], json!({}));
    container.end();
}
