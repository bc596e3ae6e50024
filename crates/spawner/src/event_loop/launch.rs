//! Starting the proxy and the workers: which descriptors, arguments and pipes they get.
//!
//! Owns: the two recipes. Must never know: how a process is made (`exec`) or when (`supervisor`).

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use hostler_protocol::control::{ProxySetup, ToProxy, WorkerId};

use super::children::{Pipes, explain, pipe};
use super::proxy_link::ProxyLink;
use super::streams::Kind;
use super::{EventLoop, Kept};
use crate::exec::ProcessSpec;
use crate::output::{Channel, Label};
use crate::runtime_dir::plain_socket;
use crate::supervisor::{SpawnFailure, Target};
use crate::worker_command::{self, ENV_REMOVED, WorkerFacts};

impl EventLoop<'_> {
    /// Starts the proxy with the listeners and sends it its setup; gives its pid.
    pub(super) fn launch_proxy(&mut self) -> Result<u32, SpawnFailure> {
        let command = &self.config.proxy_command;
        let program = command.first().map(PathBuf::from).unwrap_or_default();
        self.try_launch_proxy(&program).map_err(|error| explain(&error, &program, None))
    }

    fn try_launch_proxy(&mut self, program: &Path) -> io::Result<u32> {
        let (mut link, control) = ProxyLink::new()?;
        let mut fds = vec![control];
        for listener in &self.listeners.fds {
            fds.push(listener.try_clone()?);
        }
        let args = self.config.proxy_command.iter().skip(1).cloned().collect();
        let (pid, pipes) = self.children.start(Target::Proxy, |stdout, stderr| ProcessSpec {
            program: program.to_owned(),
            args,
            env: Vec::new(),
            env_removed: ENV_REMOVED,
            cwd: None,
            stdout,
            stderr,
            fds,
        })?;
        self.watch_output(Target::Proxy, &Label::Proxy, pipes, None);
        let listeners = self.listeners.names.clone();
        let setup = ToProxy::Setup(ProxySetup { listeners, ..self.config.proxy.clone() });
        // A proxy that is dead already is noticed by its exit.
        let _ = link.send(&setup);
        self.link = Some(link);
        Ok(pid)
    }

    /// Starts a worker; gives its pid.
    pub(super) fn launch_worker(
        &mut self,
        slot: u32,
        worker: WorkerId,
    ) -> Result<u32, SpawnFailure> {
        let app = &self.config.app;
        self.try_launch_worker(slot, worker)
            .map_err(|error| explain(&error, &app.node, Some(&app.cwd)))
    }

    fn try_launch_worker(&mut self, slot: u32, worker: WorkerId) -> io::Result<u32> {
        let config = self.config;
        let app = &config.app;
        let target = Target::Worker(worker);
        let plain = plain_socket(self.dir.path(), &app.name, slot, worker.0);
        let env = worker_command::env(
            app,
            &WorkerFacts {
                worker,
                slot,
                parent_pid: std::process::id(),
                channels: &self.listeners.channels,
                plain: &plain,
                port: self.listeners.port,
                node_env_is_set: std::env::var_os("NODE_ENV").is_some(),
            },
        );
        let args = worker_command::args(app, &self.loader_dir);
        let (report, child_report): (OwnedFd, OwnedFd) = pipe()?;
        let (pid, pipes) = self.children.start(target, |stdout, stderr| ProcessSpec {
            program: app.node.clone(),
            args,
            env,
            env_removed: ENV_REMOVED,
            cwd: Some(app.cwd.clone()),
            stdout,
            stderr,
            fds: vec![child_report],
        })?;
        let label = Label::Worker { app: app.name.clone(), slot };
        self.watch_output(target, &label, pipes, Some(plain));
        self.streams.add(target, Kind::Report, report);
        Ok(pid)
    }

    fn watch_output(
        &mut self,
        target: Target,
        label: &Label,
        pipes: Pipes,
        plain: Option<PathBuf>,
    ) {
        self.kept.insert(target, Kept { plain, ..Kept::default() });
        for (channel, fd) in [(Channel::Stdout, pipes.stdout), (Channel::Stderr, pipes.stderr)] {
            self.streams.add(target, Kind::Output { channel, label: label.clone() }, fd);
        }
    }
}
