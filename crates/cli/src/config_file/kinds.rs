//! The kinds of values in a configuration file.
//!
//! Owns: of each kind, the schema for editors and what is said of a value whose type is wrong altogether. Must never know: how
//! a text is read; `settings` does that, with the same code as for options. Used by `keys`.

use std::borrow::Cow;
use std::marker::PhantomData;

use clap::ValueEnum;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::typed::{Many, OneOrMany, Typed};

/// What a value may be.
pub(crate) trait Kind {
    /// Ends the sentence "... is expected" for arrays, tables and the like.
    const EXPECTED: &'static str;
    /// A number, true and false are no names and paths.
    const STRING_ONLY: bool = false;
    /// Whether `${NAME}` is a variable of ours.
    const EXPANDED: bool = true;
    /// For editors.
    fn schema() -> Schema;
}

/// A name.
#[derive(Debug)]
pub(crate) enum Name {}
/// A path.
#[derive(Debug)]
pub(crate) enum File {}
/// A line for the shell, which expands its variables itself.
#[derive(Debug)]
pub(crate) enum ShellLine {}
/// An argument or a variable.
#[derive(Debug)]
pub(crate) enum Word {}
/// A listen address.
#[derive(Debug)]
pub(crate) enum Address {}
/// `30s`.
#[derive(Debug)]
pub(crate) enum Duration {}
/// `512M`.
#[derive(Debug)]
pub(crate) enum Size {}
/// `512M` or `none`.
#[derive(Debug)]
pub(crate) enum SizeOrNone {}
/// A whole number.
#[derive(Debug)]
pub(crate) enum Count<const LEAST: u32, const MOST: u32> {}
/// A whole number or `auto`.
#[derive(Debug)]
pub(crate) enum CountOrAuto<const LEAST: u32, const MOST: u32> {}
/// A whole number or `all`.
#[derive(Debug)]
pub(crate) enum CountOrAll<const LEAST: u32, const MOST: u32> {}
/// A whole number or `none`.
#[derive(Debug)]
pub(crate) enum CountOrNone<const LEAST: u32, const MOST: u32> {}
/// A whole number, `2..8`, `{ min = 2, max = 8 }` or `auto`.
#[derive(Debug)]
pub(crate) enum CountOrRange<const LEAST: u32, const MOST: u32> {}
/// `30s` or `none`.
#[derive(Debug)]
pub(crate) enum DurationOrNone {}
/// `30s` or `off`.
#[derive(Debug)]
pub(crate) enum DurationOrOff {}
/// `listen` or a request target.
#[derive(Debug)]
pub(crate) enum ListenOrPath {}
/// true or false.
#[derive(Debug)]
pub(crate) enum OnOff {}
/// One of the values of an option.
#[derive(Debug)]
pub(crate) struct Choice<E>(PhantomData<E>);

/// Any string may come from a variable.
const VARIABLE: &str = r".*\$\{.*";

impl Kind for Name {
    const EXPECTED: &'static str = "a name in quotes";
    const STRING_ONLY: bool = true;
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^([A-Za-z0-9_.-]{{1,32}}|{VARIABLE})$") })
    }
}

impl Kind for File {
    const EXPECTED: &'static str = "a path in quotes";
    const STRING_ONLY: bool = true;
    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Kind for ShellLine {
    const EXPECTED: &'static str = "a command in quotes";
    const STRING_ONLY: bool = true;
    const EXPANDED: bool = false;
    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Kind for Word {
    const EXPECTED: &'static str = "a text";
    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl Kind for Address {
    const EXPECTED: &'static str = "an address such as \"127.0.0.1:3000\"";
    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "integer", "minimum": 0, "maximum": u16::MAX },
            ]
        })
    }
}

const DURATION: &str = r"[0-9]+(\.[0-9]+)? ?(ms|s|m|min|h)";

impl Kind for Duration {
    const EXPECTED: &'static str = "a duration with a unit, such as \"30s\",";
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^({DURATION}|{VARIABLE})$") })
    }
}

impl Kind for DurationOrNone {
    const EXPECTED: &'static str = "\"none\" or a duration with a unit, such as \"12h\",";
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^(none|{DURATION}|{VARIABLE})$") })
    }
}

impl Kind for DurationOrOff {
    const EXPECTED: &'static str = "\"off\" or a duration with a unit, such as \"10s\",";
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^(off|{DURATION}|{VARIABLE})$") })
    }
}

const SIZE: &str = r"[0-9]+(\.[0-9]+)? ?([bB]|[kKmMgG]([iI]?[bB])?)";

impl Kind for Size {
    const EXPECTED: &'static str = "a size with a unit, such as \"16K\",";
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^({SIZE}|{VARIABLE})$") })
    }
}

impl Kind for SizeOrNone {
    const EXPECTED: &'static str = "\"none\" or a size with a unit, such as \"512M\",";
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^(none|{SIZE}|{VARIABLE})$") })
    }
}

impl<const LEAST: u32, const MOST: u32> Kind for Count<LEAST, MOST> {
    const EXPECTED: &'static str = "a whole number";
    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": LEAST, "maximum": MOST },
                { "type": "string", "pattern": format!("^{VARIABLE}$") },
            ]
        })
    }
}

/// A number, or that word.
fn count_or(word: &str, least: u32, most: u32) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            { "type": "string", "pattern": format!("^({word}|{VARIABLE})$") },
        ]
    })
}

impl<const LEAST: u32, const MOST: u32> Kind for CountOrAuto<LEAST, MOST> {
    const EXPECTED: &'static str = "\"auto\" or a whole number";
    fn schema() -> Schema {
        count_or("auto", LEAST, MOST)
    }
}

impl<const LEAST: u32, const MOST: u32> Kind for CountOrAll<LEAST, MOST> {
    const EXPECTED: &'static str = "\"all\" or a whole number";
    fn schema() -> Schema {
        count_or("all", LEAST, MOST)
    }
}

impl<const LEAST: u32, const MOST: u32> Kind for CountOrNone<LEAST, MOST> {
    const EXPECTED: &'static str = "\"none\" or a whole number";
    fn schema() -> Schema {
        count_or("none", LEAST, MOST)
    }
}

impl<const LEAST: u32, const MOST: u32> Kind for CountOrRange<LEAST, MOST> {
    const EXPECTED: &'static str =
        "\"auto\", a whole number or a range, \"2..8\" or { min = 2, max = 8 },";
    fn schema() -> Schema {
        let bound = Count::<LEAST, MOST>::schema();
        json_schema!({
            "anyOf": [
                count_or(r"auto|[0-9]+\.\.[0-9]+", LEAST, MOST),
                {
                    "type": "object",
                    "properties": { "min": bound, "max": bound },
                    "required": ["min", "max"],
                    "additionalProperties": false,
                },
            ]
        })
    }
}

impl Kind for ListenOrPath {
    const EXPECTED: &'static str = "\"listen\" or a path like \"/health\"";
    const STRING_ONLY: bool = true;
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^(listen|/.*|{VARIABLE})$") })
    }
}

impl Kind for OnOff {
    const EXPECTED: &'static str = "true or false";
    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "boolean" },
                { "type": "string", "pattern": format!("^(on|off|{VARIABLE})$") },
            ]
        })
    }
}

impl<E: ValueEnum> Kind for Choice<E> {
    const EXPECTED: &'static str = "a text";
    const STRING_ONLY: bool = true;
    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "enum": names::<E>() },
                { "type": "string", "pattern": format!("^{VARIABLE}$") },
            ]
        })
    }
}

/// What can be chosen.
pub(crate) fn names<E: ValueEnum>() -> Vec<String> {
    let values = E::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}

impl<K: Kind> JsonSchema for Typed<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        K::schema()
    }
}

impl<K: Kind> JsonSchema for OneOrMany<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = K::schema();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

impl<K: Kind> JsonSchema for Many<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Many".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": K::schema() })
    }
}
