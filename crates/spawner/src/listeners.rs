//! The listening sockets: for clients (TCP, unix) and for the workers' channels.
//!
//! Owns: opening them so that an address in use is always noticed, their order when they are handed
//! to the proxy, and the removal of socket files. Must never know: accepting. They live in the
//! supervisor, so that clients queue in the kernel while a proxy is replaced. Called by `run`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::sockopt;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::ListenAddress;
use crate::passed_fd::PassedFd;
use crate::port_owner;
use crate::runtime_dir::RuntimeDir;

/// Connections the kernel queues per socket; it cuts this down to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Like a TCP port of this machine, a unix socket for clients is open to every local user; the
/// rights of its folder narrow that down.
const CLIENT_SOCKET_MODE: u32 = 0o666;

/// Sets of channel listeners whose names are kept.
const EARLIER_MAX: usize = 4;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}")]
pub(crate) struct ListenError {
    address: String,
    why: String,
}

/// What the kernel may hold of a worker's answers; it doubles this. The usual 208 KiB in all are three large answers, and each
/// time they have gone both sides are woken; much more than this leaves the cache before the proxy reads it.
const CHANNEL_SEND_BYTES: usize = 256 * 1024;

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

/// Channel listeners of one proxy.
#[derive(Debug, Serialize, Deserialize)]
struct Channels {
    fds: Vec<PassedFd>,
    paths: Vec<PathBuf>,
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

/// One socket per shard on the same port, and that port.
fn open_tcp(wanted: SocketAddr, shards: u32) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    if wanted.port() != 0 {
        // SO_REUSEPORT lets a second instance of the same user in without a word, and the two would
        // share the clients. A first bind without it is refused as long as anybody listens there.
        bind_tcp(wanted, false)?;
    }
    let first = bind_tcp(wanted, true)?;
    let real = first.local_addr()?.as_socket().unwrap_or(wanted);
    let mut sockets = vec![first];
    for _ in 1..shards {
        sockets.push(bind_tcp(real, true)?);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok((real, sockets.into_iter().map(OwnedFd::from).collect()))
}

fn bind_tcp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    // `Socket::new` sets CLOEXEC.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn explain_tcp(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => match port_owner::find(address.port()) {
            Some(owner) => format!("the port is in use by {owner}"),
            None => "the port is in use by another process".to_owned(),
        },
        io::ErrorKind::PermissionDenied => format!(
            "no right to use port {}; ports below 1024 need root, CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

/// The same for the command socket of a supervisor that has died: its file is still there.
pub(crate) fn bind_anew(path: &Path) -> io::Result<OwnedFd> {
    let _ = std::fs::remove_file(path);
    bind_file(path, 0o600)
}

/// A listening socket for packets, for us alone.
pub(crate) fn bind_packets(path: &Path) -> io::Result<OwnedFd> {
    bind_unix(path, Type::SEQPACKET, 0o600)
}

/// A listening unix socket with a file of these rights.
pub(crate) fn bind_file(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    bind_unix(path, Type::STREAM, mode)
}

fn bind_unix(path: &Path, kind: Type, mode: u32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    // The file is created with the rights of the socket's own inode, so it is never more open than
    // this.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode & 0o600))?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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

/// Removes the socket of a dead server; refuses to touch anything else.
fn clear_stale(path: &Path) -> Result<(), String> {
    match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(facts) if !facts.file_type().is_socket() => {
            return Err("the file exists and is not a socket".to_owned());
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| format!("removing the old socket: {error}"))
        }
        Ok(_) => Err("the socket is in use by another process".to_owned()),
        Err(error) => Err(format!("a socket is there and its owner cannot be asked: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

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
