//! What is asked of the peers: the app, the load, the right answer, the promise.
//!
//! Owns: reading `loadtest/scenarios/NAME.toml`. Must never know: who serves the app, how load is made.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Outcome;
use crate::http::{Answer, Connection};
use crate::machine::repository;

/// One kind of load.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The file's name.
    #[serde(skip)]
    pub(crate) name: String,
    /// For people.
    pub(crate) about: String,
    /// Place in lists.
    order: u32,
    /// Folder of the app, from the top of the repository; its script is `server.js`.
    app: PathBuf,
    /// Where the app is started.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    pub(crate) load: Load,
    answer: Expected,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

/// What the load generator does.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Load {
    /// One request after the other on each connection.
    Http {
        target: String,
        /// Size of a body that is sent by POST; 0 means GET.
        #[serde(default)]
        body_bytes: u32,
        /// Each request has a connection of its own.
        #[serde(default)]
        new_connections: bool,
    },
    /// One message after the other on each WebSocket, each awaited.
    Websocket { target: String, message_bytes: u16 },
}

/// A fast wrong answer is worth nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Expected {
    /// The whole body.
    Text(String),
    /// Members that a JSON object must have.
    Json(serde_json::Map<String, serde_json::Value>),
    /// The length of the body.
    Bytes(usize),
}

/// What the project promises about a figure.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) figure: Figure,
    #[serde(default = "uring")]
    pub(crate) peer: String,
    /// The ratio's other side.
    #[serde(default = "node")]
    pub(crate) against: String,
    /// Only for this release line of Node.
    pub(crate) node: Option<u32>,
    pub(crate) at_most: Option<f64>,
    pub(crate) at_least: Option<f64>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    Throughput,
    WorkerCpu,
    FrontCpu,
    ServerCpu,
}

fn uring() -> String {
    "uring".to_owned()
}

fn node() -> String {
    "node".to_owned()
}

/// All scenarios, in their order.
pub(crate) fn all() -> Outcome<Vec<Scenario>> {
    let folder = repository().join("loadtest/scenarios");
    let entries =
        std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let mut scenarios = files.map(|path| Scenario::read(&path)).collect::<Outcome<Vec<_>>>()?;
    scenarios.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Ok(scenarios)
}

impl Scenario {
    pub(crate) fn by_name(name: &str) -> Outcome<Self> {
        let all = all()?;
        let names = all.iter().map(|scenario| &*scenario.name).collect::<Vec<_>>().join(", ");
        let found = all.into_iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("no scenario `{name}`; there are: {names}"))
    }

    fn read(path: &Path) -> Outcome<Self> {
        let at = |why: String| format!("{}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
        let mut scenario: Self = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
        scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        scenario.folder = scenario.source();
        let unclear = |target: &&Target| target.at_most.is_some() == target.at_least.is_some();
        match scenario.targets.iter().find(unclear) {
            None => Ok(scenario),
            Some(target) => {
                Err(at(format!("a target needs either at_most or at_least: {target:?}")))
            }
        }
    }

    /// The folder of the app in the repository.
    pub(crate) fn source(&self) -> PathBuf {
        repository().join(&self.app)
    }

    /// The script of the app.
    pub(crate) fn script(&self) -> PathBuf {
        self.folder.join("server.js")
    }

    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self.load, Load::Websocket { .. })
    }

    /// Asks once and says what is wrong with the answer.
    pub(crate) fn check(&self, connection: &mut Connection) -> Outcome<()> {
        let answer = match &self.load {
            Load::Http { target, body_bytes: 0, .. } | Load::Websocket { target, .. } => {
                connection.get(target)?
            }
            Load::Http { target, body_bytes, .. } => {
                connection.post(target, &vec![b'x'; *body_bytes as usize])?
            }
        };
        if self.answer.is(&answer) {
            return Ok(());
        }
        let start = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]);
        let length = answer.body.len();
        Err(format!("wrong answer {}, {length} bytes: {start}", answer.status))
    }
}

impl Expected {
    fn is(&self, answer: &Answer) -> bool {
        let right = match self {
            Self::Text(text) => answer.body == text.as_bytes(),
            Self::Bytes(length) => answer.body.len() == *length,
            Self::Json(members) => serde_json::from_slice::<serde_json::Value>(&answer.body)
                .is_ok_and(|value| members.iter().all(|(name, member)| value[name] == *member)),
        };
        right && answer.status == 200
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_read_and_has_its_app() {
        let all = all().expect("all files are right");
        assert!(all.len() >= 11);
        for scenario in all {
            let script = scenario.source().join("server.js");
            assert!(script.exists(), "{}: no {}", scenario.name, script.display());
        }
    }

    #[test]
    fn answers_are_judged() {
        let answer = |status, body: &str| Answer { status, body: body.into() };
        let hello = Expected::Text("hello".to_owned());
        assert!(hello.is(&answer(200, "hello")));
        assert!(!hello.is(&answer(500, "hello")) && !hello.is(&answer(200, "hell")));
        let members = serde_json::from_str(r#"{"a":1}"#).expect("an object");
        let json = Expected::Json(members);
        assert!(json.is(&answer(200, r#"{"b":2,"a":1}"#)) && !json.is(&answer(200, "[]")));
        assert!(
            Expected::Bytes(2).is(&answer(200, "ab"))
                && !Expected::Bytes(2).is(&answer(200, "abc"))
        );
    }
}
