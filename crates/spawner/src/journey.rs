//! The journey of a starting worker: which steps it has taken, how long each took, where it failed.
//!
//! Owns: the steps, their states, and the report of a failed start as text and JSON. Must never
//! know: processes, pipes, clocks (times come in as milliseconds). Driven by the supervisor
//! machine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The steps from nothing to a worker that takes requests, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A process is made.
    Fork,
    /// It becomes Node.
    Exec,
    /// The loader is installed.
    Preload,
    /// The loader compares its own request path with Node's.
    SelfTest,
    /// The app's code runs, until it calls `listen`.
    AppLoad,
    /// A command runs, until it accepts connections.
    Accept,
    /// The worker opens its plain path and its channels to the proxy.
    Connect,
    /// It is asked whether it can serve, until it says yes.
    Answer,
}

impl Step {
    /// Those of a script that Node runs.
    pub const SCRIPT: &[Self] =
        &[Self::Fork, Self::Exec, Self::Preload, Self::SelfTest, Self::AppLoad, Self::Connect];

    /// Those of a command.
    pub const COMMAND: &[Self] = &[Self::Fork, Self::Exec, Self::Accept];

    fn label(self) -> &'static str {
        match self {
            Self::Fork => "fork a process",
            Self::Exec => "execute the program",
            Self::Preload => "boot node, install the loader",
            Self::SelfTest => "loader self-test",
            Self::AppLoad => "load the app until listen()",
            Self::Accept => "wait until the app accepts",
            Self::Connect => "connect to the proxy",
            Self::Answer => "answer that it is ready",
        }
    }
}

/// How far one step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not reached.
    Waiting,
    /// Begun.
    Running,
    /// Done.
    Done,
    /// A later step was reported without this one.
    Skipped,
    /// The start failed here.
    Failed,
}

/// One step with its times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which.
    pub step: Step,
    /// How far.
    pub state: StepState,
    /// How long it took, or has taken so far, milliseconds.
    pub duration_ms: u64,
    /// Something worth knowing about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip)]
    begun_ms: u64,
}

/// The steps of one worker process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Journey {
    steps: Vec<StepRecord>,
}

impl Journey {
    /// A journey of these steps that begins at `now_ms`.
    pub fn new(steps: &[Step], now_ms: u64) -> Self {
        let steps = steps
            .iter()
            .map(|&step| StepRecord {
                step,
                state: StepState::Waiting,
                duration_ms: 0,
                note: None,
                begun_ms: now_ms,
            })
            .collect();
        let mut journey = Self { steps };
        journey.steps[0].state = StepState::Running;
        journey
    }

    /// The step under way; the last one once all are done.
    pub fn current(&self) -> Step {
        self.steps
            .iter()
            .find(|record| matches!(record.state, StepState::Running | StepState::Failed))
            .or(self.steps.last())
            .map_or(Step::Connect, |record| record.step)
    }

    /// The records, in order.
    pub fn steps(&self) -> &[StepRecord] {
        &self.steps
    }

    /// `step` is done: it and all before it are closed, the next one begins.
    pub fn done(&mut self, step: Step, now_ms: u64) {
        for record in &mut self.steps {
            if record.step < step && record.state == StepState::Waiting {
                record.state = StepState::Skipped;
            }
            if record.step <= step && record.state == StepState::Running {
                // A step that was passed over without a word of its own is done as well: its
                // successor is.
                record.state = StepState::Done;
                record.duration_ms = now_ms.saturating_sub(record.begun_ms);
            }
            if record.step == step && record.state == StepState::Waiting {
                record.state = StepState::Done;
            }
            if record.step > step {
                if record.state == StepState::Waiting {
                    record.state = StepState::Running;
                    record.begun_ms = now_ms;
                }
                break;
            }
        }
    }

    /// Puts a remark on a step.
    pub fn note(&mut self, step: Step, text: String) {
        if let Some(record) = self.steps.iter_mut().find(|record| record.step == step) {
            record.note = Some(text);
        }
    }

    /// The step under way has failed.
    pub fn fail(&mut self, now_ms: u64) {
        for record in &mut self.steps {
            if record.state == StepState::Running {
                record.state = StepState::Failed;
                record.duration_ms = now_ms.saturating_sub(record.begun_ms);
            }
        }
    }
}

/// Why the app did not start: everything a person needs to repair it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StartFailure {
    /// App name.
    pub app: String,
    /// Slot of the worker.
    pub slot: u32,
    /// One line: what happened.
    pub why: String,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The command that was run.
    pub command: String,
    /// Its working directory.
    pub cwd: String,
    /// The steps.
    pub journey: Journey,
    /// The last lines the app wrote to stderr.
    pub stderr_tail: Vec<String>,
}

impl StartFailure {
    /// The report as one JSON line, without a newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report of strings and numbers always serializes")
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} did not start: {}", self.app, self.why)?;
        writeln!(out)?;
        for record in self.journey.steps() {
            let (mark, time) = match record.state {
                StepState::Waiting => ("    ", String::new()),
                StepState::Skipped => ("skip", String::new()),
                StepState::Running => ("... ", format!("{} ms", record.duration_ms)),
                StepState::Done => ("ok  ", format!("{} ms", record.duration_ms)),
                StepState::Failed => ("FAIL", format!("{} ms", record.duration_ms)),
            };
            write!(out, "  {mark}  {:<30}{time:>9}", record.step.label())?;
            match &record.note {
                Some(note) => writeln!(out, "  {note}")?,
                None => writeln!(out)?,
            }
        }
        writeln!(out)?;
        writeln!(out, "  command  {}", self.command)?;
        writeln!(out, "  folder   {}", self.cwd)?;
        if let Some(hint) = &self.hint {
            writeln!(out, "  hint     {hint}")?;
        }
        if self.stderr_tail.is_empty() {
            return writeln!(out, "\n  The app wrote nothing to stderr.");
        }
        writeln!(out, "\n  The app's last lines on stderr:")?;
        for line in &self.stderr_tail {
            writeln!(out, "  | {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(journey: &Journey) -> Vec<StepState> {
        journey.steps().iter().map(|record| record.state).collect()
    }

    #[test]
    fn steps_follow_each_other_with_their_durations() {
        use StepState::{Done, Running, Waiting};
        let mut journey = Journey::new(Step::SCRIPT, 100);
        assert_eq!(journey.current(), Step::Fork);
        journey.done(Step::Fork, 101);
        journey.done(Step::Exec, 103);
        journey.done(Step::Preload, 150);
        assert_eq!(journey.current(), Step::SelfTest);
        assert_eq!(states(&journey), [Done, Done, Done, Running, Waiting, Waiting]);
        let taken: Vec<u64> = journey.steps().iter().map(|r| r.duration_ms).collect();
        assert_eq!(taken, [1, 2, 47, 0, 0, 0]);
    }

    #[test]
    fn a_step_that_is_never_reported_is_passed_over() {
        use StepState::{Done, Running, Skipped};
        let mut journey = Journey::new(Step::SCRIPT, 0);
        journey.done(Step::Exec, 1);
        journey.done(Step::AppLoad, 9);
        assert_eq!(states(&journey), [Done, Done, Done, Skipped, Done, Running]);
        journey.done(Step::Connect, 10);
        assert!(!states(&journey).contains(&Running));
    }

    #[test]
    fn the_report_names_the_failed_step_and_the_last_lines() {
        let mut journey = Journey::new(Step::SCRIPT, 0);
        journey.done(Step::Exec, 2);
        journey.done(Step::SelfTest, 40);
        journey.fail(90);
        let failure = StartFailure {
            app: "web".into(),
            slot: 0,
            why: "the app exited with code 1 while it was loading".into(),
            hint: None,
            command: "node app.js".into(),
            cwd: "/srv".into(),
            journey,
            stderr_tail: vec!["Error: no database".into()],
        };
        let text = failure.to_string();
        assert!(text.contains("FAIL  load the app until listen()       50 ms"), "{text}");
        assert!(text.contains("| Error: no database"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&failure.to_json()).expect("json");
        assert_eq!(json["journey"][4]["state"], "failed");
    }
}
