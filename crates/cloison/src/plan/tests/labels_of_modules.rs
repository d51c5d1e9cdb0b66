//! Profiles and labels of security modules.

use super::*;
use crate::plan::action::MountSource;
use crate::plan::labels::Modules;

const BOTH: Modules = Modules { apparmor: true, selinux: true, landlock: 0 };

fn labelled() -> Spec {
    let mut spec = example();
    spec.process.apparmor_profile = Some("p".into());
    spec.process.selinux_label = Some("u:r:t:s0:c1,c2".into());
    spec.linux.mount_label = Some("u:r:f:s0:c1,c2".into());
    spec
}

fn labelled_plan() -> Plan {
    Plan::new(&labelled(), &options(), &HostFacts { modules: BOTH, ..facts() }).unwrap()
}

#[test]
fn labels_are_the_last_before_the_program_and_the_way_to_them_is_kept_first() {
    let plan = labelled_plan();
    let steps: Vec<_> = plan.container.iter().map(ToString::to_string).collect();
    assert_eq!(steps[0], "keep the way to the process's attributes  [/process/apparmorProfile]");
    assert_eq!(
        steps[steps.len() - 2..],
        [
            "confine the program by the AppArmor profile p  [/process/apparmorProfile]",
            "confine the program by the SELinux label u:r:t:s0:c1,c2  [/process/selinuxLabel]",
        ]
    );
    let place = |begin: &str| steps.iter().position(|step| step.starts_with(begin)).expect(begin);
    assert_eq!(place("mark keys with") + 1, place("new session keyring"));
}

#[test]
fn new_file_systems_are_marked_but_those_that_know_no_label() {
    for step in labelled_plan().container {
        let Action::Mount(mount) = step.action else { continue };
        let marked = mount.options.data.iter().any(|entry| entry == "context=u:r:f:s0:c1,c2");
        let expected = matches!(&mount.source, MountSource::FileSystem { fs_type, .. }
            if ["tmpfs", "devpts"].contains(&fs_type.as_str()));
        assert_eq!(marked, expected, "{mount}");
        let is_labelled_later = mount.options.label.as_deref() == Some("u:r:f:s0:c1,c2");
        assert_eq!(is_labelled_later, mount.destination == Path::new("/dev/mqueue"), "{mount}");
    }
    let masks = container(&labelled_plan()).into_iter().find(|step| step.starts_with("mask ")).unwrap();
    assert!(masks.ends_with(" with the label u:r:f:s0:c1,c2  [/linux/maskedPaths]"), "{masks}");
}

#[test]
fn what_the_machine_cannot_hold_is_refused_in_the_words_of_runc() {
    for (modules, expected) in [
        (
            Modules { apparmor: false, ..BOTH },
            &["/process/apparmorProfile: apparmor: config provided but apparmor not supported"][..],
        ),
        (
            Modules { selinux: false, ..BOTH },
            &[
                "/process/selinuxLabel: selinux label is specified in config, but selinux is disabled",
                "/linux/mountLabel: selinux label is specified in config, but selinux is disabled",
            ],
        ),
    ] {
        let facts = HostFacts { modules, ..facts() };
        let problems = Plan::new(&labelled(), &options(), &facts).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.to_string().starts_with(expected), "{problem}");
        }
    }
}

#[test]
fn a_program_that_is_to_be_unconfined_is_so_without_the_module() {
    let mut spec = example();
    spec.process.apparmor_profile = Some("unconfined".into());
    let plan = Plan::new(&spec, &options(), &facts()).unwrap();
    assert!(
        !plan
            .container
            .iter()
            .any(|step| matches!(step.action, Action::ExecLabel(_) | Action::KeepAttributes))
    );
}
