//! Why a script did not start, in words. Commands have words of their own, in `command`.
//!
//! Owns: those sentences. Must never know: what follows from a failed start. Called by `worker`.

use super::command;
use super::death::{Death, HowDied};
use super::health::explain_health;
use super::process::Process;
use super::worker::AWAITS_READY;
use crate::journey::Step;

/// What happened, and what to do, when a worker dies before it is ready.
pub(super) fn explain_start(process: &Process, death: &Death) -> (String, Option<String>) {
    if process.search.is_some() || process.accepts.is_some() {
        return command::explain_start(process, death);
    }
    if let Some(condemned) = &process.condemned {
        let hint = if awaits_ready(process) {
            "if the app never says so, leave out --ready message: it is ready when it listens then"
        } else {
            "if the app needs longer, raise the start time-out; if it serves by https, http2 or a \
             net server, it cannot be taken over yet"
        };
        return (condemned.clone(), Some(hint.to_owned()));
    }
    let words = process.exception.clone().or_else(|| death.last_words());
    let words = words.map_or(String::new(), |words| format!(": {words}"));
    let died = death.explained();
    match (process.journey.current(), death.how) {
        (Step::Fork | Step::Exec | Step::Preload, _) => {
            let hint = "node refused its options, or this is not node: try the command below by hand";
            (format!("node {died} before the loader ran{words}"), Some(hint.to_owned()))
        }
        (Step::SelfTest | Step::AppLoad, HowDied::Exit(0)) => (
            "the app exited with code 0 before it called listen(): its code ran to the end and nothing kept it alive"
                .to_owned(),
            Some(
                "if this file only exports the app, name the file that calls listen() (often bin/www or server.js)"
                    .to_owned(),
            ),
        ),
        (Step::SelfTest | Step::AppLoad, _) => {
            (format!("the app {died} before it called listen(){words}"), None)
        }
        (Step::Answer, _) => {
            (format!("the app {died} after listen(), before it answered that it was ready{words}"), None)
        }
        (Step::Connect | Step::Accept, _) => {
            (format!("the app {died} after listen(), before it was connected to the proxy{words}"), None)
        }
    }
}

pub(super) fn explain_slow_start(process: &Process, limit_s: u32) -> String {
    if let Some(why) = explain_health(process, u64::from(limit_s) * 1_000) {
        return why;
    }
    match process.journey.current() {
        Step::Fork | Step::Exec | Step::Preload => {
            format!("node did not run the loader within {limit_s} s")
        }
        Step::SelfTest | Step::AppLoad if process.other_servers.is_empty() => {
            format!("the app did not call listen() on an http.Server within {limit_s} s")
        }
        Step::SelfTest | Step::AppLoad => format!(
            "the app did not call listen() on an http.Server within {limit_s} s, only on: {}",
            process.other_servers.join(", ")
        ),
        Step::Connect | Step::Accept if awaits_ready(process) => {
            format!("{AWAITS_READY} within {limit_s} s")
        }
        Step::Connect | Step::Accept | Step::Answer => {
            format!("the app could not be connected to the proxy within {limit_s} s")
        }
    }
}

fn awaits_ready(process: &Process) -> bool {
    let notes = process.journey.steps().iter().filter_map(|record| record.note.as_deref());
    notes.into_iter().any(|note| note == AWAITS_READY)
}
