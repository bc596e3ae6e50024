//! Clients beside the load: idle ones and slow ones.
//!
//! Owns: starting and ending them, what the idle ones cost in memory, how many the server cut. Must never know: the
//! load itself. How slow clients behave is in `slow`.

use std::time::Duration;

use crate::http::Connection;
use crate::idle::allowed;
use crate::peers::Running;
use crate::place::Place;
use crate::process::wait_for;
use crate::scenarios::{Beside, Scenario};
use crate::slow::{Manner, Order, Slow};
use crate::{Outcome, cpu};

/// Connections that fill what all share before anything is counted.
const FIRST: u32 = 200;

/// Longest wait until memory stands still.
const SETTLE: Duration = Duration::from_secs(3);

/// Clients that are there while a peer is loaded.
pub(crate) enum Company {
    None,
    Idle { held: Vec<Connection>, bytes: [f64; 2] },
    Slow(Slow),
}

/// What is known of them at the end.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) clients: Option<u32>,
    /// Those that the server closed.
    pub(crate) cut: Option<u32>,
    /// What each idle connection added to the own pages of front and worker.
    pub(crate) connection_bytes: Option<[f64; 2]>,
}

impl Company {
    /// Starts what a case wants; slow clients live where the load does.
    pub(crate) fn start(
        beside: Option<&Beside>,
        running: &Running,
        scenario: &Scenario,
        place: Place,
    ) -> Outcome<Self> {
        let address = running.address;
        match beside {
            None => Ok(Self::None),
            Some(&Beside::Idle { connections }) => idle(connections, running, scenario),
            Some(Beside::SlowReaders { clients, target, answer_bytes, bytes_per_second }) => {
                let manner =
                    Manner::Reads { bytes: *answer_bytes, bytes_per_second: *bytes_per_second };
                let order = Order { address, place, clients: *clients, target, manner };
                Slow::start(order).map(Self::Slow)
            }
            Some(Beside::SlowWriters { clients, target, body_bytes, pause_ms }) => {
                let manner = Manner::Writes { bytes: *body_bytes, pause_ms: *pause_ms };
                let order = Order { address, place, clients: *clients, target, manner };
                Slow::start(order).map(Self::Slow)
            }
        }
    }

    /// Ends them.
    pub(crate) fn end(self) -> Outcome<Account> {
        match self {
            Self::None => Ok(Account::default()),
            Self::Idle { held, bytes } => {
                let clients = u32::try_from(held.len()).ok();
                let open = held.iter().filter(|connection| connection.is_open()).count();
                let cut = u32::try_from(held.len() - open).ok();
                Ok(Account { clients, cut, connection_bytes: Some(bytes) })
            }
            Self::Slow(slow) => {
                let seen = slow.end()?;
                Ok(Account {
                    clients: Some(seen.clients),
                    cut: Some(seen.cut),
                    connection_bytes: None,
                })
            }
        }
    }
}

/// Opens keep-alive connections, each after one served request.
fn idle(wanted: u32, running: &Running, scenario: &Scenario) -> Outcome<Company> {
    let count = allowed(wanted, 1);
    if count < wanted {
        eprintln!(
            "ATTENTION: the limit of open files allows {count} idle connections, not {wanted}; \
             raise `ulimit -Hn` for the real figure"
        );
    }
    if count <= FIRST {
        return Err(format!("{count} idle connections say nothing"));
    }
    let mut held = Vec::new();
    open(FIRST, &mut held, running, scenario)?;
    let before = settled(running);
    open(count - FIRST, &mut held, running, scenario)?;
    let after = settled(running);
    let each = |index: usize| {
        let added = after[index].saturating_sub(before[index]) * 1024;
        added as f64 / f64::from(count - FIRST)
    };
    Ok(Company::Idle { held, bytes: [each(0), each(1)] })
}

fn open(
    count: u32,
    held: &mut Vec<Connection>,
    running: &Running,
    scenario: &Scenario,
) -> Outcome<()> {
    for _ in 0..count {
        let mut connection = Connection::open(running.address)?;
        scenario.check(&mut connection)?;
        held.push(connection);
    }
    Ok(())
}

/// The own pages of front and worker, once two readings a moment apart agree.
fn settled(running: &Running) -> [u64; 2] {
    let mut last = [0, 0];
    let agreed = wait_for(SETTLE, || {
        std::thread::sleep(Duration::from_millis(200));
        let now = [&running.front, &running.workers].map(|pids| cpu::memory(pids).anonymous_kib);
        let same = now == last;
        last = now;
        same.then_some(now)
    });
    agreed.unwrap_or(last)
}
