//! The user ends the test before its time.
//!
//! Owns: what happens at SIGINT, SIGTERM and SIGHUP. Daemons do not notice the terminal's Ctrl-C, so this process ends
//! them. Must never know: what is measured. Called once by `main`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Outcome;
use crate::family::{reap_orphans, running_below_us};
use crate::process::{Folder, send, wait_for};

/// Between SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);

static ENDING: AtomicBool = AtomicBool::new(false);

/// From now on a signal ends everything below this process, and then this process.
pub(crate) fn watch() -> Outcome<()> {
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals = signals.map_err(|error| format!("signals: {error}"))?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            ENDING.store(true, Ordering::Relaxed);
            eprintln!("\nloadtest: ends what it has started");
            end_all(Signal::TERM);
            end_all(Signal::KILL);
            Folder::remove_all();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Called when the test is over: a test that failed because of the signal leaves the end to it.
pub(crate) fn finish() {
    while ENDING.load(Ordering::Relaxed) {
        thread::park();
    }
}

/// Again and again: a supervisor may start a worker while it is being told to end.
fn end_all(signal: Signal) {
    wait_for(PATIENCE, || {
        reap_orphans();
        let running = running_below_us();
        running.iter().for_each(|&pid| send(pid, signal));
        thread::sleep(PATIENCE / 50);
        running.is_empty().then_some(())
    });
}
