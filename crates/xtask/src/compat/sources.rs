//! Getting a suite's files into `target/compat/sources`.
//!
//! Owns: where sources are looked for, in which order, and the folder that a suite has. Must never know: packages
//! and tests. Nothing of this is ever committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::options::Options;
use super::suite::{Source, Suite, bench};
use crate::run::{root, run};

/// The place of everything that the bench makes.
pub(crate) fn work() -> PathBuf {
    root().join("target/compat")
}

/// Why there is no source.
#[derive(Debug)]
pub(crate) enum Missing {
    /// Not asked for: the suite is left out, and the report says so.
    Skipped(String),
    /// Could not be had.
    Broken(String),
}

/// The folder with the suite's files, fetched unless it is there at that version.
pub(crate) fn provide(suite: &Suite, options: &Options) -> Result<PathBuf, Missing> {
    let folder = work().join("sources").join(folder_name(&suite.source));
    let stamp = beside(&folder, "source");
    let wanted = format!("{:?}", suite.source);
    // An app's files are ours and change; what is installed beside them stays.
    let is_app = matches!(suite.source, Source::App { .. });
    let is_there = fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if is_there && folder.is_dir() && !is_app {
        return Ok(folder);
    }
    if !is_there {
        for about in ["source", "installed", "package.json"] {
            let _ = fs::remove_file(beside(&folder, about));
        }
        let _ = fs::remove_dir_all(&folder);
    }
    let broken = |error: std::io::Error| Missing::Broken(format!("{}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(broken)?;
    match &suite.source {
        Source::Repository { repository, tag } => {
            repository_at(repository, tag, options, &folder)?;
        }
        Source::Package { package, version } => {
            package_at(package, version, &folder).map_err(Missing::Broken)?;
        }
        Source::App { app, .. } => {
            copy(&bench().join("apps").join(app), &folder).map_err(Missing::Broken)?;
            copy(&bench().join("apps/common"), &folder).map_err(Missing::Broken)?;
        }
        Source::NodeTests { .. } => {
            let given = options.node_tests.as_ref().ok_or_else(|| {
                Missing::Skipped("needs --node-tests DIR, a folder with Node's test/".to_owned())
            })?;
            node_tests(given, &folder).map_err(Missing::Broken)?;
        }
    }
    fs::write(stamp, wanted).map_err(broken)?;
    Ok(folder)
}

/// Suites of one repository at one version share a folder.
fn folder_name(source: &Source) -> String {
    let name = match source {
        Source::Repository { repository, tag } => format!("{repository}@{tag}"),
        Source::Package { package, version } => format!("npm+{package}@{version}"),
        Source::App { app, .. } => format!("app+{app}"),
        Source::NodeTests { .. } => "node-tests".to_owned(),
    };
    name.replace('/', "+")
}

/// A file about a folder that is not in it.
pub(crate) fn beside(folder: &Path, kind: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("{name}.{kind}"))
}

fn repository_at(
    repository: &str,
    tag: &str,
    options: &Options,
    folder: &Path,
) -> Result<(), Missing> {
    if let Some(found) = local(repository, options) {
        return archive(&found, tag, folder).map_err(Missing::Broken);
    }
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", "--depth", "1", "--branch", tag]);
    clone.arg(format!("https://github.com/{repository}")).arg(folder);
    // Never a question on the terminal.
    clone.env("GIT_TERMINAL_PROMPT", "0");
    let joined = repository.replace('/', "+");
    run(clone).map_err(|why| {
        let _ = fs::remove_dir_all(folder);
        Missing::Skipped(format!("{why}; --sources DIR can name a folder with {joined}"))
    })
}

/// Where a repository lies below `--sources`. A folder of that name that git does not know is something else.
fn local(repository: &str, options: &Options) -> Option<PathBuf> {
    let base = options.sources.as_ref()?;
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let mut places = [repository.replace('/', "+"), name.to_owned()].into_iter();
    let is_git = |path: &Path| path.join(".git").exists() || path.join("HEAD").is_file();
    places.find_map(|place| Some(base.join(place)).filter(|path| is_git(path)))
}

/// A folder that holds none of what is wanted is not the one that was meant.
pub(crate) fn check(suites: &[Suite], options: &Options) -> Result<(), String> {
    let Some(base) = &options.sources else { return Ok(()) };
    let wanted: Vec<&str> = suites
        .iter()
        .filter_map(|suite| match &suite.source {
            Source::Repository { repository, .. } => Some(&**repository),
            _ => None,
        })
        .collect();
    if wanted.is_empty() || wanted.iter().any(|one| local(one, options).is_some()) {
        return Ok(());
    }
    let folder = base.join(wanted[0].replace('/', "+"));
    Err(format!(
        "--sources {}: none of the {} repositories is there; the first would be {}",
        base.display(),
        wanted.len(),
        folder.display()
    ))
}

/// The files of a commit of a checkout or of a bare git folder.
fn archive(git: &Path, commit: &str, folder: &Path) -> Result<(), String> {
    let mut look = Command::new("git");
    look.arg("-C").arg(git).args(["cat-file", "-e", &format!("{commit}^{{commit}}")]);
    let found = look.stderr(Stdio::null()).status().map_err(|error| format!("git: {error}"))?;
    if !found.success() {
        return Err(format!("{} is no git folder with {commit}", git.display()));
    }
    let mut archive = Command::new("git");
    archive.arg("-C").arg(git).args(["archive", "--format=tar", commit]);
    let mut archive =
        archive.stdout(Stdio::piped()).spawn().map_err(|error| format!("git archive: {error}"))?;
    let bytes = archive.stdout.take().expect("piped");
    let mut tar = Command::new("tar");
    tar.args(["-x", "-C"]).arg(folder).stdin(bytes);
    run(tar)?;
    let status = archive.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("no {commit} in {}", git.display())) }
}

fn package_at(package: &str, version: &str, folder: &Path) -> Result<(), String> {
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", &format!("{package}@{version}"), "--pack-destination"]);
    pack.arg(folder);
    run(pack)?;
    let packed = fs::read_dir(folder).map_err(|error| error.to_string())?.flatten();
    let packed =
        packed.map(|entry| entry.path()).find(|path| path.extension() == Some("tgz".as_ref()));
    let packed = packed.ok_or_else(|| format!("npm pack {package}@{version} left no file"))?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&packed).args(["--strip-components=1", "-C"]).arg(folder);
    run(tar)?;
    fs::remove_file(packed).map_err(|error| error.to_string())
}

/// `test/` as it lies in Node's repository, from a folder that has it at the top or is one level up or down.
fn node_tests(given: &Path, folder: &Path) -> Result<(), String> {
    let has_tests = |path: &Path| path.join("parallel").is_dir() && path.join("common").is_dir();
    if has_tests(&given.join("test")) {
        return copy(&given.join("test"), &folder.join("test"));
    }
    if has_tests(given) {
        return copy(given, &folder.join("test"));
    }
    archive(given, "HEAD", folder)
        .map_err(|why| format!("no test/parallel and test/common in it, and {why}"))?;
    if has_tests(&folder.join("test")) {
        return Ok(());
    }
    Err(format!("{} has no test/parallel and test/common", given.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    let mut copy = Command::new("cp");
    copy.args(["-a", "--"]).arg(from.join(".")).arg(to);
    run(copy)
}
