//! A release: what the workers of one generation run.
//!
//! Owns: its number and what the machine has to know of the app. Must never know: how a process of it is made.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::config::{AppSpec, Launch};
use crate::worker_command;

/// What a worker process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Node with a script: the loader tells when it is ready.
    Script,
    /// A command: it is ready when it accepts connections.
    Command,
}

/// One state of the app's code and settings. Workers that are started again run what their release says, whatever has been
/// changed on disk or in the configuration since.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    /// Counts from 1; each reload takes the next number, also one that fails.
    pub(crate) generation: u32,
    /// What is started, with the app's folder as it was then.
    pub(crate) spec: AppSpec,
}

impl Release {
    /// Fixes what the names on disk lead to at this moment, so that a link like `current` may be moved at any time.
    pub(crate) fn new(generation: u32, mut spec: AppSpec) -> Rc<Self> {
        if let Ok(real) = spec.cwd.canonicalize() {
            spec.cwd = real;
        }
        // Its folder, and not the file: a link in node_modules/.bin is started by its own name.
        if let Launch::Script { script, .. } = &mut spec.launch
            && let (Some(folder), Some(name)) = (script.parent(), script.file_name())
            && let Ok(real) = folder.canonicalize()
        {
            *script = real.join(name);
        }
        Rc::new(Self { generation, spec })
    }

    pub(super) fn kind(&self) -> Kind {
        match self.spec.launch {
            Launch::Script { .. } => Kind::Script,
            Launch::Command { .. } => Kind::Command,
        }
    }

    /// The workers' command line, as shown.
    pub(super) fn command(&self) -> String {
        worker_command::shown(&self.spec)
    }

    /// The workers' folder, as shown.
    pub(super) fn cwd(&self) -> String {
        self.spec.cwd.display().to_string()
    }
}
