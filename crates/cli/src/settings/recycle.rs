//! When a worker is replaced by a fresh one.
//!
//! Owns: ranges of these limits, and that they fit each other. Must never know: how a worker is replaced. Used by `settings`.

use super::times::DAY_MS;
use super::value::{Named, Setting, SettingsError, read_or};
use crate::args::RecycleArgs;

/// Node alone takes more than half of it.
const MEMORY_BYTES_LEAST: u64 = 64 << 20;
const MEMORY_BYTES_LARGEST: u64 = 1 << 44;
const AGE_MS_LEAST: u32 = 1_000;
/// Longest age that fits; 49 days.
const AGE_MS_LONGEST: u32 = 49 * DAY_MS;

/// The limits; none is no limit.
#[derive(Debug)]
pub(crate) struct Recycling {
    pub(crate) memory_bytes_max: Setting<Option<u64>>,
    pub(crate) memory_bytes_hard: Setting<Option<u64>>,
    pub(crate) age_ms_max: Setting<Option<u32>>,
    pub(crate) requests_max: Setting<Option<u32>>,
}

impl Recycling {
    pub(super) fn read(typed: &RecycleArgs) -> Result<Self, SettingsError> {
        let memory = |text: Named<'_>| {
            text.or_none(|text| text.size_bytes(&(MEMORY_BYTES_LEAST..=MEMORY_BYTES_LARGEST)))
        };
        let age = |text: Named<'_>| {
            text.or_none(|text| text.duration_ms(&(AGE_MS_LEAST..=AGE_MS_LONGEST)))
        };
        let requests = |text: Named<'_>| text.or_none(|text| text.count(&(1..=u32::MAX)));
        let read = Self {
            memory_bytes_max: read_or("--max-memory", typed.max_memory.as_deref(), None, memory)?,
            memory_bytes_hard: read_or(
                "--max-memory-hard",
                typed.max_memory_hard.as_deref(),
                None,
                memory,
            )?,
            age_ms_max: read_or("--max-age", typed.max_age.as_deref(), None, age)?,
            requests_max: read_or("--max-requests", typed.max_requests.as_deref(), None, requests)?,
        };
        read.check(typed)?;
        Ok(read)
    }

    /// A hard limit at or below the other one would kill what should be replaced in peace.
    fn check(&self, typed: &RecycleArgs) -> Result<(), SettingsError> {
        match (self.memory_bytes_max.value, self.memory_bytes_hard.value) {
            (Some(soft), Some(hard)) if hard <= soft => Err(SettingsError::BadValue {
                name: "--max-memory-hard".to_owned(),
                value: typed.max_memory_hard.clone().unwrap_or_default(),
                expected: "more than --max-memory".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}
