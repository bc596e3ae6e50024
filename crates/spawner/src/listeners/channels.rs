//! The workers' channels: where they connect to the proxy that serves, and to one that shall follow.
//!
//! Owns: the sets of channel listeners, and that earlier names lead to the set of today. Must never know: why a proxy follows another
//! (`supervisor::upgrade`). Part of `listeners`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::net::sockopt;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Listeners, bind_file};
use crate::passed_fd::PassedFd;
use crate::runtime_dir::RuntimeDir;

/// Sets of channel listeners whose names are kept.
pub(super) const EARLIER_MAX: usize = 4;

/// What the kernel may hold of a worker's answers; it doubles this. The usual 208 KiB in all are three large answers, and each
/// time they have gone both sides are woken; much more than this leaves the cache before the proxy reads it.
const CHANNEL_SEND_BYTES: usize = 256 * 1024;

/// Channel listeners of one proxy.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Channels {
    fds: Vec<PassedFd>,
    paths: Vec<PathBuf>,
}

impl Listeners {
    /// A connection to every shard for a new worker, with room for large answers: only its maker may ask for that, and Node
    /// does not. Nothing if one of them fails; the worker then connects by itself.
    pub(crate) fn connect_channels(&self) -> Vec<OwnedFd> {
        let connected: io::Result<Vec<OwnedFd>> =
            self.channels.iter().map(|path| connect_channel(path)).collect();
        connected.unwrap_or_else(|error| {
            tracing::debug!(%error, "the worker connects its channels by itself");
            Vec::new()
        })
    }

    /// Channel listeners for a proxy beside the one that serves, under names of their own; all descriptors that it gets.
    pub(crate) fn open_successor(&mut self, dir: &RuntimeDir) -> io::Result<Vec<OwnedFd>> {
        let mut channels = Channels { fds: Vec::new(), paths: Vec::new() };
        // A worker tells proxies apart by these names.
        self.sets += 1;
        for shard in 0..self.channels.len() {
            let path = dir.later_channel_socket(shard as u32, self.sets);
            channels.fds.push(bind_file(&path, 0o600)?.into());
            channels.paths.push(path);
        }
        let clients = self.fds.len() - self.channels.len();
        let fds = self.fds[..clients].iter().chain(&channels.fds);
        let copies = fds.map(PassedFd::try_clone).collect::<io::Result<_>>()?;
        self.successor = Some(channels);
        Ok(copies)
    }

    /// Where the workers reach the proxy that shall follow, if there is one.
    pub(crate) fn successor_channels(&self) -> Option<&[PathBuf]> {
        self.successor.as_ref().map(|channels| &*channels.paths)
    }

    /// The proxy that was to follow has done so.
    pub(crate) fn crown(&mut self) {
        let Some(successor) = self.successor.take() else { return };
        let clients = self.fds.len() - self.channels.len();
        self.fds.truncate(clients);
        self.fds.extend(successor.fds);
        let before = std::mem::replace(&mut self.channels, successor.paths);
        self.lead(before);
    }

    /// It has not.
    pub(crate) fn drop_successor(&mut self) {
        if let Some(successor) = self.successor.take() {
            self.lead(successor.paths);
        }
    }

    /// From now on these names lead to the channel listeners of today, for workers that know no other name: those that have not
    /// connected since. Who has not for several sets has failed to start.
    fn lead(&mut self, names: Vec<PathBuf>) {
        self.earlier.push_back(names);
        if self.earlier.len() > EARLIER_MAX {
            for name in self.earlier.pop_front().into_iter().flatten() {
                let _ = std::fs::remove_file(name);
            }
        }
        for names in &self.earlier {
            for (name, to) in names.iter().zip(&self.channels) {
                if let Err(error) = lead(name, to) {
                    let shown = name.display();
                    tracing::warn!(%error, name = %shown, "a channel's earlier name leads nowhere");
                    let _ = std::fs::remove_file(name);
                }
            }
        }
    }
}

/// Makes a name another one of a socket, in one step.
fn lead(name: &Path, to: &Path) -> io::Result<()> {
    // Two names of one socket already: renaming one to the other would do nothing and leave both.
    let same = |name: &Path| std::fs::metadata(name).map(|facts| facts.ino());
    if same(name).ok() == Some(same(to)?) {
        return Ok(());
    }
    let between = name.with_extension("link.sock");
    let _ = std::fs::remove_file(&between);
    std::fs::hard_link(to, &between)?;
    std::fs::rename(&between, name)
}

/// A connected socket; never waits.
fn connect_channel(path: &Path) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if sockopt::set_socket_send_buffer_size_force(&socket, CHANNEL_SEND_BYTES).is_err() {
        // Without CAP_NET_ADMIN as much as everybody may have (`net.core.wmem_max`).
        socket.set_send_buffer_size(CHANNEL_SEND_BYTES)?;
    }
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}
