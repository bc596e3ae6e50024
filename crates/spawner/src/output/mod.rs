//! What children print: cut into lines, labelled, passed on, the last lines remembered.
//!
//! Owns: the line form of the app's output (text with a prefix, or JSON) and its bounds. Must never
//! know: processes and pipes; bytes come in, bytes go out. Called by the supervisor's loop.

mod lines;
mod log_writer;
mod sink;
pub(crate) mod timestamp;

pub(crate) use lines::LineCutter;
pub(crate) use log_writer::stderr_sink;
pub use log_writer::{LogWriter, log_writer};
pub(crate) use sink::Sink;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Lines of stderr that are kept to explain a death.
pub(crate) const TAIL_LINES_MAX: usize = 20;

/// A remembered line is cut to this: the tail is for people, and a supervisor of many workers stays
/// small.
const TAIL_LINE_BYTES_MAX: usize = 1024;

/// Which of a child's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Channel {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Whose output it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Label {
    /// The proxy writes finished log lines: they pass as they are.
    Proxy,
    /// A worker.
    Worker {
        /// App name.
        app: String,
        /// Slot.
        slot: u32,
    },
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    app: &'a str,
    slot: u32,
    stream: Channel,
    line: &'a str,
}

/// Appends one line of output, as it shall appear, newline included.
pub(crate) fn format_line(
    into: &mut Vec<u8>,
    label: &Label,
    channel: Channel,
    line: &[u8],
    json: bool,
) {
    match label {
        Label::Worker { app, slot } if json => {
            let record = JsonLine {
                time: timestamp::now(),
                app,
                slot: *slot,
                stream: channel,
                line: &String::from_utf8_lossy(line),
            };
            serde_json::to_writer(&mut *into, &record).expect("strings always serialize");
        }
        Label::Worker { app, slot } => {
            into.extend_from_slice(format!("[{app}.{slot}] ").as_bytes());
            into.extend_from_slice(line);
        }
        Label::Proxy => into.extend_from_slice(line),
    }
    into.push(b'\n');
}

/// The last lines of one child's stderr.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    /// Remembers a line, forgets the oldest.
    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.lines.len() == TAIL_LINES_MAX {
            self.lines.pop_front();
        }
        let cut = &line[..line.len().min(TAIL_LINE_BYTES_MAX)];
        self.lines.push_back(String::from_utf8_lossy(cut).into_owned());
    }

    /// The lines, oldest first.
    pub(crate) fn to_lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_passes_any_bytes_and_json_escapes_them() {
        let label = Label::Worker { app: "web".into(), slot: 1 };
        let mut text = Vec::new();
        format_line(&mut text, &label, Channel::Stdout, b"caf\xe9", false);
        assert_eq!(text, b"[web.1] caf\xe9\n");
        let mut json = Vec::new();
        format_line(&mut json, &label, Channel::Stderr, b"caf\xe9 \"x\"", true);
        let value: serde_json::Value = serde_json::from_slice(&json).expect("json");
        assert_eq!(value["line"], "caf\u{fffd} \"x\"");
        assert_eq!(value["stream"], "stderr");
        assert_eq!(value["slot"], 1);
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for n in 0..50 {
            tail.push(format!("line {n}").as_bytes());
        }
        let lines = tail.to_lines();
        assert_eq!(lines.len(), TAIL_LINES_MAX);
        assert_eq!(lines[0], "line 30");
    }
}
