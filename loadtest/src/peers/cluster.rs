//! Node's own cluster: a primary that forks the app.
//!
//! Owns: starting it as the manual of `node:cluster` shows, with its default scheduling (round-robin). The primary
//! is the front: it accepts each connection and hands its descriptor to a worker, which does everything else. The
//! app is the unmodified script. Called by `peers`.

use std::process::{Command, Stdio};

use super::{Running, node};
use crate::Outcome;
use crate::family::children_of;
use crate::place::{Layout, spawn_on};
use crate::process::{Folder, Owned, free_port};
use crate::scenarios::Scenario;

const PRIMARY: &str = include_str!("cluster.cjs");

/// Starts the primary.
pub(super) fn start(scenario: &Scenario, layout: Layout) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let (primary, preload) = (folder.write("cluster.cjs", PRIMARY)?, node::loopback_only(&folder)?);
    let mut command = Command::new("node");
    command.arg(primary).arg(scenario.script()).arg(layout.workers().to_string()).arg(preload);
    command.current_dir(&scenario.folder);
    command.env("PORT", port.to_string()).env("NODE_ENV", "production");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let primary = Owned::new(spawn_on(layout.front(), &mut command)?);
    Ok(Running::new(port, layout, folder, vec![primary]))
}

/// The primary, and the workers below it.
pub(super) fn processes(primary: u32) -> (Vec<u32>, Vec<u32>) {
    (vec![primary], children_of(primary))
}
