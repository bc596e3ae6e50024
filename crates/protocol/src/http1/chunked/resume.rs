//! How a half-read chunked body is handed to another reader, which knows nothing of the first half.
//!
//! Owns: the text that leads a reader at the start of a body to where this one stands. Must never know: why the reader
//! changes. Called by the proxy when a connection goes back to Node in the middle of a body.

use super::{ChunkedDecoder, State};

impl ChunkedDecoder {
    /// Text that brings a reader before the first chunk to this one's place. It begins with a chunk whose first byte is
    /// not content: only behind one are all places within reach. Extensions are about as long as they were.
    pub fn resume_text(&self) -> Vec<u8> {
        let mut text = b"1\r\nX".to_vec();
        match self.state {
            State::DataCr => return text,
            State::DataLf => {
                text.push(b'\r');
                return text;
            }
            _ => text.extend_from_slice(b"\r\n"),
        }
        match self.state {
            State::Size => {
                let width = usize::from(self.digits);
                if width > 0 {
                    text.extend_from_slice(format!("{:0width$x}", self.left).as_bytes());
                }
            }
            State::Data => text.extend_from_slice(format!("{:x}\r\n", self.left).as_bytes()),
            State::SizeLf => text.extend_from_slice(format!("{:x}\r", self.left).as_bytes()),
            State::TrailerStart => text.extend_from_slice(b"0\r\n"),
            State::TrailerName => text.extend_from_slice(b"0\r\na"),
            State::TrailerValue => text.extend_from_slice(b"0\r\na:"),
            State::TrailerLf => text.extend_from_slice(b"0\r\na:\r"),
            State::EndLf => text.extend_from_slice(b"0\r\n\r"),
            State::Done => text.extend_from_slice(b"0\r\n\r\n"),
            State::DataCr | State::DataLf => {}
            State::ExtensionNameStart
            | State::ExtensionName
            | State::ExtensionValueStart
            | State::ExtensionValue
            | State::ExtensionQuoted
            | State::ExtensionQuotedPair
            | State::ExtensionQuotedEnd => self.resume_extension(&mut text),
        }
        text
    }

    fn resume_extension(&self, text: &mut Vec<u8>) {
        let (before, after) = match self.state {
            State::ExtensionNameStart if self.extension_bytes == 0 => ("", ""),
            State::ExtensionNameStart => ("a", ";"),
            State::ExtensionValueStart => ("a", "="),
            State::ExtensionValue => ("a=a", ""),
            State::ExtensionQuoted => ("a=\"", ""),
            State::ExtensionQuotedPair => ("a=\"", "\\"),
            State::ExtensionQuotedEnd => ("a=\"", "\""),
            _ => ("a", ""),
        };
        text.extend_from_slice(format!("{:x};{before}", self.left).as_bytes());
        let written = before.len() + after.len();
        let padding = usize::from(self.extension_bytes).saturating_sub(written);
        text.extend(std::iter::repeat_n(b'a', padding));
        text.extend_from_slice(after.as_bytes());
    }
}
