//! What happens in a world, chosen from its seed.
//!
//! Owns: sizes, habits, percentages. Must never know: how any of it is carried out. Read by `world`.

use std::path::PathBuf;

use hostler_driver::{DriverConfig, PoolSizes};
use hostler_protocol::control::{IoChoice, ProxySetup, Transport, Typed};
use hostler_proxy::Settings;

use crate::app::AppWishes;
use crate::client::{Abort, Habits, Planned};
use crate::faults::FaultWishes;
use crate::oracle::{Ledger, Times};
use crate::request::{Request, RequestWishes, garbage};
use crate::rng::Rng;

/// Port that clients came to.
pub const PORT: &str = "3000";

/// A world's constants.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Client connections, one after the other or at once.
    pub clients: usize,
    /// Time over which they arrive.
    pub arrivals_ms: u64,
    /// Requests on one connection, at most.
    pub requests_max: usize,
    /// Worker slots.
    pub workers: Vec<Transport>,
    /// What requests are like.
    pub requests: RequestWishes,
    /// What apps are like.
    pub apps: AppWishes,
    /// What else happens.
    pub faults: FaultWishes,
    /// Percent of clients that leave early.
    pub leavers: u32,
    /// Percent of clients that freeze.
    pub freezers: u32,
    /// Percent of clients that read slowly.
    pub slow_readers: u32,
    /// How long clients stay in upgraded connections.
    pub tunnel_ms: &'static [u64],
    /// Percent of bodies that are sent later than their heads.
    pub late_bodies: u32,
    /// The proxy's limits and time-outs.
    pub setup: ProxySetup,
    /// Buffers.
    pub pools: PoolSizes,
}

impl Scenario {
    /// Chooses a scenario. About a third of them are calm: nothing goes wrong, so nothing may be excused.
    pub fn choose(rng: &mut Rng) -> Self {
        let calm = rng.chance(35);
        let transports = [Transport::Frames, Transport::Frames, Transport::Http];
        let workers = (0..rng.within(1, 3)).map(|_| rng.pick(&transports)).collect();
        let percent = |rng: &mut Rng, chance: u32, most: u32| {
            if rng.chance(chance) { rng.within(1, most as usize) as u32 } else { 0 }
        };
        let body_max = rng.pick(&[2_000, 70_000, 400_000]);
        let mut scenario = Self {
            clients: rng.within(2, 14),
            arrivals_ms: rng.pick(&[0, 50, 2_000]),
            requests_max: rng.pick(&[1, 3, 8]),
            workers,
            requests: RequestWishes {
                broken: percent(rng, 40, 10),
                upgrades: percent(rng, 50, 40),
                body_max,
                uploads: false,
                long_hosts: percent(rng, 20, 30),
            },
            apps: AppWishes {
                early: percent(rng, 50, 60),
                delay_ms_max: rng.pick(&[0, 5, 200, 1_500]),
                body_max: rng.pick(&[2_000, 70_000, 400_000]),
                slow_reading: percent(rng, 50, 40),
                ..AppWishes::default()
            },
            faults: FaultWishes { deliver_late: rng.chance(30), ..FaultWishes::default() },
            leavers: percent(rng, 60, 40),
            freezers: percent(rng, 25, 20),
            slow_readers: percent(rng, 50, 50),
            tunnel_ms: &[0, 500, 5_000],
            late_bodies: 15,
            setup: setup(rng),
            pools: pools(rng),
        };
        if !calm {
            scenario.apps.faults = percent(rng, 60, 25);
            scenario.apps.deadly = rng.chance(60);
            scenario.apps.silent = percent(rng, 30, 10);
            scenario.faults = FaultWishes::choose(rng);
        } else if rng.chance(40) {
            // Nothing that may go wrong: a drain costs nobody anything.
            scenario.faults.standbys = rng.ms(20, 1_500);
        }
        scenario.specialise(rng);
        scenario.apps.client_errors = rng.chance(40);
        scenario.apps.counts = rng.chance(30);
        scenario
    }

    /// Four in ten worlds are about what chance alone rarely brings together.
    fn specialise(&mut self, rng: &mut Rng) {
        match rng.below(10) {
            0 => {
                // Uploads that fill their windows.
                self.clients = self.clients.min(4);
                self.requests.uploads = true;
                self.requests.body_max = 500_000;
                self.apps.slow_reading = 80;
                self.setup.body_bytes_max = None;
            }
            1 => {
                // Answers before the body.
                self.apps.early = 80;
                self.apps.delay_ms_max = 5;
                self.late_bodies = 60;
                self.requests.body_max = 2_000;
            }
            2 => {
                // Clients that ask on and do not read.
                self.slow_readers = 80;
                self.apps.body_max = 100_000;
                self.requests_max = 8;
                self.faults.deliver_late = true;
            }
            3 => {
                // Upgraded connections whose workers drain.
                self.requests.upgrades = 80;
                self.requests_max = 2;
                self.workers.truncate(2);
                self.apps.delay_ms_max = self.apps.delay_ms_max.min(200);
                self.leavers = self.leavers.min(10);
                self.tunnel_ms = &[1_000, 4_000];
                self.faults.standbys = rng.ms(100, 800);
            }
            _ => {}
        }
    }

    /// The settings of the shard.
    pub fn settings(&self) -> Settings {
        // An hour of silence would be a long world.
        let settings = Settings::from_setup(&self.setup, 0);
        Settings { tunnel_idle_ms_max: 12_000, is_ending: crate::worker::is_ending, ..settings }
    }

    /// The sizes of the driver.
    pub fn driver_config(&self) -> DriverConfig {
        DriverConfig { pools: self.pools, ..self.settings().driver_config() }
    }

    /// The time-outs as the oracle wants them.
    pub fn times(&self) -> Times {
        Times {
            head_ms: self.setup.head_ms_max.into(),
            idle_ms: self.setup.idle_ms_max.into(),
            client_ms: self.setup.client_silence_ms_max.into(),
            worker_ms: self.setup.worker_silence_ms_max.into(),
            queue_ms: self.setup.queue_ms_max.into(),
        }
    }

    /// Chooses what one client does, and enters its requests into the ledger.
    pub fn client(
        &self,
        number: usize,
        rng: &mut Rng,
        ledger: &mut Ledger,
    ) -> (Vec<Planned>, Habits) {
        let count = rng.within(1, self.requests_max);
        let mut plan = Vec::new();
        for index in 0..count {
            let id = ledger.next_id();
            let last = index + 1 == count;
            if last && rng.chance(self.requests.broken) {
                plan.push(broken(id, number, rng, ledger));
                break;
            }
            let request = Request::choose(id, last, &self.requests, rng);
            plan.push(Planned {
                id,
                head: request.head(),
                body: request.wire_body(),
                // Many clients send the body later than the head; an early answer then comes in between.
                expects: request.expects || rng.chance(self.late_bodies),
            });
            let ends = request.close;
            ledger.enter(request, number);
            if ends {
                break;
            }
        }
        let bytes: usize = plan.iter().map(|planned| planned.head.len() + planned.body.len()).sum();
        (plan, self.habits(bytes, rng))
    }

    fn habits(&self, bytes: usize, rng: &mut Rng) -> Habits {
        // Whoever cuts finely has little to say, or a world would take minutes.
        let cuts: &[usize] =
            if bytes < 3_000 { &[1, 7, 200, usize::MAX] } else { &[1_000, 30_000, usize::MAX] };
        let slow_reader = rng.chance(self.slow_readers);
        let leaves = rng.chance(self.leavers);
        let how = rng.pick(&[Abort::Reset, Abort::Close, Abort::HalfClose]);
        let freezes = rng.chance(self.freezers);
        let cut_max = rng.pick(cuts);
        Habits {
            depth: rng.pick(&[1, 1, 2, 5]),
            cut_max,
            pause_percent: rng.pick(&[0, 0, 10, 50]),
            pause_ms_max: rng.pick(&[0, 3, 40]),
            read_max: if slow_reader { rng.within(500, 5_000) } else { usize::MAX },
            read_pause_ms_max: if slow_reader { rng.ms(0, 20) } else { 0 },
            abort: leaves.then(|| (rng.within(1, bytes * 2 + 200), how)),
            half_close: rng.chance(10),
            freeze_after: freezes.then(|| rng.within(1, bytes * 2 + 200)),
            tunnel_bytes: rng.length(cut_max.saturating_mul(50).min(400_000)),
            tunnel_ms: rng.pick(self.tunnel_ms),
        }
    }
}

fn broken(id: usize, number: usize, rng: &mut Rng, ledger: &mut Ledger) -> Planned {
    let (head, refusals) = garbage(id, rng);
    let mut request = Request::get(id);
    request.refusals = refusals;
    request.close = true;
    ledger.enter(request, number);
    Planned { id, head, body: Vec::new(), expects: false }
}

fn setup(rng: &mut Rng) -> ProxySetup {
    ProxySetup {
        shards: 1,
        cores: vec![None],
        listeners: vec![format!("127.0.0.1:{PORT}")],
        io: IoChoice::Epoll,
        conns_max: rng.pick(&[2, 5, 20, 64]),
        worker_requests_max: rng.pick(&[Some(1), Some(3), Some(16), Some(256), None]),
        queue_requests_max: rng.pick(&[0, 2, 100]),
        queue_ms_max: 3_000,
        start_ms_max: 60_000,
        head_ms_max: 5_000,
        idle_ms_max: 8_000,
        client_silence_ms_max: 6_000,
        worker_silence_ms_max: 7_000,
        answer_ms_max: None,
        hang_ms_max: Some(2_000),
        sticky: None,
        quarantine_ms: Some(300_000),
        head_bytes_max: 16_384,
        body_bytes_max: rng.chance(15).then_some(30_000),
        log_json: false,
        typed: Typed::default(),
        keeps: false,
        access_log: rng.chance(10).then(|| PathBuf::from("/dev/null")),
    }
}

fn pools(rng: &mut Rng) -> PoolSizes {
    let mut pools = PoolSizes::default();
    if rng.chance(50) {
        pools.head.count = rng.pick(&[24, 64, 2_048]);
        pools.body.count = rng.pick(&[8, 32]);
        pools.channel.count = rng.pick(&[8, 32]);
        pools.channel.bytes = rng.pick(&[8_192, 65_536]);
        pools.send.count = rng.pick(&[8, 100, 1_024]);
        pools.batch.count = rng.pick(&[4, 16]);
    }
    pools
}
