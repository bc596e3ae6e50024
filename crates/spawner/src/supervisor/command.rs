//! Workers that are commands: where they listen, and what to say when they do not.
//!
//! Owns: the machine's decisions about a command until it is ready: when to try, when to look around, when to give up.
//! Must never know: sockets, `/proc`; the loop tries and looks.
//!
//! A command does not report, unless a Node process below it calls `listen` on an http.Server: then the loader in it makes it the
//! worker, and all goes on as with a script. Every other command has a socket and a port of its own to listen on, and each is tried with growing pauses until
//! one of them accepts. A few seconds later the loop is asked where the command listens instead, if it listens at all.

use hostler_protocol::control::{PlainAddress, ToProxy, Transport, WorkerId};
use serde::{Deserialize, Serialize};

use super::death::{Death, HowDied};
use super::event::{Action, Level, StopSignal};
use super::process::{App, Process, ProcessPhase};
use super::worker::push_signal;
use super::{Machine, duration_text};
use crate::journey::Step;
use crate::worker_command::Offer;

/// Pauses between two tries: the first is shorter than any server's start, the last is no load and no delay to speak of.
const TRY_MS_FIRST: u64 = 10;
const TRY_MS_MAX: u64 = 200;

/// A server that listens elsewhere does so by then, and nobody should have to wait for the whole start time-out to be told.
const LOOK_AFTER_MS: u64 = 5_000;

/// How long a command may take to notice that its Node process has ended.
const FOLLOW_MS_MAX: u64 = 3_000;

/// What is known of a command that does not accept yet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Search {
    offer: Offer,
    try_ms: u64,
    pause_ms: u64,
    look: Look,
    /// Where it was last seen to listen.
    elsewhere: Vec<String>,
}

/// Looking around in the processes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Look {
    /// Not yet.
    Waits {
        /// Until then.
        at_ms: u64,
    },
    /// Done once, to tell early.
    Done,
    /// Done for the last time: the start has failed.
    Last,
}

impl Search {
    pub(super) fn new(offer: Offer, now_ms: u64) -> Self {
        Self {
            offer,
            try_ms: now_ms + TRY_MS_FIRST,
            pause_ms: TRY_MS_FIRST,
            look: Look::Waits { at_ms: now_ms + LOOK_AFTER_MS },
            elsewhere: Vec::new(),
        }
    }

    /// When there is something to do.
    pub(super) fn next_ms(&self) -> u64 {
        match self.look {
            Look::Waits { at_ms } => at_ms.min(self.try_ms),
            Look::Done => self.try_ms,
            Look::Last => u64::MAX,
        }
    }

    /// Both places, for people.
    fn places(&self) -> String {
        let Offer { socket, port } = &self.offer;
        format!("neither on unix:{} ($SOCKET) nor on 127.0.0.1:{port} ($PORT)", socket.display())
    }

    fn elsewhere(&self) -> String {
        match self.elsewhere.is_empty() {
            true => String::new(),
            false => format!("; it listens on {} instead", self.elsewhere.join(", ")),
        }
    }
}

impl Process {
    /// A Node process below the command has become the worker: nothing is tried any more, it reports itself.
    pub(super) fn claimed(&mut self, node: &str, pid: u32, actions: &mut Vec<Action>) {
        self.search = None;
        self.app = Some(App::Lives { pid });
        self.journey.note(Step::Accept, format!("Node {node} (pid {pid})"));
        actions.push(Action::Watch { worker: self.worker, pid });
    }

    /// When the command is killed because its Node process has ended.
    pub(super) fn ended_ms(&self) -> Option<u64> {
        match (self.phase, self.app) {
            (ProcessPhase::Stopping { .. } | ProcessPhase::Killed, _) => None,
            (_, Some(App::Ended { until_ms, .. })) => Some(until_ms),
            _ => None,
        }
    }

    /// Kills the command whose Node process has ended some time ago.
    pub(super) fn kill_headless(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.ended_ms().is_none_or(|until_ms| until_ms > now_ms) {
            return;
        }
        let pid = self.app_pid().unwrap_or(0);
        self.condemned =
            Some(format!("its Node process (pid {pid}) ended and the command went on without it"));
        self.phase = ProcessPhase::Killed;
        push_signal(actions, self.worker, StopSignal::Kill);
    }

    /// It is a command that is still looked for, and its time is not over or has just run out.
    pub(super) fn is_searched(&self, now_ms: u64) -> bool {
        let searched = self.search.as_ref().is_some_and(|search| search.look != Look::Last);
        searched && matches!(self.phase, ProcessPhase::Starting { .. }) && self.next_ms() <= now_ms
    }

    fn next_ms(&self) -> u64 {
        let ProcessPhase::Starting { deadline_ms } = self.phase else {
            return u64::MAX;
        };
        self.search.as_ref().map_or(deadline_ms, |search| search.next_ms().min(deadline_ms))
    }
}

impl Machine {
    /// Tries, looks around, or asks for the last look.
    pub(super) fn search_command(
        &mut self,
        worker: WorkerId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        let ProcessPhase::Starting { deadline_ms } = &mut process.phase else {
            return;
        };
        let Some(search) = &mut process.search else {
            return;
        };
        if *deadline_ms <= now_ms {
            search.look = Look::Last;
            // The answer comes at once; this is for the case that it never does.
            *deadline_ms = now_ms + TRY_MS_MAX;
            actions.push(Action::LookAround { worker });
            return;
        }
        if let Look::Waits { at_ms } = search.look
            && at_ms <= now_ms
        {
            search.look = Look::Done;
            actions.push(Action::LookAround { worker });
        }
        if search.try_ms <= now_ms {
            search.try_ms = now_ms + search.pause_ms;
            search.pause_ms = (search.pause_ms * 2).min(TRY_MS_MAX);
            actions.push(Action::Probe { worker, offer: search.offer.clone() });
        }
    }

    /// A command accepts connections: it is ready.
    pub(super) fn accepts(
        &mut self,
        worker: WorkerId,
        address: PlainAddress,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        let starting = matches!(process.phase, ProcessPhase::Starting { .. });
        if !starting || process.search.take().is_none() {
            return;
        }
        process.transport = Transport::Http;
        process.journey.done(Step::Accept, now_ms);
        process.journey.note(Step::Accept, address.to_string());
        process.accepts = Some(address);
        self.worker_listens(worker, now_ms, actions);
    }

    /// Where a command listens that does not listen where it should.
    pub(super) fn looked_around(
        &mut self,
        worker: WorkerId,
        found: &[String],
        actions: &mut Vec<Action>,
    ) {
        let Some((index, _)) = self.find(worker) else {
            return;
        };
        let name = self.worker_name(index);
        let limit_ms = u64::from(self.settings.start_ms_max);
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        let ProcessPhase::Starting { .. } = process.phase else {
            return;
        };
        let Some(search) = &mut process.search else {
            return;
        };
        search.elsewhere = found.to_vec();
        if search.look == Look::Last {
            let limit = duration_text(limit_ms);
            process.condemned = Some(format!(
                "the app did not accept a connection within {limit}, {}{}",
                search.places(),
                search.elsewhere()
            ));
            process.phase = ProcessPhase::Killed;
            push_signal(actions, worker, StopSignal::Kill);
        } else if !found.is_empty() {
            let text = format!(
                "{name} is not ready after {}: it listens on {} and {}",
                duration_text(LOOK_AFTER_MS),
                found.join(", "),
                search.places()
            );
            actions.push(Action::Log(Level::Warn, text));
        }
    }
}

impl Machine {
    /// The Node process below a command has ended. npm and shells follow it at once, as a rule with its exit code.
    pub(super) fn app_ended(&mut self, worker: WorkerId, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        let Some(App::Lives { pid }) = process.app else {
            return;
        };
        process.app = Some(App::Ended { pid, until_ms: now_ms + FOLLOW_MS_MAX });
        match process.phase {
            ProcessPhase::Warm
            | ProcessPhase::Ready
            | ProcessPhase::Standby
            | ProcessPhase::Draining { .. } => {
                if std::mem::take(&mut process.announced) {
                    self.tell_proxies(ToProxy::WorkerGone { worker }, actions);
                }
            }
            ProcessPhase::Stopping { .. } => push_signal(actions, worker, StopSignal::Term),
            ProcessPhase::Starting { .. } | ProcessPhase::Killed => {}
        }
    }
}

/// What happened, and what to do, when a command ends before it is ready.
pub(super) fn explain_start(process: &Process, death: &Death) -> (String, Option<String>) {
    let places = process.search.as_ref().map(Search::places).unwrap_or_default();
    let elsewhere = process.search.as_ref().is_some_and(|search| !search.elsewhere.is_empty());
    if let Some(condemned) = &process.condemned {
        let hint = if elsewhere {
            "let the command listen on $SOCKET or on $PORT, as in `uvicorn app:app --uds $SOCKET` or \
             `gunicorn --bind 127.0.0.1:$PORT app:app`"
        } else {
            "let the command listen on $SOCKET or on $PORT; if it does and needs longer, raise --start-timeout"
        };
        return (condemned.clone(), Some(hint.to_owned()));
    }
    let words = death.last_words().map_or(String::new(), |words| format!(": {words}"));
    let died = death.explained();
    match death.how {
        // What POSIX makes shells exit with (2.8.2 of the Shell Command Language).
        HowDied::Exit(127) => (
            format!("the shell did not find the command{words}"),
            Some("install it, or name it by its path; PATH is that of hostler, with node_modules/.bin in front".to_owned()),
        ),
        HowDied::Exit(126) => (
            format!("the shell may not execute the command{words}"),
            Some("is it executable? chmod +x FILE, or name its interpreter: python3 FILE".to_owned()),
        ),
        HowDied::Exit(0) => (
            format!("the command ended with code 0 before it accepted a connection, {places}"),
            Some(
                "a server must stay in the foreground: leave out --daemon and a trailing `&`".to_owned(),
            ),
        ),
        _ => (format!("the command {died} before it accepted a connection, {places}{words}"), None),
    }
}
