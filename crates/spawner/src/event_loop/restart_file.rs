//! `tmp/restart.txt`: a reload by `touch`, as people know it from Passenger.
//!
//! Owns: how often the file is looked at, and what it looked like. Must never know: what a reload is.
//!
//! Looked at once a second instead of watched: the folder may come and go, and the path may lead through a link that is moved
//! with each release; one `stat` a second is nothing.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Between two looks.
const LOOK_MS: u64 = 1_000;

/// The file, as last seen.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RestartFile {
    path: PathBuf,
    touched: Option<SystemTime>,
    next_ms: u64,
}

impl RestartFile {
    /// What is there now means nothing.
    pub(super) fn new(path: PathBuf) -> Self {
        let mut file = Self { path, touched: None, next_ms: LOOK_MS };
        file.touched = file.time();
        file
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        Some(self.next_ms)
    }

    /// Gives the cause of a reload if somebody has touched the file.
    pub(super) fn look(&mut self, now_ms: u64) -> Option<String> {
        if now_ms < self.next_ms {
            return None;
        }
        self.next_ms = now_ms + LOOK_MS;
        let touched = self.time();
        let is_new = touched.is_some() && touched != self.touched;
        self.touched = touched;
        is_new.then(|| format!("{} was touched", self.path.display()))
    }

    fn time(&self) -> Option<SystemTime> {
        self.path.metadata().and_then(|facts| facts.modified()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_touch_counts_once_and_what_was_there_before_does_not() {
        let path = std::env::temp_dir().join(format!("hostler-restart-{}.txt", std::process::id()));
        let touch = |seconds| {
            let file = File::create(&path).expect("made");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("set");
        };
        touch(1_000);
        let mut file = RestartFile::new(path.clone());
        assert_eq!(file.look(LOOK_MS), None);
        touch(2_000);
        assert_eq!(file.look(LOOK_MS + 1), None, "too early");
        assert!(file.look(2 * LOOK_MS).is_some_and(|cause| cause.contains("was touched")));
        assert_eq!(file.look(3 * LOOK_MS), None);
        fs::remove_file(&path).expect("removed");
        assert_eq!(file.look(4 * LOOK_MS), None, "its end is no wish");
        touch(2_000);
        assert!(file.look(5 * LOOK_MS).is_some(), "a new file is");
        fs::remove_file(&path).expect("removed");
    }
}
