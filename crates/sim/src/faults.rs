//! What goes wrong beside clients and apps: the kernel, the clock, processes, operators.
//!
//! Owns: the choice of faults and their end. Must never know: what should follow from them (`oracle`). Called by
//! `world`.

use hostler_driver::fake::{FakeNet, FakePeer};
use hostler_driver::{Key, PoolClass};
use rustix::io::Errno;

use crate::client::Client;
use crate::oracle::Ledger;
use crate::rng::Rng;
use crate::worker::Worker;

/// What a seed wants to go wrong, and how often (mean pause in milliseconds; 0: never).
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultWishes {
    /// Bytes are delivered although the stream was paused, as the ring does.
    pub deliver_late: bool,
    /// Sends that make no progress for a while, or little at a time.
    pub stalls: u64,
    /// Receive buffers run out for a while.
    pub starvation: u64,
    /// Accepting fails.
    pub accepts: u64,
    /// Accepted connections vanish.
    pub accept_aborts: bool,
    /// Connections are reset.
    pub resets: u64,
    /// Workers are killed.
    pub kills: u64,
    /// Workers refuse connections for a while.
    pub refusals: u64,
    /// The app's server closes and listens again.
    pub unlistens: u64,
    /// Workers' event loops stand still for a while.
    pub freezes: u64,
    /// The clock jumps by minutes.
    pub jumps: u64,
    /// Workers are replaced as in a reload.
    pub reloads: u64,
    /// Workers are drained and serve on, and their upgraded connections are ended.
    pub standbys: u64,
    /// The server is stopped at this time.
    pub drain_ms: Option<u64>,
    /// Another proxy takes over at this time.
    pub retire_ms: Option<u64>,
}

impl FaultWishes {
    /// Chooses some of them.
    pub fn choose(rng: &mut Rng) -> Self {
        let mut rate = |chance: u32| if rng.chance(chance) { rng.ms(20, 3_000) } else { 0 };
        let mut wishes = Self {
            stalls: rate(40),
            starvation: rate(30),
            accepts: rate(20),
            resets: rate(20),
            kills: rate(25),
            refusals: rate(15),
            unlistens: rate(15),
            jumps: rate(8),
            reloads: rate(20),
            standbys: rate(30),
            freezes: rate(20),
            ..Self::default()
        };
        if wishes.accepts > 0 {
            // Each failure costs 100 ms: oftener, and nobody would ever be accepted.
            wishes.accepts = wishes.accepts.max(500);
        }
        wishes.deliver_late = rng.chance(50);
        wishes.accept_aborts = wishes.accepts > 0 && rng.chance(30);
        wishes.drain_ms = rng.chance(15).then(|| rng.ms(0, 3_000));
        wishes.retire_ms = rng.chance(15).then(|| rng.ms(0, 3_000));
        wishes
    }
}

/// What the supervisor should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Replace this worker.
    Reload(usize),
    /// Drain this worker, or let it serve on, or end its upgraded connections.
    Standby(usize),
    /// Stop the server.
    Drain,
    /// Another proxy takes over from this one.
    Retire,
    /// Move the clock by so many milliseconds.
    Jump(u64),
}

enum Undo {
    Stall(FakePeer),
    Starve(PoolClass),
    Refuse(usize),
    Listen(usize),
    Freeze(usize),
}

/// The faults of one world.
pub struct Faults {
    wishes: FaultWishes,
    rng: Rng,
    next_ms: [u64; 11],
    active: Vec<(u64, Undo)>,
    jumps_left: u32,
}

/// Longest fault that should harm nobody: shorter than every time-out.
const FAULT_MS_MAX: u64 = 800;

/// Long enough to be called hanging.
const FREEZE_MS_MAX: u64 = 2_500;

impl Faults {
    /// The faults that `wishes` asks for.
    pub fn new(wishes: FaultWishes, net: &FakeNet, mut rng: Rng) -> Self {
        net.deliver_late(wishes.deliver_late);
        let rates = rates(&wishes);
        let next_ms = rates.map(|rate| if rate == 0 { u64::MAX } else { rng.ms(0, 2 * rate) });
        Self { wishes, rng, next_ms, active: Vec::new(), jumps_left: 3 }
    }

    /// When the next thing happens.
    pub fn wakes_ms(&self) -> u64 {
        let ends = self.active.iter().map(|(until, _)| *until).min().unwrap_or(u64::MAX);
        self.next_ms
            .iter()
            .copied()
            .min()
            .unwrap_or(u64::MAX)
            .min(ends)
            .min(self.wishes.drain_ms.unwrap_or(u64::MAX))
            .min(self.wishes.retire_ms.unwrap_or(u64::MAX))
    }

    /// No new faults; the present ones end now.
    pub fn stop(&mut self, net: &FakeNet, workers: &mut [Worker], ledger: &mut Ledger) {
        self.next_ms = [u64::MAX; 11];
        self.wishes.drain_ms = None;
        self.wishes.retire_ms = None;
        for (_, undo) in std::mem::take(&mut self.active) {
            end(undo, net, workers, ledger);
        }
    }

    /// Is a worker held back at the moment, so that requests may have to wait?
    pub fn is_holding(&self) -> bool {
        !self.active.is_empty()
    }

    /// Does what is due.
    pub fn act(
        &mut self,
        net: &FakeNet,
        listener: Key,
        clients: &mut [Client],
        workers: &mut [Worker],
        ledger: &mut Ledger,
    ) -> Option<Order> {
        let now_ms = ledger.now_ms;
        let mut index = 0;
        while index < self.active.len() {
            if self.active[index].0 <= now_ms {
                let (_, undo) = self.active.swap_remove(index);
                end(undo, net, workers, ledger);
            } else {
                index += 1;
            }
        }
        if self.wishes.drain_ms.is_some_and(|at| at <= now_ms) {
            self.wishes.drain_ms = None;
            return Some(Order::Drain);
        }
        if self.wishes.retire_ms.is_some_and(|at| at <= now_ms) {
            self.wishes.retire_ms = None;
            return Some(Order::Retire);
        }
        let rates = rates(&self.wishes);
        for (kind, rate) in rates.iter().enumerate() {
            if self.next_ms[kind] <= now_ms {
                self.next_ms[kind] = now_ms + self.rng.ms(1, 2 * rate);
                return self.strike(kind, net, listener, clients, workers, ledger);
            }
        }
        None
    }

    fn strike(
        &mut self,
        kind: usize,
        net: &FakeNet,
        listener: Key,
        clients: &mut [Client],
        workers: &mut [Worker],
        ledger: &mut Ledger,
    ) -> Option<Order> {
        let until = ledger.now_ms + self.rng.ms(1, FAULT_MS_MAX);
        let index = self.rng.below(workers.len());
        match kind {
            0 => {
                let rng = &mut self.rng;
                let peer = if rng.chance(50) {
                    let client = rng.below(clients.len());
                    clients[client].peer().cloned()
                } else {
                    workers[index].some_peer(rng)
                };
                if let Some(peer) = peer {
                    ledger.note(|| format!("{peer:?} stalls until {until}"));
                    peer.stall(true);
                    self.active.push((until, Undo::Stall(peer)));
                }
            }
            1 => {
                let class = self.rng.pick(&PoolClass::RECEIVE);
                ledger.note(|| format!("no {class:?} buffers until {until}"));
                net.starve(class, true);
                self.active.push((until, Undo::Starve(class)));
            }
            2 => self.fail_accept(net, listener, ledger),
            3 => self.reset(clients, &mut workers[index], ledger),
            4 => workers[index].die(ledger),
            5 => {
                ledger.note(|| {
                    format!("worker {} refuses connections until {until}", workers[index].number)
                });
                workers[index].refuse(Some(Errno::CONNREFUSED.raw_os_error()), ledger);
                self.active.push((until, Undo::Refuse(index)));
            }
            6 => {
                ledger.note(|| {
                    format!("worker {} does not listen until {until}", workers[index].number)
                });
                workers[index].listen(false);
                self.active.push((until, Undo::Listen(index)));
            }
            7 if self.jumps_left > 0 => {
                self.jumps_left -= 1;
                return Some(Order::Jump(self.rng.ms(60_000, 600_000)));
            }
            8 => return Some(Order::Reload(index)),
            9 => return Some(Order::Standby(index)),
            10 => {
                let until = until + if self.rng.chance(30) { FREEZE_MS_MAX } else { 0 };
                ledger.note(|| format!("worker {} freezes until {until}", workers[index].number));
                workers[index].freeze(true);
                self.active.push((until, Undo::Freeze(index)));
            }
            _ => {}
        }
        None
    }

    fn fail_accept(&mut self, net: &FakeNet, listener: Key, ledger: &mut Ledger) {
        let errno = if self.wishes.accept_aborts && self.rng.chance(50) {
            ledger.accept_aborts = true;
            Errno::CONNABORTED
        } else {
            self.rng.pick(&[Errno::MFILE, Errno::NFILE, Errno::NOBUFS])
        };
        ledger.note(|| format!("accepting fails with {errno}"));
        net.fail_accept(listener, errno.raw_os_error());
    }

    fn reset(&mut self, clients: &mut [Client], worker: &mut Worker, ledger: &mut Ledger) {
        if self.rng.chance(50) {
            let client = self.rng.below(clients.len());
            if let Some(peer) = clients[client].peer().cloned() {
                ledger.note(|| format!("client {client} is reset"));
                peer.reset();
                clients[client].excuse("left");
            }
        } else if let Some(peer) = worker.some_peer(&mut self.rng) {
            ledger.note(|| format!("a connection of worker {} is reset", worker.number));
            ledger.note_loss();
            peer.reset();
            worker.expect_loss();
        }
    }
}

fn rates(wishes: &FaultWishes) -> [u64; 11] {
    [
        wishes.stalls,
        wishes.starvation,
        wishes.accepts,
        wishes.resets,
        wishes.kills,
        wishes.refusals,
        wishes.unlistens,
        wishes.jumps,
        wishes.reloads,
        wishes.standbys,
        wishes.freezes,
    ]
}

fn end(undo: Undo, net: &FakeNet, workers: &mut [Worker], ledger: &mut Ledger) {
    match undo {
        Undo::Stall(peer) => peer.stall(false),
        Undo::Starve(class) => net.starve(class, false),
        Undo::Refuse(index) => workers[index].refuse(None, ledger),
        Undo::Listen(index) => workers[index].listen(true),
        Undo::Freeze(index) => workers[index].freeze(false),
    }
}
