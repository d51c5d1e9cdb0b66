use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A root directory with engines, which is removed again.
struct Machine(TempDir);

const DAEMON: &str = "{\n  \"debug\": true\n}\n";

impl Machine {
    fn new() -> Self {
        // Where the directory for temporary files is a link, the installer takes what it leads to.
        let machine = Self(TempDir::new_in(fs::canonicalize(std::env::temp_dir()).unwrap()).unwrap());
        let root = machine.root();
        for directory in ["etc/docker", "etc/containers", "usr/sbin"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("etc/docker/daemon.json"), DAEMON).unwrap();
        fs::write(root.join("usr/sbin/runc"), "runc").unwrap();
        fs::write(root.join("built"), "a binary").unwrap();
        machine
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn options(&self) -> Options {
        Options { as_runc: true, root: self.root().to_owned(), ..Options::parse(&[]).unwrap() }
    }

    fn install(&self) -> Result<()> {
        put(&self.options(), &self.root().join("built"))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// All files, with their content or target.
    fn files(&self) -> Vec<(PathBuf, String)> {
        fn add(directory: &Path, files: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                let kind = fs::symlink_metadata(&entry).unwrap();
                if kind.is_dir() {
                    add(&entry, files);
                } else if kind.is_symlink() {
                    files.push((entry.clone(), fs::read_link(&entry).unwrap().display().to_string()));
                } else {
                    files.push((entry.clone(), fs::read_to_string(&entry).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        add(self.root(), &mut files);
        files.sort();
        files
    }
}

#[test]
fn what_was_installed_is_found_and_taken_back_byte_for_byte() {
    let machine = Machine::new();
    let before = machine.files();
    machine.install().unwrap();
    assert_eq!(machine.read("usr/local/bin/cloison"), "a binary");
    assert!(machine.read("etc/docker/daemon.json").contains("\"path\": \"/usr/local/bin/cloison\""));
    assert!(machine.read("etc/containers/containers.conf.d/cloison.conf").contains("/usr/local/bin/cloison"));
    assert!(!machine.root().join("etc/containerd").exists(), "there is no containerd");
    assert_eq!(
        fs::read_link(machine.root().join("usr/sbin/runc")).unwrap(),
        Path::new("/usr/local/bin/cloison")
    );
    assert_eq!(machine.read("usr/sbin/runc.distrib"), "runc");
    take_back(&machine.options()).unwrap();
    assert_eq!(machine.files(), before);
    take_back(&machine.options()).unwrap_err();
}

#[test]
fn a_second_installation_renews_the_binary_and_remembers_the_first() {
    let machine = Machine::new();
    let before = machine.files();
    machine.install().unwrap();
    fs::write(machine.root().join("built"), "a newer one").unwrap();
    machine.install().unwrap();
    assert_eq!(machine.read("usr/local/bin/cloison"), "a newer one");
    assert_eq!(machine.read("etc/docker/daemon.json").matches("cloison").count(), 2);
    take_back(&machine.options()).unwrap();
    fs::write(machine.root().join("built"), "a binary").unwrap();
    assert_eq!(machine.files(), before);
}

#[test]
fn what_a_user_has_changed_meanwhile_stays() {
    let machine = Machine::new();
    machine.install().unwrap();
    let daemon = machine.root().join("etc/docker/daemon.json");
    fs::write(&daemon, machine.read("etc/docker/daemon.json").replace("true", "false")).unwrap();
    take_back(&machine.options()).unwrap();
    assert_eq!(machine.read("etc/docker/daemon.json"), DAEMON.replace("true", "false"));
}

#[test]
fn a_changed_part_of_ours_is_told_and_the_rest_can_be_taken_back_later() {
    let machine = Machine::new();
    let before = machine.files();
    machine.install().unwrap();
    let daemon = machine.root().join("etc/docker/daemon.json");
    fs::write(&daemon, machine.read("etc/docker/daemon.json").replace("/usr/local/bin", "/opt")).unwrap();
    let error = take_back(&machine.options()).unwrap_err().to_string();
    assert!(error.contains("daemon.json") && error.contains("by hand"), "{error}");
    fs::write(&daemon, DAEMON).unwrap();
    take_back(&machine.options()).unwrap();
    assert_eq!(machine.files(), before);
}

#[test]
fn an_installation_that_was_interrupted_is_taken_back() {
    let machine = Machine::new();
    let before = machine.files();
    machine.install().unwrap();
    let record = fs::read(machine.options().record()).unwrap();
    take_back(&machine.options()).unwrap();
    // The record is written first: so it looks after that.
    fs::create_dir_all(machine.options().record().parent().unwrap()).unwrap();
    fs::write(machine.options().record(), record).unwrap();
    take_back(&machine.options()).unwrap();
    assert_eq!(machine.files(), before);
}

#[test]
fn nothing_is_changed_where_a_configuration_is_not_understood() {
    let machine = Machine::new();
    fs::write(machine.root().join("etc/docker/daemon.json"), "{").unwrap();
    let before = machine.files();
    let error = machine.install().unwrap_err().to_string();
    assert!(error.contains("daemon.json"), "{error}");
    assert_eq!(machine.files(), before);
}

#[test]
fn runc_is_made_where_there_was_none_and_a_link_is_put_back_as_one() {
    let machine = Machine::new();
    fs::remove_file(machine.root().join("usr/sbin/runc")).unwrap();
    let before = machine.files();
    machine.install().unwrap();
    assert_eq!(
        fs::read_link(machine.root().join("usr/local/bin/runc")).unwrap(),
        Path::new("/usr/local/bin/cloison")
    );
    take_back(&machine.options()).unwrap();
    assert_eq!(machine.files(), before);
    symlink("crun", machine.root().join("usr/sbin/runc")).unwrap();
    let before = machine.files();
    machine.install().unwrap();
    take_back(&machine.options()).unwrap();
    assert_eq!(machine.files(), before);
}

#[test]
fn options_are_read_and_others_refused() {
    let options = Options::parse(&["--prefix", "/opt/x", "--as-runc", "--no-engines"]).unwrap();
    assert_eq!(options.program(), Path::new("/opt/x/bin/cloison"));
    assert!(options.as_runc && !options.engines);
    for words in [&["--prefix", "opt"][..], &["--prefix"], &["--as-crun"]] {
        Options::parse(words).unwrap_err();
    }
}
