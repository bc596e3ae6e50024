//! How a worker is started: its arguments and its environment.
//!
//! Owns: the command line, the `HOSTLER_WORKER` variable of `docs/worker-protocol.md`, and what is
//! kept from our own environment. Must never know: how processes are made. Called by `children`,
//! and by `run` for the command as shown in reports.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hostler_protocol::control::{Transport, WorkerId};
use serde::Serialize;

use crate::config::AppSpec;

/// The report pipe's number in a worker; see `exec`.
const REPORT_FD: u32 = 3;

/// Version of the worker protocol.
const PROTOCOL: u32 = 2;

/// Variables that speak about our own process and would mislead a child: Node would take itself for
/// a cluster worker, or speak to systemd in our name.
pub(crate) const ENV_REMOVED: &[&str] = &[
    "HOSTLER_WORKER",
    "NODE_UNIQUE_ID",
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// What is different for each worker process.
#[derive(Debug)]
pub(crate) struct WorkerFacts<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) slot: u32,
    pub(crate) parent_pid: u32,
    pub(crate) channels: &'a [PathBuf],
    pub(crate) plain: &'a Path,
    /// Port of the first TCP listener.
    pub(crate) port: Option<u16>,
    /// `NODE_ENV` of our own environment is kept.
    pub(crate) node_env_is_set: bool,
}

#[derive(Serialize)]
struct WorkerVariable<'a> {
    protocol: u32,
    parent_pid: u32,
    worker: WorkerId,
    app: &'a str,
    slot: u32,
    transport: Transport,
    channels: &'a [PathBuf],
    plain: &'a Path,
    report_fd: u32,
}

/// The arguments behind `node`.
pub(crate) fn args(app: &AppSpec, loader_dir: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        vec!["--require".into(), loader_dir.join(hostler_loader::ENTRY).into_os_string()];
    args.extend(app.node_args.iter().map(OsString::from));
    args.push(app.script.clone().into_os_string());
    args.extend(app.args.iter().map(OsString::from));
    args
}

/// The variables on top of our own environment. Of two entries with one name the later one holds.
pub(crate) fn env(app: &AppSpec, facts: &WorkerFacts<'_>) -> Vec<(OsString, OsString)> {
    let variable = WorkerVariable {
        protocol: PROTOCOL,
        parent_pid: facts.parent_pid,
        worker: facts.worker,
        app: &app.name,
        slot: facts.slot,
        transport: app.transport,
        channels: facts.channels,
        plain: facts.plain,
        report_fd: REPORT_FD,
    };
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    if !facts.node_env_is_set {
        env.push(("NODE_ENV".into(), "production".into()));
    }
    if let Some(port) = facts.port {
        env.push(("PORT".into(), port.to_string().into()));
    }
    env.extend(app.env.iter().map(|(name, value)| (name.into(), value.into())));
    env.push(("NODE_APP_INSTANCE".into(), facts.slot.to_string().into()));
    let json = serde_json::to_string(&variable).unwrap_or_default();
    env.push(("HOSTLER_WORKER".into(), json.into()));
    env
}

/// The command line as a person would type it, for reports; without our own `--require`.
pub(crate) fn shown(app: &AppSpec) -> String {
    let node = app.node.display().to_string();
    let script = app.script.display().to_string();
    let words = std::iter::once(&node).chain(&app.node_args).chain([&script]).chain(&app.args);
    words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> AppSpec {
        AppSpec {
            name: "web".into(),
            script: "/srv/my app.js".into(),
            cwd: "/srv".into(),
            args: vec!["--verbose".into()],
            node: "node".into(),
            node_args: vec!["--max-old-space-size=256".into()],
            env: vec![("PORT".into(), "1".into()), ("NODE_APP_INSTANCE".into(), "9".into())],
            workers: 1,
            transport: Transport::Frames,
        }
    }

    #[test]
    fn the_command_line_is_as_documented() {
        let args = args(&app(), Path::new("/run/h/loader"));
        let expected = [
            "--require",
            "/run/h/loader/preload.cjs",
            "--max-old-space-size=256",
            "/srv/my app.js",
            "--verbose",
        ];
        assert_eq!(args, expected);
        assert_eq!(shown(&app()), "node --max-old-space-size=256 '/srv/my app.js' --verbose");
    }

    #[test]
    fn the_worker_variable_is_as_documented() {
        let facts = WorkerFacts {
            worker: WorkerId(7),
            slot: 0,
            parent_pid: 41,
            channels: &["/run/hostler/shard.0.sock".into()],
            plain: Path::new("/run/hostler/web.0.7.sock"),
            port: Some(3000),
            node_env_is_set: false,
        };
        let env = env(&app(), &facts);
        let last = |name: &str| {
            let found = env.iter().rev().find(|entry| entry.0 == name).expect(name);
            found.1.to_str().expect("text").to_owned()
        };
        let value: serde_json::Value = serde_json::from_str(&last("HOSTLER_WORKER")).expect("json");
        let expected = serde_json::json!({
            "protocol": 2, "parent_pid": 41, "worker": 7, "app": "web", "slot": 0,
            "transport": "frames", "channels": ["/run/hostler/shard.0.sock"],
            "plain": "/run/hostler/web.0.7.sock", "report_fd": 3,
        });
        assert_eq!(value, expected);
        assert_eq!(last("PORT"), "1", "the user's own value wins");
        assert_eq!(last("NODE_APP_INSTANCE"), "0", "except for the slot");
        assert_eq!(last("NODE_ENV"), "production");
    }
}
