//! A directory that looks like a resctrl file system; the files that the kernel makes in new directories are made by the tests.

use serde_json::json;
use tempfile::TempDir;

use super::*;

struct Machine {
    directory: TempDir,
    resctrl: Resctrl,
}

impl Machine {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let machine = Self { resctrl: Resctrl::at(directory.path()), directory };
        for (path, text) in [
            ("info/last_cmd_status", "ok\n"),
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "2\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
            ("schemata", "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n"),
            ("tasks", ""),
        ] {
            machine.put(path, text);
        }
        machine
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.directory.path().join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.directory.path().join(path).exists()
    }

    /// What the kernel puts into a new directory.
    fn fill(&self, path: &str) {
        self.put(&format!("{path}/tasks"), "");
        self.put(&format!("{path}/schemata"), "MB:0=100;1=100\nL3:0=7ff;1=7ff\n");
        fs::create_dir_all(self.directory.path().join(path).join("mon_groups")).unwrap();
    }

    fn make(&self, request: &Request) -> Result<Group, Error> {
        let mut group = self.resctrl.place(request, "c1");
        self.resctrl.make(request, &mut group)?;
        Ok(group)
    }
}

fn class(name: &str, schemata: &[&str]) -> Request {
    let schemata = schemata.iter().map(ToString::to_string).collect();
    Request { class: Some(name.to_owned()), schemata, monitored: false }
}

#[test]
fn a_container_gets_a_class_of_its_own_which_goes_with_it() {
    let machine = Machine::new();
    let group = machine.make(&Request::default()).unwrap();
    assert!(group.own && machine.has("c1"));
    machine.resctrl.remove(&group).unwrap();
    assert!(!machine.has("c1"));
    machine.resctrl.remove(&group).unwrap();
}

#[test]
fn a_directory_that_was_there_before_stays() {
    let machine = Machine::new();
    machine.fill("c1");
    let group = machine.make(&Request::default()).unwrap();
    assert!(!group.own);
    machine.resctrl.remove(&group).unwrap();
    assert!(machine.has("c1"));
}

#[test]
fn a_class_by_the_name_of_the_container_is_not_written_over() {
    let machine = Machine::new();
    machine.fill("c1");
    let request = |line: &str| Request { schemata: vec![line.to_owned()], ..Request::default() };
    let error = machine.make(&request("L3:0=f")).unwrap_err().to_string();
    assert!(error.contains("\"c1\"") && error.contains("L3:0=f"), "{error}");
    assert_eq!(machine.get("c1/schemata"), "MB:0=100;1=100\nL3:0=7ff;1=7ff\n");
    machine.make(&request("L3:0=7ff")).unwrap();
}

#[test]
fn a_class_or_a_monitoring_group_that_comes_in_between_is_somebody_elses() {
    let machine = Machine::new();
    let request = Request { monitored: true, ..Request::default() };
    let mut group = machine.resctrl.place(&request, "c1");
    machine.fill("c1");
    machine.resctrl.make(&request, &mut group).unwrap_err();
    machine.fill("gold/mon_groups/c1");
    machine.fill("gold");
    let error = machine.make(&Request { monitored: true, ..class("gold", &[]) }).unwrap_err().to_string();
    assert!(error.contains("gold/mon_groups/c1"), "{error}");
    assert!(machine.has("c1/tasks") && machine.has("gold/mon_groups/c1/tasks"));
}

#[test]
fn a_named_class_is_made_where_it_is_told_what_to_share_out_and_stays() {
    let machine = Machine::new();
    let request = class("gold", &["L3:0=f"]);
    let mut group = machine.resctrl.place(&request, "c1");
    // Without the kernel there is no file to write to, and nothing is left.
    machine.resctrl.make(&request, &mut group).unwrap_err();
    assert!(!machine.has("gold"));
    machine.fill("gold");
    machine.put("gold/schemata", "L3:0=f;1=7ff\n");
    machine.resctrl.make(&request, &mut group).unwrap();
    machine.resctrl.remove(&group).unwrap();
    assert!(machine.has("gold"));
}

#[test]
fn a_named_class_that_was_made_for_a_container_that_is_not_born_goes_unless_others_are_in_it() {
    let machine = Machine::new();
    let mut group = machine.resctrl.place(&class("gold", &[]), "c1");
    group.made = true;
    machine.put("gold/tasks", "42\n");
    machine.resctrl.remove(&group).unwrap();
    assert!(machine.has("gold"), "somebody has joined");
    // The kernel's files go with their directory.
    fs::remove_file(machine.directory.path().join("gold/tasks")).unwrap();
    machine.resctrl.remove(&Group { made: false, ..group.clone() }).unwrap();
    assert!(machine.has("gold"), "it stays once the container is born");
    fs::create_dir_all(machine.directory.path().join("gold/mon_groups/c2")).unwrap();
    machine.resctrl.remove(&group).unwrap();
    assert!(machine.has("gold"), "somebody is about to join");
    fs::remove_dir_all(machine.directory.path().join("gold/mon_groups")).unwrap();
    machine.resctrl.remove(&group).unwrap();
    assert!(!machine.has("gold"));
}

#[test]
fn a_class_that_is_only_named_must_be_there() {
    let machine = Machine::new();
    let error = machine.make(&class("gold", &[])).unwrap_err().to_string();
    assert!(error.contains("\"gold\" is not there"), "{error}");
    assert!(!machine.has("gold"));
    machine.fill("gold");
    machine.make(&class("gold", &[])).unwrap();
    assert_eq!(machine.get("gold/schemata"), "MB:0=100;1=100\nL3:0=7ff;1=7ff\n");
}

#[test]
fn a_class_of_others_is_not_changed() {
    let machine = Machine::new();
    machine.fill("gold");
    machine.put("gold/schemata", "    MB:0= 30;1=100\n    L3:0=007f;1=7ff\n");
    machine.make(&class("gold", &["L3:0=7F", "MB:0=25;1=100"])).unwrap();
    let error = machine.make(&class("gold", &["L3:0=7f", "MB:0=50"])).unwrap_err().to_string();
    assert!(error.contains("MB:0= 30;1=100") && error.contains("MB:0=50"), "{error}");
    assert_eq!(machine.get("gold/schemata"), "    MB:0= 30;1=100\n    L3:0=007f;1=7ff\n");
}

#[test]
fn the_default_class_is_the_root_and_is_never_removed() {
    let machine = Machine::new();
    let group = machine.make(&class("/", &[])).unwrap();
    assert_eq!((group.class.as_path(), group.own), (machine.directory.path(), false));
    machine.resctrl.join(&group, 42).unwrap();
    assert_eq!(machine.get("tasks"), "42");
    machine.resctrl.remove(&group).unwrap();
    assert!(machine.has("info"));
}

#[test]
fn shares_are_written_in_their_order_by_one_write() {
    let machine = Machine::new();
    machine.fill("c1");
    let group = machine.resctrl.place(&Request::default(), "c1");
    machine.resctrl.share_out(&group, &["L3:0=f".into(), "MB:0=20".into(), "L2:0=1".into()]).unwrap();
    assert!(machine.get("c1/schemata").starts_with("L3:0=f\nMB:0=20\nL2:0=1\n"));
}

#[test]
fn processes_join_the_class_and_then_the_monitoring_group() {
    let machine = Machine::new();
    machine.fill("gold");
    let request = Request { monitored: true, ..class("gold", &[]) };
    let group = machine.make(&request).unwrap();
    machine.put("gold/mon_groups/c1/tasks", "");
    machine.resctrl.join(&group, 42).unwrap();
    assert_eq!(
        (machine.get("gold/tasks"), machine.get("gold/mon_groups/c1/tasks")),
        ("42".into(), "42".into())
    );
    fs::remove_file(machine.directory.path().join("gold/mon_groups/c1/tasks")).unwrap();
    machine.resctrl.remove(&group).unwrap();
    assert!(!machine.has("gold/mon_groups/c1") && machine.has("gold"));
}

#[test]
fn a_monitoring_group_that_cannot_be_made_is_an_error() {
    let machine = Machine::new();
    // As without room for one more.
    machine.put("gold/tasks", "");
    machine.put("gold/mon_groups", "");
    let request = Request { monitored: true, ..class("gold", &[]) };
    let error = machine.make(&request).unwrap_err().to_string();
    assert!(error.contains("gold/mon_groups/c1"), "{error}");
}

#[test]
fn the_kernels_own_words_are_in_the_error() {
    let machine = Machine::new();
    machine.put("info/last_cmd_status", "Mask out of range\n");
    let group = machine.resctrl.place(&Request::default(), "nothing");
    let error = machine.resctrl.share_out(&group, &["L3:0=0".into()]).unwrap_err().to_string();
    assert!(error.contains("nothing/schemata") && error.contains("Mask out of range"), "{error}");
}

#[test]
fn what_is_used_is_told_in_the_keys_of_runc() {
    let machine = Machine::new();
    machine.fill("c1");
    machine.fill("c1/mon_groups/c1");
    machine.put("c1/schemata", "    MB:0=20;1=70\n    L3:0=7f0;1=1f\n");
    for (number, place) in ["mon_L3_00", "mon_L3_01"].into_iter().enumerate() {
        for (name, value) in [("llc_occupancy", 100), ("mbm_total_bytes", 200), ("mbm_local_bytes", 300)] {
            machine
                .put(&format!("c1/mon_groups/c1/mon_data/{place}/{name}"), &format!("{}\n", value + number));
        }
    }
    machine.put("c1/mon_groups/c1/mon_data/mon_L3_01/mbm_local_bytes", "Unavailable\n");
    let group = machine.resctrl.place(&Request { monitored: true, ..Request::default() }, "c1");
    let usage = serde_json::to_value(machine.resctrl.usage(&group).unwrap()).unwrap();
    assert_eq!(
        usage,
        json!({
            "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 2, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=7ff;1=7ff",
            "l3_cache_schema": "L3:0=7f0;1=1f",
            "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8},
            "mem_bw_schema_root": "MB:0=100;1=100",
            "mem_bw_schema": "MB:0=20;1=70",
            "schemata": ["MB:0=20;1=70", "L3:0=7f0;1=1f"],
            "mbm_stats": [
                {"mbm_total_bytes": 200, "mbm_local_bytes": 300},
                {"mbm_total_bytes": 201, "mbm_local_bytes": 0}
            ],
            "cmt_stats": [{"llc_occupancy": 100}, {"llc_occupancy": 101}]
        })
    );
}

#[test]
fn it_is_found_wherever_it_is_mounted() {
    let found =
        |table: &str| Resctrl::among(mountinfo::parse(table.as_bytes()).collect()).map(|found| found.root);
    let usual = "36 35 98:0 / /sys/fs/resctrl rw,noatime shared:7 - resctrl resctrl rw\n";
    let elsewhere = "1 2 0:3 / /with\\040blank rw - resctrl none rw\n";
    assert_eq!(
        found(&format!("{elsewhere}{usual}")),
        Some("/sys/fs/resctrl".into()),
        "the usual place first"
    );
    assert_eq!(found(elsewhere), Some("/with blank".into()));
    assert_eq!(found("1 2 0:3 / /sys/fs/resctrl rw - tmpfs resctrl rw\n"), None);
}
