//! The app: which one, its name, and the folder that it runs in.
//!
//! Owns: what PATH, `--command` and the file's `path`, `command`, `cwd` and `name` mean beside each other. Must never know: how a
//! folder is searched (`app_entry`). Used by `settings`.

use std::path::{Path, PathBuf};

use super::typed::AsTyped;
use super::value::{Named, Setting, SettingsError, Source};
use crate::app_entry::{AppEntry, AppEntryError, NAME_LETTERS_MAX, command_app, find_app, tidy};
use crate::config_file::{Found, Place};

/// The app and who chose what about it.
#[derive(Debug)]
pub(crate) struct App {
    /// What is started.
    pub(crate) entry: AppEntry,
    /// Name in logs and status.
    pub(crate) name: Setting<String>,
    /// Working directory of the workers; links are kept.
    pub(crate) cwd: Setting<PathBuf>,
    /// What was searched, absolute; the folder of a command.
    pub(crate) path: Setting<PathBuf>,
    /// The line of a command that was typed or is in the file.
    pub(crate) command: Option<Setting<String>>,
}

/// What was said about where the app is.
struct Wanted {
    path: Setting<PathBuf>,
    command: Option<Setting<String>>,
    /// Where relative paths begin, and where a file or a command runs.
    folder: PathBuf,
    cwd: Option<Setting<PathBuf>>,
}

pub(super) fn read_app(all: &AsTyped<'_>) -> Result<App, SettingsError> {
    let wanted = read_wanted(all)?;
    let found = match &wanted.command {
        Some(command) => command_app(&command.value, &wanted.path.value, &wanted.folder),
        None => find_app(&wanted.path.value, &wanted.folder),
    };
    let mut entry = found.map_err(|error| of_place(error, &wanted))?;
    if let Some(Source::File(place)) = wanted.command.as_ref().map(|command| &command.source) {
        entry.found_by = format!("{}:{}", place.file, place.line);
    }
    let cwd = match wanted.cwd {
        Some(cwd) => cwd,
        None => Setting::because(entry.folder.clone(), "folder of the app"),
    };
    entry.folder.clone_from(&cwd.value);
    Ok(App {
        name: read_name(all, &entry.name)?,
        path: Setting {
            value: tidy(&wanted.folder.join(&wanted.path.value)),
            source: wanted.path.source,
        },
        command: wanted.command,
        cwd,
        entry,
    })
}

/// A PATH beside a named file takes the place of what that file says about where the app is; a typed command that of path and
/// command. A PATH that led to the file only says where both are.
fn read_wanted(all: &AsTyped<'_>) -> Result<Wanted, SettingsError> {
    let current = &all.around.current_folder;
    let here = || Setting { value: PathBuf::from("."), source: Source::Default };
    let of_file = read_file(all)?;
    let file_speaks =
        of_file.command.is_some() || of_file.cwd.is_some() || of_file.path.source.is_chosen();
    let led_to_file = matches!(all.file.found, Found::AtPath(_)) && file_speaks;
    let typed_path = all.args.path.as_ref().filter(|_| !led_to_file);
    let typed_command = all.args.command.as_ref();
    let command = typed_command.map(|line| Setting { value: line.clone(), source: Source::Option });
    if let Some(path) = typed_path {
        let path = Setting { value: path.clone(), source: Source::Option };
        return Ok(Wanted { path, command, folder: current.clone(), cwd: None });
    }
    if command.is_some() {
        let folder = match &of_file.cwd {
            Some(cwd) => cwd.value.clone(),
            None if led_to_file => all.file.folder.clone(),
            None => current.clone(),
        };
        return Ok(Wanted { command, path: here(), folder, ..of_file });
    }
    Ok(of_file)
}

/// What the file says, and what is so without it.
fn read_file(all: &AsTyped<'_>) -> Result<Wanted, SettingsError> {
    let keys = &all.file.app;
    let path = all.said(keys.path.as_ref())?;
    let path =
        path.map(|said| said.read(|text| Ok(PathBuf::from(not_empty(text)?)))).transpose()?;
    let command = all.said(keys.command.as_ref())?;
    let command =
        command.map(|said| said.read(|text| Ok(not_empty(text)?.to_owned()))).transpose()?;
    if let (Some(path), Some(Source::File(place))) =
        (&path, command.as_ref().map(|command| &command.source))
    {
        let path = path.value.display().to_string();
        return Err(SettingsError::PathAndCommand { place: place.clone(), path });
    }
    let cwd = all.said(keys.cwd.as_ref())?;
    let cwd = cwd.map(|said| {
        said.read(|text| {
            let folder = all.file.folder.join(not_empty(text)?);
            match folder.is_dir() {
                true => Ok(tidy(&folder)),
                false => Err(text.expected("a folder that exists".to_owned())),
            }
        })
    });
    let cwd = cwd.transpose()?;
    let speaks_of_app = path.is_some() || command.is_some();
    let folder = match &cwd {
        Some(cwd) => cwd.value.clone(),
        // What the file does not say is as without it.
        None if speaks_of_app => all.file.folder.clone(),
        None => all.around.current_folder.clone(),
    };
    let path = path.unwrap_or(Setting { value: PathBuf::from("."), source: Source::Default });
    Ok(Wanted { path, command, folder, cwd })
}

fn not_empty(text: Named<'_>) -> Result<&str, SettingsError> {
    match text.text.trim().is_empty() {
        true => Err(text.expected("a text that is not empty".to_owned())),
        false => Ok(text.text),
    }
}

/// An app that is not where the file says is the file's mistake.
fn of_place(error: AppEntryError, wanted: &Wanted) -> SettingsError {
    let place = |setting: Option<&Source>| match setting {
        Some(Source::File(place)) => Some(place.clone()),
        _ => None,
    };
    let command = wanted.command.as_ref().map(|command| &command.source);
    let cwd = wanted.cwd.as_ref().map(|cwd| &cwd.source);
    let place: Option<Place> = place(command).or(place(Some(&wanted.path.source))).or(place(cwd));
    match place {
        Some(place) => SettingsError::NoAppOfFile { place, error },
        None => SettingsError::NoApp(error),
    }
}

fn read_name(all: &AsTyped<'_>, found: &str) -> Result<Setting<String>, SettingsError> {
    let Some(said) = all.said(all.file.app.name.as_ref())? else {
        return Ok(Setting::because(found.to_owned(), "package.json or folder"));
    };
    said.read(|text| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let name = text.text;
        // It is part of file names and of socket paths.
        let is_good = (1..=NAME_LETTERS_MAX).contains(&name.len()) && name.chars().all(good);
        match is_good && Path::new(name).file_name().is_some() {
            true => Ok(name.to_owned()),
            false => Err(text.expected(format!(
                "a name of 1 to {NAME_LETTERS_MAX} letters (a-z, A-Z, 0-9, _, . and -)"
            ))),
        }
    })
}
