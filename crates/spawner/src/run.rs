//! `run`: an instance from its first file to its last.
//!
//! Owns: the order of the start (directory, listeners, loader, loop) and its reverse at the end.
//! Must never know: what happens in between.

use std::path::Path;

use crate::adoption;
use crate::config::{AppSpec, SupervisorConfig};
use crate::event_loop::{Adopted, EventLoop, Farewell, Origin, Parts};
use crate::hand_over::Inheritance;
use crate::listeners::Listeners;
use crate::outcome::{ExitReason, Notice};
use crate::runtime_dir::{RuntimeDir, RuntimeDirError};
use crate::supervisor::Event;

/// Reads the app's settings anew.
pub type ReadApp<'a> = dyn FnMut() -> Result<AppSpec, String> + 'a;

/// Runs an instance until it ends.
///
/// Blocks. Must be called on the main thread of a process without other threads: it forks, blocks
/// signals, becomes the parent of orphans, and ties its children's lives to the calling thread.
/// `out` is called for the few things a person should see; everything else goes to `tracing`, and
/// the output of the app and the proxy to stdout and stderr. `read_app` is called for each reload and gives the app as
/// files and environment say now, or one line about what is wrong with them.
pub fn run(
    config: SupervisorConfig,
    read_app: &mut ReadApp<'_>,
    out: &mut dyn FnMut(Notice),
) -> ExitReason {
    // First of all, so that an address in use is not blamed on an instance that could simply be
    // stopped.
    let dir = match RuntimeDir::acquire(&config.runtime_dir, &config.app.name) {
        Ok(dir) => dir,
        Err(RuntimeDirError::InUse { .. }) if adoption::is_orphaned(&config.runtime_dir) => {
            return match adoption::adopt(&config.runtime_dir) {
                Ok((parts, adopted)) => go_on(parts, adopted, &config, read_app, out),
                Err(why) => ExitReason::RuntimeDir { why },
            };
        }
        Err(error) => {
            return ExitReason::RuntimeDir { why: error.to_string() };
        }
    };
    let (reason, farewell) = run_in(&config, &dir, read_app, out);
    dir.remove();
    drop(farewell);
    reason
}

fn run_in(
    config: &SupervisorConfig,
    dir: &RuntimeDir,
    read_app: &mut ReadApp<'_>,
    out: &mut dyn FnMut(Notice),
) -> (ExitReason, Option<Farewell>) {
    let mut listeners = match Listeners::open(&config.listeners, config.proxy.shards, dir) {
        Ok(listeners) => listeners,
        Err(error) => {
            return (ExitReason::CannotListen { why: error.to_string() }, None);
        }
    };
    let ended = match dir.write_loader(hostler_loader::FILES) {
        Ok(loader_dir) => {
            match EventLoop::new(config, dir, &mut listeners, loader_dir, read_app, out) {
                Ok(event_loop) => {
                    let (reason, farewell) = event_loop.run();
                    (reason, Some(farewell))
                }
                Err(error) => {
                    let why = format!("the supervisor cannot start: {error}");
                    (ExitReason::System { why }, None)
                }
            }
        }
        Err(error) => (ExitReason::RuntimeDir { why: error.to_string() }, None),
    };
    listeners.remove_files();
    ended
}

/// Goes on with an instance that this process has run as another program. Blocks, as [`run`] does. Ends early only if the state cannot be
/// read: then the program before goes on in this process, and nothing of this one is left.
pub fn resume(
    mut inheritance: Inheritance,
    started: &mut dyn FnMut(&SupervisorConfig),
    read_app: &mut ReadApp<'_>,
    out: &mut dyn FnMut(Notice),
) -> ExitReason {
    let opened = match inheritance.open() {
        Ok(opened) => opened,
        Err(why) => return ExitReason::System { why: inheritance.give_back(&why) },
    };
    // There is no way back from here.
    drop(inheritance);
    let parts = opened.estate.into_parts();
    started(&parts.config);
    let origin = match opened.returned {
        Some(why) => Origin::Returned { why },
        None => Origin::Program { version: parts.version.clone() },
    };
    resume_with(parts, origin, read_app, out)
}

/// Goes on with an instance whose supervisor has died. What was typed now counts as far as a reload can bring it about.
fn go_on(
    parts: Parts,
    adopted: Adopted,
    wanted: &SupervisorConfig,
    read_app: &mut ReadApp<'_>,
    out: &mut dyn FnMut(Notice),
) -> ExitReason {
    let before = &parts.config;
    let fixed = |config: &SupervisorConfig| (config.listeners.clone(), config.proxy.clone());
    if fixed(before) != fixed(wanted) {
        tracing::warn!(
            "listening addresses, shards, limits and time-outs stay what they were; `hostler stop` and a start change them"
        );
    }
    let mut then = Vec::new();
    if !parts.rest.runs(&wanted.app) {
        let cause = "the start".to_owned();
        then.push(Event::Reload { cause, ticket: None, back: false });
    }
    resume_with(parts, Origin::Dead { adopted, then }, read_app, out)
}

/// Ends an instance whose supervisor has died, as `hostler stop` ends others; why that is not possible, if it is not.
pub fn stop_orphans(runtime_dir: &Path) -> Result<ExitReason, String> {
    let (parts, adopted) = adoption::adopt(runtime_dir)?;
    let mut read_app = || Err("the instance is stopping".to_owned());
    let then = vec![Event::StopCommand];
    Ok(resume_with(parts, Origin::Dead { adopted, then }, &mut read_app, &mut |_| {}))
}

fn resume_with(
    parts: Parts,
    origin: Origin,
    read_app: &mut ReadApp<'_>,
    out: &mut dyn FnMut(Notice),
) -> ExitReason {
    let Parts { mut config, mut dir, mut listeners, rest, .. } = parts;
    let is_new = !matches!(origin, Origin::Returned { .. });
    if let (Some(program), Ok(own), true) =
        (config.proxy_command.first_mut(), std::env::current_exe(), is_new)
    {
        // What it starts from now on is this program.
        *program = own.into();
    }
    let loader_dir = is_new.then(|| dir.write_loader(hostler_loader::FILES));
    if let Err(error) = dir.sign_lock() {
        tracing::debug!(%error, "the lock still names the supervisor before");
    }
    let resumed = EventLoop::resume(&config, &dir, &mut listeners, rest, origin, read_app, out);
    let (reason, farewell) = match resumed {
        Ok(mut event_loop) => {
            match loader_dir {
                Some(Ok(loader_dir)) => event_loop.use_loader(loader_dir),
                Some(Err(error)) => tracing::warn!("new workers get the old loader: {error}"),
                None => {}
            }
            let (reason, farewell) = event_loop.run();
            (reason, Some(farewell))
        }
        Err(error) => (ExitReason::System { why: format!("cannot go on: {error}") }, None),
    };
    listeners.remove_files();
    dir.remove();
    drop(farewell);
    reason
}
