//! What the machine gives to the settings: environment, limits, cores.
//!
//! Owns: reading them once. Must never know: options. Used by every verb; the tests of `settings`
//! make up their own [`Surroundings`].

use std::path::PathBuf;

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
        current_folder: std::env::current_dir().map_err(SettingsError::NoCurrentFolder)?,
        system_file: SYSTEM_FILE.into(),
        default_runtime_dir: hostler_spawner::runtime_dir::default_runtime_dir(),
    })
}
