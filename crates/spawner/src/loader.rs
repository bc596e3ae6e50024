//! Stand-in until `hostler_loader::FILES` exists.
pub(crate) const FILES: &[(&str, &str)] = &[];
