//! From the PATH that was typed to the script that Node runs, its folder and the app's name.
//!
//! Owns: the search order and the error that lists what was looked for. Must never know: listeners, workers.
//! Used by `settings`.
//!
//! A file is run as `node FILE` would: in the current folder. A folder is run like `npm start`: in that folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::start_script::{StartLine, parse_start_line};

/// The app that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppEntry {
    /// Name for logs and status.
    pub(crate) name: String,
    /// The script, absolute.
    pub(crate) script: PathBuf,
    /// Working directory of the workers, absolute.
    pub(crate) folder: PathBuf,
    /// Options for Node itself, from the start line.
    pub(crate) node_args: Vec<String>,
    /// Arguments behind the script, from the start line.
    pub(crate) args: Vec<String>,
    /// Variables from the start line.
    pub(crate) env: Vec<(String, String)>,
    /// Which rule found the script, for `hostler check`.
    pub(crate) found_by: String,
}

/// Why there is no app at PATH.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppEntryError {
    #[error("{}: {error}; give a folder with a Node app or a JavaScript file", .path.display())]
    NoPath { path: PathBuf, error: std::io::Error },
    #[error(
        "{}: not a JavaScript file; a folder or a file that ends in .js, .cjs or .mjs is expected{hint}",
        .path.display()
    )]
    NotJavaScript { path: PathBuf, hint: &'static str },
    #[error("{}: {error}", .path.display())]
    BadPackage { path: PathBuf, error: String },
    #[error("no app to start in {}; looked for:\n{tried}give the file itself: hostler run {}/FILE.js",
        .folder.display(), .folder.display())]
    NothingFound { folder: PathBuf, tried: String },
}

/// The parts of a package.json that matter here; whatever else it holds is npm's.
#[derive(Default, Deserialize)]
struct Package {
    name: Option<String>,
    main: Option<String>,
    #[serde(default)]
    scripts: Scripts,
}

#[derive(Default, Deserialize)]
struct Scripts {
    start: Option<String>,
}

const USUAL_FILES: [&str; 9] = [
    "server.js",
    "server.cjs",
    "server.mjs",
    "app.js",
    "app.cjs",
    "app.mjs",
    "index.js",
    "index.cjs",
    "index.mjs",
];

/// Finds the app at `path`; `current_folder` is where the command was typed.
pub(crate) fn find_app(path: &Path, current_folder: &Path) -> Result<AppEntry, AppEntryError> {
    let absolute = current_folder.join(path);
    // Resolving links gives one name for one app, whatever way it was reached.
    let absolute = absolute
        .canonicalize()
        .map_err(|error| AppEntryError::NoPath { path: path.to_owned(), error })?;
    if absolute.is_dir() {
        return find_in_folder(path, &absolute);
    }
    if !has_script_ending(&absolute) {
        let typescript =
            absolute.extension().is_some_and(|ending| ending == "ts" || ending == "mts");
        let hint = if typescript { "; compile TypeScript first" } else { "" };
        return Err(AppEntryError::NotJavaScript { path: path.to_owned(), hint });
    }
    Ok(AppEntry {
        name: name_of_file(&absolute),
        script: absolute,
        folder: current_folder.to_owned(),
        node_args: Vec::new(),
        args: Vec::new(),
        env: Vec::new(),
        found_by: "the file itself".to_owned(),
    })
}

fn find_in_folder(typed: &Path, folder: &Path) -> Result<AppEntry, AppEntryError> {
    let package = read_package(folder)?;
    let mut tried = String::new();
    let start = package.as_ref().and_then(|package| start_script(package, folder, &mut tried));
    let main = package.as_ref().and_then(|package| {
        let main = package.main.as_deref()?;
        let file = resolve_file(&folder.join(main));
        if file.is_none() {
            note(&mut tried, &format!("package.json main: {main} (no such file)"));
        }
        Some((file?, format!("package.json main: {main}")))
    });
    let (script, line, found_by) = match (main, start) {
        // `npm start` and `main` name the same file: the start line knows its options too.
        (Some((main, _)), Some((file, line, found_by))) if main == file => (file, line, found_by),
        (Some((main, found_by)), _) => (main, StartLine::default(), found_by),
        (None, Some(start)) => start,
        (None, None) => {
            if package.is_none() {
                note(&mut tried, "package.json (no such file)");
            }
            let usual = USUAL_FILES.iter().find(|name| folder.join(name).is_file());
            let Some(name) = usual else {
                note(&mut tried, &USUAL_FILES.join(", "));
                return Err(AppEntryError::NothingFound { folder: typed.to_owned(), tried });
            };
            (folder.join(name), StartLine::default(), format!("the usual name {name}"))
        }
    };
    let package_name = package.and_then(|package| package.name);
    Ok(AppEntry {
        name: app_name(package_name.as_deref(), folder),
        script,
        folder: folder.to_owned(),
        node_args: line.node_args,
        args: line.args,
        env: line.env,
        found_by,
    })
}

/// The file of `scripts.start` with its line, or a note on why it cannot be used.
fn start_script(
    package: &Package,
    folder: &Path,
    tried: &mut String,
) -> Option<(PathBuf, StartLine, String)> {
    let text = package.scripts.start.as_deref()?;
    let line = match parse_start_line(text) {
        Ok(line) => line,
        Err(error) => {
            note(tried, &format!("package.json scripts.start: {text} ({error})"));
            return None;
        }
    };
    let Some(file) = resolve_file(&folder.join(&line.file)) else {
        note(tried, &format!("package.json scripts.start: {text} (no such file)"));
        return None;
    };
    Some((file, line, format!("package.json scripts.start: {text}")))
}

fn note(tried: &mut String, what: &str) {
    writeln!(tried, "  - {what}").expect("writing to a String cannot fail");
}

/// The file as Node resolves a main: itself, with `.js`, or the `index.js` of a folder.
fn resolve_file(path: &Path) -> Option<PathBuf> {
    let mut with_ending = path.as_os_str().to_owned();
    with_ending.push(".js");
    [path.to_owned(), PathBuf::from(with_ending), path.join("index.js")]
        .into_iter()
        .find(|candidate| candidate.is_file())
        .and_then(|file| file.canonicalize().ok())
        .filter(|file| has_script_ending(file))
}

fn has_script_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "js" || ending == "cjs" || ending == "mjs")
}

fn read_package(folder: &Path) -> Result<Option<Package>, AppEntryError> {
    let path = folder.join("package.json");
    let bad = |error: String| AppEntryError::BadPackage { path: path.clone(), error };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    // npm accepts a byte order mark, so do we.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(text).map(Some).map_err(|error| bad(error.to_string()))
}

/// The nearest package.json above a file names it; a broken one is Node's to complain about.
fn name_of_file(script: &Path) -> String {
    let folder = script.parent().unwrap_or(Path::new("/"));
    let named = folder.ancestors().find_map(|folder| {
        let package = read_package(folder).ok().flatten()?;
        Some(app_name(package.name.as_deref(), folder))
    });
    named.unwrap_or_else(|| app_name(None, folder))
}

/// The package's name without its scope, else the folder's, reduced to what is safe in a file name.
fn app_name(package_name: Option<&str>, folder: &Path) -> String {
    // The name is part of socket paths, which end at 107 bytes.
    const LETTERS_MAX: usize = 32;
    let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
    let without_scope = package_name.map(|name| name.rsplit('/').next().unwrap_or(name));
    for candidate in [without_scope.unwrap_or_default(), &folder_name] {
        let safe: String = candidate
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' })
            .take(LETTERS_MAX)
            .collect();
        let safe = safe.trim_matches(['-', '.']);
        if !safe.is_empty() {
            return safe.to_owned();
        }
    }
    "app".to_owned()
}

#[cfg(test)]
#[path = "app_entry_tests.rs"]
mod tests;
