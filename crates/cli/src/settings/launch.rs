//! What a worker process is: Node with a script, or a command; with its arguments and its variables.
//!
//! Owns: where typed arguments, variables, the Node binary and `PATH` go in either case. Must never know: how the app was found
//! (`app`). Used by `settings`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hostler_protocol::control::Transport;
use hostler_spawner::Launch;

use super::processes::{node_is_named, read_node};
use super::typed::AsTyped;
use super::value::{Setting, SettingsError, Source};
use crate::app_entry::{AppEntry, Start};
use crate::config_file::Said;

/// What is started, and with which Node if that is our business.
pub(super) fn read_launch(
    app: &AppEntry,
    args: &[String],
    all: &AsTyped<'_>,
) -> Result<(Launch, Option<Setting<PathBuf>>), SettingsError> {
    match &app.start {
        Start::Script { script, node_args, args: own, .. } => {
            let node = read_node(all)?;
            let launch = Launch::Script {
                node: node.value.clone(),
                node_args: node_args.clone(),
                script: script.clone(),
                // As with `npm start -- x`: what was typed follows what the start line says.
                args: [own.as_slice(), args].concat(),
            };
            Ok((launch, Some(node)))
        }
        Start::Command { line } => {
            let node = node_is_named(all).then(|| read_node(all)).transpose()?;
            let launch = Launch::Command {
                line: with_args(line, args),
                bin_folders: bin_folders(&app.folder, node.as_ref())?,
            };
            Ok((launch, node))
        }
    }
}

/// What is behind `--`, else the file's.
pub(super) fn read_args(all: &AsTyped<'_>) -> Result<Setting<Vec<String>>, SettingsError> {
    let mut of_file = None;
    if let Some(list) = &all.file.app.args {
        let said: Vec<Said> = list
            .values()
            .iter()
            .filter_map(|value| all.said(Some(value)).transpose())
            .collect::<Result<_, _>>()?;
        of_file = said.first().map(|first| Source::File(first.place.clone())).map(|source| {
            Setting { value: said.into_iter().map(|said| said.text).collect(), source }
        });
    }
    let typed = &all.args.app_args;
    let typed =
        (!typed.is_empty()).then(|| Setting { value: typed.clone(), source: Source::Option });
    Ok(Setting::chosen_or(typed.or(of_file), Vec::new()))
}

/// The variables of the file.
pub(super) fn read_env(
    all: &AsTyped<'_>,
    launch: &Launch,
) -> Result<BTreeMap<String, Said>, SettingsError> {
    let mut env = BTreeMap::new();
    for (name, value) in &all.file.app.env {
        let Some(said) = all.said(Some(value))? else { continue };
        let wrong = |why: &str| SettingsError::BadVariable {
            place: said.place.clone(),
            why: why.to_owned(),
        };
        match name.as_str() {
            _ if name.is_empty() || name.contains(['=', '\0']) => {
                return Err(wrong(
                    "no variable can have such a name: it is empty, or holds = or NUL",
                ));
            }
            "HOSTLER_WORKER" | "NODE_APP_INSTANCE" => {
                return Err(wrong(
                    "Hostler sets this variable itself, for each worker; leave it out",
                ));
            }
            "PORT" | "SOCKET" if matches!(launch, Launch::Command { .. }) => {
                return Err(wrong(
                    "each worker of a command gets one of its own and is found by it; leave it out (server.listen is \
                     where clients connect)",
                ));
            }
            _ => env.insert(name.clone(), said),
        };
    }
    Ok(env)
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
            let name = match &node.source {
                Source::File(place) => place.to_string(),
                _ => "--node".to_owned(),
            };
            return Err(SettingsError::OddNode { name, path: node.value.display().to_string() });
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
