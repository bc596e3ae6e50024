//! The same keys as JSON.
//!
//! Owns: the way from JSON to the tree that TOML gives, with the place of every value. Must never know: keys, except
//! `$schema`, which is an editor's. Used by `config_file`; from there on nothing asks which form it was.

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::error::{ConfigError, Text};

pub(super) fn parse(text: &Text) -> Result<Spanned<DeTable<'_>>, ConfigError> {
    let syntax = |range: Range, why: &str| text.syntax_error(Some(range.start..range.end), why);
    // The parser that knows places takes more than JSON; serde_json does not.
    serde_json::from_str::<IgnoredAny>(text.as_str()).map_err(|error| text.json_error(&error))?;
    let parsed = parse_to_ast(text.as_str(), &CollectOptions::default(), &ParseOptions::default())
        .map_err(|error| syntax(error.range(), &format!("not JSON: {}", error.kind())))?;
    match parsed.value {
        Some(Value::Object(mut root)) => {
            root.properties.retain(|property| property.name.as_str() != "$schema");
            let range = root.range;
            Ok(Spanned::new(range.start..range.end, table(root, text)?))
        }
        other => {
            let range = other.map_or(Range::new(0, 0), |value| value.range());
            Err(syntax(range, "an object is expected: { \"server\": { ... }, \"app\": [{ ... }] }"))
        }
    }
}

fn table<'i>(object: Object<'i>, text: &Text) -> Result<DeTable<'i>, ConfigError> {
    let mut table = DeTable::new();
    for property in object.properties {
        let range = property.name.range();
        let name = property.name.into_string();
        if table.contains_key(name.as_str()) {
            let why = format!("duplicate key `{}`", super::one_line(&name));
            return Err(text.syntax_error(Some(range.start..range.end), &why));
        }
        let key = Spanned::new(range.start..range.end, DeString::Owned(name));
        table.insert(key, value(property.value, text)?);
    }
    Ok(table)
}

fn value<'i>(json: Value<'i>, text: &Text) -> Result<Spanned<DeValue<'i>>, ConfigError> {
    let range = json.range();
    let span = range.start..range.end;
    let bad = |why: &str| text.syntax_error(Some(span.clone()), why);
    let value = match json {
        Value::StringLit(string) => DeValue::String(string.value),
        // Every number of JSON is one of TOML.
        Value::NumberLit(number) => DeValue::parse(number.value)
            .map_err(|error| bad(&format!("not a number: {}", error.message())))?
            .into_inner(),
        Value::BooleanLit(boolean) => DeValue::Boolean(boolean.value),
        Value::Array(array) => {
            let mut elements = DeArray::new();
            for element in array.elements {
                elements.push(value(element, text)?);
            }
            DeValue::Array(elements)
        }
        Value::Object(object) => DeValue::Table(table(object, text)?),
        Value::NullKeyword(_) => return Err(bad("null says nothing here; leave the key out")),
    };
    Ok(Spanned::new(span, value))
}
