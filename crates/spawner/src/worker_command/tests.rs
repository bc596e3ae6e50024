//! Command lines and environments, as documented.

use super::*;
use crate::config::{ReadySpec, RecycleSpec, ReloadSpec, SleepSpec};

fn app(launch: Launch) -> AppSpec {
    AppSpec {
        range: None,
        ready: ReadySpec::default(),
        hang: None,
        reload: ReloadSpec::default(),
        recycle: RecycleSpec::default(),
        sleep: SleepSpec::default(),
        name: "web".into(),
        launch,
        cwd: "/srv".into(),
        env: vec![("PORT".into(), "1".into()), ("NODE_APP_INSTANCE".into(), "9".into())],
        workers: 1,
        transport: Transport::Frames,
    }
}

fn script() -> AppSpec {
    app(Launch::Script {
        node: "node".into(),
        node_args: vec!["--max-old-space-size=256".into()],
        script: "/srv/my app.js".into(),
        args: vec!["--verbose".into()],
    })
}

fn command(line: &str) -> AppSpec {
    app(Launch::Command { line: line.into(), bin_folders: vec!["/srv/node_modules/.bin".into()] })
}

fn facts(offer: Option<Offer>) -> WorkerFacts<'static> {
    static CHANNELS: std::sync::LazyLock<[PathBuf; 1]> =
        std::sync::LazyLock::new(|| ["/run/hostler/shard.0.sock".into()]);
    WorkerFacts {
        worker: WorkerId(7),
        slot: 0,
        generation: 3,
        parent_pid: 41,
        channels: &*CHANNELS,
        channels_connected: 1,
        plain: Path::new("/run/hostler/web.0.7.sock"),
        port: Some(3000),
        offer,
        claim: None,
        search_path: Some(OsStr::new("/usr/bin:/bin")),
        node_env_is_set: false,
    }
}

fn last(env: &[(OsString, OsString)], name: &str) -> Option<String> {
    let found = env.iter().rev().find(|entry| entry.0 == name)?;
    Some(found.1.to_str().expect("text").to_owned())
}

#[test]
fn the_command_line_is_as_documented() {
    let expected = [
        "--require",
        "/run/h/loader/preload.cjs",
        "--max-old-space-size=256",
        "/srv/my app.js",
        "--verbose",
    ];
    assert_eq!(args(&script(), Path::new("/run/h/loader")), expected);
    assert_eq!(program(&script()), Path::new("node"));
    assert_eq!(shown(&script()), "node --max-old-space-size=256 '/srv/my app.js' --verbose");
}

#[test]
fn the_worker_variable_is_as_documented() {
    let env = env(&script(), &facts(None));
    let text = last(&env, "HOSTLER_WORKER").expect("set");
    let value: serde_json::Value = serde_json::from_str(&text).expect("json");
    let expected = serde_json::json!({
        "protocol": 2, "parent_pid": 41, "worker": 7, "app": "web", "slot": 0,
        "transport": "frames", "channels": ["/run/hostler/shard.0.sock"], "channel_fds": [4],
        "plain": "/run/hostler/web.0.7.sock", "report_fd": 3, "alive_fd": 5,
    });
    assert_eq!(value, expected);
    assert_eq!(last(&env, "PORT").as_deref(), Some("1"), "the user's own value wins");
    assert_eq!(last(&env, "NODE_APP_INSTANCE").as_deref(), Some("0"), "except for the slot");
    assert_eq!(last(&env, "NODE_ENV").as_deref(), Some("production"));
    assert_eq!(last(&env, "SOCKET"), None);
}

#[test]
fn every_worker_knows_how_many_there_are_and_one_leads() {
    let mut app = script();
    app.workers = 4;
    let names = ["HOSTLER_WORKERS", "HOSTLER_GENERATION", "HOSTLER_LEADER"];
    app.env = names.map(|name| (name.to_owned(), "9".to_owned())).into();
    for slot in 0..4 {
        let env = env(&app, &WorkerFacts { slot, ..facts(None) });
        let told = names.map(|name| last(&env, name));
        let leader = (slot == 0).then(|| "1".to_owned());
        assert_eq!(told, [Some("4".to_owned()), Some("3".to_owned()), leader], "slot {slot}");
    }
    // A worker that is a supervisor itself must not pass on what it was told.
    for name in names {
        assert!(ENV_REMOVED.contains(&name) && ENV_REMOVED_COMMAND.contains(&name), "{name}");
    }
}

#[test]
fn a_command_is_told_where_it_may_listen() {
    let mut app = command("uvicorn app:app --uds $SOCKET");
    app.env.clear();
    let offer = Offer { socket: "/run/hostler/app.on.0.7.sock".into(), port: 40_001 };
    let env = env(&app, &facts(Some(offer)));
    for (name, value) in [
        ("HOST", "127.0.0.1"),
        ("PORT", "40001"),
        ("SOCKET", "/run/hostler/app.on.0.7.sock"),
        ("PATH", "/srv/node_modules/.bin:/usr/bin:/bin"),
        ("NODE_APP_INSTANCE", "0"),
    ] {
        assert_eq!(last(&env, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(program(&app), Path::new("/bin/sh"));
    assert_eq!(args(&app, Path::new("/x")), ["-c", "exec uvicorn app:app --uds $SOCKET"]);
    assert_eq!(shown(&app), "uvicorn app:app --uds $SOCKET");
}

#[test]
fn node_processes_below_a_command_are_told_how_to_become_the_worker() {
    let root = std::env::temp_dir().join(format!("hostler claim {}", std::process::id()));
    let dir = crate::runtime_dir::RuntimeDir::acquire(&root, "web").expect("free");
    let folder = dir.make_worker_folder(7).expect("made");
    let offer = Offer { socket: "/run/hostler/app.on.0.7.sock".into(), port: 40_001 };
    let mut facts = WorkerFacts { channels_connected: 0, ..facts(Some(offer)) };
    facts.claim = Some(Claim {
        folder: &folder,
        loader_dir: Path::new("/run/my h/loader"),
        node_options: Some("--no-warnings".into()),
    });
    let env = env(&command("npm start"), &facts);
    let option = r#"--require "/run/my h/loader/preload.cjs""#;
    let options = format!("--no-warnings {option}");
    assert_eq!(last(&env, "NODE_OPTIONS"), Some(options));
    let text = last(&env, "HOSTLER_WORKER").expect("set");
    let value: serde_json::Value = serde_json::from_str(&text).expect("json");
    let expected = serde_json::json!({
        "protocol": 2, "worker": 7, "app": "web", "slot": 0, "transport": "frames",
        "channels": ["/run/hostler/shard.0.sock"], "plain": "/run/hostler/web.0.7.sock",
        "report": root.join("worker.7/report"), "claim": root.join("worker.7/claim"),
        "alive": root.join("worker.7/alive"), "option": option,
    });
    assert_eq!(value, expected);
    drop(facts);
    drop(folder);
    assert!(!root.join("worker.7").exists());
    dir.remove();
}

#[test]
fn the_shell_stays_only_where_it_has_something_to_do() {
    for line in
        ["gunicorn --bind 127.0.0.1:$PORT 'app:create()'", "./start.sh", "npm start", "'my app' x"]
    {
        let becomes = !line.contains('(');
        assert_eq!(exec_line(line).starts_with("exec "), becomes, "{line}");
    }
    for line in [
        "cd app && node x.js",
        "A=1 node x.js",
        "exec node x.js",
        "node x.js > log",
        "node x.js; true",
        "a | b",
        "(cd x; node y)",
        "{ node y; }",
        "node x &",
        "",
        "  ",
        "# nothing",
        "! node x",
        "a\nb",
        "if true",
        "echo `date`",
    ] {
        assert_eq!(exec_line(line), line);
    }
}
