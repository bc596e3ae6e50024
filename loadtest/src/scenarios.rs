//! What is asked of the peers: the app, the request, the right answer.
//!
//! Owns: the list of scenarios. Must never know: who serves the app.

use std::path::PathBuf;

use crate::Outcome;
use crate::http::Answer;

/// One kind of load.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Folder of the app under `examples/`.
    folder: &'static str,
    /// Request target.
    pub(crate) target: &'static str,
    /// Whether an answer is right; a fast wrong answer is worth nothing.
    is_right: fn(&Answer) -> bool,
}

const ALL: [Scenario; 2] = [
    Scenario {
        name: "hello",
        folder: "hello",
        target: "/",
        is_right: |answer| answer.status == 200 && answer.body == b"Hello, world!\n",
    },
    Scenario {
        name: "json",
        folder: "json",
        target: "/",
        is_right: |answer| {
            let object = serde_json::from_slice::<serde_json::Value>(&answer.body);
            answer.status == 200 && object.is_ok_and(|object| object["message"] == "Hello, world!")
        },
    },
];

/// Names for the command line.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|scenario| scenario.name).collect()
}

impl Scenario {
    pub(crate) fn by_name(name: &str) -> Outcome<Self> {
        let found = ALL.into_iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("no scenario `{name}`; there are: {}", names().join(", ")))
    }

    /// The folder of the app.
    pub(crate) fn app(&self) -> PathBuf {
        crate::machine::repository().join("examples").join(self.folder)
    }

    /// The script of the app.
    pub(crate) fn script(&self) -> PathBuf {
        self.app().join("server.js")
    }

    pub(crate) fn is_right(&self, answer: &Answer) -> bool {
        (self.is_right)(answer)
    }
}
