//! Processes that join a container, on a fake kernel.

use std::os::fd::AsFd;

use cloison_linux::Errno;
use cloison_linux::fake::{Fake, stat};
use cloison_linux::{FileType, makedev};

use super::{example, is_launched};
use crate::id::ContainerId;
use crate::init::channel::Failure;
use crate::init::create::Inheritance;
use crate::init::exec::{Container, join};
use crate::plan::exec::{Asked, ExecFacts, ExecPlan, ProcessFlags};
use crate::spec::Spec;

fn plan(spec: Spec, flags: ProcessFlags, facts: &ExecFacts) -> ExecPlan {
    let flags = ProcessFlags { args: vec!["/bin/sh".into()], ..flags };
    let id = ContainerId::parse("c1").unwrap();
    ExecPlan::new(spec, Asked { document: None, flags }, &id, 0, facts).unwrap()
}

fn root() -> ExecFacts {
    ExecFacts { privileged: true, joins_cgroup: true, ..ExecFacts::default() }
}

/// A kernel in whose container the program of the plan is.
fn kernel() -> Fake {
    let kernel = Fake::new();
    kernel.set_file_system("/proc/self/fd", 0x9fa0);
    kernel.set_stat("//dev/null", stat(FileType::CharacterDevice, 0o666, makedev(1, 3)));
    kernel.set_stat("/bin/sh", stat(FileType::RegularFile, 0o755, 0));
    kernel
}

fn run(kernel: &Fake, plan: &ExecPlan, root_is_given: bool) -> Failure {
    let [channel, first, root, tasks] =
        ["channel", "first", "root of first", "tasks"].map(|name| kernel.descriptor(name));
    let tasks = [tasks.as_fd()];
    let inherited = Inheritance {
        channel: channel.as_fd(),
        cgroup: &tasks,
        sources: &[],
        start: None,
        hook_outputs: [None, None],
        streams: None,
        held_root: None,
        pad: None,
        container: Some(Container { first: first.as_fd(), root: root_is_given.then(|| root.as_fd()) }),
    };
    join(kernel, plan, &inherited)
}

#[test]
fn all_namespaces_are_entered_by_one_call_after_the_cgroup() {
    let kernel = kernel();
    run(&kernel, &plan(example(false), ProcessFlags::default(), &root()), false);
    assert!(is_launched(&kernel), "{:#?}", kernel.calls());
    let calls = kernel.calls();
    let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
    assert_eq!(calls.iter().filter(|call| call.starts_with("setns")).count(), 1);
    assert_eq!(calls[at("setns")], "setns(first, net,mnt,ipc,uts,cgroup)");
    assert!(at("write(tasks, \"0\")") < at("setns"));
    assert!(at("open(\"/proc/self/fd\"") < at("setns"), "where /proc is still the host's");
    assert!(at("setns") < at("open(\"/\""));
    assert!(at("setns") < at("join_session_keyring"));
    assert!(!calls.iter().any(|call| call.starts_with("chroot") || call.starts_with("keyring_permissions")));
}

#[test]
fn in_a_user_namespace_the_process_becomes_root_and_is_hidden_again() {
    let kernel = kernel();
    run(&kernel, &plan(example(true), ProcessFlags::default(), &root()), false);
    let calls = kernel.calls();
    let at = calls.iter().position(|call| call.starts_with("setns")).unwrap();
    assert_eq!(
        calls[at..at + 3],
        ["setns(first, user,net,mnt,ipc,uts,cgroup)", "become_ids(0, 0, no groups)", "set_dumpable(false)"]
    );
}

#[test]
fn without_a_mount_namespace_the_root_is_that_of_the_first_process() {
    let kernel = kernel();
    let mut spec = example(false);
    spec.linux.namespaces.retain(|namespace| namespace.kind != crate::spec::NamespaceType::Mount);
    run(&kernel, &plan(spec, ProcessFlags::default(), &root()), true);
    let calls = kernel.calls();
    let at = calls.iter().position(|call| call == "fchdir(root of first)").unwrap();
    assert_eq!(calls[at + 1], "chroot_here()");
    assert!(calls[at + 2].starts_with("open(\"/\""), "{calls:#?}");
}

#[test]
fn a_go_between_hands_on_to_a_sibling() {
    let kernel = kernel();
    kernel.be_child();
    let facts = ExecFacts { privileged: false, ..root() };
    run(&kernel, &plan(example(true), ProcessFlags::default(), &facts), false);
    let calls = kernel.calls();
    let at = calls.iter().position(|call| call.starts_with("setns")).unwrap();
    assert_eq!(calls[at], "setns(first, user,pid,net,mnt,ipc,uts,cgroup)");
    assert_eq!(calls[at + 2], "clone3(none, no cgroup, sibling)");
    let own = "open_in_root(/proc, \"self/fd\", DIRECTORY|PATH, 0o0)";
    let opened = calls.iter().position(|call| call == own).expect("its descriptors are not the go-between's");
    assert!(opened > at + 2, "{calls:#?}");
    assert!(is_launched(&kernel));
}

#[test]
fn a_failure_of_any_call_on_the_way_is_told_and_nothing_is_launched() {
    let facts = || ExecFacts { activation: 1, ..root() };
    let whole = kernel();
    run(&whole, &plan(example(true), ProcessFlags::default(), &facts()), false);
    let verbs = whole.verbs();
    for (at, verb) in verbs.iter().enumerate() {
        let kernel = kernel();
        kernel.fail_at(at, Errno::IO);
        let failure = run(&kernel, &plan(example(true), ProcessFlags::default(), &facts()), false);
        // What cannot fail, what is only tried, and the launch itself.
        if ["umask", "getpid", "reset_affinity", "fstat", "launch"].contains(&verb.as_str()) {
            continue;
        }
        if is_launched(&kernel) {
            // The user's home is a comfort, and where there is no passwd it is the root.
            assert!(kernel.calls()[at].contains("passwd"), "{verb} at {at}: {:#?}", kernel.calls());
            continue;
        }
        assert_eq!(failure.errno, Some(Errno::IO.raw_os_error()), "{verb} at {at}: {failure}");
    }
}

#[test]
fn a_container_that_has_ended_is_told_as_such() {
    let kernel = kernel();
    kernel.fail_on("setns", Errno::SRCH);
    let failure = run(&kernel, &plan(example(false), ProcessFlags::default(), &root()), false);
    assert!(failure.to_string().starts_with("the container has ended"), "{failure}");
}
