//! What is wrong with a configuration file: always one line that names file, line and key.
//!
//! Owns: lines and columns, the words, "did you mean". Must never know: which keys there are; candidates come with
//! the error. Used by the whole folder.

use std::fmt;
use std::ops::Range;

/// Longer texts are cut in messages.
const SHOWN_CHARS_MAX: usize = 60;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file as shown to people.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// `app[0].queue_timeout`.
    pub(crate) key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, one_line(&self.key))
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{file}: {why}")]
    Unreadable { file: String, why: String },
    #[error("{file}: it is empty; write [server] and [[app]], or start without it (--no-config)")]
    Empty { file: String },
    #[error("{file}:{line}:{column}: {why}")]
    Syntax { file: String, line: usize, column: usize, why: String },
    #[error("{place}: there is no such key; {hint}")]
    UnknownKey { place: Place, hint: String },
    #[error("{place}: {why}")]
    WrongShape { place: Place, why: String },
    #[error("{place}: `{found}` is not usable: {expected} is expected")]
    WrongType { place: Place, found: String, expected: &'static str },
    #[error("{place}: `{found}` is not usable: {why}")]
    BadText { place: Place, found: String, why: String },
    #[error(
        "{place}: an array with one table is expected: write [[app]] with two brackets (in JSON: \"app\": [{{ ... }}])"
    )]
    AppIsNoArray { place: Place },
    #[error(
        "{place}: a second app; one instance serves one app: give the other one a file and a runtime_dir of its own"
    )]
    SecondApp { place: Place },
}

/// A text on one line of a bounded length, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(2 * SHOWN_CHARS_MAX));
    for (index, c) in text.chars().enumerate() {
        if index == SHOWN_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// The text of a file and its name.
#[derive(Debug)]
pub(super) struct Text {
    file: String,
    text: String,
}

impl Text {
    pub(super) fn new(file: &str, text: String) -> Self {
        Self { file: file.to_owned(), text }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The place of what begins at this byte.
    pub(super) fn place(&self, start: usize, key: String) -> Place {
        Place { file: self.file.clone(), line: self.line_and_column(start).0, key }
    }

    /// What stands there, for messages.
    pub(super) fn excerpt(&self, span: Range<usize>) -> String {
        one_line(self.text.get(span).unwrap_or_default())
    }

    pub(super) fn syntax_error(&self, span: Option<Range<usize>>, why: &str) -> ConfigError {
        let (line, column) = self.line_and_column(span.map_or(0, |span| span.start));
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        ConfigError::Syntax { file: self.file.clone(), line, column, why }
    }

    pub(super) fn json_error(&self, error: &serde_json::Error) -> ConfigError {
        let why = error.to_string();
        // serde_json ends its messages with the place.
        let why = why.split(" at line ").next().unwrap_or(&why);
        let (line, column) = (error.line(), error.column());
        ConfigError::Syntax {
            file: self.file.clone(),
            line,
            column,
            why: format!("not JSON: {why}"),
        }
    }

    /// From 1; columns count characters.
    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The error behind serde's: an unknown key, or something of the wrong shape.
pub(super) fn problem_of(
    text: &Text,
    error: &serde_path_to_error::Error<toml::de::Error>,
) -> ConfigError {
    let inner = error.inner();
    let start = inner.span().map_or(0, |span| span.start);
    let path = error.path().to_string();
    let Some((found, known)) = unknown_key(inner.message()) else {
        return ConfigError::WrongShape {
            place: text.place(start, path),
            why: one_line(inner.message()),
        };
    };
    let place = text.place(start, path);
    ConfigError::UnknownKey { place, hint: did_you_mean(found, &known) }
}

/// serde's words for an unknown field; the names are in backquotes.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let (found, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    Some((found, known.split('`').skip(1).step_by(2).collect()))
}

/// The nearest name, or all of them.
pub(super) fn did_you_mean(found: &str, known: &[&str]) -> String {
    /// As in clap: below it a suggestion is more of a riddle.
    const SIMILAR: f64 = 0.7;
    // Options and other tools write `queue-timeout` and `queueTimeout`.
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let likeness = |name: &&&str| strsim::jaro_winkler(&plain(found), &plain(name));
    let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|name| likeness(name) > SIMILAR) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("possible here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_or_all_of_them() {
        let known = ["queue_timeout", "worker_timeout", "workers"];
        for (found, hint) in [
            ("queue-timeout", "did you mean `queue_timeout`?"),
            ("queueTimeout", "did you mean `queue_timeout`?"),
            ("worker", "did you mean `workers`?"),
            ("zzz", "possible here: queue_timeout, worker_timeout, workers"),
        ] {
            assert_eq!(did_you_mean(found, &known), hint, "{found}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let text = Text::new("f", "a\nsüß = [\n".to_owned());
        assert_eq!(text.line_and_column(0), (1, 1));
        assert_eq!(text.line_and_column("a\nsüß".len()), (2, 4));
        assert_eq!(text.line_and_column(999), (3, 1));
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(one_line("a\nb\u{1b}"), r"a\nb\u{1b}");
        assert_eq!(one_line(&"x".repeat(70)), format!("{}...", "x".repeat(60)));
    }
}
