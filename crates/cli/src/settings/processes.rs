//! How many workers and shards, on which cores, with which Node.
//!
//! Owns: what `auto` means and when threads are pinned. Must never know: time-outs and limits. Used by `settings`.

use std::path::PathBuf;

use hostler_spawner::ReadySpec;

use super::surroundings::Surroundings;
use super::value::{Named, Setting, SettingsError, Source, read_or};
use crate::args::{RunArgs, Switch};
use crate::cores::UsableCores;
use crate::find_node::find_node;

pub(super) const WORKERS_MAX: u32 = 512;
pub(super) const SHARDS_MAX: u32 = 256;

pub(super) fn read_workers(
    args: &RunArgs,
    around: &Surroundings<'_>,
) -> Result<Setting<u32>, SettingsError> {
    let range = 1..=WORKERS_MAX;
    let variable = (around.env)("WEB_CONCURRENCY");
    let (text, name, source) = match (&args.processes.workers, &variable) {
        (Some(typed), _) => (Some(typed), "--workers", Source::Option),
        (None, Some(set)) => (Some(set), "WEB_CONCURRENCY", Source::Environment("WEB_CONCURRENCY")),
        (None, None) => (None, "", Source::Default),
    };
    let number = match text {
        Some(text) => Named { name, text }.count_or_auto(&range)?,
        None => None,
    };
    Ok(match number {
        Some(value) => Setting { value, source },
        None => auto(&around.cores, WORKERS_MAX),
    })
}

pub(super) fn read_shards(
    args: &RunArgs,
    cores: &UsableCores,
) -> Result<Setting<u32>, SettingsError> {
    let Some(text) = &args.processes.shards else {
        return Ok(auto(cores, SHARDS_MAX));
    };
    let number = Named { name: "--shards", text }.count_or_auto(&(1..=SHARDS_MAX))?;
    Ok(number
        .map_or_else(|| auto(cores, SHARDS_MAX), |value| Setting { value, source: Source::Option }))
}

fn auto(cores: &UsableCores, most: u32) -> Setting<u32> {
    Setting::because(cores.count.min(most), "auto, one per usable core")
}

pub(super) fn read_ready(args: &RunArgs) -> Result<Setting<ReadySpec>, SettingsError> {
    read_or("--ready", args.processes.ready.as_deref(), ReadySpec::Listen, |text| match text.text {
        "listen" => Ok(ReadySpec::Listen),
        path if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(ReadySpec::Answers(path.to_owned()))
        }
        _ => Err(text.expected("listen, or a path like /health".to_owned())),
    })
}

/// None is all.
pub(super) fn read_surge(args: &RunArgs) -> Result<Setting<Option<u32>>, SettingsError> {
    read_or("--max-surge", args.processes.max_surge.as_deref(), None, |text| {
        text.count_or("all", &(1..=WORKERS_MAX))
    })
}

pub(super) fn read_pin(args: &RunArgs, cores: &UsableCores) -> Setting<bool> {
    match (args.processes.pin, &cores.quota) {
        (Some(switch), _) => Setting { value: switch == Switch::On, source: Source::Option },
        (None, None) => Setting { value: true, source: Source::Default },
        (None, Some(quota)) => Setting::because(
            false,
            format!(
                "the CPU quota grants {:.2} of {} cores, neighbours would choose the same ones",
                quota.value,
                cores.allowed.len()
            ),
        ),
    }
}

pub(super) fn read_node(
    args: &RunArgs,
    around: &Surroundings<'_>,
) -> Result<Setting<PathBuf>, SettingsError> {
    let typed = args.processes.node.as_deref();
    let search_path = (around.env)("PATH").unwrap_or_default();
    let value = find_node(typed, &search_path, &around.current_folder)
        .map_err(|error| SettingsError::NoNode { why: error.to_string() })?;
    let source = match typed {
        Some(_) => Source::Option,
        None => Source::DefaultBecause("node in PATH".to_owned()),
    };
    Ok(Setting { value, source })
}
