//! The options about which worker gets a request.
//!
//! Owns: their names and help. Must never know: what a value means. Part of `args`.

use clap::{Args, ValueEnum};

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Routing")]
pub(crate) struct RoutingArgs {
    /// Requests that belong together go to one worker.
    ///
    /// cookie: a client comes back to the worker that answered it first, by a cookie. socket.io: the polling and the WebSocket of a
    /// Socket.IO (or Engine.IO) session go to the worker that opened it, without any cookie. both: both. A worker that is
    /// gone or hangs is never waited for, a full one for half of --queue-timeout; then another one serves. Default: off.
    #[arg(long, value_name = "off|cookie|socket.io|both", hide_possible_values = true)]
    pub(crate) sticky: Option<StickyArg>,

    /// Name of that cookie: 1 to 32 letters, digits, _, . and -. Default: hostler_route.
    ///
    /// Cookies do not tell ports apart: two instances on one host need two names.
    #[arg(long, value_name = "NAME")]
    pub(crate) sticky_cookie: Option<String>,

    /// How long a request that has killed or hung two workers is refused with 503. off, or 1s to 24h. Default: 5m.
    ///
    /// The same request: method, target and length of the body. It is logged once.
    #[arg(long, value_name = "TIME|off")]
    pub(crate) quarantine: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StickyArg {
    /// Requests are balanced one by one.
    Off,
    /// By a cookie.
    Cookie,
    /// By the session in the target.
    #[value(name = "socket.io")]
    SocketIo,
    /// By both.
    Both,
}
