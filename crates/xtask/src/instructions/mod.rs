//! `cargo xtask instructions`: what each case of `benches/cases` costs, in instructions, against the committed baseline.
//!
//! Owns: the order of things and the table. Must never know: how instructions are counted (`callgrind`), what is too much
//! (`baseline`), what is measured (`benches/cases`).
//!
//! Times differ from run to run and from machine to machine; instructions do not, so a growth of a few per cent is seen
//! where no clock could show it.

mod baseline;
mod callgrind;
mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use self::baseline::{Baseline, Counts, Line, Verdict, compare};
use self::machine::Machine;
use crate::Outcome;
use crate::run::{cargo, root, say};

const BASELINE: &str = "benches/instructions.toml";

/// `[--bless] [FILTER]`: counts the cases whose names contain the filter; with `--bless` they become the baseline.
pub(crate) fn instructions(arguments: &[String]) -> Outcome {
    let (options, filters): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    let bless = options.contains(&&"--bless".to_owned());
    if options.len() > usize::from(bless) || filters.len() > 1 {
        return Err("usage: cargo xtask instructions [--bless] [FILTER]".to_owned());
    }
    callgrind::check_installed()?;
    let here = Machine::this()?;
    let old = read_baseline(bless)?;
    let partial = !filters.is_empty();
    if bless && partial && old.made_with != here {
        return Err(format!("{}bless all cases", old.made_with.differences(&here)));
    }
    let program = build()?;
    let mut cases = list(&program)?;
    cases.retain(|case| filters.iter().all(|filter| case.contains(&***filter)));
    if cases.is_empty() {
        return Err("no case has such a name".to_owned());
    }
    let counts = count(&program, &cases)?;
    let lines = compare(&old.instructions, &counts, partial);
    print(&lines);
    if bless {
        let text = old.bless(counts, here, partial).text();
        fs::write(root().join(BASELINE), text).map_err(|error| format!("{BASELINE}: {error}"))?;
        eprintln!("{BASELINE} written");
        return Ok(());
    }
    judge(&lines, &old.made_with, &here)
}

fn read_baseline(bless: bool) -> Result<Baseline, String> {
    match fs::read_to_string(root().join(BASELINE)) {
        Ok(text) => Baseline::parse(&text).map_err(|error| format!("{BASELINE}: {error}")),
        // The first one.
        Err(_) if bless => Ok(Baseline::default()),
        Err(error) => Err(format!("{BASELINE}: {error}")),
    }
}

/// The program that runs a case, built as the shipped binary is.
fn build() -> Result<PathBuf, String> {
    let mut command = cargo();
    command.args(["bench", "--bench", "count", "--no-run", "--message-format"]);
    command.arg("json-render-diagnostics").env("CARGO_INCREMENTAL", "0");
    say(&command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let program = text.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "count";
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    program.ok_or_else(|| "cargo did not say where the program is".to_owned())
}

fn list(program: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(program).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Counts the cases, as many at a time as there are cores: they do not disturb each other's counts.
fn count(program: &Path, cases: &[String]) -> Result<Counts, String> {
    let folder = root().join("target/instructions");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let waiting = Mutex::new(cases.iter());
    let found = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(case) = waiting.lock().expect("no panic").next() else { return };
            let counted = callgrind::count(program, case, &folder);
            found.lock().expect("no panic").push(counted.map(|count| (case.clone(), count)));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().expect("no panic").into_iter().collect()
}

fn print(lines: &[Line]) {
    println!("{:<32} {:>14} {:>14} {:>9}", "case", "instructions", "baseline", "change");
    for line in lines {
        println!("{line}");
    }
}

fn judge(lines: &[Line], made_with: &Machine, here: &Machine) -> Outcome {
    let differences = made_with.differences(here);
    if made_with.target != here.target {
        eprintln!("SKIPPED: {differences}the counts are not judged, for other code runs here");
        return Ok(());
    }
    eprint!("{differences}");
    let verdicts = |wanted: Verdict| lines.iter().filter(move |line| line.verdict == wanted);
    for line in verdicts(Verdict::Shrunk) {
        eprintln!("{}: it got cheaper; bless it, so that it stays so", line.case);
    }
    let bad: Vec<String> = [Verdict::Grown, Verdict::New, Verdict::Vanished]
        .into_iter()
        .flat_map(verdicts)
        .map(Line::complaint)
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(format!(
        "\n  {}\nIf this is meant, move the baseline and say in the commit why: cargo xtask instructions --bless\n\
         What costs it: callgrind_annotate target/instructions/CASE.out",
        bad.join("\n  ")
    ))
}
