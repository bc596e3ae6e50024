//! The command line: what can be typed and the help that explains it.
//!
//! Owns: names, help texts and the shape of the options. Must never know: what a value means; numbers, sizes
//! and durations stay text here and are read by `settings`, so that a bad value is reported the same way
//! whether it was typed or came from the environment. Used by `main`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod change;
mod config;
mod exec;
mod processes;
mod recycle;
mod routing;
mod times;

pub(crate) use change::{ChangeArgs, EventsArgs, ReloadArgs, ScaleArgs, UpgradeArgs};
use change::{RELOAD_NOTES, UPGRADE_NOTES};
pub(crate) use config::{ConfigArgs, ConfigVerb, ConfigVerbArgs};
pub(crate) use exec::ExecArgs;
pub(crate) use processes::ProcessArgs;
pub(crate) use recycle::RecycleArgs;
pub(crate) use routing::{RoutingArgs, StickyArg};
pub(crate) use times::TimeArgs;

/// Exit codes, at the end of every `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0   clean end
  1   the app or the proxy failed, or `doctor` found a failure
  2   the command line is not understood
  69  an address cannot be bound, or no instance runs
  78  a setting is wrong (also in a file), or there is no app at PATH";

const RUN_EXAMPLES: &str = "\
Examples:
  hostler run                                 the app in this folder, on 127.0.0.1:3000
  hostler run server.js --listen 8080         one file, on 127.0.0.1:8080
  hostler run --listen 0.0.0.0:80 --listen unix:/run/shop.sock
  hostler run . --workers 4 --shards 1 -- --config prod.json
  hostler run --command 'npm start'           whatever starts the app
  hostler run --command 'uvicorn app:app --uds $SOCKET'
  hostler run /srv/shop --command 'gunicorn --bind 127.0.0.1:$PORT shop:app'
  hostler run -c /etc/hostler/shop.toml       what the file says
  hostler run -c shop.toml --workers 2        an option overrules the file

The file: FILE of --config, else hostler.toml in the folder PATH (without PATH, or if PATH is a
file: in the current folder), else /etc/hostler/hostler.toml if there is no PATH, no --command
and no app here. An option overrules an environment variable, that overrules the file. Each
option but --config is a key of the same name there; docs/configuration.md has them all, and
`hostler config show` prints the settings in effect as such a file.

What is started: the `main` of package.json, else its `scripts.start` (the file itself if
that is `node FILE [args]`, else the line as with --command), else server.js, app.js or
index.js (also .cjs and .mjs).
A folder is run in that folder, a file in the current one, as `node FILE` would.

Which core does what (with --pin on): when there are enough usable cores, each shard and
each worker has one of its own, shards from the low cores, workers from the high ones.
Otherwise shard i and worker i share core i, and numbers beyond the last core start again
at the first.

Logs go to stderr; HOSTLER_LOG=debug shows more, NO_COLOR turns colours off.

Exit codes:
  0   clean end
  1   the app or the proxy failed
  2   the command line is not understood
  69  an address cannot be bound
  78  a setting is wrong (also in a file), or there is no app at PATH";

/// Serves a Node.js app: HTTP front, load balancer and process manager in one program.
///
/// `hostler run` starts the app and serves it; the app needs no change. Logs go to stderr.
#[derive(Debug, Parser)]
#[command(name = "hostler", version, arg_required_else_help = true, after_help = EXIT_CODES)]
#[command(max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start an app and serve it until SIGTERM or SIGINT.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Run any command with the http servers of its Node processes behind the proxy.
    ///
    /// For `hostler exec -- npm test`: proves in a minute that an app behaves over frames as it does alone.
    #[command(after_help = exec::EXAMPLES)]
    Exec(ExecArgs),
    /// Show the settings `run` would use, where each comes from, and the memory they cost.
    ///
    /// Takes the options of `run`, starts nothing, and exits with 78 if a setting is wrong.
    #[command(after_help = EXIT_CODES)]
    Check(Box<RunArgs>),
    /// Print settings as a configuration file, or the JSON Schema of such files.
    #[command(after_help = EXIT_CODES)]
    Config(ConfigVerbArgs),
    /// Examine this machine: kernel, io_uring, limits, cores, Node.
    ///
    /// Each line is ok, warn or fail, with what to do about it. Exits with 1 if a line is fail.
    #[command(after_help = EXIT_CODES)]
    Doctor(DoctorArgs),
    /// Show the processes of a running instance and what they do.
    #[command(after_help = EXIT_CODES)]
    Status(StatusArgs),
    /// Show what happened lately: starts, deaths with their reasons, reloads, changes.
    ///
    /// The last 500 lines that the supervisor logged; the output of the app is in the log alone.
    #[command(after_help = EXIT_CODES)]
    Events(EventsArgs),
    /// Replace the workers by new ones, without losing a request.
    #[command(after_help = RELOAD_NOTES)]
    Reload(ReloadArgs),
    /// Go back to what ran before the last reload.
    ///
    /// The same as a reload, with the folder, arguments and environment of the release before; that folder must still
    /// be there.
    #[command(after_help = EXIT_CODES)]
    Rollback(ReloadArgs),
    /// Change the number of workers.
    ///
    /// New ones take requests as soon as they are ready; those that go finish what they have. SIGTTIN to the supervisor is
    /// one more, SIGTTOU one fewer.
    #[command(after_help = EXIT_CODES, override_usage = "hostler scale [OPTIONS] [APP] N|+N|-N")]
    Scale(ScaleArgs),
    /// Replace a running hostler by another version, without losing a request or touching a worker.
    #[command(after_help = UPGRADE_NOTES)]
    Upgrade(UpgradeArgs),
    /// Stop a running instance gracefully and wait until it is gone.
    #[command(after_help = EXIT_CODES)]
    Stop(StopArgs),
    /// The data plane process; started by the supervisor, never by hand.
    #[command(hide = true)]
    Proxy(ProxyArgs),
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RunArgs {
    /// Folder of the app, or its JavaScript file. Default: what the configuration file says, else this folder.
    ///
    /// A PATH takes the place of path, command and cwd in a file named with --config.
    pub(crate) path: Option<PathBuf>,

    /// Command that starts the app, in place of a script; run by /bin/sh in the folder PATH.
    ///
    /// For servers in any language and for `npm start`. Each worker process runs it once, with a unix socket of its own in
    /// $SOCKET, a free port in $PORT and 127.0.0.1 in $HOST; it is ready when it accepts connections on one of the two.
    /// A Node server below the command needs neither: it is found when it calls listen(), and is served over frames. The
    /// command stays in the foreground; folders node_modules/.bin come first in its PATH.
    #[arg(long, value_name = "CMD")]
    pub(crate) command: Option<String>,

    /// Arguments for the app or the command, behind `--`.
    #[arg(last = true, value_name = "APP_ARGS")]
    pub(crate) app_args: Vec<String>,

    /// Address to serve on; may be given several times.
    ///
    /// `127.0.0.1:3000`, `[::1]:3000`, `unix:/run/app.sock`, or a port alone. Port 0 lets the kernel choose.
    /// Default: $PORT or 3000 on $HOST or 127.0.0.1. Use 0.0.0.0 to be reached from other machines, for
    /// example in a container.
    #[arg(long, value_name = "ADDR", help_heading = "Where it listens")]
    pub(crate) listen: Vec<String>,

    #[command(flatten)]
    pub(crate) instance: InstanceArgs,

    #[command(flatten)]
    pub(crate) processes: ProcessArgs,

    #[command(flatten)]
    pub(crate) times: TimeArgs,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) routing: RoutingArgs,

    #[command(flatten)]
    pub(crate) recycle: RecycleArgs,

    /// File that gets one line per request; `-` is stdout.
    ///
    /// Combined format, or JSON lines with --log-format json. Lines are appended; a slow disk never slows requests.
    /// Default: no access log.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) access_log: Option<PathBuf>,

    /// Form of the logs on stderr and of the ready line on stdout.
    ///
    /// json writes one object a line, for log collectors. Default: text.
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Names the instance; every verb takes it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct InstanceArgs {
    /// Folder for the sockets of this instance; it names the instance.
    ///
    /// Give each instance its own. Default: $HOSTLER_RUNTIME_DIR, the configuration file, else /run/hostler for root,
    /// $XDG_RUNTIME_DIR/hostler or ~/.hostler/run for others. At most 61 characters, because socket paths
    /// are short.
    #[arg(long, value_name = "DIR", help_heading = "Instance")]
    pub(crate) runtime_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Bounds on everything a client or an app can make grow.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits (sizes in bytes or with K, M, G)")]
pub(crate) struct LimitArgs {
    /// Client connections per shard: 16 to 1000000.
    ///
    /// More wait in the kernel's queue. Default: 10000, or less if the limit of open files (RLIMIT_NOFILE)
    /// leaves less.
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<String>,

    /// Largest request head; then 431 or 414. 1K to 60K. Default: 16K.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_head_size: Option<String>,

    /// Largest request body; then 413. none, or 0 to 1024G. Default: none.
    ///
    /// Bodies are streamed and cost the proxy no memory; set it to protect the app.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_body_size: Option<String>,

    /// Requests per shard that wait while all workers are busy; then 503. 0 to 100000. Default: 1024.
    #[arg(long, value_name = "N")]
    pub(crate) max_queue: Option<String>,

    /// Longest wait in that queue; then 503. 10ms to 1h. Default: 10s.
    #[arg(long, value_name = "TIME")]
    pub(crate) queue_timeout: Option<String>,

    /// Requests in flight per worker and shard before others are preferred. auto, or 1 to 100000. Default: auto.
    ///
    /// auto follows the worker's event loop: no limit while it has time left, however many wait for a database or an event; while
    /// it is saturated, what it does in about a tenth of a second. The rest waits in the queue, where it can be refused. Over http
    /// nothing is known of the loop, and auto is no limit. An open WebSocket takes no place here; --max-connections bounds those.
    #[arg(long, value_name = "N")]
    pub(crate) worker_requests: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    /// The Node binary to examine. Default: node.
    #[arg(long, value_name = "PATH")]
    pub(crate) node: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// How long to wait for the end, 100ms to 1h. Default: 90s.
    ///
    /// The instance stops by its own --stop-timeout; this bounds only the waiting.
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,

    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    /// Form of the logs.
    #[arg(long)]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IoArg {
    /// io_uring if it works here, else epoll.
    Auto,
    /// io_uring, or fail.
    Uring,
    /// epoll.
    Epoll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportArg {
    /// Parsed requests, many at a time.
    Frames,
    /// HTTP/1.1 over a unix socket.
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_teaches() {
        for verb in Cli::command().get_subcommands() {
            for option in verb.get_arguments() {
                let help = option.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() > 15, "{} {}: {help:?}", verb.get_name(), option.get_id());
            }
        }
    }

    #[test]
    fn arguments_behind_the_dashes_are_the_apps() {
        let cli =
            Cli::parse_from(["hostler", "run", "app.js", "--workers", "2", "--", "--workers", "9"]);
        let Verb::Run(run) = cli.verb else { panic!("run was typed") };
        assert_eq!(run.path.as_deref(), Some(std::path::Path::new("app.js")));
        assert_eq!(run.processes.workers.as_deref(), Some("2"));
        assert_eq!(run.app_args, ["--workers", "9"]);
    }
}
