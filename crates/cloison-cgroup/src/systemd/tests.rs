//! What systemd is asked, by a bus that writes it down.

use super::*;
use crate::systemd::bus::testing::{FakeBus, LONG, Peer};
use crate::systemd::bus::{Kind, Message};

pub(super) fn scope() -> Systemd {
    let unit = Unit::new(Some("machine.slice:box:1"), "box", false).unwrap();
    let directory = PathBuf::from("/nonexistent/machine.slice/box-1.scope");
    Systemd { unit, directories: Directories::Unified(Unified { mount: "/nonexistent".into(), directory }) }
}

fn birth() -> Birth<'static> {
    Birth { description: "a box".into(), pid: 42, ..Birth::default() }
}

/// The calls that came, each answered by `answer`: a job that ends as that says, or an error of that name.
fn serve(answers: Vec<Result<&'static str, &'static str>>) -> FakeBus<Vec<Message>> {
    FakeBus::new(move |mut peer: Peer| {
        peer.welcome_as_broker();
        let mut answers = answers.into_iter();
        let mut calls = Vec::new();
        while let Some(call) = peer.receive() {
            if call.wants_reply {
                match answers.next().expect("one call more than answers") {
                    Err(name) => peer.refuse(&call, &format!("org.freedesktop.systemd1.{name}"), "no"),
                    Ok("") => peer.answer(&call, vec![]),
                    Ok(result) => {
                        peer.answer(&call, vec![Value::Path("/job/1".into())]);
                        peer.job_removed("/job/1", "box-1.scope", result);
                    }
                }
            }
            calls.push(call);
        }
        assert_eq!(answers.next(), None, "one answer more than calls");
        calls
    })
}

fn names(calls: &[Message]) -> Vec<&str> {
    assert!(calls.iter().all(|call| call.kind == Kind::Call));
    calls.iter().filter_map(|call| call.member.as_deref()).collect()
}

#[test]
fn a_scope_is_made_with_its_process_and_handed_over() {
    let fake = serve(vec![Ok("done")]);
    let mut bus = fake.connect(LONG).unwrap();
    scope().start_over(&mut bus, birth()).unwrap();
    drop(bus);
    let calls = fake.join();
    assert_eq!(names(&calls), ["AddMatch", "StartTransientUnit"]);
    let body = &calls[1].body;
    let properties = "[(Description a box) (Slice machine.slice) (Delegate true) (PIDs [42]) (MemoryAccounting true) \
                      (CPUAccounting true) (IOAccounting true) (TasksAccounting true) (DefaultDependencies false)]";
    let printed: Vec<String> = body.iter().map(ToString::to_string).collect();
    assert_eq!(printed, ["box-1.scope", "replace", properties, "[]"]);
    let signature: String = body.iter().map(Value::signature).collect();
    assert_eq!(signature, "ssa(sv)a(sa(sv))");
}

#[test]
fn a_slice_is_made_without_a_process() {
    let fake = serve(vec![Ok("done")]);
    let mut bus = fake.connect(LONG).unwrap();
    let unit = Unit::new(Some("machine.slice:x:machine-web.slice"), "box", false).unwrap();
    Systemd { unit, ..scope() }.start_over(&mut bus, birth()).unwrap();
    drop(bus);
    let properties = fake.join()[1].body[2].to_string();
    assert!(properties.contains("(Wants [machine.slice])"), "{properties}");
    assert!(!properties.contains("PIDs") && !properties.contains("Delegate"), "{properties}");
}

#[test]
fn properties_that_are_asked_for_by_name_hold_rather_than_ours() {
    let fake = serve(vec![Ok("done")]);
    let mut bus = fake.connect(LONG).unwrap();
    let properties = [("CollectMode", "'inactive'"), ("DefaultDependencies", "true")].map(|(name, value)| {
        Property::of_annotation(&format!("org.systemd.property.{name}"), value).unwrap().unwrap()
    });
    scope().start_over(&mut bus, Birth { properties: properties.into(), ..birth() }).unwrap();
    drop(bus);
    let sent = fake.join()[1].body[2].to_string();
    assert!(sent.ends_with("(CollectMode inactive) (DefaultDependencies true)]"), "{sent}");
    assert_eq!(sent.matches("DefaultDependencies").count(), 1, "{sent}");
}

#[test]
fn a_unit_that_is_there_is_forgotten_if_it_has_failed_and_asked_for_once_more() {
    let fake = serve(vec![Err("UnitExists"), Ok(""), Ok("done")]);
    let mut bus = fake.connect(LONG).unwrap();
    scope().start_over(&mut bus, birth()).unwrap();
    drop(bus);
    assert_eq!(names(&fake.join())[1..], ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

#[test]
fn a_unit_that_somebody_else_has_is_told_as_that() {
    let fake = serve(vec![Err("UnitExists"), Err("NoSuchUnit"), Err("UnitExists")]);
    let mut bus = fake.connect(LONG).unwrap();
    let error = Error::from(scope().start_over(&mut bus, birth()).unwrap_err());
    assert!(error.is_unit_exists(), "{error}");
    drop(bus);
    fake.join();
}

#[test]
fn a_job_that_does_not_end_well_is_told_with_its_unit() {
    let fake = serve(vec![Ok("failed")]);
    let mut bus = fake.connect(LONG).unwrap();
    let error = scope().start_over(&mut bus, birth()).unwrap_err().to_string();
    let expected = "StartTransientUnit of box-1.scope: the job ended as \"failed\", not as \"done\"";
    assert!(error.ends_with(expected), "{error}");
    drop(bus);
    fake.join();
}

#[test]
fn versions_are_the_first_number() {
    for (text, expected) in
        [("v245.4-1.fc32", 245), ("245", 245), ("252.39-1~deb12u2", 252), ("257-rc1", 257)]
    {
        assert_eq!(number_of_version(text), Some(expected));
    }
    assert_eq!(number_of_version("git"), None);
}

#[test]
fn the_version_is_asked_once() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        let call = peer.receive().unwrap();
        peer.answer(&call, vec![Value::Variant(Box::new(Value::text("252.39")))]);
        (call, peer.receive())
    });
    let mut bus = fake.connect(LONG).unwrap();
    let mut ask = version(&mut bus);
    assert_eq!((ask().unwrap(), ask().unwrap()), (252, 252));
    drop(ask);
    drop(bus);
    let (call, more) = fake.join();
    assert_eq!((call.member.as_deref(), call.body[1].to_string().as_str()), (Some("Get"), "Version"));
    assert_eq!(more, None);
}

#[test]
fn limits_are_set_on_the_running_unit() {
    let fake = FakeBus::new(|mut peer: Peer| {
        peer.welcome_as_broker();
        let set = peer.receive().unwrap();
        peer.answer(&set, vec![]);
        let barrier = peer.receive().unwrap();
        peer.answer(&barrier, vec![Value::Variant(Box::new(Value::text("252")))]);
        [set, barrier]
    });
    let mut bus = fake.connect(LONG).unwrap();
    scope().set(&mut bus, vec![Property::new("TasksMax", Value::U64(7))]).unwrap();
    scope().set(&mut bus, Vec::new()).unwrap();
    drop(bus);
    let calls = fake.join();
    assert_eq!(names(&calls), ["SetUnitProperties", "Get"], "and waits until systemd has written its part");
    let printed: Vec<String> = calls[0].body.iter().map(ToString::to_string).collect();
    assert_eq!(printed, ["box-1.scope", "true", "[(TasksMax 7)]"]);
}

#[test]
fn a_unit_whose_start_failed_is_stopped_without_waiting() {
    let fake = serve(vec![]);
    let mut bus = fake.connect(LONG).unwrap();
    bus.post_stop("box-1.scope");
    drop(bus);
    let calls = fake.join();
    assert_eq!(names(&calls), ["StopUnit", "ResetFailedUnit"]);
    assert!(calls.iter().all(|call| !call.wants_reply));
}

#[test]
fn a_systemd_that_cannot_be_reached_is_given_the_time_to_see_that_the_cgroup_is_empty() {
    let mount = tempfile::tempdir().unwrap();
    let directory = mount.path().join("box-1.scope");
    std::fs::create_dir(&directory).unwrap();
    let directories =
        Directories::Unified(Unified { mount: mount.path().to_owned(), directory: directory.clone() });
    let systemd = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        std::fs::remove_dir(directory)
    });
    let nobody = bus::testing::connect(&mount.path().join("bus"), false, LONG);
    Systemd { directories, ..scope() }.remove_with(nobody).unwrap();
    systemd.join().unwrap().expect("it was there until systemd has removed it");
}

#[test]
fn the_cgroup_of_a_slice_is_removed_without_waiting_for_a_systemd_that_cannot_be_reached() {
    let mount = tempfile::tempdir().unwrap();
    let directory = mount.path().join("machine-web.slice");
    std::fs::create_dir(&directory).unwrap();
    let unit = Unit::new(Some("machine.slice:x:machine-web.slice"), "box", false).unwrap();
    let directories =
        Directories::Unified(Unified { mount: mount.path().to_owned(), directory: directory.clone() });
    let nobody = bus::testing::connect(&mount.path().join("bus"), false, LONG);
    let begun = Instant::now();
    Systemd { unit, directories }.remove_with(nobody).unwrap_err();
    assert!(begun.elapsed() < SYSTEMD_SEES_THE_END && !directory.exists());
}

#[test]
fn the_record_of_a_unit_reads_as_it_was_written() {
    let record = Record::Systemd(scope());
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
    assert!(matches!(record.directories(), Record::Unified(_)));
    assert_eq!(record.paths()[""], PathBuf::from("/nonexistent/machine.slice/box-1.scope"));
}
