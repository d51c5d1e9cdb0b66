//! Where root file systems come from.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FlockOperation;
use rustix::mount::MountFlags;

use crate::caller;
use crate::sandbox::Sandbox;

type Plant = Box<dyn FnOnce(&Path)>;

/// Who gets a file, from the uid and gid that it has.
type Owner = Box<dyn Fn(u32, u32) -> (u32, u32)>;

/// A recipe for the root file system of a bundle.
pub struct Rootfs {
    base: Base,
    owner: Option<Owner>,
    plants: Vec<Plant>,
}

enum Base {
    Busybox,
    Debian,
    Empty,
}

impl Rootfs {
    /// A static busybox with links for those of its programs that tests call (`APPLETS`), all in `/bin`, and a small `/etc`.
    pub fn busybox() -> Self {
        Self::from_base(Base::Busybox)
    }

    /// A minimal Debian, bootstrapped once and seen through an overlay: changes stay in the sandbox.
    pub fn debian() -> Self {
        Self::from_base(Base::Debian)
    }

    /// A directory with nothing in it.
    pub fn empty() -> Self {
        Self::from_base(Base::Empty)
    }

    /// A busybox that an enemy has changed: the closure gets the path of the root file system.
    pub fn hostile(plant: impl FnOnce(&Path) + 'static) -> Self {
        Self::busybox().with(plant)
    }

    /// Changes the root file system once it is there.
    #[must_use]
    pub fn with(mut self, plant: impl FnOnce(&Path) + 'static) -> Self {
        self.plants.push(Box::new(plant));
        self
    }

    /// Gives every file to this host user and group, as an engine does for a user namespace.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some(Box::new(move |_, _| (uid, gid)));
        self
    }

    /// Gives every file to whom its owner is mapped to in a user namespace: root to one id, all others to a range.
    #[must_use]
    pub fn owned_by_ranges(mut self, root: u32, first: u32) -> Self {
        let map = move |id: u32| if id == 0 { root } else { first + id - 1 };
        self.owner = Some(Box::new(move |uid, gid| (map(uid), map(gid))));
        self
    }

    fn from_base(base: Base) -> Self {
        Self { base, owner: None, plants: Vec::new() }
    }

    /// Lays the root file system out in a directory that does not exist yet.
    pub(crate) fn make(self, sandbox: &Sandbox, target: &Path) {
        make_dir(target, 0o755);
        match self.base {
            Base::Busybox => busybox(target),
            Base::Debian => debian(sandbox, target, self.owner.is_some() || caller::ordinary().is_some()),
            Base::Empty => {}
        }
        for plant in self.plants {
            plant(target);
        }
        let owner = self.owner.or_else(|| {
            let (root, first, count) = caller::ids()?;
            let map = move |id: u32| match id {
                0 => root,
                id if id < count => first + id - 1,
                id => id,
            };
            Some(Box::new(move |uid, gid| (map(uid), map(gid))) as Owner)
        });
        if let Some(owner) = owner {
            give_to(target, &owner, &mut BTreeSet::new())
                .unwrap_or_else(|error| panic!("chown {}: {error}", target.display()));
        }
    }
}

/// Makes a directory with exactly this mode, whatever the umask is.
pub fn make_dir(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("mkdir {}: {error}", path.display()));
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own directory can be changed");
}

/// What the tests call of what is in busybox: a name for each of its hundreds of programs would cost more than the test.
const APPLETS: [&str; 4] = [
    "[ awk cat chmod chown clear cp cut date dd dmesg echo env expr factor false find fold free grep groups head hostname id ionice ip",
    "kill less link ln logger losetup ls mkdir mkfifo mknod more mount nc nsenter pidof pivot_root printf ps pwd readlink reset rev rm",
    "rmdir route sed seq setpriv setsid sh sleep sort stat stty sync sysctl tail taskset tee test time timeout top touch tr true",
    "truncate ts tty uevent umount uname uniq unshare uptime vi wc which who yes",
];

fn busybox(root: &Path) {
    let binary = Path::new("/bin/busybox");
    assert!(binary.exists(), "the tests need a static busybox in /bin: apt-get install busybox-static");
    for (directory, mode) in [
        ("bin", 0o755),
        ("sbin", 0o755),
        ("usr/bin", 0o755),
        ("usr/sbin", 0o755),
        ("etc", 0o755),
        ("proc", 0o755),
        ("sys", 0o755),
        ("dev", 0o755),
        ("var", 0o755),
        ("run", 0o755),
        ("mnt", 0o755),
        ("home/user", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
    ] {
        make_dir(&root.join(directory), mode);
    }
    fs::copy(binary, root.join("bin/busybox")).expect("busybox can be copied");
    // One link with many names: to make and remove inodes is most of what a test costs, since ext4 looks for one that was not removed just now.
    let link = root.join("bin/sh");
    symlink("/bin/busybox", &link).expect("the directory is new");
    for applet in APPLETS.iter().flat_map(|line| line.split(' ')).filter(|applet| *applet != "sh") {
        fs::hard_link(&link, root.join("bin").join(applet))
            .unwrap_or_else(|error| panic!("bin/{applet}: {error}"));
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                  daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
                  user:x:1000:1000:user:/home/user:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).expect("passwd");
    fs::write(root.join("etc/group"), "root:x:0:\ndaemon:x:1:\nuser:x:1000:\n").expect("group");
    chown(root.join("home/user"), Some(1000), Some(1000)).expect("the tests run as root");
}

/// Mounts an overlay on the target: the shared Debian below, a tmpfs of the sandbox above. Where files change their owners only, their contents stay below.
fn debian(sandbox: &Sandbox, target: &Path, changes_owners: bool) {
    let lower = debian_cache();
    let layers = target.with_extension("layers");
    make_dir(&layers, 0o711);
    sandbox.mount("tmpfs", &layers, "tmpfs", MountFlags::empty(), "mode=711");
    make_dir(&layers.join("upper"), 0o755);
    make_dir(&layers.join("work"), 0o755);
    let metadata = if changes_owners { ",metacopy=on" } else { "" };
    // Labels of what was not labelled are not for a tmpfs.
    let labels = if Path::new("/sys/fs/selinux/enforce").exists() {
        ",context=system_u:object_r:usr_t:s0"
    } else {
        ""
    };
    let options = format!(
        "lowerdir={},upperdir={},workdir={}{metadata}{labels}",
        lower.display(),
        layers.join("upper").display(),
        layers.join("work").display()
    );
    sandbox.mount("overlay", target, "overlay", MountFlags::empty(), &options);
}

/// The shared Debian root file system; the first test that needs it makes it, the others wait.
fn debian_cache() -> PathBuf {
    if let Some(given) = std::env::var_os("CLOISON_TEST_DEBIAN") {
        return given.into();
    }
    let cache = cache_dir();
    make_dir(&cache, 0o755);
    let root = cache.join("debian-bookworm");
    let lock = File::create(cache.join("debian.lock")).expect("the cache can be written");
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("the cache can be locked");
    if !root.exists() {
        debootstrap(&cache, &root);
    }
    root
}

fn debootstrap(cache: &Path, root: &Path) {
    let partial = cache.join("debian-bookworm.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).expect("a half made root file system can be removed");
    }
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=libcap2-bin", "bookworm"]).arg(&partial);
    if let Some(mirror) = std::env::var_os("CLOISON_TEST_MIRROR") {
        command.arg(mirror);
    }
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "debootstrap: {error}. The tests on Debian need it: apt-get install debootstrap, \
             or name a Debian root file system: CLOISON_TEST_DEBIAN=<directory>"
        )
    });
    assert!(
        output.status.success(),
        "debootstrap failed ({}), see {}/debootstrap/debootstrap.log:\n{}{}",
        output.status,
        partial.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    fs::rename(&partial, root).expect("the cache can be written");
}

/// `$XDG_CACHE_HOME/cloison-tests`, or below `~/.cache`, or else in the target directory.
fn cache_dir() -> PathBuf {
    if let Some(cache) = std::env::var_os("XDG_CACHE_HOME") {
        return PathBuf::from(cache).join("cloison-tests");
    }
    if let Some(home) = std::env::var_os("HOME") {
        return PathBuf::from(home).join(".cache/cloison-tests");
    }
    let test = std::env::current_exe().expect("the test knows its own path");
    test.parent().expect("the test lies in a directory").join("cloison-tests")
}

/// `given` are the files with several names that have their new owner. On an overlay a file of the lower layer gets names of its own by that.
fn give_to(path: &Path, owner: &Owner, given: &mut BTreeSet<(u64, u64)>) -> io::Result<()> {
    let file = path.symlink_metadata()?;
    if given.contains(&(file.dev(), file.ino())) {
        return Ok(());
    }
    let (uid, gid) = owner(file.uid(), file.gid());
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    let now = path.symlink_metadata()?;
    if !now.is_dir() && now.nlink() > 1 {
        given.insert((now.dev(), now.ino()));
    }
    // A new owner takes the bits away by which others become the owner.
    if file.is_file() && file.mode() & 0o6000 != 0 {
        fs::set_permissions(path, file.permissions())?;
    }
    if file.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to(&entry?.path(), owner, given)?;
        }
    }
    Ok(())
}
