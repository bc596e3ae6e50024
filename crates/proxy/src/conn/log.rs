//! Stage log: the line of a finished request.
//!
//! Owns: which facts go into it. Must never know: its format (`access_log`), its file (`log_file`). Called by `conn`.

use hostler_driver::Part;
use hostler_protocol::http1::{FieldName, Parsed, RequestHead};

use super::{Conn, Context};
use crate::access_log::Record;

impl Conn {
    /// One line for the request in hand, if lines are wanted.
    pub(super) fn log(&mut self, cx: &mut Context<'_>) {
        let Some(log) = cx.log.as_deref_mut() else { return };
        let bytes = self.head.as_ref().map_or(&b""[..], Part::as_slice);
        // The head was valid once; under buffer pressure it has been given up, then the line has less to say.
        let parsed = cx.request_head.parse(bytes, &cx.settings.head_limits);
        let head = matches!(parsed, Ok(Parsed::Complete)).then_some(&*cx.request_head);
        let field = |name: FieldName| {
            let fields = head.map_or(&[][..], RequestHead::fields);
            fields.iter().find(|field| field.known == name).map_or(&b""[..], |f| f.value.of(bytes))
        };
        let request = &self.request;
        let record = Record {
            unix_ms: cx.now.unix_ms,
            client: self.address.ip(),
            method: if head.is_some() { request.method.as_str() } else { "-" },
            target: head.map_or(b"", |head| head.target.of(bytes)),
            status: request.status,
            body_bytes: request.body_bytes_out,
            duration_ms: cx.now.ms.saturating_sub(request.started_ms),
            request_id: request.id.as_bytes(),
            worker: request.worker,
            referer: field(FieldName::Referer),
            user_agent: field(FieldName::UserAgent),
        };
        log.record(&record, cx.now.ms);
    }
}
