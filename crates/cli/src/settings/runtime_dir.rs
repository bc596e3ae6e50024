//! The runtime directory, which names the instance.
//!
//! Owns: where it is, for every verb, and how long its path may be. Must never know: what is in it. Used by `settings`, and by the
//! verbs that look for an instance.

use std::path::PathBuf;

use super::surroundings::Surroundings;
use super::typed::AsTyped;
use super::value::{Setting, SettingsError, Source};
use crate::args::{InstanceArgs, RunArgs};
use crate::config_file::{self, Search};

const VARIABLE: &str = "HOSTLER_RUNTIME_DIR";

/// For the verbs that look for an instance. A configuration file is read only where nothing else names the folder: a mistake
/// in it must not keep anybody from stopping an instance.
pub(crate) fn runtime_dir(
    typed: &InstanceArgs,
    around: &Surroundings<'_>,
) -> Result<Setting<PathBuf>, SettingsError> {
    let mut config = typed.config.clone();
    config.no_config |= typed.runtime_dir.is_some() || (around.env)(VARIABLE).is_some();
    let file = config_file::find(&Search {
        typed: &config,
        path: None,
        has_command: false,
        current_folder: &around.current_folder,
        system_file: &around.system_file,
    })?;
    let args = RunArgs { instance: typed.clone(), ..RunArgs::default() };
    look_up(&AsTyped { args: &args, file: &file, around })
}

fn look_up(all: &AsTyped<'_>) -> Result<Setting<PathBuf>, SettingsError> {
    let typed = all.args.instance.runtime_dir.as_deref();
    let chosen = all.path(typed, all.file.server.runtime_dir.as_ref())?;
    let around = all.around;
    match ((around.env)(VARIABLE), typed) {
        (Some(dir), None) => Ok(Setting {
            value: around.current_folder.join(dir),
            source: Source::Environment(VARIABLE),
        }),
        _ => match (chosen, &around.default_runtime_dir) {
            (Some(chosen), _) => Ok(chosen),
            (None, Some(dir)) => Ok(Setting::chosen_or(None, around.current_folder.join(dir))),
            (None, None) => Err(SettingsError::NoRuntimeDir),
        },
    }
}

/// For `run` and `check`.
pub(super) fn read_runtime_dir(
    all: &AsTyped<'_>,
    app: &str,
) -> Result<Setting<PathBuf>, SettingsError> {
    // The supervisor refuses such a folder too, but only when it starts; `check` shall find it.
    // `sun_path` holds 108 bytes with the closing zero; the longest name is a worker's plain socket.
    const SOCKET_PATH_BYTES_MAX: usize = 107;
    const APP_BYTES_MAX: usize = 24;
    let app_bytes = app.len().clamp("control".len(), APP_BYTES_MAX);
    let setting = look_up(all)?;
    let bytes = setting.value.as_os_str().len();
    let bytes_max = SOCKET_PATH_BYTES_MAX - 1 - app_bytes - ".9999.4294967295.sock".len();
    if bytes > bytes_max {
        let name = match &setting.source {
            Source::File(place) => place.to_string(),
            _ => "--runtime-dir".to_owned(),
        };
        let dir = setting.value.display().to_string();
        return Err(SettingsError::LongRuntimeDir { name, dir, bytes, bytes_max });
    }
    Ok(setting)
}
