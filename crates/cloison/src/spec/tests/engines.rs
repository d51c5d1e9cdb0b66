//! Files as engines write them, and one with every field there is.

use serde_json::Value;

use crate::spec::Spec;

const WHOLE: &str = include_str!("fixtures/whole.json");
const DOCKER: &str = include_str!("fixtures/docker.json");
const CONTAINERD: &str = include_str!("fixtures/containerd.json");
const PODMAN: &str = include_str!("fixtures/podman.json");

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn no_field_of_the_specification_is_lost() {
    // Not checked, as no real container can have all fields at once.
    let spec: Spec = serde_json::from_str(WHOLE).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), value(WHOLE));
}

#[test]
fn every_key_is_written_in_the_order_of_the_specification() {
    let spec: Spec = serde_json::from_str(WHOLE).unwrap();
    let keys = |text: &str| {
        let quoted = text.split('"').skip(1).step_by(2).zip(text.split('"').skip(2).step_by(2));
        let keys =
            quoted.filter(|(_, after)| after.trim_start().starts_with(':')).map(|(key, _)| key.to_owned());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys(&String::from_utf8(spec.to_json()).unwrap()), keys(WHOLE));
}

#[test]
fn files_of_docker_containerd_and_podman_pass() {
    for text in [DOCKER, CONTAINERD, PODMAN] {
        let spec = Spec::from_slice(text.as_bytes()).unwrap();
        assert_eq!(Spec::from_slice(&spec.to_json()).unwrap(), spec);
    }
}

#[test]
fn the_oci_spec_crate_reads_what_is_written_and_means_the_same() {
    for text in [DOCKER, CONTAINERD, PODMAN] {
        let written = Spec::from_slice(text.as_bytes()).unwrap().to_json();
        let theirs: oci_spec::runtime::Spec = serde_json::from_slice(&written).unwrap();
        let mut back = Spec::from_slice(&serde_json::to_vec(&theirs).unwrap()).unwrap();
        let mut ours = Spec::from_slice(&written).unwrap();
        // That crate keeps capabilities without an order.
        for spec in [&mut back, &mut ours] {
            let sets = spec.process.capabilities.as_mut().unwrap();
            for names in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
                names.sort();
            }
        }
        assert_eq!(back, ours);
    }
}
