//! One measurement: a peer from fresh processes, warmed up, loaded, and what that cost.
//!
//! Owns: the order of its steps and the division by requests. Must never know: other peers, rounds.

use std::time::{Duration, Instant};

use crate::beside::{Account, Company};
use crate::generator::{Generator, Load};
use crate::peers::{Peer, Running};
use crate::plan::Plan;
use crate::record::Sample;
use crate::scenarios::{Case, Scenario};
use crate::syscalls::{Attached, Counter};
use crate::{Outcome, cpu, paced};

/// A warm-up that is counted in requests looks at memory once per step.
const WARMUP_STEP: Duration = Duration::from_secs(5);
const WARMUP_LONGEST: Duration = Duration::from_mins(60);

/// Measures a peer at saturation in one case.
pub(crate) fn saturated(
    plan: &Plan,
    scenario: &Scenario,
    case: &Case,
    peer: Peer,
    generator: &Generator,
) -> Outcome<Sample> {
    let scenario = &scenario.in_case(case);
    let layout = plan.layout(scenario)?;
    let running = peer.start(scenario, layout)?;
    let front_kib_over_time = warm_up(plan, scenario, &running, generator)?;
    running.place();
    let company = Company::start(case.beside.as_ref(), &running, scenario, layout.load())?;
    let (load, spent) =
        watched(&running, || plan.load(&running, scenario, generator, plan.measure))?;
    let mut sample = sample(&running, &load, spent);
    if let Some(counter) = plan.counter {
        match count(plan, &running, scenario, generator, counter) {
            Ok([front, worker]) => {
                (sample.front_syscalls, sample.worker_syscalls) = (front, worker)
            }
            Err(why) => eprintln!("SKIPPED: {} on {peer}: {why}", counter.name()),
        }
    }
    let peak = [&running.front, &running.workers].map(|pids| cpu::memory(pids).peak_kib);
    sample.front_peak_kib = sample.has_front.then_some(peak[0]);
    sample.worker_peak_kib = Some(peak[1]);
    sample.front_kib_over_time = front_kib_over_time;
    add_account(&mut sample, &company.end()?);
    running.stop();
    Ok(sample)
}

fn add_account(sample: &mut Sample, account: &Account) {
    sample.beside_clients = account.clients;
    sample.beside_cut = account.cut;
    sample.connection_front_bytes =
        account.connection_bytes.filter(|_| sample.has_front).map(|[front, _]| front);
    sample.connection_worker_bytes = account.connection_bytes.map(|[_, worker]| worker);
}

/// Measures a running peer at a fixed rate.
pub(crate) fn at_rate(
    plan: &Plan,
    scenario: &Scenario,
    running: &Running,
    per_second: f64,
) -> Outcome<Sample> {
    let order = plan.order(running, scenario, plan.measure)?;
    let (load, spent) = watched(running, || paced::run(order, per_second))?;
    Ok(sample(running, &load, spent))
}

/// Loads a peer before it is measured; gives the front's resident memory over time where requests are counted.
pub(crate) fn warm_up(
    plan: &Plan,
    scenario: &Scenario,
    running: &Running,
    generator: &Generator,
) -> Outcome<Vec<u64>> {
    if !plan.warmup.is_zero() {
        plan.load(running, scenario, generator, plan.warmup)?;
    }
    let (start, mut served, mut memory) = (Instant::now(), 0, Vec::new());
    while served < scenario.warmup_requests {
        served += plan.load(running, scenario, generator, WARMUP_STEP)?.requests;
        memory.push(cpu::memory(&running.front).resident_kib);
        if start.elapsed() > WARMUP_LONGEST {
            return Err(format!("only {served} requests within {WARMUP_LONGEST:?}"));
        }
    }
    Ok(memory)
}

/// What front and worker used in a window.
struct Spent {
    cpu: [Duration; 2],
    switches: [u64; 2],
}

fn watched(running: &Running, load: impl FnOnce() -> Outcome<Load>) -> Outcome<(Load, Spent)> {
    let sides = [&running.front, &running.workers];
    let read = || (sides.map(|pids| cpu::time(pids)), sides.map(|pids| cpu::switches(pids)));
    let before = read();
    let load = load()?;
    let after = read();
    let cpu = [0, 1].map(|side| after.0[side].saturating_sub(before.0[side]));
    let switches = [0, 1].map(|side| after.1[side].saturating_sub(before.1[side]));
    Ok((load, Spent { cpu, switches }))
}

fn sample(running: &Running, load: &Load, spent: Spent) -> Sample {
    let requests = load.requests as f64;
    let has_front = !running.front.is_empty();
    let [front_us, worker_us] = spent.cpu.map(|time| time.as_secs_f64() * 1e6 / requests);
    let [front, worker] = spent.switches.map(|count| count as f64 / requests);
    Sample {
        requests: load.requests,
        per_second: load.per_second(),
        p50_us: load.p50_us,
        p90_us: load.p90_us,
        p99_us: load.p99_us,
        p999_us: load.p999_us,
        has_front,
        front_us,
        worker_us,
        front_switches: has_front.then_some(front),
        worker_switches: Some(worker),
        ..Sample::default()
    }
}

/// System calls of front and worker per request, with the counters attached during the whole window.
fn count(
    plan: &Plan,
    running: &Running,
    scenario: &Scenario,
    generator: &Generator,
    counter: Counter,
) -> Outcome<[Option<f64>; 2]> {
    let attach =
        |pids: &Vec<u32>| (!pids.is_empty()).then(|| Attached::to(counter, pids)).transpose();
    let (front, worker) = (attach(&running.front)?, attach(&running.workers)?);
    let requests = plan.load(running, scenario, generator, plan.counting)?.requests as f64;
    let finish = |attached: Option<Attached>| -> Outcome<Option<f64>> {
        let calls = attached.map(Attached::finish).transpose()?;
        Ok(calls.map(|calls| calls as f64 / requests))
    };
    Ok([finish(front)?, finish(worker)?])
}
