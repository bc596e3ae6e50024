//! A system that does not play along: folders that cannot be used, remains of the dead, no more processes, a long sleep, daemons.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{
    Instance, Setup, Variant, app, eventually, matrix, processes_with_tag, signal, within,
};

matrix!(all: asleep_for_longer_than_a_hang);

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("hostler-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder");
    path
}

fn hostler(words: &[&str], runtime_dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
    command.args(words).arg("--runtime-dir").arg(runtime_dir).output().expect("it runs")
}

/// One line on stderr, nothing on stdout.
fn one_line(output: &Output) -> String {
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty() && line.lines().count() == 1, "{output:?}");
    line
}

#[test]
fn commands_without_an_instance() {
    let folder = scratch("nobody");
    let file = folder.join("file");
    fs::write(&file, "").expect("written");
    for words in
        [&["status"][..], &["events"], &["reload"], &["rollback"], &["scale", "2"], &["stop"]]
    {
        for dir in [&folder, &folder.join("missing"), &file] {
            let output = hostler(words, dir);
            assert_eq!(output.status.code(), Some(69), "{words:?} {output:?}");
            let expected = format!(
                "hostler: no instance runs in {}; name another with --runtime-dir\n",
                dir.display()
            );
            assert_eq!(one_line(&output), expected);
        }
    }
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_runtime_directory_that_cannot_be() {
    let folder = scratch("unwritable");
    let file = folder.join("file");
    fs::write(&file, "").expect("written");
    let is_a_file = format!("{} is a file", file.display());
    for (dir, why) in [
        (file.clone(), &*is_a_file),
        (file.join("below").join("it"), &*is_a_file),
        (PathBuf::from("/proc/hostler"), "creating it: "),
    ] {
        let setup = Setup::new(Variant::PLAIN, "basic.js");
        let failure = setup.runtime_dir(dir.to_str().expect("UTF-8")).spawn_and_fail();
        failure.expect(1, &[why, &*dir.to_string_lossy(), "give another --runtime-dir"]);
        assert_eq!(failure.stderr.lines().count(), 1, "{failure:?}");
    }
    fs::remove_dir_all(&folder).expect("removed");
}

/// A read-only and a full file system, in a mount namespace of their own.
#[test]
fn file_systems_that_take_nothing() {
    let folder = scratch("mounts");
    for (options, remount, why) in [
        ("mode=700", "mount -o remount,ro \"$1\" &&", "Read-only file system"),
        ("size=16k,mode=700", "", "No space left on device"),
    ] {
        let script = format!(
            "mount -t tmpfs -o {options} tmpfs \"$1\" || exit 99; {remount} exec \"$2\" run \"$3\" --listen 127.0.0.1:0 --runtime-dir \"$1\""
        );
        let output = Command::new("unshare")
            .args(["-m", "/bin/sh", "-c", &script, "sh"])
            .args([&folder, Path::new(env!("CARGO_BIN_EXE_hostler")), &app("basic.js")])
            .output();
        let Ok(output) = output else { break };
        // Without the right to mount there is nothing to be seen.
        let may_not_mount = output.status.code() == Some(99)
            || String::from_utf8_lossy(&output.stderr).contains("unshare failed");
        if !may_not_mount {
            let line = one_line(&output);
            assert_eq!(output.status.code(), Some(1), "{line}");
            for part in [why, folder.to_str().expect("UTF-8"), "give another --runtime-dir"] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
    fs::remove_dir_all(&folder).expect("removed");
}

/// A machine that lost its power, as far as files can tell.
#[test]
fn all_are_killed_at_once() {
    let start = |dir: &str| Setup::new(Variant::PLAIN, "basic.js").runtime_dir(dir);
    let folder = scratch("remains");
    let dir = folder.to_str().expect("UTF-8").to_owned();
    let mut instance = start(&dir).options("--workers 2").start();
    let address = format!("127.0.0.1:{}", instance.port());
    // Nobody may act on the death of another before its own.
    let pids = processes_with_tag(instance.tag());
    assert_eq!(pids.len(), 4, "supervisor, proxy, two workers");
    pids.iter().for_each(|pid| signal(*pid, Signal::STOP));
    pids.iter().for_each(|pid| signal(*pid, Signal::KILL));
    instance.wait_exit(Duration::from_secs(5));
    within(Duration::from_secs(5), "all processes are gone", || {
        processes_with_tag(instance.tag()).is_empty().then_some(())
    });
    let left: Vec<_> = fs::read_dir(&folder).expect("there").flatten().collect();
    assert!(left.iter().any(|entry| entry.file_name() == "lock"), "{left:?}");
    assert!(left.iter().any(|entry| entry.file_name() == "control.sock"), "{left:?}");
    for words in [&["status"][..], &["stop"]] {
        assert_eq!(hostler(words, &folder).status.code(), Some(69), "{words:?}");
    }
    let next = start(&dir).listen(address).start();
    next.assert_serves();
    next.finish();
    drop(instance);
    fs::remove_dir_all(&folder).expect("removed");
}

/// SIGSTOP to everybody is what the suspend of a machine looks like from inside; only clocks differ.
fn asleep_for_longer_than_a_hang(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--workers 2 --hang-after 2s").start();
    instance.assert_serves();
    let mut slow = instance.client();
    slow.send("GET /slow?ms=300 HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("at a worker", || (instance.shards().in_flight == 1).then_some(()));
    let before = instance.status();
    let pids = |status: &hostler_protocol::control::InstanceStatus| {
        status.workers.iter().map(|worker| worker.pid).collect::<Vec<_>>()
    };
    let all = processes_with_tag(instance.tag());
    all.iter().for_each(|pid| signal(*pid, Signal::STOP));
    std::thread::sleep(Duration::from_secs(5));
    // The proxy first, and the workers some time later: they are not told to be on time either.
    let (workers, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|pid| pids(&before).contains(&Some(*pid)));
    others.iter().for_each(|pid| signal(*pid, Signal::CONT));
    workers.iter().for_each(|pid| signal(*pid, Signal::CONT));
    assert_eq!(slow.response().text(), "slow answer");
    // Whoever is declared dead by mistake is so within the next second.
    let end = std::time::Instant::now() + Duration::from_millis(1_500);
    while std::time::Instant::now() < end {
        instance.assert_serves();
    }
    assert_eq!(pids(&instance.status()), pids(&before));
    for bad in ["hangs", "did not turn", "has not turned", "died", "killed"] {
        assert!(!instance.printed().contains(bad), "{bad}");
    }
    drop(slow);
    instance.finish();
}

/// Another user's limit, because root has none.
#[test]
fn no_process_left() {
    let folder = scratch("nproc");
    let is_root = rustix::process::geteuid().is_root();
    let binary = Path::new(env!("CARGO_BIN_EXE_hostler"));
    let (dir, copy) = (folder.join("run"), folder.join("hostler"));
    fs::copy(binary, &copy).expect("copied");
    fs::copy(app("crash-loop.js"), folder.join("app.js")).expect("copied");
    let mut command = Command::new(if is_root { "setpriv" } else { "prlimit" });
    if is_root {
        // A number that nobody has.
        rustix::fs::chown(
            &folder,
            Some(rustix::fs::Uid::from_raw(48_213)),
            Some(rustix::fs::Gid::from_raw(48_213)),
        )
        .expect("chown");
        command.args(["--reuid=48213", "--regid=48213", "--clear-groups", "prlimit"]);
    }
    command.args(["--nproc=1"]).arg(&copy).arg("run").arg(folder.join("app.js"));
    command.args(["--listen", "127.0.0.1:0", "--start-timeout", "5s", "--runtime-dir"]).arg(&dir);
    // Without these tools there is no way to take processes away.
    if let Ok(output) = command.output() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for part in ["the limit of processes is reached", "ulimit -u", "starting it again in"] {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
        // With pauses that grow, within five seconds: not a storm.
        let tries = stderr.matches("could not be started").count();
        assert!((2..=16).contains(&tries), "{tries}: {stderr}");
        assert!(!dir.exists());
    }
    fs::remove_dir_all(&folder).expect("removed");
}

/// Daemons live as long as the instance, whatever becomes of the worker that made them; and not longer.
#[test]
fn daemons_of_an_app() {
    let instance = Setup::new(Variant::PLAIN, "daemon.js").options("--probation 100ms").start();
    let daemons = |instance: &Instance| {
        let pids = processes_with_tag(instance.tag()).into_iter();
        let cmdline = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline"));
        pids.filter(|pid| cmdline(pid).is_ok_and(|line| line.contains("trap ''"))).count()
    };
    eventually("a daemon", || (daemons(&instance) == 1).then_some(()));
    signal(instance.worker_pid(0), Signal::KILL);
    eventually("its worker is started again, and there are two", || {
        (instance.status().workers[0].restarts == 1 && daemons(&instance) == 2).then_some(())
    });
    // The others have ended, their parents before them: they became the supervisor's, and it buries them.
    let supervisor = instance.supervisor_pid();
    eventually("nobody is left unburied", || (zombies_of(supervisor) == 0).then_some(()));
    instance.assert_serves();
    instance.finish();
}

/// Its dead children.
fn zombies_of(parent: u32) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let is_one = |stat: &String| {
        let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
    };
    stats.filter(is_one).count()
}
