//! The runtime directory: the folder that names an instance and holds its sockets.
//!
//! Owns: its place, its rights, the lock that makes an instance the only one in it, the names of
//! the files in it, and their removal. Must never know: what travels over the sockets. Called by
//! `run` at start and end, by the client for the socket's name, by the command line for the default
//! place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation};
use serde::{Deserialize, Serialize};

use crate::passed_fd::as_fd;

/// Name of the command socket.
pub const CONTROL_SOCKET: &str = "control.sock";

const LOCK: &str = "lock";

/// What the supervisor knows, for one that follows it after its death.
const STATE: &str = "state.json";

/// Where that one finds the keeper.
const KEEPER: &str = "keeper.sock";
/// The folders of loaders begin so; a number that is made of their files follows.
const LOADER: &str = "loader.";

/// The folder of a worker that is a command begins so; its number follows.
const WORKER: &str = "worker.";

/// `sun_path` has 108 bytes, the last of them NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Longest part of an app's name that goes into a file name.
const APP_FILE_NAME_BYTES_MAX: usize = 24;

/// Why the directory cannot be used. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// The lock is held.
    #[error("an instance with pid {pid} runs in {}; give another --runtime-dir or stop it", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, as written in its lock file.
        pid: String,
    },
    /// Sockets inside would not fit `sun_path`.
    #[error(
        "the runtime directory {} is {over} bytes too long for the names of unix sockets; give a shorter --runtime-dir",
        dir.display()
    )]
    TooLong {
        /// The directory.
        dir: PathBuf,
        /// How much too long.
        over: usize,
    },
    /// Another user could put files there.
    #[error(
        "the runtime directory {} {problem}; only its owner may write to it: chmod 700 it or give another --runtime-dir",
        dir.display()
    )]
    Unsafe {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file is where the directory, or one above it, should be.
    #[error("the runtime directory {} cannot be used: {} is a file; give another --runtime-dir", dir.display(), file.display())]
    File {
        /// The directory.
        dir: PathBuf,
        /// What is in its way.
        file: PathBuf,
    },
    /// Cannot be created, opened or written.
    #[error("the runtime directory {} cannot be used: {what}: {source}; give another --runtime-dir", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Where an instance lives unless `--runtime-dir` says otherwise: `/run/hostler` for root, else
/// `$XDG_RUNTIME_DIR/hostler`, else `$HOME/.hostler/run`. `None` when there is neither.
pub fn default_runtime_dir() -> Option<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/run/hostler"));
    }
    variable("XDG_RUNTIME_DIR")
        .map(|dir| dir.join("hostler"))
        .or_else(|| variable("HOME").map(|dir| dir.join(".hostler/run")))
}

/// The locked directory of this instance. Dropping it releases the lock, [`RuntimeDir::remove`]
/// also removes the files.
#[derive(Debug, Serialize, Deserialize)]
pub struct RuntimeDir {
    path: PathBuf,
    #[serde(with = "as_fd")]
    lock: File,
    created: bool,
}

impl RuntimeDir {
    /// Creates the directory if needed, takes the lock, removes what a dead instance left behind.
    pub fn acquire(path: &Path, app: &str) -> Result<Self, RuntimeDirError> {
        let path = std::path::absolute(path).map_err(io(path, "finding it"))?;
        check_length(&path, app)?;
        let created = create(&path)?;
        check_owner(&path)?;
        let lock = lock(&path)?;
        let dir = Self { path, lock, created };
        crate::adoption::end_leftovers(&dir.path);
        dir.remove_stale().map_err(io(&dir.path, "removing old files"))?;
        Ok(dir)
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the command socket.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join(CONTROL_SOCKET)
    }

    /// Path of the keeper's socket.
    pub(crate) fn keeper_socket(&self) -> PathBuf {
        keeper_socket(&self.path)
    }

    /// Writes the state, in one step.
    pub(crate) fn write_state(&self, text: &[u8]) -> std::io::Result<()> {
        let between = self.path.join("state.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&between)?;
        file.write_all(text)?;
        fs::rename(between, self.path.join(STATE))
    }

    /// This process is the supervisor from now on.
    pub(crate) fn sign_lock(&mut self) -> std::io::Result<()> {
        sign(&mut self.lock)
    }

    /// Path of a shard's channel listener.
    pub fn channel_socket(&self, shard: u32) -> PathBuf {
        self.path.join(format!("shard.{shard}.sock"))
    }

    /// The same for a proxy that follows the first one; `set` counts from 2.
    pub(crate) fn later_channel_socket(&self, shard: u32, set: u32) -> PathBuf {
        self.path.join(format!("shard.{shard}.{set}.sock"))
    }

    /// Writes the loader's files and returns their folder. Workers load some of them late, so the files of another version stay
    /// where they are.
    pub fn write_loader(&self, files: &[(&str, &str)]) -> Result<PathBuf, RuntimeDirError> {
        let folder = self.path.join(format!("{LOADER}{}", fingerprint(files)));
        let write = || {
            for (name, content) in files {
                let file = folder.join(name);
                if let Some(parent) = file.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                }
                fs::write(&file, content)?;
            }
            Ok(())
        };
        if !folder.exists() {
            write().map_err(io(&self.path, "writing the loader"))?;
        }
        Ok(folder)
    }

    /// Makes the folder of a worker that is a command, and the pipes in it.
    pub(crate) fn make_worker_folder(&self, worker: u32) -> std::io::Result<WorkerFolder> {
        let path = self.path.join(format!("{WORKER}{worker}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = WorkerFolder { path };
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        for pipe in [folder.report(), folder.alive()] {
            rustix::fs::mknodat(CWD, pipe, FileType::Fifo, mode, 0)?;
        }
        Ok(folder)
    }

    /// Removes all files of the instance, and the directory itself if this instance made it.
    pub fn remove(self) {
        // Errors are of no use to anybody here: the next instance removes what is left.
        let _ = self.remove_stale();
        let _ = fs::remove_file(self.path.join(LOCK));
        if self.created {
            let _ = fs::remove_dir(&self.path);
        }
        // Only now may another instance come in; one that already opened the removed lock file
        // notices that it holds the wrong one.
        drop(self.lock);
    }

    /// Removes the files whose names are ours, and nothing else: the user may have named a folder
    /// with other things in it.
    fn remove_stale(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let begins = |with: &str| name.as_bytes().starts_with(with.as_bytes());
            let is_ours = begins(LOADER) || begins(WORKER);
            if is_ours && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if name == STATE
                || name == "state.new"
                || name.as_bytes().ends_with(b".sock") && is_socket(&entry)?
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The folder of a worker that is a command. It is removed when it is dropped.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerFolder {
    path: PathBuf,
}

impl WorkerFolder {
    /// The file that the process makes which becomes the worker.
    pub(crate) fn claim(&self) -> PathBuf {
        self.path.join("claim")
    }

    /// The pipe for its reports.
    pub(crate) fn report(&self) -> PathBuf {
        self.path.join("report")
    }

    /// The pipe whose end tells it that the supervisor is gone.
    pub(crate) fn alive(&self) -> PathBuf {
        self.path.join("alive")
    }
}

impl Drop for WorkerFolder {
    fn drop(&mut self) {
        // What is left is removed with the whole directory.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Tells versions of the loader apart.
fn fingerprint(files: &[(&str, &str)]) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    files.hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

/// Path of the keeper's socket in the runtime directory `dir`.
pub(crate) fn keeper_socket(dir: &Path) -> PathBuf {
    dir.join(KEEPER)
}

/// The state that the last supervisor in `dir` has written.
pub(crate) fn read_state(dir: &Path) -> std::io::Result<Vec<u8>> {
    fs::read(dir.join(STATE))
}

/// Path of a worker's plain socket in the runtime directory `dir`.
pub(crate) fn plain_socket(dir: &Path, app: &str, slot: u32, worker: u32) -> PathBuf {
    dir.join(format!("{}.{slot}.{worker}.sock", app_file_name(app)))
}

/// Path of the socket on which a worker that is a command may listen (`$SOCKET`). No app's plain socket has five parts in its
/// name, and this is no longer than `control` with the same numbers.
pub(crate) fn command_socket(dir: &Path, slot: u32, worker: u32) -> PathBuf {
    dir.join(format!("app.on.{slot}.{worker}.sock"))
}

fn is_socket(entry: &fs::DirEntry) -> std::io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    Ok(entry.file_type()?.is_socket())
}

/// The app's name as a part of file names: npm scopes have slashes.
fn app_file_name(app: &str) -> String {
    app.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .take(APP_FILE_NAME_BYTES_MAX)
        .collect()
}

fn check_length(dir: &Path, app: &str) -> Result<(), RuntimeDirError> {
    // The longest name: app.slot.worker.sock, with the largest numbers.
    let name_bytes = app_file_name(app).len().max("control".len()) + ".9999.4294967295.sock".len();
    let bytes = dir.as_os_str().len() + 1 + name_bytes;
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(RuntimeDirError::TooLong {
            dir: dir.to_owned(),
            over: bytes - SOCKET_PATH_BYTES_MAX,
        });
    }
    Ok(())
}

/// Whether the directory had to be made.
fn create(dir: &Path) -> Result<bool, RuntimeDirError> {
    // What the system says to a file on the way (`File exists`) helps nobody.
    if let Some(file) = dir.ancestors().find(|path| path.is_file()) {
        return Err(RuntimeDirError::File { dir: dir.to_owned(), file: file.to_owned() });
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(io(dir, "creating it"))?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(io(dir, "creating it")(error)),
    }
}

fn check_owner(dir: &Path) -> Result<(), RuntimeDirError> {
    let facts = fs::metadata(dir).map_err(io(dir, "looking at it"))?;
    let problem = if !facts.is_dir() {
        "is not a directory".to_owned()
    } else if facts.uid() != rustix::process::geteuid().as_raw() {
        format!("belongs to the user with id {}", facts.uid())
    } else if facts.mode() & 0o022 != 0 {
        format!("is writable by others (mode {:o})", facts.mode() & 0o777)
    } else {
        return Ok(());
    };
    Err(RuntimeDirError::Unsafe { dir: dir.to_owned(), problem })
}

fn lock(dir: &Path) -> Result<File, RuntimeDirError> {
    let path = dir.join(LOCK);
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io(dir, "opening its lock"))?;
        if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(dir, "locking it")(error.into()));
            }
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = match pid.trim() {
                "" => "unknown".to_owned(),
                text => text.to_owned(),
            };
            return Err(RuntimeDirError::InUse { dir: dir.to_owned(), pid });
        }
        // An ending instance removes the file before it lets go of it: then this lock is on
        // nothing.
        let held = file.metadata().map_err(io(dir, "locking it"))?;
        if fs::metadata(&path).is_ok_and(|facts| facts.ino() == held.ino()) {
            sign(&mut file).map_err(io(dir, "writing its lock"))?;
            return Ok(file);
        }
    }
}

/// Writes who holds the lock.
fn sign(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn io(dir: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> RuntimeDirError {
    move |source| RuntimeDirError::Io { dir: dir.to_owned(), what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("hostler-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn only_one_instance_at_a_time_and_nothing_left_behind() {
        let path = scratch("lock");
        let first = RuntimeDir::acquire(&path, "web").expect("free");
        let second = RuntimeDir::acquire(&path, "web").expect_err("held").to_string();
        assert!(second.contains(&format!("pid {} runs in", std::process::id())), "{second}");
        first.write_loader(&[("lib/a.cjs", "1")]).expect("written");
        first.remove();
        assert!(!path.exists());
    }

    #[test]
    fn stale_sockets_go_and_foreign_files_stay() {
        let path = scratch("stale");
        fs::create_dir_all(&path).expect("made");
        drop(std::os::unix::net::UnixListener::bind(path.join("shard.0.sock")).expect("bound"));
        fs::write(path.join("notes.sock"), "not a socket").expect("written");
        let dir = RuntimeDir::acquire(&path, "web").expect("free");
        assert!(!path.join("shard.0.sock").exists());
        dir.remove();
        assert!(path.join("notes.sock").exists());
        fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let path = scratch("open");
        fs::create_dir_all(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("set");
        let error = RuntimeDir::acquire(&path, "web").expect_err("unsafe").to_string();
        assert!(error.contains("writable by others (mode 777)"), "{error}");
        fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn too_long_a_path_is_told_before_anything_is_made() {
        let path = std::env::temp_dir().join("x".repeat(100));
        let error = RuntimeDir::acquire(&path, "web").expect_err("long").to_string();
        assert!(error.contains("bytes too long"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn scoped_names_become_file_names() {
        assert_eq!(app_file_name("@acme/web.api"), "_acme_web_api");
    }
}
