//! The `hostler` command.
//!
//! Owns: the allocator, parsing, and the choice of the verb. Must never know: what a verb does. The only crate that
//! prints or decides exit codes; `args` is what was typed, `settings` what it means.
#![forbid(unsafe_code)]

mod app_entry;
mod args;
mod ask;
mod cgroup;
mod check;
mod config;
mod config_file;
mod console;
mod cores;
mod doctor;
mod events;
mod exec;
mod find_node;
mod instance;
mod reload;
mod run;
mod scale;
mod settings;
mod start_script;
mod status;
mod stop;
mod table;
mod units;
mod upgrade;

use std::process::ExitCode;

use clap::Parser;
use hostler_spawner::Inheritance;

use crate::args::{Cli, ProxyArgs, Verb};
use crate::console::{FAILED, end_with};

/// The supervisor lives long and the proxy's control plane allocates across threads: fragmentation is what
/// the allocator is chosen against. Requests themselves do not allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else opens a descriptor: those that this process has from the program before are known by their numbers.
    let inheritance = Inheritance::from_environment();
    let verb = match (Cli::try_parse(), inheritance) {
        (Ok(Cli { verb: Verb::Run(args) }), inheritance) => return run::run(&args, inheritance),
        (Ok(cli), None) => cli.verb,
        // Prints help, version and usage errors itself, and then ends the process with 0 or 2.
        (Err(error), None) => error.exit(),
        (Ok(_), Some(inheritance)) => {
            return end_with(FAILED, inheritance.give_back("it was not started by `run`"));
        }
        (Err(error), Some(inheritance)) => {
            let why = error.to_string().lines().next().unwrap_or_default().to_owned();
            return end_with(FAILED, inheritance.give_back(&why));
        }
    };
    match verb {
        Verb::Run(args) => run::run(&args, None),
        Verb::Exec(args) => exec::exec(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Config(args) => config::config(&args.verb),
        Verb::Doctor(args) => doctor::doctor(&args),
        Verb::Status(args) => status::status(&args),
        Verb::Events(args) => events::events(&args),
        Verb::Reload(args) => reload::reload(&args),
        Verb::Rollback(args) => reload::rollback(&args),
        Verb::Scale(args) => scale::scale(&args),
        Verb::Upgrade(args) => upgrade::upgrade(&args),
        Verb::Stop(args) => stop::stop(&args),
        Verb::Proxy(args) => proxy(&args),
    }
}

fn proxy(args: &ProxyArgs) -> ExitCode {
    // Where the system gives huge pages to everybody, a few touched bytes become megabytes of resident
    // memory. Children would inherit this, so only the proxy, which has none, does it: Node may like
    // huge pages. A kernel without the call changes nothing.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    console::start_logging(args.log_format.unwrap_or_default());
    ExitCode::from(hostler_proxy::run_process())
}
