//! The body of the fuzz target `step`, with bytes made by chance: what runs where there is no fuzzer.

use hostler_sim::fuzz_step;
use hostler_sim::rng::Rng;

#[test]
fn any_operations_leave_nothing_behind() {
    let cases = std::env::var("HOSTLER_FUZZ_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2_000);
    for seed in 0..cases {
        let mut rng = Rng::new(seed);
        let length = rng.within(0, 1_500);
        let data: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        if let Err(panic) = std::panic::catch_unwind(|| fuzz_step(&data)) {
            eprintln!("case {seed} of the smoke test failed (HOSTLER_FUZZ_CASES widens it)");
            std::panic::resume_unwind(panic);
        }
    }
}
