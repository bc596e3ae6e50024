//! The listening sockets: for clients (TCP, unix) and for the workers' channels.
//!
//! Owns: their order when they are handed to the proxy, and the removal of socket files. Must never know: accepting. They live in the
//! supervisor, so that clients queue in the kernel while a proxy is replaced. Called by `run`. How a socket is made is in `sockets`,
//! what becomes of the channels when a proxy follows another in `channels`.

mod channels;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::channels::Channels;
pub(crate) use self::sockets::{bind_anew, bind_file, bind_packets};
use self::sockets::{clear_stale, explain_tcp, open_tcp};
use crate::address::ListenAddress;
use crate::passed_fd::PassedFd;
use crate::runtime_dir::RuntimeDir;

/// Like a TCP port of this machine, a unix socket for clients is open to every local user; the
/// rights of its folder narrow that down.
const CLIENT_SOCKET_MODE: u32 = 0o666;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}")]
pub(crate) struct ListenError {
    address: String,
    why: String,
}

/// All listening sockets of the instance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listeners {
    /// Addresses with their real ports.
    pub(crate) names: Vec<String>,
    /// Port of the first TCP listener.
    pub(crate) port: Option<u16>,
    /// In the order in which the proxy expects them; see `ProxySetup`.
    pub(crate) fds: Vec<PassedFd>,
    /// Paths of the channel listeners, one per shard.
    pub(crate) channels: Vec<PathBuf>,
    /// The channel listeners of a proxy that shall follow.
    successor: Option<Channels>,
    /// How many sets of channel listeners there have been.
    sets: u32,
    /// Paths of earlier sets, which lead to those of today; the last ones.
    earlier: VecDeque<Vec<PathBuf>>,
    /// Socket files outside of the runtime directory, with their inode.
    files: Vec<(PathBuf, u64)>,
}

impl Listeners {
    /// Opens everything or nothing.
    pub(crate) fn open(
        addresses: &[ListenAddress],
        shards: u32,
        dir: &RuntimeDir,
    ) -> Result<Self, ListenError> {
        let mut listeners = Self {
            names: Vec::new(),
            port: None,
            fds: Vec::new(),
            channels: Vec::new(),
            successor: None,
            sets: 1,
            earlier: VecDeque::new(),
            files: Vec::new(),
        };
        let opened = listeners.open_all(addresses, shards, dir);
        if opened.is_err() {
            listeners.remove_files();
        }
        opened.map(|()| listeners)
    }

    /// From now on the kernel refuses new clients, whoever else holds these sockets: a load balancer sees at
    /// once that it must go elsewhere, instead of waiting in a queue that nobody empties. The workers'
    /// channels stay: requests in flight need them.
    pub(crate) fn refuse_clients(&self) {
        let clients = self.fds.len() - self.channels.len();
        for fd in &self.fds[..clients] {
            let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Both);
        }
    }

    /// Removes the socket files that are still ours.
    pub(crate) fn remove_files(&self) {
        for (path, inode) in &self.files {
            if std::fs::metadata(path).is_ok_and(|facts| facts.ino() == *inode) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn open_all(
        &mut self,
        addresses: &[ListenAddress],
        shards: u32,
        dir: &RuntimeDir,
    ) -> Result<(), ListenError> {
        for (index, address) in addresses.iter().enumerate() {
            let fails = |why: String| ListenError { address: address.to_string(), why };
            if addresses[..index].contains(address) && address.port() != Some(0) {
                return Err(fails("the address is given twice".to_owned()));
            }
            match address {
                ListenAddress::Tcp(wanted) => {
                    let (real, sockets) = open_tcp(*wanted, shards)
                        .map_err(|error| fails(explain_tcp(*wanted, &error)))?;
                    self.port.get_or_insert(real.port());
                    self.names.push(real.to_string());
                    self.fds.extend(sockets.into_iter().map(PassedFd::from));
                }
                ListenAddress::Unix(path) => {
                    let socket = self.open_client_file(path).map_err(fails)?;
                    self.names.push(address.to_string());
                    self.push_copies(socket, shards).map_err(|error| fails(error.to_string()))?;
                }
            }
        }
        for shard in 0..shards {
            let path = dir.channel_socket(shard);
            let socket = bind_file(&path, 0o600).map_err(|error| ListenError {
                address: format!("unix:{}", path.display()),
                why: error.to_string(),
            })?;
            self.fds.push(socket.into());
            self.channels.push(path);
        }
        Ok(())
    }

    fn open_client_file(&mut self, path: &Path) -> Result<OwnedFd, String> {
        clear_stale(path)?;
        let socket = bind_file(path, CLIENT_SOCKET_MODE).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "its folder does not exist".to_owned(),
            io::ErrorKind::PermissionDenied => "no right to create it in its folder".to_owned(),
            _ => error.to_string(),
        })?;
        if let Ok(facts) = std::fs::metadata(path) {
            self.files.push((path.to_owned(), facts.ino()));
        }
        Ok(socket)
    }

    /// Unix sockets have no SO_REUSEPORT: all shards accept from the same one.
    fn push_copies(&mut self, socket: OwnedFd, shards: u32) -> io::Result<()> {
        for _ in 1..shards {
            self.fds.push(socket.try_clone()?.into());
        }
        self.fds.push(socket.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::channels::EARLIER_MAX;
    use super::*;

    fn scratch(name: &str) -> RuntimeDir {
        let path =
            std::env::temp_dir().join(format!("hostler-listen-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        RuntimeDir::acquire(&path, "web").expect("free")
    }

    fn any_port() -> ListenAddress {
        "127.0.0.1:0".parse().expect("address")
    }

    #[test]
    fn every_shard_gets_its_sockets_in_the_documented_order() {
        let dir = scratch("order");
        let file = dir.path().join("clients.sock");
        let addresses = [any_port(), ListenAddress::Unix(file.clone())];
        let listeners = Listeners::open(&addresses, 3, &dir).expect("opened");
        assert_eq!(listeners.fds.len(), 3 + 3 + 3);
        let port = listeners.port.expect("tcp");
        assert_eq!(
            listeners.names,
            [format!("127.0.0.1:{port}"), format!("unix:{}", file.display())]
        );
        for (index, fd) in listeners.fds.iter().enumerate() {
            let socket = socket2::SockRef::from(fd);
            let address = socket.local_addr().expect("bound");
            match index {
                0..3 => assert_eq!(address.as_socket().expect("tcp").port(), port),
                3..6 => assert_eq!(address.as_pathname(), Some(file.as_path())),
                _ => assert_eq!(address.as_pathname(), Some(&*listeners.channels[index - 6])),
            }
        }
        let mode = std::fs::metadata(&listeners.channels[0]).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600);
        listeners.remove_files();
        assert!(!file.exists());
        dir.remove();
    }

    #[test]
    fn a_port_in_use_is_noticed_although_ports_are_shared() {
        let dir = scratch("busy");
        let held = Listeners::open(&[any_port()], 1, &dir).expect("opened");
        let wanted: ListenAddress = held.names[0].parse().expect("address");
        std::fs::remove_file(&held.channels[0]).expect("removed");
        let error = Listeners::open(&[wanted], 1, &dir).expect_err("in use").to_string();
        let me = format!("cannot listen on {}: the port is in use by", held.names[0]);
        assert!(error.starts_with(&me), "{error}");
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        dir.remove();
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = scratch("unix");
        let file = dir.path().join("app.sock");
        let living = UnixListener::bind(&file).expect("bound");
        let address = [ListenAddress::Unix(file.clone())];
        let error = Listeners::open(&address, 1, &dir).expect_err("in use").to_string();
        assert!(error.contains("in use by another process"), "{error}");
        drop(living);
        Listeners::open(&address, 1, &dir).expect("replaced").remove_files();
        std::fs::write(&file, "data").expect("written");
        let error = Listeners::open(&address, 1, &dir).expect_err("a file").to_string();
        assert!(error.contains("not a socket"), "{error}");
        std::fs::remove_file(&file).expect("removed");
        dir.remove();
    }

    #[test]
    fn names_of_earlier_channels_lead_to_those_of_today() {
        let dir = scratch("names");
        let mut listeners = Listeners::open(&[any_port()], 2, &dir).expect("opened");
        let first = listeners.channels.clone();
        let inode = |path: &Path| std::fs::metadata(path).map(|facts| facts.ino()).ok();
        for round in 0..EARLIER_MAX + 2 {
            let fds = listeners.open_successor(&dir).expect("opened");
            assert_eq!(fds.len(), 2 + 2);
            let next = listeners.successor_channels().expect("there").to_vec();
            assert!(!listeners.channels.iter().any(|path| next.contains(path)));
            // Every other one does not make it.
            let fails = round % 2 == 1;
            if fails {
                listeners.drop_successor()
            } else {
                listeners.crown()
            }
            assert_eq!(listeners.channels == next, !fails);
            let is_kept = round < EARLIER_MAX;
            for (old, today) in first.iter().zip(&listeners.channels) {
                assert_eq!(inode(old), inode(today).filter(|_| is_kept), "round {round}");
            }
        }
        assert_eq!(listeners.fds.len(), 2 + 2);
        listeners.remove_files();
        dir.remove();
    }
}
