//! One setting: its value, where it came from, and reading it from text.
//!
//! Owns: the precedence (option, environment, default) and the form of the error messages. Must never know:
//! which settings exist. Used by `settings`.

use std::fmt;
use std::ops::RangeInclusive;

use crate::app_entry::AppEntryError;
use crate::units::{parse_duration_ms, parse_size_bytes, show_duration_ms, show_size_bytes};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Typed on the command line.
    Option,
    /// An environment variable.
    Environment(&'static str),
    /// Nothing was said.
    Default,
    /// Nothing was said, and the value depends on this.
    DefaultBecause(String),
}

impl Source {
    /// Somebody chose the value; nothing that the app says changes it.
    pub(crate) fn is_chosen(&self) -> bool {
        matches!(self, Self::Option | Self::Environment(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option => out.write_str("option"),
            Self::Environment(name) => write!(out, "environment: {name}"),
            Self::Default => out.write_str("default"),
            Self::DefaultBecause(why) => write!(out, "default: {why}"),
        }
    }
}

/// A value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    /// The effective value.
    pub(crate) value: T,
    /// Where it came from.
    pub(crate) source: Source,
}

impl<T> Setting<T> {
    /// What was typed, else the default.
    pub(crate) fn typed_or(typed: Option<T>, default: T) -> Self {
        match typed {
            Some(value) => Self { value, source: Source::Option },
            None => Self { value: default, source: Source::Default },
        }
    }

    /// A default that needs a reason.
    pub(crate) fn because(value: T, why: impl Into<String>) -> Self {
        Self { value, source: Source::DefaultBecause(why.into()) }
    }
}

/// A wrong setting. Every message names the option, the value and what is expected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{name}: `{value}` is not usable: {expected} is expected")]
    BadValue { name: String, value: String, expected: String },
    #[error("{name}: {why}")]
    BadAddress { name: String, why: String },
    #[error(transparent)]
    NoApp(#[from] AppEntryError),
    #[error("--node: {why}; install Node.js, or name its binary with --node PATH")]
    NoNode { why: String },
    #[error(
        "--node: {path} is not named `node`, which is what a command looks for in PATH; name a binary called node, or put \
         the right one into PATH yourself"
    )]
    OddNode { path: String },
    #[error(
        "--runtime-dir: {dir} is {bytes} bytes long, at most {bytes_max} are possible, because the path of a unix \
         socket in it may have 107; choose a shorter one"
    )]
    LongRuntimeDir { dir: String, bytes: usize, bytes_max: usize },
    #[error(
        "--runtime-dir: neither XDG_RUNTIME_DIR nor HOME is set, so there is no default; name a folder"
    )]
    NoRuntimeDir,
    #[error("the current folder is not known: {0}")]
    NoCurrentFolder(std::io::Error),
}

/// A text and what it is called in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// `--workers` or `WEB_CONCURRENCY`.
    pub(crate) name: &'a str,
    /// As typed.
    pub(crate) text: &'a str,
}

impl Named<'_> {
    pub(super) fn expected(self, expected: String) -> SettingsError {
        SettingsError::BadValue {
            name: self.name.to_owned(),
            value: self.text.to_owned(),
            expected,
        }
    }

    /// A whole number within the range.
    pub(crate) fn count(self, range: &RangeInclusive<u32>) -> Result<u32, SettingsError> {
        let number = self.text.trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            self.expected(format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A whole number within the range, `None` for `auto`.
    pub(crate) fn count_or_auto(
        self,
        range: &RangeInclusive<u32>,
    ) -> Result<Option<u32>, SettingsError> {
        self.count_or("auto", range)
    }

    /// A whole number within the range, `None` for that word.
    pub(crate) fn count_or(
        self,
        word: &str,
        range: &RangeInclusive<u32>,
    ) -> Result<Option<u32>, SettingsError> {
        if self.text.trim() == word {
            return Ok(None);
        }
        self.count(range).map(Some).map_err(|_| {
            self.expected(format!(
                "{word} or a whole number from {} to {}",
                range.start(),
                range.end()
            ))
        })
    }

    /// `None` for `none`, else what `read` makes of it.
    pub(crate) fn or_none<T>(
        self,
        read: impl FnOnce(Self) -> Result<T, SettingsError>,
    ) -> Result<Option<T>, SettingsError> {
        if self.text.trim() == "none" { Ok(None) } else { read(self).map(Some) }
    }

    /// A duration within the range, in milliseconds.
    pub(crate) fn duration_ms(self, range: &RangeInclusive<u32>) -> Result<u32, SettingsError> {
        let ms = parse_duration_ms(self.text).and_then(|ms| u32::try_from(ms).ok());
        ms.filter(|ms| range.contains(ms)).ok_or_else(|| {
            self.expected(format!(
                "a duration with a unit (500ms, 10s, 2m, 1h) from {} to {}",
                show_duration_ms(u64::from(*range.start())),
                show_duration_ms(u64::from(*range.end()))
            ))
        })
    }

    /// A size within the range, in bytes.
    pub(crate) fn size_bytes(self, range: &RangeInclusive<u64>) -> Result<u64, SettingsError> {
        let bytes = parse_size_bytes(self.text).filter(|bytes| range.contains(bytes));
        bytes.ok_or_else(|| {
            self.expected(format!(
                "a size (800, 16K, 4M, 1G) from {} to {}",
                show_size_bytes(*range.start()),
                show_size_bytes(*range.end())
            ))
        })
    }
}

/// Reads an optional option with its default.
pub(crate) fn read_or<T>(
    name: &str,
    typed: Option<&str>,
    default: T,
    read: impl FnOnce(Named<'_>) -> Result<T, SettingsError>,
) -> Result<Setting<T>, SettingsError> {
    let value = typed.map(|text| read(Named { name, text })).transpose()?;
    Ok(Setting::typed_or(value, default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Named<'_> {
        Named { name: "--x", text }
    }

    #[test]
    fn counts() {
        assert_eq!(named(" 7 ").count(&(1..=8)).expect("good"), 7);
        for text in ["0", "9", "-1", "x", "", "1.5"] {
            let error = named(text).count(&(1..=8)).expect_err(text).to_string();
            assert_eq!(
                error,
                format!("--x: `{text}` is not usable: a whole number from 1 to 8 is expected")
            );
        }
        assert_eq!(named("auto").count_or_auto(&(1..=8)).expect("good"), None);
        assert_eq!(named("8").count_or_auto(&(1..=8)).expect("good"), Some(8));
        let error = named("all").count_or_auto(&(1..=8)).expect_err("bad").to_string();
        assert!(error.contains("auto or a whole number from 1 to 8"), "{error}");
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(named("2s").duration_ms(&(100..=3_600_000)).expect("good"), 2_000);
        let error = named("2").duration_ms(&(100..=3_600_000)).expect_err("no unit").to_string();
        assert!(error.contains("with a unit") && error.contains("from 100ms to 1h"), "{error}");
        assert!(named("99999h").duration_ms(&(0..=u32::MAX)).is_err());
        assert_eq!(named("16K").size_bytes(&(1_024..=65_536)).expect("good"), 16_384);
        let error = named("1G").size_bytes(&(1_024..=65_536)).expect_err("large").to_string();
        assert!(error.contains("from 1K to 64K"), "{error}");
    }

    #[test]
    fn typed_wins_over_the_default() {
        let typed = read_or("--x", Some("3"), 1, |text| text.count(&(1..=8))).expect("good");
        assert_eq!(typed, Setting { value: 3, source: Source::Option });
        let silent = read_or("--x", None, 1, |text| text.count(&(1..=8))).expect("good");
        assert_eq!(silent, Setting { value: 1, source: Source::Default });
    }

    #[test]
    fn sources_read_well() {
        assert_eq!(Source::Environment("PORT").to_string(), "environment: PORT");
        assert_eq!(
            Source::DefaultBecause("2 usable cores".into()).to_string(),
            "default: 2 usable cores"
        );
    }
}
