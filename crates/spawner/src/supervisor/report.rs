//! What a worker's loader reports about its start; see `docs/worker-protocol.md`.
//!
//! Owns: the JSON form of the report lines. Must never know: the pipe they come through.

use hostler_protocol::control::Transport;
use serde::Deserialize;

use super::death::REMARK_CHARS_MAX;

/// One report line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The loader is installed.
    Preload {
        /// Version of Node.
        node: String,
        /// The process, which is not the one that was started if that is a command.
        #[serde(default)]
        pid: Option<u32>,
    },
    /// The loader compared its request path with Node's.
    SelfTest {
        /// Whether they agree.
        ok: bool,
        /// What differs.
        #[serde(default)]
        why: Option<String>,
        /// Nothing was compared: this version of Node is not among the tested ones.
        #[serde(default)]
        untested: bool,
    },
    /// The app called `listen` on the server that is taken over.
    Listen {},
    /// The app listens and has yet to say that it is ready.
    AwaitsReady {},
    /// Requests may come.
    Ready {
        /// The way they come.
        transport: Transport,
    },
    /// A further server that is left alone.
    OtherListen {
        /// What it is (`https`, `net`).
        #[serde(default)]
        what: String,
    },
    /// The worker gave up a channel because the proxy broke a rule of the protocol: a bug of ours.
    Channel {
        /// What was wrong.
        why: String,
    },
    /// The event loop does not turn.
    Stuck(Stuck),
    /// It turns again.
    Unstuck {
        /// How long it did not, milliseconds.
        silent_ms: u64,
    },
    /// Something that was asked for cannot be had; the worker does without.
    Warning {
        /// What, and why.
        why: String,
    },
    /// An uncaught exception ends the process.
    Error(AppError),
    /// The app ends the process by `process.exit`.
    Exit(AppExit),
}

/// What was thrown.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct AppError {
    /// `TypeError`; for what is no error, its type.
    #[serde(default)]
    pub(crate) name: String,
    /// Its message, which may have several lines.
    pub(crate) message: String,
    /// Its stack, cut to a few KiB.
    #[serde(default)]
    pub(crate) stack: String,
    /// How it came to end the process.
    #[serde(default)]
    pub(crate) origin: Origin,
}

/// How an exception came to end the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Origin {
    /// It was thrown.
    #[default]
    #[serde(rename = "uncaughtException")]
    UncaughtException,
    /// A promise was rejected with it.
    #[serde(rename = "unhandledRejection")]
    UnhandledRejection,
    /// What a newer Node calls it.
    #[serde(other)]
    Other,
}

impl AppError {
    /// One line: what it is, and where it was made if the stack says so.
    pub(crate) fn sentence(&self) -> String {
        let first_line = self.message.lines().next().unwrap_or_default();
        let message: String = first_line.chars().take(REMARK_CHARS_MAX).collect();
        let mut text = match self.name.as_str() {
            "" => message,
            name => format!("{name}: {message}"),
        };
        if self.origin == Origin::UnhandledRejection {
            text = format!("unhandled rejection: {text}");
        }
        if let Some(frame) = self.stack.lines().find_map(|line| line.trim().strip_prefix("at ")) {
            let frame: String = frame.chars().take(REMARK_CHARS_MAX).collect();
            text.push_str(&format!(" (at {frame})"));
        }
        text
    }
}

/// A call of `process.exit`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct AppExit {
    /// The exit code.
    pub(crate) code: i32,
    /// Requests that are left unanswered.
    #[serde(default)]
    pub(crate) in_flight: u32,
    /// Who called: `file:line:column`.
    pub(crate) at: String,
}

impl AppExit {
    /// One line.
    pub(crate) fn sentence(&self) -> String {
        let mut text = format!("process.exit({}) was called at {}", self.code, self.at);
        if self.in_flight > 0 {
            text.push_str(&format!(", with {} request(s) unanswered", self.in_flight));
        }
        text
    }
}

/// An event loop that does not turn.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Stuck {
    /// At least so long, milliseconds.
    pub(crate) silent_ms: u64,
    /// Where in JavaScript: `function (file:line:column)`, the innermost call first.
    #[serde(default)]
    pub(crate) stack: Vec<String>,
    /// Why there is no stack.
    #[serde(default)]
    pub(crate) why: Option<String>,
    /// A debugger may have halted it.
    #[serde(default)]
    pub(crate) debugged: bool,
}

/// Calls of a stack that are told in one line of the log.
const SHOWN_FRAMES_MAX: usize = 8;

impl Stuck {
    /// Where it is, for the end of a sentence.
    pub(crate) fn place(&self) -> String {
        let frames: Vec<&str> =
            self.stack.iter().take(SHOWN_FRAMES_MAX).map(String::as_str).collect();
        match (frames.is_empty(), &self.why) {
            (false, _) => format!("; it is in {}", frames.join(" < ")),
            (true, Some(why)) => format!("; no stack: {why}"),
            (true, None) => String::new(),
        }
    }

    /// What happened, for one line of the log.
    pub(crate) fn sentence(&self) -> String {
        let mut text = format!("has not turned its event loop for {} ms", self.silent_ms);
        if self.debugged {
            text.push_str(", an inspector port is open");
        }
        text.push_str(&self.place());
        text
    }
}

impl Report {
    /// Reads one line; `None` for lines of a newer loader or of somebody else.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_lines_are_understood() {
        let lines = [
            r#"{"step":"preload","node":"20.20.2"}"#,
            r#"{"step":"preload","node":"20.20.2","pid":77}"#,
            r#"{"step":"self_test","ok":true,"us":5300}"#,
            r#"{"step":"self_test","ok":false,"why":"..."}"#,
            r#"{"step":"self_test","ok":false,"untested":true,"why":"..."}"#,
            r#"{"step":"listen","requested":{"port":3000,"host":null,"path":null}}"#,
            r#"{"step":"awaits_ready"}"#,
            r#"{"step":"ready","transport":"frames"}"#,
            r#"{"step":"other_listen","what":"https","requested":{}}"#,
            r#"{"step":"stuck","silent_ms":5000,"stack":["spin (/srv/app.js:3:1)"]}"#,
            r#"{"step":"stuck","silent_ms":5000,"debugged":true,"stack":[],"why":"..."}"#,
            r#"{"step":"unstuck","silent_ms":9000}"#,
            r#"{"step":"warning","why":"..."}"#,
            r#"{"step":"error","name":"Error","message":"boom","stack":"...","origin":"uncaughtException"}"#,
            r#"{"step":"error","name":"string","message":"boom","origin":"unhandledRejection"}"#,
            r#"{"step":"exit","code":1,"in_flight":3,"at":"/srv/app.js:3:1"}"#,
        ];
        for line in lines {
            assert!(Report::parse(line.as_bytes()).is_some(), "{line}");
        }
        assert_eq!(Report::parse(b"{\"step\":\"new\"}"), None);
        assert_eq!(Report::parse(b"hello"), None);
    }

    #[test]
    fn a_silence_is_told_in_one_line() {
        let stuck = |line: &str| match Report::parse(line.as_bytes()) {
            Some(Report::Stuck(stuck)) => stuck.sentence(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            stuck(
                r#"{"step":"stuck","silent_ms":5000,"stack":["spin (/a.js:3:1)","run (/a.js:9:2)"]}"#
            ),
            "has not turned its event loop for 5000 ms; it is in spin (/a.js:3:1) < run (/a.js:9:2)"
        );
        assert_eq!(
            stuck(r#"{"step":"stuck","silent_ms":70,"debugged":true,"stack":[],"why":"native"}"#),
            "has not turned its event loop for 70 ms, an inspector port is open; no stack: native"
        );
    }

    #[test]
    fn the_ends_are_told_in_one_line() {
        let sentence = |line: &str| match Report::parse(line.as_bytes()) {
            Some(Report::Error(error)) => error.sentence(),
            Some(Report::Exit(exit)) => exit.sentence(),
            other => panic!("{other:?}"),
        };
        for (line, expected) in [
            (
                r#"{"step":"error","name":"TypeError","message":"no\nlist","stack":"TypeError: no\nlist\n    at f (/a.js:1:2)\n    at g","origin":"uncaughtException"}"#,
                "TypeError: no (at f (/a.js:1:2))",
            ),
            (
                r#"{"step":"error","name":"string","message":"x","origin":"unhandledRejection"}"#,
                "unhandled rejection: string: x",
            ),
            (r#"{"step":"error","message":"x","origin":"of a newer Node"}"#, "x"),
            (
                r#"{"step":"exit","code":1,"at":"/a.js:3:1"}"#,
                "process.exit(1) was called at /a.js:3:1",
            ),
            (
                r#"{"step":"exit","code":0,"in_flight":3,"at":"/a.js:3:1"}"#,
                "process.exit(0) was called at /a.js:3:1, with 3 request(s) unanswered",
            ),
        ] {
            assert_eq!(sentence(line), expected);
        }
    }
}
