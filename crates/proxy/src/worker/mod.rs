//! Links to workers.
//!
//! * [`channel`]: framed, many streams on one socket
//! * [`plain`]: one HTTP/1.1 connection per request in flight, kept alive
//! * [`drain`]: how far the drain of a worker is
//! * [`ending`]: whether a worker's process is dying

pub mod channel;
pub mod drain;
pub mod ending;
pub mod peer;
pub mod plain;
