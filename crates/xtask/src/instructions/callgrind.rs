//! Counting the instructions of a case.
//!
//! Owns: how valgrind is called and what it says. Must never know: what the figures are compared with.
//!
//! Two runs, one with twice the iterations: the difference is that of the iterations alone. Start, set-up and warm-up cancel.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::is_installed;

/// Iterations of the shorter run. Half the buckets of a timer wheel and two rounds of a stream's generations, so that what
/// costs differently from one to the next is met as often as it is in the long run.
const ITERATIONS: u32 = 512;

/// Takes from the C library the choice among variants that depend on the processor, under its old names and its new ones.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

/// Says what to do when there is no valgrind.
pub(crate) fn check_installed() -> Result<(), String> {
    if is_installed("valgrind", "--version") {
        return Ok(());
    }
    Err("valgrind counts the instructions, and is missing. Install it: apt-get install -y valgrind"
        .to_owned())
}

/// Instructions of one iteration of a case.
pub(crate) fn count(program: &Path, case: &str, folder: &Path) -> Result<f64, String> {
    let once = run(program, case, ITERATIONS, folder)?;
    let twice = run(program, case, 2 * ITERATIONS, folder)?;
    let difference = twice
        .checked_sub(once)
        .ok_or_else(|| format!("{case}: fewer instructions with more iterations"))?;
    Ok(difference as f64 / f64::from(ITERATIONS))
}

fn run(program: &Path, case: &str, iterations: u32, folder: &Path) -> Result<u64, String> {
    let out = folder.join(format!("{}.out", case.replace('/', "+")));
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        // The same number of digits, for the program reads them.
        .args([case, &format!("{iterations:06}")])
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let output = command.output().map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{case}: {}\n{said}", output.status));
    }
    let text = fs::read_to_string(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    total(&text).ok_or_else(|| format!("{}: no sum in it", out.display()))
}

/// The sum over the whole run in callgrind's file.
fn total(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find(|line| *line == "events: Ir")?;
    // `summary:` in the parts of a run, `totals:` at the end of the last one; with one part they agree.
    let sum = |line: &str| line.strip_prefix("totals: ")?.trim().parse().ok();
    lines.rev().find_map(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\npid: 7\n\
cmd:  count exchange/hello 000512\npart: 1\n\n\ndesc: I1 cache: \ndesc: Trigger: Program termination\n\n\
positions: line\nevents: Ir\nsummary: 4321\n\n\nob=(1) /usr/bin/x\nfl=(1) a.rs\nfn=(1) totals: 1\n0 4321\n\n\
totals: 4321\n";

    #[test]
    fn the_sum_is_found() {
        assert_eq!(total(FILE), Some(4321));
    }

    #[test]
    fn a_file_that_was_cut_or_counts_something_else_has_no_sum() {
        let (cut, _) = FILE.rsplit_once("totals").expect("there");
        assert_eq!(total(cut), None);
        assert_eq!(total(&FILE.replace("events: Ir", "events: Ir Dr")), None);
        assert_eq!(total(""), None);
    }
}
