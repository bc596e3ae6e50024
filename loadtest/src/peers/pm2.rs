//! PM2 in cluster mode.
//!
//! Owns: starting it as its manual advises for Node on several cores: `pm2 start server.js -i N`, everything else by
//! default. The daemon (`God Daemon`) is the primary of a Node cluster and so the front: it accepts each connection
//! and hands it to a worker, watches the workers and collects their logs and metrics. The workers load PM2's
//! container and its agent before the unmodified app. Called by `peers`.

use std::process::Command;

use super::{Running, daemon, node};
use crate::Outcome;
use crate::family::children_of;
use crate::place::Layout;
use crate::process::{Folder, free_port};
use crate::scenarios::Scenario;

/// Starts the daemon and the app in it, both with a home folder of their own.
pub(super) fn start(scenario: &Scenario, layout: Layout) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let home = folder.path().join("pm2");
    let preload = node::loopback_only(&folder)?;
    let mut command = pm2(&folder);
    command.arg("start").arg(scenario.script()).args(["--name", "app"]);
    command.arg("-i").arg(layout.workers().to_string());
    command.arg(format!("--node-args=--require {}", preload.display()));
    command.current_dir(&scenario.folder);
    command.env("PORT", port.to_string()).env("NODE_ENV", "production");
    let daemon = daemon::launch(layout.front(), &mut command, &folder, &home.join("pm2.pid"))?;
    Ok(Running::new(port, layout, folder, vec![daemon]))
}

/// The daemon, and the workers that it forked.
pub(super) fn processes(daemon: u32) -> (Vec<u32>, Vec<u32>) {
    (vec![daemon], children_of(daemon))
}

/// Its version; `None` if it is not installed. Only with `--` behind it, `-v` answers without starting a daemon.
pub(super) fn version() -> Option<String> {
    let folder = Folder::new().ok()?;
    let output = pm2(&folder).args(["-v", "--"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    last.map(|version| format!("pm2 {}", version.trim()))
}

/// PM2 keeps its state in a home folder; nothing of it should stay behind or come from elsewhere.
fn pm2(folder: &Folder) -> Command {
    let mut command = Command::new("pm2");
    command.env("PM2_HOME", folder.path().join("pm2")).env("PM2_DISABLE_VERSION_CHECK", "true");
    command
}
