//! Which configuration file is read.
//!
//! Owns: the search. Must never know: what is in the file. Used by `settings`, anew at every start and reload.
//!
//! A file is read if it was named, or if it lies where the app would run: in the folder PATH, else in the current one. There is
//! no search upwards and none in the current folder beside another PATH, so that a file never configures somebody else's app.
//! The machine's own file counts only where nobody could mean anything else: no PATH, and nothing in this folder to start.

use std::io::ErrorKind;
use std::path::Path;

use super::error::ConfigError;
use super::{ConfigFile, Found, one_line};
use crate::app_entry::{AppEntryError, find_app};
use crate::args::ConfigArgs;

/// The file in the app's folder.
const NAME: &str = "hostler.toml";
/// The machine's own file.
pub(crate) const SYSTEM_FILE: &str = "/etc/hostler/hostler.toml";

/// What the search depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    /// `--config` and `--no-config`.
    pub(crate) typed: &'a ConfigArgs,
    /// PATH, if it was typed.
    pub(crate) path: Option<&'a Path>,
    /// A command was typed, so there is an app here, whatever is in the folder.
    pub(crate) has_command: bool,
    /// Where the command was typed.
    pub(crate) current_folder: &'a Path,
    /// [`SYSTEM_FILE`].
    pub(crate) system_file: &'a Path,
}

/// The file that counts, or none.
pub(crate) fn find(search: &Search<'_>) -> Result<ConfigFile, ConfigError> {
    let current = search.current_folder;
    if search.typed.no_config {
        return Ok(ConfigFile::none(current));
    }
    if let Some(typed) = &search.typed.config {
        return ConfigFile::load(&current.join(typed), &shown(typed));
    }
    let path = search.path.filter(|path| current.join(path).is_dir());
    let beside = path.unwrap_or(Path::new("")).join(NAME);
    if exists(&current.join(&beside), &beside)? {
        let shown = shown(&beside);
        let file = ConfigFile::load(&current.join(&beside), &shown)?;
        let found = if path.is_some() { Found::AtPath(shown) } else { Found::Here(shown) };
        return Ok(ConfigFile { found, ..file });
    }
    let nothing_here = search.path.is_none() && !search.has_command && !has_app(current);
    if nothing_here && exists(search.system_file, search.system_file)? {
        let shown = shown(search.system_file);
        let file = ConfigFile::load(search.system_file, &shown)?;
        return Ok(ConfigFile { found: Found::System(shown), ..file });
    }
    Ok(ConfigFile::none(current))
}

/// A broken package.json is an app, too: somebody wants to hear of it.
fn has_app(folder: &Path) -> bool {
    !matches!(find_app(Path::new("."), folder), Err(AppEntryError::NothingFound { .. }))
}

fn exists(path: &Path, typed: &Path) -> Result<bool, ConfigError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(ConfigError::Unreadable { file: shown(typed), why: error.to_string() }),
    }
}

/// As typed, without a leading `./`.
fn shown(path: &Path) -> String {
    one_line_path(path.strip_prefix(".").unwrap_or(path))
}

fn one_line_path(path: &Path) -> String {
    // A long path is not cut: it is the first thing that somebody needs.
    let text = path.to_string_lossy();
    match text.chars().any(char::is_control) {
        true => one_line(&text),
        false => text.into_owned(),
    }
}
