//! Seeded simulator of connections, workers and faults.
//!
//! Owns: worlds in which the real shard runs against scripted clients and fake workers, in one thread, with virtual
//! time and without a kernel; one seed decides everything. Must never know: sockets, clocks. Run by its own
//! `main` (one seed, with a trace) and by the tests (1024 seeds).
//!
//! Reading order: [`world`] (the loop), [`scenario`] (what happens), [`client`] and [`request`], [`worker`] with [`frames`] and
//! [`plain`], [`app`], [`websocket`], [`faults`], [`oracle`] (what must hold). Apart from these: [`fuzz`], operations on a shard out of any bytes.

pub mod answer;
pub mod app;
pub mod client;
pub mod faults;
pub mod frames;
pub mod fuzz;
pub mod oracle;
pub mod plain;
pub mod request;
pub mod rng;
pub mod scenario;
pub mod websocket;
pub mod wire;
pub mod worker;
pub mod world;

pub use fuzz::fuzz_step;
pub use world::{Outcome, run_seed};

/// Rounds after which a world is given up without a verdict.
pub const ROUNDS_MAX: u64 = 400_000;
