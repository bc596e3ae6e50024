//! JSON lines: one message, one line.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A line longer than this is an error: no message comes near it.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// No newline within [`LINE_BYTES_MAX`].
    #[error("control line longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Not the JSON of the expected message.
    #[error("control line is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// The message as one line, newline included.
pub fn encode_line<T: Serialize>(message: &T) -> Vec<u8> {
    // Our message types have string keys and no failing `Serialize`, so this cannot fail on input.
    let mut line = serde_json::to_vec(message).expect("control messages always serialize");
    line.push(b'\n');
    line
}

/// Collects received bytes and gives out whole lines.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LineBuffer {
    bytes: Vec<u8>,
}

impl LineBuffer {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, `None` when more bytes are needed.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        let Some(end) = memchr::memchr(b'\n', &self.bytes) else {
            if self.bytes.len() > LINE_BYTES_MAX {
                return Err(LineError::TooLong);
            }
            return Ok(None);
        };
        let message = serde_json::from_slice(&self.bytes[..end]);
        self.bytes.drain(..=end);
        Ok(Some(message?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{CommandRequest, FromProxy};

    #[test]
    fn messages_survive_any_cut() {
        let mut wire = encode_line(&CommandRequest::Status);
        wire.extend(encode_line(&CommandRequest::Stop));
        for cut in 0..wire.len() {
            let mut lines = LineBuffer::default();
            let mut seen: Vec<CommandRequest> = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                lines.push(part);
                while let Some(message) = lines.next_message().expect("valid lines") {
                    seen.push(message);
                }
            }
            assert_eq!(seen, [CommandRequest::Status, CommandRequest::Stop]);
        }
    }

    #[test]
    fn a_broken_line_is_an_error_and_the_next_line_still_works() {
        let mut lines = LineBuffer::default();
        lines.push(b"{\"message\":\"drained\",\"cut\":3\n{\"message\":\"drained\",\"cut\":3}\n");
        assert!(lines.next_message::<FromProxy>().is_err());
        assert_eq!(lines.next_message().expect("valid"), Some(FromProxy::Drained { cut: 3 }));
    }
}
