//! Hostler: the release binary of this repository.
//!
//! Owns: its command line and finding its processes by `hostler status --json`. Called by `peers`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::Running;
use crate::Outcome;
use crate::machine::repository;
use crate::place::Layout;
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

/// Starts `hostler run` with a shard per worker.
pub(super) fn start(
    scenario: &Scenario,
    layout: Layout,
    io: &str,
    transport: &str,
) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let runtime_dir = folder.path().join("run");
    let mut command = Command::new(binary());
    command.arg("run").arg(&scenario.folder);
    command.args(["--workers", &layout.workers().to_string()]);
    command.args(["--shards", &layout.front_threads().to_string()]);
    command.args(["--io", io, "--transport", transport]);
    if layout.workers() > 1 {
        // Nobody is pinned where several workers share the cores with the load.
        command.args(["--pin", "off"]);
    }
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
    let wanted = layout.workers() as usize;
    let found = wait_for(Duration::from_secs(20), || {
        supervisor.ended().map(Err).or_else(|| processes(&runtime_dir, wanted).map(Ok))
    });
    let found = match found {
        Some(Ok(found)) => found,
        Some(Err(status)) => {
            let log =
                std::fs::read_to_string(folder.path().join("hostler.log")).unwrap_or_default();
            return Err(format!("hostler ended: {status}\n{log}"));
        }
        None => return Err("hostler does not become ready".to_owned()),
    };
    // A worker whose loader does not trust itself goes on over http, which is not what was asked for.
    if let Some(other) = found.transports.iter().find(|other| *other != transport) {
        return Err(format!("a worker's transport is {other}"));
    }
    let front = vec![found.proxy, supervisor.pid()];
    Ok(Running::new(port, layout, folder, vec![supervisor]).with(front, found.workers))
}

/// What the instance says of itself.
struct Found {
    proxy: u32,
    workers: Vec<u32>,
    transports: Vec<String>,
}

/// The proxy and the workers, once all are ready.
fn processes(runtime_dir: &Path, wanted: usize) -> Option<Found> {
    let mut command = Command::new(binary());
    command.args(["status", "--json", "--runtime-dir"]).arg(runtime_dir);
    let output =
        command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    let workers = status["workers"].as_array()?;
    if workers.len() != wanted || workers.iter().any(|worker| worker["state"] != "ready") {
        return None;
    }
    let pid = |value: &Value| value.as_u64().and_then(|pid| u32::try_from(pid).ok());
    let transport = |worker: &Value| worker["transport"].as_str().map(str::to_owned);
    Some(Found {
        proxy: pid(&status["proxy_pid"])?,
        workers: workers.iter().map(|worker| pid(&worker["pid"])).collect::<Option<_>>()?,
        transports: workers.iter().map(transport).collect::<Option<_>>()?,
    })
}
