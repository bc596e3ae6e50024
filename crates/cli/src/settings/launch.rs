//! What a worker process is: Node with a script, or a command.
//!
//! Owns: where typed arguments, the Node binary and `PATH` go in either case. Must never know: how the app was found
//! (`app_entry`). Used by `settings`.

use std::path::{Path, PathBuf};

use hostler_protocol::control::Transport;
use hostler_spawner::Launch;

use super::processes::read_node;
use super::surroundings::Surroundings;
use super::value::{Setting, SettingsError, Source};
use crate::app_entry::{AppEntry, Start};
use crate::args::RunArgs;

/// What is started, and with which Node if that is our business.
pub(super) fn read_launch(
    app: &AppEntry,
    args: &RunArgs,
    around: &Surroundings<'_>,
) -> Result<(Launch, Option<Setting<PathBuf>>), SettingsError> {
    match &app.start {
        Start::Script { script, node_args, args: own, .. } => {
            let node = read_node(args, around)?;
            let launch = Launch::Script {
                node: node.value.clone(),
                node_args: node_args.clone(),
                script: script.clone(),
                // As with `npm start -- x`: what was typed follows what the start line says.
                args: [own.as_slice(), args.app_args.as_slice()].concat(),
            };
            Ok((launch, Some(node)))
        }
        Start::Command { line } => {
            let node =
                args.processes.node.is_some().then(|| read_node(args, around)).transpose()?;
            let launch = Launch::Command {
                line: with_args(line, &args.app_args),
                bin_folders: bin_folders(&app.folder, node.as_ref())?,
            };
            Ok((launch, node.map(|node| Setting { source: Source::Option, ..node })))
        }
    }
}

/// For the sum of descriptors: a command may turn out to be anything.
pub(super) fn likely_transport(launch: &Launch, wanted: Transport) -> Transport {
    match launch {
        Launch::Script { .. } => wanted,
        Launch::Command { .. } => Transport::Http,
    }
}

/// As npm does with the arguments behind `--`.
fn with_args(line: &str, args: &[String]) -> String {
    let mut line = line.to_owned();
    for arg in args {
        line.push_str(" '");
        line.push_str(&arg.replace('\'', r"'\''"));
        line.push('\'');
    }
    line
}

/// The folders that come first in `PATH`: as for npm's scripts those of the packages' programs, from this folder upwards;
/// before them that of the Node binary that was typed.
fn bin_folders(
    folder: &Path,
    node: Option<&Setting<PathBuf>>,
) -> Result<Vec<PathBuf>, SettingsError> {
    let mut folders = Vec::new();
    if let Some(node) = node {
        let (Some("node"), Some(parent)) =
            (node.value.file_name().and_then(|name| name.to_str()), node.value.parent())
        else {
            return Err(SettingsError::OddNode { path: node.value.display().to_string() });
        };
        folders.push(parent.to_owned());
    }
    let packages = folder.ancestors().map(|folder| folder.join("node_modules/.bin"));
    folders.extend(packages.filter(|folder| folder.is_dir()));
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_the_line_as_they_are() {
        assert_eq!(with_args("next start", &[]), "next start");
        let args = ["-p".to_owned(), "it's $PORT".to_owned()];
        assert_eq!(with_args("next start", &args), r"next start '-p' 'it'\''s $PORT'");
    }

    #[test]
    fn programs_of_packages_are_found_upwards_and_the_typed_node_before_them() {
        let root = std::env::temp_dir().join(format!("hostler-bin-{}", std::process::id()));
        let app = root.join("apps/web");
        for folder in [&root, &app] {
            std::fs::create_dir_all(folder.join("node_modules/.bin")).expect("made");
        }
        let node = Setting { value: "/opt/node22/bin/node".into(), source: Source::Option };
        let folders = bin_folders(&app, Some(&node)).expect("good");
        let expected = [
            PathBuf::from("/opt/node22/bin"),
            app.join("node_modules/.bin"),
            root.join("node_modules/.bin"),
        ];
        assert_eq!(folders, expected);
        let odd = Setting { value: "/opt/bin/node22".into(), source: Source::Option };
        let error = bin_folders(&app, Some(&odd)).expect_err("odd").to_string();
        assert!(error.contains("/opt/bin/node22") && error.contains("named `node`"), "{error}");
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
