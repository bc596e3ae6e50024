//! What was typed after `cargo xtask compat`.
//!
//! Owns: the options and their help. Must never know: what a suite is.

use std::path::PathBuf;

use crate::nodes;

/// Shown by `cargo xtask compat help`.
pub(crate) const HELP: &str = "\
cargo xtask compat [SUITE...] [OPTIONS]

Runs other people's test suites under plain Node and under `hostler exec`, compares test by test, and writes
docs/compatibility.md. Fails on a difference that the suite's file does not explain. Without SUITE: all.

  --list              the suites, one a line
  --quick             the suites that need nothing but npm and a few minutes; leaves docs/compatibility.md alone
  --node VERSION      20, 22, 24 (default) or a full version; Node's own tests stay on the version they are for
  --sources DIR       where repositories lie: DIR/OWNER+NAME or DIR/NAME, a checkout or a bare git folder;
                      one that is not there is cloned from GitHub
  --node-tests DIR    a folder (or git folder) with Node's own tests: test/parallel, test/common, test/fixtures
  --hostler FILE      this binary instead of a fresh build
  --upload-mib N      size of the upload of the upload app, 2048 by default
  --plain             plain Node only: tries a suite out, compares and writes nothing

A suite that cannot be had (no network, no --node-tests) is skipped, and said so at the end; one that was asked for by
name fails then. Results are kept in crates/xtask/compat/results, one file a suite, so that a run of some suites leaves
the rest of the document as it was. What is fetched and installed lies in target/compat.
";

/// Size of the large upload.
const UPLOAD_MIB: u64 = 2048;
/// Where time is short. It does not fit into the sockets on its way, and that is what it is for.
const UPLOAD_MIB_QUICK: u64 = 64;

/// The options as they mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) suites: Vec<String>,
    pub(crate) help: bool,
    pub(crate) list: bool,
    pub(crate) quick: bool,
    pub(crate) plain: bool,
    pub(crate) node: Option<String>,
    pub(crate) sources: Option<PathBuf>,
    pub(crate) node_tests: Option<PathBuf>,
    pub(crate) hostler: Option<PathBuf>,
    pub(crate) upload_mib: Option<u64>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                rest.next().cloned().ok_or_else(|| format!("{argument} needs a value\n\n{HELP}"))
            };
            match &**argument {
                "help" | "--help" | "-h" => options.help = true,
                "--list" => options.list = true,
                "--quick" => options.quick = true,
                "--plain" => options.plain = true,
                "--node" => options.node = Some(value()?),
                "--sources" => options.sources = Some(folder(&value()?)?),
                "--node-tests" => options.node_tests = Some(folder(&value()?)?),
                "--hostler" => options.hostler = Some(existing(&value()?)?),
                "--upload-mib" => {
                    let typed = value()?;
                    let mib =
                        typed.parse().map_err(|_| format!("--upload-mib {typed}: a number"))?;
                    options.upload_mib = Some(mib);
                }
                unknown if unknown.starts_with('-') => {
                    return Err(format!("no option `{unknown}`\n\n{HELP}"));
                }
                suite => options.suites.push(suite.to_owned()),
            }
        }
        if let Some(node) = &options.node {
            nodes::resolve(node)?;
        }
        Ok(options)
    }

    /// Size of the large upload of the upload app.
    pub(crate) fn upload_mib(&self) -> u64 {
        self.upload_mib.unwrap_or(if self.quick { UPLOAD_MIB_QUICK } else { UPLOAD_MIB })
    }
}

fn folder(typed: &str) -> Result<PathBuf, String> {
    let path = existing(typed)?;
    if path.is_dir() { Ok(path) } else { Err(format!("{typed} is not a folder")) }
}

fn existing(typed: &str) -> Result<PathBuf, String> {
    PathBuf::from(typed).canonicalize().map_err(|error| format!("{typed}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        Options::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_and_suites_may_be_mixed() {
        let options = parse(&["koa", "--node", "22", "ws", "--quick"]).expect("right");
        assert_eq!(options.suites, ["koa", "ws"]);
        assert_eq!((options.node.as_deref(), options.quick), (Some("22"), true));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse(&["--node"]).is_err_and(|why| why.contains("--node needs a value")));
        assert!(parse(&["--fast"]).is_err_and(|why| why.contains("no option `--fast`")));
        assert!(parse(&["--sources", "/does/not/exist"]).is_err());
        assert!(parse(&["--upload-mib", "much"]).is_err());
        assert!(parse(&["--node", "7"]).is_err());
    }

    #[test]
    fn the_large_upload_is_as_large_as_it_says() {
        let mib = |words: &[&str]| parse(words).expect("right").upload_mib();
        assert_eq!([mib(&[]), mib(&["--quick"]), mib(&["--upload-mib", "7"])], [2048, 64, 7]);
    }
}
