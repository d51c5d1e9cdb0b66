//! What is left when a birth fails.

use std::fs;

use cloison_cgroup::Unified;
use cloison_linux::fake::Fake;
use cloison_linux::namespace::NamespaceFlags;
use tempfile::TempDir;

use super::*;
use crate::lifecycle::testing::Machine;
use crate::plan::action::Action;
use crate::plan::{HostFacts, Options};
use crate::spec::{self, IdMapping as Row, Namespace, NamespaceType, example};
use crate::state::testing::{Sleeper, a_state, id};

fn options() -> Options {
    Options {
        id: id("c1"),
        bundle: "/bundle".into(),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        takes_streams: false,
    }
}

/// A container with a user namespace, an OOM score and a hard limit to raise.
fn conception(cgroup: Record) -> Conception {
    let mut spec = example(false);
    spec.process.terminal = false;
    spec.process.oom_score_adj = Some(7);
    spec.linux.resources = spec::Resources::default();
    spec.linux.namespaces.push(Namespace { kind: NamespaceType::User, path: None });
    let row = Row { container_id: 0, host_id: 100_000, size: 65_536 };
    (spec.linux.uid_mappings, spec.linux.gid_mappings) = (vec![row], vec![row]);
    let facts = HostFacts {
        own_cgroup: !matches!(cgroup, Record::Disabled(_)),
        hard_limits: vec![(Resource::Nofile, 1)],
        ..HostFacts::default()
    };
    let plan = Plan::new(&spec, &options(), &facts).unwrap();
    Conception {
        plan,
        config: b"{}".to_vec(),
        state: State { cgroup: cgroup.clone(), ..a_state("c1") },
        cgroup,
        recorder: None,
        streams: None,
        notifies: false,
    }
}

fn containers(machine: &Machine) -> Vec<String> {
    let entries = fs::read_dir(&machine.runtime.root).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn begin<'k>(kernel: &'k Fake, machine: &Machine, cgroup: Record, when: Begin) -> Result<Birth<'k>, Error> {
    Birth::begin(kernel, &machine.runtime, conception(cgroup), when)
}

#[test]
fn whichever_call_fails_the_init_is_killed_and_reaped_and_no_state_is_left() {
    let good = Fake::new();
    good.push_message(*b"r", None);
    let machine = Machine::new();
    drop(begin(&good, &machine, Record::disabled(), Begin::WhenStarted).unwrap());
    let verbs = good.verbs();
    let undoing = verbs.iter().position(|verb| verb == "pidfd_send_signal").unwrap();
    assert_eq!(verbs[undoing..], ["pidfd_send_signal", "wait_pidfd"], "not committed, so it is taken away");
    assert_eq!(containers(&machine), [""; 0]);
    for at in 0..undoing {
        let kernel = Fake::new();
        kernel.push_message(*b"r", None);
        kernel.fail_at(at, Errno::IO);
        let machine = Machine::new();
        let error = begin(&kernel, &machine, Record::disabled(), Begin::WhenStarted).err().expect("an error");
        assert!(error.to_string().ends_with("input/output error"), "{error}");
        assert_eq!(containers(&machine), [""; 0], "{error}");
        let calls = kernel.calls();
        let is_born = calls[..at].iter().any(|call| call.starts_with("clone3("));
        let undone =
            if is_born { &["pidfd_send_signal(pidfd 1, 9)", "wait_pidfd(pidfd 1)"][..] } else { &[] };
        assert_eq!(calls[at + 1..], *undone, "{error}");
    }
}

#[test]
fn an_init_that_says_why_is_quoted_and_one_that_says_nothing_was_killed() {
    for (message, expected) in [
        (&b"f\x0d\0\0\0\0\0\0\0mounting x\0permission denied"[..], "mounting x: permission denied"),
        (b"", "the init was killed"),
        (b"p", "protocol error"),
        (b"t", "protocol error"),
    ] {
        let kernel = Fake::new();
        kernel.push_message(message, None);
        let machine = Machine::new();
        let error = begin(&kernel, &machine, Record::disabled(), Begin::AtOnce).err().expect("an error");
        let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        assert!(text.contains(expected) || error.to_string().contains(expected), "{error}: {text}");
        assert_eq!(containers(&machine), [""; 0]);
    }
}

/// What a zombie has in `/proc` is root's, and so who is not root reads only that nothing is permitted there.
#[test]
fn an_init_that_ended_before_its_ids_were_mapped_is_quoted() {
    let good = Fake::new();
    good.push_message(*b"r", None);
    drop(begin(&good, &Machine::new(), Record::disabled(), Begin::AtOnce).unwrap());
    for file in ["uid_map", "oom_score_adj"] {
        let at = good.calls().iter().position(|call| call.contains(file)).expect("it is written");
        for (errno, is_quoted) in [(Errno::ACCESS, true), (Errno::PERM, true), (Errno::INVAL, false)] {
            let kernel = Fake::new();
            kernel.push_message(*b"f\x1c\0\0\0\0\0\0\0joining the cgroup\0no space left", None);
            kernel.fail_at(at, errno);
            let error =
                begin(&kernel, &Machine::new(), Record::disabled(), Begin::AtOnce).err().expect("an error");
            assert_eq!(matches!(error, Error::Init(_)), is_quoted, "{file}, {errno}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_ended_keeps_its_state_for_delete() {
    let kernel = Fake::new();
    kernel.push_message(*b"r", None);
    kernel.fail_on("pidfd_send_signal", Errno::PERM);
    let machine = Machine::new();
    drop(begin(&kernel, &machine, Record::disabled(), Begin::AtOnce).unwrap());
    assert_eq!(containers(&machine), ["c1"]);
}

/// A directory that looks like a v2 cgroup in which a process lives.
fn somebody_elses(process: &Sleeper) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("cgroup.procs"), format!("{}\n", process.init().pid)).unwrap();
    fs::write(directory.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
    fs::write(directory.path().join("cgroup.freeze"), "0\n").unwrap();
    directory
}

#[test]
fn a_cgroup_that_is_refused_because_others_live_in_it_is_left_alone_with_them() {
    let mut other = Sleeper::new();
    let directory = somebody_elses(&other);
    let (mount, path) = (directory.path().parent().unwrap().to_owned(), directory.path().to_owned());
    let machine = Machine::new();
    let kernel = Fake::new();
    let cgroup = Record::Unified(Unified { mount, directory: path });
    let error = begin(&kernel, &machine, cgroup, Begin::AtOnce).err().expect("an error");
    assert!(error.to_string().starts_with("container's cgroup is not empty: 1 process(es) found"), "{error}");
    assert!(other.is_alive());
    assert_eq!(fs::read_to_string(directory.path().join("cgroup.freeze")).unwrap(), "0\n");
    assert!(!directory.path().join("cgroup.kill").exists());
    assert_eq!(kernel.calls(), [""; 0]);
    assert_eq!(containers(&machine), [""; 0]);
}

/// Its parent, in a pid namespace of its own, knows it by another number.
#[test]
fn an_init_from_a_go_between_is_known_by_its_own_pidfd() {
    let kernel = Fake::new();
    let machine = Machine::new();
    let mut conception = conception(Record::disabled());
    let join = Action::JoinNamespace(NamespaceFlags::USER, "/run/ns/user".into());
    conception.plan.container.insert(0, crate::plan::Step { action: join, origin: "runtime".into() });
    kernel.push_message(*b"p", Some(kernel.descriptor("pidfd of the init")));
    kernel.push_message(*b"r", None);
    let birth = Birth::begin(&kernel, &machine.runtime, conception, Begin::AtOnce).unwrap();
    let calls = kernel.calls();
    assert!(calls[1].ends_with(", no cgroup, child)"), "{calls:#?}");
    assert_eq!(calls[3..5], ["pidfd_pid(pidfd of the init)", "wait_pidfd(pidfd 1)"], "{calls:#?}");
    drop(birth);
    assert_eq!(kernel.calls().last().unwrap(), "wait_pidfd(pidfd of the init)");
}

#[test]
fn network_devices_come_back_from_a_birth_that_fails() {
    let kernel = Fake::new();
    kernel.push_message(*b"r", None);
    let machine = Machine::new();
    let mut conception = conception(Record::disabled());
    let mut spec = example(false);
    spec.process.terminal = false;
    let device = |name: Option<&str>| spec::NetDevice { name: name.map(str::to_owned) };
    spec.linux.net_devices =
        [("eth0".to_owned(), device(None)), ("eth1".to_owned(), device(Some("lan")))].into();
    conception.plan = Plan::new(&spec, &options(), &HostFacts::default()).unwrap();
    drop(Birth::begin(&kernel, &machine.runtime, conception, Begin::WhenStarted).unwrap());
    let calls = kernel.calls();
    let devices: Vec<_> = calls.iter().filter(|call| call.contains("network_device")).collect();
    let words: Vec<_> = devices.iter().map(|call| call.rsplit_once(", ").unwrap().0).collect();
    assert_eq!(
        words,
        [
            "move_network_device(eth0, eth0",
            "move_network_device(eth1, lan",
            "return_network_device(lan, eth1",
            "return_network_device(eth0, eth0"
        ]
    );
}

#[test]
fn the_network_that_devices_go_to_is_held_before_the_init_takes_ids_that_hide_it() {
    let kernel = Fake::new();
    kernel.push_message(*b"r", None);
    let machine = Machine::new();
    let mut conception = conception(Record::disabled());
    let mut spec = example(true);
    spec.process.terminal = false;
    spec.linux.net_devices = [("eth0".to_owned(), spec::NetDevice { name: None })].into();
    conception.plan = Plan::new(&spec, &options(), &HostFacts::default()).unwrap();
    drop(Birth::begin(&kernel, &machine.runtime, conception, Begin::WhenStarted).unwrap());
    let calls = kernel.calls();
    let opened: Vec<_> =
        (0..).zip(&calls).filter(|(_, call)| call.starts_with("open(") && call.contains("/ns/net")).collect();
    let mapped = calls.iter().position(|call| call.contains("uid_map")).unwrap();
    assert!(matches!(opened[..], [(held, _)] if held < mapped), "{calls:#?}");
}
