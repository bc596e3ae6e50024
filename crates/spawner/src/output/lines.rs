//! Cutting a byte stream into bounded lines.
//!
//! Owns: the bytes of the unfinished line. Must never know: whose bytes they are. Used for the
//! workers' output and for their reports.

use serde::{Deserialize, Serialize};

/// A longer line is given out in pieces of this size.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Collects bytes, gives out lines without their newline.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct LineCutter {
    partial: Vec<u8>,
}

impl LineCutter {
    /// Takes received bytes and calls `each` for every line that is complete or full.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
                self.partial.extend_from_slice(window);
                bytes = &bytes[window.len()..];
                if self.partial.len() == LINE_BYTES_MAX {
                    self.finish(each);
                }
                continue;
            };
            if self.partial.is_empty() {
                each(&window[..end]);
            } else {
                self.partial.extend_from_slice(&window[..end]);
                self.finish(each);
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// Gives out an unfinished last line, if there is one.
    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        if !self.partial.is_empty() {
            each(&self.partial);
            // A worker that once wrote a long line shall not hold its memory for ever.
            if self.partial.capacity() > 4096 {
                self.partial = Vec::new();
            } else {
                self.partial.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            cutter.feed(piece, &mut |line| lines.push(line.to_vec()));
        }
        cutter.finish(&mut |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_survive_any_cut() {
        let text = b"one\n\nthree \xff\nlast";
        for cut in 0..text.len() {
            let lines = lines_of(&[&text[..cut], &text[cut..]]);
            assert_eq!(lines, [&b"one"[..], b"", b"three \xff", b"last"]);
        }
    }

    #[test]
    fn an_endless_line_comes_in_pieces() {
        let endless = vec![b'x'; 2 * LINE_BYTES_MAX + 5];
        let sizes: Vec<usize> = lines_of(&[&endless, b"y\nz"]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [LINE_BYTES_MAX, LINE_BYTES_MAX, 6, 1]);
    }
}
