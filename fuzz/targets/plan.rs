//! Any configuration has a plan, the same one each time, or is refused by name; a plan can be printed, and its steps name places that
//! a configuration has.
#![no_main]

use cloison::id::ContainerId;
use cloison::plan::labels::Modules;
use cloison::plan::{CgroupView, HostFacts, Options, Plan};
use cloison::spec::Spec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (machine, bytes) = input;
    let Ok(spec) = Spec::from_slice(bytes) else { return };
    let options = Options {
        id: ContainerId::parse("c1").expect("it is a name"),
        bundle: "/bundle".into(),
        no_pivot: machine & 1 != 0,
        no_new_keyring: machine & 2 != 0,
        preserve_fds: u32::from(machine >> 6),
        takes_streams: false,
    };
    let own = std::path::PathBuf::from("/sys/fs/cgroup/c1");
    let facts = HostFacts {
        modules: Modules { apparmor: true, selinux: true, landlock: u32::from(machine >> 5) },
        cgroups: match machine >> 2 & 3 {
            0 => CgroupView::None,
            1 => CgroupView::Unified(own),
            _ => CgroupView::Legacy(vec![("cpu,cpuacct".into(), own.clone()), ("name=systemd".into(), own)]),
        },
        own_cgroup: machine & 16 != 0,
        privileged: machine & 32 != 0,
        in_user_namespace: machine & 2 != 0,
        kcore: machine & 1 != 0,
        resctrl: None,
        ..HostFacts::default()
    };
    match Plan::new(&spec, &options, &facts) {
        Ok(plan) => {
            assert!(!plan.to_string().is_empty());
            let again = Plan::new(&spec, &options, &facts).expect("as before");
            assert_eq!(again, plan, "a plan is a function of what goes in");
            plan.program.launch_steps();
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(problem.pointer.is_empty() || problem.pointer.starts_with('/'), "{problem:?}");
            }
        }
    }
});
