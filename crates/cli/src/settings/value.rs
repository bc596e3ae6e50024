//! One setting: its value, where it came from, and reading it from text.
//!
//! Owns: the precedence (option, environment, file, default) and the form of the error messages. Must never know:
//! which settings exist. Used by `settings`.

use std::fmt;
use std::ops::RangeInclusive;

use clap::ValueEnum;

use crate::app_entry::AppEntryError;
use crate::config_file::keys::names;
use crate::config_file::{ConfigError, Place, Said, one_line};
use crate::units::{parse_duration_ms, parse_size_bytes, show_duration_ms, show_size_bytes};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Typed on the command line.
    Option,
    /// An environment variable.
    Environment(&'static str),
    /// The configuration file.
    File(Place),
    /// Nothing was said.
    Default,
    /// Nothing was said, and the value depends on this.
    DefaultBecause(String),
}

impl Source {
    /// Somebody chose the value; nothing that the app says changes it.
    pub(crate) fn is_chosen(&self) -> bool {
        matches!(self, Self::Option | Self::Environment(_) | Self::File(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option => out.write_str("option"),
            Self::Environment(name) => write!(out, "environment: {name}"),
            Self::File(place) => write!(out, "{}:{}", place.file, place.line),
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
    /// What was chosen, else the default.
    pub(crate) fn chosen_or(chosen: Option<Self>, default: T) -> Self {
        chosen.unwrap_or(Self { value: default, source: Source::Default })
    }

    /// A default that needs a reason.
    pub(crate) fn because(value: T, why: impl Into<String>) -> Self {
        Self { value, source: Source::DefaultBecause(why.into()) }
    }
}

/// A wrong setting. Every message names the option, the value and what is expected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{name}: `{}` is not usable: {expected} is expected", one_line(.value))]
    BadValue { name: String, value: String, expected: String },
    #[error("{name}: {why}")]
    BadAddress { name: String, why: String },
    #[error(transparent)]
    NoApp(#[from] AppEntryError),
    #[error("{place}: {}", flat(.error))]
    NoAppOfFile { place: Place, error: AppEntryError },
    #[error("{file}: server.listen: the array is empty: at least one address is expected")]
    NoAddress { file: String },
    #[error(
        "{place}: there is a path, too ({}); leave one of them out: cwd is the folder that a command runs in",
        one_line(.path)
    )]
    PathAndCommand { place: Place, path: String },
    #[error("{place}: {why}")]
    BadVariable { place: Place, why: String },
    #[error("{name}: {why}; install Node.js, or name its binary with --node PATH")]
    NoNode { name: String, why: String },
    #[error(
        "{name}: {path} is not named `node`, which is what a command looks for in PATH; name a binary called node, or put \
         the right one into PATH yourself"
    )]
    OddNode { name: String, path: String },
    #[error(
        "{name}: {dir} is {bytes} bytes long, at most {bytes_max} are possible, because the path of a unix \
         socket in it may have 107; choose a shorter one"
    )]
    LongRuntimeDir { name: String, dir: String, bytes: usize, bytes_max: usize },
    #[error(
        "--runtime-dir: neither XDG_RUNTIME_DIR nor HOME is set, so there is no default; name a folder"
    )]
    NoRuntimeDir,
    #[error("the current folder is not known: {0}")]
    NoCurrentFolder(std::io::Error),
}

/// Lists become one line, as all that is said of a file.
fn flat(error: &AppEntryError) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A text and what it is called in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// `--workers` or `WEB_CONCURRENCY`.
    pub(crate) name: &'a str,
    /// As typed.
    pub(crate) text: &'a str,
    /// In a file a bare number says nothing about its unit, not even to people who know that sizes are in bytes.
    pub(crate) unit_needed: bool,
}

impl<'a> Named<'a> {
    /// An option or an environment variable.
    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, unit_needed: false }
    }

    /// Says what is wrong.
    pub(crate) fn expected(self, expected: String) -> SettingsError {
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
        let has_unit = self.text.ends_with(|c: char| c.is_ascii_alphabetic());
        let bytes = parse_size_bytes(self.text).filter(|bytes| range.contains(bytes));
        bytes.filter(|_| has_unit || !self.unit_needed).ok_or_else(|| {
            let form = match self.unit_needed {
                true => "a size with a unit (800B, 16K, 4M, 1G)",
                false => "a size (800, 16K, 4M, 1G)",
            };
            let (least, most) = (show_size_bytes(*range.start()), show_size_bytes(*range.end()));
            self.expected(format!("{form} from {least} to {most}"))
        })
    }

    /// One of the values of an option.
    pub(crate) fn choice<E: ValueEnum>(self) -> Result<E, SettingsError> {
        E::from_str(self.text.trim(), false).map_err(|_| {
            let names = names::<E>();
            let (last, others) = names.split_last().expect("an option has values");
            self.expected(format!("{} or {last}", others.join(", ")))
        })
    }

    /// true or false, also as the option's on and off.
    pub(crate) fn on_off(self) -> Result<bool, SettingsError> {
        match self.text.trim() {
            "true" | "on" => Ok(true),
            "false" | "off" => Ok(false),
            _ => Err(self.expected("true or false".to_owned())),
        }
    }
}

impl Said {
    /// Reads it; its name in messages is the file, the line and the key.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(Named<'_>) -> Result<T, SettingsError>,
    ) -> Result<Setting<T>, SettingsError> {
        let name = self.place.to_string();
        let value = read(Named { name: &name, text: &self.text, unit_needed: true })?;
        Ok(Setting { value, source: Source::File(self.place.clone()) })
    }
}

/// A setting where it may be said: by an option, in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// `--workers`.
    pub(crate) option: &'a str,
    /// Its text.
    pub(crate) typed: Option<&'a str>,
    /// The key of the same name.
    pub(crate) said: Option<&'a Said>,
}

impl Places<'_> {
    /// What was chosen, none if nothing was said. A wrong file is an error even where an option overrules it: nobody wants to find
    /// that out on the day the option is gone.
    pub(crate) fn read<T>(
        self,
        read: impl Fn(Named<'_>) -> Result<T, SettingsError>,
    ) -> Result<Option<Setting<T>>, SettingsError> {
        let of_file = self.said.map(|said| said.read(&read)).transpose()?;
        match self.typed {
            Some(text) => {
                let value = read(Named::new(self.option, text))?;
                Ok(Some(Setting { value, source: Source::Option }))
            }
            None => Ok(of_file),
        }
    }
}

/// Reads an option that no file has.
pub(crate) fn read_or<T>(
    option: &str,
    typed: Option<&str>,
    default: T,
    read: impl Fn(Named<'_>) -> Result<T, SettingsError>,
) -> Result<Setting<T>, SettingsError> {
    let chosen = Places { option, typed, said: None }.read(read)?;
    Ok(Setting::chosen_or(chosen, default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Named<'_> {
        Named::new("--x", text)
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
    fn options_overrule_the_file_which_is_read_all_the_same() {
        let place = Place { file: "h.toml".into(), line: 3, key: "server.x".into() };
        let said = |text: &str| Said { text: text.into(), raw: text.into(), place: place.clone() };
        let read = |typed, said: &Said| {
            let places = Places { option: "--x", typed, said: Some(said) };
            places.read(|text| text.count(&(1..=8)))
        };
        let of_file = read(None, &said("4")).expect("good").expect("said");
        assert_eq!((of_file.value, of_file.source.to_string()), (4, "h.toml:3".to_owned()));
        let typed = read(Some("5"), &said("4")).expect("good").expect("said");
        assert_eq!(typed, Setting { value: 5, source: Source::Option });
        let error = read(Some("5"), &said("9")).expect_err("bad").to_string();
        assert!(error.starts_with("h.toml:3: server.x: `9` is not usable"), "{error}");
    }

    #[test]
    fn in_a_file_sizes_need_a_unit() {
        let read =
            |text, unit_needed| Named { name: "x", text, unit_needed }.size_bytes(&(0..=1 << 20));
        assert_eq!(read("800", false).expect("bytes"), 800);
        assert_eq!(read("800B", true).expect("bytes"), 800);
        let error = read("800", true).expect_err("no unit").to_string();
        assert!(error.contains("a size with a unit"), "{error}");
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
