//! The settings of one instance: read, checked and fixed.
//!
//! Owns: every default, every range, every environment variable that counts. Must never know:
//! sockets, processes, or how settings are shown. `run` and `check` resolve it from the typed
//! arguments; nothing below the command line sees anything else.

mod launch;
mod limits;
mod listen;
mod processes;
mod recycle;
mod surroundings;
#[cfg(test)]
pub(crate) mod tests;
mod times;
mod value;

use std::path::{Path, PathBuf};

use hostler_protocol::control::{IoChoice, Transport};
use hostler_spawner::{Launch, ListenAddress, ReadySpec};

use crate::app_entry::{AppEntry, command_app, find_app};
use crate::args::{IoArg, LogFormat, RunArgs, TransportArg};
use crate::cores::{Placement, UsableCores, place};

pub(crate) use limits::Limits;
pub(crate) use recycle::Recycling;
pub(crate) use surroundings::{OPEN_FILES_MOST, Surroundings, with_surroundings};
pub(crate) use times::{HOUR_MS, SHORTEST_MS, Times};
pub(crate) use value::{Setting, SettingsError, Source, read_or};

/// Everything `run` needs, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) typed_path: PathBuf,
    /// The app's folder, with the links that were typed.
    pub(crate) typed_folder: PathBuf,
    pub(crate) app: AppEntry,
    pub(crate) launch: Launch,
    /// None for a command, unless it was typed.
    pub(crate) node: Option<Setting<PathBuf>>,
    pub(crate) listen: Setting<Vec<ListenAddress>>,
    pub(crate) workers: Setting<u32>,
    pub(crate) shards: Setting<u32>,
    pub(crate) io: Setting<IoChoice>,
    pub(crate) transport: Setting<Transport>,
    pub(crate) pin: Setting<bool>,
    pub(crate) ready: Setting<ReadySpec>,
    /// Workers that a reload starts at a time; none is all.
    pub(crate) surge_max: Setting<Option<u32>>,
    pub(crate) cores: UsableCores,
    pub(crate) placement: Placement,
    pub(crate) runtime_dir: Setting<PathBuf>,
    pub(crate) access_log: Option<PathBuf>,
    pub(crate) log_format: Setting<LogFormat>,
    pub(crate) times: Times,
    pub(crate) limits: Limits,
    pub(crate) recycling: Recycling,
}

impl Settings {
    /// Reads and checks what was typed.
    pub(crate) fn resolve(
        args: &RunArgs,
        around: &Surroundings<'_>,
    ) -> Result<Self, SettingsError> {
        let app = match &args.command {
            Some(command) => command_app(command, &args.path, &around.current_folder)?,
            None => find_app(&args.path, &around.current_folder)?,
        };
        let (launch, node) = launch::read_launch(&app, args, around)?;
        let cores = around.cores.clone();
        let workers = processes::read_workers(args, around)?;
        let shards = processes::read_shards(args, &cores)?;
        let listen = listen::read_listen(args, around)?;
        let transport =
            Setting::typed_or(args.processes.transport.map(Into::into), Transport::Frames);
        let descriptors = limits::Descriptors {
            open_files_max: around.open_files_max,
            shards: shards.value,
            workers: workers.value,
            listeners: listen.value.len(),
            transport: launch::likely_transport(&launch, transport.value),
        };
        Ok(Self {
            typed_path: args.path.clone(),
            typed_folder: typed_folder(&around.current_folder, &args.path),
            runtime_dir: read_runtime_dir(args.instance.runtime_dir.as_deref(), around, &app.name)?,
            io: Setting::typed_or(args.processes.io.map(Into::into), IoChoice::Auto),
            pin: processes::read_pin(args, &cores),
            ready: processes::read_ready(args)?,
            surge_max: processes::read_surge(args)?,
            access_log: args.access_log.clone(),
            log_format: Setting::typed_or(args.log_format, LogFormat::Text),
            times: Times::read(&args.times)?,
            limits: Limits::read(&args.limits, &descriptors)?,
            recycling: Recycling::read(&args.recycle)?,
            placement: place(cores.cores(), shards.value, workers.value),
            app,
            launch,
            node,
            listen,
            workers,
            shards,
            transport,
            cores,
        })
    }

    /// The core of each shard, nothing if pinning is off.
    pub(crate) fn shard_cores(&self) -> Vec<Option<u32>> {
        let cores = self.placement.shards.iter();
        cores.map(|core| self.pin.value.then_some(*core)).collect()
    }

    /// The core of each worker slot, nothing if pinning is off.
    pub(crate) fn worker_cores(&self) -> Vec<Option<u32>> {
        let cores = self.placement.workers.iter();
        cores.map(|core| self.pin.value.then_some(*core)).collect()
    }
}

/// A folder is run in that folder, a file in the current one.
fn typed_folder(current: &Path, typed: &Path) -> PathBuf {
    let path = current.join(typed);
    if path.is_dir() { path } else { current.to_owned() }
}

/// The runtime directory of every verb, made absolute.
pub(crate) fn runtime_dir(
    typed: Option<&Path>,
    around: &Surroundings<'_>,
) -> Result<Setting<PathBuf>, SettingsError> {
    let (dir, source) = match (typed, (around.env)("HOSTLER_RUNTIME_DIR")) {
        (Some(dir), _) => (dir.to_owned(), Source::Option),
        (None, Some(dir)) => (PathBuf::from(dir), Source::Environment("HOSTLER_RUNTIME_DIR")),
        (None, None) => {
            let dir = around.default_runtime_dir.clone().ok_or(SettingsError::NoRuntimeDir)?;
            (dir, Source::Default)
        }
    };
    Ok(Setting { value: around.current_folder.join(dir), source })
}

fn read_runtime_dir(
    typed: Option<&Path>,
    around: &Surroundings<'_>,
    app: &str,
) -> Result<Setting<PathBuf>, SettingsError> {
    // The supervisor refuses such a folder too, but only when it starts; `check` shall find it.
    // `sun_path` holds 108 bytes with the closing zero; the longest name is a worker's plain socket.
    const SOCKET_PATH_BYTES_MAX: usize = 107;
    const APP_BYTES_MAX: usize = 24;
    let app_bytes = app.len().clamp("control".len(), APP_BYTES_MAX);
    let setting = runtime_dir(typed, around)?;
    let bytes = setting.value.as_os_str().len();
    let bytes_max = SOCKET_PATH_BYTES_MAX - 1 - app_bytes - ".9999.4294967295.sock".len();
    if bytes > bytes_max {
        let dir = setting.value.display().to_string();
        return Err(SettingsError::LongRuntimeDir { dir, bytes, bytes_max });
    }
    Ok(setting)
}

impl From<IoArg> for IoChoice {
    fn from(arg: IoArg) -> Self {
        match arg {
            IoArg::Auto => Self::Auto,
            IoArg::Uring => Self::Uring,
            IoArg::Epoll => Self::Epoll,
        }
    }
}

impl From<TransportArg> for Transport {
    fn from(arg: TransportArg) -> Self {
        match arg {
            TransportArg::Frames => Self::Frames,
            TransportArg::Http => Self::Http,
        }
    }
}
