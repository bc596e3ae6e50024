//! The access-log file.
//!
//! Owns: the open file and what is written to it. Must never know: the format of a line. Used by `control`, on its thread:
//! a slow disk delays lines, never requests.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use bytes::Bytes;
use hostler_protocol::control::IoChoice;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;

/// Opens the file for appending, making it if needed; `-` is standard output.
///
/// # Errors
/// What `open` says.
pub fn open_log(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        return Ok(File::from(rustix::stdio::stdout().try_clone_to_owned()?));
    }
    OpenOptions::new().append(true).create(true).open(path)
}

/// Where lines go.
pub enum LogFile {
    /// Written through the ring.
    Ring(tokio_uring::fs::File),
    /// Written by tokio's file threads, where there is no ring.
    Threads(tokio::fs::File),
}

impl LogFile {
    /// Takes a file from [`open_log`]. Must be called on the runtime that will write.
    pub fn new(file: File, io: IoChoice) -> Self {
        match io {
            IoChoice::Uring => Self::Ring(tokio_uring::fs::File::from_std(file)),
            IoChoice::Epoll | IoChoice::Auto => Self::Threads(tokio::fs::File::from_std(file)),
        }
    }

    /// Appends whole lines.
    pub async fn write(&mut self, lines: Bytes) -> io::Result<()> {
        match self {
            Self::Ring(file) => {
                // -1 means the file's own position (io_uring_prep_write(3)): right for a pipe, and for a file
                // that is open for appending the kernel goes to its end anyway.
                let (result, _lines) = file.write_at(lines.clone(), u64::MAX).submit().await;
                let mut written = result?;
                while written < lines.len() {
                    let rest = lines.slice(written..);
                    let (result, _rest) = file.write_at(rest, u64::MAX).submit().await;
                    written += result?;
                }
                Ok(())
            }
            Self::Threads(file) => {
                file.write_all(&lines).await?;
                file.flush().await
            }
        }
    }
}

/// Writes lines until all shards have ended. After an error (disk full) lines are thrown away, not requests.
pub async fn write_lines(file: Option<File>, io: IoChoice, mut lines: Receiver<Bytes>) {
    let mut file = file.map(|file| LogFile::new(file, io));
    let mut broken = false;
    while let Some(batch) = lines.recv().await {
        let Some(file) = &mut file else { continue };
        match file.write(batch).await {
            Ok(()) => broken = false,
            Err(error) if !broken => {
                broken = true;
                tracing::error!(%error, "access log cannot be written; lines are lost");
            }
            Err(_) => {}
        }
    }
}
