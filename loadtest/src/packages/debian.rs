//! Packages of Debian and its relatives, unpacked into a folder.
//!
//! Owns: which packages a program needs beyond those that are installed, getting them by `apt-get`, and the
//! environment in which an unpacked program finds its files. Unpacking runs no script of a package: no service starts,
//! nothing changes outside of the folder. Must never know: what a program is started for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Installed;
use crate::Outcome;

/// Unpacks a package and what it needs.
pub(super) fn install(package: &str, program: &str, folder: &Path) -> Outcome<Installed> {
    let by_hand = format!("install {package} by hand, as your system does");
    let names = needed(package).map_err(|why| format!("{why}\n  else {by_hand}"))?;
    let (archives, root) = (folder.join("archives"), folder.join("root"));
    fs::create_dir_all(&archives).map_err(|error| format!("{}: {error}", archives.display()))?;
    let mut download = apt();
    // Who downloads may be root in a folder that apt's own user cannot enter.
    download.args(["-o", "APT::Sandbox::User=root", "download"]).args(&names);
    run(download.current_dir(&archives))?;
    let mut packages = Vec::new();
    for archive in files_in(&archives) {
        run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&root))?;
        let fields = ["--showformat", "${Package} ${Version}", "--show"];
        packages.push(run(Command::new("dpkg-deb").args(fields).arg(&archive))?.trim().to_owned());
    }
    fs::remove_dir_all(&archives).map_err(|error| format!("{}: {error}", archives.display()))?;
    if !root.join(program).is_file() {
        return Err(format!("the package {package} has no {program}; {by_hand}"));
    }
    let starter = match package {
        "passenger" => ruby_starter(&root, program)?,
        _ => starter(&root, &format!("\"$root/{program}\"")),
    };
    Ok(Installed { packages, starter })
}

/// The package, and those it needs that are not installed.
fn needed(package: &str) -> Outcome<Vec<String>> {
    let simulate = || {
        let mut command = apt();
        command.args(["install", "--simulate", "--no-install-recommends", package]);
        run(&mut command)
    };
    let text = match simulate() {
        Err(_) if rustix::process::getuid().is_root() => {
            // The lists of packages are missing or old on a fresh machine.
            run(apt().arg("update"))?;
            simulate()
        }
        Err(why) => Err(format!("{why}\n  `apt-get update` by root may help")),
        found => found,
    }?;
    let mut names = to_install(&text);
    if !names.iter().any(|name| name == package) {
        names.push(package.to_owned());
    }
    Ok(names)
}

/// `Inst libev4 (1:4.33-1 Debian:12/oldstable [amd64])`
fn to_install(simulated: &str) -> Vec<String> {
    let lines = simulated.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Starts a program with the libraries that came with it.
fn starter(root: &Path, command: &str) -> String {
    let folders = joined(&library_folders(root));
    let libraries = if folders.is_empty() {
        String::new()
    } else {
        format!("export LD_LIBRARY_PATH='{folders}'\"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n")
    };
    format!("#!/bin/sh\nroot='{}'\n{libraries}exec {command} \"$@\"\n", root.display())
}

/// A program in Ruby that looks for its own files where the package would have put them.
fn ruby_starter(root: &Path, program: &str) -> Outcome<String> {
    let locations = root.join("usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini");
    let text = fs::read_to_string(&locations)
        .map_err(|error| format!("{}: {error}", locations.display()))?;
    let own = root.join("locations.ini");
    fs::write(&own, relocated(&text, root))
        .map_err(|error| format!("{}: {error}", own.display()))?;
    let environment = format!(
        "env RUBYLIB='{}' PASSENGER_LOCATION_CONFIGURATION_FILE='{}' PATH=\"$root/usr/bin:$PATH\"",
        joined(&ruby_folders(root)),
        own.display()
    );
    Ok(starter(root, &format!("{environment} ruby \"$root/{program}\"")))
}

/// `lib_dir=/usr/lib/passenger` below another root.
fn relocated(locations: &str, root: &Path) -> String {
    let to = format!("=/{}/", root.display().to_string().trim_matches('/'));
    locations.lines().map(|line| line.replacen("=/", &to, 1) + "\n").collect()
}

fn library_folders(root: &Path) -> Vec<PathBuf> {
    ["usr/lib", "lib"].iter().flat_map(|lib| folders_in(&root.join(lib), "-linux-gnu")).collect()
}

/// Ruby's own modules and those of packages, portable ones and those for this architecture.
fn ruby_folders(root: &Path) -> Vec<PathBuf> {
    let bases = [root.join("usr/lib")].into_iter().chain(library_folders(root));
    let bases: Vec<PathBuf> = bases.map(|base| base.join("ruby")).collect();
    let vendor = bases.iter().map(|base| base.join("vendor_ruby"));
    let versions = |base: PathBuf| folders_in(&base, ".0");
    let with_versions = vendor.flat_map(|base| [vec![base.clone()], versions(base)].concat());
    with_versions.chain(bases.iter().flat_map(|base| versions(base.clone()))).collect()
}

fn folders_in(base: &Path, end: &str) -> Vec<PathBuf> {
    let entries = files_in(base).into_iter().filter(|path| path.is_dir());
    entries.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn joined(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("LC_ALL", "C");
    command
}

/// Runs a command to its end; gives what it printed, or what it complained about.
pub(super) fn run(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    Err(format!(
        "{name}: {}: {}",
        output.status,
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_install_is_read() {
        let text = "Reading package lists...\nInst libev4 (1:4.33-1 Debian:12/oldstable [amd64])\n\
                    Inst ruby3.1 [3.1.1] (3.1.2 Debian:12 [amd64]) []\nConf libev4 (1:4.33-1 [amd64])\n";
        assert_eq!(to_install(text), ["libev4", "ruby3.1"]);
        assert!(to_install("0 upgraded, 0 newly installed\n").is_empty());
    }

    #[test]
    fn absolute_places_move_below_the_root() {
        let text = "[locations]\npackaging_method=deb\nlib_dir=/usr/lib/passenger\n";
        let moved = "[locations]\npackaging_method=deb\nlib_dir=/tools/root/usr/lib/passenger\n";
        assert_eq!(relocated(text, Path::new("/tools/root")), moved);
    }
}
