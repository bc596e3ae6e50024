//! The rules of `cargo xtask tidy`, each with the way out in its message.
//!
//! Owns: what is allowed where. Must never know: files and folders on disk; a rule sees a name and a text.

use crate::functions::functions;
use crate::tidy::{Complaint, Weight};

/// A file as the rules see it.
pub(crate) struct Source<'a> {
    /// Path from the top of the repository, with `/`.
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Where unsafe code may be: the unsafe fence of the data plane, and what happens between fork and exec.
/// Tests that adopt inherited descriptors or count allocations need it too.
const UNSAFE_ALLOWED: [&str; 4] = [
    "crates/driver/",
    "crates/spawner/src/exec",
    "crates/spawner/tests/instance/fake_proxy.rs",
    "crates/sim/tests/support/counting.rs",
];

/// Places that must work without a kernel: (prefix, what is banned there, what to do instead).
const PURE: [(&str, &[&str], &str); 4] = [
    ("crates/protocol/src/", WORLD, "protocol is the meaning of bytes: the caller does the I/O"),
    ("crates/proxy/src/conn", WORLD, "take `now` as an argument and ask by an action"),
    ("crates/proxy/src/dispatch", WORLD, "take `now` as an argument and return a decision"),
    ("crates/spawner/src/supervisor", CLOCK, "take `now_ms` as an argument and ask by an action"),
];
const WORLD: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "std::fs",
    "std::thread",
    "std::process",
    "libc::",
    "rustix::",
];
const CLOCK: &[&str] = &["Instant::now", "SystemTime::now", "std::thread", "libc::"];

/// Where the time of day is asked, to be shown or to be compared with that of a file. It jumps, so nothing else may depend on it.
const TIME_OF_DAY: [&str; 5] = [
    "crates/proxy/src/clock.rs",
    "crates/proxy/src/respond.rs",
    "crates/proxy/src/access_log.rs",
    "crates/spawner/src/event_loop/restart_file.rs",
    "crates/spawner/src/output/timestamp.rs",
];

/// Which of our crates each crate may name.
const DIRECTION: [(&str, &[&str]); 7] = [
    ("crates/protocol/Cargo.toml", &[]),
    ("crates/packets/Cargo.toml", &["protocol"]),
    ("crates/driver/Cargo.toml", &[]),
    ("crates/loader/Cargo.toml", &[]),
    ("crates/proxy/Cargo.toml", &["protocol", "packets", "driver"]),
    ("crates/spawner/Cargo.toml", &["protocol", "packets", "loader"]),
    ("crates/sim/Cargo.toml", &["protocol", "driver", "proxy", "spawner"]),
];

impl<'a> Source<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text }
    }

    fn ends_with(&self, end: &str) -> bool {
        self.name.ends_with(end)
    }

    fn is_script(&self) -> bool {
        [".cjs", ".mjs", ".js"].iter().any(|end| self.ends_with(end))
    }

    /// Numbered lines without those of a trailing test module.
    fn lines_before_tests(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let tests = self.text.lines().position(|line| line == "#[cfg(test)]");
        self.text
            .lines()
            .take(tests.unwrap_or(usize::MAX))
            .enumerate()
            .map(|(i, line)| (i + 1, line))
    }
}

/// All complaints about one file.
pub(crate) fn check_file(source: &Source<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    if source.ends_with(".rs") {
        check_opening(source, &mut found);
        check_unsafe(source, &mut found);
        check_purity(source, &mut found);
        check_sleeps(source, &mut found);
    }
    if source.ends_with(".rs") || source.is_script() {
        check_size(source, &mut found);
        check_time_of_day(source, &mut found);
    }
    // The rules name what they look for.
    if !source.ends_with("tidy_rules.rs") {
        check_leftovers(source, &mut found);
    }
    found
}

/// The crates depend on each other in one direction.
pub(crate) fn check_manifest(source: &Source<'_>) -> Vec<Complaint> {
    let Some((_, allowed)) = DIRECTION.iter().find(|(name, _)| *name == source.name) else {
        return Vec::new();
    };
    let runtime = source.text.lines().take_while(|line| *line != "[dev-dependencies]").enumerate();
    runtime
        .filter_map(|(index, line)| {
            let named = line.strip_prefix("hostler-")?.split(['.', ' ', '=']).next()?;
            (!allowed.contains(&named)).then(|| {
                error(
                    index + 1,
                    format!("this crate must not know hostler-{named} (see ARCHITECTURE.md)"),
                )
            })
        })
        .collect()
}

fn check_opening(source: &Source<'_>, found: &mut Vec<Complaint>) {
    // What stands beside a file as its tests is described there.
    let is_part = source.name.ends_with("tests.rs") || source.name.starts_with("fuzz/");
    if !source.text.starts_with("//!") && !is_part {
        found.push(error(1, "a file opens with `//!`: what it owns, what it must never know"));
    }
}

fn check_time_of_day(source: &Source<'_>, found: &mut Vec<Complaint>) {
    let is_crate = source.name.starts_with("crates/") && source.name.contains("/src/");
    let is_shipped = is_crate || source.name.starts_with("crates/loader/js/");
    let is_tool = ["crates/xtask/", "crates/sim/"].iter().any(|tool| source.name.starts_with(tool));
    let is_test = source.name.ends_with("tests.rs");
    if !is_shipped || is_tool || is_test || TIME_OF_DAY.contains(&source.name) {
        return;
    }
    for (number, line) in source.lines_before_tests() {
        let code = line.split("//").next().unwrap_or_default();
        if ["SystemTime", "Date.now", "new Date"].iter().any(|clock| code.contains(clock)) {
            found.push(error(number, "the time of day jumps: wait by a monotonic clock"));
        }
    }
}

fn check_unsafe(source: &Source<'_>, found: &mut Vec<Complaint>) {
    if UNSAFE_ALLOWED.iter().any(|place| source.name.starts_with(place)) {
        return;
    }
    for (number, line) in source.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word == "unsafe") && !code.contains('"') {
            found.push(error(number + 1, "unsafe code lives in crates/driver and in exec.rs only"));
        }
    }
}

fn check_purity(source: &Source<'_>, found: &mut Vec<Complaint>) {
    for (place, banned, instead) in PURE {
        if !source.name.starts_with(place) || source.name.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in source.lines_before_tests() {
            let code = line.split("//").next().unwrap_or_default();
            for word in banned.iter().filter(|word| code.contains(**word)) {
                found.push(error(number, format!("`{word}` is banned here: {instead}")));
            }
        }
    }
}

/// Product code waits for events; only polling loops of tests and of the load test may pause.
fn check_sleeps(source: &Source<'_>, found: &mut Vec<Complaint>) {
    let is_product = source.name.starts_with("crates/") && source.name.contains("/src/");
    let is_tool = source.name.starts_with("crates/xtask/");
    if !is_product || is_tool || source.name.ends_with("tests.rs") {
        return;
    }
    for (number, line) in source.lines_before_tests() {
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("thread::sleep") {
            found
                .push(error(number, "`thread::sleep`: wait for the event with a deadline instead"));
        }
    }
}

fn check_size(source: &Source<'_>, found: &mut Vec<Complaint>) {
    let lines = source.lines_before_tests().count();
    if lines > FILE_LINES_MAX {
        found.push(Complaint {
            weight: Weight::Warning,
            line: 0,
            text: format!("{lines} lines; more than {FILE_LINES_MAX} is usually two concerns"),
        });
    }
    for function in functions(source.text, source.ends_with(".rs")) {
        if function.code_lines > FUNCTION_LINES_MAX {
            let text = format!(
                "a function of {} lines; at most {FUNCTION_LINES_MAX}: move leaf work out",
                function.code_lines
            );
            found.push(error(function.line, text));
        }
    }
}

fn check_leftovers(source: &Source<'_>, found: &mut Vec<Complaint>) {
    let in_loader = source.name.starts_with("crates/loader/js/");
    let is_data = source.ends_with(".json");
    for (number, line) in source.text.lines().enumerate() {
        let number = number + 1;
        for word in ["FIXME", "XXX", "<<<<<<<", ">>>>>>>", "dbg!("] {
            if line.contains(word) && !is_data {
                found.push(error(number, format!("leftover: {word}")));
            }
        }
        if line.ends_with([' ', '\t']) && !source.ends_with(".md") {
            found.push(error(number, "space at the end of the line"));
        }
        if in_loader && line.contains("console.log(") {
            found.push(error(number, "the loader prints nothing into the app's output"));
        }
        if source.ends_with("package-lock.json") && line.contains("\"resolved\":") {
            found.push(error(
                number,
                "lockfiles name no download host: npm --omit-lockfile-registry-resolved",
            ));
            return;
        }
    }
}

fn error(line: usize, text: impl Into<String>) -> Complaint {
    Complaint { weight: Weight::Error, line, text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(name: &str, text: &str) -> Vec<String> {
        check_file(&Source::new(name, text)).into_iter().map(|complaint| complaint.text).collect()
    }

    #[test]
    fn a_clean_file_passes() {
        assert!(
            complaints("crates/proxy/src/conn/mod.rs", "//! Owns x.\n\nfn a() {}\n").is_empty()
        );
    }

    #[test]
    fn clocks_are_banned_in_pure_places_and_allowed_elsewhere_and_in_tests() {
        let text = "//! x\nfn a() { Instant::now(); }\n";
        assert_eq!(complaints("crates/proxy/src/conn/mod.rs", text).len(), 1);
        assert!(complaints("crates/proxy/src/clock.rs", text).is_empty());
        let text = "//! x\n#[cfg(test)]\nmod tests { fn a() { Instant::now(); } }\n";
        assert!(complaints("crates/proxy/src/conn/mod.rs", text).is_empty());
    }

    #[test]
    fn the_time_of_day_is_for_people() {
        let text = "//! x\nfn a() { SystemTime::now(); }\n";
        assert_eq!(complaints("crates/spawner/src/event_loop/health.rs", text).len(), 1);
        assert!(complaints("crates/proxy/src/clock.rs", text).is_empty());
        assert_eq!(complaints("crates/loader/js/hang.cjs", "Date.now();").len(), 1);
    }

    #[test]
    fn unsafe_is_fenced_in() {
        let text = "//! x\n#![forbid(unsafe_code)]\nfn a() { unsafe { b() } }\n";
        assert_eq!(complaints("crates/proxy/src/shard.rs", text).len(), 1);
        assert!(complaints("crates/driver/src/ring.rs", text).is_empty());
    }

    #[test]
    fn long_functions_are_named_by_line() {
        let text = format!("//! x\nfn a() {{\n{}}}\n", "    b();\n".repeat(71));
        assert_eq!(complaints("crates/proxy/src/shard.rs", &text).len(), 1);
    }

    #[test]
    fn the_direction_of_the_crates_is_checked() {
        let manifest = |line: &str| {
            let text = format!("[dependencies]\n{line}\n");
            check_manifest(&Source::new("crates/proxy/Cargo.toml", &text)).len()
        };
        assert_eq!(manifest("hostler-protocol.workspace = true"), 0);
        assert_eq!(manifest("hostler-spawner.workspace = true"), 1);
    }
}
