//! Phusion Passenger Standalone with its builtin engine.
//!
//! Owns: starting it as its manual advises for Node: production environment, a pool of a fixed size, in the background;
//! no error pages, no checks for updates, no telemetry. The front is the watchdog, the core (the HTTP server, router
//! and process manager) and a keeper of its temporary folder. The core spawns the workers: Passenger's loader in
//! Node, which puts the unmodified app on a unix socket. Upgrades need no setting. Called by `peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Running, daemon};
use crate::Outcome;
use crate::family::{children_of, describe};
use crate::machine::ask;
use crate::place::Layout;
use crate::process::{Folder, Owned, free_port, wait_for};
use crate::scenarios::Scenario;

/// Longest wait for the keeper's pid.
const KEEPER_MAX: Duration = Duration::from_secs(5);

/// Starts the watchdog, which starts the rest.
pub(super) fn start(scenario: &Scenario, layout: Layout) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let pid_file = folder.path().join("passenger.pid");
    let mut command = Command::new("passenger");
    command.arg("start").arg(&scenario.folder);
    command.args(["--engine", "builtin", "--daemonize", "--environment", "production"]);
    command.args(["--address", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--max-request-queue-size", "0"]);
    command.args(["--app-type", "node", "--startup-file"]).arg(scenario.script());
    // By its name alone it would take the system's, whichever is first in PATH.
    command.args(["--nodejs", &ask("node", &["-p", "process.execPath"])]);
    let workers = layout.workers().to_string();
    command.args(["--min-instances", &workers, "--max-pool-size", &workers]);
    // Its threads by default are as many as the machine has cores; its manual counts those that it may use.
    command.args(["--ctl", &format!("controller_threads={}", layout.front_threads())]);
    // Its own first request comes from a script that may still run when others ask; ours start the app as well.
    command.args(["--ctl", "prestart_urls=[]"]);
    command.args(["--no-friendly-error-pages", "--disable-security-update-check"]);
    command.arg("--disable-anonymous-telemetry");
    command.arg("--pid-file").arg(&pid_file);
    command.arg("--log-file").arg(folder.path().join("passenger.log"));
    command.arg("--instance-registry-dir").arg(folder.path());
    // What its manual has an app listen on that passes a path.
    command.env("PORT", "passenger").env("NODE_ENV", "production");
    command.env("TMPDIR", folder.path());
    let watchdog = daemon::launch(layout.front(), &mut command, &folder, &pid_file)?;
    let mut processes = vec![watchdog];
    // It writes its pid a little later than the watchdog.
    let keeper = wait_for(KEEPER_MAX, || folder_keeper(folder.path()));
    processes.extend(keeper.map(Owned::adopt));
    Ok(Running::new(port, layout, folder, processes))
}

/// Watchdog, keeper and core; the app's processes, as soon as they listen.
pub(super) fn processes(roots: &[u32], folder: &Path) -> (Vec<u32>, Vec<u32>) {
    let cores: Vec<u32> = roots.iter().flat_map(|&pid| children_of(pid)).collect();
    let below = cores.iter().flat_map(|&pid| children_of(pid));
    let workers: Vec<u32> =
        below.filter(|&pid| describe(pid).contains("Passenger NodeApp")).collect();
    let front = roots.iter().copied().chain(cores).collect();
    let listening = sockets(folder).len() >= workers.len();
    (front, if listening { workers } else { Vec::new() })
}

/// A process that only touches the temporary folder, so that cleaners of `/tmp` leave it alone; a daemon of its own.
fn folder_keeper(folder: &Path) -> Option<u32> {
    let file = inside(folder, "passenger-standalone.")?.join("temp_dir_toucher.pid");
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// What the app's processes listen on.
fn sockets(folder: &Path) -> Vec<PathBuf> {
    let apps = inside(folder, "passenger.").map(|instance| instance.join("apps.s"));
    let entries = apps.and_then(|apps| fs::read_dir(apps).ok()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The one folder whose name begins so.
fn inside(folder: &Path, start: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.find(|path| {
        path.is_dir()
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
    })
}
