//! `docs/compatibility.md`.
//!
//! Owns: the page's words and tables. Must never know: how results came about.

use std::fmt::Write as _;
use std::fs;

use super::compare::{Seen, Verdict};
use super::rounds::{Record, SideRecord};
use super::store::{self, State, Stored};
use super::suite::{Source, Suite};
use crate::run::root;

const PAGE: &str = "docs/compatibility.md";

const OPENING: &str = "\
# Compatibility

Written by `cargo xtask compat`; do not edit. Other people's test suites and a few real apps, run twice: under plain Node, and under
`hostler exec`, which serves every `http.Server` of every process through Hostler's proxy on the address that it asked for. The
suites are unmodified. Only differences count: a test that fails in both runs says nothing about Hostler.

*requests* were answered through the proxy, *frames* of them over the framed transport and *http* of them by Node's own parser (upgrades,
CONNECT, malformed requests: see [the worker protocol](worker-protocol.md)).

A test that ends differently is run three times on each side. It counts as a difference when the majority of the runs says so; otherwise it is
listed as unsteady. Each difference has its reason in the suite's file, `crates/xtask/compat/suites/NAME.toml`; one without a
reason makes the command fail.
";

const REPEATING: &str = "\
## To repeat this

You need what `cargo xtask test` needs, `git`, a network, 4 GiB of disk and about an hour.

```sh
cargo xtask compat                                  # everything; clones from GitHub into target/compat
cargo xtask compat express-5 ws --node 20           # two suites, another Node
cargo xtask compat --node-tests /path/to/node/test  # Node's own tests too, from a checkout of nodejs/node
cargo xtask compat --sources DIR                    # repositories that are there already: DIR/OWNER+NAME
cargo xtask compat --quick                          # what CI runs: npm is enough, a few minutes
```

Every suite's last result is kept in `crates/xtask/compat/results`, so that a run of some of them renews their rows only. A suite that cannot be had
is skipped and named at the end. `target/compat/logs` has the output of every run. Packages are installed without their install scripts, and none that is newer than the bench.
To try your own app: `hostler exec --summary -- npm test`.
";

/// Writes the page from what is stored of every suite.
pub(crate) fn write(suites: &[Suite]) -> Result<(), String> {
    let stored: Vec<(&Suite, Option<Stored>)> =
        suites.iter().map(|suite| (suite, store::load(suite))).collect();
    let mut page = OPENING.to_owned();
    page.push_str(&table(&stored));
    page.push_str(&differences(&stored));
    page.push_str(&unsteady(&stored));
    page.push_str(&left_out(&stored));
    page.push_str(&not_run(&stored));
    page.push('\n');
    page.push_str(REPEATING);
    fs::write(root().join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))?;
    eprintln!("{PAGE} written");
    Ok(())
}

fn table(stored: &[(&Suite, Option<Stored>)]) -> String {
    let mut text = "\n## Results\n\n\
        | suite | version | Node | tests | pass under Node | pass under Hostler | differences | servers | requests | frames | http |\n\
        |---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (suite, stored) in ran(stored) {
        let State::Ran(record) = &stored.state else { continue };
        for side in &record.sides {
            let mut title = suite.title.clone();
            title.extend(stored.upload_mib.map(|mib| format!(" to {}", size(mib))));
            if side.side == "run" {
                title.push_str(", by `hostler run`");
            }
            let row = row(&title, stored, record, side);
            text.push_str(&row);
        }
    }
    text
}

fn row(title: &str, stored: &Stored, record: &Record, side: &SideRecord) -> String {
    let (explained, unexplained) = count(side);
    let differences = match (explained, unexplained) {
        (0, 0) => "none".to_owned(),
        (explained, 0) => format!("{explained}, explained"),
        (_, unexplained) => format!("{explained} explained, **{unexplained} not**"),
    };
    let counts = if side.side == "run" {
        " | | | ".to_owned()
    } else {
        let counts = side.counts;
        format!("{} | {} | {} | {}", counts.servers, counts.requests, counts.frames, counts.http)
    };
    format!(
        "| {title} | {} | {} | {} | {} | {} | {differences} | {counts} |\n",
        stored.version, stored.node, record.tests, record.passed, side.passed
    )
}

/// A size of MiB as people say it.
fn size(mib: u64) -> String {
    if mib >= 1024 && mib.is_multiple_of(1024) {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}

fn count(side: &SideRecord) -> (usize, usize) {
    let different = side.verdicts.values().filter_map(|verdict| match verdict {
        Verdict::Different { reason, .. } => Some(reason.is_some()),
        Verdict::Unsteady { .. } => None,
    });
    different.fold(
        (0, 0),
        |(yes, no), explained| {
            if explained { (yes + 1, no) } else { (yes, no + 1) }
        },
    )
}

fn differences(stored: &[(&Suite, Option<Stored>)]) -> String {
    let mut text = "\n## Differences\n".to_owned();
    let empty = text.len();
    for (suite, side) in sides(stored) {
        // Tests with the same reason stand together.
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (test, verdict) in &side.verdicts {
            let Verdict::Different { node, hostler, reason } = verdict else { continue };
            let reason = reason.clone().unwrap_or_else(|| "**Not explained.**".to_owned());
            let line = format!("`{}`: {}", escape(test), ends(node, hostler));
            match groups.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, lines)) => lines.push(line),
                None => groups.push((reason, vec![line])),
            }
        }
        if groups.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n### {}\n", suite.title);
        for (reason, lines) in groups {
            let _ = writeln!(text, "{reason}\n");
            lines.iter().for_each(|line| {
                let _ = writeln!(text, "* {line}");
            });
            text.push('\n');
        }
    }
    if text.len() == empty {
        text.push_str("\nNone.\n");
    }
    text
}

fn unsteady(stored: &[(&Suite, Option<Stored>)]) -> String {
    let mut lines = String::new();
    for (suite, side) in sides(stored) {
        for (test, verdict) in &side.verdicts {
            if let Verdict::Unsteady { node, hostler } = verdict {
                let _ = writeln!(
                    lines,
                    "| {} | `{}` | {} of {} | {} of {} |",
                    suite.title,
                    escape(test),
                    node.passed,
                    node.rounds,
                    hostler.passed,
                    hostler.rounds
                );
            }
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "\n## Unsteady tests\n\nThey did not end the same in every round; the rounds do not show that Hostler is the cause.\n\n\
         | suite | test | passed under Node | passed under Hostler |\n|---|---|---|---|\n{lines}"
    )
}

fn left_out(stored: &[(&Suite, Option<Stored>)]) -> String {
    let mut lines = String::new();
    for (suite, _) in ran(stored) {
        for left_out in &suite.left_out {
            let _ = writeln!(lines, "* {}, `{}`: {}", suite.title, left_out.files, left_out.reason);
        }
    }
    if lines.is_empty() { lines } else { format!("\n## Files left out\n\n{lines}") }
}

fn not_run(stored: &[(&Suite, Option<Stored>)]) -> String {
    let mut lines = String::new();
    for (suite, stored) in stored {
        let why = match stored.as_ref().map(|stored| &stored.state) {
            Some(State::Ran(_)) => continue,
            Some(State::LeftOut { why } | State::Broken { why }) => why.clone(),
            None => "not run yet at this version".to_owned(),
        };
        let place = match &suite.source {
            Source::Repository { repository, tag } => format!("{repository} {tag}"),
            other => format!("{} {}", suite.name, Suite::version_of(other)),
        };
        let _ = writeln!(lines, "* {} ({place}): {}", suite.title, why.replace('\n', " "));
    }
    if lines.is_empty() { lines } else { format!("\n## Not run\n\n{lines}") }
}

fn ran<'a>(
    stored: &'a [(&'a Suite, Option<Stored>)],
) -> impl Iterator<Item = (&'a Suite, &'a Stored)> {
    stored.iter().filter_map(|(suite, stored)| Some((*suite, stored.as_ref()?)))
}

fn sides<'a>(
    stored: &'a [(&'a Suite, Option<Stored>)],
) -> impl Iterator<Item = (&'a Suite, &'a SideRecord)> {
    ran(stored).flat_map(|(suite, stored)| {
        let sides: &[SideRecord] = match &stored.state {
            State::Ran(record) => &record.sides,
            State::LeftOut { .. } | State::Broken { .. } => &[],
        };
        sides.iter().map(move |side| (suite, side))
    })
}

fn ends(node: &Seen, hostler: &Seen) -> String {
    let end = |seen: &Seen| {
        if seen.passes() { "passes".to_owned() } else { format!("`{}`", escape(&seen.instead)) }
    };
    format!("Node {}, Hostler {}", end(node), end(hostler))
}

/// Text that can stand between backquotes in a table.
fn escape(text: &str) -> String {
    text.replace('`', "'").replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::outcome::Counts;
    use crate::compat::suite;

    #[test]
    fn an_unexplained_difference_stands_out() {
        let seen = |passed| Seen { passed, rounds: 3, instead: "a | b".to_owned() };
        let verdict = Verdict::Different { node: seen(3), hostler: seen(0), reason: None };
        let side = SideRecord {
            side: "exec".to_owned(),
            passed: 9,
            counts: Counts { servers: 1, requests: 2, frames: 2, http: 0 },
            verdicts: [("t".to_owned(), verdict)].into(),
            troubles: Vec::new(),
        };
        let record = Record { tests: 10, skipped: 0, passed: 10, sides: vec![side] };
        let stored = Stored {
            version: "1".to_owned(),
            node: "24".to_owned(),
            upload_mib: None,
            state: State::Ran(record),
        };
        let suites = suite::load().expect("right");
        let stored = [(&suites[0], Some(stored))];
        assert!(
            table(&stored).contains("| 10 | 10 | 9 | 0 explained, **1 not** | 1 | 2 | 2 | 0 |")
        );
        let differences = differences(&stored);
        assert!(differences.contains("**Not explained.**"));
        assert!(differences.contains("`t`: Node passes, Hostler `a \\| b`"));
        assert_eq!(not_run(&stored), "");
    }

    #[test]
    fn the_size_of_an_upload_is_said_as_it_was() {
        assert_eq!([2048, 1500, 64].map(size), ["2 GiB", "1500 MiB", "64 MiB"]);
    }
}
