//! How many workers and shards, on which cores, with which Node.
//!
//! Owns: what `auto` means and when threads are pinned. Must never know: time-outs and limits. Used by `settings`.

use std::path::{Path, PathBuf};

use hostler_spawner::{ReadySpec, WorkerRange};

use super::times::DAY_MS;
use super::typed::AsTyped;
use super::value::{Named, Setting, SettingsError, Source};
use crate::args::Switch;
use crate::config_file::keys::Count;
use crate::cores::UsableCores;
use crate::find_node::find_node;

pub(crate) const WORKERS_MAX: u32 = 512;
pub(crate) const SHARDS_MAX: u32 = 256;
/// Somebody looks once a second.
const IDLE_STOP_MS_LEAST: u32 = 1_000;

/// How many workers there are at the start, and between which numbers they may go.
pub(super) fn read_workers(
    all: &AsTyped<'_>,
) -> Result<(Setting<u32>, Option<WorkerRange>), SettingsError> {
    let typed = all.args.processes.workers.as_deref();
    let of_file = read_worker_table(all)?;
    let key = all.file.app.workers.as_ref().filter(|_| of_file.is_none());
    let chosen = all.read("--workers", typed, key, workers)?.or(of_file);
    let variable = (all.around.env)("WEB_CONCURRENCY").filter(|_| typed.is_none());
    let chosen = match variable {
        Some(text) => {
            let value = workers(Named::new("WEB_CONCURRENCY", &text))?;
            Some(Setting { value, source: Source::Environment("WEB_CONCURRENCY") })
        }
        None => chosen,
    };
    let range = chosen.as_ref().and_then(|chosen| match chosen.value {
        Workers::Range(range) => Some(range),
        Workers::Auto | Workers::Count(_) => None,
    });
    let count = chosen.map(|chosen| Setting {
        value: match chosen.value {
            Workers::Auto => None,
            Workers::Count(count) => Some(count),
            Workers::Range(range) => Some(range.min),
        },
        source: chosen.source,
    });
    Ok((number_or_auto(count, &all.around.cores, WORKERS_MAX), range))
}

/// The range as a table: `workers = { min = 2, max = 8 }`.
fn read_worker_table(all: &AsTyped<'_>) -> Result<Option<Setting<Workers>>, SettingsError> {
    let Some(key) = &all.file.app.workers else { return Ok(None) };
    let Some(table) = all.file.table::<_, Count<1, WORKERS_MAX>, 2>(key, ["min", "max"])? else {
        return Ok(None);
    };
    let [min, max] = table.map(|value| all.said(Some(&value)));
    let (Some(min), Some(max)) = (min?, max?) else { return Ok(None) };
    let min = min.read(|text| text.count(&(1..=WORKERS_MAX)))?;
    let max = max.read(|text| {
        text.count(&(1..=WORKERS_MAX)).and_then(|max| match max >= min.value {
            true => Ok(max),
            false => Err(text.expected(format!("a whole number from {} (`min`)", min.value))),
        })
    })?;
    let range = WorkerRange { min: min.value, max: max.value };
    Ok(Some(Setting { value: Workers::Range(range), source: min.source }))
}

/// What `--workers` can be.
enum Workers {
    Auto,
    Count(u32),
    Range(WorkerRange),
}

fn workers(text: Named<'_>) -> Result<Workers, SettingsError> {
    let counts = 1..=WORKERS_MAX;
    if let Some((min, max)) = text.text.split_once("..") {
        let number = |part: &str| part.trim().parse().ok().filter(|number| counts.contains(number));
        let range = number(min).zip(number(max)).filter(|(min, max)| min <= max);
        let expected = || text.expected(format!("two numbers from 1 to {WORKERS_MAX} (2..8)"));
        return range
            .map(|(min, max)| Workers::Range(WorkerRange { min, max }))
            .ok_or_else(expected);
    }
    match text.count_or_auto(&counts) {
        Ok(None) => Ok(Workers::Auto),
        Ok(Some(count)) => Ok(Workers::Count(count)),
        Err(_) => Err(text
            .expected(format!("auto, a whole number from 1 to {WORKERS_MAX} or a range (2..8)"))),
    }
}

pub(super) fn read_shards(all: &AsTyped<'_>) -> Result<Setting<u32>, SettingsError> {
    let typed = all.args.processes.shards.as_deref();
    let chosen = all.read("--shards", typed, all.file.server.shards.as_ref(), |text| {
        text.count_or_auto(&(1..=SHARDS_MAX))
    })?;
    Ok(number_or_auto(chosen, &all.around.cores, SHARDS_MAX))
}

/// Who asks for `auto` asks for the default.
fn number_or_auto(
    chosen: Option<Setting<Option<u32>>>,
    cores: &UsableCores,
    most: u32,
) -> Setting<u32> {
    match chosen {
        Some(Setting { value: Some(value), source }) => Setting { value, source },
        _ => Setting::because(cores.count.min(most), "auto, one per usable core"),
    }
}

/// When no worker runs.
#[derive(Debug)]
pub(crate) struct Sleep {
    pub(crate) lazy: Setting<bool>,
    /// `None` is never.
    pub(crate) idle_ms_max: Setting<Option<u32>>,
}

impl Sleep {
    pub(super) fn read(all: &AsTyped<'_>) -> Result<Self, SettingsError> {
        let (typed, app) = (&all.args.processes, &all.file.app);
        let idle_stop = |text: Named<'_>| match text.text.trim() {
            "off" => Ok(None),
            _ => text.duration_ms(&(IDLE_STOP_MS_LEAST..=DAY_MS)).map(Some),
        };
        let said = all.said(app.lazy.as_ref())?;
        let of_file = said.map(|said| said.read(|text| text.on_off())).transpose()?;
        let lazy = typed
            .lazy
            .map(|switch| Setting { value: switch == Switch::On, source: Source::Option });
        let idle =
            all.read("--idle-stop", typed.idle_stop.as_deref(), app.idle_stop.as_ref(), idle_stop)?;
        Ok(Self {
            lazy: Setting::chosen_or(lazy.or(of_file), false),
            idle_ms_max: Setting::chosen_or(idle, None),
        })
    }
}

pub(super) fn read_hang_stack(all: &AsTyped<'_>) -> Result<Setting<bool>, SettingsError> {
    let said = all.said(all.file.app.hang_stack.as_ref())?;
    let of_file = said.map(|said| said.read(|text| text.on_off())).transpose()?;
    let typed = all.args.processes.hang_stack;
    let typed = typed.map(|switch| Setting { value: switch == Switch::On, source: Source::Option });
    Ok(Setting::chosen_or(typed.or(of_file), true))
}

pub(super) fn read_ready(all: &AsTyped<'_>) -> Result<Setting<ReadySpec>, SettingsError> {
    let typed = all.args.processes.ready.as_deref();
    let chosen =
        all.read("--ready", typed, all.file.app.ready.as_ref(), |text| match text.text {
            "listen" => Ok(ReadySpec::Listen),
            "message" => Ok(ReadySpec::Message),
            path if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(ReadySpec::Answers(path.to_owned()))
            }
            _ => Err(text.expected("listen, message, or a path like /health".to_owned())),
        })?;
    Ok(Setting::chosen_or(chosen, ReadySpec::Listen))
}

/// None is all.
pub(super) fn read_surge(all: &AsTyped<'_>) -> Result<Setting<Option<u32>>, SettingsError> {
    let typed = all.args.processes.max_surge.as_deref();
    let chosen = all.read("--max-surge", typed, all.file.app.max_surge.as_ref(), |text| {
        text.count_or("all", &(1..=WORKERS_MAX))
    })?;
    Ok(Setting::chosen_or(chosen, None))
}

pub(super) fn read_pin(all: &AsTyped<'_>) -> Result<Setting<bool>, SettingsError> {
    let said = all.said(all.file.server.pin.as_ref())?;
    let of_file = said.map(|said| said.read(|text| text.on_off())).transpose()?;
    let cores = &all.around.cores;
    Ok(match (all.args.processes.pin, of_file, &cores.quota) {
        (Some(switch), ..) => Setting { value: switch == Switch::On, source: Source::Option },
        (None, Some(of_file), _) => of_file,
        (None, None, None) => Setting::chosen_or(None, true),
        (None, None, Some(quota)) => Setting::because(
            false,
            format!(
                "the CPU quota grants {:.2} of {} cores, neighbours would choose the same ones",
                quota.value,
                cores.allowed.len()
            ),
        ),
    })
}

/// Whether a Node was named, rather than left to `PATH`.
pub(super) fn node_is_named(all: &AsTyped<'_>) -> bool {
    all.args.processes.node.is_some() || all.file.app.node.is_some()
}

pub(super) fn read_node(all: &AsTyped<'_>) -> Result<Setting<PathBuf>, SettingsError> {
    let search_path = (all.around.env)("PATH").unwrap_or_default();
    let current = &all.around.current_folder;
    let find = |name: &str, typed: Option<&Path>, folder: &Path| {
        let no_node = |why: String| SettingsError::NoNode { name: name.to_owned(), why };
        find_node(typed, &search_path, folder).map_err(|error| no_node(error.to_string()))
    };
    let said = all.said(all.file.app.node.as_ref())?;
    if let Some(typed) = &all.args.processes.node {
        return Ok(Setting {
            value: find("--node", Some(typed.as_path()), current)?,
            source: Source::Option,
        });
    }
    match said {
        Some(said) => said.read(|text| find(text.name, Some(text.text.as_ref()), &all.file.folder)),
        None => {
            let value = find("--node", None, current)?;
            Ok(Setting::because(value, "node in PATH"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file_tests::Folder;

    #[test]
    fn a_range_of_workers_has_two_forms() {
        let folder = Folder::new(&[("server.js", "")]);
        for workers in [
            "workers = \"2..8\"",
            "workers = { min = 2, max = 8 }",
            "workers.max = \"${MAX}\"\nworkers.min = 2",
        ] {
            folder.write("hostler.toml", &format!("[[app]]\n{workers}\n"));
            let settings = folder.read(&[("MAX", "8")], &[]).expect("good");
            assert_eq!(settings.worker_range, Some(WorkerRange { min: 2, max: 8 }), "{workers}");
            assert_eq!(settings.workers.value, 2);
            assert!(matches!(settings.workers.source, Source::File(_)));
            let settings = folder.read(&[("MAX", "8")], &["--workers", "3"]).expect("good");
            assert_eq!((settings.worker_range, settings.workers.value), (None, 3));
        }
        folder.write("h.json", "{\"app\": [{\"workers\": {\"min\": 2,\n\"max\": 8}}]}");
        let settings = folder.read(&[], &["-c", "h.json"]).expect("good");
        assert_eq!(settings.worker_range, Some(WorkerRange { min: 2, max: 8 }));
        folder.write("h.json", "{\"app\": [{\"workers\": {\"min\": 2,\n\"Max\": 8}}]}");
        let error = folder.error(&[], &["-c", "h.json"]);
        assert_eq!(
            error,
            "h.json:2: app[0].workers.Max: there is no such key; did you mean `max`?"
        );
    }
}
