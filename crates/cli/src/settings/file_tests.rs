//! Tests of `settings` with configuration files: precedence, paths, variables, the search, and each wrong value.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser;

use super::tests::Machine;
use hostler_spawner::{HangSpec, SleepSpec};

use super::*;
use crate::args::{Cli, Verb};

/// A folder of its own that is removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hostler-file-{}-{number}", std::process::id()));
        let folder = Self(path);
        std::fs::create_dir_all(&folder.0).expect("a folder");
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// `hostler run OPTIONS`, typed in this folder.
    pub(crate) fn read(
        &self,
        env: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Settings, SettingsError> {
        let typed = ["hostler", "run"].into_iter().chain(options.iter().copied());
        let Verb::Run(args) = Cli::parse_from(typed).verb else { panic!("run was typed") };
        let machine = Machine::default();
        let env = |name: &str| {
            let set = env.iter().find(|(known, value)| *known == name && !value.is_empty());
            // No Node is needed to test settings; any program of that name will do.
            let path = (name == "PATH").then(|| self.0.join("bin").display().to_string());
            set.map(|(_, value)| (*value).to_owned()).or(path)
        };
        let node = self.0.join("bin/node");
        if !node.exists() {
            std::fs::create_dir_all(self.0.join("bin")).expect("a folder");
            std::os::unix::fs::symlink("/bin/sh", node).expect("a link");
        }
        Settings::resolve(
            &args,
            &Surroundings {
                env: &env,
                cores: machine.cores.clone(),
                open_files_max: machine.open_files_max,
                current_folder: self.0.clone(),
                system_file: self.0.join("etc/hostler.toml"),
                default_runtime_dir: Some("/run/hostler".into()),
            },
        )
    }

    fn good(&self, env: &[(&str, &str)], options: &[&str]) -> Settings {
        self.read(env, options).unwrap_or_else(|error| panic!("{options:?}: {error}"))
    }

    pub(crate) fn error(&self, env: &[(&str, &str)], options: &[&str]) -> String {
        let error = self.read(env, options).expect_err("a mistake").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn source<T>(setting: &Setting<T>) -> String {
    setting.source.to_string()
}

/// Every key has its effect.
pub(crate) const FULL: &str = r#"
[server]
listen = ["0.0.0.0:8080", "unix:run/a.sock"]
shards = 2
io = "epoll"
pin = false
runtime_dir = "run"
access_log = "log/access"
log_format = "json"
max_connections = 500
max_head_size = "32K"
max_body_size = "2M"
head_timeout = "1s"
idle_timeout = "2s"
client_timeout = "3s"

[[app]]
name = "web"
path = "main.js"
args = ["--blue", 7, "a b", "$${HOME}"]
cwd = "app"
env = { A = "${SECRET:-none}", PRICE = "$$5", "odd.name" = true }
node = "bin/node"
workers = 3
lazy = true
idle_stop = "16s"
transport = "http"
ready = "/health"
sticky = "both"
sticky_cookie = "way"
max_surge = 2
probation = "9s"
drain_timeout = "10s"
websocket_drain = "11s"
max_memory = "100M"
max_memory_hard = "200M"
max_age = "12h"
max_requests = 13
start_timeout = "4s"
stop_timeout = "5s"
worker_timeout = "6s"
max_queue = 7
queue_timeout = "8s"
worker_requests = 9
request_timeout = "14s"
hang_after = "15s"
quarantine = "16s"
hang_stack = false
"#;

#[test]
fn every_key_has_its_effect() {
    let folder = Folder::new(&[("conf/hostler.toml", FULL), ("conf/app/main.js", "")]);
    folder.write("conf/bin/node", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.0.join("conf/bin/node"), mode).expect("executable");
    let settings = folder.good(&[("SECRET", "s")], &["-c", "conf/hostler.toml"]);
    let conf = folder.0.join("conf");
    let setup = crate::instance::proxy_setup(&settings);
    let config = crate::instance::supervisor_config(&settings, Path::new("/bin/hostler"));
    let socket = format!("unix:{}", conf.join("run/a.sock").display());
    assert_eq!(setup.listeners, ["0.0.0.0:8080".to_owned(), socket]);
    assert_eq!((setup.shards, setup.io, config.pin), (2, IoChoice::Epoll, false));
    assert_eq!(config.runtime_dir, conf.join("run"));
    assert_eq!(setup.access_log, Some(conf.join("log/access")));
    assert!(setup.log_json && config.log_json);
    assert_eq!((setup.conns_max, setup.head_bytes_max), (500, 32_768));
    assert_eq!(setup.body_bytes_max, Some(2 << 20));
    assert_eq!((setup.head_ms_max, setup.idle_ms_max), (1_000, 2_000));
    assert_eq!((setup.client_silence_ms_max, setup.worker_silence_ms_max), (3_000, 6_000));
    assert!(setup.typed.head_ms_max && setup.typed.idle_ms_max && setup.typed.head_bytes_max);
    assert_eq!((config.app.name.as_str(), config.app.workers), ("web", 3));
    assert_eq!((config.app.cwd, config.app.transport), (conf.join("app"), Transport::Http));
    assert_eq!(config.app.ready, ReadySpec::Answers("/health".to_owned()));
    let reload = config.app.reload;
    assert_eq!((reload.surge_max, reload.probation_ms), (Some(2), 9_000));
    assert_eq!((reload.drain_ms_max, reload.websocket_drain_ms_max), (10_000, 11_000));
    let recycle = config.app.recycle;
    assert_eq!(recycle.memory_kib_max.zip(recycle.memory_kib_hard), Some((100 << 10, 200 << 10)));
    assert_eq!(recycle.age_ms_max.zip(recycle.requests_max), Some((12 * 3_600_000, 13)));
    assert_eq!(config.app.sleep, SleepSpec { lazy: true, idle_ms_max: Some(16_000) });
    let Launch::Script { node, script, args, .. } = config.app.launch else { panic!("a script") };
    assert_eq!((node, script), (conf.join("bin/node"), conf.join("app/main.js")));
    assert_eq!(args, ["--blue", "7", "a b", "${HOME}"]);
    let env = [("A", "s"), ("PRICE", "$5"), ("odd.name", "true")];
    assert_eq!(config.app.env, env.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((config.start_ms_max, config.stop_ms_max), (4_000, 5_000));
    assert_eq!((setup.queue_requests_max, setup.queue_ms_max), (7, 8_000));
    assert_eq!(setup.worker_requests_max, Some(9));
    assert_eq!((setup.answer_ms_max, setup.hang_ms_max), (Some(14_000), Some(15_000)));
    assert_eq!(setup.quarantine_ms, Some(16_000));
    let sticky = setup.sticky.expect("sticky");
    assert_eq!((sticky.cookie.as_deref(), sticky.sessions), (Some("way"), true));
    assert_eq!(config.app.hang, Some(HangSpec { after_ms: 15_000, stack: false }));
    // Nothing was left at its default by accident.
    for row in rows(&settings) {
        assert!(matches!(row.source, Source::File(_)), "{row:?}");
    }
}

#[test]
fn option_before_environment_before_file_before_default() {
    let file = "[server]\nlisten = 81\n[[app]]\nworkers = 3\n";
    let folder = Folder::new(&[("hostler.toml", file), ("server.js", "")]);
    let env = [("WEB_CONCURRENCY", "5"), ("PORT", "82")];
    for (env, options, listen, workers) in [
        (&[][..], &[][..], ("127.0.0.1:81", "hostler.toml:2"), (3, "hostler.toml:4")),
        (
            &env[..],
            &[][..],
            ("127.0.0.1:82", "environment: PORT"),
            (5, "environment: WEB_CONCURRENCY"),
        ),
        (
            &env[..],
            &["--listen", "83", "--workers", "6"][..],
            ("127.0.0.1:83", "option"),
            (6, "option"),
        ),
        (
            &[][..],
            &["--no-config"][..],
            ("127.0.0.1:3000", "default"),
            (4, "default: auto, one per usable core"),
        ),
    ] {
        let settings = folder.good(env, options);
        let address = settings.listen.value[0].to_string();
        assert_eq!((address.as_str(), source(&settings.listen).as_str()), listen, "{options:?}");
        let found = (settings.workers.value, source(&settings.workers));
        assert_eq!(found, (workers.0, workers.1.to_owned()), "{options:?}");
    }
    let dir = Folder::new(&[("hostler.toml", "server.runtime_dir = \"/r\""), ("server.js", "")]);
    let runtime_dir = |env: &[(&str, &str)], options: &[&str]| {
        dir.good(env, options).runtime_dir.value.display().to_string()
    };
    let env = [("HOSTLER_RUNTIME_DIR", "/e")];
    assert_eq!(runtime_dir(&[], &[]), "/r");
    assert_eq!(runtime_dir(&env, &[]), "/e");
    assert_eq!(runtime_dir(&env, &["--runtime-dir", "/o"]), "/o");
}

/// Otherwise PORT would overrule the very line that gives it a meaning.
#[test]
fn a_listen_that_names_port_is_not_overruled_by_it() {
    let file = "server.listen = \"0.0.0.0:${PORT:-81}\"";
    let folder = Folder::new(&[("hostler.toml", file), ("server.js", "")]);
    let listen = |env: &[(&str, &str)]| folder.good(env, &[]).listen.value[0].to_string();
    assert_eq!(listen(&[]), "0.0.0.0:81");
    assert_eq!(listen(&[("PORT", "82")]), "0.0.0.0:82");
    assert_eq!(listen(&[("PORT", "82"), ("HOST", "1.2.3.4")]), "0.0.0.0:82");
}

#[test]
fn auto_in_the_file_is_the_default() {
    let folder = Folder::new(&[("hostler.toml", "[[app]]\nworkers = \"auto\""), ("a.js", "")]);
    let workers = folder.good(&[], &["a.js"]).workers;
    assert_eq!((workers.value, workers.source.is_chosen()), (4, false));
}

#[test]
fn where_the_file_is_looked_for() {
    let folder = Folder::new(&[
        ("a/hostler.toml", "[[app]]\nname = \"of-a\""),
        ("a/server.js", ""),
        ("b/server.js", ""),
        ("other.json", r#"{"app": [{"name": "json"}]}"#),
        ("etc/hostler.toml", "[[app]]\nname = \"machine\"\npath = \"../b\""),
    ]);
    let found = |options: &[&str]| {
        let settings = folder.good(&[], options);
        (settings.app.name.value, settings.file.shown().to_owned())
    };
    let is = |name: &str, file: &str| (name.to_owned(), file.to_owned());
    assert_eq!(found(&["a"]), is("of-a", "a/hostler.toml"));
    assert_eq!(found(&["./a/"]), is("of-a", "a/hostler.toml"));
    assert_eq!(found(&["b"]), is("b", "none"), "the machine's own file is not for a named app");
    assert_eq!(found(&["a", "--no-config"]), is("a", "none"));
    let system = folder.0.join("etc/hostler.toml").display().to_string();
    assert_eq!(found(&[]), is("machine", &system), "nothing here to start");
    assert_eq!(found(&["--command", "x"]).1, "none", "a command is an app");
    folder.write("hostler.toml", "[[app]]\nname = \"here\"\npath = \"b\"");
    assert_eq!(found(&[]), is("here", "hostler.toml"));
    assert_eq!(found(&["a/server.js"]).0, "here", "a file runs in this folder");
    assert_eq!(found(&["b"]), is("b", "none"), "and another folder is another app");
    assert_eq!(found(&["-c", "a/hostler.toml", "b"]), is("of-a", "a/hostler.toml"));
    assert_eq!(found(&["-c", "other.json", "b"]), is("json", "other.json"));
    folder.write("package.json", "{");
    std::fs::remove_file(folder.0.join("hostler.toml")).expect("removed");
    assert!(folder.error(&[], &[]).contains("package.json"), "a broken app is an app");
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new(&[("server.js", ""), ("f/hostler.toml/x", ""), ("f/server.js", "")]);
    std::fs::write(folder.0.join("latin.toml"), b"# a\n# \xfc\n").expect("a file");
    folder.write("large.toml", &"#".repeat((1 << 20) + 1));
    folder.write("good.toml", &format!("{}\n", "#".repeat((1 << 20) - 1)));
    folder.write("mark.toml", "\u{feff}[server]\nshards = 0");
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.0.join("pipe.toml"), rustix::fs::Mode::RWXU)
        .expect("a pipe");
    for (options, error) in [
        (&["-c", "no.toml"][..], "no.toml: there is no such file"),
        (&["-c", "f"], "f: it is a folder; a file is expected"),
        (&["f"], "f/hostler.toml: it is a folder; a file is expected"),
        (&["-c", "pipe.toml"], "pipe.toml: it is a pipe or a device"),
        (&["-c", "latin.toml"], "latin.toml: line 2 is not UTF-8"),
        (&["-c", "large.toml"], "large.toml: it is larger than 1 MiB"),
        (&["-c", "mark.toml"], "mark.toml:2: server.shards: `0`"),
    ] {
        let found = folder.error(&[], options);
        assert!(found.starts_with(error), "{found}");
    }
    folder.good(&[], &["-c", "good.toml"]);
}

#[test]
fn what_a_path_beside_a_file_means() {
    let file = "[[app]]\npath = \"main.js\"\ncwd = \"sub\"";
    let folder = Folder::new(&[
        ("a/hostler.toml", file),
        ("a/sub/main.js", ""),
        ("c.toml", "[[app]]\ncommand = \"serve $PORT\"\n"),
        ("b/server.js", ""),
        ("server.js", ""),
    ]);
    let start = |options: &[&str]| {
        let settings = folder.good(&[], options);
        let cwd = settings.app.cwd.value.strip_prefix(&folder.0).expect("inside").to_owned();
        let what = match settings.launch {
            Launch::Script { script, .. } => {
                script.strip_prefix(&folder.0).expect("inside").display().to_string()
            }
            Launch::Command { line, .. } => line,
        };
        (what, cwd.display().to_string())
    };
    let is = |what: &str, cwd: &str| (what.to_owned(), cwd.to_owned());
    // PATH leads to the file, which says the rest.
    assert_eq!(start(&["a"]), is("a/sub/main.js", "a/sub"));
    assert_eq!(start(&["-c", "a/hostler.toml"]), is("a/sub/main.js", "a/sub"));
    // A PATH beside a named file takes the place of path, command and cwd.
    assert_eq!(start(&["-c", "a/hostler.toml", "b"]), is("b/server.js", "b"));
    assert_eq!(start(&["-c", "a/hostler.toml", "server.js"]), is("server.js", ""));
    assert_eq!(start(&["-c", "a/hostler.toml", "--command", "x"]), is("x", "a/sub"));
    folder.write("b/p.toml", "[[app]]\npath = \"server.js\"");
    assert_eq!(start(&["-c", "b/p.toml"]), is("b/server.js", "b"));
    assert_eq!(start(&["-c", "b/p.toml", "--command", "x"]), is("x", ""));
    assert_eq!(start(&["a", "--command", "x"]), is("x", "a/sub"));
    assert_eq!(start(&["-c", "c.toml"]), is("serve $PORT", ""));
    assert_eq!(start(&["-c", "c.toml", "b"]), is("b/server.js", "b"));
    // A file that says nothing about the app leaves it where it is.
    folder.write("conf/x.toml", "server.shards = 1");
    assert_eq!(start(&["-c", "conf/x.toml"]), is("server.js", ""));
}

/// `current -> releases/42`: what is started at the next reload is what the link leads to then.
#[test]
fn links_are_kept_and_everything_is_looked_up_anew() {
    let folder = Folder::new(&[
        ("releases/1/package.json", r#"{"name":"one","main":"m.js"}"#),
        ("releases/1/m.js", ""),
        ("releases/2/package.json", r#"{"name":"two","main":"n.js"}"#),
        ("releases/2/n.js", ""),
        ("hostler.toml", "[[app]]\ncwd = \"current\""),
    ]);
    let link = |release: &str| {
        let _ = std::fs::remove_file(folder.0.join("current"));
        std::os::unix::fs::symlink(release, folder.0.join("current")).expect("a link");
    };
    let current = folder.0.join("current");
    let read = |options: &[&str]| {
        let settings = folder.good(&[], options);
        assert_eq!(settings.app.cwd.value, current);
        let Launch::Script { script, .. } = settings.launch else { panic!("a script") };
        (settings.app.name.value, script)
    };
    for (release, name, script) in [("releases/1", "one", "m.js"), ("releases/2", "two", "n.js")] {
        link(release);
        for options in [&[][..], &["current"][..], &["./releases/../current"][..]] {
            assert_eq!(read(options), (name.to_owned(), current.join(script)), "{options:?}");
        }
    }
    folder.write("hostler.toml", "[[app]]\ncwd = \"./x/../current\"\nname = \"own\"");
    assert!(folder.error(&[], &[]).contains("a folder that exists"), "as the kernel sees it");
    folder.write("x/y", "");
    assert_eq!(read(&[]).0, "own");
}

#[test]
fn arguments_and_variables_of_a_start_line_come_first() {
    let package = r#"{"scripts":{"start":"A=line B=line node s.js --line"}}"#;
    let file = "[[app]]\nargs = [\"--file\"]\nenv.A = \"file\"";
    let folder = Folder::new(&[("package.json", package), ("s.js", ""), ("hostler.toml", file)]);
    let args = |options: &[&str]| {
        let Launch::Script { args, .. } = folder.good(&[], options).launch else { panic!() };
        args.join(" ")
    };
    assert_eq!(args(&[]), "--line --file");
    assert_eq!(args(&["--", "--typed"]), "--line --typed");
    let config = crate::instance::supervisor_config(&folder.good(&[], &[]), Path::new("/h"));
    let of_a: Vec<_> = config.app.env.iter().filter(|(name, _)| name == "A").collect();
    assert_eq!(of_a.last().expect("set").1, "file", "of two entries the later one holds");
}
