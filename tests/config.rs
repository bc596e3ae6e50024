//! Configuration files with the real binary: what is found, what overrules, what every mistake says, what is printed.
//!
//! Owns: what can be seen without a running instance. Must never know: how requests are served (`e2e` has that).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A folder of its own with an app and a configuration; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hostler-config-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        let folder = Self(path);
        folder.write("server.js", b"throw new Error('must not run');");
        folder.write("hostler.toml", config.as_bytes());
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).expect("a file");
    }

    fn hostler(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        hostler_in(&self.0, args, env)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn hostler_in(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
    for name in ["PORT", "HOST", "WEB_CONCURRENCY", "HOSTLER_RUNTIME_DIR", "HOSTLER_LOG"] {
        command.env_remove(name);
    }
    command.args(args).envs(env.iter().copied()).current_dir(folder);
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Exit code 78 and one line on stderr that begins so.
#[track_caller]
fn expect_mistake(output: &Output, start: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    assert_eq!(text(&output.stdout), "", "mistakes belong to stderr");
    assert!(stderr.starts_with(&format!("hostler: {start}")), "{start:?} is not in: {stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "{stderr}");
}

#[test]
fn every_mistake_is_one_line_and_exit_code_78() {
    let folder = Folder::new("");
    for (config, start) in [
        ("", "hostler.toml: it is empty"),
        ("[server", "hostler.toml:1:8: "),
        ("[server]\nlisten = 80\nlisten = 81", "hostler.toml:3:1: duplicate key"),
        (
            "\n[server]\nshrds = 2",
            "hostler.toml:3: server.shrds: there is no such key; did you mean `shards`?",
        ),
        ("[serve]", "hostler.toml:1: serve: there is no such key; did you mean `server`?"),
        ("[server]\nshards = []", "hostler.toml:2: server.shards: `[]` is not usable"),
        (
            "[[app]]\nqueue_timeout = 30",
            "hostler.toml:2: app[0].queue_timeout: `30` is not usable: a duration with a unit",
        ),
        (
            "[[app]]\nenv.A = \"${HOSTLER_NOT_SET}\"",
            "hostler.toml:2: app[0].env.A: `${HOSTLER_NOT_SET}` is not usable: the variable HOSTLER_NOT_SET is not set",
        ),
        ("app = {}", "hostler.toml:1: app: an array with one table is expected"),
        ("server = 1", "hostler.toml:1: server: a table is expected"),
        ("[[app]]\n[[app]]", "hostler.toml:2: app[1]: a second app"),
        ("[[app]]\npath = \"gone.js\"", "hostler.toml:2: app[0].path: gone.js: No such file"),
        ("[[app]]\ncwd = \"gone\"", "hostler.toml:2: app[0].cwd: `gone` is not usable"),
    ] {
        folder.write("hostler.toml", config.as_bytes());
        for verb in [&["run"][..], &["check"], &["config", "show"]] {
            expect_mistake(&folder.hostler(verb, &[]), start);
        }
    }
    folder.write("hostler.toml", b"# \xff");
    expect_mistake(&folder.hostler(&["run"], &[]), "hostler.toml: line 1 is not UTF-8");
    folder.write("large.toml", &vec![b'#'; 2 << 20]);
    expect_mistake(&folder.hostler(&["run", "-c", "large.toml"], &[]), "large.toml: it is larger");
    folder.write("x.json", b"{\"app\":\n[{\"workers\": 0}]}");
    let start = "x.json:2: app[0].workers: `0` is not usable";
    expect_mistake(&folder.hostler(&["run", "-c", "x.json"], &[]), start);
    expect_mistake(&folder.hostler(&["run", "-c", "."], &[]), ": it is a folder");
    expect_mistake(&folder.hostler(&["run", "-c", "no.toml"], &[]), "no.toml: there is no such");
    let both = folder.hostler(&["run", "-c", "x.json", "--no-config"], &[]);
    assert_eq!(both.status.code(), Some(2), "one of the two");
}

#[test]
fn check_says_where_each_value_comes_from() {
    let config = "[server]\nlisten = 81\nshards = 2\nidle_timeout = \"5m\"\n\n[[app]]\nname = \"shop\"\nworkers = 2\nenv = { A = \"${SECRET}\" }\n";
    let folder = Folder::new(config);
    let env = [("WEB_CONCURRENCY", "3"), ("SECRET", "hidden")];
    let output = folder.hostler(&["check", "--shards", "1"], &env);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for (name, value, source) in [
        ("config", "hostler.toml", "(in this folder)"),
        ("name", "shop", "(hostler.toml:7)"),
        ("listen", "127.0.0.1:81", "(hostler.toml:2)"),
        ("shards", "1", "(option)"),
        ("workers", "3", "(environment: WEB_CONCURRENCY)"),
        ("idle-timeout", "5m", "(hostler.toml:4)"),
        ("env.A", "${SECRET}", "(hostler.toml:9)"),
        ("queue-timeout", "10s", "(default)"),
    ] {
        let line = report.lines().find(|line| line.split_whitespace().next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in: {report}"));
        assert!(line.contains(value) && line.ends_with(source), "{line}");
    }
    assert!(!report.contains("hidden"), "{report}");
    let without = text(&folder.hostler(&["check", "--no-config"], &[]).stdout);
    assert!(without.contains("127.0.0.1:3000") && !without.contains("hostler.toml:"), "{without}");
}

#[test]
fn what_is_shown_is_a_file_with_the_same_meaning() {
    let folder = Folder::new("[server]\nidle_timeout = \"5m\"\n[[app]]\nargs = [\"$$x\"]\n");
    let show = |args: &[&str]| {
        let output = folder.hostler(&[&["config", "show"], args].concat(), &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let values = |shown: &str| -> Vec<String> {
        shown.lines().map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).collect()
    };
    let first = show(&["--workers", "2"]);
    let elsewhere = Folder::new(&first);
    let output = hostler_in(&elsewhere.0, &["config", "show"], &[]);
    assert_eq!(values(&text(&output.stdout)), values(&first));
    for part in ["idle_timeout = \"5m\"  # hostler.toml:2", "workers = 2  # option", "# shards = "]
    {
        assert!(first.contains(part), "{part} is missing in: {first}");
    }
}

#[test]
fn the_schema_is_printed() {
    let output = hostler_in(Path::new("/"), &["config", "schema"], &[]);
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let app = &schema["properties"]["app"]["items"]["properties"];
    let text = app["queue_timeout"]["description"].as_str().expect("a text");
    assert!(text.starts_with("Longest wait in that queue"), "{text}");
}

#[test]
fn the_example_is_good() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = hostler_in(repository, &["check", "-c", "examples/hostler.toml"], &[]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(report.contains("examples/hello/server.js"), "{report}");
}

/// A mistake in the file must not keep anybody from finding an instance by its folder.
#[test]
fn status_and_stop_find_the_runtime_directory_in_the_file() {
    let folder = Folder::new("server.runtime_dir = \"the-run-dir\"");
    let dir = folder.0.join("the-run-dir").display().to_string();
    for verb in ["status", "stop"] {
        let output = folder.hostler(&[verb], &[]);
        assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(&dir), "{}", text(&output.stderr));
    }
    folder.write("hostler.toml", b"[oops");
    for verb in ["status", "stop", "doctor"] {
        expect_mistake(&folder.hostler(&[verb], &[]), "hostler.toml:1:6: ");
    }
    for (args, env) in [
        (&["stop", "--runtime-dir", "x"][..], &[][..]),
        (&["stop"], &[("HOSTLER_RUNTIME_DIR", "x")]),
        (&["stop", "--no-config", "--runtime-dir", "x"], &[]),
    ] {
        let output = folder.hostler(args, env);
        assert_eq!(output.status.code(), Some(69), "{args:?}: {}", text(&output.stderr));
    }
}
