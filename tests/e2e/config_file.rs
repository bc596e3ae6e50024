//! An instance that a configuration file describes: its keys have their effect, options overrule, links are followed anew.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Instance, PATIENCE, Setup, Variant, eventually, matrix, signal};

matrix!(all: served_by_a_file);

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
shards = 1
pin = false
runtime_dir = "run"
log_format = "json"
max_body_size = "1K"

[[app]]
name = "web"
path = "main.cjs"
args = ["--blue", "$${HOME}"]
cwd = "current"
workers = 2
env = { GREETING = "${PATH}", NODE_ENV = "staging", COUNT = 3 }
"#;

const APP: &str = r"
const http = require('node:http');
http.createServer((request, response) => {
  const { GREETING, NODE_ENV, COUNT } = process.env;
  const facts = { release: RELEASE, cwd: process.cwd(), args: process.argv.slice(2), env: { GREETING, NODE_ENV, COUNT } };
  request.resume().on('end', () => response.end(JSON.stringify(facts)));
}).listen(3000);
";

/// A folder with two releases, a link to the first, and a configuration; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(variant: Variant, name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("hostler-{name}-{}-{variant}", std::process::id()));
        for release in ["1", "2"] {
            let folder = path.join("releases").join(release);
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("main.cjs"), APP.replace("RELEASE", release)).expect("a file");
        }
        fs::write(path.join("hostler.toml"), CONFIG).expect("a file");
        let folder = Self(path);
        folder.link("releases/1");
        folder
    }

    fn link(&self, release: &str) {
        let _ = fs::remove_file(self.0.join("current"));
        symlink(release, self.0.join("current")).expect("a link");
    }

    fn setup(&self, variant: Variant) -> Setup {
        Setup::file(variant, self.0.join("hostler.toml"), &self.0.join("run"))
    }

    /// Runs a verb that finds the instance by the file alone.
    fn verb(&self, verb: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
        command.arg(verb).current_dir(&self.0).env_remove("HOSTLER_RUNTIME_DIR");
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{verb}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn upload(instance: &Instance, bytes: usize) -> u16 {
    let mut client = instance.client();
    let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {bytes}\r\n\r\n");
    client.send(format!("{head}{}", "x".repeat(bytes)));
    client.response().status
}

fn served_by_a_file(variant: Variant) {
    let folder = Folder::new(variant, "file");
    let mut instance = folder.setup(variant).start();
    let facts: Value = instance.get("/").json();
    let real = folder.0.join("releases/1").canonicalize().expect("it exists");
    assert_eq!(facts["cwd"], real.to_str().expect("UTF-8"));
    assert_eq!(facts["args"], serde_json::json!(["--blue", "${HOME}"]));
    let path = std::env::var("PATH").expect("PATH is set");
    assert_eq!(
        facts["env"],
        serde_json::json!({ "GREETING": path, "NODE_ENV": "staging", "COUNT": "3" })
    );
    assert_eq!((upload(&instance, 1024), upload(&instance, 1025)), (200, 413));
    let status = instance.status();
    assert_eq!((status.workers[0].app.as_str(), status.workers.len()), ("web", 2));

    // The next release: a worker that is started again is like its siblings, until somebody reloads.
    folder.link("releases/2");
    for slot in 0..2 {
        signal(instance.worker_pid(slot), Signal::KILL);
        eventually("the worker is started again", || {
            (instance.status().workers[slot as usize].restarts >= 1).then_some(())
        });
    }
    instance.wait_all_workers();
    assert_eq!(instance.get("/").json()["release"], 1);
    assert!(folder.verb("reload").contains("2 workers run generation 2"));
    assert_eq!(instance.get("/").json()["release"], 2);

    assert!(folder.verb("status").contains("web.1"));
    assert!(folder.verb("stop").contains("has stopped"));
    assert_eq!(instance.wait_exit(PATIENCE).code(), Some(0), "{}", instance.printed());
    instance.assert_gone();
}

#[test]
fn options_overrule_the_file() {
    let folder = Folder::new(Variant::PLAIN, "overruled");
    let options = "--workers 1 --max-body-size 2K";
    let instance = folder.setup(Variant::PLAIN).options(options).app_args(&["--typed"]).start();
    let facts: Value = instance.get("/").json();
    assert_eq!(facts["args"], serde_json::json!(["--typed"]));
    assert_eq!(instance.status().workers.len(), 1);
    assert_eq!((upload(&instance, 2048), upload(&instance, 2049)), (200, 413));
    instance.finish();
}
