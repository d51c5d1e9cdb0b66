//! What happens when any one call of a birth fails.

use cloison_linux::Errno;

use super::*;

/// Calls whose failure a container can live with: the affinity, `HOME`, owners of streams, a directory of `PATH`, the number of inodes.
const TOLERATED: [&str; 9] = [
    "umask(",
    "reset_affinity(",
    "open_in_root(tree of /bundle/rootfs, \"/etc/passwd\"",
    "fstat(tree of /bundle/rootfs/etc/passwd)",
    "reopen(/proc/self/fd, tree of /bundle/rootfs/etc/passwd",
    "read_to_end(tree of /bundle/rootfs/etc/passwd",
    "fstat(fd ",
    "open(\"/usr/",
    "open(\"/sbin/",
];

fn is_tolerated(call: &str) -> bool {
    let in_path = call.starts_with("fstat(/usr/") || call.starts_with("fstat(/sbin/");
    let inodes = call.contains("\"nr_inodes\", \"1\"");
    in_path || inodes || TOLERATED.iter().any(|begin| call.starts_with(begin))
}

/// For each call of the whole birth, the origin of the step that makes it.
fn origins(whole: &Plan) -> Vec<String> {
    let mut origins = vec!["none".to_owned()];
    for (at, step) in whole.container.iter().enumerate() {
        let part = Plan { container: whole.container[..=at].to_vec(), ..whole.clone() };
        let kernel = kernel();
        run(&kernel, &part, &[]);
        let calls = kernel.calls().len() - 1;
        assert!(is_launched(&kernel), "{step}: {:#?}", kernel.calls());
        origins.resize(calls, step.origin.to_string());
    }
    origins
}

fn check_every_failure(spec: &Spec) {
    let plan = plan(spec);
    let origins = origins(&plan);
    let good = kernel();
    run(&good, &plan, &[]);
    let calls = good.calls();
    assert!(calls.len() > 100 && calls.len() == origins.len() + 1, "{calls:#?}");
    for (at, call) in calls.iter().enumerate() {
        let kernel = kernel();
        kernel.fail_at(at, Errno::IO);
        let failure = run(&kernel, &plan, &[]);
        if is_tolerated(call) {
            assert!(is_launched(&kernel), "{call} is tolerated, but: {failure}");
            continue;
        }
        if call.starts_with("open(\"/bin/sh\"") || call == "fstat(/bin/sh)" {
            // As everywhere, a file that cannot be looked at is not in PATH.
            assert_eq!(failure.errno, Some(Errno::NOENT.raw_os_error()), "{call}: {failure}");
            assert!(!is_launched(&kernel));
            continue;
        }
        assert_eq!(failure.errno, Some(Errno::IO.raw_os_error()), "{call}: {failure}");
        let Some(origin) = origins.get(at) else {
            assert!(call.starts_with("launch("));
            continue;
        };
        let [cause] = &failure.causes[..] else { panic!("{call}: {failure:?}") };
        assert!(cause.ends_with(&format!(" (for {origin})")), "{call}: {cause}");
        assert!(!is_launched(&kernel), "{call} failed, and the program was launched");
        // But for the words of the kernel about a mount.
        let after: Vec<_> = kernel.calls().split_off(at + 1);
        assert!(
            after.iter().all(|call| call.starts_with("fs_log(") || call.starts_with("readlinkat(")),
            "{call}: {after:#?}"
        );
    }
}

#[test]
fn a_failed_call_ends_the_birth_and_names_its_step() {
    check_every_failure(&example(false));
}

#[test]
fn a_failed_call_in_a_user_namespace_ends_the_birth_and_names_its_step() {
    check_every_failure(&example(true));
}

#[test]
fn a_birth_that_all_goes_well_ends_with_the_launch() {
    let kernel = kernel();
    let failure = run(&kernel, &plan(&example(false)), &[]);
    assert_eq!(failure.to_string(), "launching the program: operation canceled");
    let last = kernel.calls().pop().unwrap();
    assert!(last.starts_with("launch(") && last.ends_with("execute /bin/sh)"), "{last}");
}

#[test]
fn a_missing_program_is_told_in_the_words_of_an_engine_and_not_launched() {
    let mut spec = example(false);
    spec.process.args = vec!["nothing".into()];
    let kernel = kernel();
    let failure = run(&kernel, &plan(&spec), &[]);
    assert_eq!(failure.to_string(), "exec: \"nothing\": executable file not found in $PATH");
    spec.process.args = vec!["/nothing".into()];
    kernel.fail_on("open(\"/nothing\"", Errno::NOENT);
    let failure = run(&kernel, &plan(&spec), &[]);
    assert_eq!(failure.to_string(), "exec: \"/nothing\": no such file or directory");
    assert!(!is_launched(&kernel));
}

#[test]
fn an_init_whose_runtime_has_gone_makes_nothing() {
    let kernel = kernel();
    let channel = kernel.descriptor("channel");
    let inherited = Inheritance {
        channel: channel.as_fd(),
        cgroup: &[],
        sources: &[],
        start: None,
        streams: None,
        held_root: None,
        pad: None,
        hook_outputs: [None, None],
        container: None,
    };
    let failure = birth(&kernel, &plan(&example(true)), &inherited);
    assert!(failure.to_string().starts_with("the runtime has ended"), "{failure}");
    assert_eq!(kernel.verbs(), ["umask", "receive"]);
}

#[test]
fn groups_that_may_not_be_dropped_are_kept() {
    let kernel = kernel();
    kernel.fail_on("become_ids(0, 0, no groups)", Errno::PERM);
    run(&kernel, &plan(&example(true)), &[]);
    assert!(is_launched(&kernel));
    assert_eq!(kernel.calls()[2..4], ["become_ids(0, 0, no groups)", "become_ids(0, 0, same groups)"]);
}

#[test]
fn a_kernel_without_keyrings_has_none_to_keep_apart() {
    let kernel = kernel();
    kernel.fail_on("join_session_keyring", Errno::NOSYS);
    run(&kernel, &plan(&example(false)), &[]);
    assert!(is_launched(&kernel));
}

#[test]
fn what_the_kernel_says_about_a_mount_is_passed_on() {
    let kernel = kernel();
    kernel.set_fs_log("tmpfs: Bad value for 'size'");
    kernel.fail_on("fsconfig_string(tmpfs, \"size\"", Errno::INVAL);
    let failure = run(&kernel, &plan(&example(false)), &[]);
    assert_eq!(
        failure.to_string(),
        "error mounting \"tmpfs\" to rootfs at \"/dev\": mounting a file system of type \"tmpfs\" on /dev, option \
         size=65536k: invalid argument (the kernel says: tmpfs: Bad value for 'size') (for /mounts/1)"
    );
}

#[test]
fn a_working_directory_outside_of_the_root_is_a_breakout() {
    let kernel = kernel();
    kernel.set_working_directory("(unreachable)/");
    let failure = run(&kernel, &plan(&example(false)), &[]);
    assert!(failure.to_string().contains("outside of container mount namespace root"), "{failure}");
    assert!(!is_launched(&kernel));
}
