//! Chunked answers for clients of HTTP/1.0, who do not know the coding (RFC 9112 section 7: a recipient removes it).
//!
//! Owns: passing on the content alone. The head has lost `Transfer-Encoding` by then (`forward.rs`), and the answer ends with
//! the connection. Must never know: workers. Called by `relay_response`.

use std::ops::Range;

use hostler_driver::Buffer;

use super::{BodyLeft, Conn, Context, Writing};

impl Conn {
    /// The content of chunks for a client that does not know them.
    pub(super) fn decoded_body(
        &mut self,
        buffer: &Buffer,
        range: Range<usize>,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        let Writing::Body(BodyLeft::Decoded(decoder)) = &mut self.writing else {
            return;
        };
        let mut at = range.start;
        while at < range.end && !decoder.is_done() {
            let Ok((used, data)) = decoder.content(&buffer[at..range.end]) else {
                self.truncated(cx);
                return;
            };
            self.request.body_bytes_out += data.len() as u64;
            self.outbox.push(cx.pool, buffer, at + data.start..at + data.end, scarce);
            at += used;
        }
        if at < range.end {
            self.worker_keeps = false;
        }
        if decoder.is_done() {
            self.writing = Writing::Body(BodyLeft::None);
        }
        self.bound_spill(cx);
    }
}
