//! The programs that a load test uses beside Node: what is here, what is installed, what goes again.
//!
//! Owns: the list of programs, their place in `target/loadtest/tools`, the record of what was installed. Nothing
//! outside of that folder is touched, no service is started, and nobody needs to be root: a package is unpacked, not
//! installed. Must never know: what a program is started for. `cargo xtask loadtest` puts `tools/bin` first in PATH.

mod debian;
mod registries;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::machine::repository;

/// Where a program comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A package of the distribution with the program at this path.
    Debian(&'static str),
    /// A crate of this version.
    Cargo(&'static str),
    /// An npm package of this version with the script at this path.
    Npm(&'static str, &'static str),
}

struct Tool {
    name: &'static str,
    about: &'static str,
    source: Source,
}

/// Package and program have the same name everywhere.
const TOOLS: [Tool; 7] = [
    Tool { name: "nginx", about: "peer", source: Source::Debian("usr/sbin/nginx") },
    Tool { name: "haproxy", about: "peer", source: Source::Debian("usr/sbin/haproxy") },
    Tool { name: "passenger", about: "peer", source: Source::Debian("usr/bin/passenger") },
    Tool { name: "pm2", about: "peer", source: Source::Npm("7.0.4", "pm2/bin/pm2") },
    Tool { name: "wrk", about: "load", source: Source::Debian("usr/bin/wrk") },
    Tool { name: "oha", about: "load without wrk", source: Source::Cargo("1.16.0") },
    Tool { name: "strace", about: "system calls", source: Source::Debian("usr/bin/strace") },
];

/// Which programs.
#[derive(clap::Args)]
pub(crate) struct Selection {
    /// Programs, separated by commas; all if this is left out.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// What `setup` has installed, by program: the packages with their versions.
#[derive(Default, Serialize, Deserialize)]
struct Record(BTreeMap<String, Vec<String>>);

/// Installs what is missing and says where everything is.
pub(crate) fn setup(selection: &Selection) -> Outcome<()> {
    let mut failed = Vec::new();
    for tool in selection.tools()? {
        if let Some(path) = find(tool.name) {
            println!("{:<10} {:<21} {}", tool.name, tool.about, path.display());
            continue;
        }
        eprintln!("installing {} ...", tool.name);
        match install(tool) {
            Ok(path) => println!("{:<10} {:<21} {} (new)", tool.name, tool.about, path.display()),
            Err(why) => {
                println!("{:<10} {:<21} MISSING: {why}", tool.name, tool.about);
                failed.push(tool.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("not installed: {}", failed.join(", "))) }
}

/// Removes what `setup` has installed.
pub(crate) fn remove(selection: &Selection) -> Outcome<()> {
    let mut record = Record::read()?;
    for tool in selection.tools()? {
        let Some(packages) = record.0.remove(tool.name) else {
            println!("{:<10} was not installed by `setup`", tool.name);
            continue;
        };
        remove_installed(tool)?;
        record.write()?;
        println!("{:<10} removed: {}", tool.name, packages.join(", "));
    }
    Ok(())
}

fn install(tool: &Tool) -> Outcome<PathBuf> {
    // What an interrupted attempt left.
    remove_installed(tool)?;
    let folder = folder_of(tool);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let installed = match tool.source {
        Source::Debian(program) => debian::install(tool.name, program, &folder),
        Source::Cargo(version) => registries::cargo(tool.name, version, &folder),
        Source::Npm(version, script) => registries::npm(tool.name, version, script, &folder),
    };
    let result = installed.and_then(|Installed { packages, starter }| {
        write_starter(tool, &starter)?;
        let mut record = Record::read()?;
        record.0.insert(tool.name.to_owned(), packages);
        record.write()
    });
    match result {
        Ok(()) => Ok(starter_of(tool)),
        Err(why) => {
            remove_installed(tool)?;
            Err(why)
        }
    }
}

/// What came, and the shell script that starts it.
struct Installed {
    packages: Vec<String>,
    starter: String,
}

/// A program in the folder of tools, in PATH, or where PATH of an ordinary user does not lead.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools().join("bin")].into_iter().chain(std::env::split_paths(&path));
    let mut programs = folders.chain(["/usr/sbin".into()]).map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

fn write_starter(tool: &Tool, text: &str) -> Outcome<()> {
    let path = starter_of(tool);
    let write = || {
        fs::create_dir_all(tools().join("bin"))?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

fn remove_installed(tool: &Tool) -> Outcome<()> {
    let (folder, starter) = (folder_of(tool), starter_of(tool));
    gone(fs::remove_dir_all(&folder), &folder)?;
    gone(fs::remove_file(&starter), &starter)
}

fn gone(result: std::io::Result<()>, path: &Path) -> Outcome<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn tools() -> PathBuf {
    repository().join("target/loadtest/tools")
}

fn folder_of(tool: &Tool) -> PathBuf {
    tools().join(tool.name)
}

fn starter_of(tool: &Tool) -> PathBuf {
    tools().join("bin").join(tool.name)
}

impl Selection {
    fn tools(&self) -> Outcome<Vec<&'static Tool>> {
        if self.only.is_empty() {
            return Ok(TOOLS.iter().collect());
        }
        let names = || TOOLS.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ");
        let by_name = |name: &String| {
            let found = TOOLS.iter().find(|tool| tool.name == name);
            found.ok_or_else(|| format!("`setup` knows no `{name}`; it knows {}", names()))
        };
        self.only.iter().map(by_name).collect()
    }
}

impl Record {
    fn path() -> PathBuf {
        repository().join("target/loadtest/installed.json")
    }

    fn read() -> Outcome<Self> {
        let path = Self::path();
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
            }
            Err(_) => Ok(Self::default()),
        }
    }

    fn write(&self) -> Outcome<()> {
        let path = Self::path();
        if self.0.is_empty() {
            return gone(fs::remove_file(&path), &path);
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_understood() {
        let named = |names: &[&str]| {
            let only = names.iter().map(|name| (*name).to_owned()).collect();
            let tools = Selection { only }.tools()?;
            Ok::<_, String>(tools.iter().map(|tool| tool.name).collect::<Vec<_>>())
        };
        assert_eq!(named(&["oha", "nginx"]), Ok(vec!["oha", "nginx"]));
        assert_eq!(named(&[]).map(|names| names.len()), Ok(TOOLS.len()));
        assert!(
            named(&["apache"]).is_err_and(|why| why.contains("apache") && why.contains("haproxy"))
        );
    }

    #[test]
    fn every_peer_that_can_be_missing_can_be_installed() {
        for peer in ["nginx", "haproxy", "passenger", "pm2"] {
            assert!(crate::peers::Peer::by_name(peer).is_ok(), "{peer}");
            assert!(TOOLS.iter().any(|tool| tool.name == peer), "{peer}");
        }
    }
}
