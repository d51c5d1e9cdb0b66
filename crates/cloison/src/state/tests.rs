//! Several commands on one container, and commands that died.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::rc::Rc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tempfile::TempDir;

use super::testing::{Sleeper, a_state, id, remains_of_dead_commands};
use super::*;

/// How long a thread may wait for its turn on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn store(dir: &TempDir) -> Store {
    Store::at(dir.path()).unwrap()
}

#[test]
fn root_is_made_for_its_owner_alone_with_all_that_leads_to_it() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("a/b");
    assert!(matches!(Store::at(&root), Err(Error::NoRoot { .. })));
    Store::make(&root).unwrap();
    Store::make(&root).unwrap();
    for path in [root.as_path(), root.parent().unwrap()] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o700, "{}", path.display());
    }
}

#[test]
fn of_32_creators_of_one_id_exactly_one_wins() {
    let dir = TempDir::new().unwrap();
    for round in 0..20 {
        let name = id(&format!("c{round}"));
        let barrier = Barrier::new(32);
        let won: usize = thread::scope(|scope| {
            let creators: Vec<_> = (0..32)
                .map(|number| {
                    let (name, barrier, dir) = (&name, &barrier, &dir);
                    scope.spawn(move || {
                        let store = store(dir);
                        barrier.wait();
                        match store.create(name) {
                            Ok(container) => {
                                let bundle = number.to_string();
                                container.save(&State { bundle, ..a_state(name.as_str()) }).unwrap();
                                Some(number.to_string())
                            }
                            Err(Error::Exist { .. }) => None,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            let winners: Vec<_> =
                creators.into_iter().filter_map(|creator| creator.join().unwrap()).collect();
            let saved = store(&dir).open_unlocked(&name).unwrap().load().unwrap();
            assert_eq!(winners.first(), Some(&saved.bundle));
            winners.len()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn creators_and_deleters_of_one_id_never_meet_in_one_directory() {
    let dir = TempDir::new().unwrap();
    let name = id("c1");
    let created = AtomicUsize::new(0);
    let create = |store: &Store| match store.create(&name) {
        Ok(container) => {
            assert!(matches!(container.load(), Err(Error::Unfinished { .. })), "somebody was here before");
            container.save(&a_state("c1")).unwrap();
            assert!(container.is_current().unwrap());
            created.fetch_add(1, Ordering::Relaxed);
        }
        Err(Error::Exist { .. }) => {}
        Err(error) => panic!("{error}"),
    };
    let delete = |store: &Store| match store.open(&name).and_then(Container::remove) {
        Ok(()) | Err(Error::NotExist { .. }) => {}
        Err(error) => panic!("{error}"),
    };
    let go_on = |turn: &dyn Fn(&Store)| {
        let store = store(&dir);
        while created.load(Ordering::Relaxed) < 30 {
            turn(&store);
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| go_on(&create));
            scope.spawn(|| go_on(&delete));
        }
    });
}

#[test]
fn an_id_that_is_taken_is_refused_in_the_words_that_engines_know() {
    let dir = TempDir::new().unwrap();
    let held = store(&dir).create(&id("c1")).unwrap();
    let error = store(&dir).create(&id("c1")).unwrap_err();
    assert!(error.to_string().starts_with("container with given ID already exists"), "{error}");
    drop(held);
}

#[test]
fn an_unknown_id_does_not_exist_in_the_words_that_engines_know() {
    let dir = TempDir::new().unwrap();
    for name in ["c1".to_owned(), "x".repeat(1024)] {
        let error = store(&dir).open(&id(&name)).unwrap_err();
        assert!(error.to_string().starts_with("container does not exist"), "{error}");
        assert!(error.is_absent());
    }
}

#[test]
fn a_symbolic_link_is_no_container() {
    let dir = TempDir::new().unwrap();
    drop(store(&dir).create(&id("c1")).unwrap());
    symlink("c1", dir.path().join("c2")).unwrap();
    for result in [store(&dir).open(&id("c2")).map(drop), store(&dir).open_unlocked(&id("c2")).map(drop)] {
        assert!(matches!(result, Err(Error::Io { source: Errno::NOTDIR, .. })));
    }
    assert!(matches!(store(&dir).create(&id("c2")), Err(Error::Exist { .. })));
    assert_eq!(store(&dir).list().unwrap(), ["c1"]);
}

#[test]
fn a_directory_is_open_to_its_owner_and_passable_for_all() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    let metadata = container.path().metadata().unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o711 & !mask.bits());
    assert_eq!(container.owner().unwrap(), metadata.uid());
}

#[test]
fn a_second_command_waits_for_the_first_and_a_reader_does_not() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    container.save(&a_state("c1")).unwrap();
    assert!(store(&dir).try_open(&id("c1")).unwrap().is_none());
    store(&dir).open_unlocked(&id("c1")).unwrap().load().unwrap();
    drop(container);
    assert!(store(&dir).try_open(&id("c1")).unwrap().is_some());
}

#[test]
fn a_forked_process_does_not_keep_the_lock() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    let inherited = container.as_fd().try_clone_to_owned().unwrap(); // the same open file description, as after clone3
    drop(container);
    assert!(store(&dir).try_open(&id("c1")).unwrap().is_some());
    drop(inherited);
}

#[test]
fn a_forked_process_leaves_the_lock_to_its_parent_and_does_not_outlast_it() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    // The same open file description, as a child has it after clone3.
    let dir_of_child = container.as_fd().try_clone_to_owned().unwrap();
    let root = Rc::clone(&container.root);
    let child = Container::new(View { root, id: id("c1"), dir: dir_of_child });
    child.leave_to_parent();
    assert!(store(&dir).try_open(&id("c1")).unwrap().is_none(), "the parent has it still");
    container.leave_to_parent(); // closes without unlocking, as a kill does
    assert!(store(&dir).try_open(&id("c1")).unwrap().is_some(), "nobody has it any more");
}

#[test]
fn who_waited_for_a_directory_that_was_removed_finds_no_container() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store(&dir).open(&id("c1")).map(drop));
        container.remove().unwrap();
        assert!(waiting.join().unwrap().unwrap_err().is_absent());
    });
}

#[test]
fn a_container_under_creation_is_creating_until_its_creator_dies() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    let view = store(&dir).open_unlocked(&id("c1")).unwrap();
    assert!(matches!(view.load(), Err(Error::InTransit { .. })));
    container.save(&a_state("c1")).unwrap();
    assert_eq!(view.status(&view.load().unwrap()).unwrap(), Status::Creating);
    drop(container);
    assert_eq!(view.status(&view.load().unwrap()).unwrap(), Status::Stopped);
    let container = store(&dir).open(&id("c1")).unwrap();
    assert_eq!(container.status(&container.load().unwrap()).unwrap(), Status::Stopped);
}

#[test]
fn a_container_is_created_until_the_mark_is_closed_and_stopped_when_its_process_ends() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    let mark = container.mark_created().unwrap();
    let mut process = Sleeper::new();
    let state = State { init: Some(process.init()), ..a_state("c1") };
    container.save(&state).unwrap();
    let view = store(&dir).open_unlocked(&id("c1")).unwrap();
    assert_eq!(view.status(&state).unwrap(), Status::Created);
    drop(mark);
    assert_eq!(view.status(&state).unwrap(), Status::Running);
    assert_eq!(container.status(&state).unwrap(), Status::Running);
    process.kill();
    assert_eq!(process.wait_for_signal(), Some(9));
    assert_eq!(view.status(&state).unwrap(), Status::Stopped);
}

#[test]
fn a_process_that_got_the_id_of_the_first_one_is_not_taken_for_it() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    let process = Sleeper::new();
    let before = Init { start_time: process.init().start_time - 1, ..process.init() };
    let state = State { init: Some(before), ..a_state("c1") };
    assert_eq!(container.status(&state).unwrap(), Status::Stopped);
}

#[test]
fn the_start_socket_is_reached_however_long_the_root_is() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("x".repeat(120));
    let container = Store::make(&root).unwrap().create(&id("c1")).unwrap();
    let _listener = container.listen_start().unwrap();
    container.connect_start().unwrap();
}

#[test]
fn the_configuration_is_kept_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    container.save_config(&bytes).unwrap();
    assert_eq!(store(&dir).open_unlocked(&id("c1")).unwrap().load_config().unwrap(), bytes);
}

#[test]
fn whatever_a_dead_command_left_can_be_told_and_removed_and_used_again() {
    let dir = TempDir::new().unwrap();
    for remains in remains_of_dead_commands() {
        let path = dir.path().join("c1");
        remains.put(&path);
        let names: Vec<_> = remains.files.iter().map(|(name, _)| *name).collect();
        let view = store(&dir).open_unlocked(&id("c1")).unwrap();
        match view.load() {
            Ok(state) => {
                assert!(names.contains(&"state.json"));
                assert_eq!(view.status(&state).unwrap(), Status::Stopped);
            }
            Err(error) => {
                assert!(!names.contains(&"state.json"));
                assert!(matches!(error, Error::Unfinished { .. }) && error.is_wreck(), "{names:?}: {error}");
            }
        }
        assert!(matches!(store(&dir).create(&id("c1")), Err(Error::Exist { .. })));
        store(&dir).open(&id("c1")).unwrap().remove().unwrap();
        assert!(!path.exists());
    }
}

#[test]
fn a_removal_takes_what_it_does_not_know_and_leaves_the_state_for_last() {
    let dir = TempDir::new().unwrap();
    let container = store(&dir).create(&id("c1")).unwrap();
    container.save(&a_state("c1")).unwrap();
    let mut deep = container.path();
    for _ in 0..=container::MAX_DEPTH {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    assert!(matches!(container.remove(), Err(Error::TooDeep { .. })));
    let view = store(&dir).open_unlocked(&id("c1")).unwrap();
    assert!(view.load().is_ok(), "a removal that failed can be repeated");
    fs::remove_dir(&deep).unwrap();
    store(&dir).open(&id("c1")).unwrap().remove().unwrap();
    assert_eq!(store(&dir).list().unwrap(), [""; 0]);
}

#[test]
fn readers_beside_writers_and_removers_find_a_whole_state_or_none() {
    let dir = TempDir::new().unwrap();
    let finished = AtomicBool::new(false);
    let found = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                match store(&dir).open_unlocked(&id("c1")).and_then(|view| view.load()) {
                    Ok(state) => {
                        assert_eq!(state.bundle.len(), 20_000);
                        found.fetch_add(1, Ordering::Relaxed);
                    }
                    // Between mkdir and flock a directory looks like one that nobody is at work on.
                    Err(Error::NotExist { .. } | Error::InTransit { .. } | Error::Unfinished { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        // On a busy machine the reader may not have run at all until then, or only between two containers.
        let begun = Instant::now();
        let mut rounds = 0;
        while rounds < 60 || found.load(Ordering::Relaxed) == 0 && begun.elapsed() < PATIENCE {
            rounds += 1;
            let container = store(&dir).create(&id("c1")).unwrap();
            for letter in ["a", "b"] {
                container.save(&State { bundle: letter.repeat(20_000), ..a_state("c1") }).unwrap();
            }
            container.remove().unwrap();
        }
        finished.store(true, Ordering::Relaxed);
    });
    assert!(found.into_inner() > 0);
}
