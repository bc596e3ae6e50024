//! From the PATH that was typed to the script or the command that is started, its folder and the app's name.
//!
//! Owns: the search order and the error that lists what was looked for. Must never know: listeners, workers.
//! Used by `settings`.
//!
//! A file is run as `node FILE` would: in the current folder. A folder is run like `npm start`: in that folder. A command is run
//! in the folder that PATH names.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::start_script::{StartLine, parse_start_line};

/// The app that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppEntry {
    /// Name for logs and status.
    pub(crate) name: String,
    /// What is started.
    pub(crate) start: Start,
    /// Working directory of the workers, absolute.
    pub(crate) folder: PathBuf,
    /// Which rule found it, for `hostler check`.
    pub(crate) found_by: String,
}

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Node with a script.
    Script {
        /// The script, absolute.
        script: PathBuf,
        /// Options for Node itself, from the start line.
        node_args: Vec<String>,
        /// Arguments behind the script, from the start line.
        args: Vec<String>,
        /// Variables from the start line.
        env: Vec<(String, String)>,
    },
    /// The shell with a line.
    Command {
        /// The line.
        line: String,
    },
}

impl Start {
    fn script(script: PathBuf, line: StartLine) -> Self {
        let StartLine { env, node_args, args, file: _ } = line;
        Self::Script { script, node_args, args, env }
    }
}

/// Why there is no app at PATH.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppEntryError {
    #[error("{}: {error}; give a folder with a Node app or a JavaScript file", .path.display())]
    NoPath { path: PathBuf, error: std::io::Error },
    #[error(
        "{}: with --command PATH is the folder that the command runs in, not a script; give the folder, or leave \
         --command out",
        .path.display()
    )]
    CommandWithFile { path: PathBuf },
    #[error(
        "--command: it is empty; give what you would type to start the app: --command 'uvicorn app:app --uds $SOCKET'"
    )]
    EmptyCommand,
    #[error(
        "{}: not a JavaScript file; a folder or a file that ends in .js, .cjs or .mjs is expected{hint}",
        .path.display()
    )]
    NotJavaScript { path: PathBuf, hint: &'static str },
    #[error("{}: {error}", .path.display())]
    BadPackage { path: PathBuf, error: String },
    #[error(
        "no app to start in {}; looked for:\n{tried}give the file itself: hostler run {}/FILE.js\n\
         or say how to start it: hostler run {} --command 'uvicorn app:app --uds $SOCKET'",
        .folder.display(), .folder.display(), .folder.display()
    )]
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

/// The app that `command` starts in the folder `path`.
pub(crate) fn command_app(
    command: &str,
    path: &Path,
    current_folder: &Path,
) -> Result<AppEntry, AppEntryError> {
    if command.trim().is_empty() {
        return Err(AppEntryError::EmptyCommand);
    }
    let folder = resolve(path, current_folder)?;
    if !folder.is_dir() {
        return Err(AppEntryError::CommandWithFile { path: path.to_owned() });
    }
    // A package.json that is none is no concern of a command that may have nothing to do with npm.
    let package = read_package(&folder).ok().flatten();
    Ok(AppEntry {
        name: app_name(
            package.and_then(|package| package.name).as_deref(),
            &named_after(&current_folder.join(path), &folder),
        ),
        start: Start::Command { line: command.to_owned() },
        folder,
        found_by: "option".to_owned(),
    })
}

/// Links stay as they were typed: `current -> releases/42` is followed anew by each reload.
fn resolve(path: &Path, current_folder: &Path) -> Result<PathBuf, AppEntryError> {
    let absolute = current_folder.join(path);
    let real = absolute.canonicalize();
    real.map_err(|error| AppEntryError::NoPath { path: path.to_owned(), error })?;
    Ok(tidy(&absolute))
}

/// Without `.` and `..`, except where that would lead elsewhere because of a link.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    match (clean.canonicalize(), path.canonicalize()) {
        (Ok(one), Ok(other)) if one == other => clean,
        _ => path.to_owned(),
    }
}

/// Releases lie in folders with names of their own, and a link leads to the newest: `shop/current -> shop/releases/42`. The
/// app's name is that of the link, or of the folder around one that says nothing.
fn named_after(typed: &Path, real: &Path) -> PathBuf {
    if !typed.is_symlink() {
        return real.to_owned();
    }
    match typed.parent() {
        Some(around) if typed.ends_with("current") && around.file_name().is_some() => {
            around.to_owned()
        }
        _ => typed.to_owned(),
    }
}

/// Finds the app at `path`; `current_folder` is where the command was typed.
pub(crate) fn find_app(path: &Path, current_folder: &Path) -> Result<AppEntry, AppEntryError> {
    let absolute = resolve(path, current_folder)?;
    if absolute.is_dir() {
        return find_in_folder(
            path,
            &absolute,
            &named_after(&current_folder.join(path), &absolute),
        );
    }
    let real = absolute.canonicalize().unwrap_or_else(|_| absolute.clone());
    if !has_script_ending(&real) {
        let typescript =
            absolute.extension().is_some_and(|ending| ending == "ts" || ending == "mts");
        let hint = if typescript {
            "; compile TypeScript first, or run it with a command: hostler run --command 'tsx FILE.ts'"
        } else {
            ""
        };
        return Err(AppEntryError::NotJavaScript { path: path.to_owned(), hint });
    }
    Ok(AppEntry {
        name: name_of_file(&absolute),
        start: Start::script(absolute, StartLine::default()),
        folder: current_folder.to_owned(),
        found_by: "the file itself".to_owned(),
    })
}

fn find_in_folder(
    typed: &Path,
    folder: &Path,
    named_after: &Path,
) -> Result<AppEntry, AppEntryError> {
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
    let (start, found_by) = match (main, start) {
        // `npm start` and `main` name the same file: the start line knows its options too.
        (Some((main, _)), Some((start @ Start::Script { .. }, found_by))) if matches!(&start, Start::Script { script, .. } if *script == main) => {
            (start, found_by)
        }
        (Some((main, found_by)), _) => (Start::script(main, StartLine::default()), found_by),
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
            let start = Start::script(folder.join(name), StartLine::default());
            (start, format!("the usual name {name}"))
        }
    };
    let package_name = package.and_then(|package| package.name);
    Ok(AppEntry {
        name: app_name(package_name.as_deref(), named_after),
        start,
        folder: folder.to_owned(),
        found_by,
    })
}

/// What `scripts.start` starts: the file of `node FILE`, without a shell and npm in between; else the line as it is. A note if
/// the file is not there.
fn start_script(package: &Package, folder: &Path, tried: &mut String) -> Option<(Start, String)> {
    let text = package.scripts.start.as_deref().filter(|text| !text.trim().is_empty())?;
    let Ok(line) = parse_start_line(text) else {
        let start = Start::Command { line: text.to_owned() };
        return Some((start, "package.json scripts.start".to_owned()));
    };
    let Some(file) = resolve_file(&folder.join(&line.file)) else {
        note(tried, &format!("package.json scripts.start: {text} (no such file)"));
        return None;
    };
    Some((Start::script(file, line), format!("package.json scripts.start: {text}")))
}

fn note(tried: &mut String, what: &str) {
    writeln!(tried, "  - {what}").expect("writing to a String cannot fail");
}

/// The file as Node resolves a main: itself, with `.js`, or the `index.js` of a folder.
fn resolve_file(path: &Path) -> Option<PathBuf> {
    let mut with_ending = path.as_os_str().to_owned();
    with_ending.push(".js");
    let file = [path.to_owned(), PathBuf::from(with_ending), path.join("index.js")]
        .into_iter()
        .find(|candidate| candidate.is_file())?;
    // Node goes by the ending of what a link leads to.
    has_script_ending(&file.canonicalize().ok()?).then(|| tidy(&file))
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

/// A name is part of socket paths, which end at 107 bytes.
pub(crate) const NAME_LETTERS_MAX: usize = 32;

/// The package's name without its scope, else the folder's, reduced to what is safe in a file name.
fn app_name(package_name: Option<&str>, folder: &Path) -> String {
    let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
    let without_scope = package_name.map(|name| name.rsplit('/').next().unwrap_or(name));
    for candidate in [without_scope.unwrap_or_default(), &folder_name] {
        let safe: String = candidate
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' })
            .take(NAME_LETTERS_MAX)
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
