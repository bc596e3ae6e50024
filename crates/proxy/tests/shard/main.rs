//! The shard's lifecycle: slots, links and streams come and go in every order, and nobody gets what is another's.

#![allow(missing_docs, reason = "a test")]

mod drain;
mod farewells;
mod loss;
mod offers;
mod offers_end;
mod ordered;
mod overload;
mod plain;
mod poison;
mod reload;
mod reuse;
mod settings;
mod silence;
mod sticky;
mod streams;
mod succession;
mod tunnels;
mod wanted;
mod world;
