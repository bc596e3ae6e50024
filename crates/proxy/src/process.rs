//! The proxy process: what happens around the shards.
//!
//! Owns: taking over inherited descriptors, the choice of the I/O backend, the shard threads. Must never
//! know: requests. Called by the command line's hidden `proxy` verb.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hostler_driver::{Driver, Waker, inherited_fd};
use hostler_protocol::control::{
    FromProxy, IoChoice, LineBuffer, ProxySetup, ToProxy, encode_line,
};

use crate::clock::Clock;
use crate::control::{Control, ControlEnd, ShardHandle};
use crate::keeper::Keeper;
use crate::log_file::open_log;
use crate::news::{News, NewsSender, news};
use crate::settings::Settings;
use crate::shard::{Shard, ShardParts};
use crate::worker::ending::{is_ending, was_killed};

/// The control socket; listeners follow it, see [`ProxySetup`].
const CONTROL_FD: i32 = 3;
/// How long the supervisor may take to send the setup.
const SETUP_WAIT: Duration = Duration::from_secs(10);
/// Orders that may wait for a shard; the control thread then waits too.
const COMMANDS_MAX: usize = 1024;
/// A shard looks up at least this often, whatever happens.
const TURN_WAIT_MAX: Duration = Duration::from_secs(60);

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the proxy is started by `hostler run`, not by hand ({0})")]
    NotStartedBySupervisor(std::io::Error),
    #[error("no setup from the supervisor: {0}")]
    NoSetup(String),
    #[error("{0}")]
    IoRefused(String),
    #[error("cannot open the access log: {0}")]
    AccessLog(std::io::Error),
    #[error("cannot start the keeper: {0}")]
    Keeper(String),
    #[error("cannot start shard {shard}: {why}")]
    Shard { shard: u32, why: String },
}

/// The body of the proxy process; returns its exit code.
pub fn run_process() -> u8 {
    let mut stream = match inherited_fd(CONTROL_FD) {
        Ok(fd) => UnixStream::from(fd),
        Err(error) => {
            tracing::error!("{}", StartError::NotStartedBySupervisor(error));
            return 2;
        }
    };
    match start(&mut stream) {
        Ok((control, lines, news)) => match control.run(stream, lines, news) {
            Ok(ControlEnd::Drained) => 0,
            Ok(ControlEnd::SupervisorGone) => {
                tracing::error!("the supervisor is gone; stopping");
                1
            }
            Err(error) => {
                tracing::error!(%error, "control connection failed");
                1
            }
        },
        Err(error) => {
            tracing::error!("{error}");
            let failed = FromProxy::Failed { why: error.to_string() };
            // If the supervisor is gone too, the log line above has to do.
            let _ = std::io::Write::write_all(&mut stream, &encode_line(&failed));
            1
        }
    }
}

type Started = (Control, LineBuffer, News);

fn start(stream: &mut UnixStream) -> Result<Started, StartError> {
    let mut lines = LineBuffer::default();
    let setup = read_setup(stream, &mut lines)?;
    let (io, io_reason) = choose_io(setup.io)?;
    let mut fds = inherited_listeners(&setup)?;
    let log =
        setup.access_log.as_deref().map(open_log).transpose().map_err(StartError::AccessLog)?;
    let (news_sender, news) = news();
    let mut handles = Vec::new();
    let first = Settings::from_setup(&setup, 0);
    for shard in 0..setup.shards {
        // What the shards share they have from the first.
        let (sticky, quarantine) = (first.sticky.clone(), first.quarantine.clone());
        let own = Settings::from_setup(&setup, shard);
        let settings = Settings { is_ending, was_killed, sticky, quarantine, ..own };
        let (commands, receiver) = mpsc::sync_channel(COMMANDS_MAX);
        let start = ShardStart {
            io,
            settings,
            client_listeners: fds.clients.remove(0),
            channel_listener: fds.channels.remove(0),
            commands: receiver,
            news: news_sender.clone(),
        };
        let waker = start.spawn()?;
        handles.push(ShardHandle { commands, waker });
    }
    let (adopted, supervisors) = tokio::sync::mpsc::unbounded_channel();
    if let Some((supervisor, listener)) = fds.keeper.take() {
        let keeper = Keeper::new(supervisor, listener, adopted);
        thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keeper.run())
            .map_err(|error| StartError::Keeper(error.to_string()))?;
    }
    Ok((Control::new(handles, io, io_reason, log, supervisors), lines, news))
}

fn read_setup(stream: &mut UnixStream, lines: &mut LineBuffer) -> Result<ProxySetup, StartError> {
    let no_setup = |why: &dyn std::fmt::Display| StartError::NoSetup(why.to_string());
    stream.set_read_timeout(Some(SETUP_WAIT)).map_err(|error| no_setup(&error))?;
    let mut bytes = [0; 4096];
    loop {
        match lines.next_message() {
            Ok(Some(ToProxy::Setup(setup))) => return Ok(setup),
            Ok(Some(other)) => return Err(no_setup(&format!("got {other:?} instead"))),
            Ok(None) => {}
            Err(error) => return Err(no_setup(&error)),
        }
        match stream.read(&mut bytes) {
            Ok(0) => return Err(no_setup(&"the control socket is closed")),
            Ok(count) => lines.push(&bytes[..count]),
            Err(error) => return Err(no_setup(&error)),
        }
    }
}

/// The backend and one line that says why.
fn choose_io(choice: IoChoice) -> Result<(IoChoice, String), StartError> {
    match choice {
        IoChoice::Epoll => Ok((IoChoice::Epoll, "asked for".to_owned())),
        IoChoice::Uring | IoChoice::Auto => match hostler_driver::probe::probe_uring() {
            Ok(features) => Ok((IoChoice::Uring, features.to_string())),
            Err(refused) if choice == IoChoice::Auto => Ok((IoChoice::Epoll, refused.to_string())),
            Err(refused) => Err(StartError::IoRefused(refused.to_string())),
        },
    }
}

struct Inherited {
    /// The keeper's socket and the listener on which it is found.
    keeper: Option<(OwnedFd, OwnedFd)>,
    /// Per shard: one listener per address.
    clients: Vec<Vec<OwnedFd>>,
    /// Per shard.
    channels: Vec<OwnedFd>,
}

fn inherited_listeners(setup: &ProxySetup) -> Result<Inherited, StartError> {
    let mut next = CONTROL_FD;
    let mut take = || {
        next += 1;
        inherited_fd(next).map_err(StartError::NotStartedBySupervisor)
    };
    let mut clients: Vec<Vec<OwnedFd>> = (0..setup.shards).map(|_| Vec::new()).collect();
    for _ in &setup.listeners {
        for shard in &mut clients {
            shard.push(take()?);
        }
    }
    let channels = (0..setup.shards).map(|_| take()).collect::<Result<_, _>>()?;
    let keeper = if setup.keeps { Some((take()?, take()?)) } else { None };
    Ok(Inherited { keeper, clients, channels })
}

/// What a shard thread is started with.
struct ShardStart {
    io: IoChoice,
    settings: Settings,
    client_listeners: Vec<OwnedFd>,
    channel_listener: OwnedFd,
    commands: mpsc::Receiver<crate::shard::ShardCommand>,
    news: NewsSender,
}

impl ShardStart {
    /// Starts the thread and waits until its driver stands: the ring belongs to the thread that makes it.
    fn spawn(self) -> Result<Waker, StartError> {
        let shard = self.settings.shard;
        let failed = |why: String| StartError::Shard { shard, why };
        let (ready, started) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name(format!("shard-{shard}"))
            .spawn(move || self.run(&ready))
            .map_err(|error| failed(error.to_string()))?;
        match started.recv() {
            Ok(Ok(waker)) => Ok(waker),
            Ok(Err(why)) => Err(failed(why)),
            Err(_) => Err(failed("its thread ended".to_owned())),
        }
    }

    fn run(self, ready: &mpsc::SyncSender<Result<Waker, String>>) {
        if let Some(core) = self.settings.core {
            pin(core);
        }
        let mut failed = self.news.clone().sink(self.settings.shard);
        let config = self.settings.driver_config();
        let result = match self.io {
            IoChoice::Epoll => hostler_driver::epoll::EpollDriver::new(&config)
                .and_then(|driver| self.serve(driver, ready)),
            IoChoice::Uring | IoChoice::Auto => hostler_driver::uring::UringDriver::new(&config)
                .and_then(|driver| self.serve(driver, ready)),
        };
        if let Err(error) = result {
            // During the start somebody waits for the news here; afterwards the control thread must hear of it, so that the
            // process ends and the supervisor starts a sound one.
            let why = error.to_string();
            if ready.try_send(Err(why.clone())).is_err() {
                failed(crate::shard::ShardEvent::Failed { why });
            }
        }
    }

    fn serve<D: Driver>(
        self,
        driver: D,
        ready: &mpsc::SyncSender<Result<Waker, String>>,
    ) -> std::io::Result<()> {
        let waker = driver.waker();
        let clock = Clock::start();
        let shard = self.settings.shard;
        let parts = ShardParts {
            settings: self.settings,
            client_listeners: self.client_listeners,
            channel_listener: self.channel_listener,
            commands: self.commands,
            events: self.news.sink(shard),
            seed: seed(),
        };
        let mut shard = Shard::new(driver, parts, clock.now())?;
        // The starter waits for exactly one message.
        let _ = ready.send(Ok(waker));
        while shard.turn(Some(TURN_WAIT_MAX), || clock.now())? {}
        Ok(())
    }
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => u64::from_le_bytes(bytes),
        // Ids are for telling requests apart, not for secrecy: the time will do.
        Err(_) => Clock::start().now().unix_ms,
    }
}

/// Pins the calling thread. A core that may not be used (the cpuset has changed) is no reason not to start.
fn pin(core: u32) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core as usize);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(core, %error, "cannot pin a shard to its core");
    }
}
