//! Replays one seed, or sweeps many.
//!
//! Owns: arguments and what is printed. Must never know: what a world is.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use hostler_sim::{ROUNDS_MAX, run_seed};

const USAGE: &str = "usage: hostler-sim --seed 0x1234 [--steps N] [--trace]\n       hostler-sim --seeds N [--from 0x1234] [--keep-going]";

struct Arguments {
    first: u64,
    seeds: u64,
    steps: u64,
    trace: bool,
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0_u64;
    let mut totals = (0, 0, 0, 0);
    let (start, mut slowest) = (Instant::now(), (Duration::ZERO, 0));
    for seed in arguments.first..arguments.first + arguments.seeds {
        let began = Instant::now();
        let outcome = std::panic::catch_unwind(|| run_seed(seed, arguments.steps, arguments.trace));
        slowest = slowest.max((began.elapsed(), seed));
        let violations = match outcome {
            Ok(outcome) => {
                let (a, b, c, d) = outcome.requests;
                totals = (totals.0 + a, totals.1 + b, totals.2 + c, totals.3 + d);
                if arguments.trace {
                    eprintln!("{} rounds, {} ms", outcome.rounds, outcome.ms);
                }
                outcome.violations
            }
            Err(_) => vec!["panic".to_owned()],
        };
        if !violations.is_empty() {
            failed += 1;
            println!("seed {seed:#x} failed:");
            for violation in violations.iter().take(4) {
                println!("  {violation}");
            }
            println!("  replay: cargo run -p hostler-sim -- --seed {seed:#x} --trace");
            if !arguments.keep_going {
                break;
            }
        }
    }
    let (requests, answered, own, retried) = totals;
    println!(
        "{} seeds in {:.1} s (slowest {:#x}: {} ms), {failed} failed; {requests} requests, {answered} answers of apps, {own} of the proxy, {retried} retries",
        arguments.seeds,
        start.elapsed().as_secs_f32(),
        slowest.1,
        slowest.0.as_millis()
    );
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments =
        Arguments { first: 0, seeds: 1, steps: ROUNDS_MAX, trace: false, keep_going: false };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            let parsed = match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            parsed.map_err(|_| format!("{text} is not a number"))
        };
        match word.as_str() {
            "--seed" | "--from" => arguments.first = number()?,
            "--seeds" => arguments.seeds = number()?,
            "--steps" => arguments.steps = number()?,
            "--trace" => arguments.trace = true,
            "--keep-going" => arguments.keep_going = true,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(arguments)
}
