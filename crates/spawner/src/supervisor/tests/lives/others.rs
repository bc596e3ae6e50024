//! The part of the world that upgrades are made of: proxies beside the one that serves, and programs that follow each other.

use super::*;

impl World {
    pub(super) fn upgrade(&mut self) -> Event {
        let (cause, ticket) = ("hostler upgrade".to_owned(), self.ticket());
        Event::Upgrade { cause, program: "/opt/new/hostler".into(), ticket }
    }

    /// The successor does something by itself.
    pub(super) fn successor_chance(&mut self) -> Option<Event> {
        match self.dice.roll(12) {
            0 => Some(Event::SuccessorExited(Death::default())),
            1 => Some(Event::SuccessorMessage(FromProxy::Failed { why: "no ring".into() })),
            _ => Some(Event::SuccessorMessage(FromProxy::Serving {
                io: IoChoice::Epoll,
                io_reason: String::new(),
                program: match self.dice.roll(8) {
                    0 => ProgramFacts::default(),
                    _ => ProgramFacts::own(),
                },
            })),
        }
    }

    /// The supervisor dies, and the next one takes over.
    pub(super) fn another_supervisor(&mut self) -> Option<Event> {
        let is_birth = |event: &Event| {
            matches!(
                event,
                Event::WorkerSpawned { .. }
                    | Event::ProxySpawned { .. }
                    | Event::SuccessorSpawned
                    | Event::ReleaseRead(_)
                    | Event::Tried(_)
            )
        };
        // These come within the same moment, and the state is kept behind them.
        if self.soon.iter().any(|(_, event)| is_birth(event)) || !self.proxy_lives {
            return None;
        }
        let state = serde_json::to_vec(&self.machine).expect("written");
        self.machine = serde_json::from_slice(&state).expect("read");
        self.machine.resume(self.now_ms);
        self.tickets.clear();
        // What the proxies have said meanwhile nobody has heard.
        let is_word =
            |event: &Event| matches!(event, Event::ProxyMessage(_) | Event::RetiredMessage { .. });
        self.soon.retain(|(_, event)| !is_word(event));
        if self.others.contains(&Target::Successor) {
            self.soon(50, Event::SuccessorExited(Death::default()));
        }
        for other in self.others.clone() {
            // It sees the end of its supervisor, finishes and ends.
            if let Target::Retired(proxy) = other {
                let death = Death { how: HowDied::Unknown, ..Death::default() };
                self.soon(9_000, Event::RetiredExited { proxy, death });
            }
        }
        Some(Event::Adopted)
    }

    pub(super) fn other_gone(&mut self, gone: Target) {
        self.others.retain(|target| *target != gone);
    }

    pub(super) fn act_on_others(&mut self, action: Action) {
        match action {
            Action::SpawnSuccessor { .. } => {
                assert!(!self.others.contains(&Target::Successor), "two successors");
                assert_eq!(self.stop_sent_ms, None, "a proxy is started during a stop");
                self.others.push(Target::Successor);
                self.soon(3, Event::SuccessorSpawned);
            }
            Action::TellSuccessor(ToProxy::WorkerReady(address)) if self.dice.roll(6) > 0 => {
                let message = FromProxy::WorkerServing { worker: address.worker };
                self.soon(20, Event::SuccessorMessage(message));
            }
            Action::TryProgram { .. } => {
                let result = match self.dice.roll(8) {
                    0 => Err("the state is not understood".to_owned()),
                    _ => Ok(()),
                };
                self.soon(50, Event::Tried(result));
            }
            Action::HandOver { .. } => {
                // Whatever it is in the middle of.
                let state = serde_json::to_vec(&self.machine).expect("written");
                self.machine = serde_json::from_slice(&state).expect("read");
                self.machine.resume(self.now_ms);
                let event = match self.dice.roll(4) {
                    0 => Event::HandOverFailed("not understood".to_owned()),
                    _ => Event::TookOver { from: "0.1.0".to_owned() },
                };
                // Nothing comes between.
                self.step(event);
            }
            Action::Crown { retired } => {
                for target in &mut self.others {
                    if *target == Target::Successor {
                        *target = Target::Retired(retired);
                    }
                }
                // What was on its way from the two is from others now; the dice make new news.
                self.soon.retain(|(_, event)| !is_of_proxies(event));
            }
            Action::TellRetired(proxy, ToProxy::Retire { .. } | ToProxy::Drain { .. })
                if self.dice.roll(4) > 0 =>
            {
                let death = Death { how: HowDied::Exit(0), ..Death::default() };
                self.soon(9_000, Event::RetiredExited { proxy, death });
            }
            Action::TellRetired(proxy, ToProxy::WorkerDrain { worker, drain })
                if self.dice.roll(4) > 0 =>
            {
                let message = FromProxy::WorkerDrained { worker, drain };
                self.soon(9_000, Event::RetiredMessage { proxy, message });
            }
            _ => {}
        }
    }
}

fn is_of_proxies(event: &Event) -> bool {
    matches!(
        event,
        Event::ProxyMessage(_)
            | Event::ProxyExited(_)
            | Event::ProxyHungUp
            | Event::SuccessorMessage(_)
            | Event::SuccessorExited(_)
    )
}
