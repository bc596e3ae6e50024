//! What is asked of the peers: the app, the load, the right answer, the promise.
//!
//! Owns: reading `loadtest/scenarios/NAME.toml`. Must never know: who serves the app, how load is made.

mod case;
mod target;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Outcome;
use crate::http::{Answer, Connection};
use crate::machine::repository;

pub(crate) use self::case::{Beside, Case};
pub(crate) use self::target::{Compare, Target};

/// Who is measured where a scenario names nobody.
const USUAL_PEERS: [&str; 5] = ["node", "nginx", "haproxy", "uring", "epoll"];

/// One kind of load.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The file's name.
    #[serde(skip)]
    pub(crate) name: String,
    /// For people.
    pub(crate) about: String,
    /// Why the figures are as they are; stands below the generated reading.
    pub(crate) why: Option<String>,
    /// Place in lists.
    order: u32,
    /// Whether `--quick` measures it.
    #[serde(default)]
    pub(crate) quick: bool,
    /// Folder of the app, from the top of the repository; its script is `server.js`.
    app: PathBuf,
    /// Where the app is started.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// Who is measured; empty for the usual ones.
    #[serde(default)]
    peers: Vec<String>,
    /// Processes of the app.
    #[serde(default = "one")]
    pub(crate) workers: u32,
    /// Keep-alive connections of the load generator, where it is not what the command line says.
    pub(crate) connections: Option<u32>,
    /// More rounds would take too long.
    pub(crate) rounds_max: Option<u32>,
    /// Requests before each measurement, beyond the seconds of warm-up. Memory is sampled meanwhile.
    #[serde(default)]
    pub(crate) warmup_requests: u64,
    /// Shares of Node's own capacity at which latency is measured.
    #[serde(default)]
    pub(crate) rates: Vec<f64>,
    pub(crate) load: Load,
    answer: Expected,
    #[serde(default)]
    cases: Vec<Case>,
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
        /// Now and then another target.
        other: Option<Other>,
    },
    /// One message after the other on each WebSocket, each awaited.
    Websocket { target: String, message_bytes: u16 },
}

/// Every so many requests, ask for this.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Other {
    pub(crate) target: String,
    pub(crate) every: u32,
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

const fn one() -> u32 {
    1
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
        let names = || all.iter().map(|one| &*one.name).collect::<Vec<_>>().join(", ");
        let found = all.iter().find(|scenario| scenario.name == name).cloned();
        found.ok_or_else(|| format!("no scenario `{name}`; there are: {}", names()))
    }

    fn read(path: &Path) -> Outcome<Self> {
        let at = |why: String| format!("{}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(&name, &text).map_err(at)
    }

    /// Reads the text of a scenario's file.
    pub(crate) fn parse(name: &str, text: &str) -> Outcome<Self> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        name.clone_into(&mut scenario.name);
        scenario.folder = scenario.source();
        let cases = scenario.cases();
        for target in &scenario.targets {
            target.check(&cases, &scenario.rates)?;
        }
        if scenario.rates.iter().any(|share| !(0.01..=1.0).contains(share)) {
            return Err("a rate is a share of Node's capacity, from 0.01 to 1".to_owned());
        }
        Ok(scenario)
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

    /// Who is measured if the command line does not say.
    pub(crate) fn peers(&self) -> Vec<String> {
        if self.peers.is_empty() {
            return USUAL_PEERS.map(str::to_owned).to_vec();
        }
        self.peers.clone()
    }

    /// The variants that each peer serves, at least one.
    pub(crate) fn cases(&self) -> Vec<Case> {
        if self.cases.is_empty() { vec![Case::default()] } else { self.cases.clone() }
    }

    /// The scenario as it is in one of its cases.
    pub(crate) fn in_case(&self, case: &Case) -> Self {
        let mut scenario = self.clone();
        scenario.workers = case.workers.unwrap_or(self.workers);
        scenario.connections = case.connections.or(self.connections);
        scenario
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
        assert!(all.len() >= 19, "{}", all.len());
        for scenario in all {
            let script = scenario.source().join("server.js");
            assert!(script.exists(), "{}: no {}", scenario.name, script.display());
            let (peers, mut names) = (scenario.peers(), Vec::new());
            for target in &scenario.targets {
                names.extend([Some(&target.peer), target.other_side()].into_iter().flatten());
            }
            for name in &peers {
                assert!(crate::peers::Peer::by_name(name).is_ok(), "{}: {name}?", scenario.name);
            }
            for name in names {
                assert!(peers.contains(name), "{}: {name} is not measured", scenario.name);
            }
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

    const SMALL: &str = "about = 'x'\norder = 1\napp = 'examples/hello'\nanswer = { text = 'x' }\n\
                         load = { kind = 'http', target = '/' }\n";

    #[test]
    fn a_case_overrides_its_scenario() {
        let text = format!("{SMALL}workers = 2\n[[cases]]\nname = 'few'\nconnections = 1\n");
        // A table behind the inline ones would swallow `workers`: top-level keys come first.
        let text = text.replace("workers = 2\n", "");
        let scenario = Scenario::parse("small", &format!("workers = 2\n{text}")).expect("right");
        let case = &scenario.cases()[0];
        let few = scenario.in_case(case);
        assert_eq!((few.connections, few.workers, scenario.connections), (Some(1), 2, None));
    }

    #[test]
    fn wrong_targets_are_refused() {
        let with = |target: &str| Scenario::parse("x", &format!("{SMALL}[[targets]]\n{target}"));
        assert!(with("figure = 'throughput'\nat_least = 1.0").is_ok());
        assert!(with("figure = 'throughput'").is_err(), "no limit");
        assert!(with("figure = 'throughput'\nat_least = 1.0\nat_most = 2.0").is_err(), "both");
        assert!(with("figure = 'throughput'\nat_least = 1.0\ncase = 'none'").is_err(), "case");
        assert!(with("figure = 'p50'\nat_most = 1.0\nrate = 0.5").is_err(), "rate not measured");
    }
}
