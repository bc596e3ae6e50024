//! The time-outs.
//!
//! Owns: their names and help. Must never know: their defaults and what a value means. Part of `args`.

use clap::Args;

/// Durations need a unit: ms, s, m or h.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Time-outs (with a unit: 500ms, 10s, 2m, 1h)")]
pub(crate) struct TimeArgs {
    /// Time for a client to send a whole request head; then 408. 100ms to 1h. Default: 10s.
    #[arg(long, value_name = "TIME")]
    pub(crate) head_timeout: Option<String>,

    /// How long an idle keep-alive connection stays open. 100ms to 24h. Default: 75s.
    ///
    /// Keep it above the idle time of a load balancer in front (AWS ALB: 60s, Google: 600s), else the
    /// balancer sends requests into closing connections.
    #[arg(long, value_name = "TIME")]
    pub(crate) idle_timeout: Option<String>,

    /// Longest silence of a client that sends a body or takes an answer. 100ms to 24h. Default: 60s.
    #[arg(long, value_name = "TIME")]
    pub(crate) client_timeout: Option<String>,

    /// Longest silence of the app while an answer is due; then 504. 100ms to 24h. Default: 60s.
    ///
    /// Raise it for long polling and for slow reports.
    #[arg(long, value_name = "TIME")]
    pub(crate) worker_timeout: Option<String>,

    /// Time from a whole request head to the end of the answer's head; then 504. none, or 100ms to 24h. Default: none.
    ///
    /// The app sees the client leave. Streams whose head is out may go on. A request that has only waited in the queue gets 503.
    #[arg(long, value_name = "TIME|none")]
    pub(crate) request_timeout: Option<String>,

    /// Silence of a worker's event loop after which it hangs. off, or 2s to 1h. Default: 10s.
    ///
    /// Its clients get 504, or are cut off in the middle of an answer. Requests avoid a silent worker long before, after 0.35s. Only
    /// over frames. off is for debuggers.
    #[arg(long, value_name = "TIME|off")]
    pub(crate) hang_after: Option<String>,

    /// Time for a worker to start and listen. 100ms to 1h. Default: 60s.
    #[arg(long, value_name = "TIME")]
    pub(crate) start_timeout: Option<String>,

    /// Whole time of a graceful stop; what still runs then is killed. 100ms to 1h. Default: 10s.
    ///
    /// Keep it below the patience of what stops Hostler (Docker: 10s, Kubernetes: 30s).
    #[arg(long, value_name = "TIME")]
    pub(crate) stop_timeout: Option<String>,

    /// A reload is taken back if a new worker crashes within this time. 100ms to 1h. Default: 3s.
    ///
    /// The old workers stay in memory for so long, ready to take over again.
    #[arg(long, value_name = "TIME")]
    pub(crate) probation: Option<String>,

    /// Time of old workers for the requests they have when a reload replaces them. 100ms to 1h. Default: 30s.
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_timeout: Option<String>,

    /// How long WebSockets stay at old workers after a reload. 100ms to 24h. Default: 2m.
    ///
    /// Then they are closed one after the other with code 1012 (service restart), so that clients connect again.
    #[arg(long, value_name = "TIME")]
    pub(crate) websocket_drain: Option<String>,
}
