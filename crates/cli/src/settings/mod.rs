//! The settings of one instance: read, checked and fixed.
//!
//! Owns: every default, every range, every environment variable that counts. Must never know:
//! sockets, processes, or how settings are shown. `run` and `check` resolve it from the typed
//! arguments; nothing below the command line sees anything else.

mod app;
#[cfg(test)]
pub(crate) mod file_tests;
mod launch;
mod limits;
mod listen;
mod processes;
mod recycle;
mod routing;
mod runtime_dir;
mod shown;
mod surroundings;
#[cfg(test)]
pub(crate) mod tests;
mod times;
mod typed;
mod value;
#[cfg(test)]
mod wrong_value_tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hostler_protocol::control::{IoChoice, Transport};
use hostler_spawner::{Launch, ListenAddress, ReadySpec, WorkerRange};

use crate::args::{IoArg, LogFormat, RunArgs, TransportArg};
use crate::config_file::{self, Found, Said};
use crate::cores::{Placement, UsableCores, place};

pub(crate) use app::App;
pub(crate) use limits::{CONNS_MAX_LEAST, CONNS_MAX_MOST, COUNT_MOST, Limits};
pub(crate) use processes::{SHARDS_MAX, WORKERS_MAX};
pub(crate) use recycle::{REQUESTS_MOST, Recycling};
pub(crate) use routing::Routing;
pub(crate) use runtime_dir::runtime_dir;
pub(crate) use shown::{Row, Section, Value, rows};
pub(crate) use surroundings::{OPEN_FILES_MOST, Surroundings, with_surroundings};
pub(crate) use times::{HOUR_MS, SHORTEST_MS, Times};
pub(crate) use value::{Setting, SettingsError, Source, read_or};

use typed::AsTyped;

/// Everything `run` needs, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The configuration file.
    pub(crate) file: Found,
    /// PATH, if it was typed.
    pub(crate) typed_path: Option<PathBuf>,
    pub(crate) app: App,
    pub(crate) launch: Launch,
    /// Arguments that were typed or are in the file; those of a start line come before them.
    pub(crate) app_args: Setting<Vec<String>>,
    /// Variables of the file.
    pub(crate) app_env: BTreeMap<String, Said>,
    /// None for a command, unless it was named.
    pub(crate) node: Option<Setting<PathBuf>>,
    pub(crate) listen: Setting<Vec<ListenAddress>>,
    pub(crate) workers: Setting<u32>,
    /// The number follows the load between these.
    pub(crate) worker_range: Option<WorkerRange>,
    pub(crate) sleep: processes::Sleep,
    pub(crate) shards: Setting<u32>,
    pub(crate) io: Setting<IoChoice>,
    pub(crate) transport: Setting<Transport>,
    pub(crate) pin: Setting<bool>,
    pub(crate) ready: Setting<ReadySpec>,
    /// A worker that hangs is asked for its stack.
    pub(crate) hang_stack: Setting<bool>,
    /// Workers that a reload starts at a time; none is all.
    pub(crate) surge_max: Setting<Option<u32>>,
    pub(crate) cores: UsableCores,
    pub(crate) placement: Placement,
    pub(crate) runtime_dir: Setting<PathBuf>,
    pub(crate) access_log: Setting<Option<PathBuf>>,
    pub(crate) log_format: Setting<LogFormat>,
    pub(crate) times: Times,
    pub(crate) limits: Limits,
    pub(crate) recycling: Recycling,
    pub(crate) routing: Routing,
}

impl Settings {
    /// Reads everything anew and checks it: the configuration file, the environment, the app's folder with its package.json, the
    /// cores of this process. For the start and for each reload; an error is one line that names file, line and key.
    pub(crate) fn read(args: &RunArgs) -> Result<Self, SettingsError> {
        with_surroundings(|around| Self::resolve(args, around))
    }

    /// The same with surroundings of the caller's.
    pub(crate) fn resolve(
        args: &RunArgs,
        around: &Surroundings<'_>,
    ) -> Result<Self, SettingsError> {
        let file = config_file::find(&config_file::Search {
            typed: &args.instance.config,
            path: args.path.as_deref(),
            has_command: args.command.is_some(),
            current_folder: &around.current_folder,
            system_file: &around.system_file,
        })?;
        let all = AsTyped { args, file: &file, around };
        let app = app::read_app(&all)?;
        let app_args = launch::read_args(&all)?;
        let (launch, node) = launch::read_launch(&app.entry, &app_args.value, &all)?;
        let (workers, worker_range) = processes::read_workers(&all)?;
        let shards = processes::read_shards(&all)?;
        let listen = listen::read_listen(&all)?;
        let transport = all.choice(args.processes.transport, file.app.transport.as_ref())?;
        let transport: Setting<Transport> =
            Setting::chosen_or(transport, TransportArg::Frames).into();
        let descriptors = limits::Descriptors {
            open_files_max: around.open_files_max,
            shards: shards.value,
            workers: workers.value,
            listeners: listen.value.len(),
            transport: launch::likely_transport(&launch, transport.value),
        };
        let io = all.choice(args.processes.io, file.server.io.as_ref())?;
        let log_format = all.choice(args.log_format, file.server.log_format.as_ref())?;
        Ok(Self {
            runtime_dir: runtime_dir::read_runtime_dir(&all, &app.name.value)?,
            io: Setting::chosen_or(io, IoArg::Auto).into(),
            pin: processes::read_pin(&all)?,
            ready: processes::read_ready(&all)?,
            hang_stack: processes::read_hang_stack(&all)?,
            surge_max: processes::read_surge(&all)?,
            sleep: processes::Sleep::read(&all)?,
            access_log: read_access_log(&all)?,
            log_format: Setting::chosen_or(log_format, LogFormat::Text),
            times: Times::read(&all)?,
            limits: Limits::read(&all, &descriptors)?,
            recycling: Recycling::read(&all)?,
            routing: Routing::read(&all)?,
            placement: place(around.cores.cores(), shards.value, workers.value),
            cores: around.cores.clone(),
            app_env: launch::read_env(&all, &launch)?,
            typed_path: args.path.clone(),
            app,
            launch,
            app_args,
            node,
            listen,
            workers,
            worker_range,
            shards,
            transport,
            file: file.found,
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

/// `-` is stdout in either place.
fn read_access_log(all: &AsTyped<'_>) -> Result<Setting<Option<PathBuf>>, SettingsError> {
    let said = all.said(all.file.server.access_log.as_ref())?;
    let is_stdout = said.is_some_and(|said| said.text == "-");
    let of_file =
        all.path(None, all.file.server.access_log.as_ref())?.map(|path| match is_stdout {
            true => Setting { value: PathBuf::from("-"), ..path },
            false => path,
        });
    let typed = all.args.access_log.as_ref();
    let typed = typed.map(|path| Setting { value: path.clone(), source: Source::Option });
    let chosen = typed.or(of_file);
    let chosen = chosen.map(|path| Setting { value: Some(path.value), source: path.source });
    Ok(Setting::chosen_or(chosen, None))
}

impl From<Setting<IoArg>> for Setting<IoChoice> {
    fn from(setting: Setting<IoArg>) -> Self {
        Self { value: setting.value.into(), source: setting.source }
    }
}

impl From<Setting<TransportArg>> for Setting<Transport> {
    fn from(setting: Setting<TransportArg>) -> Self {
        Self { value: setting.value.into(), source: setting.source }
    }
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
