//! Node alone: the app as its author starts it.
//!
//! Owns: starting the app by plain `node`, on TCP or on unix sockets for a front. More processes than one are the
//! `cluster` peer's matter. Called by `peers` and by the fronts that stand before plain Node.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Running;
use crate::Outcome;
use crate::place::{Layout, spawn_on};
use crate::process::{Folder, Owned, free_port, wait_for};
use crate::scenarios::Scenario;

/// Apps usually listen on all interfaces; a load test should not be reachable from outside. Runs once, at
/// `listen`, and leaves the request path as it is.
const LOOPBACK_ONLY: &str = "\
const net = require('node:net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  if (!/^\\d+$/.test(String(port))) return listen.call(this, port, ...rest);
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, ...rest);
};
";

/// Starts `node server.js` on a port.
pub(super) fn start(scenario: &Scenario, layout: Layout) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let app = spawn_app(scenario, layout, &folder, &port.to_string())?;
    let workers = vec![app.pid()];
    Ok(Running::new(port, layout, folder, vec![app]).with(Vec::new(), workers))
}

/// Writes the script that every app on TCP is started with.
pub(super) fn loopback_only(folder: &Folder) -> Outcome<PathBuf> {
    folder.write("loopback-only.cjs", LOOPBACK_ONLY)
}

/// Longest wait until an app listens.
const LISTEN_MAX: Duration = Duration::from_secs(20);

/// Starts the app once per worker, each on a unix socket of its own, and waits until they listen: a front that finds
/// a backend dead leaves it out for a while.
pub(super) fn spawn_on_sockets(
    scenario: &Scenario,
    layout: Layout,
    folder: &Folder,
) -> Outcome<(Vec<Owned>, Vec<PathBuf>)> {
    let sockets: Vec<PathBuf> = (0..layout.workers())
        .map(|index| folder.path().join(format!("app.{index}.sock")))
        .collect();
    let mut apps = sockets
        .iter()
        .map(|socket| spawn_app(scenario, layout, folder, &socket.to_string_lossy()))
        .collect::<Outcome<Vec<_>>>()?;
    let listening = wait_for(LISTEN_MAX, || {
        if let Some(status) = apps.iter_mut().find_map(Owned::ended) {
            return Some(Err(format!("the app ended: {status}")));
        }
        sockets.iter().all(|socket| UnixStream::connect(socket).is_ok()).then_some(Ok(()))
    });
    listening.unwrap_or_else(|| Err("the app does not listen".to_owned()))?;
    Ok((apps, sockets))
}

/// Starts the app on a port or a socket path.
fn spawn_app(scenario: &Scenario, layout: Layout, folder: &Folder, listen: &str) -> Outcome<Owned> {
    let preload = loopback_only(folder)?;
    let mut command = Command::new("node");
    command.arg("--require").arg(preload).arg(scenario.script());
    command.current_dir(&scenario.folder);
    command.env("PORT", listen).env("NODE_ENV", "production");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    spawn_on(layout.worker(), &mut command).map(Owned::new)
}
