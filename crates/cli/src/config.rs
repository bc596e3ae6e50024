//! `hostler config show` and `hostler config schema`.
//!
//! Owns: the form of the file that `show` prints. Must never know: single settings. Called by `main`.
//!
//! What somebody chose is a line of the file, what is only a default is a comment: saved, the file means the same. A default
//! written as a value would not: it would overrule what an app sets on its own server, and what this machine's cores suggest.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::args::{ConfigVerb, RunArgs};
use crate::config_file::schema;
use crate::console::{BAD_CONFIG, OK, end_with, print, print_json};
use crate::settings::{Row, Section, Settings, Value, rows};

/// Runs the verb.
pub(crate) fn config(verb: &ConfigVerb) -> ExitCode {
    match verb {
        ConfigVerb::Schema => print_json(&schema()),
        ConfigVerb::Show(args) => return show(args),
    }
    ExitCode::from(OK)
}

fn show(args: &RunArgs) -> ExitCode {
    match Settings::read(args) {
        Ok(settings) => {
            print(&file_of(&settings));
            ExitCode::from(OK)
        }
        Err(error) => end_with(BAD_CONFIG, error),
    }
}

/// The settings as a file.
pub(crate) fn file_of(settings: &Settings) -> String {
    let rows = rows(settings);
    let mut text = String::from(
        "# The settings in effect, each with where it comes from; defaults are comments.\n\n[server]\n",
    );
    rows.iter().filter(|row| row.section == Section::Server).for_each(|row| line(&mut text, row));
    text.push_str("\n[[app]]\n");
    rows.iter().filter(|row| row.section == Section::App).for_each(|row| line(&mut text, row));
    text
}

fn line(text: &mut String, row: &Row) {
    // Where the app is was found from here; from another folder the same file shall find it again.
    let is_place = row.section == Section::App && (row.key == "path" || row.key == "cwd");
    let mark = if row.source.is_chosen() || is_place { "" } else { "# " };
    let value = match &row.value {
        Value::Nothing => {
            let _ = writeln!(text, "# {} is not set  # {}", row.key, row.why());
            return;
        }
        value => value.toml(),
    };
    let _ = writeln!(text, "{mark}{} = {value}  # {}", row.key, row.why());
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
