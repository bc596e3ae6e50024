//! The time-outs.
//!
//! Owns: their defaults and ranges. Must never know: what happens when one ends. Used by `settings`.

use super::value::{Named, Setting, SettingsError, read_or};
use crate::args::TimeArgs;

/// Anything shorter is a slip of the unit.
pub(crate) const SHORTEST_MS: u32 = 100;
/// Longest time for what somebody waits for.
pub(crate) const HOUR_MS: u32 = 3_600_000;
const DAY_MS: u32 = 24 * HOUR_MS;
/// An idle worker says something once a second.
const HANG_MS_LEAST: u32 = 2_000;

/// The time-outs, in milliseconds.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) head_ms_max: Setting<u32>,
    pub(crate) idle_ms_max: Setting<u32>,
    pub(crate) client_silence_ms_max: Setting<u32>,
    pub(crate) worker_silence_ms_max: Setting<u32>,
    /// `None` is no limit.
    pub(crate) answer_ms_max: Setting<Option<u32>>,
    /// `None` is never.
    pub(crate) hang_ms_max: Setting<Option<u32>>,
    pub(crate) start_ms_max: Setting<u32>,
    pub(crate) stop_ms_max: Setting<u32>,
}

impl Times {
    pub(super) fn read(typed: &TimeArgs) -> Result<Self, SettingsError> {
        let read = |name: &str, typed: &Option<String>, default: u32, longest: u32| {
            read_or(name, typed.as_deref(), default, |text| {
                text.duration_ms(&(SHORTEST_MS..=longest))
            })
        };
        let request_timeout = |text: Named<'_>| match text.text.trim() {
            "none" => Ok(None),
            _ => text.duration_ms(&(SHORTEST_MS..=DAY_MS)).map(Some),
        };
        let request = typed.request_timeout.as_deref();
        let hang_after = |text: Named<'_>| match text.text.trim() {
            "off" => Ok(None),
            _ => text.duration_ms(&(HANG_MS_LEAST..=HOUR_MS)).map(Some),
        };
        let hang = typed.hang_after.as_deref();
        let start_default = hostler_spawner::START_MS_MAX;
        let stop_default = hostler_spawner::STOP_MS_MAX;
        Ok(Self {
            head_ms_max: read("--head-timeout", &typed.head_timeout, 10_000, HOUR_MS)?,
            idle_ms_max: read("--idle-timeout", &typed.idle_timeout, 75_000, DAY_MS)?,
            client_silence_ms_max: read("--client-timeout", &typed.client_timeout, 60_000, DAY_MS)?,
            worker_silence_ms_max: read("--worker-timeout", &typed.worker_timeout, 60_000, DAY_MS)?,
            answer_ms_max: read_or("--request-timeout", request, None, request_timeout)?,
            hang_ms_max: read_or("--hang-after", hang, Some(10_000), hang_after)?,
            start_ms_max: read("--start-timeout", &typed.start_timeout, start_default, HOUR_MS)?,
            stop_ms_max: read("--stop-timeout", &typed.stop_timeout, stop_default, HOUR_MS)?,
        })
    }
}
