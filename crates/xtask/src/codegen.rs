//! `cargo xtask codegen`: files that are written from tables of the Rust code.
//!
//! Owns: which file comes from which table. The tables are in `hostler_protocol::worker`.

use std::fs;

use crate::Outcome;
use crate::run::root;

const CONSTANTS: &str = "crates/loader/js/constants.cjs";

/// Writes the generated files, or with `check` only says whether they are up to date.
pub(crate) fn codegen(check: bool) -> Outcome {
    let path = root().join(CONSTANTS);
    let wanted = hostler_protocol::worker::constants_cjs();
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found == wanted {
        eprintln!("{CONSTANTS} is up to date");
        return Ok(());
    }
    if check {
        return Err(format!("{CONSTANTS} is out of date; run: cargo xtask codegen"));
    }
    fs::write(&path, wanted).map_err(|error| format!("{CONSTANTS}: {error}"))?;
    eprintln!("{CONSTANTS} written");
    Ok(())
}
