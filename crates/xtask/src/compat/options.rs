//! What was typed after `cargo xtask compat`.
//!
//! Owns: the options and their help. Must never know: what a suite is.

use std::path::PathBuf;

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
  --node-tests DIR    a folder (or git folder) with Node's own tests: test/parallel, test/common, test/fixtures;
                      without it they are left out
  --hostler FILE      this binary instead of a fresh build
  --upload-mib N      size of the upload of the upload app, 2048 by default
  --plain             plain Node only: tries a suite out, compares and writes nothing
";

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
        Ok(options)
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
    }
}
