//! The program that `cargo xtask instructions` runs under callgrind.
//!
//! Owns: running one case a given number of times. Must never know: what is measured (`cases`), who counts.
//!
//! `count` lists the cases, `count CASE ITERATIONS` runs one.

#![allow(missing_docs, reason = "a bench")]

use std::thread;
use std::time::Duration;

mod cases;

/// As in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Iterations before the counted ones: lists grow to their size, every generation of a stream comes by.
const WARM_UP: u32 = 512;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(name) = arguments.next() else {
        for case in cases::all() {
            println!("{}", case.name);
        }
        return;
    };
    let iterations: u32 =
        arguments.next().and_then(|text| text.parse().ok()).expect("CASE ITERATIONS");
    // A thread's stack begins at a page. The main one's begins behind arguments and environment, and the length of those
    // would decide which path a copy takes.
    let thread = thread::spawn(move || {
        // The main thread waits by then. Were it still about to, that would take other instructions.
        thread::sleep(Duration::from_millis(100));
        run(&name, iterations);
    });
    thread.join().expect("the case runs");
}

fn run(name: &str, iterations: u32) {
    let mut cases = cases::all();
    cases.retain(|case| case.name == name);
    let mut iteration = cases.pop().expect("a case of the list").prepare();
    for _ in 0..WARM_UP + iterations {
        iteration();
    }
}
