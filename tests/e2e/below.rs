//! Node processes below a command: npm, shells and tools that start node. One of them becomes the worker, over frames.

use hostler_protocol::control::Transport as Way;
use rustix::process::Signal;

use crate::support::{
    Instance, PATIENCE, Setup, Transport, Variant, eventually, fixtures, matrix,
    processes_with_tag, signal,
};

matrix!(all: npm_start);
matrix!(frames:
    an_es_module, one_of_several, the_app_s_own_children, the_command_goes_on_alone, supervisor_and_proxy_are_killed,
);

fn way(instance: &Instance) -> Way {
    instance.status().workers[0].transport
}

/// Found in package.json, with two npm and two shells above the app.
fn npm_start(variant: Variant) {
    let setup = Setup::path(variant, fixtures().join("npm-start")).options("--workers 2");
    let mut instance = setup.start();
    instance.expect_plain();
    let wanted = if variant.transport == Transport::Frames { Way::Frames } else { Way::Http };
    assert_eq!(way(&instance), wanted);
    instance.assert_serves();
    let told = instance.get("/env").json();
    for name in ["HOSTLER_WORKER", "NODE_OPTIONS"] {
        assert_eq!(told["env"][name], serde_json::Value::Null, "{name}");
    }
    let mut client = instance.client();
    assert_eq!(client.get("/hello").status, 200);
    // Of the app, not of npm: over frames that is what the status shows.
    let app = client.get("/pid").json()["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
        .expect("a pid");
    if wanted == Way::Frames {
        assert!([0, 1].map(|slot| instance.worker_pid(slot)).contains(&app));
    }
    signal(app, Signal::KILL);
    for _ in 0..10 {
        assert_eq!(client.get("/hello").status, 200, "another one answers");
    }
    eventually("the worker is started again", || {
        let status = instance.status();
        let restarts: u32 = status.workers.iter().map(|worker| worker.restarts).sum();
        (restarts == 1).then_some(())
    });
    instance.wait_all_workers();
    instance.assert_serves();
    drop(client);
    instance.finish();
}

/// Its `listen` is called in a microtask.
fn an_es_module(variant: Variant) {
    let instance = Setup::command(variant, "apps", "node esm.mjs").start();
    assert_eq!(way(&instance), Way::Frames);
    assert_eq!(instance.get("/").text(), "esm\n");
    instance.finish();
}

/// The first one is the worker, the others open their own ports.
fn one_of_several(variant: Variant) {
    let line = "node address.js 0 & node address.js 0 & node address.js 0 & wait";
    let instance = Setup::command(variant, "apps", line).start();
    assert_eq!(way(&instance), Way::Frames);
    instance.assert_serves();
    let lines = eventually("three servers", || {
        let printed = instance.printed();
        let lines: Vec<String> = printed
            .lines()
            .filter(|line| line.contains(" listens on "))
            .map(str::to_owned)
            .collect();
        (lines.len() == 3).then_some(lines)
    });
    let port = format!(" listens on {},", instance.port());
    let (taken, own): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains(&port));
    assert_eq!((taken.len(), own.len()), (1, 2), "{lines:#?}");
    assert!(taken[0].contains(&format!("pid {} ", instance.worker_pid(0))), "{taken:?}");
    assert!(taken[0].contains("told: \""), "the worker's environment is clean: {taken:?}");
    instance.finish();
}

/// What the worker starts is none of Hostler's business.
fn the_app_s_own_children(variant: Variant) {
    let line = r#"node -e "require('http').createServer((req, res) => res.end('parent')).listen(process.env.PORT, () => {
        require('child_process').spawn(process.execPath, ['address.js', '0'], { stdio: 'inherit' });
    })""#;
    let instance = Setup::command(variant, "apps", line).start();
    assert_eq!(instance.get("/").text(), "parent");
    let child = instance.wait_output("the child", |line| line.contains(" listens on "));
    assert!(!child.contains(&format!(" listens on {},", instance.port())), "{child}");
    instance.finish();
}

/// A shell that starts something else when the app has ended does not keep the worker's place.
fn the_command_goes_on_alone(variant: Variant) {
    let setup = Setup::command(variant, "apps", "node basic.js; sleep 1000");
    let instance = setup.start();
    let app = instance.worker_pid(0);
    let before = processes_with_tag(instance.tag()).len();
    signal(app, Signal::KILL);
    eventually("the worker is started again", || {
        (instance.status().workers[0].restarts >= 1).then_some(())
    });
    assert_ne!(instance.worker_pid(0), app);
    let death = instance.status().workers[0].last_death.clone().expect("a reason");
    assert!(death.contains(&format!("its Node process (pid {app}) ended")), "{death}");
    instance.assert_serves();
    eventually("nothing of the old one is left", || {
        (processes_with_tag(instance.tag()).len() <= before).then_some(())
    });
    let mut instance = instance;
    instance.signal(Signal::TERM);
    assert_eq!(instance.wait_exit(PATIENCE).code(), Some(0), "{}", instance.printed());
    instance.assert_gone();
}

/// As for a worker that was started with a script: it does not outlive supervisor and proxy, however they end.
fn supervisor_and_proxy_are_killed(variant: Variant) {
    let setup = Setup::path(variant, fixtures().join("npm-start"));
    let mut instance = setup.start();
    let proxy = instance.proxy_pid();
    instance.kill_supervisor();
    instance.assert_serves();
    signal(proxy, Signal::KILL);
    eventually("nothing is left", || processes_with_tag(instance.tag()).is_empty().then_some(()));
}
