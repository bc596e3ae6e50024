//! Starting the proxy and the workers: which descriptors, arguments and pipes they get.
//!
//! Owns: the two recipes. Must never know: how a process is made (`exec`) or when (`supervisor`).

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use hostler_protocol::control::{ProxySetup, ToProxy, Transport, WorkerId};
use rustix::fs::{Mode, OFlags};

use super::children::{Pipes, explain, pipe};
use super::proxy_link::ProxyLink;
use super::streams::Kind;
use super::{ClaimSide, EventLoop, Kept, probe};
use crate::config::Launch;
use crate::exec::ProcessSpec;
use crate::output::{Channel, Label};
use crate::passed_fd::PassedFd;
use crate::runtime_dir::{command_socket, plain_socket};
use crate::supervisor::{Release, SpawnFailure, Target};
use crate::worker_command::{self, Claim, ENV_REMOVED, ENV_REMOVED_COMMAND, Offer, WorkerFacts};

/// How often a port is asked for that no other command was given.
const PORT_TRIES_MAX: u32 = 32;

impl EventLoop<'_> {
    /// Starts the proxy with the listeners and sends it its setup; gives its pid.
    pub(super) fn launch_proxy(&mut self) -> Result<u32, SpawnFailure> {
        let command = &self.config.proxy_command;
        let program = command.first().map(PathBuf::from).unwrap_or_default();
        self.try_launch_proxy(&program).map_err(|error| explain(&error, &program, None))
    }

    fn try_launch_proxy(&mut self, program: &Path) -> io::Result<u32> {
        let listeners = self.listeners.fds.iter().map(PassedFd::try_clone);
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let (pid, link) = self.start_proxy(Target::Proxy, program, listeners)?;
        self.link = Some(link);
        Ok(pid)
    }

    /// Starts a proxy with these listeners and sends it its setup; gives its pid.
    pub(super) fn start_proxy(
        &mut self,
        target: Target,
        program: &Path,
        listeners: Vec<OwnedFd>,
    ) -> io::Result<(u32, ProxyLink)> {
        let (mut link, control, keeper) = ProxyLink::new()?;
        let keeper = [keeper, self.keeper.try_clone()?];
        let fds = std::iter::once(control).chain(listeners).chain(keeper).collect();
        let args = self.config.proxy_command.iter().skip(1).cloned().collect();
        let (pid, pipes) = self.children.start(target, false, |stdout, stderr| ProcessSpec {
            program: program.to_owned(),
            args,
            env: Vec::new(),
            env_removed: ENV_REMOVED,
            cwd: None,
            stdout,
            stderr,
            fds,
            dies_with_us: false,
        })?;
        self.watch_output(target, &Label::Proxy, pipes, Vec::new());
        let listeners = self.listeners.names.clone();
        let setup =
            ToProxy::Setup(ProxySetup { listeners, keeps: true, ..self.config.proxy.clone() });
        // A proxy that is dead already is noticed by its exit.
        let _ = link.send(&setup);
        Ok((pid, link))
    }

    /// Starts a worker; gives its pid and, if it is a command, where it may listen.
    pub(super) fn launch_worker(
        &mut self,
        slot: u32,
        worker: WorkerId,
        release: &Release,
    ) -> Result<(u32, Option<Offer>), SpawnFailure> {
        let app = &release.spec;
        self.try_launch_worker(slot, worker, release)
            .map_err(|error| explain(&error, &worker_command::program(app), Some(&app.cwd)))
    }

    fn try_launch_worker(
        &mut self,
        slot: u32,
        worker: WorkerId,
        release: &Release,
    ) -> io::Result<(u32, Option<Offer>)> {
        let app = &release.spec;
        let target = Target::Worker(worker);
        let plain = plain_socket(self.dir.path(), &app.name, slot, worker.0);
        let is_command = matches!(app.launch, Launch::Command { .. });
        let offer = is_command.then(|| self.offer(slot, worker)).transpose()?;
        let claimable = is_command && app.transport == Transport::Frames;
        let folder = claimable.then(|| self.dir.make_worker_folder(worker.0)).transpose()?;
        let search_path = std::env::var_os("PATH");
        let connects = !is_command && app.transport == Transport::Frames;
        let connected = if connects { self.listeners.connect_channels() } else { Vec::new() };
        let env = worker_command::env(
            app,
            &WorkerFacts {
                worker,
                slot,
                generation: release.generation,
                parent_pid: std::process::id(),
                channels: &self.listeners.channels,
                channels_connected: connected.len(),
                plain: &plain,
                port: self.listeners.port,
                offer: offer.clone(),
                claim: folder.as_ref().map(|folder| Claim {
                    folder,
                    loader_dir: &self.loader_dir,
                    node_options: std::env::var_os("NODE_OPTIONS"),
                }),
                search_path: search_path.as_deref(),
                node_env_is_set: std::env::var_os("NODE_ENV").is_some(),
            },
        );
        let args = worker_command::args(app, &self.loader_dir);
        let (report, child_report): (OwnedFd, OwnedFd) = match &folder {
            Some(folder) => open_fifo(&folder.report())?,
            None => pipe()?,
        };
        // Our end, and that of a process which has no name for it.
        let (alive, child_alive) = match &folder {
            Some(folder) => (open_alive(&folder.alive())?, None),
            None => pipe().map(|(read, write)| (write, Some(read)))?,
        };
        let (kept, fds) = hand_over(is_command, child_report, connected, child_alive);
        let (pid, pipes) =
            self.children.start(target, is_command, |stdout, stderr| ProcessSpec {
                program: worker_command::program(app),
                args,
                env,
                env_removed: if is_command { ENV_REMOVED_COMMAND } else { ENV_REMOVED },
                cwd: Some(app.cwd.clone()),
                stdout,
                stderr,
                fds,
                dies_with_us: false,
            })?;
        let label = Label::Worker { app: app.name.clone(), slot };
        let sockets = [Some(plain), offer.as_ref().map(|offer| offer.socket.clone())];
        self.watch_output(target, &label, pipes, sockets.into_iter().flatten().collect());
        if claimable || !is_command {
            self.streams.add(target, Kind::Report, report);
        }
        if let Some(remembered) = self.kept.get_mut(&target) {
            remembered.port = offer.as_ref().map(|offer| offer.port);
            remembered.alive = Some(alive.into());
            remembered.claim = folder.zip(kept).map(ClaimSide::new);
        }
        Ok((pid, offer))
    }

    /// A socket and a port that no other worker has.
    fn offer(&self, slot: u32, worker: WorkerId) -> io::Result<Offer> {
        let socket = command_socket(self.dir.path(), slot, worker.0);
        // A file of that name would be a dead worker's of an earlier instance.
        let _ = std::fs::remove_file(&socket);
        let taken: Vec<u16> = self.kept.values().filter_map(|kept| kept.port).collect();
        // As good as never the same one twice; the bound is for a system with next to no free ports.
        for _ in 0..PORT_TRIES_MAX {
            let port = probe::free_port()?;
            if !taken.contains(&port) {
                return Ok(Offer { socket, port });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    pub(super) fn watch_output(
        &mut self,
        target: Target,
        label: &Label,
        pipes: Pipes,
        sockets: Vec<PathBuf>,
    ) {
        self.kept.insert(target, Kept { sockets, ..Kept::default() });
        for (channel, fd) in [(Channel::Stdout, pipes.stdout), (Channel::Stderr, pipes.stderr)] {
            self.streams.add(target, Kind::Output { channel, label: label.clone() }, fd);
        }
    }
}

/// What is kept here and what the process gets. A descriptor does not survive shells and npm, and they expect none beyond the
/// usual three.
fn hand_over(
    is_command: bool,
    report: OwnedFd,
    channels: Vec<OwnedFd>,
    alive: Option<OwnedFd>,
) -> (Option<OwnedFd>, Vec<OwnedFd>) {
    if is_command {
        return (Some(report), Vec::new());
    }
    (None, std::iter::once(report).chain(channels).chain(alive).collect())
}

/// Both ends of a named pipe, the reading one first: without a reader nobody may open it for writing.
fn open_fifo(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    let read = rustix::fs::open(path, OFlags::RDONLY | flags, Mode::empty())?;
    let write = rustix::fs::open(path, OFlags::WRONLY | flags, Mode::empty())?;
    Ok((read, write))
}

/// Both ends in one descriptor, which Linux allows: a writer that needs no reader.
fn open_alive(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?)
}
