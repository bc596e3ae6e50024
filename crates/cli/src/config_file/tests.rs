//! Tests of `config_file`: every mistake is one line that names the file, the line and the key.

use super::*;

fn parse(text: &str, is_json: bool) -> Result<ConfigFile, ConfigError> {
    ConfigFile::parse(Text::new("h.toml", text.to_owned()), PathBuf::from("/srv"), is_json)
}

fn no_env(_: &str) -> Option<String> {
    None
}

#[track_caller]
fn expect(text: &str, error: &ConfigError, start: &str) {
    let message = error.to_string();
    assert!(message.starts_with(start), "{text:?}: {message}");
    assert!(!message.contains('\n') && message.len() < 400, "{text:?}: {message}");
}

/// What the deserializer and the checks before it find.
const BROKEN: &[(&str, &str)] = &[
    ("", "h.toml: it is empty; write [server]"),
    (" \n\t\n", "h.toml: it is empty"),
    ("a", "h.toml:1:2: "),
    ("[server\n", "h.toml:1:8: "),
    ("[server]\nshards = \n", "h.toml:2:10: "),
    ("[server]\nshards = 1\nshards = 2", "h.toml:3:1: duplicate key"),
    ("[server]\n[server]", "h.toml:2:2: duplicate key"),
    ("[server]\nlisten = \"a", "h.toml:2:12: "),
    ("x = 1", "h.toml:1: x: there is no such key; possible here: server, app"),
    ("[servers]", "h.toml:1: servers: there is no such key; did you mean `server`?"),
    (
        "[server]\n\nshrds = 1",
        "h.toml:3: server.shrds: there is no such key; did you mean `shards`?",
    ),
    ("[server]\nr = 1", "h.toml:2: server.r: there is no such key"),
    (
        "server.idle-timeout = 1",
        "h.toml:1: server.idle-timeout: there is no such key; did you mean `idle_timeout`?",
    ),
    (
        "[[app]]\nqueueTimeout = 1",
        "h.toml:2: app[0].queueTimeout: there is no such key; did you mean `queue_timeout`?",
    ),
    ("[[app]]\nshards = 1", "h.toml:2: app[0].shards: there is no such key"),
    ("[server]\n\"a\\nb\" = 1", "h.toml:2: server.a\\nb: there is no such key"),
    ("[server]\n\"a`, expected b\" = 1", "h.toml:2: server.a`, expected b: there is no such key"),
    ("server = 3", "h.toml:1: server: a table is expected: [server]"),
    ("[[server]]", "h.toml:1: server: a table is expected: [server]"),
    ("app = {}", "h.toml:1: app: an array with one table is expected: write [[app]]"),
    ("[app]\npath = \"a\"", "h.toml:1: app: an array with one table is expected: write [[app]]"),
    ("app = 1", "h.toml:1: app: an array with one table is expected"),
    ("app = [1]", "h.toml:1: app[0]: a table is expected: [[app]]"),
    ("[[app]]\n\n[[app]]", "h.toml:3: app[1]: a second app; one instance serves one app"),
    ("[[app]]\nenv = 3", "h.toml:2: app[0].env: a table is expected"),
    ("[[app]]\nargs = \"-x\"", "h.toml:2: app[0].args: an array is expected"),
];

const BROKEN_JSON: &[(&str, &str)] = &[
    ("", "h.toml: it is empty"),
    ("{", "h.toml:1:1: not JSON: EOF"),
    ("{\n \"server\": {},\n}", "h.toml:3:1: not JSON: key must be a string"),
    ("// c\n{}", "h.toml:1:1: not JSON: "),
    ("{\"server\":{\"io\":\"a\nb\"}}", "h.toml:1:18: not JSON: control character"),
    ("{} {}", "h.toml:1:4: not JSON: trailing characters"),
    ("[]", "h.toml:1:1: an object is expected"),
    ("null", "h.toml:1:1: an object is expected"),
    ("{\"server\": {\"shards\": 1,\n \"shards\": 2}}", "h.toml:2:2: duplicate key `shards`"),
    ("{\n\"server\": null}", "h.toml:2:11: null says nothing here"),
    (
        "{\"server\": {\n\"shrds\": 1}}",
        "h.toml:2: server.shrds: there is no such key; did you mean `shards`?",
    ),
    ("{\"app\": {}}", "h.toml:1: app: an array with one table is expected"),
    ("{\"app\": [{}, \n{}]}", "h.toml:2: app[1]: a second app"),
];

#[test]
fn broken_files() {
    for (text, start) in BROKEN {
        expect(text, &parse(text, false).expect_err(text), start);
    }
    for (text, start) in BROKEN_JSON {
        expect(text, &parse(text, true).expect_err(text), start);
    }
}

#[test]
fn depth_is_bounded() {
    for (text, is_json) in [
        (format!("a = {}", "[".repeat(100_000)), false),
        (format!("a{} = 1", ".a".repeat(100_000)), false),
        (format!("[a{}]", ".a".repeat(100_000)), false),
        (format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)), true),
        (format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)), true),
    ] {
        let error = parse(&text, is_json).expect_err("too deep").to_string();
        assert!(error.contains("recursion") || error.contains("nesting depth"), "{error}");
    }
}

#[test]
fn types_that_are_never_good() {
    let said = |text: &str| {
        let file = parse(text, false).expect(text);
        let (server, app) = (&file.server, &file.app);
        file.said(server.shards.as_ref(), &no_env)
            .and(file.said(server.idle_timeout.as_ref(), &no_env))
            .and(file.said(app.path.as_ref(), &no_env))
            .and(file.said(app.env.get("A"), &no_env))
            .expect_err(text)
    };
    for (text, start) in [
        (
            "[server]\nshards = [1,\n2]",
            "h.toml:2: server.shards: `[1,\\n2]` is not usable: \"auto\" or a whole number is expected",
        ),
        ("[server.shards]\na = 1", "h.toml:1: server.shards: `[server.shards]` is not usable"),
        (
            "[server]\nidle_timeout = 1979-05-27",
            "h.toml:2: server.idle_timeout: `1979-05-27` is not usable: a duration",
        ),
        (
            "[[app]]\npath = true",
            "h.toml:2: app[0].path: `true` is not usable: a path in quotes is expected",
        ),
        ("[[app]]\nenv.A = []", "h.toml:2: app[0].env.A: `[]` is not usable: a text is expected"),
        (
            "[[app]]\nenv.A = \"a\\u0000\"",
            "h.toml:2: app[0].env.A: `a\\u{0}` is not usable: it holds a NUL",
        ),
        ("[[app]]\nenv.A = \"$B\"", "h.toml:2: app[0].env.A: `$B` is not usable: a `$` begins"),
        (
            "[[app]]\nenv.A = \"${B}\"",
            "h.toml:2: app[0].env.A: `${B}` is not usable: the variable B is not set or empty",
        ),
    ] {
        expect(text, &said(text), start);
    }
}

#[test]
fn both_forms_say_the_same_in_the_same_places() {
    let toml = "# c\r\n[server]\nlisten = [\"a\", 8080]\nshards = 0x10\n\n[[app]]\npath = \"ü/$${A:-x}\"\nenv = { B = 1.5, C = true }\n";
    let json = "{\n\"$schema\": \"x\", \"server\": {\"listen\": [\"a\", 8080],\n\"shards\": 16},\n\n\n\"app\": [{\"path\": \"\\u00fc/$${A:-x}\", \"env\":\n{\"B\": 1.5, \"C\": true}}]}";
    for (text, is_json, lines) in [(toml, false, [3, 4, 7, 8]), (json, true, [2, 3, 6, 7])] {
        let file = parse(text, is_json).expect("good");
        let said = |said: Result<Option<Said>, ConfigError>| {
            let said = said.expect("good").expect("said");
            (said.text, said.place.line, said.place.key)
        };
        let listen = file.server.listen.as_ref().expect("listen").values();
        let second = said(file.said(listen.get(1), &no_env));
        assert_eq!(second, ("8080".to_owned(), lines[0], "server.listen[1]".to_owned()));
        let shards = said(file.said(file.server.shards.as_ref(), &no_env));
        assert_eq!(shards, ("16".to_owned(), lines[1], "server.shards".to_owned()));
        let path = said(file.said(file.app.path.as_ref(), &no_env));
        assert_eq!(path, ("ü/${A:-x}".to_owned(), lines[2], "app[0].path".to_owned()));
        for (name, value) in [("B", "1.5"), ("C", "true")] {
            let variable = said(file.said(file.app.env.get(name), &no_env));
            assert_eq!(variable, (value.to_owned(), lines[3], format!("app[0].env.{name}")));
        }
    }
}

#[test]
fn a_command_is_left_to_the_shell() {
    let file = parse("[[app]]\ncommand = \"serve $PORT ${X} $$\"", false).expect("good");
    let said = file.said(file.app.command.as_ref(), &no_env).expect("good").expect("said");
    assert_eq!(said.text, "serve $PORT ${X} $$");
}

#[test]
fn comments_alone_are_a_file() {
    let file = parse("# [server]\n", false).expect("good");
    assert!(file.server.listen.is_none() && file.app.path.is_none());
    parse("{}", true).expect("good");
}

/// Every option of `run` that says something about the instance has a key of its name, and the other way round.
#[test]
fn keys_and_options_are_parallel() {
    use clap::CommandFactory;

    let mut command = crate::args::Cli::command();
    let run = command.find_subcommand_mut("run").expect("there is run");
    let options: Vec<String> = run
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .map(|name| name.replace('-', "_"))
        .collect();
    let keys = schema::keys();
    // `path` and `args` have a place of their own on the command line.
    let only_keys = ["name", "path", "args", "cwd", "env"];
    let only_options = ["config", "no_config", "help"];
    for (_, key) in &keys {
        assert_eq!(options.contains(key), !only_keys.contains(&key.as_str()), "{key}");
    }
    for option in &options {
        let is_key = keys.iter().any(|(_, key)| key == option);
        assert_eq!(is_key, !only_options.contains(&option.as_str()), "{option}");
    }
}

#[test]
fn the_schema_describes_every_key_and_no_null() {
    let schema = serde_json::to_value(schema()).expect("JSON");
    assert!(!schema.to_string().contains("\"null\""), "{schema:#}");
    let server = &schema["properties"]["server"];
    let app = &schema["properties"]["app"]["items"];
    for (section, key) in schema::keys() {
        let key =
            if section == "server" { &server["properties"][key] } else { &app["properties"][key] };
        let text = key["description"].as_str().unwrap_or_default();
        assert!(text.len() > 15, "{section}: {key:#}");
    }
    assert_eq!(server["additionalProperties"], false);
    assert_eq!(app["additionalProperties"], false);
    assert_eq!(server["properties"]["shards"]["anyOf"][0]["maximum"], 256);
    assert_eq!(schema["properties"]["app"]["maxItems"], 1);
}

/// A key that the page does not explain does not exist for anybody.
#[test]
fn the_page_explains_every_key() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hostler.toml");
    let example = std::fs::read_to_string(example).expect("the example");
    for (section, key) in schema::keys() {
        let heading = if section == "server" { "## `[server]`" } else { "## `[[app]]`" };
        let part =
            page.split("\n## ").find(|part| heading.ends_with(part.lines().next().unwrap_or("-")));
        let part = part.unwrap_or_else(|| panic!("no {heading}"));
        let row = part.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for {key} below {heading}"));
        assert!(example.contains(&format!("{key} = ")), "{key} is missing in the example");
        assert_eq!(row.matches(" | ").count(), 4, "key, values, default, meaning, example: {row}");
    }
}
