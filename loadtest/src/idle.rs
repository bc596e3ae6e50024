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

/// Held open until it goes.
enum Held {
    Websocket(#[expect(dead_code, reason = "only held")] TcpStream),
    KeepAlive(#[expect(dead_code, reason = "only held")] Connection),
}

/// Measures one peer after the other; gives a table.
pub(crate) fn measure(kind: Kind, count: u32, peers: &[Peer], layout: Layout) -> Outcome<String> {
    raise_limit(count)?;
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
    let sum = |pids: &[u32]| pids.iter().map(|&pid| cpu::memory(pid).resident_kib).sum();
    [sum(&running.front), sum(&running.workers)]
}

/// CPU milliseconds per second of front and worker together.
fn spent_idle(running: &Running) -> f64 {
    let total = || cpu::time(&running.front) + cpu::time(&running.workers);
    let before = total();
    std::thread::sleep(WINDOW);
    (total() - before).as_secs_f64() * 1e3 / WINDOW.as_secs_f64()
}

/// This process holds one end of each, a proxy two: its limit is inherited.
fn raise_limit(count: u32) -> Outcome<()> {
    let wanted = u64::from(count) * 2 + 2_000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= wanted) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    let raised = Rlimit { current: Some(wanted), maximum };
    setrlimit(Resource::Nofile, raised)
        .map_err(|_| format!("{count} connections need `ulimit -n` of {wanted}"))
}
