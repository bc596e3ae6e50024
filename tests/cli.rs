//! The command line of the real binary: help, errors, exit codes, `check` and `doctor`.
//!
//! Owns: what can be seen without a running instance. Must never know: how requests are served (`e2e` has that).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Runs the binary in the repository with a clean environment.
fn hostler(args: &[&str]) -> Output {
    hostler_with(args, &[], Path::new(REPOSITORY))
}

fn hostler_with(args: &[&str], env: &[(&str, &str)], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
    let cleared = ["PORT", "HOST", "WEB_CONCURRENCY", "HOSTLER_RUNTIME_DIR", "HOSTLER_LOG"];
    for name in cleared {
        command.env_remove(name);
    }
    command.args(args).envs(env.iter().copied()).current_dir(folder);
    command.output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[track_caller]
fn expect(output: &Output, code: i32, parts: &[&str]) {
    let all = format!("{}{}", stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(code), "{all}");
    for part in parts {
        assert!(all.contains(part), "{part:?} is missing in: {all}");
    }
}

/// A folder of its own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hostler-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        for (name, text) in files {
            std::fs::write(path.join(name), text).expect("a file");
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn without_a_verb_the_help_is_shown() {
    expect(&hostler(&[]), 2, &["Usage: hostler <COMMAND>", "run", "doctor", "Exit codes:"]);
}

#[test]
fn help_goes_to_stdout_and_lists_every_visible_verb() {
    let output = hostler(&["--help"]);
    expect(&output, 0, &[]);
    let help = stdout(&output);
    for verb in ["run", "check", "config", "doctor", "status", "stop"] {
        let shown = help.lines().any(|line| line.trim_start().starts_with(verb));
        assert!(shown, "{verb} is missing in: {help}");
    }
    let hidden = help.lines().any(|line| line.trim_start().starts_with("proxy"));
    assert!(!hidden, "the proxy verb is for the supervisor: {help}");
}

#[test]
fn the_help_of_run_has_every_option_examples_and_exit_codes() {
    let output = hostler(&["run", "--help"]);
    expect(
        &output,
        0,
        &[
            "--listen <ADDR>",
            "--workers <N>",
            "--shards <N>",
            "--io <BACKEND>",
            "--transport <WAY>",
            "--pin <on|off>",
            "--node <PATH>",
            "--runtime-dir <DIR>",
            "--log-format <FORMAT>",
            "--head-timeout <TIME>",
            "--idle-timeout <TIME>",
            "--client-timeout <TIME>",
            "--worker-timeout <TIME>",
            "--start-timeout <TIME>",
            "--stop-timeout <TIME>",
            "--max-connections <N>",
            "--max-head-size <SIZE>",
            "--max-body-size <SIZE>",
            "--max-queue <N>",
            "--queue-timeout <TIME>",
            "--worker-requests <N>",
            "-c, --config <FILE>",
            "--no-config",
            "Examples:",
            "Exit codes:",
            "69  an address cannot be bound",
        ],
    );
}

#[test]
fn the_version_is_the_packages() {
    let version = format!("hostler {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&hostler(&["--version"])), version);
}

#[test]
fn what_is_not_understood_is_a_usage_error() {
    expect(&hostler(&["serve"]), 2, &["unrecognized subcommand 'serve'"]);
    expect(
        &hostler(&["run", "--worker", "2"]),
        2,
        &["unexpected argument '--worker'", "--workers"],
    );
    expect(&hostler(&["run", "--io", "kqueue"]), 2, &["[possible values: auto, uring, epoll]"]);
    expect(&hostler(&["run", "--listen"]), 2, &["a value is required for '--listen <ADDR>'"]);
}

#[test]
fn bad_settings_exit_with_78_for_run_and_for_check() {
    for verb in ["run", "check"] {
        for (options, part) in [
            (["--workers", "none"], "--workers: `none`"),
            (["--head-timeout", "10"], "a duration with a unit"),
            (["--max-body-size", "huge"], "--max-body-size: `huge`"),
            (["--listen", "/run/app.sock"], "write unix:/run/app.sock"),
            (["--node", "./no-such-node"], "install Node.js"),
        ] {
            let output = hostler(&[&[verb, "examples/hello"], &options[..]].concat());
            expect(&output, 78, &["hostler: ", part]);
            assert_eq!(stdout(&output), "", "errors belong to stderr");
        }
    }
}

#[test]
fn bad_paths_exit_with_78_and_say_what_was_looked_for() {
    let folder = Folder::new(&[("package.json", r#"{"scripts":{"start":"node dist"}}"#)]);
    let output = hostler_with(&["run"], &[], &folder.0);
    expect(
        &output,
        78,
        &["no app to start", "scripts.start: node dist", "server.js, ", "--command"],
    );
    expect(&hostler(&["run", "no/such/app"]), 78, &["no/such/app: No such file"]);
    expect(&hostler(&["run", "README.md"]), 78, &["not a JavaScript file"]);
}

#[test]
fn commands_are_checked_and_shown() {
    let output = hostler(&["check", "examples/json", "--command", "uvicorn app:app --uds $SOCKET"]);
    expect(&output, 0, &["command", "uvicorn app:app --uds $SOCKET", "(option)"]);
    let folder = Folder::new(&[("package.json", r#"{"scripts":{"start":"next start"}}"#)]);
    let output = hostler_with(&["check", "--", "-p", "1"], &[], &folder.0);
    expect(&output, 0, &["next start '-p' '1'", "(package.json scripts.start)"]);
    let with_file = ["run", "examples/json/server.js", "--command", "true"];
    expect(&hostler(&with_file), 78, &["not a script", "leave --command out"]);
    expect(&hostler(&["run", "--command", " "]), 78, &["--command: it is empty"]);
    let odd = ["check", "--command", "npm start", "--node", "/bin/sh"];
    expect(&hostler(&odd), 78, &["/bin/sh is not named `node`"]);
}

#[test]
fn check_shows_values_and_where_they_come_from() {
    let output = hostler_with(
        &["check", "examples/json", "--shards", "2", "--idle-timeout", "5m"],
        &[("PORT", "8081"), ("WEB_CONCURRENCY", "3")],
        Path::new(REPOSITORY),
    );
    expect(&output, 0, &["PROXY MEMORY PER SHARD", "buffers of all shards"]);
    let text = stdout(&output);
    for (name, value, source) in [
        ("name", "json", "(default: package.json or folder)"),
        ("listen", "127.0.0.1:8081", "(environment: PORT)"),
        ("workers", "3", "(environment: WEB_CONCURRENCY)"),
        ("shards", "2", "(option)"),
        ("idle-timeout", "5m", "(option)"),
        ("head-timeout", "10s", "(default, unless the app sets headersTimeout)"),
    ] {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in: {text}"));
        assert!(line.contains(value) && line.contains(source), "{line}");
    }
}

#[test]
fn check_starts_nothing_and_makes_nothing() {
    let folder = Folder::new(&[("server.js", "throw new Error('must not run');")]);
    let dir = folder.0.join("run");
    let dir_text = dir.to_str().expect("UTF-8");
    expect(&hostler_with(&["check", "--runtime-dir", dir_text], &[], &folder.0), 0, &["server.js"]);
    assert!(!dir.exists());
}

#[test]
fn every_example_is_found() {
    for example in ["hello", "json", "streaming"] {
        let script = format!("examples/{example}/server.js");
        expect(&hostler(&["check", &format!("examples/{example}")]), 0, &[&script]);
    }
}

#[test]
fn status_and_stop_without_an_instance_exit_with_69() {
    let folder = Folder::new(&[]);
    let dir = folder.0.to_str().expect("UTF-8");
    for args in [
        vec!["status", "--runtime-dir", dir],
        vec!["status", "--json", "--runtime-dir", dir],
        vec!["stop", "--runtime-dir", dir],
    ] {
        expect(&hostler(&args), 69, &["no instance runs in", dir]);
    }
    let by_environment = [("HOSTLER_RUNTIME_DIR", dir)];
    expect(&hostler_with(&["status"], &by_environment, &folder.0), 69, &[dir]);
    expect(&hostler(&["stop", "--wait", "soon"]), 78, &["--wait: `soon`"]);
}

#[test]
fn doctor_prints_a_line_for_each_finding() {
    let folder = Folder::new(&[]);
    let dir = folder.0.to_str().expect("UTF-8");
    let output = hostler(&["doctor", "--json", "--runtime-dir", dir]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(i32::from(report["ok"] != true)), "{report}");
    let findings = report["findings"].as_array().expect("a list");
    for name in
        ["kernel", "io_uring", "seccomp", "RLIMIT_NOFILE", "cores", "memory", "node", "runtime dir"]
    {
        let finding = findings.iter().find(|finding| finding["name"] == name);
        let finding = finding.unwrap_or_else(|| panic!("no {name} in {report}"));
        let level = finding["level"].as_str().expect("a level");
        assert!(["ok", "warn", "fail"].contains(&level), "{finding}");
        assert!(level == "ok" || finding["remedy"].is_string(), "no remedy: {finding}");
    }
    let text = stdout(&hostler(&["doctor", "--runtime-dir", dir]));
    let lines = text.lines().filter(|line| line.starts_with(['o', 'w', 'F'])).count();
    assert_eq!(lines, findings.len(), "{text}");
}

#[test]
fn doctor_fails_without_node_and_without_a_place_for_its_sockets() {
    let folder = Folder::new(&[]);
    let dir = folder.0.to_str().expect("UTF-8");
    let output = hostler(&["doctor", "--node", "/no/such/node", "--runtime-dir", dir]);
    expect(&output, 1, &["FAIL  node", "-> install Node.js"]);
    let output = hostler(&["doctor", "--runtime-dir", "/etc/passwd/x"]);
    expect(&output, 1, &["FAIL  runtime dir", "--runtime-dir"]);
}

/// The README's first command names no binary.
#[test]
fn cargo_run_means_hostler() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(REPOSITORY)
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let defaults = metadata["workspace_default_members"].as_array().expect("a list");
    let packages = metadata["packages"].as_array().expect("a list").iter();
    let targets = packages
        .filter(|package| defaults.contains(&package["id"]))
        .flat_map(|package| package["targets"].as_array().expect("a list"));
    let binaries: Vec<&str> = targets
        .filter(|target| target["kind"] == serde_json::json!(["bin"]))
        .filter_map(|target| target["name"].as_str())
        .collect();
    assert_eq!(binaries, ["hostler"]);
}
