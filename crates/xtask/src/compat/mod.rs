//! `cargo xtask compat`: other people's test suites under plain Node and under Hostler.
//!
//! Owns: the order of the work and the outcome of the command. Each step has its file: `sources` fetches, `install`
//! installs, `runner` builds command lines, `rounds` runs and compares, `store` keeps, `report` writes the page.
//! Called by people and, as `--quick`, by `.ci/run`. The suites are data: `crates/xtask/compat/suites`.

mod compare;
mod install;
mod options;
mod outcome;
mod process;
mod report;
mod rounds;
mod runner;
mod sources;
mod store;
mod suite;

use std::path::PathBuf;

use self::options::{HELP, Options};
use self::outcome::Outcome as TestOutcome;
use self::rounds::Round;
use self::runner::Ready;
use self::sources::Missing;
use self::store::{State, Stored};
use self::suite::Suite;
use crate::nodes::{self, Node};
use crate::run::{cargo, root, run};
use crate::{Outcome, fixtures};

/// Runs the command.
pub(crate) fn compat(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    if options.help {
        print!("{HELP}");
        return Ok(());
    }
    let all = suite::load()?;
    let chosen = suite::choose(all.clone(), &options.suites, options.quick)?;
    if options.list {
        list(&chosen);
        return Ok(());
    }
    fixtures::check_node()?;
    let hostler = hostler(&options)?;
    let mut complaints = Vec::new();
    for suite in &chosen {
        println!("\n== {} {}", suite.title, suite.version());
        complaints.extend(one(suite, &options, &hostler)?);
    }
    if !options.quick && !options.plain {
        report::write(&all)?;
    }
    if complaints.is_empty() {
        println!("\n{} suites, nothing unexplained", chosen.len());
        return Ok(());
    }
    Err(format!("{} complaints:\n  {}", complaints.len(), complaints.join("\n  ")))
}

fn list(suites: &[Suite]) {
    for suite in suites {
        let quick = if suite.quick { "quick" } else { "" };
        println!("{:<22} {:<6} {} {}", suite.name, quick, suite.title, suite.version());
    }
}

/// The binary. CI has built it with the tests already, and with that profile.
fn hostler(options: &Options) -> Result<PathBuf, String> {
    if let Some(given) = &options.hostler {
        return Ok(given.clone());
    }
    if options.plain {
        return Ok(PathBuf::new());
    }
    let (profile, folder) = if options.quick { ("test", "debug") } else { ("release", "release") };
    let mut build = cargo();
    build.args(["build", "--package", "hostler", "--bin", "hostler", "--profile", profile]);
    run(build)?;
    Ok(root().join("target").join(folder).join("hostler"))
}

/// Runs one suite; gives what is wrong with it.
fn one(suite: &Suite, options: &Options, hostler: &std::path::Path) -> Result<Vec<String>, String> {
    let node = nodes::install(node_version(suite, options))?;
    let (state, complaints) = match ready(suite, options, hostler, &node) {
        Err(Missing::Skipped(why)) => {
            println!("SKIPPED: {}: {why}", suite.name);
            (State::LeftOut { why }, Vec::new())
        }
        Err(Missing::Broken(why)) => broken(suite, why),
        Ok(ready) if options.plain => {
            match rounds::plain(&ready, options) {
                Ok(round) => println!("{}", plain_line(&round)),
                Err(why) => println!("BROKEN: {why}"),
            }
            return Ok(Vec::new());
        }
        Ok(ready) => match rounds::compare(&ready, options) {
            Err(why) => broken(suite, why),
            Ok(record) => {
                let complaints = record.complaints();
                for side in &record.sides {
                    println!(
                        "{} tests, {} pass under Node, {} under hostler {}; {:?}",
                        record.tests, record.passed, side.passed, side.side, side.counts
                    );
                    mention_stale(suite, side);
                }
                (State::Ran(record), named(suite, complaints))
            }
        },
    };
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !options.plain {
        let stored = Stored { version: suite.version().to_owned(), node: node.version, state };
        store::save(suite, &stored)?;
    }
    Ok(complaints)
}

fn node_version<'a>(suite: &'a Suite, options: &'a Options) -> &'a str {
    let own = suite.node.as_deref();
    own.or(options.node.as_deref()).unwrap_or(nodes::DEFAULT)
}

fn ready(
    suite: &Suite,
    options: &Options,
    hostler: &std::path::Path,
    node: &Node,
) -> Result<Ready, Missing> {
    let source = sources::provide(suite, options)?;
    install::install(suite, &source, node).map_err(Missing::Broken)?;
    let folder = source.join(&suite.folder);
    let (suite, node, hostler) = (suite.clone(), node.clone(), hostler.to_owned());
    Ok(Ready { suite, node, source, folder, hostler })
}

fn broken(suite: &Suite, why: String) -> (State, Vec<String>) {
    let complaints = named(suite, vec![why.clone()]);
    (State::Broken { why }, complaints)
}

fn named(suite: &Suite, complaints: Vec<String>) -> Vec<String> {
    complaints.into_iter().map(|complaint| format!("{}: {complaint}", suite.name)).collect()
}

/// A reason for what is no longer seen should be looked at; it may also have been chance.
fn mention_stale(suite: &Suite, side: &rounds::SideRecord) {
    for known in &suite.known {
        if !side.verdicts.keys().any(|test| known.covers(test)) {
            println!("note: no difference in {:?} (hostler {})", known.test, side.side);
        }
    }
}

fn plain_line(round: &Round) -> String {
    let count = |outcome| round.results.values().filter(|result| result.outcome == outcome).count();
    let mut line = format!(
        "{} tests, {} pass, {} fail, {} skipped, {} s",
        round.results.len(),
        count(TestOutcome::Pass),
        count(TestOutcome::Fail),
        count(TestOutcome::Skip),
        round.seconds
    );
    for (name, result) in &round.results {
        if result.outcome == TestOutcome::Fail {
            line.push_str(&format!("\n  fails: {name}: {}", result.error));
        }
    }
    for trouble in &round.troubles {
        line.push_str(&format!("\n  {trouble}"));
    }
    line
}
