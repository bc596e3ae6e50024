//! `hostler exec`: a command behaves as it does alone, and its exit code, output and signals are its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{PATIENCE, fixtures, within};

/// Twice the usual: one script does some hundred things.
const SCRIPT_PATIENCE: std::time::Duration = PATIENCE.saturating_mul(4);

fn hostler(options: &[&str], command: &[&str]) -> Command {
    let mut hostler = Command::new(env!("CARGO_BIN_EXE_hostler"));
    hostler.arg("exec").args(options).arg("--").args(command);
    hostler.env_remove("NODE_OPTIONS").stdin(Stdio::null());
    hostler
}

/// Waits for the end, with a deadline.
fn run(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    // What is written fits into the pipes.
    within(SCRIPT_PATIENCE, "the command ends", || child.try_wait().expect("waited"));
    child.wait_with_output().expect("output")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The figures of the summary line: servers, requests, frames, http.
fn summary(stderr: &str) -> Vec<u64> {
    let line = stderr.lines().last().unwrap_or_default();
    let figures = line.strip_prefix("hostler exec: ").unwrap_or_else(|| panic!("{stderr}"));
    let names = ["servers=", "requests=", "frames=", "http="];
    let words = figures.split(' ').zip(names);
    words
        .map(|(word, name)| word.strip_prefix(name).and_then(|n| n.parse().ok()).expect(name))
        .collect()
}

#[test]
fn an_app_and_its_clients_see_what_they_see_alone() {
    let script = fixtures().join("exec/behaves.js");
    let script = script.to_str().expect("UTF-8");
    let mut alone = Command::new("node");
    alone.arg(script).env_remove("NODE_OPTIONS").stdin(Stdio::null());
    let alone = run(alone);
    assert!(alone.status.success(), "{}", text(&alone.stderr));
    let behind = run(hostler(&["--summary"], &["node", script]));
    assert_eq!(text(&behind.stdout), text(&alone.stdout));
    assert_eq!(behind.status.code(), Some(0));
    let figures = summary(&text(&behind.stderr));
    let [servers, requests, frames, http] = figures[..] else { panic!("{figures:?}") };
    assert!(servers > 220 && frames > 220, "{figures:?}");
    assert_eq!((requests, http), (frames + http, 3), "three upgrades are Node's: {figures:?}");
}

#[test]
fn exit_codes_are_the_commands_own() {
    let code = |command: &[&str]| run(hostler(&[], command)).status.code();
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["sh", "-c", "kill -TERM $$"]), Some(143));
    let missing = run(hostler(&[], &["/nowhere/program"]));
    assert_eq!(missing.status.code(), Some(127));
    assert!(text(&missing.stderr).contains("/nowhere/program"), "{}", text(&missing.stderr));
    assert_eq!(code(&["/etc"]), Some(126));
}

#[test]
fn output_and_input_are_the_commands_own_and_nothing_is_left_behind() {
    let mut command = hostler(&[], &["sh", "-c", "cat; echo err >&2; echo $NODE_OPTIONS >&2"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"through")
        .expect("written");
    let output = child.wait_with_output().expect("output");
    assert_eq!(text(&output.stdout), "through");
    let stderr = text(&output.stderr);
    let (first, options) = stderr.trim_end().split_once('\n').expect("two lines");
    assert_eq!(first, "err");
    let preload = options.split('"').nth(1).expect("a quoted path");
    assert!(preload.ends_with("preload.cjs"), "{options}");
    assert!(!Path::new(preload).exists(), "the folder is gone");
}

#[test]
fn a_signal_for_hostler_is_the_commands() {
    let script = "process.on('SIGTERM', () => { console.log('got it'); process.exit(5); }); \
                  console.log('ready'); setInterval(() => {}, 1000);";
    let mut child =
        hostler(&[], &["node", "-e", script]).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    crate::support::signal(child.id(), rustix::process::Signal::TERM);
    assert_eq!(lines.next().expect("a line").expect("text"), "got it");
    let status = within(PATIENCE, "the end", || child.try_wait().expect("waited"));
    assert_eq!(status.code(), Some(5));
}

#[test]
fn an_exec_inside_an_exec_loads_one_loader() {
    let binary = env!("CARGO_BIN_EXE_hostler");
    let inner = ["sh", "-c", "echo $NODE_OPTIONS"];
    let mut command = vec![binary, "exec", "--"];
    command.extend(inner);
    let output = run(hostler(&[], &command));
    assert_eq!(text(&output.stdout).matches("--require").count(), 1, "{}", text(&output.stdout));
}
