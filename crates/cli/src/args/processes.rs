//! The options about the processes of an instance: how many, of what kind, on which cores, when they are ready.
//!
//! Owns: their names and help. Must never know: what a value means. Part of `args`.

use std::path::PathBuf;

use clap::Args;

use super::{IoArg, Switch, TransportArg};

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Processes")]
pub(crate) struct ProcessArgs {
    /// Processes of the app: 1 to 512, a range like 2..8, or auto.
    ///
    /// In a range the number follows the load: more when the event loops are busy for over 80 % of the time or requests wait,
    /// one fewer when the others would be busy for less than half of it for a minute. auto is one per usable core (CPU affinity, cpuset and cgroup quota count). More than that helps only if
    /// the app blocks its event loop. Default: $WEB_CONCURRENCY or auto.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<String>,

    /// Start no worker before the first request.
    ///
    /// The request waits for it: for --start-timeout and then, as always, --queue-timeout. If the app does not start it gets
    /// 503 at once, and the next request tries again, with growing pauses. Default: off.
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub(crate) lazy: Option<Switch>,

    /// Stop all workers when nobody has used the app for so long; the next request starts them again. off, or 1s to 24h.
    ///
    /// An open WebSocket is use, and so is a health check that the app answers. Default: off.
    #[arg(long, value_name = "TIME|off")]
    pub(crate) idle_stop: Option<String>,

    /// Proxy threads: 1 to 256, or auto.
    ///
    /// auto is one per usable core. One shard serves several workers; fewer shards leave more CPU to
    /// the app. Default: auto.
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<String>,

    /// How the proxy does its I/O.
    ///
    /// auto uses io_uring if its self-test passes here, else epoll, and says why. uring fails with exit code 1
    /// instead of falling back. epoll is the choice for containers that refuse io_uring. Default: auto.
    #[arg(long, value_name = "BACKEND")]
    pub(crate) io: Option<IoArg>,

    /// How requests reach the workers.
    ///
    /// frames hands them to Node already parsed, many at a time: the fast way. http sends them as HTTP/1.1
    /// over a unix socket or a port: the way of all that is not Node, and the way out if an app behaves differently over
    /// frames. Default: frames.
    #[arg(long, value_name = "WAY")]
    pub(crate) transport: Option<TransportArg>,

    /// Bind each shard and each worker to a core.
    ///
    /// Turn it off when several instances share the machine. Default: on, except when a CPU quota grants
    /// fewer cores than there are: other containers would choose the same ones.
    #[arg(long, value_name = "on|off")]
    pub(crate) pin: Option<Switch>,

    /// The Node binary: a path, or a name that is looked up in PATH.
    ///
    /// Node 20 to 25 take requests as frames; other versions fall back to http. With a command its folder comes first in
    /// PATH. Default: node.
    #[arg(long, value_name = "PATH")]
    pub(crate) node: Option<PathBuf>,

    /// When a worker gets requests: listen, message, or a path.
    ///
    /// listen: as soon as it accepts connections. message: when the app has called process.send('ready') as well (PM2's
    /// wait_ready). A path like /health: when it answers GET with success (200 to 399); it is
    /// asked again and again until --start-timeout. Default: listen.
    #[arg(long, value_name = "listen|message|/PATH")]
    pub(crate) ready: Option<String>,

    /// Find out where a worker hangs, before it is killed for that (--hang-after).
    ///
    /// A thread in each worker watches its event loop and tells the JavaScript stack; it takes 10 to 20 MiB. Default: on.
    #[arg(long, value_name = "on|off")]
    pub(crate) hang_stack: Option<Switch>,

    /// New workers that a reload starts beside the old ones at a time: 1 to 512, or all.
    ///
    /// all needs the memory of twice the workers for a while, and takes a bad release back without starting anything again.
    /// Default: all.
    #[arg(long, value_name = "N")]
    pub(crate) max_surge: Option<String>,
}
