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

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, ProxyArgs, Verb};

/// The supervisor lives long and the proxy's control plane allocates across threads: fragmentation is what
/// the allocator is chosen against. Requests themselves do not allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Prints help, version and usage errors itself, and then ends the process with 0 or 2.
    match Cli::parse().verb {
        Verb::Run(args) => run::run(&args),
        Verb::Exec(args) => exec::exec(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Config(args) => config::config(&args.verb),
        Verb::Doctor(args) => doctor::doctor(&args),
        Verb::Status(args) => status::status(&args),
        Verb::Events(args) => events::events(&args),
        Verb::Reload(args) => reload::reload(&args),
        Verb::Rollback(args) => reload::rollback(&args),
        Verb::Scale(args) => scale::scale(&args),
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
