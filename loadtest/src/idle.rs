//! What connections cost that only stay open.
//!
//! Owns: opening them, and reading memory and CPU time around a quiet window. Must never know: how a peer is started.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::Connection;
use crate::peers::{Peer, Running};
use crate::place::Layout;
use crate::scenarios::Scenario;
use crate::{Outcome, cpu, websocket};

/// Connections that fill what all share before anything is counted.
const FIRST: u32 = 200;

/// Quiet time before memory is read, and the window in which nothing should happen.
const SETTLE: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(5);

/// What stays open.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Kind {
    /// WebSockets after their handshake.
    Websocket,
    /// Kept connections after one request.
    KeepAlive,
}

impl Kind {
    /// What one costs a front: this process has one end of each, a front that tunnels has two.
    const fn descriptors(self) -> u32 {
        match self {
            Self::Websocket => 2,
            Self::KeepAlive => 1,
        }
    }
}

/// Held open until it goes.
enum Held {
    Websocket(#[expect(dead_code, reason = "only held")] TcpStream),
    KeepAlive(#[expect(dead_code, reason = "only held")] Connection),
}

/// Measures one peer after the other; gives a table.
pub(crate) fn measure(kind: Kind, count: u32, peers: &[Peer], layout: Layout) -> Outcome<String> {
    let each = kind.descriptors();
    if allowed(count, each) < count {
        return Err(format!("{count} connections need `ulimit -n` of {}", wanted(count, each)));
    }
    let mut scenario = Scenario::by_name(match kind {
        Kind::Websocket => "websocket",
        Kind::KeepAlive => "hello",
    })?;
    scenario.folder = crate::apps::install(&scenario)?;
    let mut table = format!(
        "\n{count} idle connections ({kind:?}): what each adds to resident memory, bytes; CPU while nothing happens\n\
         {:<20} {:>8} {:>8} {:>8} {:>14}\n",
        "", "front", "worker", "both", "CPU, ms per s"
    );
    for &peer in peers {
        let running = peer.start(&scenario, layout)?;
        let mut held = Vec::new();
        open(kind, FIRST, &running, &scenario, &mut held)?;
        let before = memory(&running);
        open(kind, count, &running, &scenario, &mut held)?;
        let after = memory(&running);
        let spent = spent_idle(&running);
        let each =
            |index: usize| (after[index] as f64 - before[index] as f64) * 1024.0 / f64::from(count);
        let (front, worker) = (each(0), each(1));
        let (name, both) = (peer.to_string(), front + worker);
        table += &format!("{name:<20} {front:>8.0} {worker:>8.0} {both:>8.0} {spent:>14.2}\n");
        drop(held);
        running.stop();
    }
    Ok(table)
}

fn open(
    kind: Kind,
    count: u32,
    running: &Running,
    scenario: &Scenario,
    held: &mut Vec<Held>,
) -> Outcome<()> {
    for _ in 0..count {
        held.push(match kind {
            Kind::Websocket => Held::Websocket(websocket::open(running.address, "/")?),
            Kind::KeepAlive => {
                let mut connection = Connection::open(running.address)?;
                scenario.check(&mut connection)?;
                Held::KeepAlive(connection)
            }
        });
    }
    Ok(())
}

/// Resident memory of front and worker, KiB.
fn memory(running: &Running) -> [u64; 2] {
    std::thread::sleep(SETTLE);
    [&running.front, &running.workers].map(|pids| cpu::memory(pids).resident_kib)
}

/// CPU milliseconds per second of front and worker together.
fn spent_idle(running: &Running) -> f64 {
    let total = || cpu::time(&running.front) + cpu::time(&running.workers);
    let before = total();
    std::thread::sleep(WINDOW);
    (total() - before).as_secs_f64() * 1e3 / WINDOW.as_secs_f64()
}

/// What one process needs for so many connections; the limit is inherited by the peers.
const fn wanted(count: u32, each: u32) -> u64 {
    count as u64 * each as u64 + 2_000
}

/// How many connections of so many descriptors each the limit of open files allows, raised as far as it goes.
pub(crate) fn allowed(count: u32, each: u32) -> u32 {
    let wanted = wanted(count, each);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= wanted) {
        return count;
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        return count;
    }
    // Without privileges up to the hard limit.
    let most = limit.maximum.unwrap_or(wanted).min(wanted);
    let raised =
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let now = if raised.is_ok() { most } else { limit.current.unwrap_or(most) };
    let room = now.saturating_sub(2_000) / u64::from(each);
    u32::try_from(room).map_or(count, |room| room.min(count))
}
