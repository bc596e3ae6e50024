//! Commands of the command line, done.
//!
//! Owns: what each request leads to. Must never know: how requests and answers travel (`control`).

use hostler_protocol::control::{CommandAnswer, CommandRequest, ProxyStatus, ToProxy};

use super::control::ClientId;
use super::{EventLoop, status};
use crate::outcome::Ticket;
use crate::supervisor::{Event, Scale, Target};

impl EventLoop<'_> {
    pub(super) fn command(&mut self, client: ClientId, request: &CommandRequest) {
        let now_ms = self.now_ms();
        match request {
            CommandRequest::Stop => {
                self.control.answer(client, &CommandAnswer::Accepted, true, now_ms);
                self.events.push_back(Event::StopCommand);
            }
            CommandRequest::Events => {
                let answer = CommandAnswer::Events { events: self.history.lines() };
                self.control.answer(client, &answer, false, now_ms);
            }
            CommandRequest::Reload { app } => {
                self.want_reload("hostler reload", client, app.as_deref(), false);
            }
            CommandRequest::Rollback { app } => {
                self.want_reload("hostler rollback", client, app.as_deref(), true);
            }
            CommandRequest::Upgrade { program } => match Self::upgrade_program(program) {
                Ok(program) => {
                    let (cause, ticket) = ("hostler upgrade".to_owned(), Some(Ticket(client.0)));
                    self.events.push_back(Event::Upgrade { cause, program, ticket });
                }
                Err(why) => {
                    self.control.answer(client, &CommandAnswer::Refused { why }, false, now_ms);
                }
            },
            CommandRequest::Scale { app, workers, change } => {
                if self.is_meant(client, app.as_deref()) {
                    let scale = workers.map_or(Scale::By(*change), Scale::To);
                    let (cause, ticket) = ("hostler scale".to_owned(), Some(Ticket(client.0)));
                    self.events.push_back(Event::Scale { cause, scale, ticket });
                }
            }
            CommandRequest::Status => {
                let request = self.status.ask(client, now_ms);
                let sent = self.link.as_mut().map(|link| link.send(&ToProxy::Status { request }));
                match sent {
                    Some(Ok(())) => {}
                    Some(Err(error)) => self.drop_link(&error),
                    None => {
                        for client in self.status.answered(request) {
                            self.answer_status(client, None);
                        }
                    }
                }
            }
        }
    }

    fn want_reload(&mut self, cause: &str, client: ClientId, app: Option<&str>, back: bool) {
        if self.is_meant(client, app) {
            let ticket = Some(Ticket(client.0));
            self.events.push_back(Event::Reload { cause: cause.to_owned(), ticket, back });
        }
    }

    /// Is it our app? The client is told if it is not.
    fn is_meant(&mut self, client: ClientId, app: Option<&str>) -> bool {
        let own = &self.config.app.name;
        let Some(other) = app.filter(|app| app != own) else {
            return true;
        };
        let why = format!("no app `{other}` runs here; there is `{own}`");
        self.control.answer(client, &CommandAnswer::Refused { why }, false, self.now_ms());
        false
    }

    /// A client that has left meanwhile is not missed.
    pub(super) fn answer_ticket(&mut self, ticket: Ticket, answer: &CommandAnswer) {
        self.control.answer(ClientId(ticket.0), answer, false, self.now_ms());
    }

    pub(super) fn answer_status(&mut self, client: ClientId, proxy: Option<ProxyStatus>) {
        let now_ms = self.now_ms();
        let facts = status::Facts {
            state: self.machine.state(),
            uptime_s: now_ms / 1000,
            runtime_dir: self.dir.path().display().to_string(),
            proxy_pid: self.children.pid(Target::Proxy),
            listeners: self.listeners.names.clone(),
        };
        let status = status::gather(facts, self.machine.worker_status(now_ms), proxy);
        let answer = CommandAnswer::Status(Box::new(status));
        self.control.answer(client, &answer, false, now_ms);
    }
}
