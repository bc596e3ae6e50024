//! The time-outs.
//!
//! Owns: their defaults and ranges. Must never know: what happens when one ends. Used by `settings`.

use super::typed::AsTyped;
use super::value::{Named, Setting, SettingsError};
use crate::config_file::Typed;
use crate::config_file::keys::Duration;

/// Anything shorter is a slip of the unit.
pub(crate) const SHORTEST_MS: u32 = 100;
/// Longest time for what somebody waits for.
pub(crate) const HOUR_MS: u32 = 3_600_000;
pub(super) const DAY_MS: u32 = 24 * HOUR_MS;
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
    pub(crate) probation_ms: Setting<u32>,
    pub(crate) drain_ms_max: Setting<u32>,
    pub(crate) websocket_drain_ms_max: Setting<u32>,
}

impl Times {
    pub(super) fn read(all: &AsTyped<'_>) -> Result<Self, SettingsError> {
        let (typed, server, app) = (&all.args.times, &all.file.server, &all.file.app);
        let read = |name: &str,
                    typed: &Option<String>,
                    key: &Option<Typed<Duration>>,
                    default: u32,
                    longest: u32| {
            let range = SHORTEST_MS..=longest;
            let chosen =
                all.read(name, typed.as_deref(), key.as_ref(), |text| text.duration_ms(&range))?;
            Ok::<_, SettingsError>(Setting::chosen_or(chosen, default))
        };
        let request_timeout =
            |text: Named<'_>| text.or_none(|text| text.duration_ms(&(SHORTEST_MS..=DAY_MS)));
        let request = typed.request_timeout.as_deref();
        let request =
            all.read("--request-timeout", request, app.request_timeout.as_ref(), request_timeout)?;
        let hang_after = |text: Named<'_>| match text.text.trim() {
            "off" => Ok(None),
            _ => text.duration_ms(&(HANG_MS_LEAST..=HOUR_MS)).map(Some),
        };
        let hang = typed.hang_after.as_deref();
        let hang = all.read("--hang-after", hang, app.hang_after.as_ref(), hang_after)?;
        let start = hostler_spawner::START_MS_MAX;
        let stop = hostler_spawner::STOP_MS_MAX;
        let reload = hostler_spawner::ReloadSpec::default();
        let (probation, drain, websocket) =
            (reload.probation_ms, reload.drain_ms_max, reload.websocket_drain_ms_max);
        #[rustfmt::skip]
        let times = Self {
            head_ms_max: read("--head-timeout", &typed.head_timeout, &server.head_timeout, 10_000, HOUR_MS)?,
            idle_ms_max: read("--idle-timeout", &typed.idle_timeout, &server.idle_timeout, 75_000, DAY_MS)?,
            client_silence_ms_max: read("--client-timeout", &typed.client_timeout, &server.client_timeout, 60_000, DAY_MS)?,
            worker_silence_ms_max: read("--worker-timeout", &typed.worker_timeout, &app.worker_timeout, 60_000, DAY_MS)?,
            answer_ms_max: Setting::chosen_or(request, None),
            hang_ms_max: Setting::chosen_or(hang, Some(10_000)),
            start_ms_max: read("--start-timeout", &typed.start_timeout, &app.start_timeout, start, HOUR_MS)?,
            stop_ms_max: read("--stop-timeout", &typed.stop_timeout, &app.stop_timeout, stop, HOUR_MS)?,
            probation_ms: read("--probation", &typed.probation, &app.probation, probation, HOUR_MS)?,
            drain_ms_max: read("--drain-timeout", &typed.drain_timeout, &app.drain_timeout, drain, HOUR_MS)?,
            websocket_drain_ms_max: read("--websocket-drain", &typed.websocket_drain, &app.websocket_drain, websocket, DAY_MS)?,
        };
        Ok(times)
    }
}
