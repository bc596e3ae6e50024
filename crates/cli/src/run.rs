//! `hostler run`: start an app and serve it until it is told to stop.
//!
//! Owns: the order of the start in this process, and the ready line. Must never know: how processes are watched
//! (the supervisor does that). Called by `main`.

use std::path::Path;
use std::process::ExitCode;

use hostler_protocol::control::{IoChoice, Transport};
use hostler_spawner::{AppSpec, ExitReason, Inheritance, Notice, ReadyInfo, SupervisorConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::args::{LogFormat, RunArgs};
use crate::console::{BAD_CONFIG, FAILED, OK, complain, end_with, print, start_logging};
use crate::instance::{app_spec, supervisor_config, with_secrets};
use crate::settings::{OPEN_FILES_MOST, Settings};

/// Runs the verb, or goes on with what this process has run as another program.
pub(crate) fn run(args: &RunArgs, inheritance: Option<Inheritance>) -> ExitCode {
    match inheritance {
        None => begin(args),
        Some(mut inheritance) => match inheritance.trial() {
            Some(Ok(())) => ExitCode::from(OK),
            Some(Err(why)) => end_with(FAILED, why),
            None => resume(args, inheritance),
        },
    }
}

fn begin(args: &RunArgs) -> ExitCode {
    let settings = match Settings::read(args) {
        Ok(settings) => settings,
        Err(error) => return end_with(BAD_CONFIG, error),
    };
    let format = settings.log_format.value;
    start_logging(format);
    let own_binary = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => return end_with(FAILED, format!("its own binary is not found: {error}")),
    };
    raise_open_files();
    let config = with_secrets(supervisor_config(&settings, &own_binary));
    let shown = shown_app(settings.typed_path.as_deref(), &settings.app.name.value);
    let mut read_app = || read_again(args);
    let mut out = |notice| tell(notice, &shown, format);
    let reason = hostler_spawner::run(config, &mut read_app, &mut out);
    say_why(&reason, format);
    ExitCode::from(reason.code())
}

/// The settings come with the inheritance; what was typed is for the next reload.
fn resume(args: &RunArgs, inheritance: Inheritance) -> ExitCode {
    let format = std::cell::Cell::new(LogFormat::Text);
    let mut read_app = || read_again(args);
    let mut started = |config: &SupervisorConfig| {
        format.set(if config.log_json { LogFormat::Json } else { LogFormat::Text });
        start_logging(format.get());
    };
    let mut out = |notice| tell(notice, "", format.get());
    let reason = hostler_spawner::resume(inheritance, &mut started, &mut read_app, &mut out);
    say_why(&reason, format.get());
    ExitCode::from(reason.code())
}

fn read_again(args: &RunArgs) -> Result<AppSpec, String> {
    Settings::read(args).map(|settings| app_spec(&settings)).map_err(|error| error.to_string())
}

fn tell(notice: Notice, app: &str, format: LogFormat) {
    match (notice, format) {
        (Notice::Ready(ready), LogFormat::Text) => print(&ready_line(app, &ready)),
        (Notice::Ready(ready), LogFormat::Json) => print(&ready_json(app, &ready)),
        (Notice::StartFailed(failure), LogFormat::Text) => complain(failure),
        (Notice::StartFailed(failure), LogFormat::Json) => {
            complain_json("start_failed", &json!(failure));
        }
    }
}

/// The last line. A failed start has been reported in full already.
fn say_why(reason: &ExitReason, format: LogFormat) {
    match (reason, format) {
        (ExitReason::StartFailed { .. }, _) => {}
        (ExitReason::Stopped { .. }, _) => tracing::info!("{reason}"),
        (_, LogFormat::Text) => complain(reason),
        (_, LogFormat::Json) => tracing::error!(code = reason.code(), "{reason}"),
    }
}

fn complain_json(event: &str, detail: &serde_json::Value) {
    let line = json!({ "level": "ERROR", "event": event, "detail": detail });
    let _ =
        std::io::Write::write_all(&mut std::io::stderr().lock(), format!("{line}\n").as_bytes());
}

/// Every connection is a descriptor, and the usual soft limit of 1024 is there for programs that use select().
/// Node raises its own limit in the same way, so the workers see nothing new.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(OPEN_FILES_MOST).min(OPEN_FILES_MOST);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// What was typed, unless it says nothing.
fn shown_app(typed: Option<&Path>, name: &str) -> String {
    let typed = typed.filter(|path| *path != Path::new("."));
    typed.map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

fn ready_line(app: &str, ready: &ReadyInfo) -> String {
    format!(
        "hostler: serving {app} on {} ({}, {}, {}; {})\n",
        urls(ready).join(" and "),
        counted(ready.shards, "shard"),
        counted(ready.workers, "worker") + if ready.asleep { " at the first request" } else { "" },
        transport_name(ready.transport),
        backend(ready.io, &ready.io_reason)
    )
}

fn ready_json(app: &str, ready: &ReadyInfo) -> String {
    let line = json!({
        "event": "ready",
        "app": app,
        "pid": std::process::id(),
        "listeners": ready.listeners,
        "urls": urls(ready),
        "shards": ready.shards,
        "workers": ready.workers,
        "asleep": ready.asleep,
        "transport": ready.transport,
        "io": ready.io,
        "io_reason": ready.io_reason,
        "start_ms": ready.start_ms,
    });
    format!("{line}\n")
}

/// Addresses that can be pasted into a browser; unix sockets stay as they are.
fn urls(ready: &ReadyInfo) -> Vec<String> {
    let url = |listener: &String| match listener.starts_with("unix:") {
        true => listener.clone(),
        false => format!("http://{listener}"),
    };
    ready.listeners.iter().map(url).collect()
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The backend and why it was chosen; the ring's reason already begins with its name.
pub(crate) fn backend(io: IoChoice, reason: &str) -> String {
    let name = io_name(io);
    if reason.starts_with(name) { reason.to_owned() } else { format!("{name}: {reason}") }
}

/// The backend as people know it.
fn io_name(io: IoChoice) -> &'static str {
    match io {
        IoChoice::Uring => "io_uring",
        IoChoice::Epoll => "epoll",
        IoChoice::Auto => "auto",
    }
}

/// The transport as it is typed.
pub(crate) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Frames => "frames",
        Transport::Http => "http",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> ReadyInfo {
        ReadyInfo {
            listeners: vec!["127.0.0.1:3000".to_owned(), "unix:/run/a.sock".to_owned()],
            shards: 2,
            workers: 1,
            asleep: false,
            transport: Transport::Frames,
            io: IoChoice::Uring,
            io_reason: "the self-test passed".to_owned(),
            start_ms: 120,
        }
    }

    #[test]
    fn one_line_says_it_all() {
        assert_eq!(
            ready_line("examples/hello", &ready()),
            "hostler: serving examples/hello on http://127.0.0.1:3000 and unix:/run/a.sock \
             (2 shards, 1 worker, frames; io_uring: the self-test passed)\n"
        );
    }

    #[test]
    fn who_sleeps_is_announced_as_that() {
        let ready = ReadyInfo { asleep: true, ..ready() };
        let line = ready_line("examples/hello", &ready);
        assert!(line.contains("(2 shards, 1 worker at the first request, frames; "), "{line}");
        let line: serde_json::Value =
            serde_json::from_str(&ready_json("examples/hello", &ready)).expect("JSON");
        assert_eq!(line["asleep"], true);
    }

    #[test]
    fn the_backend_is_named_once() {
        assert_eq!(backend(IoChoice::Uring, "io_uring on Linux 6.12"), "io_uring on Linux 6.12");
        assert_eq!(backend(IoChoice::Epoll, "asked for"), "epoll: asked for");
        let refused = "io_uring is refused by seccomp";
        assert_eq!(backend(IoChoice::Epoll, refused), "epoll: io_uring is refused by seccomp");
    }

    #[test]
    fn the_json_line_has_the_same_facts() {
        let line = ready_json("examples/hello", &ready());
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["event"], "ready");
        assert_eq!(value["listeners"][0], "127.0.0.1:3000");
        assert_eq!(value["io"], "uring");
        assert_eq!(value["transport"], "frames");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn the_current_folder_is_shown_by_its_name() {
        assert_eq!(shown_app(Some(Path::new(".")), "shop"), "shop");
        assert_eq!(shown_app(Some(Path::new("examples/hello")), "hello"), "examples/hello");
    }
}
