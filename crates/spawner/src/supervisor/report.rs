//! What a worker's loader reports about its start; see `docs/worker-protocol.md`.
//!
//! Owns: the JSON form of the report lines. Must never know: the pipe they come through.

use hostler_protocol::control::Transport;
use serde::Deserialize;

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
    /// An uncaught exception ends the process.
    Error {
        /// Its message.
        message: String,
    },
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
            r#"{"step":"ready","transport":"frames"}"#,
            r#"{"step":"other_listen","what":"https","requested":{}}"#,
            r#"{"step":"error","message":"boom","stack":"..."}"#,
        ];
        for line in lines {
            assert!(Report::parse(line.as_bytes()).is_some(), "{line}");
        }
        assert_eq!(Report::parse(b"{\"step\":\"new\"}"), None);
        assert_eq!(Report::parse(b"hello"), None);
    }
}
