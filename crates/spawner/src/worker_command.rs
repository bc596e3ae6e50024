//! How a worker is started: its program, its arguments and its environment.
//!
//! Owns: the command line, the `HOSTLER_WORKER` variable of `docs/worker-protocol.md`, and what is
//! kept from our own environment. Must never know: how processes are made. Called by `launch`,
//! and by the loop for the command as shown in reports.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use hostler_protocol::control::{Transport, WorkerId};
use hostler_protocol::worker::PROTOCOL_VERSION;
use serde::{Deserialize, Serialize};

use crate::config::{AppSpec, HangSpec, Launch, ReadySpec};
use crate::runtime_dir::WorkerFolder;

/// The report pipe's number in a worker; see `exec`.
const REPORT_FD: u32 = 3;

/// The first connected channel's, if there are any.
const CHANNEL_FD: u32 = 4;

/// What runs a command line.
const SHELL: &str = "/bin/sh";

/// Number of workers of the app.
const WORKERS: &str = "HOSTLER_WORKERS";

/// Number of the worker's generation.
const GENERATION: &str = "HOSTLER_GENERATION";

/// Half the time after which a worker that hangs is killed: then it says where.
const HANG: &str = "HOSTLER_HANG_MS";

/// `message`: the app says when it is ready.
const READY: &str = "HOSTLER_READY";

/// Set for one worker of the app, for what must be done once.
const LEADER: &str = "HOSTLER_LEADER";

/// Variables that speak about our own process and would mislead a child: Node would take itself for
/// a cluster worker, or speak to systemd in our name.
pub(crate) const ENV_REMOVED: &[&str] =
    ENV_REMOVED_COMMAND.split_at(ENV_REMOVED_COMMAND.len() - 1).0;

/// The same for a command, and the last one only there: gunicorn and uvicorn read WEB_CONCURRENCY too, and each of our workers
/// would start as many processes as there are workers.
pub(crate) const ENV_REMOVED_COMMAND: &[&str] = &[
    "HOSTLER_WORKER",
    crate::hand_over::VARIABLE,
    WORKERS,
    GENERATION,
    LEADER,
    HANG,
    READY,
    "NODE_UNIQUE_ID",
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WEB_CONCURRENCY",
];

/// Where a command may listen; of its own for each process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// `$SOCKET`.
    pub(crate) socket: PathBuf,
    /// `$PORT`, of 127.0.0.1.
    pub(crate) port: u16,
}

/// What a Node process below a command needs to become the worker.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) folder: &'a WorkerFolder,
    pub(crate) loader_dir: &'a Path,
    /// `NODE_OPTIONS` of our own environment.
    pub(crate) node_options: Option<OsString>,
}

impl Claim<'_> {
    /// The option for Node that brings the loader in. Node takes words in double quotes, with backslashes before both
    /// (`ParseNodeOptionsEnvVar` in src/node_options.cc).
    fn option(&self) -> String {
        let path = self.loader_dir.join(hostler_loader::ENTRY).display().to_string();
        format!("--require \"{}\"", path.replace('\\', r"\\").replace('"', "\\\""))
    }
}

/// What is different for each worker process.
#[derive(Debug)]
pub(crate) struct WorkerFacts<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) slot: u32,
    /// Which release of the app it is of: counts the generations of this instance, from 1.
    pub(crate) generation: u32,
    pub(crate) parent_pid: u32,
    pub(crate) channels: &'a [PathBuf],
    /// How many of them, from the first one on, are connected already.
    pub(crate) channels_connected: usize,
    pub(crate) plain: &'a Path,
    /// Port of the first TCP listener.
    pub(crate) port: Option<u16>,
    /// For a command: where it may listen.
    pub(crate) offer: Option<Offer>,
    /// For a command whose Node processes may become workers over frames: how.
    pub(crate) claim: Option<Claim<'a>>,
    /// `PATH` of our own environment.
    pub(crate) search_path: Option<&'a OsStr>,
    /// `NODE_ENV` of our own environment is kept.
    pub(crate) node_env_is_set: bool,
}

#[derive(Serialize)]
struct WorkerVariable<'a> {
    protocol: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_pid: Option<u32>,
    worker: WorkerId,
    app: &'a str,
    slot: u32,
    transport: Transport,
    channels: &'a [PathBuf],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channel_fds: Vec<u32>,
    plain: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_fd: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alive_fd: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alive: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    option: Option<String>,
}

/// The program to execute.
pub(crate) fn program(app: &AppSpec) -> PathBuf {
    match &app.launch {
        Launch::Script { node, .. } => node.clone(),
        Launch::Command { .. } => SHELL.into(),
    }
}

/// The arguments behind the program.
pub(crate) fn args(app: &AppSpec, loader_dir: &Path) -> Vec<OsString> {
    match &app.launch {
        Launch::Script { node_args, script, args, .. } => {
            let mut all: Vec<OsString> =
                vec!["--require".into(), loader_dir.join(hostler_loader::ENTRY).into_os_string()];
            all.extend(node_args.iter().map(OsString::from));
            all.push(script.clone().into_os_string());
            all.extend(args.iter().map(OsString::from));
            all
        }
        Launch::Command { line, .. } => vec!["-c".into(), exec_line(line).into()],
    }
}

/// The variables on top of our own environment. Of two entries with one name the later one holds.
pub(crate) fn env(app: &AppSpec, facts: &WorkerFacts<'_>) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    if !facts.node_env_is_set {
        env.push(("NODE_ENV".into(), "production".into()));
    }
    match (&app.launch, &facts.offer) {
        (Launch::Command { bin_folders, .. }, Some(offer)) => {
            env.push(("HOST".into(), "127.0.0.1".into()));
            env.push(("PORT".into(), offer.port.to_string().into()));
            env.push(("SOCKET".into(), offer.socket.clone().into_os_string()));
            env.extend(search_path(bin_folders, facts.search_path));
        }
        _ => env.extend(facts.port.map(|port| ("PORT".into(), port.to_string().into()))),
    }
    let own = app.env.iter().filter(|(name, _)| name != LEADER);
    env.extend(own.map(|(name, value)| (name.into(), value.into())));
    env.push(("NODE_APP_INSTANCE".into(), facts.slot.to_string().into()));
    env.push((WORKERS.into(), app.workers.to_string().into()));
    env.push((GENERATION.into(), facts.generation.to_string().into()));
    if facts.slot == 0 {
        env.push((LEADER.into(), "1".into()));
    }
    if let Some(HangSpec { after_ms, stack: true }) = app.hang {
        env.push((HANG.into(), (after_ms / 2).to_string().into()));
    }
    if app.ready == ReadySpec::Message {
        env.push((READY.into(), "message".into()));
    }
    if let Some(claim) = &facts.claim {
        let set_by_app = env.iter().rev().find(|(name, _)| name == "NODE_OPTIONS");
        let own = set_by_app.map(|(_, value)| value).or(claim.node_options.as_ref());
        let mut options = own.cloned().unwrap_or_default();
        if !options.is_empty() {
            options.push(" ");
        }
        options.push(claim.option());
        env.push(("NODE_OPTIONS".into(), options));
    }
    if matches!(app.launch, Launch::Script { .. }) || facts.claim.is_some() {
        env.push(("HOSTLER_WORKER".into(), worker_variable(app, facts).into()));
    }
    env
}

fn worker_variable(app: &AppSpec, facts: &WorkerFacts<'_>) -> String {
    let variable = WorkerVariable {
        protocol: PROTOCOL_VERSION,
        parent_pid: facts.claim.is_none().then_some(facts.parent_pid),
        worker: facts.worker,
        app: &app.name,
        slot: facts.slot,
        transport: app.transport,
        channels: facts.channels,
        channel_fds: (CHANNEL_FD..).take(facts.channels_connected).collect(),
        plain: facts.plain,
        report_fd: facts.claim.is_none().then_some(REPORT_FD),
        alive_fd: facts.claim.is_none().then(|| CHANNEL_FD + facts.channels_connected as u32),
        report: facts.claim.as_ref().map(|claim| claim.folder.report()),
        claim: facts.claim.as_ref().map(|claim| claim.folder.claim()),
        alive: facts.claim.as_ref().map(|claim| claim.folder.alive()),
        option: facts.claim.as_ref().map(Claim::option),
    };
    serde_json::to_string(&variable).unwrap_or_default()
}

/// `PATH` with these folders in front.
fn search_path(folders: &[PathBuf], own: Option<&OsStr>) -> Option<(OsString, OsString)> {
    if folders.is_empty() {
        return None;
    }
    let rest = own.map(std::env::split_paths).into_iter().flatten();
    let joined = std::env::join_paths(folders.iter().cloned().chain(rest)).ok()?;
    Some(("PATH".into(), joined))
}

/// Has the shell become the program, where the line is one simple command: signals then reach the app itself, and its pid is
/// the worker's. Newer shells do that of their own accord. Whatever a shell has to stay for is left to it.
fn exec_line(line: &str) -> String {
    const SPECIAL: &str = "|&;<>(){}`\n#!";
    const BUILT_IN: &[&str] = &[
        ".", ":", "[", "alias", "break", "builtin", "case", "cd", "command", "continue", "declare",
        "do", "done", "echo", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export",
        "false", "fi", "for", "function", "if", "let", "local", "printf", "pushd", "popd", "read",
        "readonly", "return", "select", "set", "shift", "source", "test", "then", "time", "trap",
        "true", "type", "typeset", "ulimit", "umask", "unset", "until", "wait", "while",
    ];
    let first = line.split_whitespace().next().unwrap_or_default();
    let simple = !line.contains(|c| SPECIAL.contains(c))
        && !first.is_empty()
        && !first.contains('=')
        && !BUILT_IN.contains(&first);
    if simple { format!("exec {line}") } else { line.to_owned() }
}

/// The command line as a person would type it, for reports; without our own `--require`.
pub(crate) fn shown(app: &AppSpec) -> String {
    match &app.launch {
        Launch::Script { node, node_args, script, args } => {
            let node = node.display().to_string();
            let script = script.display().to_string();
            let words = std::iter::once(&node).chain(node_args).chain([&script]).chain(args);
            words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
        }
        Launch::Command { line, .. } => line.clone(),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
