//! When a worker is replaced by a fresh one.
//!
//! Owns: ranges of these limits, and that they fit each other. Must never know: how a worker is replaced. Used by `settings`.

use super::times::DAY_MS;
use super::typed::AsTyped;
use super::value::{Named, Setting, SettingsError};

/// Node alone takes more than half of it.
const MEMORY_BYTES_LEAST: u64 = 64 << 20;
const MEMORY_BYTES_LARGEST: u64 = 1 << 44;
const AGE_MS_LEAST: u32 = 1_000;
/// Longest age that fits; 49 days.
const AGE_MS_LONGEST: u32 = 49 * DAY_MS;

/// Answers of one worker.
pub(crate) const REQUESTS_MOST: u32 = u32::MAX;

/// The limits; none is no limit.
#[derive(Debug)]
pub(crate) struct Recycling {
    pub(crate) memory_bytes_max: Setting<Option<u64>>,
    pub(crate) memory_bytes_hard: Setting<Option<u64>>,
    pub(crate) age_ms_max: Setting<Option<u32>>,
    pub(crate) requests_max: Setting<Option<u32>>,
}

impl Recycling {
    pub(super) fn read(all: &AsTyped<'_>) -> Result<Self, SettingsError> {
        let (typed, app) = (&all.args.recycle, &all.file.app);
        let memory = |text: Named<'_>| {
            text.or_none(|text| text.size_bytes(&(MEMORY_BYTES_LEAST..=MEMORY_BYTES_LARGEST)))
        };
        let age = |text: Named<'_>| {
            text.or_none(|text| text.duration_ms(&(AGE_MS_LEAST..=AGE_MS_LONGEST)))
        };
        let count = |text: Named<'_>| text.count_or("none", &(1..=REQUESTS_MOST));
        let soft = typed.max_memory.as_deref();
        let soft = all.read("--max-memory", soft, app.max_memory.as_ref(), memory)?;
        let soft = Setting::chosen_or(soft, None);
        // A hard limit at or below the other one would kill what should be replaced in peace.
        let above = |text: Named<'_>| match (memory(text)?, soft.value) {
            (Some(hard), Some(soft)) if hard <= soft => {
                Err(text.expected("more than max-memory".to_owned()))
            }
            (hard, _) => Ok(hard),
        };
        let hard = typed.max_memory_hard.as_deref();
        let hard = all.read("--max-memory-hard", hard, app.max_memory_hard.as_ref(), above)?;
        let old = all.read("--max-age", typed.max_age.as_deref(), app.max_age.as_ref(), age)?;
        let requests = typed.max_requests.as_deref();
        let requests = all.read("--max-requests", requests, app.max_requests.as_ref(), count)?;
        Ok(Self {
            memory_bytes_max: soft,
            memory_bytes_hard: Setting::chosen_or(hard, None),
            age_ms_max: Setting::chosen_or(old, None),
            requests_max: Setting::chosen_or(requests, None),
        })
    }
}
