//! 1024 seeds in every test run, and a canary that must be caught.
//!
//! `HOSTLER_SIM_SEEDS=5000` widens the sweep, `HOSTLER_SIM_FROM=0x1000` moves it.

use hostler_protocol::control::Transport;
use hostler_sim::app::AppWishes;
use hostler_sim::faults::FaultWishes;
use hostler_sim::rng::Rng;
use hostler_sim::scenario::Scenario;
use hostler_sim::world::World;
use hostler_sim::{ROUNDS_MAX, run_seed};

fn number(name: &str, otherwise: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return otherwise };
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{name}={text} is not a number"))
}

/// Runs a seed; what it did wrong, if anything.
fn complaint(seed: u64) -> Option<String> {
    let replay = format!("replay: cargo run -p hostler-sim -- --seed {seed:#x} --trace");
    match std::panic::catch_unwind(|| run_seed(seed, ROUNDS_MAX, false)) {
        Ok(outcome) if outcome.violations.is_empty() => None,
        Ok(outcome) => Some(format!("seed {seed:#x}: {}\n{replay}", outcome.violations.join("\n"))),
        Err(_) => Some(format!("seed {seed:#x} panicked\n{replay}")),
    }
}

#[test]
fn all_seeds_keep_all_promises() {
    let first = number("HOSTLER_SIM_FROM", 0);
    let count = number("HOSTLER_SIM_SEEDS", 1_024);
    let threads =
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4) as u64;
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let part = |thread| {
            scope.spawn(move || {
                (first + thread..first + count)
                    .step_by(threads as usize)
                    .filter_map(complaint)
                    .collect::<Vec<_>>()
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("complaints are no panics")).collect()
    });
    assert!(
        complaints.is_empty(),
        "{} of {count} seeds failed:\n{}",
        complaints.len(),
        complaints.join("\n\n")
    );
}

#[test]
fn a_seed_repeats_itself_exactly() {
    for seed in [1, 7, 0x55] {
        let (one, two) = (run_seed(seed, ROUNDS_MAX, false), run_seed(seed, ROUNDS_MAX, false));
        assert_eq!((one.rounds, one.ms, one.requests), (two.rounds, two.ms, two.requests));
    }
}

/// A world with nothing but healthy parts.
fn healthy(rng: &mut Rng) -> Scenario {
    let mut scenario = Scenario::choose(rng);
    scenario.workers = vec![Transport::Frames, Transport::Http];
    scenario.apps = AppWishes { delay_ms_max: 5, body_max: 20_000, ..AppWishes::default() };
    scenario.faults = FaultWishes::default();
    (scenario.leavers, scenario.freezers, scenario.slow_readers) = (0, 0, 0);
    (scenario.requests.broken, scenario.requests.upgrades) = (0, 30);
    scenario.setup.body_bytes_max = None;
    scenario.requests_max = 8;
    scenario
}

/// Breaks one promise on the worker's or the client's side of a healthy world and says whether the oracle notices.
fn is_caught(break_something: impl Fn(&mut World)) -> bool {
    (0..40).any(|seed| {
        let mut rng = Rng::new(seed);
        let scenario = healthy(&mut rng);
        let mut world = World::new(scenario, rng, false);
        break_something(&mut world);
        !world.run(ROUNDS_MAX).violations.is_empty()
    })
}

#[test]
fn a_healthy_world_has_nothing_to_complain_about() {
    assert!(!is_caught(|_| {}));
}

#[test]
fn canaries_are_caught() {
    // The app's bytes are not those that the client expects.
    assert!(
        is_caught(|world| world.ledger.canary.wrong_body = true),
        "wrong body bytes went unnoticed"
    );
    // A request reaches app code twice.
    assert!(
        is_caught(|world| world.ledger.canary.deliver_twice = true),
        "a second delivery went unnoticed"
    );
    // An answer stops short and says that it is whole.
    assert!(
        is_caught(|world| world.ledger.canary.short_answer = true),
        "a short answer went unnoticed"
    );
    // A request is never answered.
    assert!(
        is_caught(|world| world.ledger.canary.no_answer = true),
        "a missing answer went unnoticed"
    );
    // A WebSocket is closed for a restart that nobody asked for.
    assert!(
        is_caught(|world| world.ledger.canary.close_frame = true),
        "a close frame out of nowhere went unnoticed"
    );
    // A header field is lost on the way.
    assert!(
        is_caught(|world| world.ledger.canary.lost_field = true),
        "a lost field went unnoticed"
    );
}
