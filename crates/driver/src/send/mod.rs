//! What is sent: parts of buffers, in order.
//!
//! Owns: the list the caller hands over, and the slab of sends in flight. Must never know: which
//! system call sends it. Used by the proxy (to build [`Parts`]) and by the drivers (to send them).

mod parts;
mod slots;

pub use parts::{Part, Parts};
pub(crate) use slots::{Remainder, SendId, SendSlots};
