//! The meaning of a connection: the data plane of Hostler.
//!
//! Owns: what happens to a client connection from accept to close, the links to the workers, and the choice of
//! a worker for a request. Must never know: how a process is started or why it died (`spawner`), what the kernel
//! does for a receive (`driver`), what the bytes of a head or a frame mean (`protocol`).
//!
//! The files are named after the stages of a request, in reading order:
//!
//! 1. [`shard`]: the loop of one core: completions in, steps, operations out
//! 2. [`accept`]: a connection is admitted
//! 3. [`conn`]: the state machine of one client connection; `conn/read_head.rs`, `conn/relay_request.rs`,
//!    `conn/relay_response.rs`, `conn/tunnel.rs`, `conn/close.rs` are its stages, the other files what they share
//! 4. [`dispatch`]: which worker gets the request, and the queue in front of them
//! 5. [`worker`]: links to workers: framed channels and plain HTTP/1.1 connections
//! 6. [`forward`]: the fields that are added and removed on the way
//! 7. [`respond`]: the answers that the proxy makes itself
//! 8. [`access_log`]: one line per request
//! 9. [`process`], [`control`], [`news`], [`agreement`], [`keeper`]: the process around the shards and its conversation with the supervisor
//! 10. [`settings`], [`app_settings`]: limits and time-outs, the operator's and the app's
//! 11. [`sticky`]: requests that belong to a worker; [`quarantine`]: requests that end workers
//! 12. [`exec_proxy`]: the one shard inside `hostler exec`
#![forbid(unsafe_code)]

pub mod accept;
pub mod access_log;
pub mod agreement;
pub mod app_settings;
pub mod clock;
pub mod conn;
pub mod control;
pub mod dispatch;
pub mod exec_proxy;
pub mod forward;
pub mod keeper;
pub mod log_file;
pub mod news;
pub mod process;
pub mod quarantine;
pub mod request_id;
pub mod respond;
pub mod settings;
pub mod shard;
pub mod stats;
pub mod sticky;
pub mod timers;
pub mod worker;

pub use exec_proxy::ExecProxy;
pub use process::run_process;
pub use settings::Settings;
pub use shard::{OfferCounts, Shard, ShardCommand, ShardEvent};
