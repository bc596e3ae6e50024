//! The bytes of a configuration file.
//!
//! Owns: what counts as a readable file, and the bound on its size. Must never know: TOML and JSON. Used by `config_file`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::error::ConfigError;

/// A file for people has some KiB; what is larger was named by mistake.
const BYTES_MAX: u64 = 1 << 20;

pub(super) fn read(path: &Path, shown: &str) -> Result<String, ConfigError> {
    let unreadable =
        |why: &str| ConfigError::Unreadable { file: shown.to_owned(), why: why.to_owned() };
    let file = open(path).map_err(|error| unreadable(&explain(&error)))?;
    let kind = file.metadata().map_err(|error| unreadable(&explain(&error)))?.file_type();
    if kind.is_dir() {
        return Err(unreadable("it is a folder; a file is expected"));
    }
    if !kind.is_file() {
        return Err(unreadable(
            "it is a pipe or a device; a file is expected, which can be read again at a reload",
        ));
    }
    let mut bytes = Vec::new();
    let count = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    if count.map_err(|error| unreadable(&explain(&error)))? as u64 > BYTES_MAX {
        return Err(unreadable("it is larger than 1 MiB; is it a configuration file?"));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(&format!("line {line} is not UTF-8; save the file in that encoding"))
    })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Without waiting: a named pipe without a writer would hold the start up for ever.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "it may not be read by this user".to_owned(),
        _ => error.to_string(),
    }
}
