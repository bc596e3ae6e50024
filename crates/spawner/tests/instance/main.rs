//! Whole instances: a real supervisor process, real signals and pipes, a fake proxy and fake
//! workers.
//!
//! This program is all of them; its arguments say which. Without a role it runs the tests, each
//! bounded by a deadline and none with a fixed port.
#![allow(clippy::print_stdout, reason = "a test program talks through stdout")]

mod bench;
mod commands;
mod fake_proxy;
mod fake_worker;
mod supervise;
mod tests;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("supervise") => supervise::main(&args[1]),
        Some("fake-proxy") => fake_proxy::main(&args[1]),
        Some("--require") => fake_worker::main(&args[2..]),
        Some("serve") => commands::serve(&args[1]),
        _ => run_tests(&args),
    }
}

fn run_tests(args: &[String]) {
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let mut failed = Vec::new();
    for (name, test) in tests::ALL.iter().chain(commands::ALL) {
        if !wanted(name) {
            continue;
        }
        let begun = std::time::Instant::now();
        let passed = std::panic::catch_unwind(test).is_ok();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({} ms)", begun.elapsed().as_millis());
        if !passed {
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        println!("failed: {failed:?}");
        std::process::exit(101);
    }
}
