//! What the machine gives to the settings: environment, limits, cores.
//!
//! Owns: reading them once. Must never know: options. Used by every verb; the tests of `settings`
//! make up their own [`Surroundings`].

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

use crate::cgroup::read_system_file;
use crate::config_file::SYSTEM_FILE;
use crate::cores::UsableCores;

use super::value::SettingsError;

/// More descriptors than this are of no use to one instance, whatever the system allows.
pub(crate) const OPEN_FILES_MOST: u64 = 1 << 20;

/// What the settings depend on besides the command line.
pub(crate) struct Surroundings<'a> {
    /// An environment variable; an empty one counts as not set.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// Cores of this process.
    pub(crate) cores: UsableCores,
    /// Hard limit of open files; `run` raises the soft limit to it.
    pub(crate) open_files_max: u64,
    /// Where the command was typed.
    pub(crate) current_folder: PathBuf,
    /// The machine's own configuration file, whether or not there is one.
    pub(crate) system_file: PathBuf,
    /// Used when neither option nor environment names one; none if the user has no home.
    pub(crate) default_runtime_dir: Option<PathBuf>,
}

/// Calls `use_it` with the surroundings of this process.
pub(crate) fn with_surroundings<T>(
    use_it: impl FnOnce(&Surroundings<'_>) -> Result<T, SettingsError>,
) -> Result<T, SettingsError> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let hard_limit = getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES_MOST);
    use_it(&Surroundings {
        env: &env,
        cores: UsableCores::detect(&read_system_file),
        open_files_max: hard_limit.min(OPEN_FILES_MOST),
        current_folder: current_folder()?,
        system_file: SYSTEM_FILE.into(),
        default_runtime_dir: hostler_spawner::runtime_dir::default_runtime_dir(),
    })
}

/// Where the command was typed, as it was typed: `getcwd` knows only where a link like `current` led at that time, and a
/// reload shall look where it leads then.
fn current_folder() -> Result<PathBuf, SettingsError> {
    static FIRST: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FIRST.get() {
        return Ok(folder.clone());
    }
    let real = std::env::current_dir().map_err(SettingsError::NoCurrentFolder)?;
    let typed = std::env::var_os("PWD").map(PathBuf::from);
    let folder = typed.filter(|typed| is_same(typed, &real)).unwrap_or(real);
    Ok(FIRST.get_or_init(|| folder).clone())
}

/// The rule of `pwd -L` (POSIX): an absolute path to the same folder.
fn is_same(typed: &Path, real: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|facts| (facts.dev(), facts.ino()));
    typed.is_absolute() && identity(typed).is_some() && identity(typed) == identity(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_folder_counts_if_it_is_the_same_one() {
        let root = std::env::temp_dir().join(format!("hostler-pwd-{}", std::process::id()));
        let (release, link) = (root.join("releases/1"), root.join("current"));
        std::fs::create_dir_all(&release).expect("made");
        std::os::unix::fs::symlink(&release, &link).expect("linked");
        assert!(is_same(&link, &release));
        assert!(!is_same(&root, &release) && !is_same(&root.join("none"), &release));
        assert!(!is_same(Path::new("current"), &release));
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
