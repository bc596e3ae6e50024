//! `docs/benchmarks.md` and its plots, made from the stored runs.
//!
//! Owns: which files there are, writing and comparing them. Must never know: how anything was measured, how a page or
//! a plot is laid out. The page is a function of `loadtest/results` and `loadtest/scenarios` alone: a test makes it
//! anew and compares, so that no figure can be edited by hand.

mod page;
mod plots;
mod reading;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::machine::repository;
use crate::record::{self, Record};
use crate::scenarios::{self, Scenario};

/// The folder of the plots, beside the page.
const PLOTS: &str = "docs/benchmarks";
const PAGE: &str = "docs/benchmarks.md";

/// A scenario with its newest run for each release line of Node.
pub(super) struct Measured {
    pub(super) scenario: Scenario,
    pub(super) records: Vec<Record>,
}

/// Names from the top of the repository, and texts.
type Files = BTreeMap<String, String>;

/// Writes the page, or fails if it is not what the stored runs give.
pub(crate) fn command(check: bool) -> Outcome<()> {
    let top = repository();
    let files = generate(&stored()?)?;
    if check {
        return compare(&top, &files);
    }
    for old in stale(&top, &files) {
        fs::remove_file(top.join(&old)).map_err(|error| format!("{old}: {error}"))?;
    }
    for (name, text) in &files {
        let path = top.join(name);
        let folder = path.parent().expect("a file is in a folder");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        written.map_err(|error| format!("{name}: {error}"))?;
        println!("{name}");
    }
    Ok(())
}

/// What `loadtest/results` holds, in the order of the scenarios; those without a run are there too.
fn stored() -> Outcome<Vec<Measured>> {
    let measured = scenarios::all()?.into_iter().map(|scenario| {
        let records = record::newest(record::read(&record::file(&scenario.name))?);
        Ok(Measured { scenario, records })
    });
    measured.collect()
}

fn generate(measured: &[Measured]) -> Outcome<Files> {
    let mut files = Files::from([(PAGE.to_owned(), page::page(measured))]);
    for record in measured.iter().flat_map(|one| &one.records) {
        for plot in plots::of(record)? {
            files.insert(format!("{PLOTS}/{}", plot.file), plot.svg);
        }
    }
    Ok(files)
}

/// Says what differs.
fn compare(top: &Path, files: &Files) -> Outcome<()> {
    let is_other = |(name, text): &(&String, &String)| {
        fs::read_to_string(top.join(name)).ok().as_ref() != Some(*text)
    };
    let mut wrong: Vec<String> =
        files.iter().filter(is_other).map(|(name, _)| name.clone()).collect();
    wrong.extend(stale(top, files));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "not what the stored runs give: {}; run `cargo xtask loadtest docs`",
        wrong.join(", ")
    ))
}

/// Plots that nothing gives any more.
fn stale(top: &Path, files: &Files) -> Vec<String> {
    let entries = fs::read_dir(top.join(PLOTS)).into_iter().flatten().flatten();
    let names = entries.map(|entry| format!("{PLOTS}/{}", entry.file_name().to_string_lossy()));
    names.filter(|name| !files.contains_key(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Folder;
    use crate::record::tests::{record, sample};

    #[test]
    fn the_committed_page_is_what_the_stored_runs_give() {
        let files = generate(&stored().expect("readable")).expect("it can be made");
        compare(&repository(), &files).expect("the same");
    }

    fn fixture() -> Vec<Measured> {
        let text = fs::read_to_string(repository().join("loadtest/tests/fixture.toml"));
        let scenario = Scenario::parse("fixture", &text.expect("it is there")).expect("right");
        let file = repository().join("loadtest/tests/fixture.jsonl");
        let records = record::newest(record::read(&file).expect("readable"));
        vec![Measured { scenario, records }]
    }

    /// `UPDATE_GOLDEN=1` writes the page anew; look at the difference before it is committed.
    #[test]
    fn the_page_of_the_fixture_is_the_golden_one() {
        let golden = repository().join("loadtest/tests/fixture.md");
        let page = page::page(&fixture());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &page).expect("written");
        }
        let wanted = fs::read_to_string(golden).expect("it is there");
        // Line by line: a difference in the whole page cannot be read.
        for (number, (line, wanted)) in (1..).zip(page.lines().zip(wanted.lines())) {
            assert_eq!(line, wanted, "line {number}");
        }
        assert_eq!(page.len(), wanted.len());
    }

    #[test]
    fn a_run_has_its_plots_and_the_page_shows_all_of_them() {
        let files = generate(&fixture()).expect("it can be made");
        let page = &files[PAGE];
        let plots: Vec<&String> = files.keys().filter(|name| *name != PAGE).collect();
        assert_eq!(plots.len(), 3, "{plots:?}");
        for name in plots {
            let shown = name.strip_prefix("docs/").expect("beside the page");
            assert!(page.contains(&format!("({shown})")), "{name}");
            assert!(files[name].starts_with("<svg") && files[name].contains("hostler uring"));
        }
    }

    #[test]
    fn a_page_edited_by_hand_and_a_forgotten_plot_are_found() {
        let folder = Folder::new().expect("a folder");
        let top = folder.path();
        fs::create_dir_all(top.join(PLOTS)).expect("made");
        let measured = |per_second| {
            let records = vec![record(&[("node", vec![sample(per_second, 1.0)])])];
            vec![Measured { scenario: Scenario::by_name("hello").expect("there"), records }]
        };
        let files = generate(&measured(1000.0)).expect("made");
        for (name, text) in &files {
            fs::write(top.join(name), text).expect("written");
        }
        compare(top, &files).expect("the same");
        let other = generate(&measured(2000.0)).expect("made");
        assert!(compare(top, &other).is_err_and(|why| why.contains(PAGE)));
        fs::write(top.join(PLOTS).join("old.svg"), "").expect("written");
        assert!(compare(top, &files).is_err_and(|why| why.contains("old.svg")));
    }
}
