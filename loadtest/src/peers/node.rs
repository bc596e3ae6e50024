//! Node alone: the app as its author starts it.
//!
//! Owns: starting the app by plain `node`, on TCP or on a unix socket for a front.

use std::process::{Command, Stdio};

use super::Running;
use crate::Outcome;
use crate::place::{Cores, spawn_on};
use crate::process::{Folder, Owned, free_port};
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
pub(super) fn start(scenario: &Scenario, cores: Cores) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let app = spawn_app(scenario, cores, &folder, &port.to_string())?;
    Ok(Running {
        address: ([127, 0, 0, 1], port).into(),
        front: Vec::new(),
        workers: vec![app.pid()],
        processes: vec![app],
        _folder: folder,
    })
}

/// Starts the app on a port or a socket path.
pub(super) fn spawn_app(
    scenario: &Scenario,
    cores: Cores,
    folder: &Folder,
    listen: &str,
) -> Outcome<Owned> {
    let preload = folder.write("loopback-only.cjs", LOOPBACK_ONLY)?;
    let mut command = Command::new("node");
    command.arg("--require").arg(preload).arg(scenario.script());
    command.current_dir(&scenario.folder);
    command.env("PORT", listen).env("NODE_ENV", "production");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    spawn_on(cores.worker, &mut command).map(Owned::new)
}
