//! Every key of a configuration file, as typed.
//!
//! Owns: the names of the keys and the kind of each. Must never know: what a value means. Used by `settings`, which reads each
//! key beside the option of the same name, and by `schema`.
//!
//! A key is added here, with the name of its option (`--queue-timeout` is `queue_timeout`). Its description in the schema is then
//! the option's help; a key without an option has a comment instead. It is read where the option is (`settings`), shown by a line
//! in `settings/shown.rs`, and explained in docs/configuration.md. Tests fail where one of these is forgotten.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use super::kinds::{
    Address, Choice, Count, CountOrAll, CountOrAuto, CountOrNone, CountOrRange, Duration,
    DurationOrNone, DurationOrOff, File, ListenOrPath, Name, OnOff, ShellLine, Size, SizeOrNone,
    Word, names,
};
use super::typed::{Many, OneOrMany, Typed};
use crate::args::{IoArg, LogFormat, StickyArg, TransportArg};
use crate::settings::{
    CONNS_MAX_LEAST, CONNS_MAX_MOST, COUNT_MOST, REQUESTS_MOST, SHARDS_MAX, WORKERS_MAX,
};

/// Settings of one Hostler instance; docs/configuration.md explains each key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "hostler.toml")]
pub(crate) struct Keys {
    /// The instance: where it listens, its proxy, what clients may do.
    pub(crate) server: ServerKeys,
    /// The app that is served; one for now.
    #[schemars(length(max = 1))]
    pub(crate) app: Vec<AppKeys>,
}

/// `[server]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(crate) struct ServerKeys {
    pub(crate) listen: Option<OneOrMany<Address>>,
    pub(crate) shards: Option<Typed<CountOrAuto<1, SHARDS_MAX>>>,
    pub(crate) io: Option<Typed<Choice<IoArg>>>,
    pub(crate) pin: Option<Typed<OnOff>>,
    pub(crate) runtime_dir: Option<Typed<File>>,
    pub(crate) access_log: Option<Typed<File>>,
    pub(crate) log_format: Option<Typed<Choice<LogFormat>>>,
    pub(crate) max_connections: Option<Typed<Count<CONNS_MAX_LEAST, CONNS_MAX_MOST>>>,
    pub(crate) max_head_size: Option<Typed<Size>>,
    pub(crate) max_body_size: Option<Typed<SizeOrNone>>,
    pub(crate) head_timeout: Option<Typed<Duration>>,
    pub(crate) idle_timeout: Option<Typed<Duration>>,
    pub(crate) client_timeout: Option<Typed<Duration>>,
}

/// `[[app]]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(crate) struct AppKeys {
    /// Name in logs and status: 1 to 32 letters, digits, `_`, `.`, `-`. Default: the name in package.json, else the folder's.
    pub(crate) name: Option<Typed<Name>>,
    /// Folder of the app, or its JavaScript file; relative to `cwd`. Default: `cwd`.
    pub(crate) path: Option<Typed<File>>,
    pub(crate) command: Option<Typed<ShellLine>>,
    /// Arguments for the app or the command. Behind `--` on the command line.
    pub(crate) args: Option<Many<Word>>,
    /// Folder that the workers run in; relative to the folder of this file. A link stays a link and is followed at each reload.
    /// Default: the folder of the app or, for a JavaScript file or a command, of this file.
    pub(crate) cwd: Option<Typed<File>>,
    /// Variables for the workers, on top of Hostler's own environment.
    pub(crate) env: BTreeMap<String, Typed<Word>>,
    pub(crate) node: Option<Typed<File>>,
    pub(crate) workers: Option<Typed<CountOrRange<1, WORKERS_MAX>>>,
    pub(crate) lazy: Option<Typed<OnOff>>,
    pub(crate) idle_stop: Option<Typed<DurationOrOff>>,
    pub(crate) transport: Option<Typed<Choice<TransportArg>>>,
    pub(crate) ready: Option<Typed<ListenOrPath>>,
    pub(crate) sticky: Option<Typed<Choice<StickyArg>>>,
    pub(crate) sticky_cookie: Option<Typed<Name>>,
    pub(crate) max_surge: Option<Typed<CountOrAll<1, WORKERS_MAX>>>,
    pub(crate) probation: Option<Typed<Duration>>,
    pub(crate) drain_timeout: Option<Typed<Duration>>,
    pub(crate) websocket_drain: Option<Typed<Duration>>,
    pub(crate) max_memory: Option<Typed<SizeOrNone>>,
    pub(crate) max_memory_hard: Option<Typed<SizeOrNone>>,
    pub(crate) max_age: Option<Typed<DurationOrNone>>,
    pub(crate) max_requests: Option<Typed<CountOrNone<1, REQUESTS_MOST>>>,
    pub(crate) start_timeout: Option<Typed<Duration>>,
    pub(crate) stop_timeout: Option<Typed<Duration>>,
    pub(crate) worker_timeout: Option<Typed<Duration>>,
    pub(crate) max_queue: Option<Typed<Count<0, COUNT_MOST>>>,
    pub(crate) queue_timeout: Option<Typed<Duration>>,
    pub(crate) worker_requests: Option<Typed<CountOrAuto<1, COUNT_MOST>>>,
    pub(crate) request_timeout: Option<Typed<DurationOrNone>>,
    pub(crate) hang_after: Option<Typed<DurationOrOff>>,
    pub(crate) quarantine: Option<Typed<DurationOrOff>>,
    pub(crate) hang_stack: Option<Typed<OnOff>>,
}
