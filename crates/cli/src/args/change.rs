//! The options of the verbs that change a running instance or tell what has changed.
//!
//! Owns: their names and help. Must never know: what they do. Part of `args`.

use std::path::PathBuf;

use clap::Args;

use super::InstanceArgs;

pub(super) const RELOAD_NOTES: &str = "\
What happens: settings, package.json and links such as `current` are read anew; all new
workers are started beside the old ones; when all are ready they take the requests, while
old ones finish theirs. If a new worker does not start, or crashes on probation
(run --probation), the old ones go on as if nothing had been, and reload prints why and
exits with 1. Listening addresses, shards and limits change only with a restart.

SIGHUP to the supervisor and `touch tmp/restart.txt` in the app's folder do the same.

Exit codes:
  0   all workers run the new release
  1   it was taken back, or could not be begun
  69  no instance runs
  78  a setting is wrong";

#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,

    /// Only so many of the last ones.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,

    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ReloadArgs {
    /// Name of the app; only needed to be sure that it is this one.
    pub(crate) app: Option<String>,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

pub(super) const UPGRADE_NOTES: &str = "\
What happens: the new program's proxy is started beside the old one and takes the listeners
over, the workers connect to it, then the supervisor becomes the new program, in the same
process: the pid stays, and systemd and Docker notice nothing. The workers run on, untouched.
The old proxy finishes its requests and WebSockets (run --drain-timeout, --websocket-drain). If
anything fails on the way, the old program serves on, and upgrade prints why and exits with 1.

Typed with the new program (`/opt/hostler-2/hostler upgrade`, or `hostler upgrade` after the
file was replaced) it needs no argument. SIGUSR2 to the supervisor takes the file from which
it was started.

Exit codes:
  0   the new program serves
  1   nothing has changed
  69  no instance runs
  78  there is no such program, or a setting is wrong";

#[derive(Args, Debug)]
pub(crate) struct UpgradeArgs {
    /// The new program. Default: the one that is typed here.
    pub(crate) program: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ScaleArgs {
    /// The number of workers (4), or a change of it (+1, -2); the name of the app may stand before it.
    #[arg(value_name = "N|+N|-N", allow_negative_numbers = true)]
    pub(crate) first: String,

    /// The number of workers (4), or a change of it (+1, -2).
    #[arg(hide = true, allow_negative_numbers = true)]
    pub(crate) second: Option<String>,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// What a verb takes that changes an instance.
#[derive(Args, Debug)]
pub(crate) struct ChangeArgs {
    /// How long to wait for the end, 100ms to 1h. Default: 5m.
    ///
    /// The change itself goes on when the waiting is over.
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,

    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
}
