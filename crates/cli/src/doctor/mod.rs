//! `hostler doctor`: what this machine is like, line by line, with what to do about it.
//!
//! Owns: the list of findings and how it is shown. Must never know: settings of an instance; every check is a
//! function from facts to a finding. Called by `main`.

mod io;
mod limits;
mod node;

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::args::DoctorArgs;
use crate::cgroup::{Cgroups, read_system_file};
use crate::console::{BAD_CONFIG, FAILED, OK, end_with, print, print_json};
use crate::find_node::find_node;
use crate::settings::{runtime_dir, with_surroundings};
use crate::table::{Align, table};

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Works, but slower or with less room than it could.
    Warn,
    /// Does not work.
    Fail,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    name: &'static str,
    level: Level,
    /// What was found.
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, text: text.into(), remedy: None }
    }

    fn warn(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level: Level::Warn, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn fail(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level: Level::Fail, text: text.into(), remedy: Some(remedy.into()) }
    }
}

/// The report for programs.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    ok: bool,
    findings: &'a [Finding],
}

/// Runs the verb.
pub(crate) fn doctor(args: &DoctorArgs) -> ExitCode {
    let findings = match examine(args) {
        Ok(findings) => findings,
        Err(error) => return end_with(BAD_CONFIG, error),
    };
    let ok = findings.iter().all(|finding| finding.level != Level::Fail);
    if args.json {
        print_json(&Report { version: env!("CARGO_PKG_VERSION"), ok, findings: &findings });
    } else {
        print(&report(&findings));
    }
    ExitCode::from(if ok { OK } else { FAILED })
}

fn examine(args: &DoctorArgs) -> Result<Vec<Finding>, crate::settings::SettingsError> {
    with_surroundings(|around| {
        let read = &read_system_file;
        let number = |path: &str| read(Path::new(path))?.trim().parse::<u64>().ok();
        let dir = runtime_dir(&args.instance, around)?.value;
        let search_path = (around.env)("PATH").unwrap_or_default();
        let node = find_node(args.node.as_deref(), &search_path, &around.current_folder);
        let probe = hostler_driver::probe::probe_uring();
        let status = read(Path::new("/proc/self/status")).unwrap_or_default();
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let groups = Cgroups::find(read);
        let found = [
            Some(io::kernel(&kernel)),
            Some(io::uring(&probe)),
            Some(io::sysctl(number("/proc/sys/kernel/io_uring_disabled"))),
            Some(io::seccomp(&status, probe.is_ok())),
            Some(io::locked_memory(&kernel)),
            Some(limits::cores(&around.cores)),
            Some(limits::open_files(around.open_files_max)),
            Some(limits::memory(groups.memory_limit(), around.cores.count)),
            limits::overcommit(number("/proc/sys/vm/overcommit_memory")),
            limits::accept_queue(number("/proc/sys/net/core/somaxconn")),
            limits::processes(groups.processes_limit(), around.cores.count),
            Some(node::version(node)),
            Some(node::runtime_dir(&dir)),
        ];
        Ok(found.into_iter().flatten().collect())
    })
}

fn report(findings: &[Finding]) -> String {
    let columns = [("", Align::Left), ("", Align::Left), ("", Align::Left)];
    let mut rows = Vec::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        rows.push(vec![level.to_owned(), finding.name.to_owned(), finding.text.clone()]);
        if let Some(remedy) = &finding.remedy {
            rows.push(vec![String::new(), String::new(), format!("-> {remedy}")]);
        }
    }
    let mut text = table(&columns, &rows);
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
    text.push_str(&match (failures, warnings) {
        (0, 0) => "\nAll is well.\n".to_owned(),
        (0, _) => format!("\nHostler runs here; {warnings} of the lines above could be better.\n"),
        _ => format!(
            "\nHostler does not run well here: {failures} failed, {warnings} could be better.\n"
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_with_its_remedy_below() {
        let findings =
            [Finding::ok("kernel", "6.12"), Finding::warn("io_uring", "refused", "allow it")];
        let text = report(&findings);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok    kernel    6.12");
        assert_eq!(lines[1], "warn  io_uring  refused");
        assert_eq!(lines[2].trim(), "-> allow it");
        assert!(text.contains("1 of the lines above could be better"), "{text}");
    }

    #[test]
    fn the_json_has_the_levels_in_lower_case() {
        let value =
            serde_json::to_value(Finding::fail("node", "none", "install it")).expect("JSON");
        assert_eq!(value["level"], "fail");
        assert_eq!(value["remedy"], "install it");
    }
}
