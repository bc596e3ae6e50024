//! Starting other programs from a developer command.
//!
//! Owns: the place of the repository, echoing what is run, finding programs. Must never know: what they are for.

use std::io::{BufRead, BufReader, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

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

/// Runs a command, shows its standard output as it comes and gives every line to `look`. A command that prints nothing for
/// `silence_max` is ended with all that it started: the one who waits for the result must learn where it hangs.
pub(crate) fn run_watching(
    mut command: Command,
    silence_max: Duration,
    mut look: impl FnMut(&str),
) -> Outcome {
    say(&command);
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    } else {
        // A group of its own can be ended as a whole; at a terminal Ctrl-C must reach it.
        command.process_group(0);
    }
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let pipe = child.stdout.take().expect("piped");
    let (line_found, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if line_found.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut last = String::new();
    loop {
        match lines.recv_timeout(silence_max) {
            Ok(line) => {
                println!("{line}");
                look(&line);
                last = line;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end_group(&mut child);
                return Err(format!(
                    "{command:?}: nothing for {} s, ended; its last line: {last}",
                    silence_max.as_secs()
                ));
            }
        }
    }
    let status = child.wait().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

/// Ends a child and, where it leads a group, all of it.
fn end_group(child: &mut std::process::Child) {
    let group = format!("-{}", child.id());
    // Fails where the child has no group of its own.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let _ = child.kill();
    let _ = child.wait();
}

/// Shows a command line.
pub(crate) fn say(command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    eprintln!("$ {}", words.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_falls_silent_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; sleep 600; echo last"]);
        let mut seen = Vec::new();
        let result =
            run_watching(command, Duration::from_millis(200), |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["first"]);
        let error = result.expect_err("it was ended");
        assert!(error.ends_with("its last line: first"), "{error}");
    }
}
