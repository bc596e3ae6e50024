//! Stage log: one line per request.
//!
//! Owns: the format of a line, the lines of this shard that have not been handed over. Must never know: files. Filled by
//! `conn`, emptied by the shard, written by `control`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};

/// Lines are handed over when this many bytes are together ...
const BATCH_BYTES: usize = 32 * 1024;
/// ... or when the oldest has waited this long.
const BATCH_MS_MAX: u64 = 200;

/// The facts of one request. Texts come from the client and are escaped here.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Wall-clock end of the request.
    pub unix_ms: u64,
    /// Address, empty for unix clients.
    pub client: &'a [u8],
    /// Request method; empty when the head was refused.
    pub method: &'a str,
    /// Request target.
    pub target: &'a [u8],
    /// Status sent; 499 when the client left first.
    pub status: u16,
    /// Body bytes sent to the client.
    pub body_bytes: u64,
    /// From the whole head to the last byte handed to the socket.
    pub duration_ms: u64,
    /// Request id.
    pub request_id: &'a [u8],
    /// The supervisor's number of the worker; `None` when the proxy answered.
    pub worker: Option<u32>,
    /// `Referer`.
    pub referer: &'a [u8],
    /// `User-Agent`.
    pub user_agent: &'a [u8],
}

/// Lines of one shard on their way to the control thread.
#[derive(Debug)]
pub struct AccessLog {
    lines: BytesMut,
    json: bool,
    first_ms: u64,
    date: DateText,
}

impl AccessLog {
    /// An empty log, in JSON lines or in the combined format.
    pub fn new(json: bool) -> Self {
        Self {
            lines: BytesMut::with_capacity(BATCH_BYTES),
            json,
            first_ms: 0,
            date: DateText::default(),
        }
    }

    /// Adds a line.
    pub fn record(&mut self, record: &Record<'_>, now_ms: u64) {
        if self.lines.is_empty() {
            self.first_ms = now_ms;
        }
        if self.json {
            self.json_line(record);
        } else {
            self.combined_line(record);
        }
    }

    /// The lines, if it is time to hand them over.
    pub fn take(&mut self, now_ms: u64, all: bool) -> Option<Bytes> {
        let due = all || self.lines.len() >= BATCH_BYTES || self.wait_ms(now_ms) == Some(0);
        (due && !self.lines.is_empty()).then(|| self.lines.split().freeze())
    }

    /// Milliseconds until [`AccessLog::take`] should be called; `None` when there are no lines.
    pub fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        (!self.lines.is_empty()).then(|| (self.first_ms + BATCH_MS_MAX).saturating_sub(now_ms))
    }

    /// The combined format of nginx and Apache, with what they lack at the end.
    fn combined_line(&mut self, record: &Record<'_>) {
        let out = &mut self.lines;
        escaped(out, or_dash(record.client), false);
        out.put_slice(b" - - [");
        out.put_slice(self.date.of(record.unix_ms / 1000, false));
        out.put_slice(b"] \"");
        out.put_slice(record.method.as_bytes());
        out.put_slice(b" ");
        escaped(out, or_dash(record.target), false);
        write(out, format_args!(" HTTP/1.1\" {} {} \"", record.status, record.body_bytes));
        escaped(out, or_dash(record.referer), false);
        out.put_slice(b"\" \"");
        escaped(out, or_dash(record.user_agent), false);
        let (seconds, millis) = (record.duration_ms / 1000, record.duration_ms % 1000);
        write(out, format_args!("\" rt={seconds}.{millis:03} worker="));
        match record.worker {
            Some(worker) => write(out, format_args!("{worker} id=")),
            None => out.put_slice(b"- id="),
        }
        escaped(out, or_dash(record.request_id), false);
        out.put_slice(b"\n");
    }

    fn json_line(&mut self, record: &Record<'_>) {
        let out = &mut self.lines;
        out.put_slice(b"{\"time\":\"");
        out.put_slice(self.date.of(record.unix_ms / 1000, true));
        write(out, format_args!("{:03}Z", record.unix_ms % 1000));
        for (name, value) in [
            ("client", record.client),
            ("method", record.method.as_bytes()),
            ("target", record.target),
            ("referer", record.referer),
            ("user_agent", record.user_agent),
            ("request_id", record.request_id),
        ] {
            out.put_slice(b"\",\"");
            out.put_slice(name.as_bytes());
            out.put_slice(b"\":\"");
            escaped(out, value, true);
        }
        write(
            out,
            format_args!(
                "\",\"status\":{},\"body_bytes\":{},\"duration_ms\":{},\"worker\":",
                record.status, record.body_bytes, record.duration_ms
            ),
        );
        match record.worker {
            Some(worker) => write(out, format_args!("{worker}}}\n")),
            None => out.put_slice(b"null}\n"),
        }
    }
}

fn or_dash(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"-" } else { text }
}

fn write(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    out.writer().write_fmt(text).expect("memory grows as needed");
}

/// What could break a line or forge one is written as `\xHH` (`\u00HH` in JSON).
fn escaped(out: &mut BytesMut, text: &[u8], json: bool) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| SPECIAL[usize::from(byte)]) {
        out.put_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') if json => out.put_slice(&[b'\\', byte]),
            byte if json => write(out, format_args!("\\u{byte:04x}")),
            byte => write(out, format_args!("\\x{byte:02x}")),
        }
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}

/// What is escaped.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'"' | b'\\' | 0..=0x1f | 0x7f..);
        byte += 1;
    }
    table
};

/// The second as text, formatted once.
#[derive(Debug, Default)]
struct DateText {
    second: u64,
    /// As it stands in a line.
    text: String,
    /// `Sun, 06 Nov 1994 08:49:37 GMT`; kept to avoid allocation.
    http: String,
}

impl DateText {
    /// `06/Nov/1994:08:49:37 +0000`, or `1994-11-06T08:49:37.` with milliseconds to follow.
    fn of(&mut self, second: u64, json: bool) -> &[u8] {
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.format(json).expect("a string grows");
        }
        self.text.as_bytes()
    }

    fn format(&mut self, json: bool) -> std::fmt::Result {
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let Self { second, text, http } = self;
        text.clear();
        http.clear();
        write!(http, "{}", httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(*second)))?;
        let [day, month, year, time] = [&http[5..7], &http[8..11], &http[12..16], &http[17..25]];
        if json {
            let number = MONTHS.find(month).map_or(0, |at| at / 3 + 1);
            write!(text, "{year}-{number:02}-{day}T{time}.")
        } else {
            write!(text, "{day}/{month}/{year}:{time} +0000")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            unix_ms: 784_111_777_042,
            client: b"127.0.0.1",
            method: "GET",
            target: b"/a\"b\n",
            status: 200,
            body_bytes: 14,
            duration_ms: 1203,
            request_id: b"abc",
            worker: Some(7),
            referer: b"",
            user_agent: b"curl/8 \xe2\x82\xac",
        }
    }

    fn line(json: bool) -> String {
        let mut log = AccessLog::new(json);
        log.record(&record(), 5);
        assert_eq!((log.wait_ms(5), log.take(5, false)), (Some(BATCH_MS_MAX), None));
        let lines = log.take(5 + BATCH_MS_MAX, false).expect("due");
        assert_eq!(log.wait_ms(9), None);
        String::from_utf8(lines.to_vec()).expect("ascii")
    }

    #[test]
    fn combined_lines_cannot_be_forged() {
        assert_eq!(
            line(false),
            "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\x22b\\x0a HTTP/1.1\" 200 14 \"-\" \
             \"curl/8 \\xe2\\x82\\xac\" rt=1.203 worker=7 id=abc\n"
        );
    }

    #[test]
    fn json_lines_are_json() {
        let value: serde_json::Value = serde_json::from_str(&line(true)).expect("valid JSON");
        assert_eq!(value["time"], "1994-11-06T08:49:37.042Z");
        assert_eq!(value["target"], "/a\"b\n");
        assert_eq!(value["status"], 200);
        assert_eq!(value["worker"], 7);
    }
}
