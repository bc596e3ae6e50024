//! Requests that kill or hang workers are refused before they have killed all of them.

use std::fs;
use std::path::PathBuf;

use crate::support::{Instance, Response, Setup, Variant, eventually, matrix};

matrix!(all: aborts, exits_on_a_post, a_bystander_is_answered);
matrix!(frames: loops);

/// While it is there, the app's routes are deadly.
struct Armed(PathBuf);

impl Armed {
    fn new(variant: Variant, name: &str) -> Self {
        let name = format!("{name}-{variant}-{}", std::process::id()).replace('/', "-");
        let file = std::env::temp_dir().join(format!("hostler-armed-{name}"));
        fs::write(&file, "").expect("a file");
        Self(file)
    }

    fn start(&self, variant: Variant, options: &str) -> Instance {
        let setup = Setup::new(variant, "poison.js").options(options);
        setup.app_args(&[self.0.to_str().expect("UTF-8")]).start()
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn ask(instance: &Instance, method: &str, target: &str, body: &str) -> Response {
    let mut client = instance.client();
    let length = body.len();
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    client.response()
}

fn is_poison(response: &Response) -> bool {
    let is_poison = response.field("x-hostler-error") == Some("poison");
    assert!(!is_poison || response.status == 503, "{response:?}");
    is_poison
}

fn restarts(instance: &Instance) -> u32 {
    instance.status().workers.iter().map(|worker| worker.restarts).sum()
}

/// Two deaths and no third; then the time is over.
fn aborts(variant: Variant) {
    let armed = Armed::new(variant, "aborts");
    let instance = armed.start(variant, "--workers 3 --shards 2 --quarantine 8s");
    // One request kills two: it is repeated once.
    assert_eq!(ask(&instance, "GET", "/abort", "").status, 502);
    let refused = ask(&instance, "GET", "/abort", "");
    assert!(is_poison(&refused), "{refused:?}");
    let seconds: u32 = refused.field("retry-after").expect("a time").parse().expect("seconds");
    // The clocks of two shards may be a moment apart.
    assert!((1..=9).contains(&seconds), "{seconds}");
    assert_eq!(ask(&instance, "GET", "/", "").text(), "alive");
    instance.wait_output("a warning", |line| {
        line.contains("--quarantine") && line.contains("/abort") && line.contains("GET")
    });
    fs::remove_file(&armed.0).expect("disarmed");
    assert!(is_poison(&ask(&instance, "GET", "/abort", "")), "it is not over yet");
    eventually("it is allowed again", || {
        let response = ask(&instance, "GET", "/abort", "");
        (!is_poison(&response)).then(|| assert_eq!(response.text(), "alive"))
    });
    instance.wait_all_workers();
    instance.finish();
}

/// What may not be repeated kills one worker each time it is sent, twice at most.
fn exits_on_a_post(variant: Variant) {
    let armed = Armed::new(variant, "exits");
    let instance = armed.start(variant, "--workers 3 --shards 2");
    for _ in 0..2 {
        assert_eq!(ask(&instance, "POST", "/exit", "body").status, 502);
    }
    for _ in 0..20 {
        assert!(is_poison(&ask(&instance, "POST", "/exit", "body")));
        // GET: the other shard may not have seen the last death yet, and would not repeat a POST.
        assert_eq!(ask(&instance, "GET", "/", "").text(), "alive");
    }
    eventually("both are started again", || (restarts(&instance) == 2).then_some(()));
    instance.wait_all_workers();
    assert_eq!(ask(&instance, "POST", "/", "body").text(), "alive");
    fs::remove_file(&armed.0).expect("disarmed");
    assert_eq!(ask(&instance, "POST", "/exit", "longer body").text(), "alive", "another request");
    assert_eq!(restarts(&instance), 2);
    instance.finish();
}

/// In hand at the same deaths, and answered all the same.
fn a_bystander_is_answered(variant: Variant) {
    let armed = Armed::new(variant, "bystander");
    let instance = armed.start(variant, "--workers 1 --queue-timeout 60s");
    let mut slow = instance.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    let killed = ask(&instance, "GET", "/later", "");
    assert_eq!(killed.status, 502, "{killed:?}");
    assert_eq!(slow.response().text(), "slow");
    assert!(is_poison(&ask(&instance, "GET", "/later", "")));
    assert_eq!(ask(&instance, "GET", "/slow", "").text(), "slow");
    drop(slow);
    instance.wait_all_workers();
    instance.finish();
}

fn loops(variant: Variant) {
    let armed = Armed::new(variant, "loops");
    let instance = armed.start(variant, "--workers 3 --hang-after 2s");
    for _ in 0..2 {
        let hung = ask(&instance, "GET", "/loop", "");
        assert_eq!(hung.field("x-hostler-error"), Some("worker-hangs"), "{hung:?}");
    }
    for _ in 0..5 {
        assert!(is_poison(&ask(&instance, "GET", "/loop", "")));
        assert_eq!(ask(&instance, "GET", "/", "").text(), "alive");
    }
    eventually("both are started again", || (restarts(&instance) == 2).then_some(()));
    instance.wait_all_workers();
    instance.finish();
}
