//! Every setting that has a key, with its value and where it came from.
//!
//! Owns: the list, in the order of the pages that explain it, and how a value is written in a file. Must never know: layout. Used
//! by `check` (for people) and by `config show` (a file).

use std::path::Path;

use hostler_protocol::control::IoChoice;
use hostler_spawner::ReadySpec;

use super::{Settings, Source};
use crate::args::{LogFormat, StickyArg};
use crate::run::transport_name;
use crate::units::{show_duration_ms, show_size_bytes};

/// The table of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// `[server]`.
    Server,
    /// `[[app]]`.
    App,
}

/// A value as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A string with variables in their place already.
    Text(String),
    /// A string whose `$` are as they shall be read.
    Raw(String),
    Number(u64),
    Switch(bool),
    List(Vec<String>),
    /// Nothing; the key is left out.
    Nothing,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) section: Section,
    /// `queue_timeout`, `env.NAME`.
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) source: Source,
    /// What the number counts.
    pub(crate) unit: &'static str,
    /// What an app's own server calls it; unless the operator chose the value, the app may change it.
    pub(crate) of_server: Option<&'static str>,
}

impl Row {
    fn new(section: Section, key: &str, value: Value, source: &Source) -> Self {
        let (key, source) = (key.to_owned(), source.clone());
        Self { section, key, value, source, unit: "", of_server: None }
    }

    fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    fn of_server(self, name: &'static str) -> Self {
        Self { of_server: Some(name), ..self }
    }

    /// Where the value came from, and who may still change it.
    pub(crate) fn why(&self) -> String {
        match self.of_server.filter(|_| !self.source.is_chosen()) {
            Some(name) => format!("{}, unless the app sets {name}", self.source),
            None => self.source.to_string(),
        }
    }
}

impl Value {
    fn path(path: &Path) -> Self {
        Self::Text(path.display().to_string())
    }

    fn ms(ms: u32) -> Self {
        Self::Text(show_duration_ms(u64::from(ms)))
    }

    /// With a unit, always.
    fn size(bytes: u64) -> Self {
        let text = show_size_bytes(bytes);
        let unit = if text.ends_with(|c: char| c.is_ascii_digit()) { "B" } else { "" };
        Self::Text(format!("{text}{unit}"))
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Raw(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => if *on { "on" } else { "off" }.to_owned(),
            Self::List(list) => list.join(" "),
            Self::Nothing => "none".to_owned(),
        }
    }

    /// As TOML. A dollar is doubled, or it would begin a variable.
    pub(crate) fn toml(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let escaped = |text: &str| quoted(&text.replace('$', "$$"));
        match self {
            Self::Text(text) => escaped(text),
            Self::Raw(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::List(list) => {
                let list: Vec<_> = list.iter().map(|text| escaped(text)).collect();
                format!("[{}]", list.join(", "))
            }
            Self::Nothing => quoted(""),
        }
    }
}

/// All of them.
pub(crate) fn rows(settings: &Settings) -> Vec<Row> {
    let mut rows = server_rows(settings);
    rows.extend(app_rows(settings));
    rows
}

#[rustfmt::skip]
fn server_rows(settings: &Settings) -> Vec<Row> {
    let row = |key, value, source| Row::new(Section::Server, key, value, source);
    let Settings { listen, shards, io, pin, runtime_dir, access_log, log_format, times, limits, .. } = settings;
    let format = match log_format.value { LogFormat::Text => "text", LogFormat::Json => "json" };
    let access = access_log.value.as_deref().map_or(Value::Nothing, Value::path);
    let body = limits.body_bytes_max.value.map_or(Value::Text("none".to_owned()), Value::size);
    let addresses = listen.value.iter().map(ToString::to_string).collect();
    vec![
        row("listen", Value::List(addresses), &listen.source),
        row("shards", Value::Number(shards.value.into()), &shards.source),
        row("io", Value::Text(io_word(io.value).to_owned()), &io.source),
        row("pin", Value::Switch(pin.value), &pin.source),
        row("runtime_dir", Value::path(&runtime_dir.value), &runtime_dir.source),
        row("access_log", access, &access_log.source),
        row("log_format", Value::Text(format.to_owned()), &log_format.source),
        row("max_connections", Value::Number(limits.conns_max.value.into()), &limits.conns_max.source).unit(" per shard"),
        row("max_head_size", Value::size(limits.head_bytes_max.value.into()), &limits.head_bytes_max.source).of_server("maxHeaderSize"),
        row("max_body_size", body, &limits.body_bytes_max.source),
        row("head_timeout", Value::ms(times.head_ms_max.value), &times.head_ms_max.source).of_server("headersTimeout"),
        row("idle_timeout", Value::ms(times.idle_ms_max.value), &times.idle_ms_max.source).of_server("keepAliveTimeout"),
        row("client_timeout", Value::ms(times.client_silence_ms_max.value), &times.client_silence_ms_max.source),
    ]
}

#[rustfmt::skip]
fn app_rows(settings: &Settings) -> Vec<Row> {
    let row = |key: &str, value, source: &Source| Row::new(Section::App, key, value, source);
    let Settings { app, app_args, app_env, node, workers, transport, times, limits, ready, surge_max, recycling, sleep, routing, .. } = settings;
    let ready_text = match &ready.value { ReadySpec::Listen => "listen", ReadySpec::Message => "message", ReadySpec::Answers(path) => path };
    let or_none = |value: Option<Value>| value.unwrap_or_else(|| Value::Text("none".to_owned()));
    let or_off = |ms: Option<u32>| ms.map_or_else(|| Value::Text("off".to_owned()), Value::ms);
    let worker_count = match settings.worker_range {
        Some(range) => Value::Text(format!("{}..{}", range.min, range.max)),
        None => Value::Number(workers.value.into()),
    };
    let worker_requests = match limits.worker_requests_max.value {
        None => row("worker_requests", Value::Text("auto".to_owned()), &limits.worker_requests_max.source),
        Some(count) => row("worker_requests", Value::Number(count.into()), &limits.worker_requests_max.source).unit(" per worker and shard"),
    };
    let surge = surge_max.value.map_or_else(|| Value::Text("all".to_owned()), |max| Value::Number(max.into()));
    let mut rows = vec![row("name", Value::Text(app.name.value.clone()), &app.name.source)];
    rows.push(match &app.command {
        Some(command) => row("command", Value::Raw(command.value.clone()), &command.source),
        None => row("path", Value::path(&app.path.value), &app.path.source),
    });
    rows.push(row("args", Value::List(app_args.value.clone()), &app_args.source));
    rows.push(row("cwd", Value::path(&app.cwd.value), &app.cwd.source));
    for (name, said) in app_env {
        let key = format!("env.{}", toml_key(name));
        rows.push(row(&key, Value::Raw(said.raw.clone()), &Source::File(said.place.clone())));
    }
    rows.extend(node.as_ref().map(|node| row("node", Value::path(&node.value), &node.source)));
    rows.extend([
        row("workers", worker_count, &workers.source),
        row("lazy", Value::Switch(sleep.lazy.value), &sleep.lazy.source),
        row("idle_stop", or_off(sleep.idle_ms_max.value), &sleep.idle_ms_max.source),
        row("transport", Value::Text(transport_name(transport.value).to_owned()), &transport.source),
        row("ready", Value::Text(ready_text.to_owned()), &ready.source),
        row("sticky", Value::Text(sticky_word(routing.sticky.value).to_owned()), &routing.sticky.source),
        row("sticky_cookie", Value::Text(routing.sticky_cookie.value.clone()), &routing.sticky_cookie.source),
        row("max_surge", surge, &surge_max.source),
        row("probation", Value::ms(times.probation_ms.value), &times.probation_ms.source),
        row("drain_timeout", Value::ms(times.drain_ms_max.value), &times.drain_ms_max.source),
        row("websocket_drain", Value::ms(times.websocket_drain_ms_max.value), &times.websocket_drain_ms_max.source),
        row("max_memory", or_none(recycling.memory_bytes_max.value.map(Value::size)), &recycling.memory_bytes_max.source),
        row("max_memory_hard", or_none(recycling.memory_bytes_hard.value.map(Value::size)), &recycling.memory_bytes_hard.source),
        row("max_age", or_none(recycling.age_ms_max.value.map(Value::ms)), &recycling.age_ms_max.source),
        row("max_requests", or_none(recycling.requests_max.value.map(|count| Value::Number(count.into()))), &recycling.requests_max.source),
        row("start_timeout", Value::ms(times.start_ms_max.value), &times.start_ms_max.source),
        row("stop_timeout", Value::ms(times.stop_ms_max.value), &times.stop_ms_max.source),
        row("worker_timeout", Value::ms(times.worker_silence_ms_max.value), &times.worker_silence_ms_max.source),
        row("max_queue", Value::Number(limits.queue_requests_max.value.into()), &limits.queue_requests_max.source).unit(" per shard"),
        row("queue_timeout", Value::ms(limits.queue_ms_max.value), &limits.queue_ms_max.source),
        worker_requests,
        row("request_timeout", or_none(times.answer_ms_max.value.map(Value::ms)), &times.answer_ms_max.source),
        row("hang_after", or_off(times.hang_ms_max.value), &times.hang_ms_max.source),
        row("quarantine", or_off(routing.quarantine_ms.value), &routing.quarantine_ms.source),
        row("hang_stack", Value::Switch(settings.hang_stack.value), &settings.hang_stack.source),
    ]);
    rows
}

/// The backend as it is typed.
fn io_word(io: IoChoice) -> &'static str {
    match io {
        IoChoice::Auto => "auto",
        IoChoice::Uring => "uring",
        IoChoice::Epoll => "epoll",
    }
}

/// Stickiness as it is typed.
fn sticky_word(sticky: StickyArg) -> &'static str {
    match sticky {
        StickyArg::Off => "off",
        StickyArg::Cookie => "cookie",
        StickyArg::SocketIo => "socket.io",
        StickyArg::Both => "both",
    }
}

/// A key that TOML takes without quotes, else in quotes.
fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => toml::Value::from(name).to_string(),
    }
}
