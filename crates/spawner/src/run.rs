//! `run`: an instance from its first file to its last.
//!
//! Owns: the order of the start (directory, listeners, loader, loop) and its reverse at the end.
//! Must never know: what happens in between.

use crate::config::{AppSpec, SupervisorConfig};
use crate::event_loop::{EventLoop, Farewell, Parts};
use crate::hand_over::Inheritance;
use crate::listeners::Listeners;
use crate::outcome::{ExitReason, Notice};
use crate::runtime_dir::RuntimeDir;
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
    let Parts { version, mut config, dir, mut listeners, rest } = opened.estate.into_parts();
    let first = match opened.returned {
        Some(why) => Event::HandOverFailed(why),
        None => Event::TookOver { from: version },
    };
    // What it starts from now on is this program.
    if let (Some(program), Ok(own)) = (config.proxy_command.first_mut(), std::env::current_exe()) {
        *program = own.into();
    }
    started(&config);
    let took_over = matches!(first, Event::TookOver { .. });
    let loader_dir = took_over.then(|| dir.write_loader(hostler_loader::FILES));
    let resumed = EventLoop::resume(&config, &dir, &mut listeners, rest, first, read_app, out);
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
