//! What happened lately, for `hostler events`.
//!
//! Owns: the last lines that were logged about the instance, and their bound. Must never know: what they mean.

use std::collections::VecDeque;

use hostler_protocol::control::{EventLevel, EventLine};
use serde::{Deserialize, Serialize};

use crate::output::timestamp;
use crate::supervisor::Level;

/// A day with a reload each hour, or a bad quarter of an hour.
const EVENTS_MAX: usize = 500;

/// What is shown of a long one.
const TEXT_CHARS_MAX: usize = 500;

/// The last events, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct History {
    events: VecDeque<EventLine>,
}

impl History {
    pub(super) fn add(&mut self, level: Level, text: &str) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        let level = match level {
            Level::Info => EventLevel::Info,
            Level::Warn => EventLevel::Warn,
            Level::Error => EventLevel::Error,
        };
        let text = text.chars().take(TEXT_CHARS_MAX).collect();
        self.events.push_back(EventLine { time: timestamp::now(), level, text });
    }

    pub(super) fn lines(&self) -> Vec<EventLine> {
        self.events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_long_ones_are_cut() {
        let mut history = History::default();
        for number in 0..EVENTS_MAX + 2 {
            history.add(Level::Info, &format!("{number} {}", "x".repeat(1_000)));
        }
        let lines = history.lines();
        assert_eq!(lines.len(), EVENTS_MAX);
        assert!(lines[0].text.starts_with("2 "), "{}", lines[0].text);
        assert!(lines.iter().all(|line| line.text.chars().count() == TEXT_CHARS_MAX));
    }
}
