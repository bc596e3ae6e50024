//! Upgrades: another program takes over, and neither workers nor clients notice; or nothing has changed.
//! (Under load and many times: `chaos`.)

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::reload::{code, told, verb};
use crate::support::{Instance, Setup, Variant, eventually, matrix};
use crate::websocket::{CLOSE, Socket, TEXT};

matrix!(all: clients_stay_until_they_are_done, workers_follow_for_good);
matrix!(frames: programs_that_are_no_use, by_signal, beside_a_command);

fn start(variant: Variant, app: &str, options: &str) -> Instance {
    let instance = Setup::new(variant, app).options("--workers 2").options(options).start();
    instance.wait_all_workers();
    instance
}

fn upgrade(instance: &Instance) {
    let output = verb(instance, &["upgrade"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
}

fn the_retired_proxy_has_ended(instance: &Instance) {
    instance.wait_output("its end", |line| line.contains("the retired proxy exited with code 0"));
}

fn clients_stay_until_they_are_done(variant: Variant) {
    let instance = start(variant, "websocket.js", "--websocket-drain 1s");
    let (supervisor, proxy) = (instance.supervisor_pid(), instance.proxy_pid());
    let workers = [0, 1].map(|slot| instance.worker_pid(slot));
    let mut socket = Socket::open(&instance);
    let mut idle = instance.client();
    assert_eq!(idle.get("/hello").status, 200);
    upgrade(&instance);
    let status = instance.status();
    assert_eq!(status.supervisor.pid, supervisor, "systemd and Docker know it by its pid");
    assert_ne!(status.proxy_pid, Some(proxy));
    assert_eq!(workers, [0, 1].map(|slot| instance.worker_pid(slot)));
    // In the old proxy: an answer more, and the WebSocket until its time is over.
    let last = idle.get("/hello");
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    socket.send(TEXT, b"still here");
    assert_eq!(socket.receive(), (TEXT, b"still here".to_vec()));
    assert_eq!(instance.get("/hello").status, 200);
    let (opcode, code) = socket.receive();
    assert_eq!((opcode, &code[..2]), (CLOSE, &1012_u16.to_be_bytes()[..]));
    drop((socket, idle));
    the_retired_proxy_has_ended(&instance);
    instance.finish();
}

/// What comes later finds them where they are now: another upgrade, a dead proxy, a reload, a new worker.
fn workers_follow_for_good(variant: Variant) {
    let instance = start(variant, "basic.js", "--probation 300ms");
    upgrade(&instance);
    upgrade(&instance);
    instance.assert_serves();
    let proxy = instance.proxy_pid();
    crate::support::signal(proxy, Signal::KILL);
    eventually("a new proxy", || instance.try_status()?.proxy_pid.filter(|pid| *pid != proxy));
    instance.assert_serves();
    let worker = instance.worker_pid(0);
    crate::support::signal(worker, Signal::KILL);
    eventually("a new worker", || Some(()).filter(|()| instance.worker_pid(0) != worker));
    instance.wait_output("how it died", |line| line.contains("was killed by SIGKILL"));
    let output = verb(&instance, &["reload"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    instance.assert_serves();
    upgrade(&instance);
    instance.assert_serves();
    instance.finish();
}

fn by_signal(variant: Variant) {
    let instance = start(variant, "basic.js", "");
    let proxy = instance.proxy_pid();
    instance.signal(Signal::USR2);
    eventually("another proxy", || instance.try_status()?.proxy_pid.filter(|pid| *pid != proxy));
    instance.assert_serves();
    instance.finish();
}

/// A Node process below a shell is a worker like others; a server that is not Node's is reached as before.
fn beside_a_command(variant: Variant) {
    let mut instance = Setup::command(variant, "apps", "node basic.js; true").start();
    instance.expect_plain();
    instance.wait_all_workers();
    let worker = instance.worker_pid(0);
    upgrade(&instance);
    assert_eq!(instance.worker_pid(0), worker);
    instance.assert_serves();
    // It is watched as before: its end is seen at once.
    crate::support::signal(worker, Signal::KILL);
    eventually("a new worker", || Some(()).filter(|()| instance.worker_pid(0) != worker));
    instance.finish();
}

/// A file to be taken for a program.
struct Program(PathBuf);

impl Program {
    fn new(instance: &Instance, name: &str, script: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}-{name}", instance.tag()));
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn programs_that_are_no_use(variant: Variant) {
    let instance = start(variant, "basic.js", "");
    let own = env!("CARGO_BIN_EXE_hostler");
    let proxy = instance.proxy_pid();
    // As a proxy it is as good as any; as a supervisor it is not.
    let half = format!(
        "#!/bin/sh\ncase $1 in proxy) exec {own} \"$@\";; esac\necho no licence >&2\nexit 3\n"
    );
    // It stands all tests, and fails when it counts: the old program is called back.
    let returns = format!(
        "#!/bin/sh\nif [ \"$1\" = run ] && [ \"$HOSTLER_HAND_OVER\" != 3 ]; then exec {own} run --nonsense; fi\nexec {own} \"$@\"\n"
    );
    let table = [
        ("garbage", "no program at all", "its proxy"),
        ("dies", "#!/bin/sh\necho no such library >&2\nexit 127\n", "no such library"),
        ("half", half.as_str(), "it cannot go on with our state: no licence"),
        ("returns", returns.as_str(), "unexpected argument '--nonsense'"),
    ];
    for (name, script, part) in table {
        let program = Program::new(&instance, name, script);
        let output = verb(&instance, &["upgrade", program.path()]);
        assert_eq!(code(&output), Some(1), "{name}: {}", told(&output));
        assert!(told(&output).contains(part) || name == "garbage", "{name}: {}", told(&output));
        assert_eq!(instance.proxy_pid(), proxy, "{name}");
        instance.assert_serves();
        eventually("nothing of it is left", || {
            let upgrades = verb(&instance, &["events"]);
            told(&upgrades).contains("the old program serves on").then_some(())
        });
    }
    let output = verb(&instance, &["upgrade", "/nowhere/hostler"]);
    assert_eq!(code(&output), Some(78), "{}", told(&output));
    // And after all of them a good one.
    upgrade(&instance);
    instance.assert_serves();
    instance.finish();
}
