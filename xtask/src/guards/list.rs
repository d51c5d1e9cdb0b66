//! The guards, in the order of `SECURITY.md`.

use super::{Change, Guard};

const ASKED: &str = "crates/cloison/src/plan/exec/asked.rs";
const CONTAINER_SIDE: &str = "crates/cloison/src/plan/container_side.rs";
const COPY_UP: &str = "crates/cloison/src/init/rootfs/copy_up.rs";
const CREATE: &str = "crates/cloison/src/init/create.rs";
const FILE: &str = "crates/cloison-linux/src/file.rs";
const MOUNT: &str = "crates/cloison/src/init/rootfs/mount.rs";
const MOUNTS: &str = "crates/cloison/src/plan/mounts.rs";
const PROCESS: &str = "crates/cloison/src/plan/process.rs";
const PROGRAM: &str = "crates/cloison/src/init/program.rs";
const ROOTFS: &str = "crates/cloison/src/init/rootfs/mod.rs";

/// Paths in the image are resolved below a descriptor of its root.
const RESOLVE_IN_ROOT: Change = Change {
    file: FILE,
    old: "resolve(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)",
    // As a path is resolved that was put together as text: the links in it are followed on the host.
    new: "{
        let path = path.strip_prefix(\"/\").unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(\".\") } else { path };
        resolve(root, path, flags, mode, ResolveFlags::empty())
    }",
};

/// Descriptors that nobody has asked for are closed before the program is executed.
const CLOSE_DESCRIPTORS: Change =
    Change { file: PROCESS, old: "steps.push(LaunchStep::CloseFrom(self.first_closed()));", new: "" };

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        hole: "CVE-2019-5736: the runtime is there while the container's program is executed",
        without: &[
            Change {
                file: "crates/cloison/src/lifecycle/birth.rs",
                old: "let seals = launch::exe_switch_supported();",
                new: "let seals = false;",
            },
            Change {
                file: "crates/cloison/src/lifecycle/birth.rs",
                old: "sealed::ensure_sealed_copy().doing(\"sealing a copy of the runtime\")?;",
                new: "",
            },
        ],
        tests: &[
            "security::cve_2019_5736_the_runtime_cannot_be_overwritten_from_inside",
            "security::cve_2019_5736_the_waiting_init_is_not_the_runtimes_own_file",
        ],
    },
    Guard {
        hole: "CVE-2019-16884: something else than a procfs on /proc",
        without: &[Change {
            file: MOUNT,
            old: "check_proc(kernel, fd.as_fd(), &stat, step, source)?;",
            new: "",
        }],
        tests: &["security::cve_2019_16884_only_procfs_is_mounted_over_proc"],
    },
    Guard {
        hole: "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc or /sys through a link",
        without: &[Change {
            file: MOUNT,
            old: "if is_kernels_own(step) { OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW } else { OFlags::PATH }",
            new: "OFlags::PATH",
        }],
        tests: &[
            "security::cve_2019_19921_proc_as_a_symlink_is_refused",
            "races::cve_2019_19921_proc_exchanged_for_a_link_meanwhile_covers_nothing_else",
        ],
    },
    Guard {
        hole: "CVE-2019-18837, CVE-2021-30465, CVE-2024-45310, CVE-2026-41579: paths in the image lead out of it",
        without: &[RESOLVE_IN_ROOT],
        tests: &[
            "security::cve_2019_18837_a_mount_destination_through_links_stays_inside",
            "security::cve_2026_41579_dev_as_a_symlink_makes_nothing_outside",
            "security::a_device_through_a_link_makes_nothing_outside",
            "races::cve_2021_30465_a_mount_destination_exchanged_meanwhile_stays_inside",
            "races::cve_2024_45310_a_file_to_bind_on_is_made_inside_only",
            "races::cve_2026_41579_dev_exchanged_for_a_link_meanwhile_makes_nothing_outside",
            "races::a_device_whose_directory_is_exchanged_meanwhile_is_made_inside",
        ],
    },
    Guard {
        hole: "CVE-2024-45310, CVE-2024-21626: the working directory is made and the users are read while the host's root is the root",
        without: &[
            RESOLVE_IN_ROOT,
            Change {
                file: CONTAINER_SIDE,
                old: "    steps.push(change, \"/root/path\");",
                new: "    steps.push(Action::MakeWorkingDirectory(PathBuf::from(&spec.process.cwd)), \"/process/cwd\");
                    steps.push(Action::Home(spec.process.user.uid), \"/process/env\");
                    steps.push(change, \"/root/path\");",
            },
            Change {
                file: CREATE,
                old: "self.home = Some(program::home(kernel, root(self.root.as_ref())?, *uid));",
                new: "let home = program::home(kernel, root(self.root.as_ref())?, *uid);
                    self.home.get_or_insert(home);",
            },
        ],
        tests: &[
            "security::a_working_directory_through_a_link_makes_nothing_outside",
            "security::passwd_through_a_link_is_not_the_hosts",
            "races::cve_2024_21626_a_working_directory_exchanged_meanwhile_is_inside",
        ],
    },
    Guard {
        hole: "CVE-2023-25809: a cgroup of the user's own can be written to without a cgroup namespace",
        without: &[
            Change {
                file: MOUNTS,
                old: "            options.attributes.set |= Attr::MOUNT_ATTR_RDONLY;",
                new: "",
            },
            Change {
                file: MOUNTS,
                old: "        step.options.data.clear();",
                new: "        step.options.data.clear();
                    step.options.attributes.set -= Attr::MOUNT_ATTR_RDONLY;",
            },
        ],
        tests: &["security::cve_2023_25809_a_cgroup_of_the_users_own_is_read_only_without_a_cgroup_namespace"],
    },
    Guard {
        hole: "what the host has made read-only or covered is bound without the kernel's locks",
        without: &[
            Change {
                file: MOUNTS,
                old: "    if !mount.is_id_mapped() {\n        return None;\n    }",
                new: "    if !mount.is_id_mapped() {\n        return Some(SourceIds::Maps(Vec::new(), Vec::new()));\n    }",
            },
            Change {
                file: "crates/cloison/src/lifecycle/sources.rs",
                old: "    map(kernel, tree.as_fd(), source, origin)?;\n    Ok(tree)",
                new: "    Ok(tree)",
            },
        ],
        tests: &["security::a_user_namespace_cannot_undo_what_the_host_has_made_read_only_or_covered"],
    },
    Guard {
        hole: "tmpcopyup follows links",
        without: &[
            Change {
                file: COPY_UP,
                old: "kernel.open_in_root(from, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;\n    let stat",
                new: "kernel.open_in_root(from, name, OFlags::PATH, Mode::empty())?;\n    let stat",
            },
            RESOLVE_IN_ROOT,
        ],
        tests: &[
            "security::tmpcopyup_copies_links_and_does_not_follow_them",
            "races::a_copied_file_that_becomes_a_link_meanwhile_is_not_followed",
        ],
    },
    Guard {
        hole: "CVE-2024-21626: descriptors of the host are inherited",
        without: &[CLOSE_DESCRIPTORS],
        tests: &["security::cve_2024_21626_no_descriptor_of_the_host_is_inherited"],
    },
    Guard {
        hole: "CVE-2024-21626: a working directory outside of the root",
        without: &[
            CLOSE_DESCRIPTORS,
            Change {
                file: FILE,
                old: "resolve(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)",
                // As chdir(2) finds it, where everything else is found as before.
                new: "{
                    let own = path.starts_with(\"/proc/self/fd\");
                    let how = if own { ResolveFlags::empty() } else { ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS };
                    resolve(root, path, flags, mode, how)
                }",
            },
            Change { file: PROGRAM, old: "if current.is_absolute() {", new: "if true {" },
        ],
        tests: &[
            "security::cve_2024_21626_the_working_directory_is_never_outside",
            "security::cve_2024_21626_preserved_descriptors_are_not_a_way_out",
            "exec::nothing_of_the_runtime_is_inherited",
        ],
    },
    Guard {
        hole: "CVE-2025-31133: whatever is at /dev/null hides masked files",
        without: &[
            Change {
                file: "crates/cloison/src/init/rootfs/device.rs",
                old: "root.open(path, OFlags::PATH | OFlags::NOFOLLOW).doing(|| \"opening the container's /dev/null\")?;",
                new: "root.open(path, OFlags::PATH).doing(|| \"opening the container's /dev/null\")?;",
            },
            Change {
                file: ROOTFS,
                old: "is_char_device(stat, 1, 3)\n",
                new: "is_char_device(stat, 1, 3) || FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile\n",
            },
        ],
        tests: &[
            "security::cve_2025_31133_a_masked_path_is_not_bound_from_the_images_null",
            "races::cve_2025_31133_null_exchanged_for_a_link_meanwhile_masks_nothing_by_it",
        ],
    },
    Guard {
        hole: "CVE-2025-52565: /dev/console through a link",
        without: &[Change {
            file: "crates/cloison/src/init/rootfs/console.rs",
            old: "match mount_point(kernel, directory.as_fd(), name, Mode::from_raw_mode(0o666)) {",
            new: "match root.open(Path::new(\"/dev/console\"), OFlags::PATH) {",
        }],
        tests: &["races::cve_2025_52565_console_exchanged_for_a_link_meanwhile_covers_nothing_by_it"],
    },
    Guard {
        hole: "CVE-2025-52881: a sysctl is written below whatever is at /proc",
        without: &[
            Change {
                file: CREATE,
                old: "(made, _) => Ok(none.insert(made?)),",
                new: "_ => Ok(none.insert(root(self.root.as_ref())?.open(\"/proc\".as_ref(), OFlags::PATH).doing(|| \"/proc\")?)),",
            },
            Change {
                file: FILE,
                old: "        | ResolveFlags::NO_MAGICLINKS\n        | ResolveFlags::NO_XDEV;",
                new: "        | ResolveFlags::NO_MAGICLINKS;",
            },
        ],
        tests: &["races::cve_2025_52881_a_sysctl_is_not_written_to_what_takes_the_place_of_proc"],
    },
    Guard {
        hole: "CVE-2019-16884, CVE-2023-28642, CVE-2025-52881: a label is written below whatever is at /proc",
        without: &[Change {
            file: CREATE,
            old: "let procfs = self.host_procfs.as_ref();",
            new: "let found = self.kernel.open(\"/proc\".as_ref(), OFlags::PATH, Mode::empty()).ok();
                let procfs = found.as_ref();",
        }],
        tests: &[
            "labels::cve_2019_16884_an_apparmor_profile_is_not_written_to_what_the_image_has_at_proc",
            "labels::cve_2025_52881_an_apparmor_profile_is_not_written_to_what_the_container_has_covered_proc_by",
            "labels::cve_2019_16884_an_selinux_label_is_not_written_to_what_the_image_or_the_container_has_at_proc",
        ],
    },
    Guard {
        hole: "/proc is moved away while it is built",
        without: &[Change {
            file: ROOTFS,
            old: "let inside = own.filter_map(",
            new: "let inside = own.filter(|_| false).filter_map(",
        }],
        tests: &["races::a_procfs_that_is_moved_away_meanwhile_is_masked_and_read_only_all_the_same"],
    },
    Guard {
        hole: "Landlock: a link in the image widens a rule to where it leads",
        without: &[Change {
            file: "crates/cloison/src/init/landlock.rs",
            old: "let mut found = root.open_without_links(path, OFlags::PATH);",
            new: "let mut found = root.open(path, OFlags::PATH);",
        }],
        tests: &["landlock::a_link_of_the_image_widens_no_rule_to_where_it_leads"],
    },
    Guard {
        hole: "CVE-2022-29162, CVE-2022-27650: inheritable capabilities that nobody asked for",
        without: &[Change {
            file: PROCESS,
            old: "let inheritable = set(&wanted.inheritable);",
            new: "let inheritable = set(&wanted.permitted);",
        }],
        tests: &["capabilities::each_set_is_its_own"],
    },
    Guard {
        hole: "CVE-2026-30892: half of a number is an id of exec",
        without: &[Change {
            file: ASKED,
            old: "text.parse().ok().filter(|id| digits && *id != u32::MAX)",
            new: "{ let _ = digits; Some(text.parse().unwrap_or(0)) }",
        }],
        tests: &["exec::a_user_that_is_not_two_numbers_is_refused_and_never_taken_for_root"],
    },
    Guard {
        hole: "CVE-2016-9962: a process that joins can be looked into",
        without: &[
            Change {
                file: "crates/cloison/src/lifecycle/exec/admission.rs",
                old: "kernel.set_dumpable(false).doing(\"hiding the runtime from other processes\")?;",
                new: "",
            },
            Change {
                file: CREATE,
                old: "Action::HideInit => kernel.set_dumpable(false).doing(|| \"hiding the init from other processes\"),",
                new: "Action::HideInit => kernel.set_dumpable(true).doing(|| \"hiding the init from other processes\"),",
            },
        ],
        tests: &["exec::a_process_that_joins_cannot_be_looked_into"],
    },
    Guard {
        hole: "CVE-2016-9962: a first process that joins a PID namespace can be looked into",
        without: &[
            Change {
                file: "crates/cloison/src/lifecycle/birth/cloning.rs",
                old: "            kernel.set_dumpable(false).map_err(doing)?;
            match kernel.setns(user.as_fd(), NamespaceFlags::USER) {",
                new: "            match kernel.setns(user.as_fd(), NamespaceFlags::USER) {",
            },
            Change {
                file: "crates/cloison/src/lifecycle/birth/cloning.rs",
                old: "            }
            kernel.set_dumpable(false).map_err(doing)?;",
                new: "            }
            kernel.set_dumpable(true).map_err(doing)?;",
            },
            Change {
                file: CREATE,
                old: "Action::HideInit => kernel.set_dumpable(false).doing(|| \"hiding the init from other processes\"),",
                new: "Action::HideInit => kernel.set_dumpable(true).doing(|| \"hiding the init from other processes\"),",
            },
        ],
        tests: &["exec::a_first_process_that_joins_a_pid_namespace_cannot_be_looked_into"],
    },
    Guard {
        hole: "Landlock: a process that joins is under no rules",
        without: &[Change {
            file: "crates/cloison/src/plan/exec.rs",
            old: "        let mut newcomer = newcomer_side(&spec, id, facts, &namespaces, by_go_between);
        landlock::restrict(landlock, &mut newcomer);",
            new: "        let newcomer = newcomer_side(&spec, id, facts, &namespaces, by_go_between);
        let _ = landlock;",
        }],
        tests: &["landlock::a_process_that_joins_is_under_the_same_rules"],
    },
    Guard {
        hole: "CVE-2022-29162: capabilities that exec adds are inheritable",
        without: &[Change {
            file: ASKED,
            old: "    if !sets.inheritable.is_empty() {",
            new: "    if true {\n        sets.inheritable.push(name.clone());",
        }],
        tests: &["exec_process::capabilities_are_added_but_never_inheritable"],
    },
    Guard {
        hole: "CVE-2026-47262: a file of users without an end is read",
        without: &[Change { file: PROGRAM, old: "const MAX_PASSWD: usize = 4 << 20;", new: "const MAX_PASSWD: usize = usize::MAX;" }],
        tests: &["process::a_passwd_that_never_ends_is_no_error"],
    },
    Guard {
        hole: "a pipe or a device in place of passwd is opened",
        without: &[Change {
            file: PROGRAM,
            old: "if FileType::from_raw_mode(kernel.fstat(seen.as_fd())?.st_mode) != FileType::RegularFile {",
            new: "if false {",
        }],
        tests: &["security::a_device_in_place_of_passwd_is_not_opened"],
    },
    Guard {
        hole: "a device in place of the null device is opened",
        without: &[Change { file: ROOTFS, old: "is_char_device(stat, 1, 3)\n", new: "stat.st_mode != 0\n" }],
        tests: &["security::a_device_in_place_of_null_is_not_opened"],
    },
];
