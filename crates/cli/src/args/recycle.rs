//! The options that say when a worker is replaced by a fresh one.
//!
//! Owns: their names and help. Must never know: what a value means. Part of `args`.

use clap::Args;

/// Limits of one worker.
#[derive(Args, Clone, Debug, Default)]
#[command(
    next_help_heading = "Recycling (one worker at a time; a fresh one takes its place before it goes)"
)]
pub(crate) struct RecycleArgs {
    /// Memory of a worker; above it the worker is replaced. none, or 64M and more. Default: none.
    ///
    /// What counts is what would be free without it: pages that workers share (Node itself) count in shares. Looked at once a
    /// second.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<String>,

    /// Memory at which a worker is killed at once, with the requests in it. none, or more than --max-memory. Default: none.
    ///
    /// For leaks that are faster than a replacement, before the kernel's OOM killer picks somebody else.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory_hard: Option<String>,

    /// Age at which a worker is replaced. none, or 1s to 1176h. Default: none.
    ///
    /// Each worker takes up to a tenth less, so that they do not go together.
    #[arg(long, value_name = "TIME")]
    pub(crate) max_age: Option<String>,

    /// Answered requests after which a worker is replaced. none, or 1 and more. Default: none.
    #[arg(long, value_name = "N")]
    pub(crate) max_requests: Option<String>,
}
