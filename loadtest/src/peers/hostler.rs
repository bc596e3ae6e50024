//! Hostler: the release binary of this repository.
//!
//! Owns: its command line and finding its processes by `hostler status --json`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::Running;
use crate::Outcome;
use crate::machine::repository;
use crate::process::{Folder, Owned, free_port, wait_for};
use crate::scenarios::Scenario;

/// The binary beside this one: both are built into the same folder.
pub(super) fn binary() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("hostler"));
    beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| repository().join("target/release/hostler"))
}

/// What to do if this backend cannot run here.
pub(super) fn missing(io: &str) -> Option<String> {
    if !binary().exists() {
        return Some("cargo build --release".to_owned());
    }
    let disabled =
        std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let refused = io == "uring" && !matches!(disabled.trim(), "" | "0");
    refused.then(|| "sysctl -w kernel.io_uring_disabled=0".to_owned())
}

/// Starts `hostler run` with one shard and one worker.
pub(super) fn start(scenario: &Scenario, io: &str, transport: &str) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let runtime_dir = folder.path().join("run");
    let mut command = Command::new(binary());
    command.arg("run").arg(&scenario.folder);
    command.args(["--workers", "1", "--shards", "1", "--io", io, "--transport", transport]);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--log-format", "json"]);
    command.arg("--runtime-dir").arg(&runtime_dir);
    // Its own settings decide; what this shell happens to export must not.
    for name in ["PORT", "HOST", "WEB_CONCURRENCY", "NODE_ENV", "HOSTLER_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    let log =
        std::fs::File::create(folder.path().join("hostler.log")).map_err(|e| e.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut supervisor = Owned::new(command.spawn().map_err(|error| error.to_string())?);
    let found = wait_for(Duration::from_secs(20), || {
        supervisor.ended().map(Err).or_else(|| processes(&runtime_dir).map(Ok))
    });
    let (proxy, worker) = match found {
        Some(Ok(found)) if found.transport == transport => (found.proxy, found.worker),
        // A worker whose loader does not trust itself goes on over http, which is not what was asked for.
        Some(Ok(found)) => return Err(format!("the worker's transport is {}", found.transport)),
        Some(Err(status)) => {
            let log =
                std::fs::read_to_string(folder.path().join("hostler.log")).unwrap_or_default();
            return Err(format!("hostler ended: {status}\n{log}"));
        }
        None => return Err("hostler does not become ready".to_owned()),
    };
    Ok(Running {
        address: ([127, 0, 0, 1], port).into(),
        front: vec![proxy, supervisor.pid()],
        workers: vec![worker],
        processes: vec![supervisor],
        _folder: folder,
    })
}

/// What the instance says of itself.
struct Found {
    proxy: u32,
    worker: u32,
    transport: String,
}

/// The proxy and the ready worker.
fn processes(runtime_dir: &Path) -> Option<Found> {
    let mut command = Command::new(binary());
    command.args(["status", "--json", "--runtime-dir"]).arg(runtime_dir);
    let output =
        command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    let worker = &status["workers"][0];
    if worker["state"] != "ready" {
        return None;
    }
    let pid = |value: &Value| value.as_u64().and_then(|pid| u32::try_from(pid).ok());
    Some(Found {
        proxy: pid(&status["proxy_pid"])?,
        worker: pid(&worker["pid"])?,
        transport: worker["transport"].as_str()?.to_owned(),
    })
}
