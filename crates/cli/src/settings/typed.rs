//! Everything that was typed, in the command and in the file, with the machine around it.
//!
//! Owns: how a setting is looked up in both. Must never know: which settings exist. Used by every part of `settings`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::surroundings::Surroundings;
use super::value::{Named, Places, Setting, SettingsError, Source};
use crate::args::RunArgs;
use crate::config_file::keys::{Choice, File};
use crate::config_file::{ConfigFile, Kind, Said, Typed};

/// The places where a setting may be said.
#[derive(Clone, Copy)]
pub(super) struct AsTyped<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) file: &'a ConfigFile,
    pub(super) around: &'a Surroundings<'a>,
}

impl AsTyped<'_> {
    /// What was chosen by the option or the key, none if neither says anything.
    pub(super) fn read<T, K: Kind>(
        &self,
        option: &str,
        typed: Option<&str>,
        key: Option<&Typed<K>>,
        read: impl Fn(Named<'_>) -> Result<T, SettingsError>,
    ) -> Result<Option<Setting<T>>, SettingsError> {
        let said = self.said(key)?;
        Places { option, typed, said: said.as_ref() }.read(read)
    }

    /// The same for options whose values clap knows.
    pub(super) fn choice<E: ValueEnum>(
        &self,
        typed: Option<E>,
        key: Option<&Typed<Choice<E>>>,
    ) -> Result<Option<Setting<E>>, SettingsError> {
        let said = self.said(key)?;
        let of_file = said.map(|said| said.read(|text| text.choice())).transpose()?;
        Ok(typed.map(|value| Setting { value, source: Source::Option }).or(of_file))
    }

    /// A path, absolute: what is typed begins at the current folder, what the file says at its own.
    pub(super) fn path(
        &self,
        typed: Option<&Path>,
        key: Option<&Typed<File>>,
    ) -> Result<Option<Setting<PathBuf>>, SettingsError> {
        let said = self.said(key)?;
        let of_file = said.map(|said| said.read(|text| self.path_of_file(text))).transpose()?;
        let typed = typed.map(|path| Setting {
            value: self.around.current_folder.join(path),
            source: Source::Option,
        });
        Ok(typed.or(of_file))
    }

    fn path_of_file(&self, text: Named<'_>) -> Result<PathBuf, SettingsError> {
        match text.text.is_empty() {
            true => Err(text.expected("a path".to_owned())),
            false => Ok(self.file.folder.join(text.text)),
        }
    }

    /// What the file says.
    pub(super) fn said<K: Kind>(
        &self,
        key: Option<&Typed<K>>,
    ) -> Result<Option<Said>, SettingsError> {
        Ok(self.file.said(key, self.around.env)?)
    }
}
