//! Adoption: a supervisor has died, its proxy and workers serve on, and another supervisor takes them over.
//!
//! Owns: finding the keeper, getting everything from it, and the end of what nobody can take over any more. Must never know: what the
//! machine makes of it. Called by `run` and by the command line's `stop`.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hostler_packets::{Wait, receive, send};
use hostler_protocol::control::{FromKeeper, ToKeeper};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, socketpair,
};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::event_loop::{Adopted, Parts};
use crate::hand_over::read_estate;
use crate::passed_fd::{Source, reading_from};
use crate::runtime_dir::{CONTROL_SOCKET, keeper_socket, read_state};

/// A keeper answers at once if there is no supervisor, and never if there is one.
const KEEPER_TIME_MAX: Duration = Duration::from_secs(3);

/// Does a proxy serve in `runtime_dir` whose supervisor is dead?
pub fn is_orphaned(runtime_dir: &Path) -> bool {
    // Who listens there lives: the socket is closed with its process.
    UnixStream::connect(runtime_dir.join(CONTROL_SOCKET)).is_err()
        && connect_keeper(runtime_dir).is_ok()
}

/// Takes over what the proxy in `runtime_dir` has kept.
pub(crate) fn adopt(runtime_dir: &Path) -> Result<(Parts, Adopted), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!(
            "the proxy in {} has lost its supervisor and cannot be taken over: {what}: {error}. It serves on; the version of hostler \
             that started it can take it over, or end it (`hostler stop`)",
            runtime_dir.display()
        )
    };
    let (adopted, fds) = take(runtime_dir).map_err(|error| failed("asking its keeper", &error))?;
    let text = read_state(runtime_dir).map_err(|error| failed("reading the state", &error))?;
    let estate = reading_from(Source::Given(fds), || read_estate(&text));
    let estate = estate.map_err(|error| failed("reading the state", &error))?;
    Ok((estate.into_parts(), adopted))
}

fn take(runtime_dir: &Path) -> io::Result<(Adopted, HashMap<RawFd, OwnedFd>)> {
    let keeper = connect_keeper(runtime_dir)?;
    let flags = SocketFlags::CLOEXEC;
    let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let (link, their_link) = hostler_packets::pair()?;
    let theirs = [theirs.as_fd(), their_link.as_fd()];
    send(keeper.as_fd(), &ToKeeper::Adopt {}, &theirs, Wait::Allowed)?;
    let mut all = HashMap::new();
    loop {
        match receive(keeper.as_fd())? {
            (FromKeeper::Kept { fds: names }, fds) => {
                all.extend(names.iter().map(|name| name.number).zip(fds));
            }
            (FromKeeper::Done, _) => return Ok((Adopted { control, keeper: link }, all)),
        }
    }
}

fn connect_keeper(runtime_dir: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(KEEPER_TIME_MAX))?;
    set_socket_timeout(&socket, Timeout::Send, Some(KEEPER_TIME_MAX))?;
    connect(&socket, &SocketAddrUnix::new(keeper_socket(runtime_dir))?)?;
    Ok(socket)
}

/// The lock is ours, so no supervisor and no proxy lives here. Their workers may: nobody can take them over, and they would hold
/// ports and memory for ever.
pub(crate) fn end_leftovers(runtime_dir: &Path) {
    let Ok(text) = read_state(runtime_dir) else { return };
    // As far as any version of the state has it.
    let Ok(state) = serde_json::from_slice::<serde_json::Value>(&text) else { return };
    for child in state["children"]["list"].as_array().into_iter().flatten() {
        let (Some(pid), Some(then)) = (child["pid"].as_u64(), child["born"].as_u64()) else {
            continue;
        };
        let Ok(pid) = u32::try_from(pid) else { continue };
        if born(pid) != Some(then) {
            continue;
        }
        tracing::warn!(pid, "a process of a dead instance is killed");
        if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// When a process was started, in ticks since the boot; none if there is none.
pub(crate) fn born(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22 of proc_pid_stat(5); the name, field 2, may contain anything.
    let (_, behind_name) = stat.rsplit_once(')')?;
    if behind_name.trim_start().starts_with('Z') {
        return None;
    }
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_apart_by_their_birth() {
        let own = born(std::process::id()).expect("it lives");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("started");
        let later = born(child.id()).expect("it lives");
        assert!(later >= own, "{later} {own}");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert_eq!(born(child.id()), None);
    }

    #[test]
    fn who_is_left_of_a_dead_instance_is_ended_and_nobody_else() {
        use std::os::unix::process::CommandExt;
        let dir = std::env::temp_dir().join(format!("hostler-left-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        let start = || {
            let mut command = std::process::Command::new("sleep");
            command.arg("60").process_group(0).spawn().expect("started")
        };
        let (mut left, mut stranger) = (start(), start());
        let birth = born(left.id()).expect("it lives");
        let list = serde_json::json!([
            { "pid": left.id(), "born": birth },
            { "pid": stranger.id(), "born": birth + 1_000_000 },
            { "pid": "nonsense" },
        ]);
        let state = serde_json::json!({ "children": { "list": list } });
        std::fs::write(dir.join("state.json"), state.to_string()).expect("written");
        end_leftovers(&dir);
        assert!(left.wait().expect("waits").code().is_none(), "killed");
        assert!(stranger.try_wait().expect("waits").is_none(), "lives");
        stranger.kill().expect("killed");
        stranger.wait().expect("reaped");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
