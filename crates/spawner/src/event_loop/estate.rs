//! All that one program hands to the next in the same process: the machine, and what the loop has of every child.
//!
//! Owns: what belongs to it, and putting a loop together from it. Must never know: how it gets from one to the other
//! (`crate::hand_over`). Descriptors go along by their numbers (`crate::passed_fd`).

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use hostler_protocol::control::STATE_FORMAT;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::children::Children;
use super::control::ControlServer;
use super::figures::FigureClock;
use super::health::HealthChecks;
use super::history::History;
use super::oom::OomWatch;
use super::orphans::Orphans;
use super::proxy_link::ProxyLink;
use super::restart_file::RestartFile;
use super::service_manager::ServiceManager;
use super::status::StatusDesk;
use super::streams::Streams;
use super::{EventLoop, Kept};
use crate::config::{AppSpec, SupervisorConfig};
use crate::exec;
use crate::listeners::{Listeners, bind_anew};
use crate::outcome::Notice;
use crate::output::Sink;
use crate::passed_fd::{PassedFd, collect};
use crate::run::ReadApp;
use crate::runtime_dir::RuntimeDir;
use crate::supervisor::{Event, HowDied, Machine, Target};

/// Read before anything else: the rest may have another form.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`STATE_FORMAT`] of the writer.
    pub(crate) format: u32,
    /// The writer's version, for people.
    pub(crate) version: String,
    /// What was typed behind the program's name when it all began.
    pub(crate) args: Vec<OsString>,
}

/// What is handed on.
#[derive(Serialize, Deserialize)]
pub(crate) struct Estate<'a> {
    #[serde(flatten)]
    header: Header,
    /// When the instance began, by the clock that this boot of the machine has.
    begun_boot_ms: u64,
    pub(crate) config: Cow<'a, SupervisorConfig>,
    pub(crate) dir: Held<'a, RuntimeDir>,
    pub(crate) listeners: Held<'a, Listeners>,
    loader_dir: Cow<'a, Path>,
    machine: Held<'a, Machine>,
    children: Held<'a, Children>,
    streams: Held<'a, Streams>,
    kept: Vec<(Target, Held<'a, Kept>)>,
    link: Option<Held<'a, ProxyLink>>,
    others: Vec<(Target, Held<'a, ProxyLink>)>,
    /// None where the state is kept: clients of a dead supervisor shall see its end.
    control: Option<Held<'a, ControlServer>>,
    keeper: Held<'a, PassedFd>,
    restart_file: Held<'a, RestartFile>,
    history: Held<'a, History>,
    orphans: Held<'a, Orphans>,
}

/// Borrowed by who writes it, owned by who reads it.
pub(crate) enum Held<'a, T> {
    Lent(&'a T),
    Own(T),
}

impl<T> Held<'_, T> {
    pub(crate) fn own(self) -> T {
        match self {
            Self::Own(value) => value,
            Self::Lent(_) => unreachable!("only what was read is taken apart"),
        }
    }
}

impl<T: Serialize> Serialize for Held<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Lent(value) => value.serialize(serializer),
            Self::Own(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Held<'_, T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Own)
    }
}

impl<'a> EventLoop<'a> {
    /// The state as text, and the descriptors in it: for another program in this process.
    pub(super) fn estate(&self) -> (serde_json::Result<Vec<u8>>, Vec<RawFd>) {
        let others = self.others.iter().map(|(target, link)| (*target, Held::Lent(link)));
        collect(&Estate {
            link: self.link.as_ref().map(Held::Lent),
            others: others.collect(),
            control: Some(Held::Lent(&self.control)),
            ..self.kept_estate()
        })
    }

    /// The same for a supervisor that follows after our death. What is between us and others ends with us.
    pub(super) fn estate_to_keep(&self) -> (serde_json::Result<Vec<u8>>, Vec<RawFd>) {
        collect(&self.kept_estate())
    }

    fn kept_estate(&self) -> Estate<'_> {
        Estate {
            header: Header {
                format: STATE_FORMAT,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                args: std::env::args_os().skip(1).collect(),
            },
            begun_boot_ms: boot_ms().saturating_sub(self.now_ms()),
            config: Cow::Borrowed(self.config),
            dir: Held::Lent(self.dir),
            listeners: Held::Lent(&*self.listeners),
            loader_dir: Cow::Borrowed(&self.loader_dir),
            machine: Held::Lent(&self.machine),
            children: Held::Lent(&self.children),
            streams: Held::Lent(&self.streams),
            kept: self.kept.iter().map(|(target, kept)| (*target, Held::Lent(kept))).collect(),
            link: None,
            others: Vec::new(),
            control: None,
            keeper: Held::Lent(&self.keeper),
            restart_file: Held::Lent(&self.restart_file),
            history: Held::Lent(&self.history),
            orphans: Held::Lent(&self.orphans),
        }
    }
}

/// How a loop came to an instance that others have run before.
pub(crate) enum Origin {
    /// This process has run it as another program.
    Program {
        /// The version of that.
        version: String,
    },
    /// It is the same program again: the other one was of no use.
    Returned {
        /// Why.
        why: String,
    },
    /// The supervisor has died.
    Dead {
        /// To the proxy that has kept everything.
        adopted: Adopted,
        /// What happens next.
        then: Vec<Event>,
    },
}

/// Our ends of the sockets to a proxy that has outlived its supervisor.
pub(crate) struct Adopted {
    pub(crate) control: OwnedFd,
    pub(crate) keeper: OwnedFd,
}

/// What is left of an estate when config, directory and listeners have found their places.
pub(crate) struct Rest {
    begun: Instant,
    loader_dir: PathBuf,
    machine: Machine,
    children: Children,
    streams: Streams,
    kept: HashMap<Target, Kept>,
    link: Option<ProxyLink>,
    others: Vec<(Target, ProxyLink)>,
    control: Option<ControlServer>,
    keeper: PassedFd,
    restart_file: RestartFile,
    history: History,
    orphans: Orphans,
}

/// The parts of an estate that live longer than the loop, and the others.
pub(crate) struct Parts {
    pub(crate) version: String,
    pub(crate) config: SupervisorConfig,
    pub(crate) dir: RuntimeDir,
    pub(crate) listeners: Listeners,
    pub(crate) rest: Rest,
}

impl Rest {
    /// Its workers are what this app's would be.
    pub(crate) fn runs(&self, app: &AppSpec) -> bool {
        self.machine.runs(app)
    }
}

impl Estate<'static> {
    pub(crate) fn into_parts(self) -> Parts {
        let age_ms = boot_ms().saturating_sub(self.begun_boot_ms);
        let now = Instant::now();
        let begun = now.checked_sub(std::time::Duration::from_millis(age_ms)).unwrap_or(now);
        let own = |(target, link): (Target, Held<'static, ProxyLink>)| (target, link.own());
        let rest = Rest {
            begun,
            loader_dir: self.loader_dir.into_owned(),
            machine: self.machine.own(),
            children: self.children.own(),
            streams: self.streams.own(),
            kept: self.kept.into_iter().map(|(target, kept)| (target, kept.own())).collect(),
            link: self.link.map(Held::own),
            others: self.others.into_iter().map(own).collect(),
            control: self.control.map(Held::own),
            keeper: self.keeper.own(),
            restart_file: self.restart_file.own(),
            history: self.history.own(),
            orphans: self.orphans.own(),
        };
        Parts {
            version: self.header.version,
            config: self.config.into_owned(),
            dir: self.dir.own(),
            listeners: self.listeners.own(),
            rest,
        }
    }
}

impl<'a> EventLoop<'a> {
    /// A loop that goes on with an instance. `first` is what it hears first.
    pub(crate) fn resume(
        config: &'a SupervisorConfig,
        dir: &'a RuntimeDir,
        listeners: &'a mut Listeners,
        rest: Rest,
        origin: Origin,
        read_app: &'a mut ReadApp<'a>,
        out: &'a mut dyn FnMut(Notice),
    ) -> io::Result<Self> {
        let control = match rest.control {
            Some(control) => control,
            None => ControlServer::new(bind_anew(&dir.control_socket())?)?,
        };
        let mut resumed = Self {
            config,
            dir,
            listeners,
            loader_dir: rest.loader_dir,
            begun: rest.begun,
            machine: rest.machine,
            events: VecDeque::new(),
            signals: exec::block_signals()?,
            orphans: rest.orphans,
            children: rest.children,
            streams: rest.streams,
            kept: rest.kept,
            link: rest.link,
            others: rest.others,
            control,
            keeper: rest.keeper,
            has_changed: true,
            service: ServiceManager::new(std::env::var_os("NOTIFY_SOCKET").as_deref()),
            status: StatusDesk::default(),
            oom: OomWatch::new(),
            restart_file: rest.restart_file,
            figures: FigureClock::new(),
            health: HealthChecks::default(),
            history: rest.history,
            stdout: Sink::new(io::stdout().as_fd())?,
            read_app,
            out,
            exit: None,
        };
        resumed.begin_from(origin)?;
        let now_ms = resumed.now_ms();
        for (worker, app) in resumed.machine.resume(now_ms) {
            resumed.watch_app(worker, app);
        }
        Ok(resumed)
    }

    fn begin_from(&mut self, origin: Origin) -> io::Result<()> {
        match origin {
            Origin::Program { version } => {
                self.children.watch_again();
                self.events.push_back(Event::TookOver { from: version });
            }
            Origin::Returned { why } => {
                self.children.watch_again();
                self.events.push_back(Event::HandOverFailed(why));
            }
            Origin::Dead { adopted, then } => {
                self.orphans = Orphans::adopt()?;
                self.link = Some(ProxyLink::adopted(adopted.control, adopted.keeper));
                let gone = self.children.adopt();
                self.events.push_back(Event::Adopted);
                for target in gone {
                    self.child_is_gone(target, HowDied::Unknown);
                }
                self.events.extend(then);
            }
        }
        Ok(())
    }

    /// The loader for workers that are started from now on.
    pub(crate) fn use_loader(&mut self, loader_dir: PathBuf) {
        self.loader_dir = loader_dir;
    }
}

/// The clock of [`Instant`], as a number that another program in this boot understands.
fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
