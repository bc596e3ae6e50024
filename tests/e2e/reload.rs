//! Reloads: no client notices a good one, and a bad one changes nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use hostler_protocol::control::WorkerState;
use rustix::process::Signal;

use crate::support::{Instance, Setup, Target, Variant, eventually, matrix};

matrix!(all: good_releases_under_load, broken_releases_under_load, a_crash_on_probation, one_at_a_time);
matrix!(frames: by_signal_and_by_touch, rollback, mistakes);

/// What a release does, as JavaScript.
const GOOD: &str = "";
const BROKEN: &str = "throw new Error('no database');";
const CRASHES_SOON: &str = "setTimeout(() => { throw new Error('no cache'); }, 300);";

/// Folders `1`, `2`, ... and a link `current` to one of them.
struct Releases {
    root: PathBuf,
}

impl Releases {
    fn new(variant: Variant, name: &str) -> Self {
        let root = std::env::temp_dir()
            .join(format!("hostler-releases-{name}-{variant}-{}", std::process::id()));
        let releases = Self { root };
        releases.deploy(1, GOOD);
        releases
    }

    fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// Puts a release in place as deploy tools do: a new folder, then the link is replaced in one step.
    fn deploy(&self, number: u32, begin: &str) {
        let folder = self.root.join(number.to_string());
        fs::create_dir_all(folder.join("tmp")).expect("a folder");
        let app = format!(
            "const http = require('http');\n{begin}\nhttp.createServer((request, response) => response.end('release \
             {number}')).listen(process.env.PORT);\n"
        );
        fs::write(folder.join("server.js"), app).expect("a file");
        let next = self.root.join("next");
        symlink(&folder, &next).expect("a link");
        fs::rename(&next, self.current()).expect("replaced");
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Clients that ask all the time and believe nothing.
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    clients: Vec<JoinHandle<u32>>,
}

impl Load {
    /// All answers to `path` must begin with `begin`.
    pub(crate) fn on(
        instance: &Instance,
        clients: usize,
        path: &'static str,
        begin: &'static str,
    ) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (target, ends) = (instance.target(), Arc::clone(&ends));
            thread::spawn(move || ask_until(&target, path, begin, &ends))
        };
        Self { clients: (0..clients).map(client).collect(), ends }
    }

    /// Ends it and gives the number of answers, all of which were right.
    pub(crate) fn finish(self) -> u32 {
        self.ends.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().expect("every answer is right")).sum()
    }
}

fn ask_until(target: &Target, path: &str, begin: &str, ends: &AtomicBool) -> u32 {
    let mut client = crate::support::Client::connect(target);
    let mut answers = 0;
    while !ends.load(Ordering::Relaxed) {
        let response = client.get(path);
        assert_eq!(response.status, 200, "{response:?}");
        assert!(response.text().starts_with(begin), "{response:?}");
        answers += 1;
    }
    answers
}

fn start(variant: Variant, releases: &Releases, options: &str) -> Instance {
    let setup = Setup::path(variant, releases.current());
    let instance = setup.options("--workers 2 --probation 600ms").options(options).start();
    instance.wait_all_workers();
    instance
}

/// `hostler VERB` for this instance.
pub(crate) fn verb(instance: &Instance, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
    command.args(words).arg("--runtime-dir").arg(instance.runtime_dir());
    command.output().expect("it runs")
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub(crate) fn told(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

fn generations(instance: &Instance) -> Vec<u32> {
    let status = instance.status();
    let ready = status.workers.iter().filter(|worker| worker.state == WorkerState::Ready);
    ready.map(|worker| worker.generation).collect()
}

/// Nobody is left but the workers that serve.
fn wait_for_leavers(instance: &Instance) {
    eventually("the old workers are gone", || (instance.status().workers.len() == 2).then_some(()));
}

fn good_releases_under_load(variant: Variant) {
    let releases = Releases::new(variant, "good");
    let instance = start(variant, &releases, "");
    let load = Load::on(&instance, 8, "/", "release ");
    for number in 2..=4 {
        releases.deploy(number, GOOD);
        let output = verb(&instance, &["reload"]);
        assert_eq!(code(&output), Some(0), "{}", told(&output));
        assert_eq!(instance.get("/").text(), format!("release {number}"));
        assert_eq!(generations(&instance), [number, number]);
    }
    assert!(load.finish() > 50);
    wait_for_leavers(&instance);
    instance.finish();
}

fn broken_releases_under_load(variant: Variant) {
    let releases = Releases::new(variant, "broken");
    let instance = start(variant, &releases, "");
    let load = Load::on(&instance, 8, "/", "release ");
    let pid = instance.worker_pid(0);
    for number in [2, 3] {
        releases.deploy(number, BROKEN);
        let output = verb(&instance, &["reload"]);
        assert_eq!(code(&output), Some(1), "{}", told(&output));
        for part in ["load the app", "no database", "the old workers serve on"] {
            assert!(told(&output).contains(part), "{part}: {}", told(&output));
        }
    }
    assert_eq!(instance.get("/").text(), "release 1");
    assert_eq!(instance.worker_pid(0), pid, "it was not even touched");
    // What serves now is what is started again after a death.
    crate::support::signal(pid, Signal::KILL);
    eventually("a new worker", || (instance.worker_pid(0) != pid).then_some(()));
    assert_eq!(instance.get("/").text(), "release 1");
    assert!(load.finish() > 50);
    wait_for_leavers(&instance);
    instance.finish();
}

fn a_crash_on_probation(variant: Variant) {
    let releases = Releases::new(variant, "probation");
    let instance = start(variant, &releases, "");
    releases.deploy(2, CRASHES_SOON);
    let output = verb(&instance, &["reload"]);
    assert_eq!(code(&output), Some(1), "{}", told(&output));
    assert!(told(&output).contains("no cache"), "{}", told(&output));
    // The proxy hears of it when we do.
    eventually("release 1", || (instance.get("/").text() == "release 1").then_some(()));
    assert_eq!(generations(&instance), [1, 1]);
    wait_for_leavers(&instance);
    instance.finish();
}

fn one_at_a_time(variant: Variant) {
    let releases = Releases::new(variant, "surge");
    let instance = start(variant, &releases, "--max-surge 1");
    let load = Load::on(&instance, 4, "/", "release ");
    releases.deploy(2, GOOD);
    assert_eq!(code(&verb(&instance, &["reload"])), Some(0));
    assert_eq!(generations(&instance), [2, 2]);
    // The first new worker is in place when the second one crashes the reload: it is replaced by an old one.
    let only_once = "require('fs').mkdirSync(__dirname + '/second', { recursive: false });";
    let second = format!("if (process.env.NODE_APP_INSTANCE === '1') {{ {only_once} throw 1; }}");
    releases.deploy(3, &second);
    assert_eq!(code(&verb(&instance, &["reload"])), Some(1));
    eventually("both are of the old release again", || {
        (generations(&instance) == [2, 2]).then_some(())
    });
    assert_eq!(instance.get("/").text(), "release 2");
    assert!(load.finish() > 50);
    wait_for_leavers(&instance);
    instance.finish();
}

fn by_signal_and_by_touch(variant: Variant) {
    let releases = Releases::new(variant, "signal");
    let instance = start(variant, &releases, "");
    releases.deploy(2, GOOD);
    instance.signal(Signal::HUP);
    eventually("the second release", || (instance.get("/").text() == "release 2").then_some(()));
    instance.wait_output("the end of the reload", |line| line.contains("2 is in place"));
    releases.deploy(3, GOOD);
    touch(&releases.current().join("tmp/restart.txt"));
    eventually("the third release", || (instance.get("/").text() == "release 3").then_some(()));
    instance.wait_output("the end of the reload", |line| line.contains("3 is in place"));
    wait_for_leavers(&instance);
    instance.finish();
}

fn touch(path: &Path) {
    fs::write(path, "").expect("touched");
}

fn rollback(variant: Variant) {
    let releases = Releases::new(variant, "rollback");
    let instance = start(variant, &releases, "");
    let output = verb(&instance, &["rollback"]);
    assert_eq!(code(&output), Some(1));
    assert!(told(&output).contains("no earlier release"), "{}", told(&output));
    releases.deploy(2, GOOD);
    assert_eq!(code(&verb(&instance, &["reload"])), Some(0));
    assert_eq!(instance.get("/").text(), "release 2");
    assert_eq!(code(&verb(&instance, &["rollback"])), Some(0));
    assert_eq!(instance.get("/").text(), "release 1");
    assert_eq!(generations(&instance), [3, 3]);
    wait_for_leavers(&instance);
    instance.finish();
}

fn mistakes(variant: Variant) {
    let releases = Releases::new(variant, "mistakes");
    let instance = start(variant, &releases, "");
    fs::remove_file(releases.current()).expect("removed");
    let output = verb(&instance, &["reload"]);
    assert_eq!(code(&output), Some(1));
    assert!(told(&output).contains("current"), "{}", told(&output));
    assert_eq!(instance.get("/").text(), "release 1");
    releases.deploy(2, GOOD);
    let output = verb(&instance, &["reload", "shop"]);
    assert_eq!(code(&output), Some(1));
    assert!(told(&output).contains("no app `shop` runs here"), "{}", told(&output));
    assert_eq!(instance.get("/").text(), "release 1");
    instance.finish();
}
