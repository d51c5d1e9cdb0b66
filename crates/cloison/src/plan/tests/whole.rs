//! One whole plan, as `cloison plan` prints it.

use super::*;

const EXPECTED: &str = r#"host
  make the cgroup  [runtime]
  start the init with new namespaces: pid,net,mnt,ipc,uts  [/linux/namespaces]
  wait until the init is ready  [runtime]
  limit devices: deny a *:* rwm, allow c *:* m, allow b *:* m, allow c 1:3 rwm, allow c 1:8 rwm, allow c 1:7 rwm, allow c 5:0 rwm, allow c 1:5 rwm, allow c 1:9 rwm, allow c 136:* rwm, allow c 5:2 rwm, allow c 10:200 rwm  [/linux/resources/devices]
container
  new cgroup namespace  [/linux/namespaces/5]
  hide the init from other processes  [runtime]
  new session  [runtime]
  new session keyring _ses.c1  [runtime]
  bring the loopback interface up  [/linux/namespaces/1]
  make the host's mounts rslave  [runtime]
  bind the root file system /bundle/rootfs on itself, its parent slave  [/root/path]
  mount proc on /proc  [/mounts/0]
  mount tmpfs on /dev nosuid,strictatime (mode=755,size=65536k)  [/mounts/1]
  mount devpts on /dev/pts nosuid,noexec (newinstance,ptmxmode=0666,mode=0620,gid=5)  [/mounts/2]
  mount tmpfs on /dev/shm nosuid,nodev,noexec (mode=1777,size=65536k)  [/mounts/3]
  mount mqueue on /dev/mqueue nosuid,nodev,noexec  [/mounts/4]
  mount sysfs on /sys ro,nosuid,nodev,noexec  [/mounts/5]
  mount cgroup2 on /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime  [/mounts/6]
  make device /dev/null c 1:3 mode 666 owner 0:0  [runtime]
  make device /dev/random c 1:8 mode 666 owner 0:0  [runtime]
  make device /dev/full c 1:7 mode 666 owner 0:0  [runtime]
  make device /dev/tty c 5:0 mode 666 owner 0:0  [runtime]
  make device /dev/zero c 1:5 mode 666 owner 0:0  [runtime]
  make device /dev/urandom c 1:9 mode 666 owner 0:0  [runtime]
  link /dev/ptmx -> pts/ptmx  [runtime]
  link /dev/fd -> /proc/self/fd  [runtime]
  link /dev/stdin -> /proc/self/fd/0  [runtime]
  link /dev/stdout -> /proc/self/fd/1  [runtime]
  link /dev/stderr -> /proc/self/fd/2  [runtime]
  link /dev/core -> /proc/kcore  [runtime]
  pivot_root into the root file system  [/root/path]
  reopen streams on /dev/null  [runtime]
  make the working directory /  [/process/cwd]
  terminal  [/process/terminal]
  make / read-only  [/root/readonly]
  umask 0022  [runtime]
  hostname cloison  [/hostname]
  make /proc/bus read-only  [/linux/readonlyPaths/0]
  make /proc/fs read-only  [/linux/readonlyPaths/1]
  make /proc/irq read-only  [/linux/readonlyPaths/2]
  make /proc/sys read-only  [/linux/readonlyPaths/3]
  make /proc/sysrq-trigger read-only  [/linux/readonlyPaths/4]
  mask /proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /sys/firmware /proc/scsi  [/linux/maskedPaths]
  reset the CPU affinity  [runtime]
  enter the working directory /  [/process/cwd]
  set HOME of uid 0  [/process/env]
  find the program  [/process/args/0]
program
  execute "sh"  [/process/args]
  with 0 descriptors beside the standard streams  [--preserve-fds]
  as uid 0 gid 0 groups []  [/process/user]
  limit Nofile soft 1024 hard 1024  [/process/rlimits]
  bounding capabilities CAP_KILL,CAP_NET_BIND_SERVICE,CAP_AUDIT_WRITE  [/process/capabilities/bounding]
  effective capabilities CAP_KILL,CAP_NET_BIND_SERVICE,CAP_AUDIT_WRITE  [/process/capabilities/effective]
  permitted capabilities CAP_KILL,CAP_NET_BIND_SERVICE,CAP_AUDIT_WRITE  [/process/capabilities/permitted]
  inheritable capabilities none  [/process/capabilities/inheritable]
  ambient capabilities none  [/process/capabilities/ambient]
  no new privileges  [/process/noNewPrivileges]
"#;

#[test]
fn the_example_becomes_this_plan() {
    let printed = plan(&example()).to_string();
    for (at, (printed, expected)) in printed.lines().zip(EXPECTED.lines()).enumerate() {
        assert_eq!(printed, expected, "line {}", at + 1);
    }
    assert_eq!(printed, EXPECTED);
}

#[test]
fn options_of_the_command_line_change_what_they_are_named_after() {
    let with = |change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        plan_with(&example(), &options, &facts())
    };
    let old = plan(&example());
    assert_eq!(
        difference(&old, &with(|options| options.no_pivot = true)),
        [
            "-pivot_root into the root file system  [/root/path]",
            "+move the root file system to /  [/root/path]"
        ]
    );
    assert_eq!(
        difference(&old, &with(|options| options.no_new_keyring = true)),
        ["-new session keyring _ses.c1  [runtime]"]
    );
    let preserving = with(|options| options.preserve_fds = 3);
    assert_eq!(difference(&old, &preserving), [""; 0]);
    assert_eq!(preserving.program.preserve_fds, 3);
    assert_eq!(preserving.program.launch_steps()[0], cloison_linux::launch::LaunchStep::CloseFrom(6));
}

#[test]
fn a_relative_root_is_in_the_bundle_and_an_absolute_one_is_not() {
    assert_eq!(plan(&example()).rootfs, PathBuf::from("/bundle/rootfs"));
    let mut spec = example();
    spec.root.path = "/images/a".into();
    assert_eq!(plan(&spec).rootfs, PathBuf::from("/images/a"));
}

#[test]
fn without_what_is_optional_the_steps_for_it_are_not_there() {
    let mut spec = example();
    spec.process.terminal = false;
    spec.root.readonly = false;
    spec.hostname = None;
    spec.linux.masked_paths.clear();
    spec.linux.readonly_paths.clear();
    let facts = HostFacts { kcore: false, own_cgroup: false, ..facts() };
    let gone: Vec<_> = changes_with(&spec, &options(), &facts);
    assert_eq!(gone.len(), 12, "{gone:#?}");
    assert!(gone.iter().all(|line| line.starts_with('-')), "{gone:#?}");
}

#[test]
fn the_hosts_procfs_is_kept_for_sysctls_where_ours_may_not_be_allowed() {
    let mut spec = example();
    spec.linux.sysctl = [("net.core.somaxconn".to_owned(), "256".to_owned())].into();
    let is_kept =
        |spec: &Spec| container(&plan(spec)).iter().any(|line| line.contains("keep the host's procfs"));
    assert!(!is_kept(&spec), "a PID namespace of its own");
    leave_out(&mut spec, NamespaceType::Pid);
    assert!(is_kept(&spec));
    spec.linux.sysctl.clear();
    assert!(!is_kept(&spec), "there is nothing to write");
}

#[test]
fn names_and_sysctls_are_set_after_the_root_and_before_they_are_locked() {
    let mut spec = example();
    spec.domainname = Some("example.org".into());
    spec.linux.sysctl = [
        ("net.core.somaxconn".to_owned(), "256".to_owned()),
        ("net/ipv4/conf/eth0.1/forwarding".to_owned(), "1".to_owned()),
    ]
    .into();
    let plan = plan(&spec);
    assert_eq!(
        changes(&spec),
        [
            "+domainname example.org  [/domainname]",
            "+sysctl net.core.somaxconn=256  [/linux/sysctl/net.core.somaxconn]",
            "+sysctl net/ipv4/conf/eth0.1/forwarding=1  [/linux/sysctl/net~1ipv4~1conf~1eth0.1~1forwarding]",
        ]
    );
    assert!(place(&plan, "pivot_root") < place(&plan, "sysctl net.core"));
    assert!(place(&plan, "sysctl net.core") < place(&plan, "make /proc/sys read-only"));
}
