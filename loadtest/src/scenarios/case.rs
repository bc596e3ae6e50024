//! Variants of a scenario: the same app and load, with one thing changed.
//!
//! Owns: their form in the file. Must never know: how a variant is brought about.

use serde::Deserialize;

/// One variant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// For targets and tables; empty where a scenario has no variants.
    pub(crate) name: String,
    /// Keep-alive connections of the load generator.
    pub(crate) connections: Option<u32>,
    /// Processes of the app.
    pub(crate) workers: Option<u32>,
    /// What else goes on.
    pub(crate) beside: Option<Beside>,
}

/// Other clients, beside the load.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Beside {
    /// Kept connections that are silent after one request.
    Idle { connections: u32 },
    /// Clients that read a large answer slowly.
    SlowReaders { clients: u32, target: String, answer_bytes: u64, bytes_per_second: u64 },
    /// Clients that send a large body byte by byte.
    SlowWriters { clients: u32, target: String, body_bytes: u64, pause_ms: u64 },
}
