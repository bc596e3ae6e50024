//! Starting other programs from a developer command.
//!
//! Owns: the place of the repository, echoing what is run, finding programs. Must never know: what they are for.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Outcome;

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .components()
        .collect::<PathBuf>()
        .canonicalize()
        .expect("the repository is there")
}

/// Cargo, the one that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether a program can be started, by its answer to `--version` or the like.
pub(crate) fn is_installed(program: &str, probe: &str) -> bool {
    version(program, probe).is_some()
}

/// What a program prints about its version.
pub(crate) fn version(program: &str, probe: &str) -> Option<String> {
    let output = Command::new(program).arg(probe).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command in the foreground.
pub(crate) fn run(mut command: Command) -> Outcome {
    say(&command);
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

/// Runs a command, shows its standard output as it comes and gives every line to `look`.
pub(crate) fn run_watching(mut command: Command, mut look: impl FnMut(&str)) -> Outcome {
    say(&command);
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let pipe = child.stdout.take().expect("piped");
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        println!("{line}");
        look(&line);
    }
    let status = child.wait().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

/// Shows a command line.
pub(crate) fn say(command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    eprintln!("$ {}", words.join(" "));
}
