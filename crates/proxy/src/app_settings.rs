//! What the app's own server says about time-outs and limits, and what becomes of it.
//!
//! Owns: the precedence (the operator's word, then the app's, then our default) and the bounds: every wait has an end, so
//! Node's 0 for "never" is the longest time that an operator could choose. Must never know: how the app says it (SETTINGS of
//! `docs/worker-protocol.md`), what the values lead to. Called by the shard.

use hostler_protocol::control::Typed;
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
