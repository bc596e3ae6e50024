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
    sources::check(&chosen, &options)?;
    fixtures::check_node()?;
    let hostler = hostler(&options)?;
    let (mut complaints, mut skipped) = (Vec::new(), Vec::new());
    for suite in &chosen {
        println!("\n== {} {}", suite.title, suite.version());
        let said = one(suite, &options, &hostler)?;
        complaints.extend(said.complaints);
        skipped.extend(said.skipped);
    }
    if !options.quick && !options.plain {
        report::write(&all)?;
    }
    if !skipped.is_empty() {
        println!(
            "\n{} SKIPPED, about which this says nothing:\n  {}",
            skipped.len(),
            skipped.join("\n  ")
        );
    }
    if complaints.is_empty() {
        println!("\n{} suites ran, nothing unexplained", chosen.len() - skipped.len());
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

/// What is to be said at the end about one suite.
#[derive(Default)]
struct Said {
    complaints: Vec<String>,
    /// Why it did not run, if nothing is wrong with that.
    skipped: Option<String>,
}

/// Runs one suite.
fn one(suite: &Suite, options: &Options, hostler: &std::path::Path) -> Result<Said, String> {
    let node = nodes::install(node_version(suite, options))?;
    let mut said = Said::default();
    let state = match ready(suite, options, hostler, &node) {
        Err(Missing::Skipped(why)) => {
            println!("SKIPPED: {why}");
            let line = format!("{}: {}", suite.name, why.replace('\n', " "));
            // Who names a suite wants to know about it.
            if options.suites.contains(&suite.name) {
                said.complaints.push(line);
            } else {
                said.skipped = Some(line);
            }
            State::LeftOut { why }
        }
        Err(Missing::Broken(why)) => broken(suite, why, &mut said),
        Ok(ready) if options.plain => {
            match rounds::plain(&ready, options) {
                Ok(round) => println!("{}", plain_line(&round)),
                Err(why) => println!("BROKEN: {why}"),
            }
            return Ok(said);
        }
        Ok(ready) => match rounds::compare(&ready, options) {
            Err(why) => broken(suite, why, &mut said),
            Ok(record) => {
                print_record(suite, &record);
                said.complaints.extend(named(suite, record.complaints()));
                State::Ran(record)
            }
        },
    };
    for complaint in &said.complaints {
        println!("{complaint}");
    }
    // The quick ones are not all that there is to run.
    if !options.plain && !options.quick {
        let upload_mib = suite.upload.then(|| options.upload_mib());
        let version = suite.version().to_owned();
        store::save(suite, &Stored { version, node: node.version, upload_mib, state })?;
    }
    Ok(said)
}

fn print_record(suite: &Suite, record: &rounds::Record) {
    for side in &record.sides {
        let counts = side.counts;
        println!(
            "{} tests, {} pass under Node, {} under hostler {}; {} servers, {} requests, {} of them in frames",
            record.tests,
            record.passed,
            side.passed,
            side.side,
            counts.servers,
            counts.requests,
            counts.frames
        );
        mention_stale(suite, side);
    }
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

fn broken(suite: &Suite, why: String, said: &mut Said) -> State {
    said.complaints.extend(named(suite, vec![why.clone()]));
    State::Broken { why }
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
