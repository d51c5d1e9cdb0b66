//! The root of a container that is not pivoted to.

use cloison_linux::fake::Fake;

use super::super::Root;
use super::super::pivot::move_root;

#[test]
fn only_the_hosts_procfs_and_sysfs_are_removed_wherever_the_root_lies() {
    let kernel = Fake::new();
    // What the kernel calls it, whatever the bundle does.
    kernel.set_working_directory("/my bundles/b/rootfs");
    kernel.set_content(
        "/proc/self/mountinfo",
        r"21 1 0:20 / /proc rw - proc proc rw
22 1 0:21 / /sys rw - sysfs sysfs rw
23 1 0:22 /self /part rw - proc proc rw
24 1 0:23 / /my\040bundles/b/rootfs rw - ext4 /dev/vda rw
25 24 0:24 / /my\040bundles/b/rootfs/proc rw - proc proc rw
26 24 0:25 / /my\040bundles/b/rootfs/sys rw - sysfs sysfs rw
27 1 0:24 / /my\040bundles/proc rw - proc proc rw
",
    );
    let root = Root::new(&kernel, kernel.descriptor("root"));
    move_root(&kernel, &root).unwrap();
    let removed: Vec<_> =
        kernel.calls().into_iter().filter(|call| call.starts_with("umount_detach")).collect();
    assert_eq!(
        removed,
        [r#"umount_detach("/proc")"#, r#"umount_detach("/sys")"#, r#"umount_detach("/my bundles/proc")"#]
    );
}
