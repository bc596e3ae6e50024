//! The configuration file `hostler.toml`: found, read, and turned into what was typed in it.
//!
//! Owns: the way from a path to [`ConfigFile`], in which every value knows its line and its key. Must never know:
//! which values are good, defaults, or what overrules them; `settings` knows. A key is added in [`keys`].

mod error;
mod expand;
mod json;
pub(crate) mod keys;
mod kinds;
mod locate;
mod read;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod typed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use error::{Text, problem_of};
use keys::{AppKeys, Keys, ServerKeys};

pub(crate) use error::{ConfigError, Place, one_line};
pub(crate) use expand::mentions;
pub(crate) use kinds::Kind;
pub(crate) use locate::{SYSTEM_FILE, Search, find};
pub(crate) use schema::schema;
pub(crate) use typed::Typed;

/// A file that was read, or none: then nothing is set in it.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// How it was found, and its name in messages.
    pub(crate) found: Found,
    /// Relative paths in the file begin here; absolute, links are kept.
    pub(crate) folder: PathBuf,
    /// `[server]`.
    pub(crate) server: ServerKeys,
    /// The one `[[app]]`.
    pub(crate) app: AppKeys,
    text: Text,
    /// From where a value begins to what it is called, `app[0].queue_timeout`.
    paths: BTreeMap<usize, String>,
}

/// How a file was found, with its name as shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is none, or none was wanted.
    Nowhere,
    /// By `--config`.
    Named(String),
    /// In the folder that was typed as PATH, which so is no other app than the file's.
    AtPath(String),
    /// In the current folder.
    Here(String),
    /// The machine's own.
    System(String),
}

impl Found {
    /// The name as shown to people.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Nowhere => "none",
            Self::Named(file) | Self::AtPath(file) | Self::Here(file) | Self::System(file) => file,
        }
    }

    /// How, in words.
    pub(crate) fn how(&self) -> &'static str {
        match self {
            Self::Nowhere => "default",
            Self::Named(_) => "option",
            Self::AtPath(_) => "in the folder PATH",
            Self::Here(_) => "in this folder",
            Self::System(_) => "the machine's own",
        }
    }
}

/// A value of the file as text, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// With variables in their place.
    pub(crate) text: String,
    /// As it stands in the file.
    pub(crate) raw: String,
    /// Where.
    pub(crate) place: Place,
}

impl ConfigFile {
    /// No file.
    pub(crate) fn none(folder: &Path) -> Self {
        Self {
            found: Found::Nowhere,
            folder: folder.to_owned(),
            server: ServerKeys::default(),
            app: AppKeys::default(),
            text: Text::new("", String::new()),
            paths: BTreeMap::new(),
        }
    }

    /// Reads a file. `shown` is its name in messages; what ends in `.json` is JSON, everything else TOML.
    pub(crate) fn load(path: &Path, shown: &str) -> Result<Self, ConfigError> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        Self::parse(Text::new(shown, read::read(path, shown)?), folder, is_json)
    }

    fn parse(text: Text, folder: PathBuf, is_json: bool) -> Result<Self, ConfigError> {
        if text.as_str().trim().is_empty() {
            return Err(ConfigError::Empty { file: text.file().to_owned() });
        }
        let root = match is_json {
            true => json::parse(&text)?,
            false => DeTable::parse(text.as_str())
                .map_err(|error| text.syntax_error(error.span(), error.message()))?,
        };
        let mut paths = BTreeMap::new();
        name_table(root.get_ref(), "", &mut paths);
        check_shape(root.get_ref(), &text)?;
        let keys: Keys = serde_path_to_error::deserialize(Deserializer::from(root))
            .map_err(|error| problem_of(&text, &error))?;
        Ok(Self {
            found: Found::Named(text.file().to_owned()),
            folder,
            server: keys.server,
            app: keys.app.into_iter().next().unwrap_or_default(),
            text,
            paths,
        })
    }

    /// A value of this file, with variables in their place unless its kind leaves `$` to others. `env` is an environment
    /// variable; none if it is not set or empty.
    pub(crate) fn said<K: Kind>(
        &self,
        value: Option<&Typed<K>>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Said>, ConfigError> {
        let Some(value) = value else { return Ok(None) };
        let place = self.place(value);
        let Some(raw) = value.text(K::STRING_ONLY) else {
            let found = self.text.excerpt(value.span());
            return Err(ConfigError::WrongType { place, found, expected: K::EXPECTED });
        };
        let text = match K::EXPANDED {
            true => expand::expand(raw, env),
            false => Ok(raw.to_owned()),
        };
        let good = text.and_then(|text| match text.contains('\0') {
            true => Err("it holds a NUL character, which no program can be given".to_owned()),
            false => Ok(text),
        });
        match good {
            Ok(text) => Ok(Some(Said { text, raw: raw.to_owned(), place })),
            Err(why) => Err(ConfigError::BadText { place, found: one_line(raw), why }),
        }
    }

    fn place<K>(&self, value: &Typed<K>) -> Place {
        let start = value.span().start;
        let key = self.paths.get(&start).cloned().unwrap_or_default();
        self.text.place(start, key)
    }
}

/// Notes where each value begins and what it is called.
fn name_table(table: &DeTable<'_>, above: &str, paths: &mut BTreeMap<usize, String>) {
    for (key, value) in table {
        let dot = if above.is_empty() { "" } else { "." };
        name_value(value, format!("{above}{dot}{}", key.get_ref()), paths);
    }
}

fn name_value(value: &Spanned<DeValue<'_>>, path: String, paths: &mut BTreeMap<usize, String>) {
    match value.get_ref() {
        DeValue::Table(table) => name_table(table, &path, paths),
        DeValue::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                name_value(element, format!("{path}[{index}]"), paths);
            }
        }
        _ => {}
    }
    paths.insert(value.span().start, path);
}

/// What serde would take or put in words of its own: it fills a struct from an array, too.
fn check_shape(root: &DeTable<'_>, text: &Text) -> Result<(), ConfigError> {
    if let Some(server) = root.get("server") {
        check_table(server, "server", "a table is expected: [server]", text)?;
    }
    let Some(apps) = root.get("app") else { return Ok(()) };
    let Some(array) = apps.get_ref().as_array() else {
        let place = text.place(apps.span().start, "app".to_owned());
        return Err(ConfigError::AppIsNoArray { place });
    };
    if let Some(second) = array.get(1) {
        let place = text.place(second.span().start, "app[1]".to_owned());
        return Err(ConfigError::SecondApp { place });
    }
    let Some(app) = array.first() else { return Ok(()) };
    check_table(app, "app[0]", "a table is expected: [[app]]", text)?;
    match app.get_ref().get("env") {
        Some(env) => {
            check_table(env, "app[0].env", "a table is expected: { NAME = \"value\" }", text)
        }
        None => Ok(()),
    }
}

fn check_table(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    expected: &str,
    text: &Text,
) -> Result<(), ConfigError> {
    match value.get_ref() {
        DeValue::Table(_) => Ok(()),
        _ => Err(ConfigError::WrongShape {
            place: text.place(value.span().start, key.to_owned()),
            why: expected.to_owned(),
        }),
    }
}
