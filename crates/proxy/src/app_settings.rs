//! What the app's own server says about time-outs and limits, and what becomes of it.
//!
//! Owns: the precedence (the operator's word, then the app's, then our default) and the bounds: every wait has an end, so
//! Node's 0 for "never" is the longest time that an operator could choose. Must never know: how the app says it (SETTINGS of
//! `docs/worker-protocol.md`), what the values lead to. Called by the shard.

use hostler_protocol::control::{AppLimits, Typed};
use hostler_protocol::http1::{HEAD_BYTES_CAP, HeadLimits};
use hostler_protocol::worker;

use crate::settings::Settings;

/// The longest times, as for `--idle-timeout` and `--head-timeout`.
const IDLE_MS_MAX: u64 = 24 * 3_600_000;
const HEAD_MS_MAX: u64 = 3_600_000;
/// The smallest head that an operator could ask for; less would refuse every browser.
const HEAD_BYTES_MIN: u64 = 1_024;

/// The settings in effect once an app has spoken. What it does not mention is ours.
pub fn with_app(base: &Settings, told: &worker::Settings) -> Settings {
    let Typed { head_ms_max, idle_ms_max, head_bytes_max } = base.typed;
    let mut settings = base.clone();
    if let Some(ms) = told.keep_alive_ms.filter(|_| !idle_ms_max) {
        settings.idle_ms_max = bounded_ms(ms, IDLE_MS_MAX);
        // A promise to the client that we keep.
        settings.announces_idle = ms != 0 && ms <= IDLE_MS_MAX;
    }
    if let Some(ms) = told.headers_ms.filter(|_| !head_ms_max) {
        settings.head_ms_max = bounded_ms(ms, HEAD_MS_MAX);
    }
    if let Some(ms) = told.request_ms.filter(|ms| *ms != 0) {
        settings.request_ms_max = ms;
    }
    if let Some(bytes) = told.header_bytes_max.filter(|bytes| *bytes != 0 && !head_bytes_max) {
        settings.head_limits = head_limits(bytes, base.head_limits);
    }
    settings.client_error = told.client_error;
    settings.requests_per_connection_max = told.requests_per_connection_max.filter(|max| *max > 0);
    settings
}

/// What is not as it would be without the app, for people.
pub fn in_effect(base: &Settings, settings: &Settings) -> AppLimits {
    let changed = |value: u64, before: u64| (value != before).then_some(value);
    let bytes = settings.head_limits.head_bytes_max;
    AppLimits {
        idle_ms_max: changed(settings.idle_ms_max, base.idle_ms_max),
        head_ms_max: changed(settings.head_ms_max, base.head_ms_max),
        request_ms_max: changed(settings.request_ms_max, base.request_ms_max),
        head_bytes_max: (bytes != base.head_limits.head_bytes_max).then_some(bytes),
        requests_per_connection_max: settings.requests_per_connection_max,
        client_error: settings.client_error,
    }
}

fn bounded_ms(ms: u64, longest: u64) -> u64 {
    if ms == 0 { longest } else { ms.min(longest) }
}

/// Node counts target, names and values; we count the head as it is, so a little less fits. It has no limit of its own for
/// the target, and whoever wants larger heads may want them for that.
fn head_limits(bytes: u64, base: HeadLimits) -> HeadLimits {
    let head_bytes_max = bytes.clamp(HEAD_BYTES_MIN, HEAD_BYTES_CAP.into()) as u32;
    let grown = head_bytes_max > base.head_bytes_max;
    let target_bytes_max = if grown { head_bytes_max } else { base.target_bytes_max };
    HeadLimits { head_bytes_max, target_bytes_max, ..base }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(typed: Typed) -> Settings {
        Settings {
            typed,
            takes_offers: false,
            idle_ms_max: 75_000,
            head_ms_max: 10_000,
            head_limits: HeadLimits::default(),
            ..Settings::for_exec()
        }
    }

    fn told() -> worker::Settings {
        worker::Settings {
            keep_alive_ms: Some(65_000),
            headers_ms: Some(20_000),
            request_ms: Some(30_000),
            header_bytes_max: Some(32_768),
            client_error: true,
            requests_per_connection_max: Some(100),
        }
    }

    #[test]
    fn the_operator_then_the_app_then_we() {
        let ours = base(Typed::default());
        let silent = with_app(&ours, &worker::Settings::default());
        assert_eq!(format!("{silent:?}"), format!("{ours:?}"));

        let app = with_app(&ours, &told());
        assert_eq!(
            (app.idle_ms_max, app.head_ms_max, app.request_ms_max),
            (65_000, 20_000, 30_000)
        );
        assert_eq!(app.head_limits.head_bytes_max, 32_768);
        assert!(app.announces_idle && app.client_error);
        assert_eq!(app.requests_per_connection_max, Some(100));

        let shown = AppLimits {
            idle_ms_max: Some(65_000),
            head_ms_max: Some(20_000),
            request_ms_max: Some(30_000),
            head_bytes_max: Some(32_768),
            requests_per_connection_max: Some(100),
            client_error: true,
        };
        assert_eq!(in_effect(&ours, &app), shown);
        assert_eq!(in_effect(&ours, &silent), AppLimits::default());

        let all = Typed { head_ms_max: true, idle_ms_max: true, head_bytes_max: true };
        let operator = with_app(&base(all), &told());
        assert_eq!((operator.idle_ms_max, operator.head_ms_max), (75_000, 10_000));
        assert_eq!(operator.head_limits, HeadLimits::default());
        assert!(!operator.announces_idle && operator.client_error);
    }

    #[test]
    fn every_wait_has_an_end_and_every_head_fits() {
        let zero = worker::Settings {
            keep_alive_ms: Some(0),
            headers_ms: Some(0),
            request_ms: Some(0),
            header_bytes_max: Some(0),
            requests_per_connection_max: Some(0),
            ..worker::Settings::default()
        };
        let never = with_app(&base(Typed::default()), &zero);
        assert_eq!((never.idle_ms_max, never.head_ms_max), (86_400_000, 3_600_000));
        assert_eq!(never.request_ms_max, u64::MAX, "silence has a limit of its own");
        assert!(!never.announces_idle);
        assert_eq!(never.head_limits, HeadLimits::default());
        assert_eq!(never.requests_per_connection_max, None);

        let huge = worker::Settings {
            keep_alive_ms: Some(u64::MAX),
            headers_ms: Some(u64::MAX),
            header_bytes_max: Some(u64::MAX),
            ..worker::Settings::default()
        };
        let bounded = with_app(&base(Typed::default()), &huge);
        assert_eq!((bounded.idle_ms_max, bounded.head_ms_max), (86_400_000, 3_600_000));
        assert_eq!(bounded.head_limits.head_bytes_max, HEAD_BYTES_CAP);
        assert_eq!(bounded.head_limits.target_bytes_max, HEAD_BYTES_CAP);
        assert!(!bounded.announces_idle, "we do not keep that promise");
    }
}
