//! The process: user, groups, umask, working directory, environment, arguments.

use std::fs;

use cloison_tests::{Rootfs, Sandbox, append_command, json, only_for, runc_lacks};

#[test]
fn user_and_group_are_set() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("id -u; id -g; grep -E '^(Uid|Gid|Groups)' /proc/self/status");
    let output = bundle.set("/process/user", json!({"uid": 1000, "gid": 1234})).run();
    let expected = "1000\n1234\nUid:\t1000\t1000\t1000\t1000\nGid:\t1234\t1234\t1234\t1234\nGroups:\t \n";
    assert_eq!(output.ok(), expected);
}

#[test]
fn additional_groups_are_set_and_no_other() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("grep Groups /proc/self/status");
    let user = json!({"uid": 0, "gid": 0, "additionalGids": [65534, 10, 11]});
    let output = bundle.set("/process/user", user).run();
    let mut groups: Vec<u32> = output.ok().split_whitespace().skip(1).map(|id| id.parse().unwrap()).collect();
    groups.sort_unstable();
    assert_eq!(groups, [10, 11, 65534]);
}

#[test]
fn a_user_is_a_number_whatever_passwd_says() {
    // CVE-2016-3697: a user whose name is a number.
    let sandbox = Sandbox::new();
    let rootfs =
        Rootfs::hostile(|root| fs::write(root.join("etc/passwd"), "1000:x:0:0::/:/bin/sh\n").unwrap());
    let bundle =
        sandbox.bundle(rootfs).args(["id", "-u"]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(bundle.run().line(), "1000");
}

#[test]
fn the_umask_is_set() {
    let sandbox = Sandbox::new();
    let user = json!({"uid": 0, "gid": 0, "umask": 0o027});
    assert_eq!(sandbox.busybox("umask").set("/process/user", user).run().line(), "0027");
    assert_eq!(sandbox.busybox("umask").run().line(), "0022", "when none is given");
}

#[test]
fn the_working_directory_is_set() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.busybox("pwd; readlink /proc/self/cwd").set("/process/cwd", "/etc").run().ok(),
        "/etc\n/etc\n"
    );
}

#[test]
fn a_missing_working_directory_is_made() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("pwd; stat -c %a .").writable().set("/process/cwd", "/made/for/us");
    assert_eq!(bundle.run().ok(), "/made/for/us\n755\n");
}

#[test]
fn the_users_own_directory_can_be_the_working_directory() {
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::busybox().with(|root| {
        fs::create_dir(root.join("mine")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(root.join("mine"), mode).unwrap();
        std::os::unix::fs::chown(root.join("mine"), Some(1000), Some(1000)).unwrap();
    });
    // Root without CAP_DAC_OVERRIDE may not enter it: it takes the user's own rights.
    let bundle = sandbox.bundle(rootfs).args(["pwd"]).set("/process/cwd", "/mine");
    assert_eq!(bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).run().line(), "/mine");
}

#[test]
fn the_working_directory_may_be_a_link_inside_the_root() {
    let sandbox = Sandbox::new();
    let rootfs =
        Rootfs::busybox().with(|root| std::os::unix::fs::symlink("/etc", root.join("link")).unwrap());
    let bundle = sandbox.bundle(rootfs).args(["readlink", "/proc/self/cwd"]).set("/process/cwd", "/link");
    assert_eq!(bundle.run().line(), "/etc");
}

#[test]
fn the_environment_is_that_of_the_specification_only() {
    let sandbox = Sandbox::new();
    let bundle =
        sandbox.busybox("env").set("/process/env", json!(["PATH=/bin", "A=1", "EMPTY=", "EQUALS=a=b"]));
    let mut command = bundle.run_command(&[]);
    bundle.write();
    command.env("FROM_THE_HOST", "1");
    let output = sandbox.finish(command);
    let mut lines: Vec<&str> = output.ok().lines().filter(|line| !line.starts_with("SHLVL")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "EMPTY=", "EQUALS=a=b", "HOME=/root", "PATH=/bin", "PWD=/"]);
}

#[test]
fn the_last_of_two_assignments_wins() {
    runc_lacks!("1.3: one variable is passed once");
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(Rootfs::busybox()).args(["cat", "/proc/self/environ"]);
    let output = bundle.env("A=first").env("B=other").env("A=last").run();
    assert_eq!(output.ok().split('\0').filter(|line| line.starts_with("A=")).collect::<Vec<_>>(), ["A=last"]);
}

#[test]
fn home_comes_from_passwd() {
    let sandbox = Sandbox::new();
    for (uid, home) in [(0, "/root"), (1000, "/home/user"), (4321, "/")] {
        let bundle = sandbox.busybox("echo $HOME").set("/process/user", json!({"uid": uid, "gid": 0}));
        assert_eq!(bundle.run().line(), home, "{uid}");
    }
}

#[test]
fn home_of_the_specification_wins() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.busybox("echo $HOME").env("HOME=/elsewhere").run().line(), "/elsewhere");
}

#[test]
fn an_empty_home_is_filled() {
    runc_lacks!("1.3: an empty HOME is filled");
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.busybox("echo $HOME").env("HOME=").run().line(), "/root");
}

#[test]
fn a_broken_passwd_is_no_error() {
    only_for!(Cloison, "runc takes what is no number for 0, and so the line for root's");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| {
        let junk: Vec<u8> = b"\xff\xfe:::\nno colons\nroot:x:notanumber:0::/bad:\n\0\0\0".repeat(1000);
        fs::write(root.join("etc/passwd"), junk).unwrap();
    });
    assert_eq!(sandbox.bundle(rootfs).args(["sh", "-c", "echo $HOME"]).run().line(), "/");
}

#[test]
fn a_passwd_that_never_ends_is_no_error() {
    only_for!(Cloison, "runc reads all of it");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| {
        let passwd = root.join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        // 8 GiB of nothing, without a line end.
        fs::File::create(&passwd).unwrap().set_len(8 << 30).unwrap();
    });
    let output = sandbox.bundle(rootfs).args(["sh", "-c", "echo $HOME"]).run();
    assert_eq!(output.line(), "/");
}

#[test]
fn a_passwd_that_is_a_fifo_is_no_trap() {
    only_for!(Cloison, "runc waits for a writer");
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::hostile(|root| {
        let passwd = root.join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    });
    let output = sandbox.bundle(rootfs).args(["sh", "-c", "echo $HOME"]).run();
    assert_eq!(output.line(), "/");
}

#[test]
fn the_program_is_looked_up_in_the_containers_path() {
    let sandbox = Sandbox::new();
    let rootfs = || {
        Rootfs::busybox().with(|root| {
            fs::create_dir(root.join("own")).unwrap();
            fs::write(root.join("own/program"), "#!/bin/sh\necho \"$0 $1\"\n").unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(root.join("own/program"), mode).unwrap();
        })
    };
    let bundle = sandbox.bundle(rootfs()).args(["program", "argument"]);
    assert_eq!(
        bundle.set("/process/env", json!(["PATH=/nowhere:/own:/bin"])).run().line(),
        "/own/program argument"
    );
    let bundle = sandbox.bundle(rootfs()).args(["program"]).set("/process/env", json!(["PATH=/bin"]));
    bundle.run().refused_saying(&["executable file not found in $path"]);
}

#[test]
fn a_program_with_a_slash_is_taken_from_the_working_directory() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(Rootfs::busybox()).args(["./echo", "relative"]).set("/process/cwd", "/bin");
    assert_eq!(bundle.run().line(), "relative");
}

#[test]
fn arguments_are_passed_as_they_are() {
    let sandbox = Sandbox::new();
    let odd = ["", " ", "a b", "\"quoted\"", "$HOME", "*", "new\nline", "ünï→cödé", "-n", "--help"];
    let mut args = vec!["sh", "-c", "for a; do printf '<%s>' \"$a\"; done", "sh"];
    args.extend(odd);
    let expected = format!("<{}>", odd.join("><"));
    assert_eq!(sandbox.bundle(Rootfs::busybox()).args(args).run().ok(), expected);
}

#[test]
fn the_first_argument_is_the_name_as_given() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(Rootfs::busybox()).args(["cat", "/proc/self/cmdline"]);
    assert_eq!(bundle.run().ok(), "cat\0/proc/self/cmdline\0");
}

#[test]
fn a_long_argument_list_is_passed() {
    let sandbox = Sandbox::new();
    let mut args = vec!["sh".to_owned(), "-c".into(), "echo $# ${#1000}".into(), "sh".into()];
    args.extend((0..1000).map(|_| "x".repeat(1000)));
    assert_eq!(sandbox.bundle(Rootfs::busybox()).args(args).run().line(), "1000 1000");
}

#[test]
fn no_new_privileges_is_set_as_asked() {
    let sandbox = Sandbox::new();
    for (value, shown) in [(true, "1"), (false, "0")] {
        let bundle =
            sandbox.busybox("grep NoNewPrivs /proc/self/status").set("/process/noNewPrivileges", value);
        assert_eq!(bundle.run().line().split_whitespace().last(), Some(shown));
    }
}

#[test]
fn the_session_keyring_is_new_unless_told_otherwise() {
    let sandbox = Sandbox::new();
    let script = "awk '/keyring.*_ses/ {print $NF, $(NF-1)}' /proc/keys";
    let bundle = sandbox.busybox(script).set("/linux/maskedPaths", json!([]));
    bundle.write();
    // Those of containers that are gone stay for a moment.
    let has_own = |flags: &[&str]| {
        let id = sandbox.new_id();
        let output = sandbox.finish(bundle.run_command_as(&id, flags));
        output.ok().contains(&format!("_ses.{id}"))
    };
    assert!(has_own(&[]));
    assert!(!has_own(&["--no-new-keyring"]));
}

#[test]
fn the_process_starts_with_no_signal_blocked_or_ignored() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(Rootfs::busybox()).args(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
    bundle.write();
    let command = bundle.run_command(&[]);
    // A caller that ignores SIGCHLD, as some engines' parents do.
    let mut shell = sandbox.bare_command("/bin/sh");
    shell.args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""]);
    append_command(&mut shell, &command);
    let output = sandbox.finish(shell);
    assert!(output.ok().contains("SigBlk:\t0000000000000000"), "{}", output.describe());
}
