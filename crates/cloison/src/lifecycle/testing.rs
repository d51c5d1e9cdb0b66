//! What the tests of the verbs share.

use tempfile::TempDir;

use super::{CgroupDriver, Runtime};
use crate::state::testing::id;
use crate::state::{Container, State, Store};

/// A machine with an empty root directory.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) runtime: Runtime,
    _root: TempDir,
}

impl Machine {
    pub(super) fn new() -> Self {
        let root = TempDir::new().unwrap();
        let runtime = Runtime { root: root.path().into(), cgroup: CgroupDriver::Disabled };
        Self { runtime, _root: root }
    }

    /// Makes a container with this state.
    pub(super) fn keep(&self, state: &State) -> Container {
        let container = self.store().create(&state.id).unwrap();
        container.save(state).unwrap();
        container
    }

    pub(super) fn open(&self, name: &str) -> Container {
        self.store().open(&id(name)).unwrap()
    }

    fn store(&self) -> Store {
        Store::at(&self.runtime.root).unwrap()
    }
}
