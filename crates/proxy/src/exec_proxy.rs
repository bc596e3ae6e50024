//! The proxy inside `hostler exec`: one shard on a thread, for as long as the command runs.
//!
//! Owns: the thread and its end. Must never know: which command runs. Called by the command line's `exec` verb.
//!
//! It is always the epoll driver: a connection must be given back to Node at any moment, and with a ring the kernel would
//! have to be asked first to let go of it. What a test suite needs is to be exact, and a start that costs nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hostler_driver::epoll::EpollDriver;
use hostler_driver::{Driver, Waker};

use crate::clock::Clock;
use crate::settings::Settings;
use crate::shard::{OfferCounts, Shard, ShardParts};

/// A shard looks up at least this often.
const TURN_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the last answers of a command that has ended may take to reach their clients, and its processes to say their
/// last counts.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// How long nothing may happen during the farewell before it is over: a process that the command left behind keeps its
/// channel open.
const FAREWELL_SILENCE: Duration = Duration::from_millis(50);

/// The running proxy.
#[derive(Debug)]
pub struct ExecProxy {
    thread: JoinHandle<io::Result<OfferCounts>>,
    waker: Waker,
    ending: Arc<AtomicBool>,
}

impl ExecProxy {
    /// Serves the processes that connect to `channel_listener`, a listening unix socket.
    pub fn start(channel_listener: OwnedFd) -> io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ending);
        let (ready, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("shard-0".to_owned())
            .spawn(move || serve(channel_listener, &until, &ready))?;
        match started.recv() {
            Ok(waker) => Ok(Self { thread, waker, ending }),
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(_)) | Err(_) => {
                    Err(io::Error::other("the proxy's thread ended at its start"))
                }
            },
        }
    }

    /// The command has ended: lets the last answers leave and gives the counts.
    pub fn finish(self) -> io::Result<OfferCounts> {
        self.ending.store(true, Ordering::Release);
        self.waker.wake();
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the proxy's thread failed")))
    }
}

fn serve(
    channel_listener: OwnedFd,
    ending: &AtomicBool,
    ready: &mpsc::SyncSender<Waker>,
) -> io::Result<OfferCounts> {
    let settings = Settings::for_exec();
    let driver = EpollDriver::new(&settings.driver_config())?;
    let waker = driver.waker();
    let clock = Clock::start();
    let (_orders, commands) = mpsc::sync_channel(1);
    let parts = ShardParts {
        settings,
        client_listeners: Vec::new(),
        channel_listener,
        commands,
        events: Box::new(|_| {}),
        seed: 0,
    };
    let mut shard = Shard::new(driver, parts, clock.now())?;
    // The starter waits for exactly one message.
    let _ = ready.send(waker);
    while !ending.load(Ordering::Acquire) {
        shard.turn(Some(TURN_WAIT_MAX), || clock.now())?;
    }
    farewell(&mut shard, &clock)?;
    Ok(shard.offer_counts().clone())
}

/// What the processes wrote last is still in their sockets.
fn farewell<D: Driver>(shard: &mut Shard<D>, clock: &Clock) -> io::Result<()> {
    let start = Instant::now();
    let mut busy = Instant::now();
    while start.elapsed() < FAREWELL_MAX && busy.elapsed() < FAREWELL_SILENCE {
        let before = Instant::now();
        shard.turn(Some(FAREWELL_SILENCE), || clock.now())?;
        if shard.channels_open() == 0 && shard.conns_open() == 0 {
            break;
        }
        if before.elapsed() < FAREWELL_SILENCE {
            busy = Instant::now();
        }
    }
    Ok(())
}
