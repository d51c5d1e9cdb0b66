//! What `cloison spec` writes.

use crate::spec::{IdMapping, NamespaceType, Spec, example};

#[test]
fn the_example_passes_its_own_check_and_is_read_back_the_same() {
    for rootless in [false, true] {
        let spec = example(rootless);
        assert_eq!(spec.check(), []);
        assert_eq!(spec.warnings(), []);
        assert_eq!(Spec::from_slice(&spec.to_json()).unwrap(), spec);
    }
}

#[test]
fn the_example_is_indented_by_tabs_without_a_newline_at_the_end() {
    let text = String::from_utf8(example(false).to_json()).unwrap();
    assert!(text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,\n"));
    let rule =
        "\n\t\t\t\t{\n\t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n\t\t\t]\n";
    assert!(text.contains(rule), "{text}");
    assert!(text.ends_with("\n\t}\n}"));
}

#[test]
fn the_rootless_example_asks_for_nothing_that_needs_root() {
    let spec = example(true);
    let caller = |id| vec![IdMapping { container_id: 0, host_id: id, size: 1 }];
    assert_eq!(spec.linux.uid_mappings, caller(rustix::process::geteuid().as_raw()));
    assert_eq!(spec.linux.gid_mappings, caller(rustix::process::getegid().as_raw()));
    assert!(spec.linux.makes_namespace(NamespaceType::User));
    assert!(!spec.linux.has_namespace(NamespaceType::Network));
    assert!(spec.linux.resources.devices.is_empty());
    let sys = spec.mounts.iter().find(|mount| mount.destination == "/sys").unwrap();
    assert!(sys.is_bind());
    assert!(spec.mounts.iter().flat_map(|mount| &mount.options).all(|option| !option.starts_with("gid=")));
}
