//! End-to-end tests: the real binary, real Node, real sockets.
//!
//! Owns: what a client, an app and an operator may rely on. Must never know: how the proxy does it.
//! One file per behaviour, all in one test binary, so that the harness is compiled once and the tests
//! share the cores. No fixed ports, no sleeps where an event can be awaited, deadlines on everything.
//! `matrix!` runs a scenario over both I/O backends and both transports; every instance is checked for leaks
//! when its test ends (`Instance::finish`).

mod support;

mod abort;
mod adoption;
mod bad_input;
mod bad_input_tables;
mod below;
mod bodies;
mod chaos;
mod commands;
mod config_file;
mod exec;
mod exhaustion;
mod frameworks;
mod headers;
mod node_versions;
mod outputs;
mod overload;
mod own_settings;
mod poison;
mod ready;
mod recycle;
mod reload;
mod scale;
mod serve;
mod service_manager;
mod shutdown;
mod sleep;
mod start_failures;
mod status;
mod sticky;
mod surroundings;
mod upgrade;
mod websocket;
mod worker_death;
mod worker_reports;
