//! The JSON Schema of a configuration file, for editors.
//!
//! Owns: its form. Must never know: single keys; they are in `keys`, and what is said of an option is the option's help. Printed
//! by `hostler config schema`.

use clap::{Command, CommandFactory};
use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::keys::Keys;
use crate::args::Cli;

/// Draft 7 is what editors of TOML and JSON know.
pub(crate) fn schema() -> Schema {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Keys>();
    let mut command = Cli::command();
    let run = command.find_subcommand_mut("run").expect("there is run");
    if let Some(root) = schema.as_object_mut() {
        describe(root, run);
        if let Some(Value::Object(properties)) = root.get_mut("properties") {
            let of_editors =
                json!({ "type": "string", "description": "For editors, in JSON only." });
            properties.insert("$schema".to_owned(), of_editors);
        }
    }
    schema
}

/// Gives every key without a description the help of its option.
fn describe(node: &mut Map<String, Value>, run: &Command) {
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        for (key, value) in properties {
            let Value::Object(value) = value else { continue };
            without_null(value);
            if let Some(help) = help_of(key, run).filter(|_| !value.contains_key("description")) {
                value.insert("description".to_owned(), help.into());
            }
            describe(value, run);
        }
    }
    if let Some(Value::Object(items)) = node.get_mut("items") {
        describe(items, run);
    }
}

/// A key that may be left out is an `Option` here, but null is nothing that a file can say.
fn without_null(value: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = value.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            value.insert("type".to_owned(), one);
        }
    }
    let Some(Value::Array(mut choices)) = value.remove("anyOf") else { return };
    choices.retain(|choice| choice["type"] != "null");
    match choices.as_slice() {
        [Value::Object(one)] => value.extend(one.clone()),
        _ => {
            value.insert("anyOf".to_owned(), choices.into());
        }
    }
}

fn help_of(key: &str, run: &Command) -> Option<String> {
    let option = key.replace('_', "-");
    let option = run.get_arguments().find(|known| known.get_long() == Some(&option))?;
    Some(option.get_long_help().or(option.get_help())?.to_string())
}

/// Every key with its table, `server` or `app`.
#[cfg(test)]
pub(super) fn keys() -> Vec<(&'static str, String)> {
    let schema = serde_json::to_value(schema()).expect("JSON");
    let server = &schema["properties"]["server"]["properties"];
    let app = &schema["properties"]["app"]["items"]["properties"];
    let names = |section: &'static str, properties: &Value| {
        let names = properties.as_object().expect("an object").keys();
        names.map(|name| (section, name.clone())).collect::<Vec<_>>()
    };
    [names("server", server), names("app", app)].concat()
}
